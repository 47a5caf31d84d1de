import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.api import Samples
from benchmark.errors import BenchmarkError
from benchmark.params import resolve
from benchmark.registry import Registry

SYMMETRIC = Registry().load("noise", "symmetric")
NAMES = ("normal", "serrated", "adenocarcinoma", "adenoma")


def flip(labels: np.ndarray, k: int, *, seed: int = 0, names: tuple[str, ...] = (), **params: object) -> np.ndarray:
    noise = SYMMETRIC(resolve(SYMMETRIC.Params, params, "symmetric"))
    return noise.apply(Samples(labels, k, names), np.random.default_rng(seed))


@given(st.integers(0, 400), st.integers(2, 6), st.floats(0, 0.99), st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_the_rate_is_exact(n: int, k: int, rate: float, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, k, n)
    before = labels.copy()
    noisy = flip(labels, k, seed=seed, rate=rate)
    assert abs((noisy != labels).sum() - rate * n) <= 0.5 + 1e-9  # a half may go either way
    assert noisy.dtype == np.int64 and np.array_equal(labels, before)
    assert noisy.size == 0 or (noisy.min() >= 0 and noisy.max() < k)


@given(st.integers(2, 8), st.floats(0.05, 0.85), st.integers(0, 50))
@settings(deadline=None, max_examples=40)
def test_every_class_has_its_exact_share(k: int, rate: float, seed: int) -> None:
    """Were the counts exact in their sum only, chance would put some classes beyond what can be solved."""
    labels = np.random.default_rng(seed).integers(0, k, 500)
    noisy = flip(labels, k, seed=seed, rate=rate)
    totals = np.bincount(labels, minlength=k)
    counts = np.bincount(labels * k + noisy, minlength=k * k).reshape(k, k)
    expected = totals[:, None] * np.where(np.eye(k, dtype=bool), 1 - rate, rate / (k - 1))
    assert np.abs(counts - expected).max() < 1 + 1e-6


def test_draws_differ_in_who_is_hit_and_not_in_how_many() -> None:
    """Labels that flip independently miss the rate by √(r (1 − r)/n) in every draw, 6.5 % here; every draw here has it exactly,
    and still each sample is hit with probability r."""
    labels, rate, draws = np.arange(50) % 2, 0.3, 500
    wrong = np.array([flip(labels, 2, seed=seed, rate=rate) != labels for seed in range(draws)])
    assert wrong.sum(axis=1).tolist() == [15] * draws
    assert np.abs(wrong.mean(axis=0) - rate).max() < 4.5 * np.sqrt(rate * (1 - rate) / draws)


def test_wrong_labels_are_uniform_over_the_other_classes() -> None:
    labels = np.repeat(np.arange(4), 25_000)
    noisy = flip(labels, 4, rate=0.3)
    matrix = np.bincount(labels * 4 + noisy, minlength=16).reshape(4, 4) / 25_000
    assert np.allclose(matrix, np.where(np.eye(4, dtype=bool), 0.7, 0.1), atol=0.01)


def test_inclusive_keeps_some_of_what_it_draws() -> None:
    labels = np.repeat(np.arange(4), 25_000)
    noisy = flip(labels, 4, rate=0.4, inclusive=True)
    matrix = np.bincount(labels * 4 + noisy, minlength=16).reshape(4, 4) / 25_000
    assert np.allclose(matrix, np.where(np.eye(4, dtype=bool), 0.7, 0.1), atol=0.01)  # 1 - 0.4 * 3/4 and 0.4 / 4
    assert (noisy != labels).mean() == pytest.approx(0.4 * 3 / 4, abs=0.005)


@pytest.mark.parametrize("protect", ["serrated+adenoma", "1+3", " adenoma + 1 "])
def test_protected_classes_neither_flip_nor_receive(protect: str) -> None:
    labels = np.tile(np.arange(4), 250)
    noisy = flip(labels, 4, rate=0.5, protect=protect, names=NAMES)
    protected = np.isin(labels, (1, 3))
    assert np.array_equal(noisy[protected], labels[protected])
    assert not np.isin(noisy[~protected], (1, 3)).any()
    assert (noisy != labels).sum() == 250  # half of the 500 that are not protected


@pytest.mark.parametrize(("protect", "rate"), [("", 0.8), ("0+1", 0.8 * 7 / 9)])
def test_only_protected_classes_take_from_the_whole_rate(protect: str, rate: float) -> None:
    """Without any, 80 % of all labels are wrong; with two of nine alike frequent classes it is 80 % of the other seven ninths."""
    labels = np.arange(9000) % 9
    assert (flip(labels, 9, rate=0.8, protect=protect) != labels).mean() == pytest.approx(rate, abs=1e-3)


def test_a_name_goes_before_an_id_and_may_hold_a_plus() -> None:
    labels = np.repeat(np.arange(3), 50)
    noisy = flip(labels, 3, rate=0.9, protect="CD4+", names=("a", "CD4+", "b"))
    assert np.array_equal(noisy == 1, labels == 1)
    noisy = flip(labels, 3, rate=0.9, protect="2", names=("2", "1", "0"))
    assert np.array_equal(noisy == 0, labels == 0)


def test_unknown_class_in_protect() -> None:
    labels = np.zeros(4, dtype=np.int64)
    with pytest.raises(BenchmarkError, match=r"unknown class in symmetric\.protect 'adenom'; did you mean 'adenoma'"):
        flip(labels, 4, protect="adenom", names=NAMES)
    with pytest.raises(BenchmarkError, match=r"'4'; .*known: 0, 1, 2, 3"):
        flip(labels, 4, protect="4")


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_rates_outside_the_range(rate: float) -> None:
    with pytest.raises(BenchmarkError, match=r"symmetric\.rate = .* is outside \[0, 1\)"):
        flip(np.zeros(4, dtype=np.int64), 2, rate=rate)
    with pytest.raises(BenchmarkError, match=r"outside \[0, 1\)"):
        SYMMETRIC().with_rate(rate)


def test_too_few_classes() -> None:
    one = np.zeros(10, dtype=np.int64)
    with pytest.raises(BenchmarkError, match="needs at least 2 unprotected classes, but there is 1 of 1"):
        flip(one, 1)
    with pytest.raises(BenchmarkError, match="1 of 2"):
        flip(one, 2, protect="1")
    assert np.array_equal(flip(one, 1, rate=0), one)


def test_labels_out_of_range() -> None:
    with pytest.raises(BenchmarkError, match=r"labels must lie in \[0, 2\)"):
        flip(np.array([0, 2]), 2)


def test_repeats_with_the_generator_and_knows_its_rate() -> None:
    labels = np.tile(np.arange(4), 50)
    assert np.array_equal(flip(labels, 4, seed=3), flip(labels, 4, seed=3))
    assert not np.array_equal(flip(labels, 4, seed=3), flip(labels, 4, seed=4))
    other = SYMMETRIC(SYMMETRIC.Params(inclusive=True)).with_rate(0.35)
    assert other.rate == 0.35 and other.params.inclusive and SYMMETRIC.argument == "rate"
