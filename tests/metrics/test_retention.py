"""Retention curves against rankings that can be walked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.metrics.detection import is_hard, lowest
from benchmark.metrics.retention import GRID, area, retention

TRUE = np.zeros(8, dtype=np.int64)
GIVEN = np.array([1, 0, 1, 0, 0, 1, 0, 1])  # wrong: 0, 2, 5, 7
HARD = np.array([1, 1, 0, 1, 0, 1, 1, 0], dtype=bool)  # clean and hard: 1, 3, 6; a wrong label may be hard too
QUARTERS = np.array([0.0, 0.25, 0.5, 0.75, 1.0])


def test_a_walk_by_hand():
    # from the most suspicious: wrong 0, clean-hard 1, wrong 2, clean-easy 4, wrong 5, clean-hard 3, wrong 7, clean-hard 6
    quality = np.argsort([0, 1, 2, 4, 5, 3, 7, 6]).astype(float)
    assert retention(GIVEN, TRUE, quality, HARD, QUARTERS) == pytest.approx([1, 1, 2 / 3, 2 / 3, 1 / 3])
    assert retention(GIVEN, TRUE, quality, None, QUARTERS) == pytest.approx([1, 1, 3 / 4, 2 / 4, 1 / 4])
    assert retention(GIVEN, TRUE, quality, np.ones(8, dtype=bool), QUARTERS) == pytest.approx([1, 1, 3 / 4, 2 / 4, 1 / 4])


def test_a_share_that_is_no_whole_number_of_labels_is_rounded_up():
    quality = np.argsort([0, 1, 2, 4, 5, 3, 7, 6]).astype(float)
    # of 4 wrong labels: 0.01 is the first, 0.26 the second, 0.51 the third
    assert retention(GIVEN, TRUE, quality, HARD, np.array([0.01, 0.25, 0.26, 0.51])) == pytest.approx([1, 1, 2 / 3, 2 / 3])


def test_shares_are_not_rounded_up_by_the_error_of_a_float():
    given = np.repeat([1, 0], 100)  # 100 wrong and 100 clean ones, taken in turn
    quality = np.concatenate([np.arange(100) * 2.0, np.arange(100) * 2.0 + 1])
    kept = retention(given, np.zeros(200, dtype=np.int64), quality)
    assert 0.55 * 100 > 55
    assert kept == pytest.approx([1 - (k - 1) / 100 for k in range(5, 101, 5)])  # k wrong labels cost the k − 1 clean ones between them


def test_perfect_worst_and_infinite():
    wrong = GIVEN != TRUE
    assert retention(GIVEN, TRUE, np.where(wrong, -1.0, 1.0), HARD).tolist() == [1.0] * 20
    assert retention(GIVEN, TRUE, np.where(wrong, 1.0, -1.0), HARD).tolist() == [0.0] * 20
    assert retention(GIVEN, TRUE, np.where(wrong, -np.inf, np.inf), HARD).tolist() == [1.0] * 20


def test_a_tie_is_broken_by_index_and_never_removed_as_a_block():
    # one tie is the order of the indices: 0w 1h 2w 3h 4 5w 6h 7w
    assert retention(GIVEN, TRUE, np.zeros(8), HARD, QUARTERS) == pytest.approx([1, 1, 2 / 3, 1 / 3, 0])
    quality = np.array([5.0, 1, 1, 1, 1, 1, 9, 5])  # the tie 1h 2w 3h 4 5w straddles the first wrong label; then the tie 0w 7w
    assert retention(GIVEN, TRUE, quality, HARD, QUARTERS) == pytest.approx([1, 2 / 3, 1 / 3, 1 / 3, 1 / 3])


def test_it_removes_what_lowest_flags():
    rng = np.random.default_rng(0)
    given, quality, hardness = rng.integers(0, 3, 200), rng.integers(0, 40, 200).astype(float), rng.random(200)
    true, hard = np.zeros(200, dtype=np.int64), is_hard(hardness)
    wrong = given != true
    kept = retention(given, true, quality, hard, np.array([0.5]))
    depth = next(count for count in range(201) if (wrong & lowest(quality, count)).sum() >= 0.5 * wrong.sum())
    assert kept == pytest.approx([(~lowest(quality, depth))[hard & ~wrong].mean()])


def test_a_random_ranking_keeps_what_it_does_not_remove():
    rng = np.random.default_rng(0)
    given, hard = (np.arange(1000) < 300).astype(np.int64), np.arange(1000) % 4 == 0
    curves = [retention(given, np.zeros(1000, dtype=np.int64), rng.random(1000), hard) for _ in range(200)]
    expected = 1 - np.arange(15, 301, 15) / 301
    assert np.mean(curves, axis=0) == pytest.approx(expected, abs=0.01)  # three standard errors of 200 draws
    assert np.mean([area(curve) for curve in curves]) == pytest.approx(0.475, abs=0.01)


@pytest.mark.parametrize(
    ("given", "quality", "hard"),
    [
        (TRUE, np.arange(8.0), HARD),  # no wrong label
        (GIVEN, np.arange(8.0), np.zeros(8, dtype=bool)),  # no hard sample
        (GIVEN, np.arange(8.0), GIVEN != TRUE),  # none of the hard ones is clean
        (GIVEN, np.where(np.arange(8) == 3, np.nan, 1.0), HARD),
        (TRUE[:0], np.zeros(0), HARD[:0]),
    ],
)
def test_undefined_is_nan(given, quality, hard):
    kept = retention(given, TRUE[: len(given)], quality, hard)
    assert kept.shape == GRID.shape
    assert np.isnan(kept).all()
    assert np.isnan(area(kept))


@pytest.mark.parametrize("share", [-0.1, 1.1, np.nan])
def test_shares_outside_the_unit_interval(share):
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
        retention(GIVEN, TRUE, np.arange(8.0), HARD, np.array([share]))


def test_arrays_of_different_lengths():
    with pytest.raises(ValueError, match=r"differ in shape: \(7,\), \(8,\)"):
        retention(GIVEN, TRUE, np.arange(7.0), HARD)


def test_area_is_the_mean_over_the_grid():
    assert GRID[[0, 9, -1]].tolist() == [0.05, 0.5, 1.0]
    assert area(1 - GRID) == pytest.approx(0.475)
    assert area(np.array([1.0, 0.5, 0.0])) == 0.5
