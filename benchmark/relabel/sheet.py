"""``answers.csv``: a table that people fill in with a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import BenchmarkError

COLUMNS = ("set", "index", "path", "given", "suggestion", "confidence", "quality", "reason", "answer", "annotator", "note")
NEEDED = ("set", "index", "given", "answer")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A cell that begins with one of these may be carried out by a spreadsheet."""


@dataclass(frozen=True)
class Row:
    """One line that somebody may have filled in: its number in the file and its cells as text, blanks around them removed."""

    line: int
    cells: dict[str, str]


def neutral(text: str) -> str:
    """The text with an apostrophe in front where a spreadsheet would take it for a formula; :func:`plain` takes it off."""
    return f"'{text}" if text.startswith((*_FORMULA, "'")) else text


def plain(text: str) -> str:
    """The inverse of :func:`neutral`; a text that was never changed stays as it is."""
    return text[1:] if text.startswith("'") and text[1:].startswith((*_FORMULA, "'")) else text


def table(rows: Sequence[Mapping[str, str | int | float | None]]) -> bytes:
    """The file's content: UTF-8 with a mark, without which spreadsheets take it for another encoding.

    Args:
        rows: :data:`COLUMNS` → value; text is made neutral, numbers are not, None and what is missing is an empty cell.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in COLUMNS])
    return text.getvalue().encode("utf-8-sig")


def _cell(value: str | int | float | None) -> str:
    if value is None:
        return ""
    return neutral(value) if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else str(value)


def read(path: Path) -> list[Row]:
    """The lines of a filled table, empty ones left out; commas, semicolons or tabs between the cells.

    Raises:
        BenchmarkError: it cannot be read, is not UTF-8, or lacks a column of :data:`NEEDED`.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchmarkError(f"{path.name} is not UTF-8; save it as 'CSV UTF-8'") from error
    except OSError as error:
        raise BenchmarkError(f"{path.name} cannot be read: {error.strerror or error}") from error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    try:
        header = [cell.strip() for cell in next(reader, [])]
        rows = [Row(reader.line_num, dict(zip(header, map(str.strip, cells), strict=False))) for cells in reader if any(cells)]
    except csv.Error as error:
        raise BenchmarkError(f"{path.name} cannot be read: {error}; expected the csv that relabel export wrote, filled in") from error
    lacking = [name for name in NEEDED if name not in header]
    if lacking:
        begins = ",".join(header)[:60] or "nothing"
        raise BenchmarkError(f"{path.name} begins with {begins}; expected the columns {', '.join(NEEDED)}, as in answers.csv")
    return [Row(row.line, {name: plain(cell) for name, cell in row.cells.items()}) for row in rows]


def _delimiter(text: str) -> str:
    """What stands between the names of the header: spreadsheets of many countries write semicolons."""
    header = text.partition("\n")[0]
    return max((",", ";", "\t"), key=header.count)
