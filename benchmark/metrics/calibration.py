"""Whether a probability means what it says."""

from __future__ import annotations

import numpy as np

BINS = 15
"""Equal-width bins of the calibration error, the number of Guo et al. (2017)."""

SMALLEST_PROBABILITY = 1e-12
"""Probabilities of the true class are clipped here from below, so that one zero costs 27.6 nats and not infinity."""


def calibration(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float | None]:
    """Top-label expected calibration error and negative log-likelihood.

    Args:
        labels: (t,) int64 true labels in [0, K).
        probabilities: (t, K) class probabilities in [0, 1].

    Returns:
        None where there is no sample or a probability is not finite, else

        - ``ece`` in [0, 1]: Σ_b (n_b / t) |accuracy_b − confidence_b| over :data:`BINS` bins (i/15, (i+1)/15] of the
          largest probability (Guo et al., On Calibration of Modern Neural Networks, 2017, eq. 3).
        - ``nll`` ≥ 0, in nats: mean −log p(true class), p clipped to [:data:`SMALLEST_PROBABILITY`, 1].
    """
    if labels.size == 0 or not np.isfinite(probabilities).all():
        return {"ece": None, "nll": None}
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bins = bins_of(confidence)
    # n_b · (accuracy_b − confidence_b) is the sum over the bin of (right − confidence): no division, no empty bins
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    p_true = probabilities[np.arange(labels.size), labels].astype(np.float64)
    nll = -np.log(np.clip(p_true, SMALLEST_PROBABILITY, 1.0)).mean()
    return {"ece": float(np.abs(gaps).sum() / labels.size), "nll": float(nll) + 0.0}  # + 0.0: no negative zero in the file


def bins_of(confidence: np.ndarray) -> np.ndarray:
    """(t,) int64 in [0, :data:`BINS`): the bin (i/15, (i+1)/15] of each confidence, (t,) float64 in [0, 1]; 0 is in the first."""
    bins: np.ndarray = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return bins
