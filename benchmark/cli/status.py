"""``status``: what is done, running, failed and left in a runs folder, once or as it changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.cells import count
from benchmark.cli.options import AsJson, Plugins, Runs, registry_of
from benchmark.cli.output import write, write_json, write_table
from benchmark.cli.results import existing_store
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.failures import FailureGroup
    from benchmark.folder_view import CellState, FolderView

FEW = 40
"""Up to so many cells are listed one by one; of more, so many of those that are not done."""

STATES = ("done", "running", "failed", "dead", "missing", "stale", "unreadable")
ORDER = {state: place for place, state in enumerate(("running", "failed", "unreadable", "dead", "stale", "done", "missing"))}
"""Of cells in a list that is cut: what somebody may have to look at comes first."""


def add_to(app: typer.Typer) -> None:
    """Register the command of this module."""
    app.command("status")(status)


def status(
    *,
    runs: Runs = Path("runs"),
    every_cell: Annotated[bool, typer.Option("--all", help=f"List each cell, also where there are more than {FEW}.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it as it changes, with running cells and remaining time; q leaves.")] = False,
    interval: Annotated[
        float | None,
        typer.Option(
            "--interval", min=0.2, metavar="SECONDS", help="Of --watch. Default: 2 on a terminal, 30 in a pipe.", show_default=False
        ),
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> int:
    """Say what is done, running, failed and left in a runs folder.

    Many cells are counted by data, noise and method; those that failed are grouped by cause.
    """
    from benchmark.folder_view import FolderView

    for option, given in (("--json", as_json), ("--all", every_cell)):
        if watch and given:
            raise BenchmarkError(
                f"--watch and {option} contradict each other: one shows what changes, the other everything once; leave one out"
            )
    if interval is not None and not watch:
        raise BenchmarkError("--interval is of --watch; add that, or leave it out")
    view = FolderView(existing_store(runs), registry_of(plugin))
    repeat = Repeat(runs, plugin or ())
    if watch:
        from benchmark.cli.watch import watch_folder

        return watch_folder(view, repeat, interval)
    view.refresh()
    cells = sorted(view.cells.values(), key=_place)
    if as_json:
        write_json(document(view, cells, repeat))
        return 0
    _print(view, cells, repeat, every_cell)
    return 0


class Repeat:
    """The command that runs a failed cell again.

    Args:
        runs: the folder, as it was written.
        plugins: of ``--plugin``.
    """

    def __init__(self, runs: Path, plugins: Sequence[str]) -> None:
        self.runs, self.plugins = runs, plugins

    def one(self, key: str) -> str:
        """Of one cell, in the foreground."""
        from benchmark.cli.campaign import repeat_command, worker_options

        return repeat_command(key, worker_options(self.runs, "auto", 1, None, self.plugins))


def document(view: FolderView, cells: Iterable[CellState], repeat: Repeat) -> dict[str, Any]:
    """``status --json``: counts, each cell, and the causes of failures."""
    rows = [{**_row(cell), "ended": cell.ended} for cell in cells]
    causes = [
        {"cause": group.cause, "cells": group.count, "example": group.example.key, "repeat": repeat.one(group.example.key)}
        for group in causes_of(view)
    ]
    return {"counts": view.counts, "cells": rows, "failures": causes}


def causes_of(view: FolderView) -> list[FailureGroup]:
    """The failures of a folder by cause."""
    from benchmark.failures import group_failures

    return group_failures(view.failures())


def failure_lines(groups: Sequence[FailureGroup], repeat: Repeat) -> list[str]:
    """Causes with one example each and its command; then the command for all of them."""
    lines = []
    for group in groups:
        lines += [f"{group.count} × {group.cause}", f"    e.g. {group.example.label}: {repeat.one(group.example.key)}"]
    if sum(group.count for group in groups) > 1:
        lines.append("all again: the command that began them, with --retry-failed")
    return lines


def _print(view: FolderView, cells: Sequence[CellState], repeat: Repeat, every_cell: bool) -> None:
    listed = list(cells)
    if len(cells) > FEW and not every_cell:
        rows = summary(cells)
        write_table(list(rows[0]), [list(row.values()) for row in rows])
        undone = sorted((c for c in cells if c.state != "done" or c.ended not in ("done", None)), key=lambda c: (ORDER[c.state], _place(c)))
        listed = undone[:FEW]
        if listed:
            write("")
    if listed:
        write_table(list(_row(listed[0])), [list(_row(cell).values()) for cell in listed])
    if len(cells) > FEW and not every_cell and len(undone) > FEW:
        write(f"and {len(undone) - FEW} more that are not done; --all lists every cell")
    if groups := causes_of(view):
        write("\n" + "\n".join(failure_lines(groups, repeat)))
    write(f"{'' if not cells else chr(10)}{headline(view, repeat.runs)}")


def headline(view: FolderView, runs: Path) -> str:
    """How many cells there are of each state."""
    return f"{count(len(view.cells), 'cells')} in {runs}" + "".join(f", {number} {state}" for state, number in view.counts.items())


def summary(cells: Iterable[CellState]) -> list[dict[str, Any]]:
    """Rows of data × noise × method with the number of cells, and of each state that occurs anywhere; nothing stands for none."""
    groups: dict[tuple[str, str, str], Counter[str]] = {}
    for cell in cells:
        counts = groups.setdefault((cell.dataset or "", cell.noise or "", cell.method or ""), Counter())
        counts["cells"] += 1
        counts[cell.state] += 1
        if cell.ended not in ("done", None):
            counts[cell.ended] += 1
    there = [state for state in (*STATES, "skipped", "diverged") if any(counts[state] for counts in groups.values())]
    return [
        {"dataset": names[0], "noise": names[1], "method": names[2], "cells": counts["cells"]} | {s: counts[s] or "" for s in there}
        for names, counts in sorted(groups.items())
    ]


def _place(cell: CellState) -> tuple[str, str, str, int]:
    return str(cell.dataset), str(cell.noise), str(cell.method), cell.seed or 0


def _row(cell: CellState) -> dict[str, Any]:
    names = {"run_key": cell.key, "method": cell.method, "dataset": cell.dataset, "noise": cell.noise, "seed": cell.seed}
    return {**names, "status": cell.state, "detail": cell.detail}
