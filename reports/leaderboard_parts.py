"""What the figures of a leaderboard share: what a figure is before it is drawn, how names are cut, which numbers may be compared."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from benchmark.tasks import TASKS
from reports import style
from reports.columns import Column, column
from reports.escape import one_line
from reports.tables import Comparison, Entry, Group, Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "INCHES_A_CHARACTER",
    "OTHERS",
    "RULES",
    "Spec",
    "conditions",
    "counted",
    "cut",
    "cut_note",
    "headline",
    "keys_of",
    "legend",
    "listed",
    "metric",
    "ordered",
    "pages",
    "scaled",
    "seeds_of",
    "shorten",
    "spoken",
    "standing",
    "title_of",
    "value",
    "whole",
    "words",
]  # fmt: skip

NAME_WIDTH = 30
"""Characters of a method's name in a figure."""
MOST_LISTED = 12
"""Names of what is left out, in a caption."""
NO_NAME = "(no name)"
LEGEND_ROW = 0.175
"""Inches a name takes in the legend, downward."""
INCHES_A_CHARACTER = 0.066
"""Of the font of legends and labels, as wide as it gets."""
OTHERS: dict[str, Any] = {"color": "#CFCFCF", "linewidth": 0.7}
"""Lines of methods that another figure names."""
RULES = {"last": "last epoch", "last_k": "mean of the last k epochs", "selected": "epoch chosen by noisy validation", "best": "best epoch†"}
"""Group of a key → how its epoch was chosen. The dagger marks what needs the truth."""
SPOKEN = {
    "auroc": "AUROC", "dice": "Dice", "ece": "ECE", "iou": "IoU", "macro_f1": "macro F1", "nll": "NLL", "surface_dice": "surface Dice",
}  # fmt: skip
"""Metrics that are not written as their keys are."""
T = TypeVar("T")


@dataclass(frozen=True)
class Spec:
    """A figure that can be drawn.

    Attributes:
        stem: file name without its ending. title: a few words.
        caption: what is shown, over how many seeds, and which interval. alt: a sentence that says what one sees.
        draw: makes the figure; call it inside the style (:func:`reports.style.save` does).
    """

    stem: str
    title: str
    caption: str
    alt: str
    draw: Callable[[], Figure]


def cut(names: Iterable[str], width: int = NAME_WIDTH) -> dict[str, str]:
    """Name → one line of at most ``width`` characters, and no two the same: the middle of a long name becomes …"""
    found: dict[str, str] = {}
    for name in names:
        whole_name = one_line(name) or NO_NAME
        short, number, taken = shorten(whole_name, width), 2, set(found.values())
        while short in taken:
            ending = f"… ({number})"
            short, number = whole_name[: width - len(ending)] + ending, number + 1
        found[name] = short
    return found


def shorten(text: str, width: int) -> str:
    """One line of at most ``width`` characters; what is too long loses its middle, for settings differ at their end."""
    line, tail = one_line(text), (width - 1) // 3
    return line if len(line) <= width else f"{line[: width - 1 - tail]}…{line[-tail:]}"


def title_of(text: str, width: int) -> str:
    """At most two lines of ``width`` characters."""
    return "\n".join(textwrap.wrap(shorten(text, 2 * width), width)[:2])


def cut_note(names: Mapping[str, str]) -> str:
    """A sentence with the full names of those that :func:`cut` has changed; empty if there are none."""
    changed = [f"{short} is {one_line(name)}" for name, short in names.items() if short not in (one_line(name), NO_NAME)]
    return f" Names cut: {'; '.join(changed)}." if changed else ""


def headline(comparison: Comparison) -> str:
    """The task's own metric, e.g. ``accuracy``."""
    return TASKS[comparison.task].headline


def keys_of(comparison: Comparison, groups: Iterable[str]) -> list[str]:
    """Keys of the headline metric under each way to choose the epoch, of which some method has a value."""
    wanted = [f"{group}/{headline(comparison)}" for group in groups]
    return [key for key in wanted if any(value(entry, key).n for group in comparison.groups for entry in group.entries)]


def metric(comparison: Comparison, key: str) -> Column:
    """The comparison's column of a key, or the default one."""
    return next((known for known in comparison.columns if known.key == key), None) or column(key)


def words(key: str) -> str:
    """A key for people, e.g. ``accuracy, last epoch``."""
    group, _, name = key.rpartition("/")
    plain = spoken(name)
    return f"{plain}, {RULES[group]}" if group in RULES else f"{plain} ({group})" if group else plain


