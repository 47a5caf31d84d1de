"""How often each rater says what of which class, learnt from their answers alone (Dawid and Skene, 1979).

Model: a sample's true class is t with probability p_t, and rater r says s with probability C_r[t, s], each on their own. Expectation and
maximisation take turns. With few answers a table of K × K shares a rater is more than can be learnt, so every row is drawn
towards what is known with more certainty: the rater's share of right answers, and the wrong classes that all raters name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Skill", "fit_skill", "maximise", "votes"]

STEPS = (20, 200)
"""Of EM, at most; the fewer, the more samples × classes there are."""
WORK = 2e8
"""Samples × classes × steps that are allowed, within these bounds: some ten seconds a rater."""
CLOSE = 1e-5
"""EM ends when no probability changes by more."""
STRENGTH = 1.0
"""Answers that the expected row counts for, in each row of a rater's confusion matrix; and those that the mean counts for in a share.
More let one of few raters grow better from step to step at the cost of the others (docs/clean.md)."""
LEAST = 1e-6
"""No answer is impossible."""


@dataclass(frozen=True)
class Skill:
    """Of r raters and K classes.

    Attributes:
        prior: (K,) float64, share of each class.
        confusion: (r, K, K) float64, P(says s | true class t) at [r, t, s].
    """

    prior: np.ndarray
    confusion: np.ndarray

    def posterior(self, labels: np.ndarray) -> np.ndarray:
        """(n, K) float64 P(true class | answers), ``labels`` (n, r) int64, −1 = not rated; the prior where nobody rated."""
        found = np.tile(np.log(self.prior), (len(labels), 1))
        for confusion, said in zip(self.confusion, labels.T, strict=True):
            rows = said >= 0
            found[rows] += np.log(confusion).T[said[rows]]
        found = np.exp(found - found.max(axis=1, keepdims=True))
        return found / found.sum(axis=1, keepdims=True)


def votes(labels: np.ndarray, classes: int) -> np.ndarray:
    """(n, K) float64 share of a sample's raters who say each class; even where nobody rated."""
    count = np.zeros((len(labels), classes))
    for said in labels.T:
        rows = np.flatnonzero(said >= 0)
        count[rows, said[rows]] += 1
    total = count.sum(axis=1, keepdims=True)
    return np.where(total > 0, count / np.maximum(total, 1), 1 / classes)


def maximise(labels: np.ndarray, posterior: np.ndarray, strength: float = STRENGTH) -> Skill:
    """The maximisation step: the most likely shares where the true classes are known in part.

    Args:
        labels: (n, r) int64, −1 = not rated. posterior: (n, K) P(true class).
        strength: 0 is Dawid and Skene's own step: each share is a ratio of sums.
    """
    from scipy.sparse import csr_array

    n, K = posterior.shape
    counts = np.empty((labels.shape[1], K, K))
    for rater, said in enumerate(labels.T):
        rows = np.flatnonzero(said >= 0)
        told = csr_array((np.ones(len(rows)), (said[rows], rows)), shape=(K, n))
        counts[rater] = (told @ posterior).T
    if len(counts) == 2:
        counts[:] = counts.mean(axis=0)
    right, total = np.trace(counts, axis1=1, axis2=2), counts.sum(axis=(1, 2))
    known = max(float(total.sum()), 1.0)
    share = (right + strength * right.sum() / known) / np.maximum(total + strength, LEAST)
    wrong = counts.sum(axis=0) * (1 - np.eye(K)) + max(strength, LEAST) / (K - 1) * (1 - np.eye(K))
    expected = (1 - share)[:, None, None] * wrong / wrong.sum(axis=1, keepdims=True) + share[:, None, None] * np.eye(K)
    confusion = counts + max(strength, LEAST) * expected + LEAST
    return Skill((posterior.sum(axis=0) + LEAST) / (n + K * LEAST), confusion / confusion.sum(axis=2, keepdims=True))


def fit_skill(labels: np.ndarray, classes: int) -> Skill:
    """Dawid and Skene's estimate, from the shares of votes on.

    Args:
        labels: (n, r) int64, −1 = not rated. classes: K ≥ 2.
    """
    labels = labels[(labels >= 0).any(axis=1)]
    posterior = votes(labels, classes)
    for _ in range(int(np.clip(WORK / max(posterior.size, 1), *STEPS))):
        skill = maximise(labels, posterior)
        before, posterior = posterior, skill.posterior(labels)
        if np.abs(posterior - before).max(initial=0.0) < CLOSE:
            break
    return skill
