"""From a ranking to probabilities: where known wrong labels lie among the labels as they are says how many of those are wrong too.

Measured in ranks among the labels as they are (position 0 to 1), all labels together have density 1. They are a share π of wrong ones with
density f1 and 1 − π right ones: so Bayes' rule says P(wrong | position) = π·f1(position). f1 is that of the known wrong labels, which are
so by our own doing: learning from positive and unlabelled samples (Elkan and Noto, 2008).

π is read at the cut that finds the plainest of the known wrong ones (:func:`recall_for` = r of them). A share u of the labels as they are
is above it, and a share φ of the right ones, so u = π·r + (1 − π)·φ and π = (u − φ)/(r − φ), the adjusted count (Forman 2008). φ is that
of the labels judged clean: all but the share π of the most suspicious in the runs on the labels as they are, which are other runs than
those of the cut.

A label that was wrong already becomes right by one in K − 1 flips, K classes; a share κ = π/(K − 1) of the flips is, and is subtracted.

Where no label or only few are wrong, or the real errors are harder to see than the known ones, these stand out: π·f1 goes above 1. The
share of them that does so measures how little the real errors are like them, and all probabilities are lowered by it (:func:`trust`).
"""

from __future__ import annotations

import numpy as np

__all__ = ["bins_of", "edges_for", "monotone_density", "posterior", "recall_for", "share_wrong", "trust"]

FACTOR = 0.8
"""Of one cut's share of all labels to the next one's."""

BORROWED = 50
"""As many flips as those of all parts count for, in a part with few of its own."""

RECALL = (0.3, 0.7)
"""Bounds of the share of known wrong labels above the cut that the share of wrong labels is read at. The lower the cut, the more right
labels of images that no method can tell lie above it in both runs and are taken for wrong; the higher, the fewer are counted
(docs/clean.md)."""
ABOVE = 20
"""As many known wrong labels shall lie above it, within these bounds."""


def recall_for(flips: int) -> float:
    """The share of so many known wrong labels above the cut: 0.3 from 67 on, more where they are few."""
    return float(np.clip(ABOVE / max(flips, 1), *RECALL))


def edges_for(n: int) -> np.ndarray:
    """(J + 1,) float64 descending shares 1, 0.8, 0.64, …, 0 that the most suspicious are cut at; the last bin has some 3 of n labels."""
    smallest = min(max(3 / max(n, 1), 1e-4), 1.0)
    steps = int(np.floor(np.log(smallest) / np.log(FACTOR) + 1e-9))
    return np.concatenate((FACTOR ** np.arange(steps + 1), [0.0]))


def bins_of(position: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(n,) int64 in [0, J): the bin of each position, J − 1 = the most suspicious."""
    found: np.ndarray = np.searchsorted(-edges[1:-1], -(1 - position), side="right")
    return found


def share_wrong(joint: np.ndarray, flips: np.ndarray, classes: int, recall: float) -> float:
    """The share of wrong labels, in [0, 1], from numbers by bin; 1 where the known wrong labels lie no higher than all.

    Args:
        joint: (J, J) of the labels as they are, by their bin in the runs on them (row) and with the known wrong ones (column).
        flips: (J,) of the known wrong ones. classes: K.
        recall: share of these above the cut; between the edges of a bin, numbers grow evenly.
    """
    found = np.cumsum(flips[::-1]) / max(flips.sum(), 1)
    if found[-1] < recall:
        return 1.0
    last = int(np.argmax(found >= recall))  # bins from the top, the last of them in part
    before = float(found[last - 1]) if last else 0.0
    part = np.concatenate((np.ones(last), [(recall - before) / (float(found[last]) - before)], np.zeros(len(flips) - last - 1)))
    total = joint.sum(axis=1)
    above = joint[:, ::-1] @ part
    labels = max(float(total.sum()), 1.0)
    u = float(above.sum()) / labels
    spared, high = (np.concatenate(([0.0], np.cumsum(values[::-1]))) for values in (total, above))
    rate = min(u / recall, 1.0)
    for _ in range(20):
        out = min(rate, 0.9) * labels
        false = (high[-1] - float(np.interp(out, spared, high))) / max(labels - out, 1.0)
        righted = min(rate / (classes - 1), 0.5)
        true = (recall - righted * false) / (1 - righted)
        rate = float(np.clip((u - false) / max(true - false, 1e-3), 0.0, 1.0))
    return rate


def monotone_density(flips: np.ndarray, everything: np.ndarray, righted: float = 0.0) -> np.ndarray:
    """(J,) float64: density of the known wrong labels where all have 1, by bin, growing with suspicion (pooled adjacent violators).

    Args:
        flips: (J,) float64 numbers (or weights) of the flips. everything: (J,) of the labels as they are.
        righted: κ, share of the flips that are right; they lie as evenly as all labels do.
    """
    from scipy.optimize import isotonic_regression

    width = (everything + 0.1) / (everything + 0.1).sum()
    share = (flips + 0.1 * width) / (flips.sum() + 0.1)
    density: np.ndarray = isotonic_regression(share / width, weights=width).x
    return np.maximum(density - righted, 0.0) / (1 - righted)


def trust(rate: float, everything: np.ndarray, flips: np.ndarray) -> float:
    """In [0, 1]: 1 − the share of the known wrong labels that stand out by more than wrong labels of their kind would let them.

    That is the largest difference, over the cuts, of the share of flips above it and 1/π times the share of all labels above it, less two
    standard errors, as the largest of many is above 0 by chance.

    Args:
        rate: π. everything, flips: numbers (J,) by bin.
    """
    labels, known = max(everything.sum(), 1), max(flips.sum(), 1)
    above, found = (np.cumsum(counts[::-1]) / size for counts, size in ((everything, labels), (flips, known)))
    rate = max(rate, 0.5 / labels)
    chance = np.sqrt(found * (1 - found).clip(0) / known + above / labels / rate**2)
    return float(1 - np.max(found - above / rate - 2 * chance).clip(0, 1))


def posterior(rate: float, density: np.ndarray, trusted: float) -> np.ndarray:
    """(J,) float64 P(wrong | bin): π·f1, at most 1, times what is trusted.

    Args:
        rate: π. density: (J,) f1. trusted: as of :func:`trust`.
    """
    found: np.ndarray = np.minimum(rate * density, 1.0) * trusted
    return found
