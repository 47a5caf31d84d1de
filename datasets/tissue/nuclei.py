"""The same tiles with another question: which pixels are nucleus? Images and masks for segmentation."""

from __future__ import annotations

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.seeds import numpy_generator
from benchmark.segmentation.arrays import MaskArrays

from .appearance import draw_mixing
from .render import render
from .slides import draw_layout
from .stain import draw_stains

SMALLEST = 16
"""The least height and width of a tile in pixels: below, a nucleus is hardly a pixel wide."""

VERSION = 1
"""Raise it when the same parameters give other tiles."""

TILES_PER_SLIDE = 10


def tissue_nuclei(n: int, size: int = 64, seed: int = 0, *, slides: int | None = None) -> MaskArrays:
    """Draw n tiles of tissue with the masks of their nuclei.

    Classes, mixtures, slides and stains are drawn as the data set ``tissue`` draws them.

    Args:
        n: tiles, at least 4.
        size: height and width in pixels.
        seed: another seed gives other tiles.
        slides: how many slides they come from, which differ in stain; by default one for each :data:`TILES_PER_SLIDE`.

    Returns:
        images (n, size, size, 3) uint8; labels (n, 1, size, size) uint8, 1 inside a nucleus; groups are slides.

    Raises:
        BenchmarkError: too few tiles for the classes or the slides, or tiles that are too small.
    """
    slides = max(1, n // TILES_PER_SLIDE) if slides is None else slides
    if n < 4 or not 1 <= slides <= n or size < SMALLEST:
        raise BenchmarkError(
            f"tissue_nuclei needs at least 4 tiles of {SMALLEST} px and no more slides than tiles; not {n} of {size} px on {slides} slides"
        )
    rng = numpy_generator("tissue_nuclei", VERSION, seed, n, slides)
    groups, classes = draw_layout(n, slides, rng)
    mixing = draw_mixing(n, rng)
    images, masks = render(classes, mixing, draw_stains(slides, rng)[groups], rng, size)
    return MaskArrays(images, masks[:, np.newaxis].astype(np.uint8), ("nuclei",), ("background", "nucleus"), groups=groups)
