"""Which clean samples survive when a ranking is used to remove wrong labels: a curve over the share that is removed.

A single threshold mixes two things, how many labels a method distrusts and which. Here every method removes the same share
of the wrong labels, however many clean ones it has to take along for it, and what is counted is the clean ones left.
"""

from __future__ import annotations

import numpy as np

GRID = np.arange(1, 21) / 20
"""Shares of removed wrong labels, 5 % to 100 %: where curves and areas are evaluated."""
TOLERANCE = 1e-9
"""Of a count of wrong labels: 0.55 × 100 is 55.00000000000001 as a float, and means 55."""


def retention(
    given: np.ndarray, true: np.ndarray, quality: np.ndarray, hard: np.ndarray | None = None, removed: np.ndarray = GRID
) -> np.ndarray:
    """Share of the clean and hard samples that is left once a share of the wrong labels is removed.

    Samples are removed one by one, lowest quality first; among equals the one with the smaller index comes first, as in
    :func:`benchmark.metrics.detection.lowest`. Ties are therefore never removed as a block: where one straddles the point,
    the samples up to the wrong label that completes the share are gone and the rest of the tie is kept. A ranking that is
    one single tie is the ranking by index.

    Args:
        given, true: (n,) int64 labels; a label is wrong when they differ.
        quality: (n,) scores, higher = the given label is more likely right. Infinities are ranks like others.
        hard: (n,) bool, the samples that count if they are clean, e.g. :func:`~benchmark.metrics.detection.is_hard`; None
            counts all clean samples.
        removed: (q,) shares of the wrong labels in [0, 1]; of w wrong labels the share s is ⌈s·w⌉ of them.

    Returns:
        (q,) float64 in [0, 1], falling with ``removed``. A perfect ranking has 1 everywhere; a random one has 1 − k / (w + 1)
        on average at k removed wrong labels, about 1 − ``removed``. All NaN where the share is undefined: no wrong label, no
        sample that is clean and hard, or a quality that is NaN.

    Raises:
        ValueError: shares outside [0, 1], or arrays of different lengths.
    """
    removed = np.asarray(removed, dtype=np.float64)
    if not ((removed >= 0) & (removed <= 1)).all():
        raise ValueError(f"shares of removed wrong labels lie in [0, 1], not {removed.tolist()}")
    lengths = {array.shape for array in (given, true, quality, hard) if array is not None}
    if len(lengths) > 1:
        raise ValueError(f"labels, quality and hardness differ in shape: {', '.join(map(str, sorted(lengths)))}")
    wrong = given != true
    counted = ~wrong if hard is None else ~wrong & hard.astype(bool)
    if not wrong.any() or not counted.any() or np.isnan(quality).any():
        return np.full(removed.shape, np.nan)
    order = np.argsort(quality, kind="stable")
    needed = np.ceil(removed * wrong.sum() - TOLERANCE).astype(np.int64)
    # depth of the k-th wrong label in the ranking, counted from 1; nothing is removed for k = 0
    depth = np.concatenate([[0], np.flatnonzero(wrong[order]) + 1])[needed]
    lost = np.concatenate([[0], np.cumsum(counted[order])])[depth]
    share: np.ndarray = 1 - lost / counted.sum()
    return share


def area(curve: np.ndarray) -> float:
    """A curve as one number: its mean over the grid, which on :data:`GRID` is 1 for a perfect ranking and 0.475 for a random one.

    Args:
        curve: (q,) from :func:`retention`.

    Returns:
        A float in [0, 1]; NaN where the curve is.
    """
    return float(np.mean(curve))
