"""Comparison of methods, paired: within data, noise and protocol, on the same seeds, or with no rank at all.

A mean over whatever happens to be there compares different cells: a method that lacks the hardest seed looks best. So the
methods of a group are compared on its *reference seeds*; a method that lacks one of them is shown, and not ranked.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchmark.errors import unknown_name
from benchmark.tasks import TASKS
from reports.cells import Cell, Runs, cells
from reports.columns import COLUMNS_OF, WHERE_KNOWN, Column, column
from reports.families import families
from reports.overall import Overall, overall
from reports.published import Published, published_for
from reports.rows import Row
from reports.statistics import bootstrap_intervals, signed_rank, simultaneous_t

__all__ = ["Comparison", "Difference", "Entry", "Group", "Summary", "compare"]

FEWEST_SEEDS_TO_TEST = 6
"""Below six pairs a two-sided Wilcoxon test cannot reach 0.05 whatever the data."""


@dataclass(frozen=True)
class Summary:
    """Mean over ``n`` seeds and sample standard deviation (ddof = 1; None of a single seed).

    Attributes:
        low, high: 95 % bootstrap interval of the mean (percentiles, the seeds drawn with replacement); None of a single seed.
    """

    mean: float | None
    sd: float | None
    n: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Entry:
    """One method of a group.

    Attributes:
        method: its short name; ``plugin``: the plugin's name.
        seeds: the seeds behind the numbers: the reference seeds, or the method's own if it lacks some of them.
        incomplete: it has results, but not for every reference seed; there is no rank then.
        rank: 1 is best, ties share the average rank; None: not comparable.
        values: column key → summary, over the seeds where the metric is defined.
        oracle: the truths the method was told. stale: the code of some run has changed since.
        tuned: how many trials chose its setting, empty for one that nobody searched.
        diverged, skipped: how many runs did so. reasons: why, each text once.
        close: not separable from the best of the group: the simultaneous 95 % interval (Student's t, Bonferroni over the others) of
            the paired difference in the rank metric holds zero; None for the best, the unranked, and where there is one seed.
        spec: of one of its runs: all of them share method, data, noise and protocol.
        run_keys: of the runs behind the numbers, in the order of ``seeds``.
        published: figures of others for the same data, noise, method and backbone.
    """

    method: str
    plugin: str
    seeds: tuple[int, ...]
    incomplete: bool
    rank: float | None
    values: Mapping[str, Summary]
    oracle: tuple[str, ...] = ()
    tuned: str = ""
    stale: bool = False
    diverged: int = 0
    skipped: int = 0
    reasons: tuple[str, ...] = ()
    close: bool | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    run_keys: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()


@dataclass(frozen=True)
class Difference:
    """Method minus baseline, paired by seed.

    Attributes:
        mean: mean paired difference. se: sample sd / √n of the differences, None for n = 1. The seeds share most of their
            training images, so this is the scatter of the benchmark, not of new data.
        n: shared seeds. p: two-sided Wilcoxon signed-rank test, not adjusted for several methods; None for n < 6.
    """

    method: str
    baseline: str
    mean: float
    se: float | None
    n: int
    p: float | None


@dataclass(frozen=True)
class Group:
    """The methods on one data set with one noise under one protocol.

    Attributes:
        seeds: the reference seeds. left_out: other seeds that some method has.
        family: the noise model with all its parameters but the rate, e.g. ``symmetric``; conditions of one family differ in the rate alone.
        rate: the noise's nominal rate, 0 without noise, None where the model has none.
        solvable: False when some draw of the noise leaves the true class no longer the most likely given label.
        entries: by rank, then the unranked by name.
        references: key of the trivial scorer's value → summary over all runs, which share their noise.
        differences: of each method to the baseline, on the rank metric.
    """

    dataset: str
    noise: str
    protocol: str
    seeds: tuple[int, ...]
    left_out: tuple[int, ...]
    solvable: bool
    entries: tuple[Entry, ...]
    references: Mapping[str, Summary]
    differences: tuple[Difference, ...]
    family: str = ""
    rate: float | None = None

    def best(self, column: Column) -> frozenset[str]:
        """Methods with the best mean of a column, among the ranked whose mean is over all seeds; empty with one method."""
        return self._place(column, 0)

    def second(self, column: Column) -> frozenset[str]:
        """Methods with the next mean after the best, among the same; empty with fewer than three, and where all are best."""
        return self._place(column, 1)

    def _place(self, column: Column, place: int) -> frozenset[str]:
        summaries = {entry.method: _of(entry, column.key) for entry in self.entries if entry.rank is not None}
        costs = {m: column.cost(s.mean) for m, s in summaries.items() if s.mean is not None and s.n == len(self.seeds)}
        means = sorted(set(costs.values()))
        return frozenset(m for m, cost in costs.items() if len(costs) > 1 + place and len(means) > place and cost == means[place])


@dataclass(frozen=True)
class Comparison:
    """Everything a table shows, whatever its format.

    Attributes:
        rank: one of ``columns``. compact: keys of columns.
        overall: the comparison over conditions; None without any.
    """

    rank: Column
    columns: tuple[Column, ...]
    compact: tuple[str, ...]
    baseline: str
    groups: tuple[Group, ...]
    runs: tuple[Row, ...]
    task: str = "classification"
    overall: Overall | None = None

    def shown(self) -> tuple[Column, ...]:
        """The columns for a terminal or a page, the rank metric among them."""
        return tuple(c for c in self.columns if c.key in self.compact or c.key == self.rank.key)


def compare(
    rows: Iterable[Row],
    *,
    rank_by: str | None = None,
    columns: Sequence[Column] | None = None,
    compact: Sequence[str] | None = None,
    baseline: str | None = None,
    seeds: Sequence[int] | None = None,
    posthoc: str = "nemenyi",
) -> Comparison:
    """Compare the methods within every (data, noise, protocol), and over them.

    Args:
        rows: from :func:`reports.rows.flatten_all`, of one task, which decides what is not given.
        rank_by: key of the metric that ranks, by default the task's headline metric of the selected epoch; a column is added for
            it if there is none.
        columns: what is shown at length, by default :data:`~reports.columns.COLUMNS_OF`.
        compact: keys of what is shown in short, by default as there; a column is added for each that has none.
        baseline: short or plugin name of the method the others are set against, by default the task's.
        seeds: the reference seeds, i.e. those asked for; None takes each group's seeds that at least half of its methods
            have, so that one method's extra seeds do not make the others incomplete.
        posthoc: which test tells pairs of methods apart over conditions, one of :data:`~reports.overall.POSTHOC`.

    Raises:
        BenchmarkError: no finished run has ``rank_by`` or one of ``compact``; an unknown ``posthoc``.
    """
    runs = tuple(rows)
    task = runs[0].get("task", "classification") if runs else "classification"
    usual, short = COLUMNS_OF[task]
    columns = usual if columns is None else columns
    rank_by, baseline = rank_by or f"selected/{TASKS[task].headline}", baseline or TASKS[task].baseline
    done = [row for row in runs if row["status"] == "done"]
    known = {key for row in done for key, value in row.items() if "/" in key and isinstance(value, (int, float))}
    for key in (rank_by, *(compact or ())):
        if done and key not in known and not any(key in row for row in done):
            raise unknown_name("metric", key, known, "all are in: python -m benchmark report --format csv")
    rank = next((c for c in columns if c.key == rank_by), None) or column(rank_by)
    every = tuple(columns) if rank in columns else (rank, *columns)
    every += tuple(column(key) for key in compact or () if key not in {c.key for c in every})
    if compact is None:
        compact = short + tuple(key for key in WHERE_KNOWN if key in known)
    groups = _groups(cells(runs, seeds), rank, every, baseline)
    return Comparison(rank, every, tuple(compact), baseline, groups, runs, task, overall(groups, rank, posthoc))


Intervals = Mapping[tuple[float, ...], tuple[float, float] | None]


def _groups(conditions: Sequence[Cell], rank: Column, columns: tuple[Column, ...], baseline: str) -> tuple[Group, ...]:
    keys = list(dict.fromkeys(key for c in columns for key in (c.before, c.key) if key))
    trivial = [c.reference[0] for c in columns if c.reference]
    samples = {runs.sample(key) for cell in conditions for runs in cell.methods for key in keys}
    samples |= {cell.shared(key) for cell in conditions for key in trivial}
    asked = list(samples)
    intervals = dict(zip(asked, bootstrap_intervals(asked), strict=True))  # of all groups at once, which is far quicker
    groups = []
    for cell, (family, rate) in zip(conditions, families(conditions), strict=True):
        solvable = not any(row["solvable"] is False for row in cell.rows)
        entries = [_entry(runs, keys, intervals) for runs in cell.methods]
        if solvable:
            entries = _ranked(entries, cell, rank)
        groups.append(
            Group(
                dataset=cell.rows[0]["dataset"],
                noise=cell.rows[0]["noise"],
                protocol=cell.rows[0]["protocol"],
                seeds=cell.seeds,
                left_out=cell.left_out,
                solvable=solvable,
                entries=tuple(sorted(entries, key=lambda e: (e.rank is None, e.rank or 0.0, e.method))),
                references={key: _summary(cell.shared(key), intervals) for key in trivial},
                differences=_differences(cell.methods, rank.key, baseline),
                family=family,
                rate=rate,
            )
        )
    return tuple(groups)


def _entry(runs: Runs, keys: Sequence[str], intervals: Intervals) -> Entry:
    rows = runs.rows
    values = {key: _summary(runs.sample(key), intervals) for key in keys}
    return Entry(
        method=runs.method,
        plugin=runs.plugin,
        seeds=runs.seeds,
        incomplete=runs.incomplete,
        rank=None,
        values=values,
        oracle=tuple(sorted({truth for row in rows for truth in row["oracle"]})),
        tuned="+".join(sorted({row["tuned"] for row in rows if row.get("tuned")})),
        stale=any(row["stale"] for row in rows),
        diverged=sum(row["status"] == "diverged" for row in rows),
        skipped=sum(row["status"] == "skipped" for row in rows),
        reasons=tuple(sorted({str(row["reason"]) for row in rows if row["reason"]})),
        run_keys=tuple(str(runs.done[seed]["run_key"]) for seed in runs.seeds),
        spec=rows[0]["spec"],
        published=published_for([runs.done[seed] for seed in runs.seeds], values),
    )


def _ranked(entries: Sequence[Entry], cell: Cell, rank: Column) -> list[Entry]:
    """The entries with ranks where the rank metric is defined on every reference seed, and whether they are close to the best."""
    costs = {}
    for entry in entries:
        summary = _of(entry, rank.key)
        if not entry.incomplete and summary.n == len(cell.seeds) and summary.mean is not None:
            costs[entry.method] = rank.cost(summary.mean)
    known = list(costs.values())
    places = {m: sum(k < cost for k in known) + (sum(k == cost for k in known) + 1) / 2 for m, cost in costs.items()}
    samples = {runs.method: runs.sample(rank.key) for runs in cell.methods if runs.method in places}
    close = _close(samples, places) if len(cell.seeds) > 1 else {}
    return [replace(entry, rank=places.get(entry.method), close=close.get(entry.method)) for entry in entries]


def _close(samples: Mapping[str, Sequence[float]], places: Mapping[str, float]) -> dict[str, bool]:
    """Of each method that is not best: whether zero lies in the interval of its difference to any of the best."""
    best = [m for m, place in places.items() if place == min(places.values())]
    others = [m for m in places if m not in best]
    found = dict.fromkeys(others, False)
    for one in best:
        rest = [m for m in places if m != one]  # one as good counts among the comparisons, too
        intervals = simultaneous_t(samples[one], [samples[m] for m in rest])
        found |= {m: found[m] or low <= 0 <= high for m, (low, high) in zip(rest, intervals, strict=True) if m in found}
    return found


def _of(entry: Entry, key: str) -> Summary:
    return entry.values.get(key, Summary(None, None, 0))


def _summary(known: tuple[float, ...], intervals: Intervals) -> Summary:
    if not known:
        return Summary(None, None, 0)
    low, high = intervals[known] or (None, None)
    return Summary(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None, len(known), low, high)


def _differences(methods: Sequence[Runs], key: str, baseline: str) -> tuple[Difference, ...]:
    done = [runs for runs in methods if runs.done]
    series = {runs.method: {s: row[key] for s, row in runs.done.items() if row.get(key) is not None} for runs in done}
    base = baseline if baseline in series else next((runs.method for runs in done if runs.plugin == baseline), None)
    if base is None or not series[base]:
        return ()
    found = []
    for method in sorted(set(series) - {base}):
        shared = sorted(series[method].keys() & series[base].keys())
        if shared:
            found.append(_difference(method, base, [series[method][s] - series[base][s] for s in shared]))
    return tuple(found)


def _difference(method: str, baseline: str, pairs: list[float]) -> Difference:
    n = len(pairs)
    se = statistics.stdev(pairs) / math.sqrt(n) if n > 1 else None
    p = signed_rank(pairs)[1] if n >= FEWEST_SEEDS_TO_TEST else None
    return Difference(method, baseline, statistics.fmean(pairs), se, n, p)
