"""What ``--dry-run`` prints: the cells, and what those that are to run will cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmark.cli.output import write, write_json, write_table

if TYPE_CHECKING:
    from benchmark.driver import Cell, Plan


def print_plan(plan: Plan, fmt: str, jobs: int) -> None:
    """The cells, and by method what the pending ones are expected to take.

    Args:
        plan: of the command.
        fmt: ``json`` for one object, anything else for two tables.
        jobs: how many runs go on at a time; 0: the cluster decides, and the time is that of one worker.
    """
    cells = [_cell_row(cell) for cell in plan.cells]
    costs, wall = method_costs(plan.pending), plan.wall_seconds(jobs or 1)
    if fmt == "json":
        write_json({"cells": cells, "methods": costs, "jobs": jobs or None, "wall_seconds": wall, "unestimated": plan.unestimated})
        return
    write_table(list(cells[0]), [list(row.values()) for row in cells])
    if wall is not None:
        from benchmark.progress import duration

        write("")
        write_table(["method", "to run", "a cell", "10-90 %", "in all", "no estimate"], [_cost_words(row) for row in costs])
        write(f"wall time {f'with --jobs {jobs}' if jobs else 'for one worker'}: about {duration(wall)}")


def method_costs(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """What the pending cells of each method are expected to take, in their order.

    Returns:
        Rows with ``method``; ``cells``; ``unestimated``, those of them that nothing is known of; and of the others ``seconds_per_cell``
        (mean), ``low`` and ``high`` (means of the 10 % and 90 % quantiles; None where some cell has fewer than three runs behind it)
        and ``seconds`` in all; None if there are none.
    """
    methods: dict[str, list[Cell]] = {}
    for cell in cells:
        methods.setdefault(cell.spec.labels.get("method", cell.spec.method.name), []).append(cell)
    rows = []
    for name, of_method in methods.items():
        known = [cell.estimate for cell in of_method if cell.estimate is not None]
        total = sum(estimate.seconds for estimate in known) if known else None
        lows, highs = [e.low for e in known if e.low is not None], [e.high for e in known if e.high is not None]
        certain = bool(known) and len(lows) == len(highs) == len(known)
        rows.append(
            {
                "method": name,
                "cells": len(of_method),
                "unestimated": len(of_method) - len(known),
                "seconds_per_cell": None if total is None else total / len(known),
                "low": sum(lows) / len(known) if certain else None,
                "high": sum(highs) / len(known) if certain else None,
                "seconds": total,
            }
        )
    return rows


def _cell_row(cell: Cell) -> dict[str, Any]:
    return {
        "run_key": cell.key,
        "method": cell.spec.labels["method"],
        "dataset": cell.spec.labels["dataset"],
        "noise": cell.spec.labels["noise"],
        "seed": cell.spec.seed,
        "status": str(cell.status),
        "action": "run" if cell.pending else "keep",
        "seconds": None if cell.estimate is None else round(cell.estimate.seconds, 3),
        "from": "" if cell.estimate is None else f"{cell.estimate.runs} × {cell.estimate.basis}",
    }


def _cost_words(row: dict[str, Any]) -> list[Any]:
    from benchmark.progress import duration

    def words(name: str) -> str:
        return "-" if row[name] is None else duration(row[name])

    interval = "-" if row["low"] is None else f"{words('low')} - {words('high')}"
    return [row["method"], row["cells"], words("seconds_per_cell"), interval, words("seconds"), row["unestimated"] or ""]
