"""How much masks cover each other. It chooses epochs, so it is not among the metrics, which can be computed again at any time."""

from __future__ import annotations

import numpy as np

from benchmark.segmentation import VOID


def overlap(predicted: np.ndarray, true: np.ndarray, num_classes: int) -> dict[str, np.ndarray]:
    """Dice coefficient and intersection over union, of each image on its own.

    Args:
        predicted, true: (n, T, H, W) class ids in [0, J), 255 void; a pixel that is void in either is not compared.
        num_classes: J.

    Returns:
        ``dice`` = 2|A∩B| / (|A|+|B|) and ``iou`` = |A∩B| / |A∪B|, (n, T, J − 1) float64 in [0, 1], of the classes 1 … J − 1. Two empty
        masks agree: 1. NaN where no pixel of a mask is compared: that is no agreement.
    """
    known = (true != VOID) & (predicted != VOID)
    shape = (*true.shape[:2], num_classes - 1)
    shared, total = np.empty(shape), np.empty(shape)
    for index in range(num_classes - 1):
        ours, theirs = (predicted == index + 1) & known, (true == index + 1) & known
        shared[..., index] = np.count_nonzero(ours & theirs, axis=(2, 3))
        total[..., index] = np.count_nonzero(ours, axis=(2, 3)) + np.count_nonzero(theirs, axis=(2, 3))
    empty = total == 0
    of_empty = np.where(known.any(axis=(2, 3)), 1.0, np.nan)[..., None]
    return {
        "dice": np.where(empty, of_empty, 2 * shared / np.where(empty, 1, total)),
        "iou": np.where(empty, of_empty, shared / np.where(empty, 1, total - shared)),
    }


def image_means(values: np.ndarray) -> np.ndarray:
    """(n,) float64 from (n, …): the mean of an image's values that are not NaN; NaN where all are."""
    flat = values.reshape(len(values), -1)
    known = ~np.isnan(flat)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, flat, 0).sum(axis=1) / np.maximum(count, 1), np.nan)


def mean_dice(predicted: np.ndarray, true: np.ndarray, num_classes: int) -> float | None:
    """The mean Dice of an image's objects, and then over the images; None where no pixel is compared."""
    dice = image_means(overlap(predicted, true, num_classes)["dice"])
    known = ~np.isnan(dice)
    return float(dice[known].mean()) if known.any() else None
