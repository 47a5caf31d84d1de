"""Methods compared over all conditions: average ranks, Friedman's test, and which differences in rank are more than chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FEWEST_GROUPS_TO_TEST", "Overall", "Standing", "Test"]

FEWEST_GROUPS_TO_TEST = 6
"""Of conditions; with fewer there is no p-value."""


@dataclass(frozen=True)
class Test:
    """A test's statistic and two-sided p-value."""

    name: str
    statistic: float
    p: float


@dataclass(frozen=True)
class Standing:
    """One method over the conditions that count.

    Attributes:
        method, plugin: short name and the plugin's name.
        mean, low, high: mean of the rank metric over the conditions (each the mean over its seeds) and its 95 % bootstrap interval,
            conditions drawn with replacement; None if incomplete.
        average_rank: mean of its ranks within the conditions, 1 is best; None if incomplete.
        wins: conditions in which it is best, ties counted for all who share them.
        missing: conditions that count and for which it has no complete result; 0 for the compared.
        close: not separable from the best average rank by the post-hoc test; None where nothing was tested, and for the best itself.
    """

    method: str
    plugin: str
    mean: float | None
    low: float | None
    high: float | None
    average_rank: float | None
    wins: int
    missing: int
    close: bool | None = None


@dataclass(frozen=True)
class Overall:
    """The comparison over conditions.

    Attributes:
        groups: positions in ``Comparison.groups`` of the conditions that count.
        left_out: position → why a condition does not count: unsolvable, or fewer than half of the methods are complete in it.
        standings: by average rank, then the incomplete by name.
        ranks: method → its ranks in ``groups``, of the compared methods only.
        friedman: None where ``too_few``.
        posthoc: ``nemenyi`` or ``wilcoxon-holm``. pairs: (method, method) → adjusted p, each pair once, in the order of standings.
        critical_difference: of average ranks at 0.05, for Nemenyi only.
        cliques: sets of methods, at least two, next to each other in rank, of which no pair differs at 0.05; none lies in another.
        too_few: why nothing is tested, e.g. ``too few to test: 4 conditions of 6``; empty where it was tested.
    """

    groups: tuple[int, ...]
    left_out: Mapping[int, str]
    standings: tuple[Standing, ...]
    ranks: Mapping[str, tuple[float, ...]]
    friedman: Test | None
    posthoc: str
    pairs: Mapping[tuple[str, str], float]
    critical_difference: float | None
    cliques: tuple[tuple[str, ...], ...]
    too_few: str
