"""What the contract kit knows of bags: tiny ones, odd ones, and what a method must say of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmark.api import Samples, TrainingData
from benchmark.bags.data import BagData, BagPart
from benchmark.bags.method import BagMethod
from benchmark.conformance_data import FEATURES, TinyNoise
from benchmark.errors import BenchmarkError
from benchmark.seeds import numpy_generator

BAGS = 24
"""How many tiny bags there are; every other one is positive."""

TILES = (3, 8)
"""Least and most tiles of one."""

WIDTH = 6
"""Features of a tile."""

BagCase = tuple[BagData, np.ndarray]
"""What :func:`tiny_bags` returns."""


def tiny_bags(
    labels: np.ndarray | None = None, channels: int = WIDTH, size: tuple[int, int] = FEATURES, *, tiles: tuple[int, int] = TILES
) -> BagCase:
    """24 bags of few tiles and their true labels; in a positive bag at least one tile is larger (or brighter) than the others are.

    Args:
        labels: (n,) int64 given labels; None: the true ones with :class:`~benchmark.conformance_data.TinyNoise`.
        channels: D of the features, or C of the pixels.
        size: H and W of the tiles; (1, 1) stands for frozen features.
        tiles: the least and the most tiles of a bag.
    """
    rng = numpy_generator("conformance", "bags", channels, *size, *tiles)
    truth = np.arange(BAGS, dtype=np.int64) % 2
    counts = rng.integers(tiles[0], tiles[1] + 1, BAGS)
    offsets = np.append(0, np.cumsum(counts))
    bag = np.repeat(np.arange(BAGS), counts)
    first = np.arange(len(bag)) == offsets[bag]
    positive = (truth[bag] == 1) & (first | (rng.random(len(bag)) < 0.3))
    if size == FEATURES:
        values = (rng.normal(0, 1, (len(bag), channels)) + 3 * positive[:, None]).astype(np.float32)
    else:
        values = rng.normal(70 + 90 * positive[:, None, None, None], 25, (len(bag), channels, *size)).clip(0, 255).astype(np.uint8)
    if labels is None:
        labels = TinyNoise().apply(Samples(truth, 2), numpy_generator("conformance", "bag noise"))
    data = BagData(
        torch.from_numpy(values),
        torch.from_numpy(labels.astype(np.int64)),
        2,
        ("negative", "positive"),
        offsets=torch.from_numpy(offsets.astype(np.int64)),
    )
    return data, truth


def odd_bags() -> dict[str, tuple[BagCase, bool]]:
    """What is odd about the bags → the data, and whether a method has to train on them: it may refuse the others in one line."""
    _, truth = tiny_bags()
    lone = np.zeros(BAGS, dtype=np.int64)
    lone[7] = 1
    return {
        "no noise": (tiny_bags(truth), True),
        "bags of one tile": (tiny_bags(tiles=(1, 1)), True),
        "one positive bag": (tiny_bags(lone), False),
        "bags of one class only": (tiny_bags(np.zeros(BAGS, dtype=np.int64)), False),
    }


def bag_samples() -> Samples:
    """400 labels of bags, a quarter of them positive; labels alone, without images or a posterior."""
    labels = (np.arange(400) % 4 == 0).astype(np.int64)
    return Samples(
        labels,
        2,
        ("negative", "positive"),
        given=labels[::-1].copy(),
        positions=np.arange(400, dtype=np.int64),
        content="conformance",
        names=("conformance",),
    )


def first_bags(data: TrainingData) -> BagPart:
    """Two bags, to be evaluated after each epoch."""
    assert isinstance(data, BagData) and isinstance(data.images, Tensor)
    return BagPart(data.images[: int(data.offsets[2])], data.offsets[:3])


def tile_judgements(method: object, forecasts: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a method says of the training tiles: ``tile_scores`` (N,) and, where it has any, ``pseudo_labels`` (R, N).

    Raises:
        BenchmarkError: it is no method for bags.
    """
    if not isinstance(method, BagMethod):
        raise BenchmarkError("a method for bags must be a benchmark.bags.method.BagMethod")
    found, rounds = {"tile_scores": forecasts["_tiles"]}, method.pseudo_labels()
    return found if rounds is None else {**found, "pseudo_labels": rounds[0]}


def check_tile_scores(data: BagData, judgements: dict[str, Tensor]) -> None:
    """Scores of the tiles have their shape and range; AssertionError says what has not."""
    scores = judgements["tile_scores"]
    assert scores.shape == (data.tiles,), f"predict_bags gives tile scores {tuple(scores.shape)} for {data.tiles} tiles"
    assert ((scores >= 0) & (scores <= 1)).all(), "tile scores must be finite and lie in [0, 1]"


def check_pseudo_labels(method: BagMethod, data: BagData) -> None:
    """Where a method has pseudo labels, they and their threshold have their shapes and ranges; AssertionError says what has not."""
    rounds = method.pseudo_labels()
    if rounds is None:
        return
    pseudo, threshold = rounds
    sound = pseudo.ndim == 2 and len(pseudo) > 0 and pseudo.shape[1] == data.tiles
    assert sound, f"pseudo_labels gives {tuple(pseudo.shape)}, not (rounds, {data.tiles})"
    assert ((pseudo >= 0) & (pseudo <= 1)).all(), "pseudo labels must be finite and lie in [0, 1]"
    assert 0 <= float(threshold) <= 1, f"the threshold of pseudo labels is {threshold}, outside [0, 1]"
