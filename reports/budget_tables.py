"""A comparison of strategies as tables, json and csv, with the verdict in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.errors import unknown_name
from reports.budget import FLOOR, TARGET, BudgetReport, Gap, Line, Panel
from reports.escape import one_line
from reports.machine import csv_text, plain
from reports.sheet import Sheet, latex_page, markdown_page, rich_sheet
from reports.tables import Summary

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["FORMATS", "points", "render", "rich_tables", "summary", "verdict"]

NOTHING = "–"
PERCENT_OF_TARGET = f"{TARGET * 100:g} %"
PROSE = ("method", "strategy", "marks")


def render(report: BudgetReport, format: str) -> str:
    """The report as text that ends with a newline.

    Args:
        format: ``json`` (panels with lines, the curves of all runs, and the verdict), ``csv`` (:func:`summary`), ``md`` or ``latex``.

    Raises:
        BenchmarkError: an unknown format.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    return FORMATS[format](report)


def rich_tables(report: BudgetReport, width: int | None = None) -> list[Table]:
    """One table a panel for the terminal.

    Args:
        width: columns of the terminal; a table that is wider is shown without standard deviations, its marks below it.
    """
    from rich.console import Console

    tables = []
    for panel in report.panels:
        table = rich_sheet(sheet(report, panel))
        if width is not None and Console(width=10_000).measure(table).maximum > width:
            table = rich_sheet(sheet(report, panel, wide=False))
        tables.append(table)
    return tables


# --------------------------------------------------------------------------------------------------------------- words


def verdict(report: BudgetReport) -> str:
    """One line: how many strategies beat ``random`` by more than a standard error at every budget of every panel, or that none does."""
    found: dict[str, list[bool | None]] = {}
    for panel in report.panels:
        for line in panel.lines:
            if line.to_floor_at:
                found.setdefault(panel.name(line), []).append(line.wins)
    where = f" in all {len(report.panels)} tables" if len(report.panels) > 1 else ""
    return _verdict(found, where, len(report.panels))


def _verdict(found: Mapping[str, Sequence[bool | None]], where: str, panels: int) -> str:
    if not found:
        return f"no strategy but {FLOOR} has finished runs, so none is compared with it"
    if all(won is None for wins in found.values() for won in wins):
        return f"whether a strategy beats {FLOOR} cannot be said: that takes at least two seeds that both have"
    found = {name: wins for name, wins in found.items() if any(won is not None for won in wins)}  # what was skipped was not compared
    winners = [name for name, wins in found.items() if len(wins) == panels and all(wins)]
    what = f"{FLOOR} by more than a standard error at every budget{where}"
    if not winners:
        return f"the only other strategy does not beat {what}" if len(found) == 1 else f"none of {len(found)} strategies beats {what}"
    verb, noun = "beats" if len(winners) == 1 else "beat", "strategy" if len(found) == 1 else "strategies"
    return f"{len(winners)} of {len(found)} {noun} {verb} {what}: {', '.join(winners)}"


def marks(line: Line, panel: Panel) -> str:
    """What a reader must know of a row before believing it."""
    found = [f"oracle: {'+'.join(line.oracle)}"] if line.oracle else []
    if line.incomplete:
        found.append(f"incomplete ({len(line.curves)} of {len(panel.seeds)} seeds)")
    if line.stale:
        found.append("stale")
    if line.diverged:
        found.append(f"diverged {line.diverged}")
    if line.skipped:
        found.append("; ".join(["skipped", *line.reasons]))
    return ", ".join(found)


