"""Which images look alike: 63-bit prints of their low frequencies, equal under turns and mirrors, and a check of what they point at.

The print is the sign of the lowest 8×8 coefficients of the cosine transform (Zauner, *Implementation and Benchmarking of Perceptual Image
Hash Functions*, 2010). A mirror changes the signs of odd frequencies and a turn swaps the axes besides, so that the prints of all
eight positions come from one transform. Two prints that differ in at most :data:`NEAR` bits are equal in one of ``NEAR + 1`` bands:
only those are compared (multi-index hashing: Norouzi, Punjani and Fleet, CVPR 2012), and none is missed. Prints alone call images of
one kind the same (two chests); so what they point at counts only where the images are correlated at 16×16 detail as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["ALIKE", "ALIKE_TINY", "FLAT", "NEAR", "TINY", "Prints", "look_alikes", "print_distances", "take_prints"]

NEAR = 6
"""Bits of 63 in which the prints of the same picture may differ; measured, see docs/clean.md."""
ALIKE = 0.98
"""Least correlation of the two pictures at 16×16 detail; measured likewise."""
TINY, ALIKE_TINY = 16, 0.99
"""Pictures with a shorter side than this have little detail, and are held for the same only above this correlation."""
FLAT = 2.0
"""Standard deviation, in grey levels, below which a picture is nearly blank and has no print."""

SIDE, DETAIL = 8, 16
BITS = SIDE * SIDE - 1
ZERO = 1e-3
"""Share of a picture's norm below which a coefficient has no sign: symmetric pictures have many, of rounding errors only."""
BLOCK_BYTES = 32 * 2**20
BLOCK_PAIRS = 2**22
CHECKED = 2**14


@dataclass(frozen=True)
class Prints:
    """Of n pictures.

    Attributes:
        detail: (n, 16, 16) float32 coefficients by vertical and horizontal frequency, without the mean, of norm 1.
        flat: (n,) bool, nearly blank.
        square: whether a picture may be turned by 90 degrees and keep its shape.
        alike: least correlation of two of them that are the same.
    """

    detail: np.ndarray
    flat: np.ndarray
    square: bool
    alike: float

    @property
    def positions(self) -> list[tuple[bool, bool, bool]]:
        """(axes swapped, upside down, left for right) of the eight, or four, ways to lay a picture."""
        flips = [(down, right) for down in (False, True) for right in (False, True)]
        return [(swap, *flip) for swap in ((False, True) if self.square else (False,)) for flip in flips]

    def laid(self, rows: np.ndarray, position: tuple[bool, bool, bool], side: int = DETAIL) -> np.ndarray:
        """(m, side, side) coefficients of these pictures in another position."""
        swap, down, right = position
        found = self.detail[rows, :side, :side]
        if swap:
            found = found.transpose(0, 2, 1)
        odd = np.where(np.arange(side) % 2, np.float32(-1), np.float32(1))
        return found * (odd[:, None] if down else np.float32(1)) * (odd if right else np.float32(1))

    def bits(self, rows: np.ndarray, position: tuple[bool, bool, bool]) -> np.ndarray:
        """(m, 63) bool, the prints."""
        return (self.laid(rows, position, SIDE) > ZERO).reshape(len(rows), SIDE * SIDE)[:, 1:]  # also where all pictures are blank


