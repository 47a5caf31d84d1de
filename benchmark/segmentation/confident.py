"""Confident learning on pixels: which of them carry a label that out-of-sample predictions contradict.

Northcutt et al., Confident Learning, JAIR 2021; on masks Zhang et al., Characterizing Label Errors, MICCAI 2020. Pixels of all images
are pooled, task by task and fold by fold: the thresholds are means over what one network predicts. Two classes are counted here with
one partition a class, more by cleanlab; both give cleanlab's sets.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from benchmark.errors import unknown_name
from benchmark.segmentation import VOID
from benchmark.segmentation.checks import check, task_names

METHODS = (
    "both", "prune_by_class", "prune_by_noise_rate", "confident_learning", "predicted_neq_given", "low_normalized_margin",
    "low_self_confidence",
)  # fmt: skip
"""Cleanlab's ``filter_by``. With two classes the first three are one: the margin rises with the self-confidence, and the counts agree."""

CLOSE = 1e-6
"""Cleanlab's tolerance: a probability this close to a threshold is above it, and a label this close to the prediction agrees with it."""


def confident_maps(
    labels: np.ndarray,
    probabilities: np.ndarray,
    folds: np.ndarray | None = None,
    method: str = "both",
    tasks: Sequence[str] | None = None,
) -> np.ndarray:
    """Pixels held for wrong.

    Args:
        labels: (n, T, H, W) integer given class ids in [0, J), 255 = void.
        probabilities: (n, T, J, H, W) floating, of networks that have not seen the image. Probabilities that are rounded (half
            precision, a saturated softmax) have ties, among which the choice is arbitrary.
        folds: (n,) which network predicted an image; each is judged by its own thresholds. None: one network.
        method: one of :data:`METHODS`.
        tasks: T names for errors. None: numbers.

    Returns:
        (n, T, H, W) bool; void pixels are not flagged.

    Raises:
        BenchmarkError: an unknown method; and what :func:`benchmark.segmentation.checks.check` refuses, in any fold.
    """
    if method not in METHODS:
        raise unknown_name("way to flag pixels", method, METHODS)
    names = task_names(tasks, labels)
    flagged = np.zeros(labels.shape, dtype=bool)
    for fold in [None] if folds is None else np.unique(folds).tolist():
        part = slice(None) if fold is None else np.asarray(folds) == fold
        given, forecast = labels[part], probabilities[part]
        check(given, forecast, names, where="" if fold is None else f" of fold {fold}")
        flag = _binary if forecast.shape[2] == 2 else _several
        flagged[part] = np.stack([flag(given[:, t], forecast[:, t], method) for t in range(given.shape[1])], axis=1)
    return flagged


def _binary(labels: np.ndarray, probabilities: np.ndarray, method: str) -> np.ndarray:
    """(n, H, W) bool from (n, H, W) labels and (n, 2, H, W) probabilities; of each class the pixels in order, never a copy of all."""
    given = [labels == i for i in (0, 1)]
    own, other = ([_single(probabilities[:, i ^ swap][given[i]]) for i in (0, 1)] for swap in (0, 1))
    # like cleanlab's in number format and order of summation: a pixel at a threshold is counted alike
    sure = np.clip(np.array([p.mean() for p in own]), 2 * CLOSE, None) - CLOSE
    joint = np.zeros((2, 2))
    crossed, contradicted = [], []
    for i in (0, 1):
        sure_own, sure_other = own[i] >= sure[i], other[i] >= sure[1 - i]
        # equal probabilities are class 0's
        ahead = other[i] > own[i] if i == 0 else other[i] >= own[i]
        crossed.append(sure_other & (ahead | ~sure_own))
        joint[i, 1 - i] = np.count_nonzero(crossed[i])
        joint[i, i] = max(np.count_nonzero(sure_own | sure_other) - joint[i, 1 - i], 1)
        contradicted.append(other[i] > own[i] + CLOSE if i == 0 else other[i] >= own[i] + CLOSE)
    if method == "confident_learning":
        flags = [a & b for a, b in zip(crossed, contradicted, strict=True)]
    elif method == "predicted_neq_given":
        flags = contradicted
    elif method in ("low_normalized_margin", "low_self_confidence"):
        scores = [a if method == "low_self_confidence" else a - b for a, b in zip(own, other, strict=True)]
        count = sum(int(np.count_nonzero(a & b)) for a, b in zip(crossed, contradicted, strict=True))
        flags = np.split(_lowest(np.concatenate(scores), count), [own[0].size])
    else:
        calibrated = _calibrated(joint, np.array([p.size for p in own]))
        counts = [p.size - max(int(calibrated[i, i]), 1) for i, p in enumerate(own)]
        flags = [_lowest(own[i], counts[i]) & contradicted[i] for i in (0, 1)]
    flagged = np.zeros(labels.shape, dtype=bool)
    for where, flag in zip(given, flags, strict=True):
        flagged[where] = flag
    return flagged


def _several(labels: np.ndarray, probabilities: np.ndarray, method: str) -> np.ndarray:
    """(n, H, W) bool from (n, H, W) labels and (n, J, H, W) probabilities, by cleanlab."""
    from cleanlab import filter as cleanlab_filter

    known = labels != VOID
    flagged = np.zeros(labels.shape, dtype=bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class without a pixel has none to flag
        flagged[known] = cleanlab_filter.find_label_issues(
            labels[known].astype(np.int64), _single(np.moveaxis(probabilities, 1, -1)[known]), filter_by=method, n_jobs=1
        )
    # cleanlab shares these with its worker processes and keeps them: a copy of all probabilities
    cleanlab_filter.pred_probs_by_class, cleanlab_filter.prune_count_matrix_cols = {}, {}
    return flagged


def _single(probabilities: np.ndarray) -> np.ndarray:
    """Half precision as float32, others as they are."""
    return probabilities.astype(np.float32) if probabilities.itemsize < np.dtype(np.float32).itemsize else probabilities


def _lowest(scores: np.ndarray, count: int) -> np.ndarray:
    """(n,) bool: the ``count`` lowest; among equals any."""
    flags = np.zeros(scores.size, dtype=bool)
    if count >= scores.size:
        return ~flags
    flags[np.argpartition(scores, count)[:count]] = True
    return flags


def _calibrated(joint: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(2, 2) the confident joint scaled to ``counts`` labels of each class, in whole pixels: a row keeps its sum."""
    scaled = (joint.T / joint.sum(axis=1) * counts).T
    scaled = scaled / scaled.sum() * counts.sum()
    whole = scaled.round()
    for row, exact, total in zip(whole, scaled, scaled.sum(axis=1).round(), strict=True):
        gap = total - row.sum()
        if gap:  # both halves were rounded to even; cleanlab settles it for the second
            row[np.argsort(exact - row, kind="stable")[-1 if gap > 0 else 0]] += gap
    return whole
