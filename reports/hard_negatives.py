"""The hardest negatives as a gallery: tiles of negative slides that a method is surest are positive."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import BenchmarkError
from reports import style
from reports.escape import one_line
from reports.heatmaps import SlideScores, short_name

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

__all__ = ["COUNT", "draw", "hardest", "write_figure"]

NAME = "hard_negatives"
COUNT = 24
"""Tiles of a gallery."""
COLUMNS = 6
TILE = (1.2, 1.52)
"""Inches of a tile with the two lines above it."""
CAPTION = 0.3
"""Inches of the text below all tiles."""
NAME_WIDTH = 18
"""Characters of a slide's name above its tile."""
FRAME = style.PALETTE[1]
"""Of tiles that are positive after all: they are no negatives, whatever the label of their slide says."""
CHARACTERS_AN_INCH = 19
"""Of the caption."""


def write_figure(slides: SlideScores, folder: Path, count: int = COUNT, of_slide: int | None = None) -> list[Path]:
    """Write ``hard_negatives.svg`` and ``hard_negatives.png`` into a folder, which is created if need be; returns where they are."""
    return style.save(lambda: draw(slides, count, of_slide), folder, NAME)


def draw(slides: SlideScores, count: int = COUNT, of_slide: int | None = None) -> Figure:
    """The tiles row by row, hardest first, each with its rank, score and slide; positive ones, where that is known, in a frame.

    Args:
        slides: with pixels, and with the labels of the slides as the method was given them.
        count, of_slide: as in :func:`hardest`.

    Call it inside the style (:func:`reports.style.save` does).

    Raises:
        BenchmarkError: tiles are features, labels are missing, or no tile of a negative slide has a score.
    """
    from matplotlib.figure import Figure

    if slides.tiles is None or slides.tiles.ndim != 4:
        raise BenchmarkError("a gallery of hard negatives needs the pixels of the tiles; this data set holds features")
    if slides.labels is None:
        raise BenchmarkError("a gallery of hard negatives needs the labels of the slides")
    chosen = hardest(slides.scores, slides.labels, slides.offsets, count, of_slide)
    if not chosen.size:
        negative = one_line(slides.classes[0])
        raise BenchmarkError(f"there is no hard negative: no tile of a slide that is labelled '{negative}' has a score")
    across = min(COLUMNS, len(chosen))
    down = math.ceil(len(chosen) / across)
    figure = Figure(figsize=(across * TILE[0], down * TILE[1] + CAPTION), layout="constrained")
    framed = 0
    for number, (tile, slide) in enumerate(zip(chosen.tolist(), _slide_of(chosen, slides.offsets).tolist(), strict=True), 1):
        ax = figure.add_subplot(down, across, number)
        pixels = slides.tiles[tile]
        ax.imshow(pixels if pixels.shape[2] == 3 else pixels.repeat(3, axis=2), interpolation="antialiased")
        ax.set(xticks=[], yticks=[])
        ax.grid(visible=False)
        positive = slides.tile_labels is not None and int(slides.tile_labels[tile]) == 1
        framed += positive
        for spine in ax.spines.values():
            spine.set(visible=positive, color=FRAME, linewidth=2.5)
        score = f"{number} · {float(slides.scores[tile]):.3f}"
        ax.set_title(f"{score}\n{short_name(slides.names[slide], NAME_WIDTH)}", loc="left", fontsize="x-small")
    caption = _caption(slides, len(chosen), framed, of_slide)
    width = int(figure.get_figwidth() * CHARACTERS_AN_INCH)
    figure.supxlabel(textwrap.fill(caption, width), x=0.01, ha="left", fontsize="small", color=style.QUIET)
    return figure


def hardest(scores: np.ndarray, labels: np.ndarray, offsets: np.ndarray, count: int = COUNT, of_slide: int | None = None) -> np.ndarray:
    """Indices of the tiles of negative slides with the highest scores, highest first and equal ones by index.

    Args:
        scores: (N,) of the tiles; NaN is never chosen.
        labels: (n,) labels of the slides, 0 or 1.
        offsets: (n + 1,) int64.
        count: how many at most.
        of_slide: at most so many of one slide, lest one slide with an artefact fill the gallery; None: any number.

    Returns:
        (k,) int64, k ≤ ``count``.
    """
    import numpy as np

    bag = np.repeat(np.arange(len(labels)), np.diff(offsets))
    found = np.flatnonzero((labels[bag] == 0) & ~np.isnan(scores))
    found = found[np.argsort(-scores[found], kind="stable")]
    if of_slide is not None:
        by_slide = np.argsort(bag[found], kind="stable")  # slide by slide, in each the hardest first
        slide = bag[found[by_slide]]
        place = np.empty(len(found), dtype=np.int64)
        place[by_slide] = np.arange(len(found)) - np.searchsorted(slide, slide)
        found = found[place < of_slide]
    return found[:count]


def _slide_of(tiles: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    import numpy as np

    slides: np.ndarray = np.searchsorted(offsets, tiles, side="right") - 1
    return slides


def _caption(slides: SlideScores, count: int, framed: int, of_slide: int | None) -> str:
    limit = f", at most {of_slide} of a slide" if of_slide is not None else ""
    text = f"The {count} highest instance scores among the tiles of slides labelled {one_line(slides.classes[0])}{limit}."
    return f"{text} In a frame: tiles that are {one_line(slides.classes[1])} in truth." if framed else text
