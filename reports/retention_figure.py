"""The retention curves as a figure: one panel a group, one line a method, with the same look in each panel."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import style
from reports.escape import one_line
from reports.retention import Panel, Retention

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "same_curves", "write_figure"]

NAME = "retention"
SIZES = {1: (4.8, 4.1), 2: (3.9, 3.5)}
PANEL = (3.3, 3.1)
"""Width and height of a panel in inches, where there are one, two or more."""
BAND = 0.1
"""Opacity of a band: nine of them over each other must leave the lines readable."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
"""Line styles: methods beyond the palette share a colour, and the second of it is dashed."""
GUIDE: dict[str, Any] = {"color": style.QUIET, "linewidth": 1, "linestyle": (0, (3, 2))}
LEGEND_WIDTH, TITLE_WIDTH = 30, 44
"""Characters of a line in the legend and in a panel's title."""
INCHES_A_CHARACTER = 0.066
"""Of the font of legend and caption, as wide as it gets."""


def write_figure(result: Retention, folder: Path) -> list[Path]:
    """Write ``retention.svg`` and ``retention.png`` into a folder, which is created if need be; returns where they are."""
    return style.save(lambda: draw(result), folder, NAME)


def draw(result: Retention) -> Figure:
    """Panels of clean-hard samples kept over removed wrong labels, both in %.

    Lines are means over the seeds of a panel, bands one sample standard deviation (none of a single seed), the grey diagonal is
    a random ranking. Methods with the same curves are one line. Call it inside the style (:func:`reports.style.save` does).
    """
    from matplotlib.lines import Line2D

    names = same_curves(result.panels)
    looks = _looks(list(names))
    labels = [_label(name, others) for name, others in names.items()]
    room = 0.55 + INCHES_A_CHARACTER * max(len(line) for label in labels for line in label.splitlines())
    figure, axes = style.grid_of_axes(len(result.panels), size=SIZES.get(len(result.panels), PANEL), legend=room)
    for panel, ax in zip(result.panels, axes, strict=True):
        style.bare_axes(ax, title=_title(panel, result.panels), x="wrong labels removed (%)", y="clean-hard samples kept (%)")
        ax.axline((0, 100), (100, 0), zorder=1, **GUIDE)
        for place, name in enumerate(names):
            if name in panel.curves:
                _line(ax, panel, name, place, len(names), looks[name])
        ax.set(xlim=(0, 100), ylim=(0, 101), xticks=range(0, 101, 20), yticks=range(0, 101, 20))
    # handles and labels as lists: a name that begins with an underscore would be left out otherwise
    handles = [*(Line2D([], [], markersize=4.5, **looks[name]) for name in names), Line2D([], [], **GUIDE)]
    figure.legend(handles, [*labels, "random ranking"], loc="upper right", handlelength=3.2)
    width = int((figure.get_figwidth() - room) / INCHES_A_CHARACTER * 1.3)  # of a caption in small print
    caption = "\n".join(textwrap.fill(line, max(width, 40)) for line in _caption(result))
    figure.supxlabel(caption, x=0.01, ha="left", fontsize="small", color=style.QUIET)
    return figure


def same_curves(panels: Sequence[Panel]) -> dict[str, list[str]]:
    """Method → others with just its curves wherever they were run, on every seed: their lines would hide each other.

    Settings that change only what is trained after the detection, say, share their ranking. Compared are the curves of the
    clean-hard and of all clean samples. The methods and the others are in the order of their names.
    """
    import numpy as np

    found: dict[str, list[str]] = {}
    for method in sorted({name for panel in panels for name in panel.curves}):
        here = [panel for panel in panels if method in panel.curves]
        for other, twins in found.items():
            pairs = [(panel.curves[method], panel.curves[other]) for panel in here if other in panel.curves]
            runs = [run for mine, theirs in pairs for run in zip(mine, theirs, strict=True)]
            same = all(np.array_equal([a.hard, a.clean], [b.hard, b.clean], equal_nan=True) for a, b in runs)
            if len(pairs) == len(here) and same:
                twins.append(method)
                break
        else:
            found[method] = []
    return found


def _looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and line style of each method; no two share all of them."""
    colour = style.colours(names)
    looks: dict[str, dict[str, Any]] = {}
    for name in names:
        turn = sum(look["color"] == colour[name] for look in looks.values())
        start = style.PALETTE.index(colour[name]) if colour[name] in style.PALETTE else 0
        marker = style.MARKERS[(start + turn) % len(style.MARKERS)]
        looks[name] = {"color": colour[name], "marker": marker, "linestyle": DASHES[turn % len(DASHES)]}
    return looks


def _line(ax: Axes, panel: Panel, method: str, place: int, of: int, look: dict[str, Any]) -> None:
    """Mean and band of one method; markers of different methods stand at different places, so that none hides another."""
    import numpy as np

    from benchmark.metrics.retention import GRID

    removed = np.concatenate([[0], GRID]) * 100
    kept = np.array([np.concatenate([[1], curve.hard]) for curve in panel.curves[method]]) * 100  # nothing removed, all kept
    mean, every = kept.mean(axis=0), max(3, min(of, 5))
    ax.plot(removed, mean, linewidth=1.2, markersize=3.6, markevery=(1 + place % every, every), zorder=3, **look)
    if len(kept) > 1:
        sd = kept.std(axis=0, ddof=1)
        low, high = (mean - sd).clip(0, 100), (mean + sd).clip(0, 100)
        ax.fill_between(removed, low, high, color=look["color"], alpha=BAND, linewidth=0, zorder=2)


def _label(name: str, others: Sequence[str]) -> str:
    """A method and, in a line each, those with the same curves."""
    lines = [one_line(name), *(f"= {one_line(other)}" for other in others)]
    return "\n".join(textwrap.fill(line, LEGEND_WIDTH) for line in lines)


def _title(panel: Panel, panels: Sequence[Panel]) -> str:
    """Data and noise, the protocol where there are several, and n."""
    parts = [panel.dataset, panel.noise]
    if len({other.protocol for other in panels}) > 1:
        parts.append(panel.protocol)
    return f"{textwrap.fill(one_line(' · '.join(parts)), TITLE_WIDTH)}\nn = {len(panel.seeds)} seed{'s' if len(panel.seeds) > 1 else ''}"


def _caption(result: Retention) -> list[str]:
    """How to read the panels, and which samples are hard."""
    from reports.retention_text import hard_lines

    bands = "; bands: ± 1 sample sd" if any(len(panel.seeds) > 1 for panel in result.panels) else ""
    protocols = {panel.protocol for panel in result.panels}
    shared = f" Protocol: {one_line(protocols.pop())}." if len(protocols) == 1 else ""
    return [f"Lines: mean over the seeds of a panel{bands}. Higher is better.{shared}", *hard_lines(result)]
