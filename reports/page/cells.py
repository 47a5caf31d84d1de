"""Cells of a condition's table: what they show, what they sort by, and what a pointer resting on them is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from benchmark.html_page import text
from reports.columns import Column
from reports.escape import DAGGER
from reports.published import Published
from reports.tables import Comparison, Entry, Group, Summary
from reports.wording import NOTHING, cell, marks, number, signed

__all__ = [
    "BEFORE",
    "CLOSE",
    "RULES",
    "badge_list",
    "badges",
    "data_cell",
    "head_cell",
    "meanings",
    "off",
    "published",
    "rank_cell",
    "share_or_number",
]

CLOSE = "≈"
"""Stands beside what cannot be told from the best."""
BEFORE = 3
"""Columns in front of the metrics: method, rank, seeds."""
RULES = {
    "selected": "at the epoch that the noisy validation part chose",
    "last": "after the last epoch",
    "last_k": "mean of the last epochs",
    "best": "at the epoch that is best on the test part: it is chosen with the truth",
    "validation": "on the validation part, whose labels are noisy",
    "detection": "finding the wrong labels of the training part",
    "clean_kept": "share of right training labels that are kept, by class",
    "correction": "of the corrected training labels",
    "cost": "of one run",
}
"""Group of a metric → what its values are."""
WARNINGS = ("stale", "diverged", "incomplete", "unsolvable", "skipped")


def off(comparison: Comparison) -> list[int]:
    """Positions of the columns that are not shown at first, 1 for the first of the table.

    Shown are the compact ones and the headline metric by every rule of choosing an epoch, unless nobody has a number.
    """
    metric = comparison.rank.key.rpartition("/")[2]
    rules = {f"{group}/{metric}" for group in ("selected", "last", "last_k", "best")}
    usual = {column.key for column in comparison.shown()} | rules
    known = {key for group in comparison.groups for entry in group.entries for key, value in entry.values.items() if value.n}
    return [BEFORE + place for place, c in enumerate(comparison.columns, 1) if c.key not in usual or c.key not in known]


def head_cell(column: Column, ranks: bool) -> str:
    """The head of a metric's column. ranks: the rows are ranked by it."""
    first = "down" if column.higher_is_better else "up"
    title = f"{column.title}{DAGGER if column.oracle else ''}"
    return (
        f'<th scope="col" data-first="{first}" title="{text(_meaning(column, ranks))}"{" class=ranks" if ranks else ""}>{text(title)}</th>'
    )


def meanings(comparison: Comparison) -> str:
    """What every column says, for those who have no pointer to rest on its head."""
    words = ((column, _meaning(column, column.key == comparison.rank.key)) for column in comparison.columns)
    lines = "".join(f"<div><dt>{text(column.title)}</dt><dd>{text(told)}</dd></div>" for column, told in words)
    return f'<details class="fold"><summary>What the columns say</summary><dl class="meanings">{lines}</dl></details>'


def _meaning(column: Column, ranks: bool) -> str:
    group = column.key.partition("/")[0]
    words = [column.key, *([RULES[group]] if group in RULES else []), f"{'higher' if column.higher_is_better else 'lower'} is better"]
    words += ["needs the truth"] if column.oracle else []
    return "; ".join([*words, "ranks the rows"] if ranks else words)


def rank_cell(entry: Entry) -> str:
    """The rank, and the mark of what cannot be told from the best."""
    if entry.rank is None:
        return f"<td>{NOTHING}</td>"
    close = f' <abbr title="not separable from the best">{CLOSE}</abbr>' if entry.close else ""
    return f'<td data-value="{entry.rank:g}">{entry.rank:g}{close}</td>'


def data_cell(entry: Entry, column: Column, best: Iterable[str], runner_up: Iterable[str]) -> str:
    """Mean ± sd with its interval; the best is bold, the second underlined."""
    summary = entry.values.get(column.key, Summary(None, None, 0))
    if summary.mean is None:
        return f"<td>{NOTHING}</td>"
    mean, spread, rest = cell(entry, column).partition(" ±")
    shown = text(mean)
    if entry.method in best:
        shown = f"<b>{shown}</b>"
    elif entry.method in runner_up:
        shown = f"<u>{shown}</u>"
    shown += f" <small>± {text(rest)}</small>" if spread else ""
    told = ""
    if summary.low is not None and summary.high is not None:
        low, high = (share_or_number(value, column) for value in (summary.low, summary.high))
        shown += f'<span class="ci">[{low}, {high}]</span>'
        told = f' title="95 % interval {low} to {high}, n = {summary.n}"'
    return f'<td data-value="{summary.mean:.6g}"{told}>{shown}</td>'


def share_or_number(value: float, column: Column) -> str:
    """A value as the column's numbers are written."""
    return number(Summary(value, None, 1), column)


def badges(entry: Entry, group: Group) -> str:
    """What a reader must know of a row before believing it, in words; what is not separable from the best has its sign at the rank."""
    return badge_list(marks(replace(entry, close=None), group))


def badge_list(found: Sequence[str]) -> str:
    """Marks in small frames, those that warn in another colour; empty without any."""
    shown = (f'<span class="badge{" warn" if mark.startswith(WARNINGS) else ""}">{text(mark)}</span>' for mark in found)
    return f'<div class="badges">{"".join(shown)}</div>' if found else ""


def published(figures: Sequence[Published], columns: Sequence[Column]) -> str:
    """The cell of printed figures, with our difference to each."""
    if not figures:
        return f"<td>{NOTHING}</td>"
    lines = []
    for figure in figures:
        column = next((c for c in columns if c.key == figure.key), Column(figure.key, figure.key))
        value = number(Summary(figure.value, figure.sd, figure.n or 1), column)
        ours = "" if figure.difference is None else f"; ours {signed(figure.difference * (100 if column.percent else 1), 1)}"
        lines.append(f'<span title="{text(f"{figure.source}; {figure.protocol}")}">{text(f"{column.title} {value}{ours}")}</span>')
    return f'<td class="words" data-value="{figures[0].value:.6g}">{"<br>".join(lines)}</td>'
