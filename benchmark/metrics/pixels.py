"""How well a method finds the wrong pixels of given masks and the images that hold them, and what its pixel probabilities mean.

Arrays are those of :mod:`benchmark.segmentation`. A pixel that is void in either mask counts nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.metrics.calibration import BINS, bins_of
from benchmark.metrics.detection import detection
from benchmark.seeds import numpy_generator
from benchmark.segmentation import VOID

RANKED_PIXELS = 1_000_000
"""Rank metrics look at no more pixels than this: sorting them is the whole cost, and where 1 in 100 is wrong these are 10,000."""

LOW_DICE = 0.95
"""A given mask that agrees less than this with the truth is one to be found."""


def pixel_detection(
    given: np.ndarray, true: np.ndarray, flagged: np.ndarray | None = None, quality: np.ndarray | None = None
) -> dict[str, float | None]:
    """Detection of wrong pixels (the positive class: ``given != true``), all pixels of all images and tasks pooled (micro).

    Args:
        given, true: (n, T, H, W) class ids; slice the second axis for one task alone.
        flagged: (n, T, H, W) bool, True = held for wrong.
        quality: (n, T, H, W) scores, higher = the given label is more likely right.

    Returns:
        What :func:`~benchmark.metrics.detection.detection` returns: ``precision``, ``recall``, ``f1``, ``flagged``, ``auroc``,
        ``average_precision`` and the constants to read them against, ``constant_f1`` and ``random_average_precision``. Where there are
        more than :data:`RANKED_PIXELS` pixels, ``auroc`` and ``average_precision`` are those of as many that are drawn without
        replacement by a generator that depends on their number alone; everything else is exact.
    """
    known = (given != VOID) & (true != VOID)
    given, true = given[known], true[known]
    values = detection(given, true, suspect=None if flagged is None else np.asarray(flagged, dtype=bool)[known])
    if quality is not None:
        quality = quality[known]
        if quality.size > RANKED_PIXELS and not np.isnan(quality).any():
            drawn = numpy_generator("ranked pixels", quality.size).choice(quality.size, RANKED_PIXELS, replace=False, shuffle=False)
            given, true, quality = given[drawn], true[drawn], quality[drawn]
        ranks = detection(given, true, quality)
        values |= {name: ranks[name] for name in ("auroc", "average_precision")}
    return values


def pixel_detection_by_class(
    given: np.ndarray, true: np.ndarray, flagged: np.ndarray, tasks: Sequence[str], num_classes: int
) -> dict[str, float | None]:
    """``precision/<task>/<j>`` and ``recall/<task>/<j>`` among the pixels whose given class is j.

    Rare classes are flagged too often by class thresholds (confident learning), which the pooled numbers do not show.

    Args:
        given, true, flagged: as in :func:`pixel_detection`.
        tasks: T names.
        num_classes: J.
    """
    values: dict[str, float | None] = {}
    for index, task in enumerate(tasks):
        for j in range(num_classes):
            of_class = (given[:, index] == j) & (true[:, index] != VOID)
            wrong, flags = true[:, index][of_class] != j, np.asarray(flagged[:, index], dtype=bool)[of_class]
            hits = int((wrong & flags).sum())
            for name, total in (("precision", int(flags.sum())), ("recall", int(wrong.sum()))):
                values[f"{name}/{task}/{j}"] = hits / total if total else None
    return values


def pixel_calibration(true: np.ndarray, probabilities: np.ndarray) -> dict[str, float | None]:
    """Top-label expected calibration error of the pixels, tasks pooled.

    Args:
        true: (n, T, H, W) class ids.
        probabilities: (n, T, J, H, W), any floating type.

    Returns:
        ``ece`` in [0, 1], as in :func:`~benchmark.metrics.calibration.calibration`; None if every pixel is void or a probability is not
        finite.
    """
    gaps, total = np.zeros(BINS), 0
    for labels, forecast in zip(true, probabilities, strict=True):  # image by image: half precision stays half as large
        if not np.isfinite(forecast).all():
            return {"ece": None}
        known = labels != VOID
        confidence = forecast.max(axis=1)[known].astype(np.float64)
        right = forecast.argmax(axis=1)[known] == labels[known]
        gaps += np.bincount(bins_of(confidence), weights=right - confidence, minlength=BINS)
        total += confidence.size
    return {"ece": float(np.abs(gaps).sum() / total) if total else None}


def image_ranking(quality: np.ndarray, dice_of_given: np.ndarray, threshold: float = LOW_DICE) -> dict[str, float | None]:
    """How well a label quality per image puts the worst masks first.

    Args:
        quality: (n,) scores, higher = the given mask is more likely right.
        dice_of_given: (n,) Dice of the given mask against the truth; NaN = unknown, left out.
        threshold: a mask is wrong (the positive class) when its Dice is below this.

    Returns:
        ``auroc`` and ``average_precision`` of the wrong masks, ``random_average_precision`` (their share; None if none is wrong), and
        ``spearman`` in [−1, 1], the rank correlation of quality and Dice. None where undefined: no or only wrong masks, a NaN
        among the scores, and for ``spearman`` fewer than two images or a constant.
    """
    known = ~np.isnan(dice_of_given)
    quality, dice = np.asarray(quality, dtype=np.float64)[known], dice_of_given[known]
    ranks = detection((dice < threshold).astype(np.int64), np.zeros(dice.size, dtype=np.int64), quality)
    values = {name: ranks[name] for name in ("auroc", "average_precision", "random_average_precision")}
    values["spearman"] = None
    if dice.size > 1 and not np.isnan(quality).any() and np.unique(quality).size > 1 and np.unique(dice).size > 1:
        from scipy.stats import spearmanr

        values["spearman"] = float(spearmanr(quality, dice).statistic)
    return values
