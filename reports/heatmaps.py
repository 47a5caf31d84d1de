"""Slides as maps: their tiles, which of them are positive, and the scores that a method gives them."""

from __future__ import annotations

from collections.abc import Sequence
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

__all__ = ["SlideScores", "draw", "short_name", "write_figure"]

NAME = "heatmaps"
PANEL = 2.2
"""Width and largest height of a map in inches; wide slides are lower."""
HEADING, LEGEND, SCALE = 0.3, 0.6, 0.9
"""Inches for the name above a row, below all rows, and for the scale on the right."""
LOWEST = 0.2
"""Height of a row in panels, however wide its slide is."""
MOST_SLIDES = 6
"""As many are drawn where none are chosen."""
LARGEST_GRID = 4_000_000
"""Cells of a map; more come from positions that are on no grid."""
NO_GRID = "no map: the tiles of this slide lie on no grid"
MOSAIC = 420
"""Pixels of a mosaic's longer side, at least: about what a panel has in print. It is less than twice that if tiles allow it."""
CHUNK = 256
"""Tiles that are read at once: they may be a file larger than memory."""
COLOURS = "viridis"
"""Rising in lightness, and the same for the three kinds of colour blindness. The truth takes its two ends: a perfect map looks like it."""
NO_TILE, UNKNOWN = "#D6D6D6", "#FFFFFF"
NAME_WIDTH, SHORT_NAME_WIDTH = 48, 24
"""Characters of a slide's name above several columns and above one."""


@dataclass(frozen=True)
class SlideScores:
    """Tiles of n slides, as :class:`~benchmark.bags.arrays.BagArrays` has them, with what a method says of them.

    Attributes:
        offsets: (n + 1,) int64.
        positions: (N, 2) x and y in tiles or pixels, y downwards; None where the data set does not know them, which is an error here.
        scores: (N,) in [0, 1] of the tiles; NaN is drawn as unknown.
        names: n slide ids.
        tile_labels: (N,) 0, 1 or −1 unknown; None: no column for the truth.
        tiles: (N, H, W, 1 or 3) uint8 pixels; None, or features (N, D): no column for the tiles.
        labels: (n,) 0 or 1 of the slides; None: they are not said.
        probabilities: (n,) of the slides being positive, likewise.
        classes: names of the two labels.
        pitch: distance of neighbouring tiles in x and y; None: see :func:`benchmark.metrics.tile_grid.tile_pitch`.
    """

    offsets: np.ndarray
    positions: np.ndarray | None
    scores: np.ndarray
    names: Sequence[str]
    tile_labels: np.ndarray | None = None
    tiles: np.ndarray | None = None
    labels: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    classes: tuple[str, ...] = ("negative", "positive")
    pitch: tuple[int, int] | None = None


def write_figure(slides: SlideScores, folder: Path, chosen: Sequence[int] | None = None) -> list[Path]:
    """Write ``heatmaps.svg`` and ``heatmaps.png`` into a folder, which is created if need be; returns where they are."""
    return style.save(lambda: draw(slides, chosen), folder, NAME)


