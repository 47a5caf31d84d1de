"""A table of text with a title and notes, as Markdown, LaTeX or for a terminal. Names in it are foreign text: all are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.escape import latex, markdown, one_line

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Sheet", "latex_page", "markdown_page", "rich_sheet"]

LONGEST_WORD = 24
"""Characters of a word that a narrow terminal does not break; a number is never broken."""


@dataclass(frozen=True)
class Sheet:
    """What a reader sees, whatever the format.

    Attributes:
        header: column titles. rows: as many cells each. notes: lines below. prose: titles of columns of words, which stand on the left.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    prose: tuple[str, ...] = ()


def markdown_page(sheets: Sequence[Sheet]) -> str:
    """The tables below each other, in bold titles."""
    parts = []
    for sheet in sheets:
        lines = [f"**{markdown(sheet.title)}**", "", _markdown_row(sheet.header)]
        lines.append(f"| {' | '.join('---' if title in sheet.prose else '---:' for title in sheet.header)} |")
        lines += [_markdown_row(row) for row in sheet.rows]
        parts.append("\n".join([*lines, "", *(f"- {markdown(note)}" for note in sheet.notes)]))
    return "\n\n".join(parts) + "\n"


def latex_page(sheets: Sequence[Sheet]) -> str:
    """One floating table each; they need the package booktabs."""
    parts = ["% needs \\usepackage{booktabs}"]
    for sheet in sheets:
        columns = "".join("l" if title in sheet.prose else "r" for title in sheet.header)
        lines = ["\\begin{table}", "\\centering", f"\\caption{{{latex(sheet.title)}}}", f"\\begin{{tabular}}{{{columns}}}", "\\toprule"]
        lines += [_latex_row(sheet.header), "\\midrule", *(_latex_row(row) for row in sheet.rows), "\\bottomrule", "\\end{tabular}"]
        lines += ["", "\\footnotesize", *(f"{latex(note)}\\par" for note in sheet.notes), "\\end{table}"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def rich_sheet(sheet: Sheet) -> Table:
    """The table for a terminal; nothing in it is markup, and no number is broken."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    caption = Text("\n".join(one_line(note) for note in sheet.notes))
    table = Table(title=Text(one_line(sheet.title)), caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.title_justify = table.caption_justify = "left"
    for position, title in enumerate(sheet.header):
        words = [word for text in (title, *(row[position] for row in sheet.rows)) for word in text.split(" ")]
        prose = title in sheet.prose
        width = max(len(word) for word in words)
        width = min(width, LONGEST_WORD) if prose else width
        table.add_column(Text(one_line(title)), justify="left" if prose else "right", overflow="fold", min_width=width)
    for row in sheet.rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    return table


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(markdown(cell) for cell in cells)} |"


def _latex_row(cells: Sequence[str]) -> str:
    return f"{' & '.join(latex(cell) for cell in cells)} \\\\"
