import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.api import Samples
from benchmark.errors import BenchmarkError
from benchmark.params import resolve
from benchmark.registry import Registry

PAIRFLIP = Registry().load("noise", "pairflip")


def flip(labels: np.ndarray, k: int, *, seed: int = 0, names: tuple[str, ...] = (), **params: object) -> np.ndarray:
    noise = PAIRFLIP(resolve(PAIRFLIP.Params, params, "pairflip"))
    return noise.apply(Samples(labels, k, names), np.random.default_rng(seed))


@given(st.integers(0, 400), st.integers(2, 6), st.floats(0, 0.99), st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_exactly_so_many_labels_become_the_next_class(n: int, k: int, rate: float, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, k, n)
    before = labels.copy()
    noisy = flip(labels, k, seed=seed, rate=rate)
    wrong = noisy != labels
    assert abs(wrong.sum() - rate * n) <= 0.5 + 1e-9  # a half may go either way
    assert np.array_equal(noisy[wrong], (labels[wrong] + 1) % k)
    assert noisy.dtype == np.int64 and np.array_equal(labels, before)


def test_classes_share_the_flips() -> None:
    labels = np.repeat(np.arange(5), 20_000)
    wrong = flip(labels, 5, rate=0.45) != labels
    assert np.allclose(wrong.reshape(5, -1).mean(axis=1), 0.45, atol=0.015)


def test_protected_classes_are_stepped_over() -> None:
    labels = np.repeat(np.arange(5), 100)
    noisy = flip(labels, 5, rate=0.9, protect="1+4")
    wrong = noisy != labels
    assert wrong.sum() == 270
    following = {0: 2, 2: 3, 3: 0}
    assert {(int(a), int(b)) for a, b in zip(labels[wrong], noisy[wrong], strict=True)} == set(following.items())


def test_bad_input() -> None:
    labels = np.zeros(4, dtype=np.int64)
    with pytest.raises(BenchmarkError, match=r"pairflip\.rate = 1\.0 is outside \[0, 1\)"):
        flip(labels, 2, rate=1.0)
    with pytest.raises(BenchmarkError, match=r"pairflip\.rate: 'much' is not a number"):
        flip(labels, 2, rate="much")
    with pytest.raises(BenchmarkError, match=r"unknown class in pairflip\.protect 'cta'; did you mean 'cat'"):
        flip(labels, 2, protect="cta", names=("cat", "dog"))
    with pytest.raises(BenchmarkError, match="there is 0 of 2"):
        flip(labels, 2, protect="0+1")
    with pytest.raises(BenchmarkError, match="needs at least 2 unprotected classes"):
        flip(labels, 1)
    assert np.array_equal(flip(labels, 1, rate=0), labels)
