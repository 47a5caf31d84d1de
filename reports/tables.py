"""Comparison of methods, paired: within data, noise and protocol, on the same seeds, or with no rank at all.

A mean over whatever happens to be there compares different cells: a method that lacks the hardest seed looks best. So the
methods of a group are compared on its *reference seeds*; a method that lacks one of them is shown, and not ranked.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmark.errors import unknown_name
from benchmark.tasks import TASKS
from reports.columns import COLUMNS_OF, WHERE_KNOWN, Column, column
from reports.overall import Overall
from reports.published import Published
from reports.rows import Row

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
        means = {e.method: _of(e, column.key).mean for e in self.entries if e.rank is not None and _of(e, column.key).n == len(self.seeds)}
        known = [_signed(mean, column) for mean in means.values() if mean is not None]
        return frozenset(m for m, mean in means.items() if len(known) > 1 and mean is not None and _signed(mean, column) == min(known))


@dataclass(frozen=True)
class Comparison:
    """Everything a table shows, whatever its format. ``rank`` is one of ``columns``; ``compact`` are keys of columns."""

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
) -> Comparison:
    """Compare the methods within every (data, noise, protocol).

    Args:
        rows: from :func:`reports.rows.flatten_all`, of one task, which decides what is not given.
        rank_by: key of the metric that ranks, by default the task's headline metric of the selected epoch; a column is added for
            it if there is none.
        columns: what is shown at length, by default :data:`~reports.columns.COLUMNS_OF`.
        compact: keys of what is shown in short, by default as there; a column is added for each that has none.
        baseline: short or plugin name of the method the others are set against, by default the task's.
        seeds: the reference seeds, i.e. those asked for; None takes each group's seeds that at least half of its methods
            have, so that one method's extra seeds do not make the others incomplete.

    Raises:
        BenchmarkError: no finished run has ``rank_by`` or one of ``compact``.
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
            raise unknown_name("metric", key, known)
    rank = next((c for c in columns if c.key == rank_by), None) or column(rank_by)
    every = tuple(columns) if rank in columns else (rank, *columns)
    every += tuple(column(key) for key in compact or () if key not in {c.key for c in every})
    cells: dict[str, list[Row]] = {}
    for row in runs:
        cells.setdefault(row["identity"]["cell"], []).append(row)
    ordered = sorted(cells.values(), key=lambda cell: (cell[0]["dataset"], cell[0]["noise"], cell[0]["protocol"]))
    groups = tuple(_group(cell, rank, every, baseline, seeds) for cell in ordered)
    if compact is None:
        compact = short + tuple(key for key in WHERE_KNOWN if key in known)
    return Comparison(rank, every, tuple(compact), baseline, groups, runs)


def _group(rows: list[Row], rank: Column, columns: tuple[Column, ...], baseline: str, asked: Sequence[int] | None) -> Group:
    methods: dict[str, dict[int, Row]] = {}
    for row in rows:
        methods.setdefault(row["identity"]["method"], {})[row["seed"]] = row
    done = {name: {s: row for s, row in runs.items() if row["status"] == "done"} for name, runs in methods.items()}
    having = [set(runs) for runs in done.values() if runs]
    every_seed = set().union(*having)
    reference = set(asked) if asked is not None else {s for s in every_seed if 2 * sum(s in seeds for seeds in having) >= len(having)}
    solvable = not any(row["solvable"] is False for row in rows)
    entries = [_entry(list(runs.values()), done[name], reference, columns) for name, runs in methods.items()]
    ranks = _ranks(entries, rank, len(reference)) if solvable else [None] * len(entries)
    ranked = [Entry(**{**vars(entry), "rank": place}) for entry, place in zip(entries, ranks, strict=True)]
    ranked.sort(key=lambda e: (e.rank is None, e.rank or 0.0, e.method))
    finished = [row for runs in done.values() for row in runs.values()]
    keys = [c.reference[0] for c in columns if c.reference]
    return Group(
        dataset=rows[0]["dataset"],
        noise=rows[0]["noise"],
        protocol=rows[0]["protocol"],
        seeds=tuple(sorted(reference)),
        left_out=tuple(sorted(every_seed - reference)),
        solvable=solvable,
        entries=tuple(ranked),
        references={key: _one_per_seed(finished, key, reference) for key in keys},
        differences=_differences(list(done.values()), rank.key, baseline),
    )


