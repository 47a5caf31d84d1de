"""Learning curves over labels paid for as a figure: one panel a data set and noise, one line a strategy."""

from __future__ import annotations

import statistics
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import style
from reports.budget import TARGET, BudgetReport, Line, Panel
from reports.escape import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "write_figure"]

NAME = "budget"
PANEL, ONLY_PANEL = (3.3, 2.9), (4.6, 3.6)
"""Width and height of a panel in inches."""
BAND = 0.10
"""Opacity of a band: ten of them over each other must leave the lines readable."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
"""Line styles, one an active method."""
PLAIN: tuple[dict[str, Any], ...] = (
    {"color": style.QUIET, "linestyle": (0, (1, 1.4))},
    {"color": "#3A3A3A", "linestyle": (0, (1, 2.8))},
    {"color": "#9A9A9A", "linestyle": (0, (1, 0.8))},
)
"""Methods that ask for nothing: dotted and grey, for colours are for strategies. Each line bears its name as well."""
INCHES_A_CHARACTER = 0.066
LEGEND_WIDTH, TITLE_WIDTH, NAME_WIDTH = 30, 48, 14
"""Characters of a line in the legend, in a panel's title and beside a dotted line."""


def write_figure(report: BudgetReport, folder: Path) -> list[Path]:
    """Write ``budget.svg`` and ``budget.png`` into a folder, which is created if need be; returns where they are."""
    return style.save(lambda: draw(report), folder, NAME)


def draw(report: BudgetReport) -> Figure:
    """Panels of the metric over the share of labels paid for.

    Lines are means over the seeds, bands one sample standard deviation (none of a single seed), dotted lines methods that ask for nothing,
    dashed lines the reference and the target. Call it inside the style (:func:`reports.style.save` does).
    """
    from matplotlib.lines import Line2D

    looks = _looks(report)
    guides = _guides(report)
    labels = [textwrap.fill(one_line(name), LEGEND_WIDTH) for name in (*looks, *guides)]
    room = 0.6 + INCHES_A_CHARACTER * max(len(part) for label in labels for part in label.splitlines())
    columns = 2 if len(report.panels) == 4 else 3
    size = ONLY_PANEL if len(report.panels) == 1 else PANEL
    figure, axes = style.grid_of_axes(len(report.panels), columns=columns, size=size, legend=room)
    for panel, ax in zip(report.panels, axes, strict=True):
        title = textwrap.fill(one_line(f"{panel.dataset} · {panel.noise}"), TITLE_WIDTH)
        style.bare_axes(ax, title=title, x="labels paid for (share of the training samples)", y=report.metric.replace("_", " "))
        style.percent_axis(ax.xaxis)
        style.percent_axis(ax.yaxis)
        if panel.reference.mean is not None:
            for factor, look in zip((1.0, TARGET), guides.values(), strict=True):
                ax.axhline(factor * panel.reference.mean, zorder=1, **look)
        for line in reversed(panel.lines):  # the best on top
            _draw_line(ax, panel, line, looks[panel.name(line)])
        ax.set_xlim(-0.02 * (panel.end or 1.0), 1.03 * (panel.end or 1.0))
    # handles and labels as lists: a name that begins with an underscore would be left out otherwise
    handles = [Line2D([], [], **look) for look in (*looks.values(), *guides.values())]
    figure.legend(handles, labels, loc="upper right", handlelength=3.2)
    width = int((figure.get_figwidth() - room) / INCHES_A_CHARACTER * 1.25)  # of a caption in small print
    figure.supxlabel(textwrap.fill(_caption(report), max(width, 40)), x=0.01, ha="left", fontsize="small", color=style.QUIET)
    return figure


def _draw_line(ax: Axes, panel: Panel, line: Line, look: dict[str, Any]) -> None:
    if line.kind.asks is None:
        if line.at[0].mean is not None:
            ax.axhline(line.at[0].mean, zorder=1.5, **look)
            name = one_line(line.kind.method)
            name = name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…"
            place: dict[str, Any] = {
                "xy": (1.0, line.at[0].mean),
                "xycoords": ax.get_yaxis_transform(),
                "xytext": (2, 0),
                "textcoords": "offset points",
            }
            ax.annotate(name, **place, va="center", fontsize="x-small", color=look["color"])  # beside the axes: no curve runs over it
        return
    known = [(number, summary) for number, summary in enumerate(line.at) if summary.mean is not None]
    x = [statistics.fmean(curve.share[min(number, len(curve.share) - 1)] for curve in line.curves.values()) for number, _ in known]
    y = [summary.mean or 0.0 for _, summary in known]
    ax.plot(x, y, zorder=3 if line.kind.strategy == "random" else 2.5, **look)
    if any(summary.sd for _, summary in known):
        sd = [summary.sd or 0.0 for _, summary in known]
        low, high = ([min(max(mean + sign * spread, 0.0), 1.0) for mean, spread in zip(y, sd, strict=True)] for sign in (-1, 1))
        ax.fill_between(x, low, high, color=look["color"], alpha=BAND, linewidth=0, zorder=2)


def _looks(report: BudgetReport) -> dict[str, dict[str, Any]]:
    """Name of a line → how it is drawn; strategies first, each group by its mean area over the panels."""
    lines: dict[str, list[Line]] = {}
    for panel in report.panels:
        for line in panel.lines:
            lines.setdefault(panel.name(line), []).append(line)

    def order(name: str) -> tuple[bool, float]:
        areas = [line.area.mean for line in lines[name] if line.area.mean is not None]
        return lines[name][0].kind.asks is None, -statistics.fmean(areas) if areas else 0.0

    kinds = {name: lines[name][0].kind for name in sorted(lines, key=order)}
    strategies = [kind.strategy for kind in kinds.values() if kind.strategy is not None]
    colour, marker = style.colours(strategies), style.markers(strategies)
    variants = list(dict.fromkeys(kind.variant for kind in kinds.values() if kind.strategy is not None))
    looks: dict[str, dict[str, Any]] = {}
    for name, kind in kinds.items():
        if kind.strategy is None:
            looks[name] = PLAIN[(len(looks) - len(strategies)) % len(PLAIN)]  # strategies stand before them
            continue
        dashes = DASHES[variants.index(kind.variant) % len(DASHES)]
        looks[name] = {"color": colour[kind.strategy], "marker": marker[kind.strategy], "markersize": 4.0, "linestyle": dashes}
        if kind.balanced:
            looks[name] |= {"markerfacecolor": "white"}
    return looks


def _guides(report: BudgetReport) -> dict[str, dict[str, Any]]:
    if not any(panel.references for panel in report.panels):
        return {}
    name = f"{report.reference}, clean labels"
    dashed = {"color": style.QUIET, "linestyle": (0, (5, 3))}
    return {name: {**dashed, "linewidth": 1.2}, f"{TARGET * 100:g} % of that": {**dashed, "linewidth": 0.7}}


def _caption(report: BudgetReport) -> str:
    seeds = sorted({seed for panel in report.panels for line in panel.lines for seed in line.curves})
    many = len(seeds) > 1
    text = f"{'Means over seeds' if many else 'Values of seed'} {', '.join(map(str, seeds))}{', bands ± 1 sample sd' if many else ''}."
    asks = [line.kind.asks is not None for panel in report.panels for line in panel.lines]
    return text if all(asks) else f"{text} Dotted: methods that ask for no labels."
