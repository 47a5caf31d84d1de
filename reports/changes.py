"""What has changed between two states of a comparison: runs, their numbers, and what the tables say because of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.errors import BenchmarkError
from benchmark.tasks import TASKS
from reports.columns import column
from reports.rows import NAMES, Row, tell_apart
from reports.states import DIGEST
from reports.tables import Comparison, Entry, compare

__all__ = ["Best", "Cell", "Changes", "NumberChange", "RunChange", "StandingChange", "changes"]

NOT_COMPARED = "cost/"
"""Seconds and memory differ from run to run and say nothing about the result."""


@dataclass(frozen=True)
class Cell:
    """One run by its names; those of the new state where it is in both."""

    task: str
    dataset: str
    noise: str
    protocol: str
    method: str
    seed: int
    run_key: str


@dataclass(frozen=True)
class RunChange:
    """Something of one run that is not a number. before, after: its status or code; empty where it is not there."""

    cell: Cell
    before: str
    after: str


@dataclass(frozen=True)
class NumberChange:
    """The largest change of one metric.

    Attributes:
        metric: key of the row. runs: how many have another number than before.
        cell: where it changed most. before, after: there; None where it is not defined. change: after minus before.
    """

    metric: str
    runs: int
    cell: Cell
    before: float | None
    after: float | None
    change: float | None


@dataclass(frozen=True)
class StandingChange:
    """One method in one condition: mean of the rank metric and rank, before and after; None where it has none.

    Attributes:
        metric: the rank metric. n_before, n_after: seeds behind the means.
    """

    task: str
    metric: str
    dataset: str
    noise: str
    protocol: str
    method: str
    before: float | None
    after: float | None
    n_before: int
    n_after: int
    rank_before: float | None
    rank_after: float | None


@dataclass(frozen=True)
class Best:
    """The methods of best rank in a condition, or over all conditions (``over`` is True and the names are empty)."""

    task: str
    metric: str
    over: bool
    dataset: str
    noise: str
    protocol: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class Changes:
    """What has changed.

    Attributes:
        old, new: runs in each state.
        added, removed: runs that only one of the states has, with their status.
        status: runs that ended in another way, e.g. ``done`` → ``diverged``. code: runs that other code has made.
        renumbered: runs of the same status with another number. numbers: the metrics in which, by the largest change.
        standings: methods whose mean, rank or number of seeds is another. best: of every condition, changed or not.
    """

    old: int
    new: int
    added: tuple[RunChange, ...]
    removed: tuple[RunChange, ...]
    status: tuple[RunChange, ...]
    code: tuple[RunChange, ...]
    renumbered: int
    numbers: tuple[NumberChange, ...]
    standings: tuple[StandingChange, ...]
    best: tuple[Best, ...]

    @property
    def nothing(self) -> bool:
        """Whether both states have the same runs with the same results by the same code."""
        return not (self.added or self.removed or self.status or self.code or self.numbers or self.standings)


def changes(old: Iterable[Row], new: Iterable[Row], rank_by: str | None = None) -> Changes:
    """Compare two states, from :func:`reports.states.read_state` or :func:`reports.rows.flatten_all`.

    Args:
        old, new: rows of any tasks; they stay as they are.
        rank_by: key of the metric that ranks; None: each task's headline metric of the selected epoch.
    """
    before, after = [_unmarked(row) for row in old], [_unmarked(row) for row in new]
    tell_apart([*before, *after])  # together: a name that stands for one thing here and another there must show it
    was = {row["run_key"]: row for row in before}
    now = {row["run_key"]: row for row in after}
    both = [(was[key], row) for key, row in now.items() if key in was]
    status = [RunChange(_cell(row), earlier["status"], row["status"]) for earlier, row in both if earlier["status"] != row["status"]]
    hashes = [(_text(earlier.get("code_hash")), _text(row.get("code_hash")), row) for earlier, row in both]
    renumbered, numbers = _numbers(both)
    standings, best = [], []
    for task in sorted({row["task"] for row in (*before, *after)}):
        pair = [[row for row in rows if row["task"] == task] for rows in (before, after)]
        found = _standings(task, pair[0], pair[1], rank_by or f"selected/{TASKS[task].headline}")
        standings += found[0]
        best += found[1]
    return Changes(
        old=len(was),
        new=len(now),
        added=_sorted(RunChange(_cell(row), "", row["status"]) for key, row in now.items() if key not in was),
        removed=_sorted(RunChange(_cell(row), row["status"], "") for key, row in was.items() if key not in now),
        status=_sorted(status),
        code=_sorted(RunChange(_cell(row), first, second) for first, second, row in hashes if first and second and first != second),
        renumbered=renumbered,
        numbers=numbers,
        standings=tuple(standings),
        best=tuple(best),
    )


def _unmarked(row: Row) -> Row:
    return {**row, **{name: DIGEST.sub("", row[name]) for name in (*NAMES, "protocol")}}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _cell(row: Row) -> Cell:
    return Cell(*(row[name] for name in ("task", "dataset", "noise", "protocol", "method", "seed", "run_key")))


def _sorted(found: Iterable[RunChange]) -> tuple[RunChange, ...]:
    return tuple(sorted(found, key=lambda one: tuple(vars(one.cell).values())))


def _numbers(both: Sequence[tuple[Row, Row]]) -> tuple[int, tuple[NumberChange, ...]]:
    """How many runs have other numbers, and of each metric the run in which it changed most, the largest change first."""
    largest: dict[str, NumberChange] = {}
    runs: set[str] = set()
    for earlier, row in both:
        if earlier["status"] != row["status"]:
            continue
        for key in sorted({key for key in (*earlier, *row) if "/" in key and not key.startswith(NOT_COMPARED)}):
            first, second = earlier.get(key), row.get(key)
            if first == second:
                continue
            runs.add(row["run_key"])
            change = None if first is None or second is None else float(second) - float(first)
            known = largest.get(key)
            if known is None or _size(change) > _size(known.change):
                largest[key] = NumberChange(key, 1 + (known.runs if known else 0), _cell(row), first, second, change)
            else:
                largest[key] = NumberChange(**{**vars(known), "runs": known.runs + 1})
    return len(runs), tuple(sorted(largest.values(), key=lambda one: (-_size(one.change), one.metric)))


def _size(change: float | None) -> float:
    """A number that appears or vanishes is less than any change and more than none."""
    return 0.0 if change is None else abs(change)


def _standings(task: str, old: list[Row], new: list[Row], key: str) -> tuple[list[StandingChange], list[Best]]:
    before, after = _comparison(old, key), _comparison(new, key)
    was, now = _groups(before, old), _groups(after, new)
    called = {cell: found.names for cell, found in {**was, **now}.items()}
    standings, best = [], []
    for cell, names in sorted(called.items(), key=lambda item: item[1]):
        ours, theirs = (groups[cell].entries if cell in groups else {} for groups in (was, now))
        labels = {method: entry.method for method, entry in {**ours, **theirs}.items()}
        for method, label in sorted(labels.items(), key=lambda item: item[1]):
            one, other = _place(ours.get(method), key), _place(theirs.get(method), key)
            if one != other:
                means, seeds, ranks = (one[0], other[0]), (one[1], other[1]), (one[2], other[2])
                standings.append(StandingChange(task, key, *names, label, *means, *seeds, *ranks))
        best.append(Best(task, key, False, *names, _best(ours.values()), _best(theirs.values())))
    leaders, leaders_now = _leaders(before), _leaders(after)
    return standings, [*([Best(task, key, True, "", "", "", leaders, leaders_now)] if leaders or leaders_now else []), *best]


@dataclass(frozen=True)
class _Group:
    """A condition by its names, and its entries by what their methods are."""

    names: tuple[str, str, str]
    entries: Mapping[str, Entry]


def _comparison(rows: list[Row], key: str) -> Comparison | None:
    """None without a run that has the metric."""
    with contextlib.suppress(BenchmarkError):
        return compare(rows, rank_by=key, columns=(column(key),), compact=()) if rows else None
    return None


def _groups(comparison: Comparison | None, rows: Sequence[Row]) -> dict[str, _Group]:
    """What a condition is → the condition."""
    if comparison is None:
        return {}
    cells = {(row["dataset"], row["noise"], row["protocol"]): row["identity"]["cell"] for row in rows}
    methods = {row["method"]: row["identity"]["method"] for row in rows}
    found = {}
    for group in comparison.groups:
        names = (group.dataset, group.noise, group.protocol)
        found[cells[names]] = _Group(names, {methods[entry.method]: entry for entry in group.entries})
    return found


def _place(entry: Entry | None, key: str) -> tuple[float | None, int, float | None]:
    """Mean, seeds behind it, and rank."""
    return (None, 0, None) if entry is None else (entry.values[key].mean, entry.values[key].n, entry.rank)


def _best(entries: Iterable[Entry]) -> tuple[str, ...]:
    ranked = [(entry.rank, entry.method) for entry in entries if entry.rank is not None]
    return tuple(sorted(method for rank, method in ranked if rank == min(ranked)[0]))


def _leaders(comparison: Comparison | None) -> tuple[str, ...]:
    """The methods of the best average rank over conditions."""
    if comparison is None or comparison.overall is None:
        return ()
    ranked = [(one.average_rank, one.method) for one in comparison.overall.standings if one.average_rank is not None]
    return tuple(sorted(method for rank, method in ranked if rank == min(ranked)[0]))