def draw(slides: SlideScores, chosen: Sequence[int] | None = None) -> Figure:
    """A row a slide: the tiles where there are pixels, the truth where it is known, and the scores on one scale from 0 to 1.

    Pieces of tissue with grids of their own are drawn on one, each tile in the nearest cell; of two in one cell the one with the higher
    score is seen. A slide whose tiles lie on no grid has a line that says so in place of its maps.

    Args:
        slides: all of them.
        chosen: indices of those to be drawn, in that order; None: the first :data:`MOST_SLIDES`.

    Call it inside the style (:func:`reports.style.save` does).

    Raises:
        BenchmarkError: no positions, no slides, or scores outside [0, 1].
    """
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    cells, chosen = _checked(slides, chosen)
    columns = _columns(slides)
    parts = [slice(int(slides.offsets[slide]), int(slides.offsets[slide + 1])) for slide in chosen]
    heights = [_height(cells[tiles]) for tiles in parts]
    size = (len(columns) * PANEL + SCALE, sum(heights) * PANEL + len(chosen) * HEADING + LEGEND)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(chosen), len(columns), squeeze=False, height_ratios=heights)
    for number, (row, slide, tiles) in enumerate(zip(axes, chosen, parts, strict=True)):
        for ax, column in zip(row, columns, strict=True):
            if _has_grid(cells[tiles]):
                ax.imshow(_image(slides, column, tiles, cells[tiles]), interpolation="antialiased" if column == "tiles" else "nearest")
            _bare(ax)
            ax.set_title(f"\n{column}" if number == 0 else " ", loc="left", fontsize="medium", color=style.QUIET)  # with room for a name
        heading = _heading(slides, slide, NAME_WIDTH if len(columns) > 1 else SHORT_NAME_WIDTH)
        place: dict[str, Any] = {"xycoords": "axes fraction", "xytext": (0, 18 if number == 0 else 6), "textcoords": "offset points"}
        row[0].annotate(heading, (0, 1), **place).set_in_layout(False)  # it may be longer than its map
        if not _has_grid(cells[tiles]):
            row[0].text(0, 0.5, NO_GRID, transform=row[0].transAxes, va="center", color=style.QUIET).set_in_layout(False)
    scale = ScalarMappable(Normalize(0, 1), colormaps[COLOURS])
    tall: dict[str, Any] = {"shrink": min(1.0, 2 / len(chosen)), "aspect": 24, "anchor": (0.0, 1.0), "panchor": False}
    bar = figure.colorbar(scale, ax=list(axes[:, -1]), ticks=[0, 0.25, 0.5, 0.75, 1], **tall)
    bar.outline.set_visible(False)
    _legend(figure, slides, np.concatenate([np.arange(tiles.start, tiles.stop) for tiles in parts]))
    return figure


def short_name(name: str, width: int) -> str:
    """A name as one printable line of at most so many characters; what is cut out is its middle, for ends tell slides apart."""
    name = one_line(name)
    if len(name) <= width:
        return name
    tail = (width - 1) // 2
    return f"{name[: width - 1 - tail]}…{name[-tail:]}"


def _checked(slides: SlideScores, chosen: Sequence[int] | None) -> tuple[np.ndarray, Sequence[int]]:
    """The cells of all tiles, and the slides to be drawn."""
    import numpy as np

    from benchmark.metrics.tile_grid import grid_cells

    if slides.positions is None:
        raise BenchmarkError("heat maps need the positions of the tiles, which this data set does not have")
    chosen = range(min(len(slides.names), MOST_SLIDES)) if chosen is None else chosen
    if not len(chosen):
        raise BenchmarkError("heat maps need at least one slide")
    known = slides.scores[~np.isnan(slides.scores)]
    if known.size and (known.min() < 0 or known.max() > 1):
        raise BenchmarkError(f"heat maps need scores from 0 to 1; these go from {known.min():.3g} to {known.max():.3g}")
    return grid_cells(slides.positions, slides.offsets, slides.pitch), chosen


def _has_grid(cells: np.ndarray) -> bool:
    """Of one slide; False where its map would be all gaps."""
    width, height = (int(size) + 1 for size in cells.max(axis=0))
    return width * height <= LARGEST_GRID


def _columns(slides: SlideScores) -> list[str]:
    pixels = slides.tiles is not None and slides.tiles.ndim == 4
    return [*(["tiles"] if pixels else []), *(["truth"] if slides.tile_labels is not None else []), "instance score"]


