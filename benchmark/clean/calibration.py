"""From a ranking to probabilities: where known wrong labels lie among the labels as they are says how many of those are wrong too.

Measured in ranks among the labels as they are (position 0 to 1), all labels together have density 1. They are a share π of wrong ones with
density f1 and 1 − π right ones: so Bayes' rule says P(wrong | position) = π·f1(position), and f1 is that of the known wrong labels, which
are wrong by our own doing. Above the cut that finds most of those (:data:`RECALL`), few labels are right, so π is about the share of all
labels above it / the share of the known wrong ones above it: learning from positive and unlabelled samples, Elkan and Noto, KDD 2008.

Where no label or only few are wrong, or the real errors are harder to see than the known ones, these stand out: π·f1 goes above 1. The
share of them that does so measures how little the real errors are like them, and all probabilities are lowered by it (:func:`trust`).
"""

from __future__ import annotations

import numpy as np

__all__ = ["RECALL", "bins_of", "edges_for", "monotone_density", "posterior", "share_wrong", "trust"]

FACTOR = 0.8
"""Of one cut's share of all labels to the next one's."""

BORROWED = 50
"""As many flips as those of all parts count for, in a part with few of its own."""

RECALL = 0.7
"""Share of the known wrong labels above the cut that the share of wrong labels is read at."""


def edges_for(n: int) -> np.ndarray:
    """(J + 1,) float64 descending shares 1, 0.8, 0.64, …, 0 that the most suspicious are cut at; the last bin has some 3 of n labels."""
    smallest = min(max(3 / max(n, 1), 1e-4), 1.0)
    steps = int(np.floor(np.log(smallest) / np.log(FACTOR) + 1e-9))
    return np.concatenate((FACTOR ** np.arange(steps + 1), [0.0]))


def bins_of(position: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(n,) int64 in [0, J): the bin of each position, J − 1 = the most suspicious."""
    found: np.ndarray = np.searchsorted(-edges[1:-1], -(1 - position), side="right")
    return found


def share_wrong(everything: np.ndarray, flips: np.ndarray, recall: float = RECALL) -> float:
    """The share of wrong labels, in [0, 1], from numbers (J,) by bin.

    Args:
        everything: of the labels as they are. flips: of the known wrong ones.
        recall: share of these above the cut; between the bins' edges, both grow evenly.
    """
    above, found = (np.concatenate(([0.0], np.cumsum(counts[::-1]) / max(counts.sum(), 1))) for counts in (everything, flips))
    if not flips.sum():
        return 1.0
    step = np.flatnonzero(found >= recall)[0]  # the first cut that finds as many
    part = (recall - found[step - 1]) / (found[step] - found[step - 1])
    return min(float(above[step - 1] + part * (above[step] - above[step - 1])) / recall, 1.0)


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


def trust(rate: float, everything: np.ndarray, flips: np.ndarray) -> float:
    """In [0, 1]: 1 − the share of the known wrong labels that stand out by more than wrong labels of their kind would let them.

    That is the largest difference, over the cuts, of the share of flips above it and 1/π times the share of all labels above it, less one
    standard error, as the largest of many is above 0 by chance.

    Args:
        rate: π. everything, flips: numbers (J,) by bin.
    """
    labels, known = max(everything.sum(), 1), max(flips.sum(), 1)
    above, found = (np.cumsum(counts[::-1]) / size for counts, size in ((everything, labels), (flips, known)))
    rate = max(rate, 0.5 / labels)
    chance = np.sqrt(found * (1 - found).clip(0) / known + above / labels / rate**2)
    return float(1 - np.max(found - above / rate - chance).clip(0, 1))


def posterior(rate: float, density: np.ndarray, trusted: float) -> np.ndarray:
    """(J,) float64 P(wrong | bin): π·f1, at most 1, times what is trusted.

    Args:
        rate: π. density: (J,) f1. trusted: as of :func:`trust`.
    """
    found: np.ndarray = np.minimum(rate * density, 1.0) * trusted
    return found
