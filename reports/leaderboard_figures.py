"""The figures of a leaderboard, each with a caption, a sentence for those who cannot see it, and two files."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from reports import style
from reports.board import Board, Chapter
from reports.leaderboard_noise import noise_figures
from reports.leaderboard_parts import Spec
from reports.leaderboard_ranks import difference_figures, rank_figures
from reports.leaderboard_trade import cost_figures, rule_figures

__all__ = ["Drawn", "draw_all", "figures", "looks_of"]

MOST_FIGURES = 12
"""Of one kind and task: a page of hundreds is not looked at, and each takes half a second."""
KINDS = (difference_figures, rank_figures, noise_figures, cost_figures, rule_figures)
"""In the order of a page: who is ahead overall, then why."""


@dataclass(frozen=True)
class Drawn:
    """A figure on disk.

    Attributes:
        name: file stem: the task, the kind and, of several, a number; unique in the folder.
        title, caption, alt: plain text, one line each, with foreign names in it. See :class:`~reports.leaderboard_parts.Spec`.
        svg, png: the files.
    """

    name: str
    title: str
    caption: str
    alt: str
    svg: Path
    png: Path
    task: str = "classification"


def looks_of(board: Board) -> dict[str, style.Look]:
    """The look of every method of the board, the same in all its figures."""
    return style.looks(entry.method for chapter in board.chapters for group in chapter.comparison.groups for entry in group.entries)


def figures(chapter: Chapter, looks: Mapping[str, style.Look] | None = None) -> Iterator[Spec]:
    """What can be drawn of a task; a figure that would be empty is left out.

    Args:
        looks: from :func:`looks_of`; None takes the chapter's own methods.
    """
    comparison = chapter.comparison
    if looks is None:
        looks = style.looks(entry.method for group in comparison.groups for entry in group.entries)
    found = [spec for kind in KINDS for spec in _few(list(kind(comparison, looks)))]
    several = Counter(spec.stem for spec in found)
    seen: Counter[str] = Counter()
    for spec in found:
        seen[spec.stem] += 1
        number, count = seen[spec.stem], several[spec.stem]
        stem = re.sub(r"[^a-z0-9]+", "_", chapter.task.lower()).strip("_") or "task"
        alone = replace(spec, stem=f"{stem}-{spec.stem}")
        yield replace(alone, stem=f"{alone.stem}-{number}", title=f"{spec.title} ({number} of {count})") if count > 1 else alone


def _few(specs: list[Spec]) -> list[Spec]:
    """At most :data:`MOST_FIGURES`; the last says how many are missing."""
    left = len(specs) - MOST_FIGURES
    if left <= 0:
        return specs
    *kept, last = specs[:MOST_FIGURES]
    return [*kept, replace(last, caption=f"{last.caption} {left} more figures of this kind are not drawn; the tables have their numbers.")]


def draw_all(board: Board, folder: Path) -> list[Drawn]:
    """Write every figure as svg and png into a folder, which is created if need be; the same board gives the same bytes."""
    looks, found = looks_of(board), []
    taken: set[str] = set()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a name in a script that the font lacks
        for chapter in board.chapters:
            for spec in figures(chapter, looks):
                name, number = spec.stem, 2
                while name in taken:
                    name, number = f"{spec.stem}_{number}", number + 1
                taken.add(name)
                svg, png = style.save(spec.draw, folder, name)
                found.append(Drawn(name, spec.title, spec.caption, spec.alt, svg, png, chapter.task))
    return found
