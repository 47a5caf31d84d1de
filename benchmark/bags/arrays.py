"""A data set of bags as plain arrays, before splits and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BagArrays:
    """n bags (slides) with N tiles in one table.

    Attributes:
        tiles: (N, D) float32 features or (N, H, W, C) uint8 pixels, C = 1 or 3; sorted by bag, may be memory-mapped.
        offsets: (n + 1,) int64, from 0 to N, strictly rising: tiles of bag i are ``offsets[i]:offsets[i + 1]``.
        labels: (n,) int64, 0 or 1: the bags' labels.
        names: n unique names of the bags (slide ids).
        classes: the names of the two labels.
        split: (n,) int8 codes of :data:`~benchmark.api.SPLITS`; None leaves the split to the harness.
        groups: (n,) int64 ids of patients, which no split tears apart; None: every bag is its own.
        tile_labels: (N,) int8 truth of the tiles, 0 or 1, -1 where unknown; None: unknown. For evaluation only.
        positions: (N, 2) int64 x and y of the tiles in their slide, in tiles or pixels; None: unknown.
        tile_names: N names, where tiles come from files.
    """

    tiles: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    names: Sequence[str]
    classes: tuple[str, ...] = ("negative", "positive")
    split: np.ndarray | None = None
    groups: np.ndarray | None = None
    tile_labels: np.ndarray | None = None
    positions: np.ndarray | None = None
    tile_names: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def clean_labels(self) -> None:
        """None: bags have no reference beside their labels."""

    @property
    def images(self) -> np.ndarray:
        """What features are made of: the tiles."""
        return self.tiles

    @property
    def paths(self) -> Sequence[str]:
        """What a bag is called in samples.parquet: its name."""
        return self.names

    @property
    def bag_of_tile(self) -> np.ndarray:
        """(N,) int64: the bag of each tile."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))
