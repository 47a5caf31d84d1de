"""What has changed between two states as tables, json and csv."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.errors import unknown_name
from reports.changes import Best, Changes, NumberChange, RunChange, StandingChange
from reports.columns import Column, column
from reports.escape import latex, markdown, one_line
from reports.machine import csv_text, plain
from reports.sheet import Sheet, latex_page, markdown_page, rich_sheet

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["FORMATS", "in_short", "render", "rich_tables", "sheets"]

NOTHING = "–"
PROSE = ("change", "data", "noise", "protocol", "method", "seeds", "metric", "in", "best before", "best now")


def render(changes: Changes, format: str) -> str:
    """The changes as text that ends with a newline: ``json``, ``csv`` (a row a change), ``md`` or ``latex``.

    Raises:
        BenchmarkError: an unknown format.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    return FORMATS[format](changes)


def rich_tables(changes: Changes) -> list[Table]:
    """The tables for a terminal; none if nothing has changed, see :func:`in_short`."""
    return [rich_sheet(sheet) for sheet in sheets(changes)]


def in_short(changes: Changes) -> str:
    """All of it in one line."""
    if changes.nothing:
        return f"Nothing has changed: {_count(changes.new, 'run')} with the same numbers, made by the same code."
    counts = {
        "added": len(changes.added),
        "removed": len(changes.removed),
        "ended in another way": len(changes.status),
        "with other numbers": changes.renumbered,
        "made by other code": len(changes.code),
    }
    parts = [f"{n} {what}" for what, n in counts.items() if n]
    return f"{_count(changes.old, 'run')} before, {changes.new} now: {', '.join(parts) or 'the same, but the tables differ'}."


def sheets(changes: Changes) -> list[Sheet]:
    """One table each of runs, numbers, and for each task of the best methods and the standings; those without a row are left out."""
    if changes.nothing:
        return []
    found = [_runs(changes), _numbers(changes)]
    for task in sorted({one.task for one in changes.best}):
        found += [_best([one for one in changes.best if one.task == task])]
        found += [_standings([one for one in changes.standings if one.task == task])]
    return [sheet for sheet in found if sheet is not None]


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _runs(changes: Changes) -> Sheet | None:
    groups: dict[tuple[str, ...], list[int]] = {}
    for kind, found in _kinds(changes):
        for one in found:
            cell = one.cell
            groups.setdefault((_what(kind, one), cell.dataset, cell.noise, cell.protocol, cell.method), []).append(cell.seed)
    rows = tuple((*names, _ranges(seeds)) for names, seeds in groups.items())
    return Sheet("Runs", ("change", "data", "noise", "protocol", "method", "seeds"), rows, (in_short(changes),), PROSE)


def _what(kind: str, one: RunChange) -> str:
    if kind == "status":
        return f"{one.before} → {one.after}"
    ended = (one.before or one.after) if kind in ("added", "removed") else "done"
    return (kind if kind != "code" else "other code") + ("" if ended == "done" else f" ({ended})")


def _kinds(changes: Changes) -> list[tuple[str, Sequence[RunChange]]]:
    return [("added", changes.added), ("removed", changes.removed), ("status", changes.status), ("code", changes.code)]


def _ranges(seeds: Iterable[int]) -> str:
    """``0-4, 7``."""
    parts: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if parts and seed == parts[-1][1] + 1:
            parts[-1][1] = seed
        else:
            parts.append([seed, seed])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def _numbers(changes: Changes) -> Sheet | None:
    def row(one: NumberChange) -> tuple[str, ...]:
        shown, cell = column(one.metric), one.cell
        place = one_line(f"{cell.method} on {cell.dataset}, {cell.noise}, {cell.protocol}, seed {cell.seed}")
        return one.metric, str(one.runs), _difference(one.change, shown), _value(one.before, shown), _value(one.after, shown), place

    notes = (
        f"{_count(changes.renumbered, 'run')} of the same key and status with other numbers; the largest change of each, shares in %",
        "costs are not compared",
    )
    header = ("metric", "runs", "change", "before", "now", "in")
    return Sheet("Numbers", header, tuple(map(row, changes.numbers)), notes, PROSE) if changes.numbers else None


