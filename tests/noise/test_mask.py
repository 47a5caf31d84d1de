from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmark.api import Noise, Samples
from benchmark.errors import BenchmarkError
from benchmark.segmentation.mask_operations import dilate, erode

SIZE = 32
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]
RNG = np.random.default_rng(0)
Make = Callable[..., Noise]


def discs(n: int, *radii: float) -> np.ndarray:
    """(n, T, H, W): one task a radius."""
    return np.stack([np.stack([np.hypot(ROWS - 15, COLUMNS - 15) <= radius for radius in radii])] * n).astype(np.uint8)


def samples(labels: np.ndarray, positions: Any = None, seed: int = 0, tasks: tuple[str, ...] = ("lung", "heart", "clavicle")) -> Samples:
    where = np.arange(len(labels)) if positions is None else np.asarray(positions)
    return Samples(labels, 2, ("background", "organ"), positions=where, names=("set", seed), tasks=tasks[: labels.shape[1]])


def changed(noisy: np.ndarray, labels: np.ndarray) -> list[list[bool]]:
    found: list[list[bool]] = (noisy != labels).any(axis=(2, 3)).tolist()
    return found


def test_exactly_alpha_of_each_tasks_masks(make: Make) -> None:
    labels = discs(20, 6, 9)
    before = labels.copy()
    noisy = make("mask", alpha=0.3, beta=2).apply(samples(labels), RNG)
    assert noisy.dtype == np.uint8 and noisy.shape == labels.shape and np.array_equal(labels, before)
    assert np.sum(changed(noisy, labels), axis=0).tolist() == [6, 6]
    assert np.array_equal(make("mask", alpha=0).apply(samples(labels), RNG), labels)


def test_pixels_relative_and_one_radius_a_task(make: Make) -> None:
    labels = discs(2, 5, 8, 3)
    noisy = make("mask", alpha=1, beta="2+rel0.25+1", kinds="dilate").apply(samples(labels), RNG)
    for task, radius in enumerate((2, round(0.25 * np.sqrt(labels[0, 1].sum())), 1)):
        assert np.array_equal(noisy[0, task] == 1, dilate(labels[0, task] == 1, radius))
    noisy = make("mask", alpha=1, beta=2.5, kinds="erode").apply(samples(labels), RNG)
    assert np.array_equal(noisy[1, 1] == 1, erode(labels[1, 1] == 1, 2.5))


def test_an_images_noise_depends_on_its_position_and_not_on_the_others(make: Make) -> None:
    noise, labels = make("mask", alpha=1, beta=3), discs(8, 8, 6)
    whole = noise.apply(samples(labels), np.random.default_rng(1))
    assert np.array_equal(noise.apply(samples(labels), np.random.default_rng(2)), whole)  # the part's generator is not used
    assert np.array_equal(noise.apply(samples(labels[:3], [6, 2, 5]), RNG), whole[[6, 2, 5]])
    assert not np.array_equal(noise.apply(samples(labels, seed=1), RNG), whole)
    alone = noise.apply(samples(labels[:, 1:], tasks=("heart",)), RNG)
    assert np.array_equal(alone[:, 0], whole[:, 1])  # a task's noise is its name's, whichever others there are


def test_labels_alone_draw_from_the_generator(make: Make) -> None:
    noise, bare = make("mask", alpha=0.5, beta=3), Samples(discs(8, 8), 2)
    first, again, other = (noise.apply(bare, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.sum(changed(first, bare.labels)) == 4


def test_void_stays(make: Make) -> None:
    labels = discs(3, 8)
    labels[:, :, :10] = 255
    noisy = make("mask", alpha=1, beta=4).apply(samples(labels), RNG)
    assert np.array_equal(noisy == 255, labels == 255) and (noisy != labels).any()


def test_alpha_is_no_rate_of_pixels_but_can_be_asked_for(make: Make) -> None:
    noise = make("mask", alpha=0.5, beta="rel0.1", kinds="edge+elastic")
    other = noise.with_rate(0.25)
    assert noise.rate is None and other.params.alpha == 0.25
    assert (other.params.beta, other.params.kinds) == ("rel0.1", "edge+elastic")
    assert noise.argument == "alpha" and noise.task == "segmentation" and noise.injected


def test_defaults_are_the_papers_kinds(make: Make) -> None:
    params = make("mask").params
    assert (params.alpha, params.beta, params.kinds) == (0.5, "rel0.15", "dilate+erode+edge")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"alpha": 1.5}, r"mask\.alpha = 1\.5 is outside \[0, 1\]"),
        ({"alpha": "many"}, r"mask\.alpha: 'many' is not a number"),
        (
            {"beta": "wide"},
            r"mask\.beta: a noise radius is a number of pixels \(10\) or a share of .*; not 'wide'",
        ),
        ({"beta": "-1"}, r"not '-1'"),
        ({"beta": "5+"}, r"mask\.beta = '5\+' is empty, or has nothing on one side of a \+"),
        ({"kinds": "dilate+erod"}, "unknown kind of mask noise 'erod'; did you mean 'erode'"),
        ({"kinds": ""}, r"mask\.kinds = '' is empty"),
    ],
)
def test_parameters_of_no_use(make: Make, params: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message) as raised:
        make("mask", **params)
    assert "\n" not in str(raised.value)


def test_another_number_of_radii_than_tasks(make: Make) -> None:
    with pytest.raises(BenchmarkError, match=r"mask\.beta = 5\+3 gives 2 radii, and the tasks are 3 \(lung, heart, clavicle\)"):
        make("mask", beta="5+3").apply(samples(discs(2, 5, 6, 7)), RNG)
    assert make("mask", beta="5+3").is_particular and not make("mask", beta="5").is_particular


@pytest.mark.parametrize("labels", [np.zeros(5, dtype=np.int64), np.zeros((5, 8, 8), dtype=np.uint8), np.zeros((5, 1, 8, 8))])
def test_labels_that_are_no_masks(make: Make, labels: np.ndarray) -> None:
    with pytest.raises(BenchmarkError, match=r"mask noise needs masks, \(n, T, H, W\) uint8, and these labels are"):
        make("mask").apply(Samples(labels, 2), RNG)
