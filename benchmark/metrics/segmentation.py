"""How well masks agree, image by image: overlap, and the distance between outlines.

Arrays are those of :mod:`benchmark.segmentation`: (n, T, H, W) class ids, 255 = void in the truth. The background (class 0) has no
entry; void pixels belong to no object, of the prediction neither.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.segmentation import VOID
from benchmark.segmentation.overlap import overlap

HAUSDORFF_PERCENTILE = 95
"""Percentile of the surface distances that stands for their maximum, which one stray pixel would decide."""

TOLERANCE = 2.0
"""Outlines that are at most this far apart (in pixels, or in units of the spacing) agree."""

NAMES = ("dice", "iou", "hd95", "surface_dice")


def surfaces(
    predicted: np.ndarray, true: np.ndarray, num_classes: int, spacing: np.ndarray | None = None, tolerance: float = TOLERANCE
) -> dict[str, np.ndarray]:
    """Distances between outlines, of each image on its own.

    The outline of a mask is its pixels that have a neighbour outside it (of four; beyond the edge of the image is outside).

    Args:
        predicted, true, num_classes: as in :func:`overlap`.
        spacing: (2,) or (n, 2) height and width of a pixel; distances are then in its unit. None: pixels.
        tolerance: of ``surface_dice``, in the same unit.

    Returns:
        (n, T, J − 1) float64:

        - ``hd95`` ≥ 0: the larger of the two directed 95th percentiles of the distance from one outline to the other; 0 for two empty
          masks, NaN if just one is empty.
        - ``surface_dice`` in [0, 1]: share of the pixels of both outlines that are at most ``tolerance`` from the other outline
          (Nikolov et al. 2018, with pixels in the place of surface elements); 1 for two empty masks, 0 if just one is empty.

        Both are NaN where a mask is void throughout.
    """
    n, tasks = true.shape[:2]
    values = {name: np.empty((n, tasks, num_classes - 1)) for name in ("hd95", "surface_dice")}
    sampling = np.broadcast_to(np.ones(2) if spacing is None else np.asarray(spacing, dtype=np.float64), (n, 2))
    for place in np.ndindex(n, tasks):
        known = true[place] != VOID
        if not known.any():
            values["hd95"][place] = values["surface_dice"][place] = np.nan
            continue
        for index in range(num_classes - 1):
            pair = (predicted[place] == index + 1) & known, true[place] == index + 1
            values["hd95"][*place, index], values["surface_dice"][*place, index] = _surface(*pair, sampling[place[0]], tolerance)
    return values


def segmentation(
    predicted: np.ndarray,
    true: np.ndarray,
    organs: Sequence[str],
    num_classes: int = 2,
    spacing: np.ndarray | None = None,
    tolerance: float = TOLERANCE,
) -> dict[str, float | None]:
    """All of :func:`overlap` and :func:`surfaces` as means over images.

    Args:
        predicted, true, num_classes, spacing, tolerance: as there.
        organs: the T·(J − 1) names of the objects, task by task and then class by class.

    Returns:
        ``dice``, ``iou``, ``hd95``, ``surface_dice``: the mean of an image's objects, and then the mean over the images;
        ``<metric>/<organ>``: the mean over the images of one object. ``missed`` and ``missed/<organ>``: how many masks have no ``hd95``
        because just one of the two is empty; they stand in no mean of ``hd95``. Masks that are void throughout stand in no
        mean at all. None where there is nothing to take a mean of.
    """
    every = {**overlap(predicted, true, num_classes), **surfaces(predicted, true, num_classes, spacing, tolerance)}
    values: dict[str, float | None] = {}
    for name in NAMES:
        of_image = every[name].reshape(len(true), len(organs))
        values[name] = _mean(np.array([_mean(row) for row in of_image], dtype=np.float64))  # None becomes NaN
        values |= {f"{name}/{organ}": _mean(of_image[:, index]) for index, organ in enumerate(organs)}
    missed = (np.isnan(every["hd95"]) & ~np.isnan(every["dice"])).reshape(len(true), len(organs)).sum(axis=0)
    values["missed"] = float(missed.sum())
    return values | {f"missed/{organ}": float(count) for organ, count in zip(organs, missed, strict=True)}


def _surface(ours: np.ndarray, theirs: np.ndarray, sampling: np.ndarray, tolerance: float) -> tuple[float, float]:
    """``hd95`` and ``surface_dice`` of two (H, W) bool masks."""
    from scipy import ndimage

    either = ours | theirs
    if not either.any():
        return 0.0, 1.0
    if not (ours.any() and theirs.any()):
        return np.nan, 0.0
    # no distance between the outlines leaves the box around both
    rows, columns = np.flatnonzero(either.any(axis=1)), np.flatnonzero(either.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    outlines = [mask[box] & ~ndimage.binary_erosion(mask[box]) for mask in (ours, theirs)]
    first, second = (ndimage.distance_transform_edt(~other, sampling=sampling)[outline] for outline, other in (outlines, outlines[::-1]))
    near = np.count_nonzero(first <= tolerance) + np.count_nonzero(second <= tolerance)
    hausdorff = max(np.percentile(first, HAUSDORFF_PERCENTILE), np.percentile(second, HAUSDORFF_PERCENTILE))
    return float(hausdorff), near / (first.size + second.size)


def _mean(values: np.ndarray) -> float | None:
    """The mean of what is not NaN, None if nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None
