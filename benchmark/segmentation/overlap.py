"""How much masks cover each other. It chooses epochs, so it is not among the metrics, which can be computed again at any time."""

from __future__ import annotations

import numpy as np

from benchmark.segmentation import VOID


def overlap(predicted: np.ndarray, true: np.ndarray, num_classes: int) -> dict[str, np.ndarray]:
    """Dice coefficient and intersection over union, of each image on its own.

    Args:
        predicted, true: (n, T, H, W) class ids in [0, J); 255 in ``true`` is void.
        num_classes: J.

    Returns:
        ``dice`` = 2|A∩B| / (|A|+|B|) and ``iou`` = |A∩B| / |A∪B|, (n, T, J − 1) float64 in [0, 1], of the classes 1 … J − 1. Two empty
        masks agree: 1.
    """
    known = true != VOID
    shape = (*true.shape[:2], num_classes - 1)
    shared, total = np.empty(shape), np.empty(shape)
    for index in range(num_classes - 1):
        ours, theirs = (predicted == index + 1) & known, true == index + 1
        shared[..., index] = np.count_nonzero(ours & theirs, axis=(2, 3))
        total[..., index] = np.count_nonzero(ours, axis=(2, 3)) + np.count_nonzero(theirs, axis=(2, 3))
    empty = total == 0
    return {
        "dice": np.where(empty, 1.0, 2 * shared / np.where(empty, 1, total)),
        "iou": np.where(empty, 1.0, shared / np.where(empty, 1, total - shared)),
    }
