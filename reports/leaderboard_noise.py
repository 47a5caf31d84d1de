"""The headline metric over the noise rate: a panel a data set, noise model and protocol, a line a method."""

from __future__ import annotations

import functools
import itertools
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports import style
from reports.escape import one_line
from reports.leaderboard_parts import (
    OTHERS,
    Spec,
    counted,
    cut,
    cut_note,
    keys_of,
    legend,
    metric,
    ordered,
    pages,
    scaled,
    seeds_of,
    title_of,
    whole,
    words,
)
from reports.tables import Comparison, Group, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Section", "noise_figures", "sections"]

ACROSS, PANEL = 3, (3.0, 2.3)
"""Sections beside each other; width and height of a panel in inches."""
MOST_PANELS = 12
MOST_LINES = 10
"""Methods a figure names; the baseline stands in each, the others are grey."""
MOST_BANDS = 6
"""With more methods the intervals are bars."""
BAND = 0.13
"""Opacity of a band."""
APART, APART_OF_ALL = 0.35, 0.08
"""What the points of a rate span at most where intervals are bars, as a share of the distance between rates and of all rates together."""
TITLE_WIDTH = 28


@dataclass(frozen=True)
class Section:
    """Groups that differ in the noise rate alone, by rate; there are at least two rates."""

    title: str
    groups: tuple[Group, ...]

    def points(self, method: str, key: str) -> list[tuple[float, Summary]]:
        """Rate and summary wherever the method has all seeds."""
        found = []
        for group in self.groups:
            entry = next((entry for entry in group.entries if entry.method == method), None)
            summary = None if entry is None else whole(group, entry, key)
            if summary is not None:
                found.append((group.rate or 0.0, summary))
        return found


def sections(comparison: Comparison) -> list[Section]:
    """In the order of the groups. The condition without noise belongs to every noise model of its data set and protocol."""
    families: dict[tuple[str, str, str], dict[float, Group]] = {}
    clean: dict[tuple[str, str], Group] = {}
    for group in comparison.groups:
        if group.rate == 0:
            clean.setdefault((group.dataset, group.protocol), group)
        if group.rate is not None:
            families.setdefault((group.dataset, group.family, group.protocol), {}).setdefault(group.rate, group)
    found: list[tuple[tuple[str, str, str], tuple[Group, ...]]] = []
    for (dataset, family, protocol), rates in families.items():
        known = {0.0: clean[dataset, protocol], **rates} if (dataset, protocol) in clean else rates
        if any(rates) and len(known) > 1:  # not the clean ones alone
            found.append(((dataset, family, protocol), tuple(known[rate] for rate in sorted(known))))
    alike = len({protocol for (_, _, protocol), _ in found}) == 1
    return [Section(one_line(" · ".join(names[:2] if alike else names)), groups) for names, groups in found]


