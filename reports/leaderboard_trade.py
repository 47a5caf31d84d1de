"""What a method costs, and what the choice of its epoch is worth: means over the conditions of a data set."""

from __future__ import annotations

import functools
import itertools
import statistics
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reports import style
from reports.columns import Column
from reports.escape import one_line
from reports.leaderboard_parts import (
    INCHES_A_CHARACTER,
    RULES,
    Spec,
    counted,
    counting,
    cut,
    cut_note,
    headline,
    keys_of,
    legend,
    listed,
    metric,
    ordered,
    pages,
    seeds_of,
    spoken,
    title_of,
    whole,
    words,
)
from reports.tables import Comparison, Group

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Shelf", "cost_figures", "front", "rule_figures", "shelves"]

SECONDS = "cost/seconds"
MOST_PANELS, PANEL, ONLY_PANEL = 6, (3.3, 2.7), (4.8, 3.5)
"""Of costs: a figure; width and height in inches."""
MOST_ROWS, MOST_COLUMNS, MOST_SHELVES = 25, 3, 6
"""Of rules: methods and data sets a figure; with more data sets than the last, one panel shows the mean over all conditions."""
TITLE_WIDTH = 34
DOTS = {"last": ("#6E6E6E", "v"), "last_k": ("#74B9F0", "s"), "selected": ("#000000", "o"), "best": ("#CC6677", "D")}
"""Group of a key → colour and marker of its dots."""


@dataclass(frozen=True)
class Shelf:
    """The conditions of one data set and protocol, and the means over them of the methods that are ranked in all.

    Attributes:
        means: key → method → mean over the conditions, each of which is a mean over its seeds.
        seeds: how many each condition has. absent: methods that lack a condition, or a value in one.
    """

    title: str
    groups: tuple[Group, ...]
    means: Mapping[str, Mapping[str, float]]
    seeds: tuple[int, ...]
    absent: tuple[str, ...]


def shelves(comparison: Comparison, keys: Sequence[str], *, together: bool = False) -> list[Shelf]:
    """By data set and protocol, in the order of the groups, or one of all ``together``; of each the conditions that count.

    A method counts where it has all ``keys`` in all conditions; there are at least two methods in each.
    """
    sets: dict[tuple[str, str], list[Group]] = {}
    for group in comparison.groups:
        sets.setdefault(("all conditions", "") if together else (group.dataset, group.protocol), []).append(group)
    chosen = {names: groups for names, every in sets.items() if (groups := counting(comparison, every))}
    found = []
    for (dataset, protocol), groups in chosen.items():
        tables = [{entry.method: entry for entry in group.entries if entry.rank is not None} for group in groups]
        every = list(dict.fromkeys(entry.method for group in groups for entry in group.entries))
        means: dict[str, dict[str, float]] = {key: {} for key in keys}
        for name in every:
            if all(name in table for table in tables):
                summaries = {key: [whole(g, t[name], key) for g, t in zip(groups, tables, strict=True)] for key in keys}
                values = {key: [s.mean for s in row if s is not None and s.mean is not None] for key, row in summaries.items()}
                if all(len(row) == len(groups) for row in values.values()):
                    for key, row in values.items():
                        means[key][name] = statistics.fmean(row)
        compared = means[keys[0]]
        if len(compared) > 1:
            absent = tuple(name for name in every if name not in compared)
            seeds = tuple(len(group.seeds) for group in groups)
            title = dataset if len({protocol for _, protocol in chosen}) == 1 else f"{dataset} · {protocol}"
            found.append(Shelf(one_line(title), tuple(groups), means, seeds, absent))
    return found


def front(points: Mapping[str, tuple[float, float]], column: Column) -> list[str]:
    """Methods that no other beats in both seconds and metric, the fastest first; of two alike both."""
    sign = -1.0 if column.higher_is_better else 1.0

    def beaten(name: str) -> bool:
        x, y = points[name][0], sign * points[name][1]
        return any(a <= x and sign * b <= y and (a < x or sign * b < y) for a, b in points.values())

    return sorted((name for name in points if not beaten(name)), key=lambda name: (points[name][0], name))


# --------------------------------------------------------------------------------------------------------------- costs