def spoken(name: str) -> str:
    """A metric for people, e.g. ``balanced accuracy`` or ``AUROC``."""
    return SPOKEN.get(name, name.replace("_", " "))


def scaled(number: float, column: Column) -> str:
    """A number in a sentence, with its unit."""
    return f"{100 * number:.1f} %" if column.percent else f"{number:.3g}"


def value(entry: Entry, key: str) -> Summary:
    """An entry's summary of a key; one of no seeds where it has none."""
    return entry.values.get(key, Summary(None, None, 0))


def whole(group: Group, entry: Entry, key: str) -> Summary | None:
    """The summary, if it is over all reference seeds of the group: means over other seeds must not stand beside each other."""
    found = value(entry, key)
    return None if entry.incomplete or found.mean is None or found.n < len(group.seeds) else found


def counting(comparison: Comparison, groups: Sequence[Group]) -> list[Group]:
    """Of some groups, those that count over conditions, or if none does, those in which methods are ranked."""
    known = () if comparison.overall is None else comparison.overall.groups
    count = {id(comparison.groups[number]) for number in known}
    return [group for group in groups if id(group) in count] or [group for group in groups if standing(group)]


def standing(group: Group) -> list[Entry]:
    """The ranked entries, if there are at least two: a condition in which methods are compared."""
    ranked = [entry for entry in group.entries if entry.rank is not None]
    return ranked if len(ranked) > 1 else []


def ordered(comparison: Comparison) -> list[str]:
    """All methods, the best first: by standings where they are known, else by the mean of the ranks there are; the unranked by name."""
    standings = () if comparison.overall is None else comparison.overall.standings
    known = [one.method for one in standings if one.average_rank is not None]
    ranks: dict[str, list[float]] = {}
    for group in comparison.groups:
        for entry in group.entries:
            ranks.setdefault(entry.method, []).extend([] if entry.rank is None else [entry.rank])
    rest = sorted(set(ranks) - set(known), key=lambda name: (not ranks[name], sum(ranks[name]) / max(len(ranks[name]), 1), name))
    return known + rest


def conditions(groups: Sequence[Group]) -> tuple[list[str], str]:
    """A label for each group without the parts that all share, and those parts."""
    parts = [[one_line(part) for part in (group.dataset, group.noise, group.protocol)] for group in groups]
    differing = [place for place in range(3) if len({part[place] for part in parts}) > 1] or [1]  # one alone is called by its noise
    labels = [" · ".join(part[place] for place in differing) for part in parts]
    return labels, " · ".join(parts[0][place] for place in range(3) if place not in differing) if parts else ""


def counted(number: int, noun: str) -> str:
    """``1 condition``, ``2 conditions``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    left = len(names) - MOST_LISTED
    return ", ".join(one_line(name) for name in names[:MOST_LISTED]) + (f" and {left} more" if left > 0 else "")


def seeds_of(counts: Iterable[int]) -> str:
    """``n = 5 seeds``, or ``n = 3 to 5 seeds``."""
    low, high = min(counts := list(counts)), max(counts)
    return f"n = {low} to {high} seeds" if low < high else f"n = {high} seed{'s' if high > 1 else ''}"


def pages(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """The items in order on pages of nearly equal length, none longer than ``most``."""
    count = math.ceil(len(items) / most)
    edges = [round(len(items) * page / count) for page in range(count + 1)] if count else [0]
    return [items[start:end] for start, end in itertools.pairwise(edges)]


def legend(figure: Figure, names: Mapping[str, str], looks: Mapping[str, style.Look], *, lines: bool, others: str = "") -> None:
    """Methods and how they look, to the right of all panels; the figure grows by what that takes.

    Args:
        others: what :data:`OTHERS` stand for; empty where there are none.
    """
    from matplotlib.lines import Line2D

    # handles and labels as lists: a name that begins with an underscore would be left out otherwise
    handles = [Line2D([], [], markersize=4.5, **(looks[name].line() if lines else looks[name].point())) for name in names]
    labels = list(names.values())
    if others:
        handles, labels = [*handles, Line2D([], [], **OTHERS)], [*labels, others]
    columns = math.ceil(len(labels) / int(figure.get_figheight() / LEGEND_ROW))
    length = 3.0 if lines else 1.2
    room = columns * (0.4 + 0.11 * length + INCHES_A_CHARACTER * max(len(label) for label in labels))
    figure.set_figwidth(figure.get_figwidth() + room)
    figure.legend(handles, labels, loc="outside right upper", ncols=columns, handlelength=length)