def sheet(report: BudgetReport, panel: Panel, *, wide: bool = True) -> Sheet:
    """The table of one panel; a narrow one has no standard deviations, one column of names, and its marks below it."""
    columns: list[tuple[str, Callable[[Line], str]]] = [("strategy", panel.name)]
    if wide:
        columns = [("method", lambda line: line.kind.method), ("strategy", lambda line: line.kind.asks or NOTHING)]
    columns.append(("n", lambda line: str(len(line.curves))))
    for number, budget in enumerate(("0", *panel.budgets)):
        columns.append((f"at {budget}", lambda line, number=number: _percent(line.at[number], spread=wide)))  # type: ignore[misc]
    columns.append(("area", lambda line: _percent(line.area, spread=wide)))
    columns.append((f"vs {FLOOR}", lambda line: _gap(line.to_floor)))
    if panel.references:
        columns.append((f"labels to {PERCENT_OF_TARGET}", lambda line: _reach(line, wide=wide)))
    columns.append(("paid", lambda line: _percent(line.share, spread=False) if line.kind.asks else "0"))
    columns.append(("found wrong", lambda line: _percent(line.found_wrong, spread=wide)))
    if any(line.annotator_wrong.mean for line in panel.lines):
        columns.append(("answers wrong", lambda line: _percent(line.annotator_wrong, spread=False)))
    marked = [(panel.name(line), marks(line, panel)) for line in panel.lines]
    notes = _notes(report, panel, spread=wide)
    if wide and any(mark for _, mark in marked):
        columns.append(("marks", lambda line: marks(line, panel)))
    elif not wide:
        found: dict[str, list[str]] = {}
        for name, mark in marked:
            found.setdefault(mark, []).append(name)
        notes += [f"{', '.join(names)}: {mark}" for mark, names in found.items() if mark]
    rows = tuple(tuple(cell(line) for _, cell in columns) for line in panel.lines)
    title = one_line(f"{panel.dataset} · {panel.noise} · {panel.protocol} · {report.metric}")
    return Sheet(title, tuple(title for title, _ in columns), rows, tuple(notes), PROSE)


def _notes(report: BudgetReport, panel: Panel, *, spread: bool) -> list[str]:
    wins = {panel.name(line): [line.wins] for line in panel.lines if line.to_floor_at}
    seeds = ", ".join(map(str, panel.seeds))
    lines = [_verdict(wins, "", 1), f"mean{' ± sd' if spread else ''} over seeds {seeds}; numbers in % unless they are labels"]
    lines.append(f"area, which sorts: the mean {report.metric} on the way from no label to {panel.end * 100:.3g} % of the training labels")
    if wins:
        lines.append(f"vs {FLOOR}: area minus that of {FLOOR} of the same method, mean ± standard error of the paired differences")
    if panel.references:
        reference = _percent(panel.reference, spread=True)
        few = "" if panel.reference.n == len(panel.seeds) else f" (n={panel.reference.n})"
        target = f"labels to {PERCENT_OF_TARGET}: paid for until {PERCENT_OF_TARGET} of the seed's reference is reached"
        lines.append(f"reference: {report.reference} trained on clean labels, {reference}{few}; {target}")
        if any(line.kind.asks and line.reach and line.reach.reached < line.reach.n for line in panel.lines):
            lines.append("> where some seed does not reach it and counts with all that it paid for; in brackets how many seeds reach it")
    if not panel.solvable:
        lines.append("unsolvable: with this noise the true class is not the most likely given label")
    return lines


def _percent(summary: Summary, *, spread: bool) -> str:
    if summary.mean is None:
        return NOTHING
    text = f"{summary.mean * 100:.1f}"
    return f"{text} ± {summary.sd * 100:.1f}" if spread and summary.sd is not None else text


def _gap(gap: Gap | None) -> str:
    if gap is None:
        return NOTHING
    text = f"{round(gap.mean * 100, 1) + 0.0:+.1f}"  # + 0.0: a difference of nothing has no sign of its own
    return text if gap.se is None else f"{text} ± {gap.se * 100:.1f}"


