"""One method against others, paired: by seed within each condition, and by condition over all of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.errors import BenchmarkError, unknown_name
from benchmark.tasks import TASKS
from reports.columns import Column, column
from reports.escape import one_line
from reports.overall import FEWEST_GROUPS_TO_TEST
from reports.rows import Row
from reports.statistics import bootstrap_intervals, signed_rank
from reports.tables import FEWEST_SEEDS_TO_TEST

__all__ = ["Condition", "Duel", "OverConditions", "Paired", "paired", "where"]

DIGITS = 12
"""Of a difference: what is beyond comes from the order of a sum, and must not break a tie."""


@dataclass(frozen=True)
class Condition:
    """The first method minus another on one data set with one noise under one protocol.

    Attributes:
        solvable: False: the true class is no longer the most likely given label; the condition does not count over conditions.
        seeds: those that both have a value of. left_out: seed → who lacks it, of those that one of them has.
        mean: mean difference over ``seeds``; None without any. sd: sample standard deviation (ddof = 1), None of one seed.
        low, high: 95 % interval of the mean, Student's t with n - 1 degrees of freedom; None of one seed.
        wins, ties, losses: seeds on which the first is better, equal, worse.
        p: two-sided Wilcoxon signed-rank test over the seeds, not adjusted for several; None below six.
    """

    dataset: str
    noise: str
    protocol: str
    solvable: bool
    seeds: tuple[int, ...]
    left_out: Mapping[int, str]
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    wins: int
    ties: int
    losses: int
    p: float | None


@dataclass(frozen=True)
class OverConditions:
    """The same over the solvable conditions with a shared seed, each counted by its mean difference.

    Attributes:
        n: conditions. low, high: 95 % bootstrap interval of the mean, the conditions drawn with replacement; None of one condition.
        p: Wilcoxon over the conditions, None below six.
    """

    n: int
    mean: float | None
    low: float | None
    high: float | None
    wins: int
    ties: int
    losses: int
    p: float | None


@dataclass(frozen=True)
class Duel:
    """The first method against one other.

    Attributes:
        conditions: where both have runs. absent: the names of conditions where only one of them has.
    """

    other: str
    conditions: tuple[Condition, ...]
    absent: tuple[str, ...]
    overall: OverConditions


@dataclass(frozen=True)
class Paired:
    """One method against others. metric: what is compared, and which end of it is best."""

    first: str
    metric: Column
    duels: tuple[Duel, ...]


def paired(rows: Iterable[Row], methods: Sequence[str], key: str | None = None) -> Paired:
    """Set the first method against each of the others.

    Args:
        rows: from :func:`reports.rows.flatten_all`, of one task.
        methods: short names, or plugin names that one setting has; two or more.
        key: of the metric; None: the task's headline metric of the selected epoch.

    Raises:
        BenchmarkError: fewer than two methods, one twice or unknown, a plugin's name that several settings share, runs of several
            tasks, or a metric that no finished run has.
    """
    runs = list(rows)
    if len(methods) < 2:
        raise BenchmarkError(
            f"a paired comparison needs two methods or more, and there is {', '.join(methods) or 'none'}; write e.g. hsa,ce"
        )
    tasks = sorted({row["task"] for row in runs})
    if len(tasks) > 1:
        raise BenchmarkError(f"these runs are of {' and '.join(tasks)}, whose metrics are others; choose one task")
    names = [_called(name, runs) for name in methods]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BenchmarkError(f"{twice} is named twice; a method cannot be compared with itself")
    key = key or f"selected/{TASKS[tasks[0] if tasks else 'classification'].headline}"
    known = {k for row in runs if row["status"] == "done" for k, v in row.items() if "/" in k and _is_number(v)}
    if key not in known:
        raise unknown_name("metric", key, known)
    metric = column(key)
    cells: dict[str, list[Row]] = {}
    for row in runs:
        if row["method"] in names:
            cells.setdefault(row["identity"]["cell"], []).append(row)
    ordered = sorted(cells.values(), key=lambda cell: (cell[0]["dataset"], cell[0]["noise"], cell[0]["protocol"]))
    return Paired(names[0], metric, tuple(_duel(ordered, names[0], other, metric) for other in names[1:]))


def _called(name: str, runs: Sequence[Row]) -> str:
    """The short name that is meant by it or by a plugin's name."""
    short = {str(row["method"]) for row in runs}
    if name in short:
        return name
    settings = sorted({str(row["method"]) for row in runs if row["spec"]["method"]["name"] == name})
    if not settings:
        known = short | {str(row["spec"]["method"]["name"]) for row in runs}
        raise unknown_name("method", name, known, "only what has results can be compared")
    if len(settings) > 1:
        raise BenchmarkError(f"'{name}' is several methods here: {', '.join(settings)}; name one of them")
    return settings[0]


