"""From a ranking to probabilities: where known wrong labels lie among the labels as they are says how many of those are wrong too.

Measured in ranks among the labels as they are (position 0 to 1), all labels together have density 1. They are a share π of wrong ones with
density f1 and 1 − π right ones with density f0: π·f1 + (1 − π)·f0 = 1. So Bayes' rule says P(wrong | position) = π·f1(position), and f1 is
that of the known wrong labels, which are wrong by our own doing. As f0 is no less than 0, π is at most (share of all labels above a cut) /
(share of the known wrong ones above it) for every cut; that the most suspicious labels are all wrong makes it equal at the best cut. This
is learning from positive and unlabelled samples: Elkan and Noto, KDD 2008; best cut: Garg et al., NeurIPS 2021.
"""

from __future__ import annotations

import numpy as np

__all__ = ["best_share", "bins_of", "edges_for", "monotone_density", "posterior"]

FACTOR = 0.8
"""Of one cut's share of all labels to the next one's."""

BORROWED = 50
"""As many flips as those of all parts count for, in a part with few of its own."""

CAUTION = 1.0
"""Standard errors that are added to a cut's ratio before the best one is chosen: a cut with few labels above it must be better by more."""


def edges_for(n: int) -> np.ndarray:
    """(J + 1,) float64 descending shares 1, 0.8, 0.64, …, 0 that the most suspicious are cut at; the last bin has some 3 of n labels."""
    smallest = min(max(3 / max(n, 1), 1e-4), 1.0)
    steps = int(np.floor(np.log(smallest) / np.log(FACTOR) + 1e-9))
    return np.concatenate((FACTOR ** np.arange(steps + 1), [0.0]))


def bins_of(position: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(n,) int64 in [0, J): the bin of each position, J − 1 = the most suspicious."""
    found: np.ndarray = np.searchsorted(-edges[1:-1], -(1 - position), side="right")
    return found


def best_share(everything: np.ndarray, flips: np.ndarray) -> np.ndarray:
    """The share of wrong labels, from numbers of labels.

    Args:
        everything: (…, J) of the labels as they are, by bin. flips: (…, J) of the known wrong ones.

    Returns:
        (…) float64 in [0, 1].
    """
    above, found = (np.cumsum(counts[..., ::-1], axis=-1)[..., ::-1] for counts in (everything, flips))
    share = (above + 0.5) / (above[..., :1] + 0.5)
    ratio = share * (found[..., :1] + 0.5) / (found + 0.5)
    cautious = ratio * np.exp(CAUTION * np.sqrt(1 / (above + 0.5) + 1 / (found + 0.5)))
    best = np.argmin(cautious, axis=-1)[..., None]
    return np.minimum(np.take_along_axis(ratio, best, axis=-1)[..., 0], 1.0)


def monotone_density(flips: np.ndarray, everything: np.ndarray) -> np.ndarray:
    """(J,) float64: density of the known wrong labels where all have 1, by bin, growing with suspicion (pooled adjacent violators).

    Args:
        flips: (J,) float64 numbers (or weights) of the known wrong labels. everything: (J,) of the labels as they are.
    """
    from sklearn.isotonic import isotonic_regression

    width = (everything + 0.1) / (everything + 0.1).sum()
    share = (flips + 0.1 * width) / (flips.sum() + 0.1)
    density: np.ndarray = isotonic_regression(share / width, sample_weight=width)
    return density


def posterior(rate: float, density: np.ndarray, width: np.ndarray) -> np.ndarray:
    """(J,) float64 P(wrong | bin): π·f1, at most 1, with a mean of π.

    What is cut off at 1 is added elsewhere by the same factor.

    Args:
        rate: π. density: (J,) f1, growing. width: (J,) share of all labels by bin, summing to 1.
    """
    scale = rate
    for _ in range(50):
        found = np.minimum(scale * density, 1.0)
        mean = float(found @ width)
        if mean >= rate * (1 - 1e-9) or bool((found >= 1).all()):
            break
        capped = scale * density >= 1
        left = float((density * width)[~capped].sum())
        if left <= 0:
            break
        scale = (rate - float(width[capped].sum())) / left
    return np.minimum(scale * density, 1.0)
