"""Methods compared over all conditions: average ranks, Friedman's test, and which differences in rank are more than chance.

An average over whatever happens to be there compares different cells: a method that lacks the hardest condition looks best. So
the compared are those that are complete, on the same seeds, in every condition that counts.
"""

from __future__ import annotations

import statistics as plain
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.errors import unknown_name
from reports.columns import Column
from reports.statistics import (
    ALPHA,
    average_ranks,
    bootstrap_intervals,
    cliques,
    critical_difference,
    friedman,
    nemenyi,
    ranks,
    signed_rank,
    wilcoxon_holm,
)

if TYPE_CHECKING:
    import numpy as np

    from reports.tables import Group

__all__ = ["FEWEST_GROUPS_TO_TEST", "POSTHOC", "Omnibus", "Overall", "Standing", "overall"]

POSTHOC = ("nemenyi", "wilcoxon-holm")
"""Tests of pairs of methods. The first is read off average ranks, so that its verdict on two methods depends on the others, too."""

FEWEST_GROUPS_TO_TEST = 6
"""Of conditions; with fewer there is no p-value."""


@dataclass(frozen=True)
class Omnibus:
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
        friedman: of two methods Wilcoxon's signed-rank test, as its name says; None where ``too_few``.
        posthoc: one of :data:`POSTHOC`; of two methods always ``wilcoxon-holm``.
        pairs: (method, method) → adjusted p, each pair once, in the order of standings.
        critical_difference: of average ranks at 0.05, for Nemenyi only.
        cliques: sets of methods, at least two, next to each other in rank, of which no pair differs at 0.05; none lies in another.
        too_few: why nothing is tested, e.g. ``too few to test: 4 conditions of 6``; empty where it was tested.
    """

    groups: tuple[int, ...]
    left_out: Mapping[int, str]
    standings: tuple[Standing, ...]
    ranks: Mapping[str, tuple[float, ...]]
    friedman: Omnibus | None
    posthoc: str
    pairs: Mapping[tuple[str, str], float]
    critical_difference: float | None
    cliques: tuple[tuple[str, ...], ...]
    too_few: str


def overall(groups: Sequence[Group], rank: Column, posthoc: str = "nemenyi") -> Overall | None:
    """Compare the methods over the groups, by the mean of the rank metric over each group's reference seeds.

    A group counts if it is solvable and at least half of the methods are ranked in it: of those that are ranked beside another
    method anywhere, so that neither a method that no data suit nor a group of one method's own decides what counts. The compared
    are the methods ranked in every group that counts. Every (data, noise, protocol) is a condition of its own.

    Args:
        groups: of one comparison; methods are the same where their short names are.
        rank: the metric that ranks. posthoc: one of :data:`POSTHOC`.

    Returns:
        None without groups.

    Raises:
        BenchmarkError: an unknown ``posthoc``.
    """
    if posthoc not in POSTHOC:
        raise unknown_name("post-hoc test", posthoc, POSTHOC)
    if not groups:
        return None
    ranked = [_means(group, rank) for group in groups]
    anywhere = set().union(*(means for means in ranked if len(means) > 1))
    counting = tuple(place for place, means in enumerate(ranked) if len(means) > 1 and 2 * len(means) >= len(anywhere))
    left_out = {place: _why_not(group, len(ranked[place]), len(anywhere)) for place, group in enumerate(groups) if place not in counting}
    plugins = {entry.method: entry.plugin for group in groups for entry in group.entries}
    compared = sorted(m for m in anywhere if all(m in ranked[place] for place in counting))
    if len(compared) < 2 or not counting:
        compared = []
    missing = {m: sum(m not in ranked[place] for place in counting) for m in plugins}
    incomplete = [Standing(m, plugins[m], None, None, None, None, 0, missing[m]) for m in sorted(set(plugins) - set(compared))]
    too_few = _too_few(len(compared), len(anywhere), len(counting))
    if not compared:
        return Overall(counting, left_out, tuple(incomplete), {}, None, posthoc, {}, None, (), too_few)
    return _compared(compared, [ranked[place] for place in counting], rank, posthoc, counting, left_out, plugins, incomplete, too_few)


def _compared(
    names: list[str],
    means: list[dict[str, float]],
    rank: Column,
    posthoc: str,
    counting: tuple[int, ...],
    left_out: Mapping[int, str],
    plugins: Mapping[str, str],
    incomplete: list[Standing],
    too_few: str,
) -> Overall:
    import numpy as np

    costs = np.array([[rank.cost(of[m]) for m in names] for of in means])
    order = np.argsort(average_ranks(costs).round(12), kind="stable")  # the names are in order already
    names, costs = [names[m] for m in order], costs[:, order]
    places, average = ranks(costs), average_ranks(costs).round(12)
    p: np.ndarray | None = None
    test: Omnibus | None = None
    if len(names) == 2:
        posthoc = "wilcoxon-holm"
    if not too_few:
        p = nemenyi(costs) if posthoc == "nemenyi" else wilcoxon_holm(costs)
        several = len(names) > 2
        test = (
            Omnibus("Friedman", *friedman(costs)) if several else Omnibus("Wilcoxon signed-rank", *signed_rank(costs[:, 0] - costs[:, 1]))
        )
    best = average == average.min()
    close: list[bool | None] = [None] * len(names)
    if p is not None:
        close = [None if best[m] else bool((p[best, m] >= ALPHA).any()) for m in range(len(names))]
    wins = (costs == costs.min(axis=1, keepdims=True)).sum(axis=0)
    samples = [[of[m] for of in means] for m in names]
    standings = []
    for m, (sample, interval) in enumerate(zip(samples, bootstrap_intervals(samples), strict=True)):
        low, high = interval or (None, None)
        of = (names[m], plugins[names[m]], plain.fmean(sample), low, high)
        standings.append(Standing(*of, float(average[m]), int(wins[m]), 0, close[m]))
    return Overall(
        groups=counting,
        left_out=left_out,
        standings=(*standings, *incomplete),
        ranks={name: tuple(places[:, m].tolist()) for m, name in enumerate(names)},
        friedman=test,
        posthoc=posthoc,
        pairs={} if p is None else {(a, b): float(p[i, j]) for i, a in enumerate(names) for j, b in enumerate(names) if i < j},
        critical_difference=critical_difference(*reversed(costs.shape)) if p is not None and posthoc == "nemenyi" else None,
        cliques=() if p is None else tuple(tuple(names[first : last + 1]) for first, last in cliques(p)),
        too_few=too_few,
    )


def _means(group: Group, rank: Column) -> dict[str, float]:
    """Of the ranked: method → mean of the rank metric over the reference seeds."""
    means = {entry.method: entry.values[rank.key].mean for entry in group.entries if entry.rank is not None}
    return {method: mean for method, mean in means.items() if mean is not None}


def _why_not(group: Group, ranked: int, anywhere: int) -> str:
    if not group.solvable:
        return "unsolvable"
    return f"{ranked} of {anywhere} methods are complete" if anywhere else "no two methods are complete"


def _too_few(compared: int, anywhere: int, counting: int) -> str:
    """Why nothing is tested, empty if it is."""
    conditions = f"{counting} condition{'' if counting == 1 else 's'}"
    if anywhere < 2:
        return "nothing to compare: no solvable condition has complete results of two methods"
    if not counting:
        return f"nothing to compare: no solvable condition has complete results of at least half of the {anywhere} methods"
    if not compared:
        return f"nothing to compare: no two methods are complete in every one of {conditions}; report them apart, e.g. by --datasets"
    if counting < FEWEST_GROUPS_TO_TEST:
        return f"too few to test: {conditions} of {FEWEST_GROUPS_TO_TEST}"
    return ""
