import sys

import numpy as np
import pytest

from benchmark.api import Samples
from benchmark.data.rows import ImageRows
from benchmark.errors import BenchmarkError
from benchmark.registry import Registry

N, K = 3000, 4
MODULE = sys.modules[Registry().load("noise", "instance").__module__]


@pytest.fixture(scope="module")
def samples() -> Samples:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, K, N)
    # Every class has a pattern of its own under the images, as real classes have.
    patterns = rng.integers(60, 200, (K, 8, 8, 3))
    images = np.clip(patterns[labels] + rng.normal(0, 25, (N, 8, 8, 3)), 0, 255).astype(np.uint8)
    return Samples(labels, K, images=images, names=("data", "seed"))


def other_part(samples: Samples, order: np.ndarray, **changes: object) -> Samples:
    return Samples(samples.labels[order], K, images=ImageRows(samples.images, order), **{"names": samples.names, **changes})


@pytest.mark.parametrize(("rate", "sd"), [(0.01, 0.1), (0.05, 0.1), (0.2, 0.1), (0.2, 0.5), (0.4, 0.1), (0.5, 0.1), (0.9, 0.3)])
def test_the_mean_of_the_flip_rates_is_the_rate(rate: float, sd: float) -> None:
    """A normal cut off on one side only, as in a program that passes its bounds wrongly, has a mean of 0.446 at 0.4."""
    drawn = MODULE.draw_flip_rates(rate, sd, 200_000, np.random.default_rng(0))
    assert drawn.min() >= 0 and drawn.max() <= 1
    assert abs(drawn.mean() - rate) < min(0.005, 4 * drawn.std() / np.sqrt(200_000) + 1e-6)


def test_the_spread_is_that_of_a_truncated_normal() -> None:
    drawn = MODULE.draw_flip_rates(0.4, 0.1, 100_000, np.random.default_rng(0))
    assert drawn.std() == pytest.approx(0.1, abs=0.002)
    assert np.mean(np.abs(drawn - 0.4) < 0.1) == pytest.approx(0.683, abs=0.01)


@pytest.mark.parametrize("rate", [0.0, 0.013, 0.2, 0.6, 0.95])
def test_the_number_of_wrong_labels_is_exact(make, samples: Samples, rate: float) -> None:
    before = samples.labels.copy(), samples.images.copy()
    noisy = make("instance", rate=rate).apply(samples, np.random.default_rng(0))
    assert np.sum(noisy != samples.labels) == round(rate * N)
    assert noisy.dtype == np.int64 and noisy.min() >= 0 and noisy.max() < K
    assert np.array_equal(samples.labels, before[0]) and np.array_equal(samples.images, before[1])


def test_the_image_decides_the_wrong_label_and_annotators_are_shared(make, samples: Samples) -> None:
    """Two draws over the same images, one of them as another part in another order: what is wrong in both agrees."""
    noise = make("instance", rate=0.5)
    first = noise.apply(samples, np.random.default_rng(1))
    order = np.random.default_rng(9).permutation(N)
    second = np.empty(N, dtype=np.int64)
    second[order] = noise.apply(other_part(samples, order), np.random.default_rng(2))
    both = (first != samples.labels) & (second != samples.labels)
    assert 600 < both.sum() < 900  # about a quarter of them
    assert np.mean(first[both] == second[both]) > 0.9
    stranger = noise.apply(other_part(samples, np.arange(N), names=("data", "another seed")), np.random.default_rng(2))
    both = (first != samples.labels) & (stranger != samples.labels)
    assert np.mean(first[both] == stranger[both]) < 0.6  # one of three by chance


def test_no_class_is_taken_for_one_other_alone(make, counts) -> None:
    """The images of a class look alike on average; centred, each still goes its own way."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, K, N)
    images = np.clip(rng.integers(60, 200, (8, 8, 3)) + rng.normal(0, 25, (N, 8, 8, 3)), 0, 255).astype(np.uint8)
    noisy = make("instance", rate=0.6).apply(Samples(labels, K, images=images), np.random.default_rng(0))
    table = counts(labels, noisy, K) / (0.6 * np.bincount(labels))[:, None]
    np.fill_diagonal(table, 0)
    assert table.max() < 0.6


def test_repeats_and_takes_rows_of_a_larger_array(make, samples: Samples) -> None:
    noise = make("instance", rate=0.3)
    one = noise.apply(samples, np.random.default_rng(5))
    assert np.array_equal(one, noise.apply(other_part(samples, np.arange(N)), np.random.default_rng(5)))
    assert not np.array_equal(one, noise.apply(samples, np.random.default_rng(6)))


def test_chunks_change_nothing(make, samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make("instance", rate=0.3).apply(samples, np.random.default_rng(0))
    monkeypatch.setattr(MODULE, "CHUNK", 8 * 8 * 3 * 7)
    assert np.mean(make("instance", rate=0.3).apply(samples, np.random.default_rng(0)) == whole) > 0.999


def test_protected_classes_neither_flip_nor_receive(make, samples: Samples) -> None:
    noisy = make("instance", rate=0.5, protect="1").apply(samples, np.random.default_rng(0))
    assert np.array_equal(noisy == 1, samples.labels == 1)
    assert np.sum(noisy != samples.labels) == round(0.5 * np.sum(samples.labels != 1))


def test_vectors_and_images_of_one_colour(make) -> None:
    labels = np.arange(90) % 3
    for images in (np.random.default_rng(0).normal(size=(90, 5)).astype(np.float32), np.full((90, 4, 4, 1), 7, dtype=np.uint8)):
        noisy = make("instance", rate=0.4).apply(Samples(labels, 3, images=images), np.random.default_rng(0))
        assert np.sum(noisy != labels) == 36


def test_what_it_needs(make, samples: Samples) -> None:
    with pytest.raises(LookupError, match="instance noise needs images"):
        make("instance").apply(Samples(samples.labels, K), np.random.default_rng(0))
    with pytest.raises(BenchmarkError, match="at least 2 unprotected classes, but there is 1 of 4"):
        make("instance", protect="0+1+2").apply(samples, np.random.default_rng(0))
    with pytest.raises(BenchmarkError, match=r"instance\.sd = 0\.0 is outside"):
        make("instance", sd=0)
    with pytest.raises(BenchmarkError, match=r"instance\.rate = 1\.0 is outside"):
        make("instance", rate=1)
