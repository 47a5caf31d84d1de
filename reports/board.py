"""The leaderboard: the comparisons of every task, what lies behind each number, and where it all comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmark.errors import BenchmarkError
from reports.evidence import Evidence
from reports.rows import Row
from reports.suspects import Gallery
from reports.tables import Comparison, compare

__all__ = ["Board", "Chapter", "Provenance", "build", "provenance_of"]

TITLE = "Noisy-label leaderboard"


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
    evidence: Mapping[tuple[int, str], Evidence] = field(default_factory=dict)
    galleries: Mapping[int, Gallery] = field(default_factory=dict)


@dataclass(frozen=True)
class Board:
    """What a leaderboard shows, whatever its format. provenance: None where nobody asked."""

    title: str
    chapters: tuple[Chapter, ...]
    provenance: Provenance | None = None


def build(
    rows: Sequence[Row],
    *,
    rank_by: str | None = None,
    compact: Sequence[str] | None = None,
    baseline: str | None = None,
    seeds: Sequence[int] | None = None,
    posthoc: str = "nemenyi",
    provenance: Provenance | None = None,
) -> Board:
    """The leaderboard of rows, each task for itself; evidence and galleries are added by whoever has the runs' files.

    Args:
        rows: from :func:`reports.rows.flatten_all`.
        rank_by, compact, baseline, seeds, posthoc: as :func:`reports.tables.compare` takes them.
        provenance: where the rows come from.

    Raises:
        BenchmarkError: metrics were chosen and the rows are of several tasks, whose metrics are others.
    """
    tasks = {task: [row for row in rows if row["task"] == task] for task in sorted({row["task"] for row in rows})}
    if len(tasks) > 1 and (rank_by or compact):
        raise BenchmarkError(f"these runs are of {' and '.join(tasks)}, whose metrics are others; choose one with --task")
    chosen = {"rank_by": rank_by, "compact": compact, "baseline": baseline, "seeds": seeds, "posthoc": posthoc}
    chapters = tuple(Chapter(task, compare(found, **chosen)) for task, found in tasks.items())  # type: ignore[arg-type]
    return Board(TITLE, chapters, provenance)


def provenance_of(rows: Sequence[Row], command: str, source: str, filters: Sequence[str] = ()) -> Provenance:
    """The provenance of rows; hosts and commits by how many runs have them, the most first."""
    from benchmark import __version__

    hosts, commits = (Counter(str(row[key]) for row in rows) for key in ("host", "commit"))
    counted = [dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))) for found in (hosts, commits)]
    return Provenance(command, __version__, source, tuple(filters), *counted)
