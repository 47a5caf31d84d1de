"""What all figures share: one colour and one marker a name, plain axes, files that are the same whenever they are drawn.

Matplotlib is used without pyplot: no state of the process is touched, and no window is ever opened.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "INK", "PALETTE", "QUIET", "Look", "bare_axes", "colours", "grid_of_axes", "log_axis", "looks", "markers", "percent_axis", "save",
]  # fmt: skip

INK = "#000000"
"""Of whatever the others are set against."""
QUIET = "#6E6E6E"
"""Of frames, guides and notes."""
PALETTE = ("#332288", "#CC6677", "#117733", "#74B9F0", "#882255", "#3DA493", "#D9B62E", "#AA4499", "#84841C")
"""Nine hues after Paul Tol's *muted* scheme (Colour Schemes, 2021), the light ones darker for lines on white. They and black stay
apart for the three kinds of colour blindness; beyond nine names, markers tell them apart."""
MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">", "h")

FIXED = ("entropy", "least_confidence", "margin", "bald", "coreset", "label_quality", "vog", "disagreement", "activelab")
"""Names whose colours never change; :data:`INK` is that of ``random``."""

METHODS: tuple[tuple[str, ...], ...] = (
    (
        "ce", "hsa", "coteaching", "elr", "gce", "jocor", "confident_learning", "aum", "vog", "dividemix",
        "ssr", "sce", "pgdf", "elr_plus", "coteaching_plus", "sop", "disc", "forward", "codis", "simifeat",
        "mixup", "cdr", "nce_rce", "label_smoothing", "coteaching_vog", "alr", "bootstrapping", "decoupling", "nce_mae", "loss_gmm",
        "random_detector", "constant_detector",
    ),
    ("seg_ce", "seg_adele", "seg_coteaching", "seg_cl", "seg_gce", "seg_pick_and_learn", "seg_cleanlab", "seg_t_loss"),
    ("mil_mean", "abmil", "its2clr", "mil_max", "dsmil", "hnm_wsi", "mil_cl"),
)  # fmt: skip
"""The methods of each task, for whom :func:`looks` keeps a colour and a marker: the baseline first, then by how often they are shown.
Methods of two tasks never stand in one figure, so they share looks, those of one idea where there are such."""
FILLS = ("full", "none", "left", "top", "right", "bottom")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))

RC: Any = {
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "text.parse_math": False,  # a name with two dollar signs is a name
    "svg.fonttype": "none",
    "svg.hashsalt": "noisy-label-benchmark",
}


@dataclass(frozen=True)
class Look:
    """How a method is drawn, wherever it is drawn.

    Attributes:
        colour: hexadecimal. marker: Matplotlib's name of it.
        fill: Matplotlib's ``fillstyle`` of the marker, and dashes its ``linestyle``: they tell settings of one plugin apart.
    """

    colour: str
    marker: str
    fill: str = "full"
    dashes: Any = "-"

    def line(self) -> dict[str, Any]:
        """Keywords of a line with markers."""
        inside = {"fillstyle": self.fill, "markerfacecoloralt": "white", "markerfacecolor": self.colour}
        return {"color": self.colour, "marker": self.marker, "linestyle": self.dashes, "markeredgecolor": self.colour, **inside}

    def point(self) -> dict[str, Any]:
        """Keywords of markers without a line."""
        return {**self.line(), "linestyle": "none"}


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Name → look. Call it once, with all methods of a report, and hand the result to every figure.

    Args:
        names: short names of methods; the plugin is what stands before the first ``:`` or `` #``.

    Returns:
        In the order of ``names``, each once. A method of :data:`METHODS` looks the same in every report. Another takes the pair of colour
        and marker that its letters choose, or the next one whose colour is used least. Settings of one plugin share colour and marker and
        differ in how the marker is filled and the line dashed, the plain one, or else the first by name, being filled and solid. All
        looks of one task differ for up to 81 plugins with 24 settings each.
    """
    wanted = list(dict.fromkeys(names))
    settings: dict[str, list[str]] = {}
    for name in sorted(wanted):
        settings.setdefault(_plugin(name), []).append(name)
    known = {name: position - 1 for task in METHODS for position, name in enumerate(task)}
    slots = {plugin: known[plugin] for plugin in settings if plugin in known}
    for plugin in sorted(set(settings) - set(known)):
        around = [(zlib.crc32(plugin.encode()) + step) % len(PALETTE) ** 2 for step in range(len(PALETTE) ** 2)]
        taken = [_pair(slot) for slot in slots.values()]
        used = [colour for colour, _marker in taken]
        slots[plugin] = min(around, key=lambda slot: (_pair(slot) in taken, used.count(_pair(slot)[0])))
    found: dict[str, Look] = {}
    for plugin, variants in settings.items():
        for turn, name in enumerate(sorted(variants, key=lambda name: (name != plugin, name))):
            dashes = DASHES[(turn + turn // 12) % len(DASHES)]
            found[name] = Look(*_pair(slots[plugin]), fill=FILLS[turn % len(FILLS)], dashes=dashes)
    return {name: found[name] for name in wanted}


def _plugin(name: str) -> str:
    return name.partition(":")[0].partition(" #")[0]


def _pair(slot: int) -> tuple[str, str]:
    """Colour and marker of a slot: −1 is the baseline's, then 81 in which every nine in a row have nine colours and nine markers."""
    if slot < 0:
        return INK, "o"
    size = len(PALETTE)
    return PALETTE[slot % size], MARKERS[(slot + 4 * (slot // size)) % size]


def colours(names: Iterable[str]) -> dict[str, str]:
    """Name → hexadecimal colour, the same in every figure where that can be.

    ``random`` is black and :data:`FIXED` names have a colour each. Another name starts from a colour that its letters choose and takes
    the next one that is free; when none is, colours repeat.
    """
    return _dealt(names, PALETTE, INK)


def markers(names: Iterable[str]) -> dict[str, str]:
    """Name → Matplotlib marker, dealt out as :func:`colours` are."""
    return _dealt(names, MARKERS, "o")


def _dealt(names: Iterable[str], supply: Sequence[str], floor: str) -> dict[str, str]:
    wanted = list(dict.fromkeys(names))
    found = {name: supply[FIXED.index(name)] for name in wanted if name in FIXED}
    for name in sorted(set(wanted) - set(found)):
        if name == "random":
            found[name] = floor
            continue
        first = zlib.crc32(name.encode()) % len(supply)
        around = [supply[(first + step) % len(supply)] for step in range(len(supply))]
        taken = [found[other] for other in found]
        found[name] = min(around, key=taken.count)  # the first of the least used
    return {name: found[name] for name in wanted}


def grid_of_axes(
    panels: int, *, columns: int = 3, size: tuple[float, float] = (3.1, 2.7), legend: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """A figure with as many axes as there are panels, filled row by row.

    Args:
        panels: how many, at least one.
        columns: at most so many stand beside each other.
        size: width and height of a panel in inches.
        legend: width in inches that stays free on the right.

    Call it and everything that draws inside ``matplotlib.rc_context(RC)``.
    """
    from matplotlib.figure import Figure

    across = min(columns, panels)
    down = math.ceil(panels / across)
    width, height = across * size[0] + legend, down * size[1]
    figure = Figure(figsize=(width, height), layout="constrained")
    layout: Any = figure.get_layout_engine()
    layout.set(rect=(0, 0, 1 - legend / width, 1))
    axes = [figure.add_subplot(down, across, number + 1) for number in range(panels)]
    return figure, axes


def bare_axes(axes: Axes, *, title: str = "", x: str = "", y: str = "") -> None:
    """Title and labels; nothing in them is markup."""
    axes.set_title(title, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.margins(x=0.03)


def percent_axis(axis: Any) -> None:
    """Ticks of a share as percent."""
    axis.set_major_formatter(lambda share, _position: f"{round(100 * share, 6):g} %")


def log_axis(axis: Any) -> None:
    """A logarithmic scale with plain numbers at its ticks; the powers of Matplotlib are formulas, which :data:`RC` switches off."""
    from matplotlib.ticker import LogLocator, NullFormatter

    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    axis.set_major_locator(LogLocator(subs=(1.0,) if decades > 1.6 else (1.0, 2.0, 5.0) if decades > 0.5 else tuple(range(1, 10))))
    axis.set_major_formatter(lambda value, _position: f"{value:g}" if value >= 1e-3 else f"{value:.0e}".replace("e-0", "e-"))
    axis.set_minor_formatter(NullFormatter())


def save(draw: Callable[[], Figure], folder: Path, name: str) -> list[Path]:
    """Draw and write ``<name>.svg`` and ``<name>.png`` (200 dpi); each appears in one step, and the same content gives the same bytes.

    Args:
        draw: makes the figure; called inside the style.
        folder: created if it is not there.
    """
    import matplotlib

    from benchmark.files import atomic_open

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with matplotlib.rc_context(RC):
        figure = draw()
        for kind, options in (
            ("svg", {"metadata": {"Date": None, "Creator": None}}),
            ("png", {"dpi": 200, "metadata": {"Software": None}}),
        ):
            path = folder / f"{name}.{kind}"
            with atomic_open(path) as file:
                figure.savefig(file, format=kind, **options)
            written.append(path)
    return written