def take_prints(images: Any, rows: np.ndarray) -> Prints:
    """The prints of some pictures, read in blocks.

    Args:
        images: (n, H, W, C) uint8: an array, a memory map or :class:`~benchmark.data.rows.ImageRows`.
        rows: (m,) int64, of which pictures.
    """
    height, width, channels = images.shape[1:]
    down, right = _cosines(height), _cosines(width)
    detail = np.empty((len(rows), DETAIL, DETAIL), dtype=np.float32)
    count = max(1, BLOCK_BYTES // (4 * height * width * channels))
    for start in range(0, len(rows), count):
        block = np.asarray(images[rows[start : start + count]])
        grey = block[..., 0].astype(np.float32) if channels == 1 else block.mean(axis=3, dtype=np.float32)
        detail[start : start + count] = down @ grey @ right.T
    detail[:, 0, 0] = 0
    norm = np.sqrt(np.einsum("nij,nij->n", detail, detail))
    detail /= np.maximum(norm, np.float32(1e-6))[:, None, None]
    alike = ALIKE_TINY if min(height, width) < TINY else ALIKE
    return Prints(detail, norm / np.sqrt(height * width) < FLAT, height == width, alike)


def _cosines(size: int) -> np.ndarray:
    """(16, size) float32: the first cosines, orthonormal; rows of zeros for frequencies that so few pixels do not have."""
    known = min(DETAIL, size)
    basis = np.zeros((DETAIL, size), dtype=np.float32)
    basis[:known] = np.cos(np.pi * np.arange(known)[:, None] * (np.arange(size) + 0.5) / size) * np.sqrt(2 / size)
    basis[0] /= np.sqrt(2)
    return basis


def look_alikes(prints: Prints) -> np.ndarray:
    """(n,) int64: pictures with the same number look alike, directly or by others between them.

    Takes time in proportion to the pairs of equal bands, which is far from all pairs unless all pictures are of one mould.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(prints.flat)
    group = np.arange(n)
    for first, position, second in _candidates(prints, group):
        for start in range(0, len(first), CHECKED):
            piece = slice(start, start + CHECKED)
            a, b, p = first[piece], second[piece], position[piece]
            open_ = group[a] != group[b]  # what is known needs no check
            a, b, p = a[open_], b[open_], p[open_]
            same = _correlation(prints, a, b, p) >= prints.alike
            if same.any():
                numbers, ends = np.unique(group[np.stack([a[same], b[same]])], return_inverse=True)
                ends = ends.reshape(2, -1)
                edges = coo_array((np.ones(ends.shape[1], dtype=np.int8), (ends[0], ends[1])), shape=(len(numbers), len(numbers)))
                joined = connected_components(edges, directed=False)[1]
                target = np.arange(n)
                lowest = np.full(joined.max() + 1, n)
                np.minimum.at(lowest, joined, numbers)
                target[numbers] = lowest[joined]
                group[:] = target[group]
    return group


def _correlation(prints: Prints, a: np.ndarray, b: np.ndarray, position: np.ndarray) -> np.ndarray:
    """(m,) correlation of pictures ``a``, in their positions, with pictures ``b``."""
    found = np.empty(len(a), dtype=np.float32)
    for place, laid in enumerate(prints.positions):
        here = np.flatnonzero(position == place)
        found[here] = np.einsum("nij,nij->n", prints.laid(a[here], laid), prints.detail[b[here]])
    return found


def _candidates(prints: Prints, group: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """First picture, its position, and second picture of pairs whose prints are near.

    Args:
        prints: of n pictures.
        group: (n,) int64, changed by the caller between two steps: pairs of one group are left out where that is cheap, so that a heap
            of pictures that are all the same costs little.
    """
    rows = np.flatnonzero(~prints.flat)
    n, places = len(rows), prints.positions
    laid = [prints.bits(rows, position) for position in places]
    words = np.concatenate([_word(bits) for bits in laid])
    keys = np.concatenate([_band_keys(bits) for bits in laid])
    for band in range(NEAR + 1):
        order, all_order = np.argsort(keys[:n, band], kind="stable"), np.argsort(keys[:, band], kind="stable")
        steps = np.arange(2 ** -(-BITS // (NEAR + 1)) + 1)
        edges, all_edges = np.searchsorted(keys[order, band], steps), np.searchsorted(keys[all_order, band], steps)
        for key in np.flatnonzero(np.diff(edges)):
            second = order[edges[key] : edges[key + 1]]
            bucket = all_order[all_edges[key] : all_edges[key + 1]]
            count = max(1, BLOCK_PAIRS // len(second))
            for start in range(0, len(bucket), count):
                first = bucket[start : start + count]
                known = group[rows[second]]
                if known[0] == known[-1] and (known == known[0]).all() and (group[rows[first % n]] == known[0]).all():
                    continue
                near = np.bitwise_count(words[first, None] ^ words[second]) <= NEAR
                near &= first[:, None] % n < second
                at, to = np.nonzero(near)
                a, b = first[at], second[to]
                fresh = ~(keys[a, :band] == keys[b, :band]).any(axis=1)  # else the pair came with an earlier band
                position, a = np.divmod(a[fresh], n)
                yield rows[a], position, rows[b[fresh]]


def _word(bits: np.ndarray) -> np.ndarray:
    """(m,) uint64 from (m, 63) bool."""
    padded = np.zeros((len(bits), 64), dtype=bool)
    padded[:, :BITS] = bits
    found: np.ndarray = np.packbits(padded, axis=1).view(np.uint64)[:, 0]
    return found


def _band_keys(bits: np.ndarray) -> np.ndarray:
    """(m, NEAR + 1) uint16: the bits dealt out like cards, so that every band has low and high frequencies."""
    keys = np.zeros((len(bits), NEAR + 1), dtype=np.uint16)
    for bit in range(BITS):
        keys[:, bit % (NEAR + 1)] |= bits[:, bit].astype(np.uint16) << np.uint16(bit // (NEAR + 1))
    return keys


def print_distances(prints: Prints, first: int, others: np.ndarray) -> np.ndarray:
    """(m,) int64 bits in which the prints of others differ from that of ``first``, each in its nearest position."""
    one = _word(prints.bits(np.array([first]), prints.positions[0]))
    found: np.ndarray = np.min([np.bitwise_count(_word(prints.bits(others, place)) ^ one) for place in prints.positions], axis=0)
    return found.astype(np.int64)