def _duel(cells: Sequence[Sequence[Row]], first: str, other: str, metric: Column) -> Duel:
    conditions, absent = [], []
    for cell in cells:
        here = {str(row["method"]) for row in cell} & {first, other}
        if len(here) == 2:
            conditions.append(_condition(cell, first, other, metric))
        elif here:
            absent.append(f"{where(cell[0])} (only {one_line(here.pop())})")
    counted = [c.mean for c in conditions if c.solvable and c.mean is not None]
    return Duel(other, tuple(conditions), tuple(absent), _over(counted, metric))


def _condition(cell: Sequence[Row], first: str, other: str, metric: Column) -> Condition:
    def series(method: str) -> dict[int, float]:
        done = [row for row in cell if row["method"] == method and row["status"] == "done"]
        return {row["seed"]: float(row[metric.key]) for row in done if _is_number(row.get(metric.key))}

    ours, theirs = series(first), series(other)
    shared = tuple(sorted(ours.keys() & theirs.keys()))
    differences = [round(ours[seed] - theirs[seed], DIGITS) for seed in shared]
    left_out = {seed: other if seed in ours else first for seed in sorted(ours.keys() ^ theirs.keys())}
    n = len(differences)
    mean = statistics.fmean(differences) if n else None
    sd = statistics.stdev(differences) if n > 1 else None
    half = _half_width(sd, n)
    low, high = (None, None) if half is None or mean is None else (mean - half, mean + half)
    solvable = not any(row["solvable"] is False for row in cell)
    p = signed_rank(differences)[1] if n >= FEWEST_SEEDS_TO_TEST else None
    names = (cell[0]["dataset"], cell[0]["noise"], cell[0]["protocol"])
    return Condition(*names, solvable, shared, left_out, mean, sd, low, high, *_score(differences, metric), p)


def _over(means: Sequence[float], metric: Column) -> OverConditions:
    n = len(means)
    low, high = bootstrap_intervals([means])[0] or (None, None)
    p = signed_rank(means)[1] if n >= FEWEST_GROUPS_TO_TEST else None
    return OverConditions(n, statistics.fmean(means) if n else None, low, high, *_score(means, metric), p)


def _score(differences: Sequence[float], metric: Column) -> tuple[int, int, int]:
    """Wins, ties and losses of the first."""
    signed = [round(d if metric.higher_is_better else -d, DIGITS) for d in differences]
    return sum(d > 0 for d in signed), sum(d == 0 for d in signed), sum(d < 0 for d in signed)


def _half_width(sd: float | None, n: int) -> float | None:
    if sd is None:
        return None
    from scipy.stats import t

    return float(t.ppf(0.975, n - 1)) * sd / n**0.5


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def where(found: Row | Condition) -> str:
    """Data, noise and protocol in one line."""
    row = vars(found) if isinstance(found, Condition) else found
    return one_line(f"{row['dataset']} · {row['noise']} · {row['protocol']}")
