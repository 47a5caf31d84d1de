"""Printing: notes to stderr, tables and JSON to stdout."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

PIPE_WIDTH = 200
"""Characters of a table that goes to a pipe."""


def note(message: str) -> None:
    """One line for the person at the keyboard; not part of the result."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def write(text: str) -> None:
    """A result, as it is."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def aside() -> contextlib.AbstractContextManager[Any]:
    """What others print inside, say a plugin when it is imported, goes to stderr: stdout is for results alone."""
    return contextlib.redirect_stdout(sys.stderr)


@contextlib.contextmanager
def warnings_shown(told: set[str] | None = None) -> Iterator[None]:
    """Each warning of the benchmark and its plugins becomes one note, also where a run's log is the only other place.

    Args:
        told: the texts that were printed before, to which these are added; a command of several steps hands on one set.
    """
    logger, handler = logging.getLogger("benchmark"), _Notes(logging.WARNING, set() if told is None else told)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Notes(logging.Handler):
    """Prints each text once; exceptions are left to the outcome that they lead to."""

    def __init__(self, level: int, told: set[str]) -> None:
        super().__init__(level)
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record, unless it was printed before."""
        text = " ".join(record.getMessage().split())
        if not record.exc_info and text not in self._told:
            self._told.add(text)
            note(f"warning: {text}")


def write_json(value: Any) -> None:
    """A result as indented JSON; paths become text, numbers that JSON lacks become null."""
    write(json.dumps(_finite(value), indent=2, ensure_ascii=False, default=str))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def write_table(headers: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
    """Rows under headers: fitted to a terminal, or, in a pipe, aligned and never cut or wrapped."""
    cells = [["" if value is None else str(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        _write_rich(headers, cells, title)
        return
    lines = [list(headers), *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    text = "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    write(f"{title}\n{text}" if title else text)


def _write_rich(headers: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, title=title or None, title_justify="left", pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(Text(header), overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # Text: nothing in a cell is markup
    Console().print(table)


def write_rich(tables: Callable[[int], Sequence[Table]], *lines: str) -> None:
    """Tables that were drawn elsewhere: in colour on a terminal, else plain and wide enough for every column.

    Args:
        tables: makes them for a number of columns.
        *lines: what stands below them; nothing in it is markup.
    """
    from rich.console import Console

    if sys.stdout.isatty():
        console = Console()
        console.print(*tables(console.width), sep="\n")
        console.print(*lines, sep="\n", markup=False, highlight=False, end="\n" if lines else "")
        return
    stream = io.StringIO()
    Console(file=stream, width=PIPE_WIDTH, color_system=None).print(*tables(PIPE_WIDTH), sep="\n")
    write("".join(f"{line.rstrip()}\n" for line in [*stream.getvalue().splitlines(), *(["", *lines] if lines else [])]))
