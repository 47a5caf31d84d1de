"""One ranking out of several methods': the weighted mean of the logits of their ranks, weights learnt on known wrong labels.

Held-out samples have weights of their own: they are judged by other numbers, one forecast in place of a history of training, and a method
may be good at these alone. How this was chosen among others is told in ``docs/clean.md``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

__all__ = ["consensus", "cross_fitted", "fit_each", "fit_weights", "folds_of", "positions"]

SHRINKAGE = 1.0
"""Penalty on the squared distance of the weights from their mean. The loss is a sum over samples: few flips move the weights little."""

FOLDS = 5


def positions(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Where numbers lie among others: the share of ``reference`` below, of equals the half; strictly between 0 and 1.

    Args:
        values: (n,). reference: (r,), r ≥ 1.

    Returns:
        (n,) float64, k/(r + 1) for the k-th of ``reference`` itself where there are no ties.
    """
    ordered = np.sort(reference)
    low, high = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    shares: np.ndarray = ((low + high + 1) / 2).clip(0.5, len(ordered) + 0.5) / (len(ordered) + 1)
    return shares


def consensus(weights: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(n,) float64 in (0, 1): the methods' (m, n) positions, pooled as odds with weights that sum to 1, (m,) or (m, n) for each sample."""
    from scipy.special import expit, logit

    pooled: np.ndarray = expit((weights.reshape(len(place), -1) * logit(place)).sum(axis=0))
    return pooled


def fit_weights(place: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Logistic regression with weights that are not negative and are drawn towards each other.

    Args:
        place: (m, n) positions in (0, 1). positive: (n,) bool, the known wrong labels.

    Returns:
        (m,) float64 that sum to 1; equal ones where there is nothing to learn from, or no method tells the two apart.
    """
    from scipy.optimize import minimize
    from scipy.special import expit, logit

    m = len(place)
    if m == 1 or positive.all() or not positive.any():
        return np.full(m, 1 / m)
    x, y = logit(place), positive.astype(np.float64)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights = parameters[1:]
        score = parameters[0] + weights @ x
        away = weights - weights.mean()
        error = expit(score) - y
        value = np.logaddexp(0, score).sum() - score[positive].sum() + SHRINKAGE / 2 * (away @ away) + 1e-3 * (weights @ weights)
        return float(value), np.concatenate(([error.sum()], x @ error + SHRINKAGE * away + 2e-3 * weights))

    start = np.concatenate(([logit(y.mean())], np.full(m, 1 / m)))
    bounds = [(None, None), *[(0, None)] * m]
    weights: np.ndarray = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x[1:]
    return weights / weights.sum() if weights.sum() > 1e-6 else np.full(m, 1 / m)


def fit_each(place: np.ndarray, positive: np.ndarray, used: np.ndarray, held: np.ndarray) -> np.ndarray:
    """(2, m) float64 weights: of the samples that were trained on, learnt on all, and of the held-out ones; without their flips, the same.

    Args:
        place: (m, n). positive: (n,) bool. used: (n,) bool, what may be learnt from. held: (n,) bool.
    """
    everyone, alone = fit_weights(place[:, used], positive[used]), used & held
    known = bool(positive[alone].any() and not positive[alone].all())
    return np.stack([everyone, fit_weights(place[:, alone], positive[alone]) if known else everyone])


def folds_of(positive: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n,) int64 in [0, 5): a fold for every sample, the known wrong labels shared out evenly."""
    fold = np.empty(len(positive), dtype=np.int64)
    for rows in (np.flatnonzero(positive), np.flatnonzero(~positive)):
        fold[rng.permutation(rows)] = np.arange(len(rows)) % FOLDS
    return fold


def cross_fitted(place: np.ndarray, positive: np.ndarray, used: np.ndarray, held: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """(n,) float64 consensus of every sample by weights that were learnt without its fold.

    Args:
        place: (m, n). positive, used, held: (n,) bool as of :func:`fit_each`. fold: (n,) as of :func:`folds_of`.
    """
    found = np.empty(place.shape[1])
    for rows, others in _splits(fold):
        weights = fit_each(place, positive, used & others, held)
        found[rows] = consensus(weights[held[rows].astype(int)].T, place[:, rows])
    return found


def _splits(fold: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for number in range(FOLDS):
        yield fold == number, fold != number