def _reach(line: Line, *, wide: bool) -> str:
    reach = line.reach
    if reach is None:
        return NOTHING
    seeds = f"({reach.reached}/{reach.n})"
    if line.kind.asks is None:
        return f"{reach.reached}/{reach.n} at 0"
    more = "" if reach.reached == reach.n else "> "
    share = f" = {reach.share * 100:.1f}%" if wide else ""
    return f"{more}{reach.labels:.0f}{share} {seeds}"


# ------------------------------------------------------------------------------------------------------------ machines


def summary(report: BudgetReport) -> str:
    """csv, one row a line of a panel: raw numbers, shares in [0, 1]."""
    rounds = max((len(panel.budgets) for panel in report.panels), default=0)
    names = [
        "dataset",
        "noise",
        "protocol",
        "metric",
        "method",
        "strategy",
        "n",
        "seeds",
        "incomplete",
        "oracle",
        "stale",
        "diverged",
        "skipped",
    ]
    at = [f"{name}_{number}{part}" for number in range(rounds + 1) for name, part in (("budget", ""), ("metric", ""), ("metric", "_sd"))]
    rest = [
        "area",
        "area_sd",
        "to_random",
        "to_random_se",
        "to_random_n",
        "beats_random",
        "reference",
        "labels_to_target",
        "share_to_target",
    ]
    rest += ["reached", "reached_of", "paid_share", "found_wrong", "found_wrong_sd", "annotator_wrong"]
    rows: list[list[Any]] = []
    for panel in report.panels:
        for line in panel.lines:
            row: list[Any] = [panel.dataset, panel.noise, panel.protocol, report.metric, line.kind.method, line.kind.asks, len(line.curves)]
            row += [tuple(line.curves), line.incomplete, line.oracle, line.stale, line.diverged, line.skipped]
            for number in range(rounds + 1):
                there = number < len(line.at)
                row += [("0", *panel.budgets)[number], line.at[number].mean, line.at[number].sd] if there else [None] * 3
            gap, reach = line.to_floor, line.reach
            row += [line.area.mean, line.area.sd, *((gap.mean, gap.se, gap.n) if gap else (None,) * 3), line.wins, panel.reference.mean]
            row += [reach.labels, reach.share, reach.reached, reach.n] if reach else [None] * 4
            row += [line.share.mean, line.found_wrong.mean, line.found_wrong.sd, line.annotator_wrong.mean]
            rows.append(row)
    return csv_text([*names, *at, *rest], rows)


def points(report: BudgetReport) -> str:
    """csv, what the figure is drawn from: one row a run and round, and the references, whose strategy is ``reference``."""
    rows: list[list[Any]] = []
    for panel in report.panels:
        place = [panel.dataset, panel.noise, panel.protocol, report.metric]
        for line in panel.lines:
            for seed, curve in line.curves.items():
                for number, (paid, share, value) in enumerate(zip(curve.paid, curve.share, curve.value, strict=True)):
                    rows.append([*place, line.kind.method, line.kind.asks, seed, number, paid, share, value])
        rows += [[*place, report.reference, "reference", seed, None, None, None, value] for seed, value in panel.references.items()]
    return csv_text(["dataset", "noise", "protocol", "metric", "method", "strategy", "seed", "round", "paid", "share", "value"], rows)


def _json(report: BudgetReport) -> str:
    document = {"metric": report.metric, "reference": report.reference, "target": TARGET, "verdict": verdict(report)}
    panels = [{**vars(panel), "lines": [{**vars(line), "wins": line.wins} for line in panel.lines]} for panel in report.panels]
    return json.dumps(plain({**document, "panels": panels}), indent=1, allow_nan=False) + "\n"


def _pages(page: Callable[[Sequence[Sheet]], str]) -> Callable[[BudgetReport], str]:
    return lambda report: page([sheet(report, panel) for panel in report.panels])


FORMATS: dict[str, Callable[[BudgetReport], str]] = {
    "json": _json,
    "csv": summary,
    "md": _pages(markdown_page),
    "latex": _pages(latex_page),
}
"""What ``--format`` accepts, beside the tables of a terminal."""
