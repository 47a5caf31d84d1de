"""A segmentation data set as plain arrays, before splits and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MaskArrays:
    """Images with the masks of T independent tasks of J classes each.

    A multi-class map is one task of K classes; organs that overlap are one task each, of two classes.

    Attributes:
        images: (n, H, W, C) uint8, C = 1 or 3.
        labels: (n, T, H, W) uint8 class ids in [0, J), 255 void.
        tasks: T names.
        classes: J names; the first is the background.
        clean_labels: (n, T, H, W) uint8, the reference, where it differs from ``labels``; None when ``labels`` are the truth.
        split: (n,) int8 codes of :data:`~benchmark.api.SPLITS`; None leaves the split to the harness.
        groups: (n,) int64 ids of patients or slides, which no split tears apart; None: every image is its own.
        paths: n file names, where images come from files.
    """

    images: np.ndarray
    labels: np.ndarray
    tasks: tuple[str, ...]
    classes: tuple[str, ...]
    clean_labels: np.ndarray | None = None
    split: np.ndarray | None = None
    groups: np.ndarray | None = None
    paths: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.images)
