"""The picture of cost by size: ``python -m tests.performance.linear_plot FIGURES.json docs/pictures`` writes cost.png there."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from reports.style import INK, PALETTE, QUIET, bare_axes, grid_of_axes, log_axis, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEMORY_BOUND_MB = 1500


def draw(rows: list[dict[str, float]]) -> Figure:
    """Two panels over the number of images: seconds of an epoch beside the straight line, and the most memory."""
    figure, (time_axes, memory_axes) = grid_of_axes(2, columns=2, size=(3.4, 2.7))
    sizes = [row["n"] for row in rows]
    last = rows[-1]
    time_axes.plot(sizes, [last["epoch"] * n / last["n"] for n in sizes], color=QUIET, linestyle=(0, (4, 2)), label="in proportion")
    time_axes.plot(sizes, [row["epoch"] for row in rows], color=PALETTE[0], marker="o", label="an epoch")
    memory_axes.plot(sizes, [row["peak_mb"] for row in rows], color=PALETTE[1], marker="s", label="the whole process")
    pixels = [3 * 32 * 32 * n / 2**20 for n in sizes]
    memory_axes.plot(sizes, pixels, color=QUIET, linestyle=(0, (4, 2)), label="the pixels alone")
    memory_axes.axhline(MEMORY_BOUND_MB, color=INK, linewidth=0.8, label="bound at 100,000")
    bare_axes(time_axes, title="Time of an epoch", x="images", y="seconds of CPU")
    bare_axes(memory_axes, title="Memory at most", x="images", y="MB")
    for axes in (time_axes, memory_axes):
        log_axis(axes.xaxis)
        log_axis(axes.yaxis)
        axes.xaxis.set_major_formatter(lambda n, _position: f"{n:,.0f}")
        axes.legend(loc="upper left" if axes is time_axes else "lower right")
    return figure


def main(figures: Path, folder: Path) -> Path:
    """Draw, and keep the PNG."""
    rows = json.loads(figures.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        written = save(lambda: draw(rows), Path(scratch), "cost")
        (picture,) = (path for path in written if path.suffix == ".png")
        target = folder / picture.name
        target.write_bytes(picture.read_bytes())
    return target


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
