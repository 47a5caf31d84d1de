"""The leaderboard: the comparisons of every task, what lies behind each number, and where it all comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reports.evidence import Evidence
from reports.suspects import Gallery
from reports.tables import Comparison

__all__ = ["Board", "Chapter", "Provenance"]


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from.

    Attributes:
        command: what made the report, as typed.
        benchmark: this program's version.
        source: what was read, e.g. ``runs``. filters: what was left out on purpose, in words.
        hosts: hardware and versions of the runs, one text each → how many runs.
        commits: git commits of the runs → how many runs.
    """

    command: str
    benchmark: str
    source: str
    filters: tuple[str, ...]
    hosts: Mapping[str, int]
    commits: Mapping[str, int]


@dataclass(frozen=True)
class Chapter:
    """One task.

    Attributes:
        comparison: its tables; ``comparison.overall`` compares over conditions.
        evidence: (position of the group, method) → what lies behind the row.
        galleries: position of the group → its samples most likely mislabelled.
    """

    task: str
    comparison: Comparison
    evidence: Mapping[tuple[int, str], Evidence]
    galleries: Mapping[int, Gallery]


@dataclass(frozen=True)
class Board:
    """What a leaderboard shows, whatever its format."""

    title: str
    chapters: tuple[Chapter, ...]
    provenance: Provenance
