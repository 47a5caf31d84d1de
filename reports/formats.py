"""A comparison as json, csv, Markdown, LaTeX or terminal tables. Names of methods and data are foreign text: all are escaped."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmark.errors import unknown_name
from reports.columns import Column
from reports.escape import DAGGER, Escape, latex, markdown, one_line
from reports.machine import csv_text, plain
from reports.tables import Comparison, Difference, Entry, Group, Summary

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["FORMATS", "cell", "footer", "marks", "number", "render", "rich_tables", "statement"]

NOTHING = "–"


def render(comparison: Comparison, format: str) -> str:
    """The comparison as text that ends with a newline.

    Args:
        comparison: from :func:`reports.tables.compare`.
        format: ``json`` (``rank``, ``columns``, ``table``, ``groups``, and ``runs``, one row a run with its spec), ``csv``
            (the aggregated table, raw numbers), ``md`` or ``latex`` (a table a group, with the compact columns).

    Raises:
        BenchmarkError: an unknown format.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    return FORMATS[format](comparison)


def rich_tables(comparison: Comparison, width: int | None = None) -> list[Table]:
    """One table a group for the terminal, without the columns in which nobody has a number.

    Args:
        comparison: from :func:`reports.tables.compare`.
        width: columns of the terminal; a table that is wider is shown without standard deviations, its marks below it.
    """
    from rich.console import Console

    tables = []
    for group in comparison.groups:
        table = _rich_table(comparison, group, spread=True)
        if width is not None and Console(width=10_000).measure(table).maximum > width:
            table = _rich_table(comparison, group, spread=False)
        tables.append(table)
    return tables


