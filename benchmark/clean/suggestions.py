"""Which class a sample has instead, and how many samples of one class were given another: what the final models say together."""

from __future__ import annotations

import numpy as np

__all__ = ["confusion", "pooled", "suggest"]


def pooled(suggested: np.ndarray, confidence: np.ndarray, weights: np.ndarray, classes: int) -> np.ndarray:
    """(n, K) float64 probabilities: every model's for its class, the rest shared out among the others, in a weighted mean.

    Args:
        suggested: (m, n) int64. confidence: (m, n). weights: (m,), summing to 1. classes: K ≥ 2.
    """
    n = suggested.shape[1]
    rest = (1 - confidence) / (classes - 1)
    found = np.repeat((weights @ rest)[:, None], classes, axis=1)
    for weight, names, sure, other in zip(weights, suggested, confidence, rest, strict=True):
        found[np.arange(n), names] += weight * (sure - other)
    return found


def suggest(probability: np.ndarray, given: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) int64 most likely class, and (n,) float64 its probability; the given one is out where ``wrong`` is above a half."""
    rows = np.arange(len(given))
    allowed = probability.copy()
    likely = wrong > 0.5
    allowed[rows[likely], given[likely]] = -1.0
    best = allowed.argmax(axis=1)
    return best, probability[rows, best]


def confusion(probability: np.ndarray, given: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """(K, K) float64: expected number of samples by given (row) and true class (column).

    A sample counts for its given class with the probability that the label is right; the rest goes to the other classes as the models
    share it out.
    """
    n, classes = probability.shape
    rows = np.arange(n)
    others = probability.copy()
    others[rows, given] = 0.0
    total = others.sum(axis=1, keepdims=True)
    even = np.full_like(others, 1 / (classes - 1))
    even[rows, given] = 0.0
    others = wrong[:, None] * np.divide(others, total, out=even, where=total > 1e-12)
    others[rows, given] += 1 - wrong
    counts = np.zeros((classes, classes))
    np.add.at(counts, given, others)
    return counts