def _image(slides: SlideScores, column: str, tiles: slice, cells: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: one column of one slide."""
    import numpy as np

    scores = slides.scores[tiles]
    if column == "tiles":
        assert slides.tiles is not None
        return _mosaic(slides.tiles, tiles, cells, _seen(cells, scores))
    width, height = cells.max(axis=0) + 1
    image = np.broadcast_to(_rgb(NO_TILE), (height, width, 3)).copy()
    image[cells[:, 1], cells[:, 0]] = _rgb(UNKNOWN)
    values = scores if column == "instance score" else slides.tile_labels[tiles]  # type: ignore[index]
    known = np.flatnonzero(_seen(cells, values) & (values >= 0))  # neither −1 nor NaN
    image[cells[known, 1], cells[known, 0]] = _coloured(values[known])
    return image


def _seen(cells: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(m,) bool: one tile of each cell, that with the largest value; the first of equal ones."""
    import numpy as np

    order = np.lexsort((-np.nan_to_num(values.astype(np.float64), nan=-1), cells[:, 0], cells[:, 1]))
    first = np.ones(len(cells), dtype=bool)
    first[1:] = (np.diff(cells[order], axis=0) != 0).any(axis=1)
    seen = np.zeros(len(cells), dtype=bool)
    seen[order[first]] = True
    return seen


def _mosaic(tiles: np.ndarray, rows: slice, cells: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: the seen ones of these tiles at their places, shrunk by a whole factor to what can be made out."""
    import numpy as np

    width, height = cells.max(axis=0) + 1
    side = tiles.shape[1:3]
    factor = max(1, min(*side, max(side) * int(max(width, height)) // MOSAIC))
    high, wide = side[0] // factor, side[1] // factor
    image = np.broadcast_to(_rgb(NO_TILE), (height, high, width, wide, 3)).copy().swapaxes(1, 2)
    for start in range(rows.start, rows.stop, CHUNK):
        stop = min(start + CHUNK, rows.stop)
        pixels = tiles[start:stop, : high * factor, : wide * factor]
        small = pixels.reshape(stop - start, high, factor, wide, factor, -1).mean(axis=(2, 4))
        shown = seen[start - rows.start : stop - rows.start]
        place = cells[start - rows.start : stop - rows.start][shown]
        image[place[:, 1], place[:, 0]] = np.round(small[shown]).astype(np.uint8)
    return image.swapaxes(1, 2).reshape(height * high, width * wide, 3)


def _coloured(values: np.ndarray) -> np.ndarray:
    """(m, 3) uint8 colours of values in [0, 1]."""
    import numpy as np
    from matplotlib import colormaps

    colours: np.ndarray = colormaps[COLOURS](np.asarray(values, dtype=np.float64), bytes=True)
    return colours[:, :3]


def _rgb(colour: str) -> np.ndarray:
    import numpy as np

    return np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)], dtype=np.uint8)


def _bare(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[], anchor="NW")
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _height(cells: np.ndarray) -> float:
    """Of a slide's row, in panels."""
    if not _has_grid(cells):
        return LOWEST
    width, height = cells.max(axis=0) + 1
    return float(min(max(height / width, LOWEST), 1.0))


def _heading(slides: SlideScores, slide: int, width: int) -> str:
    """The slide's name, its label and what the method says of it."""
    parts = [short_name(slides.names[slide], width)]
    if slides.labels is not None:
        parts.append(short_name(slides.classes[int(slides.labels[slide])], width))
    if slides.probabilities is not None:
        parts.append(f"p = {float(slides.probabilities[slide]):.2f}")
    return " · ".join(parts)


def _legend(figure: Figure, slides: SlideScores, drawn: np.ndarray) -> None:
    """What the colours mean that are on no scale. drawn: indices of the tiles."""
    import numpy as np
    from matplotlib.patches import Patch

    meaning: dict[str, Any] = {}
    if slides.tile_labels is not None:
        negative, positive = _coloured(np.array([0, 1])) / 255
        meaning = {"negative tile": negative, "positive tile": positive}
    if (slides.tile_labels is not None and (slides.tile_labels[drawn] < 0).any()) or np.isnan(slides.scores[drawn]).any():
        meaning["unknown"] = UNKNOWN
    meaning["no tile"] = NO_TILE
    handles = [Patch(facecolor=colour, edgecolor=style.QUIET, linewidth=0.5) for colour in meaning.values()]
    figure.legend(handles, list(meaning), loc="outside lower left", ncols=len(meaning))