def _entry(runs: list[Row], done: Mapping[int, Row], reference: set[int], columns: tuple[Column, ...]) -> Entry:
    incomplete = bool(done) and not reference <= set(done)
    used = sorted(done if incomplete else reference & set(done))
    keys = [key for c in columns for key in (c.before, c.key) if key]
    return Entry(
        method=runs[0]["method"],
        plugin=str(runs[0]["spec"]["method"]["name"]),
        seeds=tuple(used),
        incomplete=incomplete,
        rank=None,
        values={key: _summary([done[seed].get(key) for seed in used]) for key in keys},
        oracle=tuple(sorted({truth for row in runs for truth in row["oracle"]})),
        tuned="+".join(sorted({row["tuned"] for row in runs if row.get("tuned")})),
        stale=any(row["stale"] for row in runs),
        diverged=sum(row["status"] == "diverged" for row in runs),
        skipped=sum(row["status"] == "skipped" for row in runs),
        reasons=tuple(sorted({str(row["reason"]) for row in runs if row["reason"]})),
    )


def _ranks(entries: Sequence[Entry], rank: Column, seeds: int) -> list[float | None]:
    """Average ranks of the entries whose rank metric is defined on every reference seed; None for the others."""
    values: list[float | None] = []
    for entry in entries:
        summary = _of(entry, rank.key)
        ranked = not entry.incomplete and summary.n == seeds and summary.mean is not None
        values.append(_signed(summary.mean or 0.0, rank) if ranked else None)
    known = [value for value in values if value is not None]
    return [None if v is None else sum(k < v for k in known) + (sum(k == v for k in known) + 1) / 2 for v in values]


def _signed(mean: float, column: Column) -> float:
    """Lower is better; rounded so that the order of a sum does not break a tie."""
    return round(-mean if column.higher_is_better else mean, 12)


def _of(entry: Entry, key: str) -> Summary:
    return entry.values.get(key, Summary(None, None, 0))


def _summary(values: Iterable[float | None]) -> Summary:
    known = [float(value) for value in values if value is not None]
    if not known:
        return Summary(None, None, 0)
    return Summary(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None, len(known))


def _one_per_seed(rows: Iterable[Row], key: str, seeds: set[int]) -> Summary:
    """Of what all methods of a seed share: the mean over the seeds, not over the runs."""
    values = {row["seed"]: row[key] for row in rows if row["seed"] in seeds and row.get(key) is not None}
    return _summary(values[seed] for seed in sorted(values))


def _differences(done: Sequence[Mapping[int, Row]], key: str, baseline: str) -> tuple[Difference, ...]:
    series = {_name(runs): {s: row[key] for s, row in runs.items() if row.get(key) is not None} for runs in done if runs}
    plugins = {_name(runs): next(iter(runs.values()))["spec"]["method"]["name"] for runs in done if runs}
    base = baseline if baseline in series else next((n for n, plugin in plugins.items() if plugin == baseline), None)
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
    p: float | None = None
    if n >= FEWEST_SEEDS_TO_TEST:
        from scipy.stats import wilcoxon

        # without a single difference the statistic does not exist, and nothing speaks against equality
        p = float(wilcoxon(pairs).pvalue) if any(pairs) else 1.0
    return Difference(method, baseline, statistics.fmean(pairs), se, n, p)


def _name(runs: Mapping[int, Row]) -> str:
    return str(next(iter(runs.values()))["method"])
