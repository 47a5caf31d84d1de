"""Ranks: each method in each condition as a heat map, and over all conditions as a critical-difference diagram."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reports import style
from reports.leaderboard_parts import (
    INCHES_A_CHARACTER,
    Spec,
    conditions,
    counted,
    cut,
    cut_note,
    listed,
    ordered,
    pages,
    seeds_of,
    shorten,
    standing,
    words,
)
from reports.overall import Overall, Standing
from reports.tables import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["clique_levels", "difference_figures", "rank_figures"]

MOST_ROWS, MOST_COLUMNS = 25, 24
"""Methods and conditions a heat map."""
CELL = (0.36, 0.23)
"""Width and height in inches."""
CONDITION_WIDTH = 44
LABEL = 0.042
"""Inches that a character of a slanted label takes to the right, and upward."""
ROW, BAR = 0.2, 0.09
"""Inches a name and a clique take below the axis of a critical-difference diagram."""
SHOWN_IN_ALT = 5


def rank_figures(comparison: Comparison, _looks: Mapping[str, style.Look]) -> Iterator[Spec]:
    """Conditions in which at least two methods are ranked, and methods that are ranked in one; the best average rank on top."""
    groups = [group for group in comparison.groups if standing(group)]
    table = [{entry.method: entry.rank for entry in standing(group)} for group in groups]
    names = [name for name in ordered(comparison) if any(name in ranks for ranks in table)]
    if not names:
        return
    known = () if comparison.overall is None else comparison.overall.standings
    average = {one.method: one.average_rank for one in known if one.average_rank is not None}
    labels, shared = conditions(groups)
    for columns in pages(range(len(groups)), MOST_COLUMNS):
        for rows in pages(names, MOST_ROWS):
            short = cut(rows)
            ranks = [[table[column].get(name) for column in columns] for name in rows]
            seeds = seeds_of(len(groups[column].seeds) for column in columns)
            caption = f"Rank by {words(comparison.rank.key)} within each condition, means over {seeds}; 1, the darkest, is best, "
            caption += (
                f"ties share the average. {len(names)} methods, {counted(len(groups), 'condition')}{f' of {shared}' if shared else ''}."
            )
            if any(rank is None for row in ranks for rank in row):
                caption += " Hatched: no result for every seed, and no rank."
            if average and comparison.overall is not None:
                caption += f" Last column: average rank among the {len(average)} methods that are complete in all of "
                caption += f"{counted(len(comparison.overall.groups), 'condition')} that count. No interval is drawn."
            firsts = {short[name]: sum(row[i] == 1 for i in range(len(columns))) for name, row in zip(rows, ranks, strict=True)}
            most = max(firsts, key=lambda name: firsts[name])
            alt = f"Heat map of the ranks of {counted(len(rows), 'method')} in {counted(len(columns), 'condition')}; "
            alt += f"{most} is first in {firsts[most]} of them."
            draw = functools.partial(_draw_heat, ranks, short, [labels[c] for c in columns], average, len(names))
            yield Spec("ranks", "Ranks in every condition", caption + cut_note(short), alt, draw)


def _draw_heat(
    ranks: Sequence[Sequence[float | None]], names: Mapping[str, str], labels: Sequence[str], average: Mapping[str, float], worst: int
) -> Figure:
    import numpy as np
    import seaborn
    from matplotlib.figure import Figure

    beside = [average.get(name) for name in names]
    extra = [[one] for one in beside] if average else [[] for _ in names]
    values = np.array([[np.nan if rank is None else rank for rank in (*row, *last)] for row, last in zip(ranks, extra, strict=True)])
    text = [[_number(value, 1 if average and column == len(row) - 1 else 0) for column, value in enumerate(row)] for row in values.tolist()]
    titles = [shorten(label, CONDITION_WIDTH) for label in labels]
    complete = sum(one is not None for one in beside)
    if average:  # it is over other ranks than those beside it where methods are incomplete
        titles.append("average rank" if len(average) == worst else f"average rank among the {len(average)} complete")
    left = 0.3 + INCHES_A_CHARACTER * max(len(name) for name in names.values())
    slanted = [LABEL * len(title) for title in titles]
    right = max(reach - CELL[0] * (len(titles) - column - 0.5) for column, reach in enumerate(slanted))
    size = (left + max(right, 0.1) + CELL[0] * values.shape[1], 0.3 + max(slanted) + CELL[1] * values.shape[0])
    figure = Figure(figsize=size, layout="constrained")
    ax = figure.add_subplot()
    shown: Any = {"cmap": "crest_r", "vmin": 1, "vmax": max(worst, 2), "linewidths": 0.6, "linecolor": "white", "annot_kws": {"size": 7}}
    seaborn.heatmap(values, ax=ax, annot=np.array(text), fmt="", cbar=False, **shown)
    _mark_gaps(ax, values)
    if average:
        ax.axvline(len(labels), color="white", linewidth=6)
        if 0 < complete < len(names):
            ax.axhline(complete, color="white", linewidth=6)
    ax.set_xticks([column + 0.5 for column in range(len(titles))], titles, rotation=45, ha="left", rotation_mode="anchor", fontsize=7)
    ax.set_yticks([row + 0.5 for row in range(len(names))], list(names.values()), rotation=0, fontsize=7.5)
    ax.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    ax.grid(visible=False)
    return figure


def _number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}" if digits or value % 1 == 0 else f"{value:g}"


def _mark_gaps(ax: Axes, values: Any) -> None:
    """Grey, hatched, with a dash, wherever there is no rank."""
    from matplotlib.patches import Rectangle

    for row, line in enumerate(values.tolist()):
        for column, value in enumerate(line):
            if math.isnan(value):
                look: Any = {"facecolor": "#F0F0F0", "edgecolor": "#C4C4C4", "hatch": "/////", "linewidth": 0}
                ax.add_patch(Rectangle((column + 0.04, row + 0.06), 0.92, 0.88, **look))
                box = {"facecolor": "#F0F0F0", "linewidth": 0, "pad": 0.8}
                ax.text(column + 0.5, row + 0.5, "–", ha="center", va="center", fontsize=7, color=style.QUIET, bbox=box)


# --------------------------------------------------------------------------------------------------------- differences


def difference_figures(comparison: Comparison, looks: Mapping[str, style.Look]) -> Iterator[Spec]:
    """Average ranks on an axis, bars over what the test cannot tell apart; without bars where there are too few conditions to test.

    Source: Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7, 2006.
    """
    overall = comparison.overall
    shown = [] if overall is None else [one for one in overall.standings if one.average_rank is not None]
    if overall is None or len(shown) < 2:
        return
    names = cut(one.method for one in shown)
    seeds = [len(comparison.groups[number].seeds) for number in overall.groups]
    many = counted(len(overall.groups), "condition")
    caption = f"Average rank by {words(comparison.rank.key)} of {len(shown)} methods over {many}, each over {seeds_of(seeds)}; 1 is best. "
    if overall.too_few:
        caption += f"Nothing is tested: {overall.too_few}. "
    else:
        if overall.friedman is not None:
            caption += f"{overall.friedman.name}: p {_p(overall.friedman.p)}. "
        test = {"nemenyi": "Nemenyi's test", "wilcoxon-holm": "Wilcoxon's test with Holm's correction"}.get(
            overall.posthoc, overall.posthoc
        )
        caption += f"Bars join methods of which no two differ at 0.05 by {test}. "
        if overall.critical_difference is not None:
            caption += f"CD = {overall.critical_difference:.2f}: average ranks farther apart than that differ. "
    if left := [one.method for one in overall.standings if one.average_rank is None]:
        caption += f"Left out, for they lack a condition: {listed(left)}. "
    said = ", ".join(f"{names[one.method]} {one.average_rank:.2f}" for one in shown[:SHOWN_IN_ALT])
    alt = f"Average ranks on an axis from 1 to {len(shown)}, the best first: {said}{' and so on' if len(shown) > SHOWN_IN_ALT else ''}"
    if overall.too_few:
        alt += "; too few conditions to test"
    else:
        alt += f"; {len(overall.cliques)} bar{'' if len(overall.cliques) == 1 else 's'} over methods that cannot be told apart"
    draw = functools.partial(_draw_differences, overall, shown, names, looks)
    yield Spec("cd", "Average ranks over all conditions", caption.strip() + cut_note(names), f"{alt}.", draw)


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def clique_levels(spans: Sequence[tuple[float, float]]) -> list[int]:
    """For each bar the first level on which it touches no earlier one."""
    levels: list[int] = []
    for number, (low, high) in enumerate(spans):
        taken = {levels[other] for other in range(number) if spans[other][0] <= high and low <= spans[other][1]}
        levels.append(next(level for level in range(number + 1) if level not in taken))
    return levels


def _draw_differences(overall: Overall, shown: Sequence[Standing], names: Mapping[str, str], looks: Mapping[str, style.Look]) -> Figure:
    """In inches downward from the axis; ranks to the right."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    ranks = {one.method: one.average_rank or 0.0 for one in shown}
    count = len(shown)
    spans = sorted((min(ranks[m] for m in clique), max(ranks[m] for m in clique)) for clique in overall.cliques if not overall.too_few)
    levels = clique_levels(spans)
    top = 0.16 + BAR * (max(levels, default=-1) + 1) + 0.08
    left = list(shown[: (count + 1) // 2])
    right = list(reversed(shown[len(left) :]))
    bottom = top + ROW * len(left)
    critical = overall.critical_difference if not overall.too_few else None
    above = 0.75 if critical is not None else 0.35
    width = 5.6 + INCHES_A_CHARACTER * sum(max((len(names[one.method]) for one in side), default=0) for side in (left, right))
    figure = Figure(figsize=(width, above + bottom + 0.25), layout="constrained")
    ax = figure.add_subplot()
    ax.set_axis_off()
    ax.set(xlim=(1, count), ylim=(bottom, -above))
    room = 0.04 * (count - 1)
    ticks = [t for t in MaxNLocator(nbins=min(count, 12), integer=True).tick_values(1, count) if 1 + room < t < count - room]
    ax.plot([1, count], [0, 0], color=style.INK, linewidth=0.9, clip_on=False)
    for tick in dict.fromkeys((1, *ticks, count)):
        ax.plot([tick, tick], [0, -0.06], color=style.INK, linewidth=0.9, clip_on=False)
        ax.text(tick, -0.09, f"{tick:g}", ha="center", va="bottom")
    if critical is not None:
        end = min(1 + critical, count)
        ax.plot([1, 1, 1, end, end, end], [-0.5, -0.42, -0.46, -0.46, -0.5, -0.42], color=style.INK, linewidth=0.9, clip_on=False)
        ax.text((1 + end) / 2, -0.53, f"CD = {critical:.2f}", ha="center", va="bottom")
    for (low, high), level in zip(spans, levels, strict=True):
        pad = 0.006 * (count - 1)
        y = 0.16 + BAR * level
        ax.plot([low - pad, high + pad], [y, y], color=style.INK, linewidth=3.2, solid_capstyle="butt", clip_on=False)
    edge = 0.02 * (count - 1)
    for side, methods, where, align in ((-1, left, 1 - edge, "right"), (1, right, count + edge, "left")):
        for row, one in enumerate(methods):
            y, look = top + ROW * (row + 0.5), looks[one.method]
            ax.plot([ranks[one.method]] * 2 + [where], [0, y, y], color=look.colour, linewidth=0.9, clip_on=False, zorder=1.5)
            ax.plot([where], [y], markersize=5, clip_on=False, **look.point())
            place: Any = {"textcoords": "offset points", "ha": align, "va": "center", "annotation_clip": False}
            ax.annotate(f"{ranks[one.method]:.2f}", (where, y), xytext=(side * 6, 0), **place)
            ax.annotate(names[one.method], (where, y), xytext=(side * 34, 0), **place)  # apart: no script can turn them round
    return figure
