"""Csv files that others wrote: rows with their line numbers, and one clear line for what cannot be used."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import BenchmarkError


@dataclass(frozen=True)
class Table:
    """A csv file.

    Attributes:
        file: where it lies, for messages.
        header: the column names, stripped.
        rows: (line number, stripped cells) of each row that is not empty; as many cells as columns.
    """

    file: Path
    header: list[str]
    rows: list[tuple[int, list[str]]]

    def column(self, name: str, *, filled: bool = True) -> list[str]:
        """The cells of one column.

        Args:
            name: a column that exists.
            filled: refuse empty cells.

        Raises:
            BenchmarkError: an empty cell; the line is named.
        """
        place = self.header.index(name)
        if filled:
            for line, row in self.rows:
                if not row[place]:
                    raise BenchmarkError(f"{self.file}, line {line}: {name} is empty")
        return [row[place] for _, row in self.rows]

    def places(self) -> Iterator[str]:
        """Where each row stands, for messages."""
        return (f"line {line}" for line, _ in self.rows)

    def require(self, columns: Sequence[str]) -> None:
        """Refuse a table that lacks a column or has one twice.

        Raises:
            BenchmarkError: names what is missing and what was found.
        """
        missing = [name for name in columns if name not in self.header]
        if missing:
            found = ",".join(self.header) or "nothing"
            raise BenchmarkError(f"{self.file} lacks the column {' and '.join(missing)}; its first line holds {found}")
        twice = [name for name in self.header if self.header.count(name) > 1]
        if twice:
            raise BenchmarkError(f"{self.file}: the column {twice[0]} occurs {self.header.count(twice[0])} times")


def read_table(file: Path) -> Table:
    """Read a csv file, UTF-8 with or without a byte-order mark, with commas, semicolons or tabs; empty rows are left out.

    Raises:
        BenchmarkError: the file is missing, is not UTF-8 or csv, or a row has another number of cells than the header.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            delimiter = _delimiter(stream.readline())
            stream.seek(0)
            reader = csv.reader(stream, strict=True, delimiter=delimiter)
            header = [name.strip() for name in next(reader, [])]
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(cell.strip() for cell in row)]
    except UnicodeDecodeError as error:
        raise BenchmarkError(f"{file} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except csv.Error as error:
        raise BenchmarkError(f"{file} cannot be read as csv: {error}") from None
    except OSError as error:
        raise BenchmarkError(f"cannot read {file}: {error.strerror or error}") from None
    for line, row in rows:
        if len(row) != len(header):
            raise BenchmarkError(f"{file}, line {line}: {len(row)} fields where the header has {len(header)}")
    return Table(file, header, rows)


def _delimiter(header: str) -> str:
    """What stands between the names of the header: a comma where there is one; spreadsheets of many countries write semicolons."""
    return "," if "," in header else max((",", ";", "\t"), key=header.count)
