"""Masks over their images, as tiles of pixels: objects in colours, and where a method was right and wrong about the given mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.segmentation import VOID
from reports import style

__all__ = [
    "FALSE_ALARM",
    "FLAGGED",
    "HIT",
    "MISSED",
    "SIDE",
    "Strip",
    "Tile",
    "judged",
    "object_colours",
    "objects_of",
    "outlined",
    "plain",
]

SIDE = 256
"""Pixels of a tile's longer side: small images are enlarged by a whole factor, larger ones shrunk."""

HIT, FALSE_ALARM, MISSED = style.PALETTE[0], style.PALETTE[3], style.PALETTE[1]
"""Of pixels that are flagged and wrong, flagged but right, wrong but not flagged: dark, light and between, so that grey tells, too."""
FLAGGED = style.PALETTE[7]
"""Of flagged pixels where the truth is not known."""
OBJECTS = tuple(style.PALETTE[place] for place in (6, 7, 5, 3, 4, 2, 8, 1, 0))
"""Of organs and classes, in their order; the last three mean something else in the maps of flagged pixels."""

FILL = 0.28
"""Opacity of an object's inside; its outline is opaque."""
OUTLINE = 2
"""Pixels of an outline's width, inside the object."""
DASH = 5
"""Pixels of each colour where outlines lie on each other."""
FADED = 0.5
"""How much white the image behind the flagged pixels is mixed with."""


@dataclass(frozen=True)
class Tile:
    """One picture.

    Attributes:
        title: of its column. method: whose it is; empty where it is the data's. lines: what stands below it.
        pixels: (h, w, 3) uint8, neither side longer than :data:`SIDE`.
    """

    title: str
    pixels: np.ndarray
    lines: tuple[str, ...] = ()
    method: str = ""


@dataclass(frozen=True)
class Strip:
    """The tiles of one image, from left to right; strips of one table have the same titles."""

    tiles: tuple[Tile, ...]


def object_colours(names: Sequence[str]) -> dict[str, str]:
    """Name of an object → hexadecimal colour; beyond nine objects they repeat."""
    return {name: OBJECTS[place % len(OBJECTS)] for place, name in enumerate(names)}


def objects_of(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """(T·(J − 1), H, W) bool, task by task and then class by class, from (T, H, W) class ids."""
    return np.concatenate([[mask == index for index in range(1, num_classes)] for mask in labels])


def plain(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """(h, w, 3) uint8: an image as a tile.

    Args:
        image: (H, W, 1 or 3) uint8.
    """
    height, width = _size(image.shape[:2], side)
    if (height, width) < image.shape[:2]:  # both shrink together
        from PIL import Image

        small = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).resize((width, height), Image.Resampling.LANCZOS)
        image = np.asarray(small).reshape(height, width, -1)
    else:
        image = _nearest(image.transpose(2, 0, 1), (height, width)).transpose(1, 2, 0)
    return np.ascontiguousarray(np.broadcast_to(image, (height, width, 3)))


def outlined(image: np.ndarray, labels: np.ndarray, num_classes: int, side: int = SIDE) -> np.ndarray:
    """(h, w, 3) uint8: the objects of a mask over their image, each with an outline in its colour.

    Objects are filled faintly, except where several overlap; outlines that lie on each other alternate. Void is hatched in grey.

    Args:
        image: (H, W, 1 or 3) uint8.
        labels: (T, H, W) class ids, 255 void.
        num_classes: J.
    """
    tile = plain(image, side).astype(np.float32)
    masks = _nearest(objects_of(labels, num_classes), tile.shape[:2])
    lines, alone = np.stack([_outline(mask, OUTLINE) for mask in masks]), masks.sum(axis=0) == 1
    _hatch(tile, labels)
    inks = _inks([OBJECTS[place % len(OBJECTS)] for place in range(len(masks))])
    for ink, mask in zip(inks, masks, strict=True):
        _mix(tile, mask & alone, ink, FILL)
    count, turn = lines.sum(axis=0), _diagonals(tile.shape[:2]) // DASH
    place = np.cumsum(lines, axis=0) - 1
    for index, ink in enumerate(inks):
        _mix(tile, lines[index] & (place[index] == turn % np.maximum(count, 1)), ink, 1.0)
    return tile.round().astype(np.uint8)


def judged(image: np.ndarray, given: np.ndarray, true: np.ndarray | None, flagged: np.ndarray, side: int = SIDE) -> np.ndarray:
    """(h, w, 3) uint8: the flagged pixels over a faded image, coloured by what the truth says of them.

    Where tasks differ about a pixel, the worst is shown: missed, then false alarm, then hit. The given mask is outlined in black.

    Args:
        image: (H, W, 1 or 3) uint8.
        given, true: (T, H, W) class ids, 255 void; without a truth all flags have one colour.
        flagged: (T, H, W) bool.
    """
    tile = plain(image, side).astype(np.float32).mean(axis=2, keepdims=True).repeat(3, axis=2)
    tile += (255 - tile) * FADED
    shape = tile.shape[:2]
    _hatch(tile, given if true is None else true)
    for colour, pixels in verdicts(given, true, flagged).items():
        _mix(tile, _nearest(pixels[None], shape)[0], _inks([colour])[0], 0.85)
    for mask in _nearest((given != 0) & (given != VOID), shape):
        _mix(tile, _outline(mask, 1), _inks([style.INK])[0], 0.7)
    return tile.round().astype(np.uint8)


def verdicts(given: np.ndarray, true: np.ndarray | None, flagged: np.ndarray) -> Mapping[str, np.ndarray]:
    """Colour → (H, W) bool, no pixel twice; see :func:`judged`."""
    known = given != VOID
    if true is None:
        return {FLAGGED: (flagged & known).any(axis=0)}
    known &= true != VOID
    wrong = (given != true) & known
    missed = (wrong & ~flagged).any(axis=0)
    false_alarm = (flagged & ~wrong & known).any(axis=0) & ~missed
    return {HIT: (flagged & wrong).any(axis=0) & ~missed & ~false_alarm, FALSE_ALARM: false_alarm, MISSED: missed}


def _size(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    longest = max(shape)
    if longest <= side:
        return shape[0] * (side // longest), shape[1] * (side // longest)
    return max(1, round(shape[0] * side / longest)), max(1, round(shape[1] * side / longest))


def _nearest(maps: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(…, h, w) from (…, H, W): each pixel takes the value nearest to its centre."""
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(np.int64) for new, old in zip(shape, maps.shape[-2:], strict=True))
    picked: np.ndarray = maps[..., rows[:, None], columns[None, :]]
    return picked


def _outline(mask: np.ndarray, width: int) -> np.ndarray:
    """The pixels of a (h, w) mask that are at most ``width`` from one outside it; the edge of the image is no outside."""
    inside = mask
    for _ in range(width):
        padded = np.pad(inside, 1, mode="edge")
        inside = inside & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def _diagonals(shape: tuple[int, ...]) -> np.ndarray:
    return np.add.outer(np.arange(shape[0]), np.arange(shape[1]))


def _hatch(tile: np.ndarray, labels: np.ndarray) -> None:
    void = _nearest((labels == VOID).any(axis=0)[None], tile.shape[:2])[0]
    _mix(tile, void & (_diagonals(tile.shape[:2]) % 6 < 2), _inks([style.QUIET])[0], 0.8)


def _mix(tile: np.ndarray, where: np.ndarray, ink: np.ndarray, opacity: float) -> None:
    tile[where] += (ink - tile[where]) * opacity


def _inks(colours: Sequence[str]) -> list[np.ndarray]:
    return [np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)], dtype=np.float32) for colour in colours]
