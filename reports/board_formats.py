"""The whole leaderboard, all tasks and what is over conditions, as json, csv, Markdown, LaTeX or terminal tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from reports.board import Board, Chapter, Provenance
from reports.escape import latex, markdown
from reports.formats import document, latex_tables, markdown_tables, records, rich_tables
from reports.machine import csv_text, plain
from reports.overall_sheet import overall_sheet
from reports.sheet import latex_page, markdown_page, rich_sheet

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["BOARD_FORMATS", "provenance_lines", "rich_board"]

SCHEMA = 2
"""Of the JSON document: 1 was a single comparison."""


def rich_board(board: Board, width: int | None = None) -> list[Table]:
    """Tables for a terminal: the conditions of each task, then the standings over them, where the eye ends up."""
    tables: list[Table] = []
    for chapter in board.chapters:
        tables += rich_tables(chapter.comparison, width=width)
        sheet = overall_sheet(chapter.comparison)
        tables += [rich_sheet(sheet)] if sheet is not None else []
    return tables


def provenance_lines(provenance: Provenance) -> list[str]:
    """Command, versions, hardware and commits behind the numbers."""
    lines = [f"made by noisy-label-benchmark {provenance.benchmark}: {provenance.command}", f"read: {provenance.source}"]
    lines += [f"only: {text}" for text in provenance.filters]
    lines += [f"{_runs(n)} with {host or 'unknown hardware'}" for host, n in provenance.hosts.items()]
    lines += [f"{_runs(n)} at commit {commit or 'unknown'}" for commit, n in provenance.commits.items()]
    return [*lines, "the run keys behind every row, and the command that repeats it, are in leaderboard.csv and leaderboard.json"]


def _json(board: Board) -> str:
    tasks = {chapter.task: document(chapter.comparison) for chapter in board.chapters}
    found = {"schema": SCHEMA, "title": board.title, "provenance": plain(board.provenance), "tasks": tasks}
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def _csv(board: Board) -> str:
    rows = [row for chapter in board.chapters for row in records(chapter.comparison)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return csv_text(names, [[row.get(name) for name in names] for row in rows])


def _markdown(board: Board) -> str:
    parts = []
    for chapter in board.chapters:
        parts += [f"## {markdown(chapter.task)}"] if len(board.chapters) > 1 else []
        sheet = overall_sheet(chapter.comparison)
        parts += [markdown_page([sheet]).rstrip("\n")] if sheet is not None else []
        parts += markdown_tables(chapter.comparison)
    lines = [f"- {markdown(line)}" for line in _origin(board)]
    return "\n\n".join([*parts, *(["\n".join(["**where the numbers come from**", "", *lines])] if lines else [])]) + "\n"


def _latex(board: Board) -> str:
    parts = ["% needs \\usepackage{booktabs}"]
    for chapter in board.chapters:
        parts += _latex_chapter(chapter)
    lines = "\n".join(f"% {latex(line)}" for line in _origin(board))
    return "\n\n".join([*parts, *([lines] if lines else [])]) + "\n"


def _latex_chapter(chapter: Chapter) -> list[str]:
    sheet = overall_sheet(chapter.comparison)
    above = [] if sheet is None else [latex_page([sheet]).partition("\n\n")[2].rstrip("\n")]
    return above + latex_tables(chapter.comparison)


def _origin(board: Board) -> list[str]:
    return [] if board.provenance is None else provenance_lines(board.provenance)


def _runs(n: int) -> str:
    return f"{n} run{'' if n == 1 else 's'}"


BOARD_FORMATS: dict[str, Callable[[Board], str]] = {"json": _json, "csv": _csv, "md": _markdown, "latex": _latex}
"""What ``--format`` accepts beside ``table``."""
