"""How sure the estimates are: the whole calibration again, with samples drawn anew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.clean.calibration import BORROWED, monotone_density, posterior, recall_for, share_wrong, trust

__all__ = ["Counts", "Estimate", "estimate", "interval_of", "replicate", "wilson"]

REPLICATES = 400
AROUND = (-0.1, 0.2)
"""Every replicate reads the rate at another cut around the one that is used: nobody knows the best, and the interval tells."""
HIGHEST = 0.8

MOST = 0.5
"""Of the share of wrong labels: where more than half may be wrong, no ranking says which."""


@dataclass(frozen=True)
class Counts:
    """Of labels by how they were judged (row 0: trained on, 1: held out) and bin of their position.

    Attributes:
        joint: (2, J, J) labels as they are, by bin in the runs on them and in those with the known wrong ones. flips: (2, J) the latter.
        classes: K.
    """

    joint: np.ndarray
    flips: np.ndarray
    classes: int


@dataclass(frozen=True)
class Estimate:
    """Attributes:
    rate: share of wrong labels. wrong: (2, J) float64, probability of being wrong by row and bin.
    """

    rate: float
    wrong: np.ndarray


def estimate(counts: Counts, most: float = MOST, recall: float | None = None) -> Estimate:
    """The share of wrong labels and the probabilities that follow; a row with few flips borrows from both.

    Args:
        counts: at least one flip among them.
        most: the rate is no more than this.
        recall: of the cut that the rate is read at; None: the one that suits so many flips.
    """
    everything, pooled = counts.joint.sum(axis=1), counts.flips.sum(axis=0)
    recall = recall_for(int(pooled.sum())) if recall is None else recall
    everywhere = everything.sum(axis=0)
    rate = min(share_wrong(counts.joint.sum(axis=0), pooled, counts.classes, recall), most)
    trusted = trust(rate, everywhere, pooled)
    righted = min(rate / (counts.classes - 1), 0.5)
    borrowed = BORROWED * pooled / max(pooled.sum(), 1)
    rows = [
        posterior(rate, monotone_density(flips + borrowed, own if own.any() else everywhere, righted), trusted)
        for own, flips in zip(everything, counts.flips, strict=True)
    ]
    return Estimate(rate, np.stack(rows))


def replicate(counts: Counts, rng: np.random.Generator) -> list[Estimate]:
    """The estimate of 400 sets of samples that are drawn with replacement, and of as many cuts; numbers by bin are all that counts."""

    def drawn(numbers: np.ndarray) -> np.ndarray:
        total = int(numbers.sum())
        flat = rng.multinomial(total, numbers.ravel() / max(total, 1), size=REPLICATES) if total else np.zeros((REPLICATES, numbers.size))
        return flat.reshape(REPLICATES, *numbers.shape)

    recalls = (recall_for(int(counts.flips.sum())) + rng.uniform(*AROUND, REPLICATES)).clip(max=HIGHEST)
    return [
        estimate(Counts(joint, flips, counts.classes), most=1.0, recall=recall)
        for joint, flips, recall in zip(drawn(counts.joint), drawn(counts.flips), recalls, strict=True)
    ]


def interval_of(value: float, found: np.ndarray, size: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """Value and 95 % interval of a share among ``size`` samples, of which the probability was estimated as ``found`` (R,) by replicates.

    The samples themselves are a draw as well: with few of them the share differs from the probability.
    """
    shares = rng.binomial(size, found.clip(0, 1)) / size
    low, high = np.quantile(shares, (0.025, 0.975))
    return value, float(min(low, value)), float(max(high, value))


def wilson(hits: int, size: int) -> tuple[float, float, float]:
    """Share and 95 % interval (Wilson 1927); (NaN, 0, 1) of nothing."""
    if size == 0:
        return float("nan"), 0.0, 1.0
    z, share = 1.959964, hits / size
    middle = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z * float(np.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))) / (1 + z**2 / size)
    return share, max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))
