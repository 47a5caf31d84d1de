"""A comparison as json, csv, Markdown, LaTeX or terminal tables. Names of methods and data are foreign text: all are escaped."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.errors import unknown_name
from reports.columns import Column
from reports.escape import Escape, latex, markdown, one_line
from reports.machine import csv_text, plain
from reports.repeat import repeat_command
from reports.tables import Comparison, Entry, Group
from reports.wording import cell, footer, has_published, header, marks, place, published, title

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["FORMATS", "document", "latex_tables", "markdown_tables", "records", "render", "rich_tables"]

PROSE = ("method", "published", "marks")
"""Titles of columns of words."""
PLAIN = ("task", "dataset", "noise", "protocol", "method", "n", "seeds", "rank", "incomplete", "solvable", "oracle", "tuned", "stale",
         "diverged", "skipped", "close")  # fmt: skip
"""What a csv row says before its numbers."""


def render(comparison: Comparison, format: str) -> str:
    """The tables of a comparison, condition by condition, as text that ends with a newline.

    Args:
        comparison: from :func:`reports.tables.compare`.
        format: ``json`` (:func:`document`), ``csv`` (the aggregated table, raw numbers), ``md`` or ``latex`` (a table a group,
            with the compact columns).

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
    table = Table(title=Text(title(group)), caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.title_justify = table.caption_justify = "left"
    names = header(shown, group) if spread else header(shown, group)[:-1]
    styles = {"best": "bold", "second": "underline", "": ""}
    rows = [[Text(one_line(text), style=styles[emphasis]) for text, emphasis in row] for row in _rows(group, shown, spread=spread)]
    for position, name in enumerate(names):
        prose = name in PROSE
        words = [word for text in (name, *(row[position].plain for row in rows)) for word in text.split(" ")]
        width = None if prose else max(len(word) for word in words)  # narrow cells may break at spaces, never in a number
        table.add_column(Text(name), justify="left" if prose else "right", overflow="fold", min_width=width)
    for row in rows:
        table.add_row(*row[: len(names)])
    return table


# ------------------------------------------------------------------------------------------------------------ machines


def document(comparison: Comparison) -> dict[str, Any]:
    """The comparison in JSON's types.

    Returns:
        ``rank``, ``baseline``, ``columns``, ``table`` (one object a group and method), ``groups``, ``overall`` and ``runs`` (one flat
        row a run, with its spec).
    """
    found = {
        "rank": comparison.rank.key,
        "baseline": comparison.baseline,
        "columns": [vars(column) for column in comparison.columns],
        "table": [_record(comparison, group, entry) for group in comparison.groups for entry in group.entries],
        "groups": [{**vars(group), "entries": [entry.method for entry in group.entries]} for group in comparison.groups],
        "overall": _overall(comparison),
        "runs": [{key: value for key, value in row.items() if key != "identity"} for row in comparison.runs],
    }
    plainly: dict[str, Any] = plain(found)
    return plainly


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """One dict a group and method for a csv file: what it is, its numbers, and how to get them again."""
    keys = list(dict.fromkeys(key for c in comparison.columns for key in (c.before, c.key) if key))
    references = [c.reference[0] for c in comparison.columns if c.reference]
    rows = []
    for group in comparison.groups:
        beside = has_published(group)
        for entry in group.entries:
            known = _record(comparison, group, entry)
            row = {name: known[name] for name in PLAIN}
            for key in keys:
                summary = entry.values[key]
                row |= {key: summary.mean, f"{key} sd": summary.sd, f"{key} n": summary.n, f"{key} low": summary.low}
                row[f"{key} high"] = summary.high
            row |= {key: group.references[key].mean for key in references}
            row["published"] = published(entry) if beside and entry.published else ""
            row |= {"run_keys": entry.run_keys, "command": known["command"]}
            rows.append(row)
    return rows


def _record(comparison: Comparison, group: Group, entry: Entry) -> dict[str, Any]:
    found = {"task": comparison.task, "dataset": group.dataset, "noise": group.noise, "protocol": group.protocol}
    known = {key: value for key, value in vars(entry).items() if key != "spec"}
    command = repeat_command(entry.spec, entry.seeds, comparison.task)
    return {**found, "solvable": group.solvable, **known, "n": len(entry.seeds), "marks": marks(entry, group), "command": command}


def _overall(comparison: Comparison) -> dict[str, Any] | None:
    """With the pairs as a list: JSON has no pairs for keys."""
    if comparison.overall is None:
        return None
    pairs = [{"methods": pair, "p": p} for pair, p in comparison.overall.pairs.items()]
    return {**vars(comparison.overall), "pairs": pairs}


def _json(comparison: Comparison) -> str:
    return json.dumps(document(comparison), indent=1, allow_nan=False) + "\n"


def _csv(comparison: Comparison) -> str:
    rows = records(comparison)
    names = list(rows[0]) if rows else list(PLAIN)
    return csv_text(names, [[row[name] for name in names] for row in rows])


# --------------------------------------------------------------------------------------------------------------- pages


def markdown_tables(comparison: Comparison) -> list[str]:
    """A table a group, best bold, second best in italics, its notes below it."""
    shown, parts = comparison.shown(), []
    for group in comparison.groups:
        names = header(shown, group)
        lines = [f"**{markdown(title(group))}**", "", _md_row(map(markdown, names))]
        lines.append(_md_row("---" if name in PROSE else "---:" for name in names))
        lines += [_md_row(cells) for cells in _escaped(group, shown, markdown, {"best": "**{}**", "second": "*{}*", "": "{}"})]
        notes = "\n".join(f"- {markdown(line)}" for line in footer(comparison, group))
        parts.append("\n".join([*lines, "", notes]))
    return parts


def latex_tables(comparison: Comparison) -> list[str]:
    """A floating table a group, best bold, second best underlined; they need the package booktabs."""
    shown, parts = comparison.shown(), []
    for group in comparison.groups:
        names = header(shown, group)
        lines = ["\\begin{table}", "\\centering", f"\\caption{{{latex(title(group))}}}"]
        lines += [f"\\begin{{tabular}}{{{''.join('l' if name in PROSE else 'r' for name in names)}}}", "\\toprule"]
        lines += [_tex_row([latex(name) for name in names]), "\\midrule"]
        emphasis = {"best": "\\textbf{{{}}}", "second": "\\underline{{{}}}", "": "{}"}
        lines += [_tex_row(cells) for cells in _escaped(group, shown, latex, emphasis)]
        lines += ["\\bottomrule", "\\end{tabular}", "", "\\footnotesize"]
        lines += [f"{latex(line)}\\par" for line in footer(comparison, group)]
        parts.append("\n".join([*lines, "\\end{table}"]))
    return parts


def _rows(group: Group, shown: Sequence[Column], *, spread: bool = True) -> list[list[tuple[str, str]]]:
    """The cells of a group's rows, each with its emphasis: ``best``, ``second`` or nothing."""
    best = {column.key: group.best(column) for column in shown}
    second = {column.key: group.second(column) for column in shown}
    beside = has_published(group)
    rows = []
    for entry in group.entries:
        row = [(entry.method, ""), (str(len(entry.seeds)), "")]
        for column in shown:
            emphasis = "best" if entry.method in best[column.key] else "second" if entry.method in second[column.key] else ""
            row.append((cell(entry, column, spread=spread), emphasis))
        row += [(published(entry), "")] if beside else []
        rows.append([*row, (place(entry), ""), (", ".join(marks(entry, group)), "")])
    return rows


def _escaped(group: Group, shown: Sequence[Column], escape: Escape, emphasis: dict[str, str]) -> list[list[str]]:
    return [[emphasis[kind].format(escape(text)) for text, kind in row] for row in _rows(group, shown)]


def _markdown(comparison: Comparison) -> str:
    return "\n\n".join(markdown_tables(comparison)) + "\n"


def _latex(comparison: Comparison) -> str:
    return "\n\n".join(["% needs \\usepackage{booktabs}", *latex_tables(comparison)]) + "\n"


def _md_row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _tex_row(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


FORMATS: dict[str, Callable[[Comparison], str]] = {"json": _json, "csv": _csv, "md": _markdown, "latex": _latex}
"""What ``--format`` accepts."""
