"""What an annotator does to one mask: too large, too small, ragged, beside the object, bent. One mask in, another one out.

Discs are Euclidean: dilation by radius r adds what lies at most r pixels from the object, erosion keeps what lies more than
r pixels from the background. Both are read off a distance map, whose cost does not depend on r. What lies beyond the image
counts as neither, so that an organ which is cut off by the image does not recede from its border.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Callable

RELATIVE = "rel"
"""A radius that begins with this is a share of the square root of an object's area."""

SMOOTHEST, ROUGHEST = 32.0, 2.0
"""Bounds of an elastic field's standard deviation of smoothing, in pixels."""


@dataclass(frozen=True)
class Radius:
    """How far an operation reaches.

    Attributes:
        value: pixels, or a share of the square root of an object's area.
        relative: which of the two.
    """

    value: float
    relative: bool = False

    @classmethod
    def parse(cls, text: str | float) -> Radius:
        """``10`` or ``"10"`` is in pixels, ``"rel0.15"`` relative to the object.

        Raises:
            BenchmarkError: anything else, or a radius that is negative or not finite.
        """
        words = str(text).strip()
        relative = words.startswith(RELATIVE)
        try:
            value = float(words.removeprefix(RELATIVE))
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            raise BenchmarkError(f"a noise radius is a number of pixels (10) or a share of √area (rel0.15), 0 or more; not '{text}'")
        return cls(value, relative)

    def pixels(self, mask: np.ndarray) -> float:
        """The radius for one (H, W) bool mask, in pixels.

        A relative one goes by the area of the object that a foreground pixel belongs to, on average (Σ a² / Σ a over the objects, which
        touch at corners too): many small nuclei are not one large object, and a stray pixel hardly counts. It is rounded to whole
        pixels: less than one would leave most masks as they are.
        """
        if not self.relative or not mask.any():
            return self.value * (not self.relative)
        from scipy import ndimage

        found, _ = ndimage.label(mask, structure=np.ones((3, 3), dtype=bool))
        areas = np.bincount(found.reshape(-1))[1:].astype(np.float64)
        return float(round(self.value * math.sqrt(float((areas**2).sum() / areas.sum()))))

    def __str__(self) -> str:
        return f"{RELATIVE}{self.value:g}" if self.relative else f"{self.value:g}"


