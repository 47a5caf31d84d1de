"""What the page's script draws for a row, as JSON that no HTML can leave."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reports.board import Chapter
from reports.escape import one_line
from reports.evidence import Band, Evidence
from reports.leaderboard_parts import spoken
from reports.repeat import repeat_command
from reports.rows import Row
from reports.tables import Entry, Group

__all__ = ["data_of", "in_script"]

LARGEST_MATRIX = 12
"""Classes of a confusion matrix that has room for its numbers; of more, the page shows the most frequent confusions."""
MOST_EPOCHS = 60
"""Points of a curve: a small chart has room for no more, and a page of thousands of runs stays a page."""
UNIT = 10_000
"""Series stand in the page as whole numbers of this part, which takes a third less than decimals do."""


def data_of(chapter: Chapter, position: int, colours: Mapping[str, str]) -> str:
    """JSON of one condition: ``metric``, the headline's name, and ``rows``, one object a method in the order of the table."""
    comparison, group = chapter.comparison, chapter.comparison.groups[position]
    runs: dict[str, list[Row]] = {}
    for row in comparison.runs:
        if (row["dataset"], row["noise"], row["protocol"]) == (group.dataset, group.noise, group.protocol):
            runs.setdefault(row["method"], []).append(row)
    rows = []
    for entry in group.entries:
        found = _row(entry, group, sorted(runs.get(entry.method, []), key=lambda row: row["seed"]), chapter.task)
        found["colour"] = colours.get(entry.method, "#777777")
        evidence = chapter.evidence.get((position, entry.method))
        rows.append(found if evidence is None else {**found, **_evidence(evidence)})
    metric = spoken(comparison.rank.key.rpartition("/")[2])
    return in_script({"metric": metric, "where": one_line(f"{group.dataset}, {group.noise}"), "rows": rows})


def in_script(value: Any) -> str:
    """JSON in ASCII that can stand inside a ``script`` element."""
    found = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return found.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _row(entry: Entry, group: Group, runs: list[Row], task: str) -> dict[str, Any]:
    used = [row for row in runs if row["seed"] in entry.seeds and row["status"] == "done"]
    keys = list(entry.run_keys) or [str(row["run_key"]) for row in used]
    found: dict[str, Any] = {"method": one_line(entry.method), "n": len(entry.seeds), "used": list(entry.seeds)}
    found["keys"] = [one_line(key) for key in keys]
    found["command"] = one_line(repeat_command(entry.spec, entry.seeds, task))
    if entry.reasons:
        found["reasons"] = [one_line(reason) for reason in entry.reasons]
    if runs:
        spec = runs[0]["spec"]
        parts = ((name, kind, spec[kind]) for name, kind in (("method", "method"), ("data", "dataset"), ("noise", "noise")))
        found["versions"] = [_version(name, plugin) for name, _, plugin in parts]
    return found


def _version(kind: str, plugin: Mapping[str, Any]) -> str:
    """Plugin, version and fingerprint, as far as there are any."""
    known = f"{kind} {plugin['name']}"
    known += f" version {plugin['version']}" if plugin.get("version") is not None else ""
    return one_line(known + (f" ({plugin['fingerprint']})" if plugin.get("fingerprint") else ""))


def _evidence(evidence: Evidence) -> dict[str, Any]:
    by = -(-len(evidence.epochs) // MOST_EPOCHS) or 1
    found: dict[str, Any] = {
        "seeds": list(evidence.seeds),
        "missing": [f"seed {seed}: {one_line(why)}" for seed, why in evidence.missing.items()],
        "by": by,
        "epochs": list(_thinned(evidence.epochs, by)),
        "curves": {name: _band(band, by) for name, band in evidence.curves.items()},
        "selected": _round(evidence.selected),
        "classes": [one_line(name) for name in evidence.classes],
        "cost": {name: _round(value, 6) for name, value in evidence.cost.items()},
    }
    if (confusion := evidence.confusion) is not None:
        found["recall"], found["top"] = _band(confusion.recall), [[true, said, _round(share)] for true, said, share in confusion.top]
        if confusion.counts is not None and len(confusion.counts) <= LARGEST_MATRIX:
            found["counts"] = [list(row) for row in confusion.counts]
    if (detection := evidence.detection) is not None:
        found["detection"] = [_series(detection.recall), _band(detection.precision), _round(detection.chance)]
    if (calibration := evidence.calibration) is not None:
        parts = (calibration.edges, calibration.confidence, calibration.accuracy, calibration.share)
        found["calibration"] = [_series(part) for part in parts]
    return found


def _band(band: Band, by: int = 1) -> list[list[int | None]]:
    return [_series(_thinned(values, by)) for values in (band.mean, band.low, band.high)]


def _thinned(values: Sequence[Any], by: int) -> Sequence[Any]:
    """Every so many, the last among them."""
    return values[(len(values) - 1) % by :: by]


def _series(values: Iterable[float | None]) -> list[int | None]:
    return [None if value is None or not math.isfinite(value) else round(value * UNIT) for value in values]


def _round(value: float | None, digits: int = 4) -> float | int | None:
    """Four decimals are finer than a chart; a whole number needs none."""
    if value is None or not math.isfinite(value):
        return None
    rounded = round(float(value), digits)
    return int(rounded) if rounded == int(rounded) else rounded
