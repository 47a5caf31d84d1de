"""Means, intervals and paired differences, by hand."""

from __future__ import annotations

import math

import pytest

from sweeps.tuned import Interval, Sides, interval


def test_intervals_by_hand() -> None:
    """Student's quantiles for 97.5 % from a printed table: 12.7062 of one degree of freedom, 2.7764 of four."""
    assert interval([]) is None
    assert interval([0.7]) == Interval(0.7, None, None, None, 1)
    assert interval([0.7]).half is None  # type: ignore[union-attr]

    two = interval([0.6, 0.8])
    assert two is not None and two.half is not None
    assert (two.mean, two.n) == (pytest.approx(0.7), 2)
    assert two.sd == pytest.approx(0.1 * math.sqrt(2))
    assert two.half == pytest.approx(12.7062 * 0.1, rel=1e-5)
    assert (two.low, two.high) == (pytest.approx(0.7 - 1.27062, rel=1e-4), pytest.approx(0.7 + 1.27062, rel=1e-4))

    five = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert five is not None
    assert (five.mean, five.sd) == (3.0, pytest.approx(math.sqrt(2.5)))
    assert five.half == pytest.approx(2.776445 * math.sqrt(2.5 / 5), rel=1e-6)


def test_equal_values_have_no_width() -> None:
    assert interval([0.5, 0.5, 0.5]) == Interval(0.5, 0.0, 0.5, 0.5, 3)


def test_a_difference_is_paired_and_leaves_missing_seeds_out() -> None:
    sides = Sides({100: 0.5, 101: 0.6, 102: 0.9}, {101: 0.7, 100: 0.8, 103: 0.1})
    found = sides.difference
    assert found is not None
    assert (found.n, found.mean) == (2, pytest.approx(0.2))  # of 0.3 and 0.1
    assert found.sd == pytest.approx(math.sqrt(0.02)) and found.half == pytest.approx(12.7062 * 0.1, rel=1e-5)
    assert Sides({1: 0.5}, {1: 0.25}).difference == Interval(-0.25, None, None, None, 1)
    assert Sides({1: 0.5}, {2: 0.5}).difference is None
    assert Sides({}, {}).difference is None