def dilate(mask: np.ndarray, radius: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """Everything that lies at most ``radius`` pixels from the object.

    Args:
        mask: (H, W) bool.
        radius: in pixels; 0 changes nothing.
        rng: not used.

    Returns:
        (H, W) bool, a new array.
    """
    from scipy.ndimage import distance_transform_edt

    noisy = mask.copy()
    window = _window(mask, math.floor(radius))
    if window is None or radius < 1:
        return noisy
    noisy[window] = distance_transform_edt(~mask[window]) <= radius
    return noisy


def erode(mask: np.ndarray, radius: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """What lies more than ``radius`` pixels from the background; nothing, where the object is thin.

    Args:
        mask: (H, W) bool.
        radius: in pixels; 0 changes nothing.
        rng: not used.

    Returns:
        (H, W) bool, a new array.
    """
    from scipy.ndimage import distance_transform_edt

    noisy = mask.copy()
    window = _window(mask, 1)
    if window is None or mask[window].all():  # without any background there is no distance to it
        return noisy
    noisy[window] = distance_transform_edt(mask[window]) > radius
    return noisy


def boundary(mask: np.ndarray) -> np.ndarray:
    """The object's pixels with a neighbour (of four) outside it: (H, W) bool, one pixel wide, as an edge detector gives it."""
    padded = np.pad(mask, 1, mode="edge")
    surrounded = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~surrounded


def edge(mask: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """A ragged outline: discs along the boundary, each added to the object or cut out of it.

    Half the boundary's pixels, each by a coin, are centres of a disc whose radius is a whole number in [0, ``radius``).
    Another coin says whether it is added or cut out. Later discs (row by row) lie over earlier ones.

    Args:
        mask: (H, W) bool.
        radius: in pixels; 0 changes nothing.
        rng: of the coins and radii.

    Returns:
        (H, W) bool, a new array.
    """
    radius = min(radius, math.hypot(*mask.shape))  # a disc that covers the image covers no more when it grows
    rows, columns = np.nonzero(boundary(mask))
    kept = rng.random(len(rows)) < 0.5
    rows, columns = rows[kept], columns[kept]
    radii = rng.integers(0, max(1, math.ceil(radius)), len(rows))
    added = rng.random(len(rows)) < 0.5
    if radius <= 0 or not len(rows):
        return mask.copy()
    margin = int(radii.max())
    canvas = np.pad(mask, margin)
    offsets = [_disc(reach, canvas.shape[1]) for reach in range(margin + 1)]
    centres = (rows + margin) * canvas.shape[1] + columns + margin
    painted = np.concatenate([centre + offsets[reach] for centre, reach in zip(centres.tolist(), radii.tolist(), strict=True)])
    sizes = np.array([len(offset) for offset in offsets])[radii]
    # A pixel under several discs is assigned several times, and keeps the value of the last one.
    canvas.reshape(-1)[painted] = np.repeat(added, sizes)
    height, width = mask.shape
    return canvas[margin : margin + height, margin : margin + width].copy()


def translate(mask: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """The object in another place, in any direction; what leaves the image is lost, and what enters it is background.

    Args:
        mask: (H, W) bool.
        radius: the largest distance in pixels; the distance is uniform below it.
        rng: of distance and direction.

    Returns:
        (H, W) bool, a new array.
    """
    distance, angle = radius * rng.random(), 2 * math.pi * rng.random()
    down, right = math.trunc(distance * math.sin(angle)), math.trunc(distance * math.cos(angle))  # never farther than asked for
    noisy = np.zeros_like(mask)
    height, width = mask.shape
    if abs(down) < height and abs(right) < width:
        noisy[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = mask[
            max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
        ]
    return noisy


def elastic(mask: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """The object bent by a smooth random field whose longest displacement is ``radius``.

    Simard, Steinkraus and Platt (2003), "Best practices for convolutional neural networks": a displacement per pixel, drawn
    uniformly, smoothed with a Gaussian and scaled. The Gaussian's standard deviation is the radius itself, within
    [:data:`ROUGHEST`, :data:`SMOOTHEST`], so that the field bends the outline and does not tear it. Nearest neighbour.

    Args:
        mask: (H, W) bool.
        radius: the longest displacement in pixels; 0 changes nothing.
        rng: of the field.

    Returns:
        (H, W) bool, a new array.
    """
    from scipy.ndimage import gaussian_filter, map_coordinates

    field = rng.uniform(-1.0, 1.0, (2, *mask.shape)).astype(np.float32)
    if radius <= 0 or not mask.any():
        return mask.copy()
    sigma = min(max(radius, ROUGHEST), SMOOTHEST)
    field = gaussian_filter(field, (0, sigma, sigma), mode="reflect")
    longest = float(np.hypot(field[0], field[1]).max())
    where = np.indices(mask.shape, dtype=np.float32) + field * (radius / max(longest, 1e-12))
    return map_coordinates(mask.astype(np.uint8), where, order=0, mode="nearest").astype(bool)


OPERATIONS: dict[str, Callable[[np.ndarray, float, np.random.Generator], np.ndarray]] = {
    "dilate": dilate,
    "erode": erode,
    "edge": edge,
    "translate": translate,
    "elastic": elastic,
}
"""Kind of noise → ((H, W) bool mask, radius in pixels, generator) → (H, W) bool."""


def _window(mask: np.ndarray, margin: int) -> tuple[slice, slice] | None:
    """The object's bounding box, grown by ``margin`` within the image; None where there is no object.

    The nearest pixel of the other kind is never outside it, so that distances in the window are those in the image.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + margin + 1),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + margin + 1),
    )


@lru_cache(maxsize=512)
def _disc(radius: int, width: int) -> np.ndarray:
    """Flat offsets of a filled disc's pixels from its centre in an image of ``width`` columns; read only."""
    reach = np.arange(-radius, radius + 1)
    rows, columns = np.nonzero(reach[:, None] ** 2 + reach**2 <= radius**2)
    offsets: np.ndarray = (rows - radius) * width + columns - radius
    offsets.flags.writeable = False
    return offsets
