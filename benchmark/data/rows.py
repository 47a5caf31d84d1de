"""Some rows of an array of images, picked when they are asked for: the array may be a file larger than memory."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

LOOKED_AT = 64
"""So many images tell one array from another."""


class ImageRows:
    """``array[positions]`` without the copy.

    Args:
        array: (N, H, W, C) uint8 images or (N, D) float32 features, in memory or memory-mapped.
        positions: (n,) int64.
        replaced: rows (m,) int64 of these n and what stands in their place, (m, H, W, C) or (m, D).
    """

    def __init__(self, array: np.ndarray, positions: np.ndarray, replaced: tuple[np.ndarray, np.ndarray] | None = None) -> None:
        self.array, self.positions = array, positions
        self._plain = np.asarray(array)  # the same memory or file, without what np.memmap does at every pick
        self._place: np.ndarray | None = None
        if replaced is not None:
            self._place = np.full(len(positions), -1, dtype=np.int64)
            self._place[replaced[0]] = np.arange(len(replaced[0]))
            self._others = replaced[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, H, W, C) or (n, D)."""
        return (len(self.positions), *self.array.shape[1:])

    @property
    def file(self) -> Path | None:
        """The file that the array is mapped from; None for an array in memory."""
        name = self.array.filename if isinstance(self.array, np.memmap) else None
        return None if name is None else Path(name)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, rows: slice | np.ndarray | int) -> np.ndarray:
        """A copy of these rows; of one row, without the first axis, where ``rows`` is a number."""
        if isinstance(rows, (int, np.integer)):
            return self[np.array([rows])][0]  # picked by a number it would be a view, and what is written to it the data's
        picked: np.ndarray = self._plain[self.positions[rows]]
        if self._place is not None:
            place = self._place[rows]
            picked[place >= 0] = self._others[place[place >= 0]]
        return picked


def sampled_digest(images: np.ndarray) -> str:
    """64 hex digits over the shape and some images, evenly spaced: cheap for arrays larger than memory, too.

    For the names of caches, beside the identity of the data: a data set whose code changed may have the one it had before.
    """
    rows = np.linspace(0, len(images) - 1, min(len(images), LOOKED_AT)).astype(np.int64)
    return hashlib.sha256(str(images.shape).encode() + np.ascontiguousarray(images[rows]).tobytes()).hexdigest()
