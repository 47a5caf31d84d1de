"""Profiles of finished runs: read, averaged over the cells of a method, and as a table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.profiling.stopwatch import PARTS

SCHEMA = 1
FOLDER, PROFILE, TRACE = "profile", "profile.json", "trace.json.gz"
"""Of a profiled run: the folder in the run's folder, and the files in it."""

VIEWERS = "https://ui.perfetto.dev or chrome://tracing"
TOTAL = "run"
MOST_SECONDS = 1e12
"""No run takes longer; a whole number of any size stands in JSON, and not every one is a float."""


@dataclass(frozen=True)
class Column:
    """One method on one data set.

    Attributes:
        method: its label.
        seconds: part → mean seconds over its runs.
        runs: how many.
    """

    method: str
    seconds: dict[str, float]
    runs: int

    @property
    def total(self) -> float:
        """Mean seconds of a run."""
        return sum(self.seconds.values())

    def cell(self, part: str) -> str:
        """Seconds and per cent of a part, or of :data:`TOTAL`; empty where it did not occur."""
        value = self.total if part == TOTAL else self.seconds.get(part, 0.0)
        if not value:
            return ""
        return f"{value:.2f} s  {100 * value / self.total:5.1f} %"


def read_profile(run_folder: Path) -> dict[str, Any] | None:
    """What :mod:`benchmark.profiling.recorder` wrote into a run's folder; None if there is none that can be read."""
    try:
        found = json.loads((run_folder / FOLDER / PROFILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA or not isinstance(parts := found.get("parts"), dict):
        return None
    return found if parts and all(_is_seconds(seconds) for seconds in parts.values()) else None


def mean_column(method: str, profiles: Sequence[Mapping[str, Any]], tracking: Iterable[float] = ()) -> Column:
    """The mean run of a method.

    Args:
        method: its label.
        profiles: of its runs, at least one.
        tracking: seconds that the mirror took, for as many of these runs as it has mirrored.
    """
    total = dict.fromkeys(PARTS, 0.0)
    for profile in profiles:
        for part, seconds in profile["parts"].items():
            total[part if part in PARTS else "other"] += seconds
    total["tracking"] += sum(tracking)
    return Column(method, {part: seconds / len(profiles) for part, seconds in total.items() if seconds}, len(profiles))


def rows_of(columns: Sequence[Column]) -> list[list[str]]:
    """A row a part that occurs, and one of the whole run."""
    parts = [part for part in PARTS if any(part in column.seconds for column in columns)]
    return [[part, *(column.cell(part) for column in columns)] for part in (*parts, TOTAL)]


def _is_seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < MOST_SECONDS
