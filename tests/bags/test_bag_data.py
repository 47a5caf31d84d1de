"""Batches of whole bags, and their evaluation in pieces."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.bags.data import BagData, BagLoader, BagPart, bag_bounds
from benchmark.bags.model import build_bag_model
from benchmark.data.rows import ImageRows
from benchmark.tasks import task_of
from benchmark.training.augment import FEATURE_DROPOUT, make_augmenters
from benchmark.training.images import MappedImages

COUNTS = [3, 1, 4, 2, 1, 5]
OFFSETS = torch.tensor([0, 3, 4, 8, 10, 11, 16])


def table(labels: list[int] | None = None) -> BagData:
    """Six bags; tile t of bag i is (i, t), as (D,) features."""
    rows = [[bag, tile] for bag, count in enumerate(COUNTS) for tile in range(count)]
    given = torch.tensor(labels or [0, 1, 0, 1, 0, 1])
    return BagData(torch.tensor(rows, dtype=torch.float32), given, 2, ("negative", "positive"), offsets=OFFSETS)


def loader(data: BagData, size: int = 2, indices: list[int] | None = None, labels: Tensor | None = None, seed: int = 0) -> BagLoader:
    chosen = torch.tensor(range(6) if indices is None else indices)
    generator = torch.Generator().manual_seed(seed)
    weak, strong = make_augmenters("none", (), "none", data.images)
    return BagLoader(data, chosen, data.labels[chosen] if labels is None else labels, size, [weak, strong], lambda: generator)


@pytest.mark.parametrize("size", [1, 2, 4, 6, 9])
def test_every_bag_once_a_pass_with_all_of_its_tiles(size: int) -> None:
    data = table()
    batches = list(loader(data, size))
    assert len(batches) == len(loader(data, size)) == -(-6 // size)
    assert sorted(torch.cat([batch.indices for batch in batches]).tolist()) == list(range(6))
    for batch in batches:
        assert len(batch) == len(batch.indices) == len(batch.offsets) - 1 <= size
        assert batch.labels.tolist() == data.labels[batch.indices].tolist()
        assert torch.equal(batch.images, data.images[batch.rows])
        for place, bag in enumerate(batch.indices.tolist()):
            own = slice(int(batch.offsets[place]), int(batch.offsets[place + 1]))
            assert batch.images[own].tolist() == [[bag, tile] for tile in range(COUNTS[bag])]
            assert batch.rows[own].tolist() == list(range(int(OFFSETS[bag]), int(OFFSETS[bag + 1])))


def test_another_order_in_another_pass_and_the_same_from_the_same_generator() -> None:
    both = loader(table())
    passes = [torch.cat([batch.indices for batch in both]).tolist() for _ in range(4)]
    assert len(set(map(tuple, passes))) > 1
    assert torch.cat([batch.indices for batch in loader(table())]).tolist() == passes[0]


def test_some_bags_with_labels_of_the_methods_own() -> None:
    batches = list(loader(table(), 2, [5, 1, 2], torch.tensor([0, 0, 1])))
    found = {int(i): int(label) for batch in batches for i, label in zip(batch.indices, batch.labels, strict=True)}
    assert found == {5: 0, 1: 0, 2: 1}


def test_views_show_the_same_tiles() -> None:
    for batch in loader(table()):
        weak, strong = batch.views
        assert weak is batch.images and strong.shape == weak.shape
        kept = strong != 0
        assert torch.allclose(strong[kept], weak[kept] / (1 - FEATURE_DROPOUT))  # a strong view of features leaves some out


def test_tiles_that_stay_in_their_file_make_the_same_batches() -> None:
    data = table()
    rows = ImageRows(data.images.numpy(), np.arange(16))
    mapped = BagData(MappedImages(rows, torch.device("cpu")), data.labels, 2, data.class_names, offsets=OFFSETS)
    for one, other in zip(loader(data), loader(mapped), strict=True):
        assert torch.equal(one.images, other.images) and torch.equal(one.offsets, other.offsets)


@pytest.mark.parametrize(
    ("tiles", "expected"),
    [
        (1, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6)]),  # a bag is never cut
        (4, [(0, 2), (2, 3), (3, 5), (5, 6)]),
        (5, [(0, 2), (2, 3), (3, 5), (5, 6)]),
        (8, [(0, 3), (3, 6)]),
        (10, [(0, 4), (4, 6)]),
        (16, [(0, 6)]),
        (100, [(0, 6)]),
    ],
)
def test_pieces_of_whole_bags(tiles: int, expected: list[tuple[int, int]]) -> None:
    assert bag_bounds(OFFSETS, tiles) == expected


def test_pieces_of_one_bag_and_of_none() -> None:
    assert bag_bounds(torch.tensor([0, 7]), 3) == [(0, 1)]
    assert bag_bounds(torch.tensor([0]), 3) == []


@pytest.mark.parametrize("pooling", ["max_pool", "mean_pool", "abmil", "dsmil", "dsmil_light"])
@pytest.mark.parametrize("pixels", [False, True])
def test_evaluation_in_pieces_is_evaluation_at_once(pooling: str, pixels: bool) -> None:
    torch.manual_seed(0)
    task = task_of("bags")
    tiles = torch.randint(0, 256, (16, 3, 16, 16), dtype=torch.uint8) if pixels else torch.randn(16, 5)
    model = build_bag_model("auto", tuple(tiles.shape[1:]), pooling).eval()
    augmenter = make_augmenters("none", (), "dataset", tiles)[0]
    seen = []

    def predictor(images: Tensor, offsets: Tensor) -> dict[str, Tensor]:
        seen.append(len(images))
        output = model(images, offsets)
        bags = output.bag_logits.sigmoid()
        return {"": torch.stack([1 - bags, bags], dim=1), "_tiles": output.instance_logits.sigmoid()}

    with torch.no_grad():
        whole = task.evaluate(BagPart(tiles, OFFSETS), predictor, augmenter, 1000)
        pieces = task.evaluate(BagPart(tiles, OFFSETS), predictor, augmenter, 4)
    assert seen == [16, 4, 4, 3, 5]
    assert whole[""].shape == (6, 2) and whole["_tiles"].shape == (16,)
    assert all(torch.allclose(whole[name], pieces[name], atol=1e-5) for name in whole)


def test_a_bag_of_any_size_passes_the_encoder_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_bag_model("tile_cnn_small", (3, 16, 16), "abmil").eval()
    tiles, sizes, encode = torch.rand(7, 3, 16, 16), [], model.encoder.forward
    whole = model.features(tiles)
    monkeypatch.setattr("benchmark.bags.model.evaluation_tiles", lambda shape: 3)
    monkeypatch.setattr(model.encoder, "forward", lambda some: sizes.append(len(some)) or encode(some))
    with torch.no_grad():
        torch.testing.assert_close(model.features(tiles), whole)
    assert sizes == [3, 3, 1]
    model.features(tiles)  # gradients need the whole bag
    assert sizes[3:] == [7]
