"""How right pseudo labels are, round by round: one panel for precision and one for recall, one line a method."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError
from reports import style
from reports.escape import one_line

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Rounds", "draw", "looks_of", "mean_and_sd", "write_figure"]

NAME = "rounds"
PANEL = (3.3, 2.9)
"""Width and height of a panel in inches."""
BAND = 0.12
"""Opacity of a band: several of them over each other must leave the lines readable."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (6, 1.5, 1, 1.5)), (0, (1, 1.2)))
"""Line styles: methods beyond the palette share a colour, and the second of it is dashed."""
GUIDE: dict[str, Any] = {"color": style.QUIET, "linewidth": 1, "linestyle": (0, (3, 2))}
INHERITED = "label of the slide"
INCHES_A_CHARACTER = 0.066
"""Of the font of legend and caption, as wide as it gets."""
LEGEND_WIDTH = 30
"""Characters of a line in the legend."""

Values = Sequence[Sequence[float | None]]
"""One sequence a seed with a value a round, None where it is undefined; seeds may end at different rounds."""


@dataclass(frozen=True)
class Rounds:
    """Pseudo labels of one method against the truth, after each round.

    Attributes:
        precision, recall: in [0, 1], for each seed and round; see :func:`benchmark.metrics.bags.pseudo_label_quality`.
    """

    precision: Values
    recall: Values


def write_figure(methods: Mapping[str, Rounds], folder: Path, inherited: float | None = None) -> list[Path]:
    """Write ``rounds.svg`` and ``rounds.png`` into a folder, which is created if need be; returns where they are."""
    return style.save(lambda: draw(methods, inherited), folder, NAME)


def draw(methods: Mapping[str, Rounds], inherited: float | None = None) -> Figure:
    """Precision and recall over rounds, which are counted from 0: the pseudo labels before any update.

    Lines are means over seeds, bands one sample standard deviation (none of a single seed). See :func:`mean_and_sd` for gaps.

    Args:
        methods: name → rounds.
        inherited: precision of tiles that have the label of their slide (1 − ``inherited_noise``, see
            :func:`benchmark.metrics.bags.structural_noise`), drawn as a guide; their recall is 1. None: no guide.

    Call it inside the style (:func:`reports.style.save` does).

    Raises:
        BenchmarkError: no method, or none with a round.
    """
    import numpy as np
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    last = max((len(seed) for rounds in methods.values() for seed in (*rounds.precision, *rounds.recall)), default=0) - 1
    if last < 0:
        raise BenchmarkError("there are no pseudo labels to draw: no method has finished a round")
    looks = looks_of(list(methods))
    labels = [textwrap.fill(one_line(name), LEGEND_WIDTH) for name in methods]
    handles = [Line2D([], [], markersize=4.5, **look) for look in looks.values()]
    if inherited is not None:
        labels, handles = [*labels, INHERITED], [*handles, Line2D([], [], **GUIDE)]
    room = 0.6 + INCHES_A_CHARACTER * max(len(line) for label in labels for line in label.splitlines())
    figure, axes = style.grid_of_axes(2, size=PANEL, legend=room)
    space = 0.03 * last or 0.5
    levels = () if inherited is None else (inherited, 1.0)
    for number, (ax, metric) in enumerate(zip(axes, ("precision", "recall"), strict=True)):
        style.bare_axes(ax, x="round", y=f"{metric} of the pseudo labels")
        style.percent_axis(ax.yaxis)
        if levels:
            ax.axhline(levels[number], zorder=1, **GUIDE)
        for name, rounds in methods.items():
            _line(ax, getattr(rounds, metric), looks[name])
        ax.set(xlim=(-space, last + space), ylim=(-0.02, 1.02))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    # handles and labels as lists: a name that begins with an underscore would be left out otherwise
    figure.legend(handles, labels, loc="upper right", handlelength=3.2)
    seeds = {len(rounds.precision) for rounds in methods.values()}
    counted = f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else f"{max(seeds)}"
    caption = f"Lines: means over seeds (n = {counted}){'; bands: ± 1 sample sd' if max(seeds) > 1 else ''}."
    width = int((figure.get_figwidth() - room) / INCHES_A_CHARACTER * 1.25)  # of a caption in small print
    if any(np.isnan(mean_and_sd(values)[0]).any() for rounds in methods.values() for values in (rounds.precision, rounds.recall)):
        caption += " Gaps: rounds in which some seed has no value."
    figure.supxlabel(textwrap.fill(caption, max(width, 40)), x=0.01, ha="left", fontsize="small", color=style.QUIET)
    return figure


def mean_and_sd(values: Values) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sample standard deviation over the seeds, round by round.

    A round where any seed has no value, or that any seed did not reach, is a gap: a mean over other seeds than before would jump.

    Returns:
        Two (R,) float64 arrays up to the longest seed, NaN in gaps; the second is 0 of a single seed.
    """
    import numpy as np

    table = np.full((len(values), max((len(seed) for seed in values), default=0)), np.nan)
    for row, seed in zip(table, values, strict=True):
        row[: len(seed)] = [np.nan if value is None else value for value in seed]
    mean = table.mean(axis=0) if len(table) else np.zeros(0)
    return mean, table.std(axis=0, ddof=1) if len(table) > 1 else np.zeros_like(mean)


def _line(ax: Axes, values: Values, look: dict[str, Any]) -> None:
    import numpy as np

    mean, sd = mean_and_sd(values)
    rounds = np.arange(len(mean))
    ax.plot(rounds, mean, markersize=4.0, zorder=3, **look)  # broken in gaps
    if len(values) > 1:
        low, high = (np.clip(mean + sign * sd, 0, 1) for sign in (-1, 1))
        ax.fill_between(rounds, low, high, color=look["color"], alpha=BAND, linewidth=0, zorder=2)


def looks_of(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and line style of each method."""
    colour, marker = style.colours(names), style.markers(names)
    looks: dict[str, dict[str, Any]] = {}
    for name in names:
        turn = sum(look["color"] == colour[name] for look in looks.values())
        looks[name] = {"color": colour[name], "marker": marker[name], "linestyle": DASHES[turn % len(DASHES)]}
    return looks