def cost_figures(comparison: Comparison, looks: Mapping[str, style.Look]) -> Iterator[Spec]:
    """The rank metric over seconds: a panel a data set and protocol."""
    key, column = comparison.rank.key, comparison.rank
    if key == SECONDS:
        return
    drawn = [shelf for shelf in shelves(comparison, (key, SECONDS)) if min(shelf.means[SECONDS].values()) > 0]
    for page in pages(drawn, MOST_PANELS):
        names = cut(name for name in ordered(comparison) if any(name in shelf.means[key] for shelf in page))
        fronts = [[names[name] for name in front(_points(shelf, key), column)] for shelf in page]
        said = "; ".join(f"in {shelf.title} the front is {', '.join(best)}" for shelf, best in zip(page, fronts, strict=True))
        many = f"{counted(len(names), 'method')} in {counted(len(page), 'panel')}"
        alt = f"Points of {words(key)} over the seconds of a run, {many}, from fast to slow: {said}."
        caption = f"A point a method: means over the conditions that count ({_many(page)}). No interval is drawn. "
        caption += "Line: the Pareto front; no method is both faster and better than one on it, and the others are paler."
        draw = functools.partial(_draw_costs, page, column, names, looks)
        yield Spec("cost", "The metric over the seconds of a run", caption + _absent(page) + cut_note(names), alt, draw)


def _points(shelf: Shelf, key: str) -> dict[str, tuple[float, float]]:
    return {name: (shelf.means[SECONDS][name], mean) for name, mean in shelf.means[key].items()}


def _many(page: Sequence[Shelf]) -> str:
    low, high = min(counts := [len(shelf.groups) for shelf in page]), max(counts)
    many = f"{low} to {high} conditions" if low < high else counted(high, "condition")
    return f"{many} a panel, each over {seeds_of(seeds for shelf in page for seeds in shelf.seeds)}"


def _absent(page: Sequence[Shelf]) -> str:
    found = [f"{shelf.title}: {listed(shelf.absent)}" for shelf in page if shelf.absent]
    return f" Left out, for they lack a condition: {'; '.join(found)}." if found else ""


def _draw_costs(page: Sequence[Shelf], column: Column, names: Mapping[str, str], looks: Mapping[str, style.Look]) -> Figure:
    across = 2 if len(page) == 4 else 3
    figure, axes = style.grid_of_axes(len(page), columns=across, size=ONLY_PANEL if len(page) == 1 else PANEL)
    for number, (ax, shelf) in enumerate(zip(axes, page, strict=True)):
        points = _points(shelf, column.key)
        best = front(points, column)
        for name in points:
            strong = name in best
            ax.plot(
                *points[name],
                markersize=6 if strong else 5,
                alpha=1.0 if strong else 0.55,
                zorder=4 if strong else 3,
                **looks[name].point(),
            )
        seconds, values = [points[name][0] for name in best], [points[name][1] for name in best]
        edge = max(x for x, _ in points.values())
        ax.plot([*seconds, max(edge, seconds[-1])], [*values, values[-1]], color=style.QUIET, linewidth=1, drawstyle="steps-post", zorder=2)
        y = words(column.key) if number % across == 0 else ""
        style.bare_axes(ax, title=title_of(shelf.title, TITLE_WIDTH), x="seconds of a run", y=textwrap.fill(y, 30))
        ax.margins(x=0.15, y=0.12)
        style.log_axis(ax.xaxis)
        if column.percent:
            style.percent_axis(ax.yaxis)
        _name_front(ax, points, best, names, better_up=column.higher_is_better)
    legend(figure, names, looks, lines=False)
    return figure


def _name_front(
    ax: Axes, points: Mapping[str, tuple[float, float]], best: Sequence[str], names: Mapping[str, str], *, better_up: bool
) -> None:
    """Names beside the points of the front, where there is room; the legend has all names."""
    width, height = ((share * inches * 72) for share, inches in zip((0.8, 0.72), PANEL, strict=True))  # of the axes in points, about
    to_share = ax.transScale + ax.transLimits
    where = {name: (x * width, y * height) for name, (x, y) in ((name, to_share.transform(point)) for name, point in points.items())}
    boxes = [(x - 4, y - 4, x + 4, y + 4) for x, y in where.values()]
    steps = [(where[one], where[other]) for one, other in itertools.pairwise(best)]
    boxes += [(x, y - 0.5, after, y + 0.5) for (x, y), (after, _) in steps]
    boxes += [(x - 0.5, min(y, after), x + 0.5, max(y, after)) for (_, y), (x, after) in steps]
    rows = (1, 0, -1) if better_up else (-1, 0, 1)  # where the front has nothing beyond it first
    for name in best:
        long, tall = 3.6 * len(names[name]), 8.0
        for row, side in ((r, s) for s in (-1, 1, 0) for r in rows if (r, s) != (0, 0)):
            dx, dy = 5.0 * side, 5.0 * row if side else 6.0 * row
            left = where[name][0] + dx - (long if side < 0 else 0 if side > 0 else long / 2)
            low = where[name][1] + dy - (tall if row < 0 else 0 if row > 0 else tall / 2)
            box = (left, low, left + long, low + tall)
            inside = box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height
            if inside and not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in boxes):
                boxes.append(box)
                place: Any = {"ha": ("center", "left", "right")[side], "va": ("center", "bottom", "top")[row]}
                ax.annotate(names[name], points[name], xytext=(dx, dy), textcoords="offset points", fontsize=6.5, zorder=5, **place)
                break