def _best(found: Sequence[Best]) -> Sheet | None:
    changed = [one for one in found if one.before != one.after or one.over]
    same = len(found) - len(changed)
    names = [("all conditions" if one.over else one.dataset, one.noise, one.protocol) for one in changed]
    rows = tuple(
        (*where, *(", ".join(best) or NOTHING for best in (one.before, one.after))) for where, one in zip(names, changed, strict=True)
    )
    notes = [f"by rank of {found[0].metric}; {NOTHING}: nothing is ranked"]
    if same:
        notes.append(f"the best method is the same in {_count(same, 'condition')}")
    title = one_line(f"Best methods · {found[0].task}")
    return Sheet(title, ("data", "noise", "protocol", "best before", "best now"), rows, tuple(notes), PROSE)


def _standings(found: Sequence[StandingChange]) -> Sheet | None:
    if not found:
        return None
    shown = column(found[0].metric)

    def row(one: StandingChange) -> tuple[str, ...]:
        names = (one.dataset, one.noise, one.protocol, one.method)
        both = one.before is not None and one.after is not None
        difference = one.after - one.before if both else None  # type: ignore[operator]
        means = (_value(one.before, shown), _value(one.after, shown), _difference(difference, shown))
        return *names, *means, f"{one.n_before} → {one.n_after}", f"{_rank(one.rank_before)} → {_rank(one.rank_after)}"

    header = ("data", "noise", "protocol", "method", "before", "now", "change", "seeds with it", "rank")
    notes = (
        f"mean of {found[0].metric} over the seeds of the comparison{', in %' if shown.percent else ''}",
        "methods of which nothing has changed are left out",
    )
    return Sheet(one_line(f"Means and ranks · {found[0].task}"), header, tuple(map(row, found)), notes, PROSE)


def _value(value: float | None, shown: Column) -> str:
    return NOTHING if value is None else f"{value * 100:.2f}" if shown.percent else f"{value:.4g}"


def _difference(value: float | None, shown: Column) -> str:
    if value is None:
        return NOTHING
    if shown.percent:
        text = f"{value * 100:+.2f}"
        return text if float(text) or not value else f"{value * 100:+.1e}"  # a change that rounds to nothing is one
    return f"{value:+.3g}"


def _rank(rank: float | None) -> str:
    return NOTHING if rank is None else f"{rank:g}"


# ------------------------------------------------------------------------------------------------------------ machines


def _csv(changes: Changes) -> str:
    header = ["kind", "task", "dataset", "noise", "protocol", "method", "seed", "run_key", "metric", "runs", "before", "after"]
    rows: list[list[Any]] = []
    for kind, found in _kinds(changes):
        rows += [[kind, *vars(one.cell).values(), None, None, one.before, one.after] for one in found]
    rows += [["number", *vars(one.cell).values(), one.metric, one.runs, one.before, one.after] for one in changes.numbers]
    for one in changes.standings:
        names = [one.task, one.dataset, one.noise, one.protocol, one.method, None, None, one.metric, None]
        rows += [["mean", *names, one.before, one.after], ["rank", *names, one.rank_before, one.rank_after]]
    for best in changes.best:
        if best.before != best.after:
            names = [best.task, best.dataset, best.noise, best.protocol, None, None, None, best.metric, None]
            rows.append(["best over conditions" if best.over else "best", *names, "; ".join(best.before), "; ".join(best.after)])
    return csv_text(header, rows)


def _json(changes: Changes) -> str:
    return json.dumps({"nothing": changes.nothing, **plain(changes)}, indent=1, allow_nan=False) + "\n"


FORMATS: dict[str, Callable[[Changes], str]] = {
    "json": _json,
    "csv": _csv,
    "md": lambda changes: markdown_page(sheets(changes)) if not changes.nothing else markdown(in_short(changes)) + "\n",
    "latex": lambda changes: latex_page(sheets(changes)) if not changes.nothing else latex(in_short(changes)) + "\n",
}
"""What ``--format`` accepts, beside the tables of a terminal."""
