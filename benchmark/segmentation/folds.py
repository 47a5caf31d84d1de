"""Two folds for cross-prediction: no patient is in both, so that every prediction is out of sample."""

from __future__ import annotations

import numpy as np

from benchmark.errors import BenchmarkError


def halves(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Split images into two folds by patient, in sizes that are as even as whole patients allow.

    Args:
        groups: (n,) ids of patients; each image its own where there are none.
        rng: decides which of the even splits it is, and which fold is which.

    Returns:
        (n,) int64 of 0 and 1, both of which occur.

    Raises:
        BenchmarkError: fewer than two images or patients.
    """
    _, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        found = f"{len(groups)} images of {len(sizes)} patient" if len(groups) > 1 else f"{len(groups)} image"
        raise BenchmarkError(f"two folds need images of at least two patients, found {found}; use more training data")
    order = rng.permutation(len(sizes))
    # bit s of reachable[k]: some of the first k patients have s images together
    reachable = [1]
    for size in sizes[order].tolist():
        reachable.append(reachable[-1] | reachable[-1] << size)
    half = len(groups) // 2
    total = half - next(gap for gap in range(half) if reachable[-1] >> (half - gap) & 1)
    chosen = np.zeros(len(sizes), dtype=np.int64)
    for k in range(len(order) - 1, -1, -1):
        size = int(sizes[order[k]])
        without, within = reachable[k] >> total & 1, size <= total and reachable[k] >> (total - size) & 1
        if within and (not without or rng.random() < 0.5):
            chosen[order[k]], total = 1, total - size
    if rng.random() < 0.5:
        chosen = 1 - chosen
    return chosen[inverse.reshape(-1)]
