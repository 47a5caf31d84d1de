"""Paired comparisons of methods as tables, json and csv."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from benchmark.errors import unknown_name
from reports.columns import Column
from reports.escape import one_line
from reports.machine import csv_text, plain
from reports.overall import FEWEST_GROUPS_TO_TEST
from reports.paired import Condition, Duel, OverConditions, Paired, where
from reports.sheet import Sheet, latex_page, markdown_page, rich_sheet
from reports.tables import FEWEST_SEEDS_TO_TEST
from reports.wording import signed

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["FORMATS", "render", "rich_tables", "sheets"]

NOTHING = "–"
PROSE = ("data", "noise", "protocol", "against", "marks")


def sheets(result: Paired, *, wide: bool = True) -> list[Sheet]:
    """A table for each other method, and one over the conditions; a narrow one is without p, sd and the protocol where all share it."""
    return [*(_sheet(result, duel, wide) for duel in result.duels), _overall_sheet(result)]


def rich_tables(result: Paired, width: int | None = None) -> list[Table]:
    """The tables for a terminal of so many columns."""
    from rich.console import Console

    tables = []
    for wide, narrow in zip(sheets(result), sheets(result, wide=False), strict=True):
        table = rich_sheet(wide)
        if width is not None and Console(width=10_000).measure(table).maximum > width:
            table = rich_sheet(narrow)
        tables.append(table)
    return tables


def render(result: Paired, format: str) -> str:
    """The comparison as text that ends with a newline: ``json``, ``csv`` (a row a condition, and one over them), ``md`` or ``latex``.

    Raises:
        BenchmarkError: an unknown format.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    return FORMATS[format](result)


def _sheet(result: Paired, duel: Duel, wide: bool) -> Sheet:
    metric, protocols = result.metric, {condition.protocol for condition in duel.conditions}
    columns: list[tuple[str, Callable[[Condition], str]]] = [("data", lambda c: c.dataset), ("noise", lambda c: c.noise)]
    if len(protocols) > 1 or wide:
        columns.append(("protocol", lambda c: c.protocol))
    columns.append(("difference", lambda c: _signed(c.mean, metric)))
    if wide:
        columns.append(("sd", lambda c: _plain(c.sd, metric)))
    columns += [
        ("95 % interval", lambda c: _interval(c, metric)),
        ("n", lambda c: str(len(c.seeds))),
        ("wins/ties/losses", lambda c: f"{c.wins}/{c.ties}/{c.losses}"),
    ]
    if wide:
        columns.append(("Wilcoxon p", lambda c: _p(c.p)))
    if any(not condition.solvable for condition in duel.conditions):
        columns.append(("marks", lambda c: "" if c.solvable else "unsolvable"))
    rows = tuple(tuple(cell(condition) for _, cell in columns) for condition in duel.conditions)
    title = one_line(f"{result.first} against {duel.other} · {metric.key}")
    return Sheet(title, tuple(name for name, _ in columns), rows, tuple(map(one_line, _notes(result, duel, wide))), PROSE)


def _notes(result: Paired, duel: Duel, wide: bool) -> list[str]:
    unit = "percentage points" if result.metric.percent else "units of the metric"
    better = "" if result.metric.higher_is_better else "; lower is better, and a win is a lower value"
    lines = [f"difference: {result.first} - {duel.other}, mean over the seeds that both have, in {unit}{better}"]
    lines.append("95 % interval of the mean: Student's t over seeds, which share most of their training images; wins are counted by seed")
    tested = sum(condition.p is not None for condition in duel.conditions)
    if tested and wide:
        lines.append(f"p: two-sided, not adjusted for {tested} tests" if tested > 1 else "p: two-sided")
    if wide and tested < len(duel.conditions):
        lines.append(f"too few to test: fewer than {FEWEST_SEEDS_TO_TEST} shared seeds")
    for condition in duel.conditions:
        lacking = [f"{_seeds(s for s, who in condition.left_out.items() if who == name)} ({name} has none)" for name in _lacking(condition)]
        if lacking:
            lines.append(f"{where(condition)}: left out seeds {', '.join(lacking)}")
    if any(not condition.solvable for condition in duel.conditions):
        lines.append("unsolvable: with this noise the true class is not the most likely given label; not counted over conditions")
    if duel.absent:
        lines.append(f"not compared: {'; '.join(duel.absent)}")
    if not duel.conditions:
        lines.append("no condition has both methods")
    return lines


def _lacking(condition: Condition) -> list[str]:
    return list(dict.fromkeys(condition.left_out.values()))


def _seeds(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))


def _overall_sheet(result: Paired) -> Sheet:
    header = ("against", "difference", "95 % interval", "conditions", "wins/ties/losses", "Wilcoxon p")
    rows = []
    for duel in result.duels:
        o = duel.overall
        score = f"{o.wins}/{o.ties}/{o.losses}"
        rows.append((duel.other, _signed(o.mean, result.metric), _interval(o, result.metric), str(o.n), score, _p(o.p)))
    notes = ["each solvable condition counts once, by its mean over shared seeds; the interval is a bootstrap over conditions"]
    tested = sum(duel.overall.p is not None for duel in result.duels)
    if tested > 1:
        notes.append(f"p: two-sided, not adjusted for {tested} tests")
    if tested < len(result.duels):
        notes.append(f"too few to test: fewer than {FEWEST_GROUPS_TO_TEST} conditions")
    return Sheet(one_line(f"{result.first} over conditions · {result.metric.key}"), header, tuple(rows), tuple(notes), PROSE)


def _signed(value: float | None, metric: Column) -> str:
    if value is None:
        return NOTHING
    scaled, digits = _scaled(value, metric)
    return signed(scaled, digits)


def _plain(value: float | None, metric: Column) -> str:
    if value is None:
        return NOTHING
    scaled, digits = _scaled(value, metric)
    return f"{scaled:.{digits}f}"


def _interval(found: Condition | OverConditions, metric: Column) -> str:
    return NOTHING if found.low is None else f"{_signed(found.low, metric)} to {_signed(found.high, metric)}"


def _scaled(value: float, metric: Column) -> tuple[float, int]:
    return (value * 100, 1) if metric.percent else (value, 1 if metric.key.startswith("cost/") else 3)


def _p(p: float | None) -> str:
    return "too few to test" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


# ------------------------------------------------------------------------------------------------------------ machines


def _csv(result: Paired) -> str:
    numbers = ("mean", "low", "high", "wins", "ties", "losses", "p")
    header = ["first", "other", "metric", "level", "dataset", "noise", "protocol", "solvable", "n", "sd", *numbers, "seeds", "left_out"]
    rows: list[list[Any]] = []
    for duel in result.duels:
        names = [result.first, duel.other, result.metric.key]
        for c in duel.conditions:
            where = [c.dataset, c.noise, c.protocol, c.solvable, len(c.seeds), c.sd]
            rows.append([*names, "condition", *where, *(getattr(c, name) for name in numbers), c.seeds, tuple(c.left_out)])
        o = duel.overall
        rows.append([*names, "over conditions", *[None] * 4, o.n, None, *(getattr(o, name) for name in numbers), None, None])
    return csv_text(header, rows)


def _json(result: Paired) -> str:
    return json.dumps(plain(result), indent=1, allow_nan=False) + "\n"


FORMATS: dict[str, Callable[[Paired], str]] = {
    "json": _json,
    "csv": _csv,
    "md": lambda result: markdown_page(sheets(result)),
    "latex": lambda result: latex_page(sheets(result)),
}
"""What ``--format`` accepts, beside the tables of a terminal."""
