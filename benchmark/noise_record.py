"""What is recorded of one draw of noise, so that a table can say which noise a method really met."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np


def record(true: np.ndarray, noisy: np.ndarray, num_classes: int, nominal_rate: float | None) -> dict[str, Any]:
    """Describe how the noisy labels differ from the true ones.

    Args:
        true: (n,) integer labels in [0, num_classes).
        noisy: (n,) integer labels in [0, num_classes).
        num_classes: K.
        nominal_rate: what the noise model was asked for; None where it takes no rate.

    Returns:
        JSON-serialisable:

        - ``nominal_rate``: as given.
        - ``realised_rate``: share of samples with ``noisy != true``; null if n = 0.
        - ``per_class_rate``: K such shares by true class; null for a class without samples.
        - ``matrix``: K rows of K, ``matrix[i][j]`` = share of true class i that carries label j; a row sums to 1, and the
          row of a class without samples holds K nulls (no identity is made up).
        - ``solvable``: True if in every class with samples the true label is strictly the most frequent one,
          ``T_ii > max_{j != i} T_ij``. Otherwise labels alone cannot tell right from wrong.
        - ``label_hash``: first 16 hex digits of sha256 over the noisy labels as little-endian int64; equal hashes mean
          that two runs met the same labels.

    Raises:
        ValueError: different lengths, or labels outside [0, num_classes).
    """
    if true.shape != noisy.shape or true.ndim != 1:
        raise ValueError(f"true and noisy labels must be one-dimensional and equally long, not {true.shape} and {noisy.shape}")
    for labels in (true, noisy):
        if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
            raise ValueError(f"labels must lie in [0, {num_classes})")
    pairs = true.astype(np.int64) * num_classes + noisy
    counts = np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    totals, right = counts.sum(axis=1), counts.diagonal()
    present = totals > 0
    rivals = counts.copy()
    np.fill_diagonal(rivals, 0)
    matrix = counts / np.maximum(totals, 1)[:, None]
    return {
        "nominal_rate": None if nominal_rate is None else float(nominal_rate),
        "realised_rate": float((true.size - right.sum()) / true.size) if true.size else None,
        "per_class_rate": [float((n - k) / n) if n else None for n, k in zip(totals.tolist(), right.tolist(), strict=True)],
        "matrix": [row if there else [None] * num_classes for row, there in zip(matrix.tolist(), present.tolist(), strict=True)],
        "solvable": bool((right > rivals.max(axis=1, initial=0))[present].all()),
        "label_hash": hashlib.sha256(np.ascontiguousarray(noisy, dtype="<i8").data).hexdigest()[:16],
    }
