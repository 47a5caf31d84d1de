"""The retention tables as text in the formats of a report, and the curves as one long table."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from typing import Any

from reports.escape import csv_cell, latex, markdown, one_line
from reports.formats import render
from reports.retention import Panel, Retention

__all__ = ["definitions", "hard_lines", "long_table", "render_retention"]

EXPLANATION = (
    "hard@q: share of the clean and hard samples kept when q % of the wrong labels are removed, lowest quality first; "
    "clean@q: of all clean samples; area: mean over q = 5, 10, …, 100"
)
WHAT = ("dataset", "noise", "protocol", "method", "seed")
NUMBERS = ("removed", "hard_kept", "clean_kept", "n_wrong", "n_hard", "hardness", "reference_runs")


def render_retention(result: Retention, format: str) -> str:
    """The comparison as text that ends with a newline.

    Args:
        result: from :func:`reports.retention.compare_retention`.
        format: ``json``, ``csv``, ``md`` or ``latex``, as :func:`reports.formats.render` has them. What is hard, and by how
            many reference runs, is in ``hardness`` (json), in two more columns (csv) or in lines at the end.

    Raises:
        BenchmarkError: an unknown format.
    """
    text = render(result.comparison, format)
    if format == "json":
        document = json.loads(text)
        document["hardness"] = [_hardness(panel) for panel in result.panels]
        return json.dumps(document, indent=1, allow_nan=False) + "\n"
    if format == "csv":
        return _csv(result, text)
    if format == "latex":
        return text + "".join(f"\n{latex(line)}\\par" for line in definitions(result)) + "\n"
    return text + "\n" + "".join(f"- {markdown(line)}\n" for line in definitions(result))


def definitions(result: Retention) -> list[str]:
    """What the numbers are, then which samples are hard."""
    return [EXPLANATION, *hard_lines(result)]


def hard_lines(result: Retention) -> list[str]:
    """Which samples are hard: a line for all groups that share the definition."""
    groups: dict[str, list[str]] = {}
    for panel in result.panels:
        groups.setdefault(panel.hard, []).append(f"{panel.dataset} · {panel.noise}")
    if len(groups) == 1:
        return [one_line(f"hard: {next(iter(groups))}")]
    return [one_line(f"hard in {', '.join(dict.fromkeys(names))}: {hard}") for hard, names in groups.items()]


def long_table(result: Retention) -> str:
    """CSV with one row for each group, method, seed and share of removed wrong labels; all shares in [0, 1]."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow([*WHAT, *NUMBERS])
    for panel in result.panels:
        writer.writerows([csv_cell(value) for value in row] for row in _long_rows(panel))
    return output.getvalue()


def _long_rows(panel: Panel) -> Iterator[list[Any]]:
    from benchmark.metrics.retention import GRID

    runs = 0 if panel.reference is None else len(panel.reference.seeds)
    for method, curves in panel.curves.items():
        for seed, curve in zip(panel.seeds, curves, strict=True):
            for removed, hard, clean in zip(GRID.tolist(), curve.hard.tolist(), curve.clean.tolist(), strict=True):
                shares = [removed, *("" if math.isnan(value) else value for value in (hard, clean))]  # NaN is an empty cell
                yield [panel.dataset, panel.noise, panel.protocol, method, seed, *shares, curve.n_wrong, curve.n_hard, panel.hard, runs]


def _csv(result: Retention, text: str) -> str:
    """The table with the columns ``hardness`` and ``reference_runs``."""
    header, *rows = csv.reader(io.StringIO(text))
    panels = [panel for panel, group in zip(result.panels, result.comparison.groups, strict=True) for _ in group.entries]
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow([*header, "hardness", "reference_runs"])
    for row, panel in zip(rows, panels, strict=True):
        known = _hardness(panel)
        writer.writerow([*row, csv_cell(known["hard"]), known["reference_runs"]])
    return output.getvalue()


def _hardness(panel: Panel) -> dict[str, Any]:
    group = {"dataset": panel.dataset, "noise": panel.noise, "protocol": panel.protocol}
    made = panel.reference
    more = {"reference": None if made is None else made.method, "reference_seeds": [] if made is None else list(made.seeds)}
    known = min(curve.known for curves in panel.curves.values() for curve in curves)
    return {**group, "hard": panel.hard, **more, "reference_runs": len(more["reference_seeds"] or []), "known": known}
