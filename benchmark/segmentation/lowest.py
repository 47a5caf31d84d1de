"""The pixels of lowest quality of whole sets, by partition: to sort them takes forty bytes a pixel."""

from __future__ import annotations

import math

import numpy as np

from benchmark.segmentation import VOID


def lowest_pixels(quality: np.ndarray, labels: np.ndarray, share: float, classes: int | None = None) -> np.ndarray:
    """(n, T, H, W) bool: of each task's pixels, or of those of each of its classes, the share of lowest quality; void ones never.

    Of b pixels ⌊(1 − share) · b⌋ are not chosen, one at least, as where :func:`~benchmark.segmentation.losses.keep_pixels` trains. Among
    equal ones the last are chosen. Memory beyond the result: ten bytes for each pixel of one task.

    Args:
        quality: (n, T, H, W) floating, finite; higher = the label is more likely right.
        labels: (n, T, H, W) class ids, 255 void.
        share: in [0, 1).
        classes: J, to choose within each class; None: within all.
    """
    chosen = np.zeros(labels.shape, dtype=bool)
    for task in range(labels.shape[1]):
        scores, given = quality[:, task], labels[:, task]
        for j in range(classes or 1):
            among = given == j if classes else given != VOID
            values = scores[among]  # a copy, which the partition may spoil
            count = values.size - max(1, math.floor((1 - share) * values.size + 1e-6))
            if count <= 0:
                continue
            values.partition(count - 1)
            bound = values[count - 1]
            missing = count - int(np.count_nonzero(values[:count] < bound))
            del values
            chosen[:, task] = chosen[:, task] | (among & (scores < bound))
            level = np.flatnonzero(among & (scores == bound))
            rows = np.unravel_index(level[level.size - missing :], given.shape)
            chosen[:, task][rows] = True
    return chosen