def noise_figures(comparison: Comparison, looks: Mapping[str, style.Look]) -> Iterator[Spec]:
    """Up to twelve panels each; the last epoch stands above the chosen one, for it shows what was memorised."""
    keys = keys_of(comparison, ("last", "selected"))
    if comparison.rank.key not in keys:
        keys.append(comparison.rank.key)
    drawn = [section for section in sections(comparison) if any(_drawable(section, key) for key in keys)]
    for page in pages(drawn, max(MOST_PANELS // len(keys) // ACROSS, 1) * ACROSS):
        every = [name for name in ordered(comparison) if any(section.points(name, key) for section in page for key in keys)]
        base = [name for name in every if name == comparison.baseline] or _settings(comparison, every)
        for part in pages(every, MOST_LINES):
            names = cut([*part, *(name for name in base[:1] if name not in part)])
            others = [name for name in every if name not in names]
            draw = functools.partial(_draw, comparison, page, keys, names, others, looks)
            caption = _caption(page, keys, names)
            if others:
                caption += f" Grey: the {counted(len(others), 'method')} that the other figures name."
            yield Spec("noise", "The metric over the noise rate", caption + cut_note(names), _alt(comparison, page, keys[0], names), draw)


def _settings(comparison: Comparison, names: Sequence[str]) -> list[str]:
    """Those of the plugin that is the baseline."""
    plugins = {entry.method: entry.plugin for group in comparison.groups for entry in group.entries}
    return [name for name in names if plugins[name] == comparison.baseline]


def _drawable(section: Section, key: str) -> bool:
    """Some method has two points."""
    return any(len(section.points(entry.method, key)) > 1 for group in section.groups for entry in group.entries)


def _caption(page: Sequence[Section], keys: Sequence[str], names: Mapping[str, str]) -> str:
    points = [point for section in page for key in keys for name in names for _, point in section.points(name, key)]
    shown = "bands" if len(names) <= MOST_BANDS else "bars"
    text = f"A line a method, a point its mean over the seeds of a condition ({seeds_of(point.n for point in points)})"
    if any(point.low is not None for point in points):
        text += f"; {shown}: 95 % bootstrap interval of that mean, the seeds drawn with replacement"
    text += f". Rows: {'; '.join(words(key) for key in keys)}. A method that lacks a seed of a condition has no point there."
    if len(names) > MOST_BANDS:
        text += " At each rate the methods stand a little apart, lest one hide another."
    unsolvable = sorted({one_line(group.noise) for section in page for group in section.groups if not group.solvable})
    if unsolvable:
        text += f" With {', '.join(unsolvable)} the true class is not the most likely given label."
    return text


def _alt(comparison: Comparison, page: Sequence[Section], key: str, names: Mapping[str, str]) -> str:
    column, parts = metric(comparison, key), []
    for section in page:
        last = {short: points[-1] for name, short in names.items() if (points := section.points(name, key))}
        top = max((rate for rate, _ in last.values()), default=0.0)
        ends = {short: summary.mean for short, (rate, summary) in last.items() if rate == top and summary.mean is not None}
        ranked = sorted(ends, key=lambda short: ends[short], reverse=column.higher_is_better)
        said = [f"{short} has {scaled(ends[short], column)}" for short in dict.fromkeys((*ranked[:1], *ranked[-1:]))]
        if said:
            parts.append(f"in {section.title}, at a rate of {100 * top:g} %, {' and '.join(said)}")
    many = f"{counted(len(names), 'method')} in {counted(len(page), 'panel')}"
    return f"Lines of {words(key)} over the noise rate, {many}: best and worst {'; '.join(parts)}."


def _draw(
    comparison: Comparison,
    page: Sequence[Section],
    keys: Sequence[str],
    names: Mapping[str, str],
    others: Sequence[str],
    looks: Mapping[str, style.Look],
) -> Figure:
    across = 2 if len(page) == 4 else min(ACROSS, len(page))
    blocks = math.ceil(len(page) / across)
    figure, axes = style.grid_of_axes(blocks * len(keys) * across, columns=across, size=PANEL)
    for number, section in enumerate(page):
        panels = [axes[(number // across * len(keys) + row) * across + number % across] for row in range(len(keys))]
        for row, (ax, key) in enumerate(zip(panels, keys, strict=True)):
            title = title_of(section.title, TITLE_WIDTH) if row == 0 else ""
            y = textwrap.fill(words(key), 26) if number % across == 0 else ""
            style.bare_axes(ax, title=title, x="noise rate (%)" if row == len(keys) - 1 else "", y=y)
            for name in others:
                points = section.points(name, key)
                ax.plot([rate for rate, _ in points], [summary.mean or 0.0 for _, summary in points], zorder=1, **OTHERS)
            _lines(ax, section, key, names, looks)
            if metric(comparison, key).percent:
                style.percent_axis(ax.yaxis)
            ax.xaxis.set_major_formatter(lambda rate, _position: f"{100 * rate:.3g}")
            ax.set_xticks(sorted({group.rate or 0.0 for group in section.groups}))
        alike = [ax for ax, key in zip(panels, keys, strict=True) if key.rpartition("/")[2] == keys[0].rpartition("/")[2]]
        low, high = (pick(ax.get_ylim()[end] for ax in alike) for end, pick in ((0, min), (1, max)))
        for ax in alike:  # what is one metric is read on one scale
            ax.set_ylim(low, high)
    for ax in axes:
        if not ax.lines:
            ax.remove()
    legend(figure, names, looks, lines=True, others=f"{len(others)} others" if others else "")
    return figure


def _lines(ax: Axes, section: Section, key: str, names: Mapping[str, str], looks: Mapping[str, style.Look]) -> None:
    rates = [group.rate or 0.0 for group in section.groups]
    apart = min(APART * min(after - before for before, after in itertools.pairwise(rates)), APART_OF_ALL * (rates[-1] - rates[0]))
    many = len(names) > MOST_BANDS
    for place, name in enumerate(names):
        points = section.points(name, key)
        shift = apart * (place / (len(names) - 1) - 0.5) if many else 0.0
        x, y = [rate + shift for rate, _ in points], [summary.mean or 0.0 for _, summary in points]
        look, above = looks[name], 3 - place / len(names)
        ax.plot(x, y, markersize=3.2 if many else 4.0, linewidth=1.0 if many else 1.4, zorder=above, **look.line())
        known = [
            (at, s.mean or 0.0, s.low, s.high) for at, (_, s) in zip(x, points, strict=True) if s.low is not None and s.high is not None
        ]
        if many and known:
            ends = [(low, high, math.nan) for _, _, low, high in known]  # one broken line is a tenth of the file that error bars are
            at = [one[0] for one in known for _ in range(3)]
            ax.plot(at, [y for one in ends for y in one], color=look.colour, linewidth=0.7, alpha=0.6, zorder=1.5, label="interval")
        elif known:
            at = [one[0] for one in known]
            ax.fill_between(
                at, [one[2] for one in known], [one[3] for one in known], color=look.colour, alpha=BAND, linewidth=0, zorder=1.5
            )