def _rich_table(comparison: Comparison, group: Group, *, spread: bool) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = [c for c in comparison.shown() if any(e.values[c.key].n for e in group.entries)]
    caption = Text("\n".join(footer(comparison, group, spread=spread)))
    table = Table(title=Text(_title(group)), caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.title_justify = table.caption_justify = "left"
    names = _header(shown) if spread else _header(shown)[:-1]
    rows = []
    for entry in group.entries:
        cells = [Text(one_line(entry.method)), Text(str(len(entry.seeds)))]
        cells += [Text(cell(entry, c, spread=spread), style="bold" if entry.method in group.best(c) else "") for c in shown]
        rows.append([*cells, Text(_rank(entry)), Text(one_line(", ".join(marks(entry, group))))][: len(names)])
    for position, title in enumerate(names):
        prose = title in ("method", "marks")
        words = [word for text in (title, *(row[position].plain for row in rows)) for word in text.split(" ")]
        width = None if prose else max(len(word) for word in words)  # narrow cells may break at spaces, never in a number
        table.add_column(Text(title), justify="left" if prose else "right", overflow="fold", min_width=width)
    for row in rows:
        table.add_row(*row)
    return table


def marks(entry: Entry, group: Group) -> list[str]:
    """What a reader must know of a row before believing it; empty for a plain, complete, current row."""
    found = [f"oracle: {'+'.join(entry.oracle)}"] if entry.oracle else []
    if entry.tuned:
        found.append(f"tuned ({entry.tuned})")
    if not group.solvable:
        found.append("unsolvable")
    if entry.incomplete:
        found.append(f"incomplete ({len(set(entry.seeds) & set(group.seeds))} of {len(group.seeds)} seeds)")
    if entry.stale:
        found.append("stale")
    if entry.diverged:
        found.append(f"diverged {entry.diverged}")
    if entry.skipped:
        found.append("; ".join(["skipped", *entry.reasons]) if not entry.diverged else f"skipped {entry.skipped}")
    return found


def statement(difference: Difference, column: Column, tested: int) -> str:
    """One line: how far a method is from the baseline, and whether that could be chance.

    Args:
        difference: of the rank metric.
        column: the rank metric.
        tested: how many differences of the group were tested, for the warning that p is not adjusted.
    """
    scale, unit, digits = (100, " points", 1) if column.percent else (1, "", 3)
    spread = "" if difference.se is None else f" ± {difference.se * scale:.{digits}f}"
    text = f"{difference.method} against {difference.baseline}: {difference.mean * scale:+.{digits}f}{spread}{unit}, n = {difference.n}; "
    if difference.p is None:
        return text + "too few seeds to test"
    p = "p < 0.001" if difference.p < 0.001 else f"p = {difference.p:.3f}"
    return text + f"Wilcoxon {p}" + (f", not adjusted for {tested} comparisons" if tested > 1 else "")


# ------------------------------------------------------------------------------------------------------------ machines


def _json(comparison: Comparison) -> str:
    document = {
        "rank": comparison.rank.key,
        "baseline": comparison.baseline,
        "columns": [vars(column) for column in comparison.columns],
        "table": [_record(group, entry) for group in comparison.groups for entry in group.entries],
        "groups": [{**vars(group), "entries": [entry.method for entry in group.entries]} for group in comparison.groups],
        "runs": [{key: value for key, value in row.items() if key != "identity"} for row in comparison.runs],
    }
    return json.dumps(plain(document), indent=1, allow_nan=False) + "\n"


def _record(group: Group, entry: Entry) -> dict[str, Any]:
    cell = {"dataset": group.dataset, "noise": group.noise, "protocol": group.protocol, "solvable": group.solvable}
    return {**cell, **vars(entry), "n": len(entry.seeds), "marks": marks(entry, group)}


def _csv(comparison: Comparison) -> str:
    keys = list(dict.fromkeys(key for c in comparison.columns for key in (c.before, c.key) if key))
    references = [c.reference[0] for c in comparison.columns if c.reference]
    names = [
        "dataset",
        "noise",
        "protocol",
        "method",
        "n",
        "seeds",
        "rank",
        "incomplete",
        "solvable",
        "oracle",
        "stale",
        "diverged",
        "skipped",
    ]
    rows: list[list[Any]] = []
    for group in comparison.groups:
        for entry in group.entries:
            record = _record(group, entry)
            numbers = [number for key in keys for number in vars(entry.values[key]).values()]
            rows.append([*(record[name] for name in names), *numbers, *(group.references[key].mean for key in references)])
    return csv_text([*names, *(f"{key}{part}" for key in keys for part in ("", " sd", " n")), *references], rows)


# --------------------------------------------------------------------------------------------------------------- pages


def _markdown(comparison: Comparison) -> str:
    shown, parts = comparison.shown(), []
    for group in comparison.groups:
        header = _header(shown)
        lines = [f"**{markdown(_title(group))}**", "", _md_row(markdown(title) for title in header)]
        lines.append(_md_row("---" if title in ("method", "marks") else "---:" for title in header))
        lines += [_md_row(cells) for cells in _cells(group, shown, markdown, "**{}**")]
        notes = "\n".join(f"- {markdown(line)}" for line in footer(comparison, group))
        parts.append("\n".join([*lines, "", notes]))
    return "\n\n".join(parts) + "\n"


def _latex(comparison: Comparison) -> str:
    shown, parts = comparison.shown(), ["% needs \\usepackage{booktabs}"]
    for group in comparison.groups:
        lines = ["\\begin{table}", "\\centering", f"\\caption{{{latex(_title(group))}}}"]
        lines += [
            f"\\begin{{tabular}}{{lr{'r' * len(shown)}rl}}",
            "\\toprule",
            _tex_row([latex(title) for title in _header(shown)]),
            "\\midrule",
        ]
        lines += [_tex_row(cells) for cells in _cells(group, shown, latex, "\\textbf{{{}}}")]
        lines += ["\\bottomrule", "\\end{tabular}", "", "\\footnotesize"]
        lines += [f"{latex(line)}\\par" for line in footer(comparison, group)]
        parts.append("\n".join([*lines, "\\end{table}"]))
    return "\n\n".join(parts) + "\n"


def _cells(group: Group, shown: tuple[Column, ...], escape: Escape, bold: str) -> list[list[str]]:
    """The escaped cells of a group's rows, the best of each column in bold."""
    best = {column.key: group.best(column) for column in shown}
    rows = []
    for entry in group.entries:
        cells = [escape(entry.method), str(len(entry.seeds))]
        for column in shown:
            text = escape(cell(entry, column))
            cells.append(bold.format(text) if entry.method in best[column.key] else text)
        rows.append([*cells, escape(_rank(entry)), escape(", ".join(marks(entry, group)))])
    return rows


def _header(shown: list[Column] | tuple[Column, ...]) -> list[str]:
    return ["method", "n", *(f"{c.title}{DAGGER if c.oracle else ''}" for c in shown), "rank", "marks"]


def _title(group: Group) -> str:
    return one_line(f"{group.dataset} · {group.noise} · {group.protocol}")


def footer(comparison: Comparison, group: Group, *, spread: bool = True) -> list[str]:
    """What stands under a table: the trivial scorers, what the numbers are, the differences to the baseline.

    Without ``spread`` the table is a narrow one, which has no column for the marks.
    """
    rank, lines = comparison.rank, []
    trivial = [(c, group.references[c.reference[0]], c.reference[1]) for c in comparison.shown() if c.reference]
    known = [f"{c.title} {name} {number(summary, c)}" for c, summary, name in trivial if summary.n]
    if known:
        lines.append(f"without looking: {', '.join(known)}")
    seeds = ", ".join(str(seed) for seed in group.seeds) or "none"
    lines.append(f"mean{' ± sd' if spread else ''} over seeds {seeds}; shares in %; ranked by {rank.key}")
    if any(c.oracle for c in comparison.shown()):
        lines.append(f"{DAGGER} chosen with the truth (oracle)")
    if not spread:
        lines += [f"{entry.method}: {', '.join(found)}" for entry in group.entries if (found := marks(entry, group))]
    if group.left_out:
        lines.append(f"left out, because too few methods have them: seeds {', '.join(str(seed) for seed in group.left_out)}")
    if not group.solvable:
        lines.append("unsolvable: with this noise the true class is not the most likely given label, so there is no ranking")
    if group.differences:
        lines.append(f"{rank.key}, mean paired difference ± standard error over shared seeds:")
        tested = sum(difference.p is not None for difference in group.differences)
        lines += [statement(difference, rank, tested) for difference in group.differences]
    return [one_line(line) for line in lines]


def cell(entry: Entry, column: Column, *, spread: bool = True) -> str:
    """``93.4 ± 0.6``, with the start in front where the column has one, and with n where some seeds have no value."""
    summary = entry.values[column.key]
    if summary.mean is None:
        return NOTHING
    text = number(summary, column, spread=spread)
    if column.before and (start := entry.values[column.before]).mean is not None:
        text = f"{number(start, column, spread=False)} → {text}"
    return text if summary.n == len(entry.seeds) else f"{text} (n={summary.n})"


def number(summary: Summary, column: Column, *, spread: bool = True) -> str:
    """``93.4 ± 0.6``, shares in percent; a dash where there is none."""
    if summary.mean is None:
        return NOTHING
    scale, digits = (100, 1) if column.percent else (1, 1 if column.key.startswith("cost/") else 3)
    text = f"{summary.mean * scale:.{digits}f}"
    return f"{text} ± {summary.sd * scale:.{digits}f}" if spread and summary.sd is not None else text


def _rank(entry: Entry) -> str:
    return NOTHING if entry.rank is None else f"{entry.rank:g}"


def _md_row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _tex_row(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


FORMATS: dict[str, Callable[[Comparison], str]] = {"json": _json, "csv": _csv, "md": _markdown, "latex": _latex}
"""What ``--format`` accepts."""