# --------------------------------------------------------------------------------------------------------------- rules


def rule_figures(comparison: Comparison, looks: Mapping[str, style.Look]) -> Iterator[Spec]:
    """The headline metric under every way to choose the epoch: a panel a data set and protocol, a row a method."""
    keys = keys_of(comparison, tuple(RULES))
    if len(keys) < 2:
        return
    column = metric(comparison, keys[0])
    drawn = shelves(comparison, keys)
    if len(drawn) > MOST_SHELVES:
        drawn = shelves(comparison, keys, together=True) or drawn
    for page in pages(drawn, MOST_COLUMNS):
        on_page = [name for name in ordered(comparison) if any(name in shelf.means[keys[0]] for shelf in page)]
        for part in pages(on_page, MOST_ROWS):
            names = cut(part)
            name = spoken(headline(comparison))
            caption = f"{name[0].upper()}{name[1:]} on the test part, means over the conditions that count "
            caption += f"({_many(page)}); no interval is drawn. Epoch: {'; '.join(RULES[key.partition('/')[0]] for key in keys)}."
            if any(key.startswith("best/") for key in keys):
                caption += " † chosen with the truth: an upper bound, not a result."
            alt = _rules_alt(page, keys, names, column)
            draw = functools.partial(_draw_rules, page, column, keys, names)
            yield Spec("rules", "What the choice of the epoch is worth", caption + _absent(page) + cut_note(names), alt, draw)


def _rules_alt(page: Sequence[Shelf], keys: Sequence[str], names: Mapping[str, str], column: Column) -> str:
    ends = (keys[0], keys[-1])
    parts = []
    for shelf in page:
        gains = {name: shelf.means[ends[1]][name] - shelf.means[ends[0]][name] for name in names if name in shelf.means[ends[0]]}
        if gains:
            name = max(gains, key=lambda one: abs(gains[one]))
            gap = f"{100 * gains[name]:.1f} points" if column.percent else f"{gains[name]:.3g}"
            parts.append(f"in {shelf.title} they are farthest apart for {names[name]}, {gap}")
    rules = [RULES[key.partition("/")[0]] for key in ends]
    return f"Dots of {len(keys)} rules for {counted(len(names), 'method')}; {rules[0]} and {rules[1]}: {'; '.join(parts)}."


def _draw_rules(page: Sequence[Shelf], column: Column, keys: Sequence[str], names: Mapping[str, str]) -> Figure:
    from matplotlib.lines import Line2D

    rows = list(names)
    figure, axes = style.grid_of_axes(len(page), columns=MOST_COLUMNS, size=(2.3 if len(page) > 1 else 3.8, 1.25 + 0.2 * len(rows)))
    figure.set_figwidth(figure.get_figwidth() + INCHES_A_CHARACTER * max(len(name) for name in names.values()))
    for number, (ax, shelf) in enumerate(zip(axes, page, strict=True)):
        for row, name in enumerate(rows):
            if name in shelf.means[keys[0]]:
                values = [shelf.means[key][name] for key in keys]
                ax.plot([min(values), max(values)], [row, row], color="#BDBDBD", linewidth=1.2, zorder=1)
        for place, key in enumerate(keys):
            colour, marker = DOTS[key.partition("/")[0]]
            shift = 0.1 * (place - (len(keys) - 1) / 2)  # lest equal dots hide one another
            known = [(shelf.means[key][name], row + shift) for row, name in enumerate(rows) if name in shelf.means[key]]
            look: Any = {"color": colour, "marker": marker, "markeredgecolor": "white", "markeredgewidth": 0.4, "linestyle": "none"}
            ax.plot([x for x, _ in known], [y for _, y in known], markersize=5.5, zorder=3, label=RULES[key.partition("/")[0]], **look)
        x = f"{spoken(keys[0].rpartition('/')[2])}, test part"
        style.bare_axes(ax, title=title_of(shelf.title, 24), x=x)
        ax.set_yticks(range(len(rows)), list(names.values()) if number == 0 else [""] * len(rows))
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.margins(x=0.06)
        ax.locator_params(axis="x", nbins=4 if len(page) > 1 else 7)
        ax.tick_params(axis="y", length=0)
        if column.percent:
            style.percent_axis(ax.xaxis)
    handles = [
        Line2D([], [], color=DOTS[group][0], marker=DOTS[group][1], linestyle="none", markersize=5.5)
        for group in (key.partition("/")[0] for key in keys)
    ]
    figure.legend(handles, [RULES[key.partition("/")[0]] for key in keys], loc="outside lower center", ncols=2, handletextpad=0.2)
    return figure
