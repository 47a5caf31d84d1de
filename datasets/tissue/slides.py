"""Slides: which classes lie on each, how each is stained, and one slide as a bag of tiles on a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .appearance import CLASSES, draw_mixing
from .render import render
from .stain import draw_stains

ABSENT = 0.06
"""Probability that a class is missing from a slide; most slides hold all four."""


@dataclass(frozen=True)
class Slide:
    """One slide as a bag of n tiles.

    Attributes:
        images: (n, size, size, 3) uint8.
        nuclei_masks: (n, size, size) bool.
        coordinates: (n, 2) int64, row and column of each tile on the slide's grid.
        classes: (n,) int64 into :data:`~.appearance.CLASSES`.
        mixing: (n,) float32 in [0, 0.5): how much each tile looks like another class.
    """

    images: np.ndarray
    nuclei_masks: np.ndarray
    coordinates: np.ndarray
    classes: np.ndarray
    mixing: np.ndarray


def render_slide(
    classes: np.ndarray, rng: np.random.Generator, size: int, *, mixing: np.ndarray | None = None, columns: int | None = None
) -> Slide:
    """One slide, in one stain, from the classes of its tiles.

    Args:
        classes: (n,) integers into :data:`~.appearance.CLASSES`, in the order of the grid, row by row.
        rng: the only source of randomness.
        size: height and width of a tile in pixels.
        mixing: (n,) in [0, 0.5); drawn like the data set's own if None.
        columns: of the grid; about square if None.
    """
    classes = np.asarray(classes, dtype=np.int64)
    n = len(classes)
    stain = draw_stains(1, rng)
    mixing = draw_mixing(n, rng) if mixing is None else np.asarray(mixing, dtype=np.float32)
    columns = columns or int(np.ceil(np.sqrt(max(n, 1))))
    images, masks = render(classes, mixing, np.repeat(stain, n, axis=0), rng, size)
    coordinates = np.stack(np.divmod(np.arange(n, dtype=np.int64), columns), axis=1)
    return Slide(images, masks, coordinates, classes, mixing)


def draw_layout(n: int, slides: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Which slide each tile lies on, and its class.

    Slides are equally large to within one tile. Their class shares vary (a Dirichlet distribution, with a class missing
    now and then), which is what makes a random split by tile too optimistic.

    Args:
        n: tiles, at least as many as slides and as classes.
        slides: number of slides.
        rng: the only source of randomness.

    Returns:
        groups: (n,) int64 in [0, slides), ascending.
        classes: (n,) int64; every class occurs.
    """
    groups = np.arange(n, dtype=np.int64) * slides // n
    shares = rng.dirichlet(np.full(len(CLASSES), 4.0), slides)
    kept = shares * (rng.random(shares.shape) >= ABSENT)
    shares = np.where(kept.sum(axis=1, keepdims=True) > 0, kept, shares)
    bounds = np.cumsum(shares, axis=1)
    bounds /= bounds[:, -1:]
    classes = (rng.random(n)[:, None] >= bounds[groups]).sum(axis=1).astype(np.int64)
    missing = np.setdiff1d(np.arange(len(CLASSES)), classes)
    # Only tiny sets lack a class; the first tiles of the largest class then take it.
    largest = np.flatnonzero(classes == np.bincount(classes, minlength=len(CLASSES)).argmax())
    classes[largest[: len(missing)]] = missing
    return groups, classes
