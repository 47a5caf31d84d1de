"""What is said of numbers beyond their mean: bootstrap intervals, simultaneous intervals of differences, tests over conditions.

Everything is a function of plain numbers. Tables of costs are (conditions N, methods k), lower is better; costs that ought to be equal
must be equal, so round them first (:meth:`reports.columns.Column.cost`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = [
    "ALPHA", "average_ranks", "bootstrap_intervals", "cliques", "critical_difference", "friedman", "nemenyi", "ranks", "signed_rank",
    "simultaneous_t", "wilcoxon_holm",
]  # fmt: skip

ALPHA = 0.05
RESAMPLES = 4_999
SERIES, NUMBERS = 500, 2_000_000
"""Series in one vectorised call, and numbers that it draws at a time: some tens of megabytes."""
EXACT = 50
DIGITS = 12
"""Of a difference: what is beyond comes from the order of a sum."""


def bootstrap_intervals(samples: Sequence[Sequence[float]]) -> list[tuple[float, float] | None]:
    """95 % percentile bootstrap intervals of the means.

    Args:
        samples: series of finite numbers, of any lengths n.

    Returns:
        (low, high) of each, None where n < 2. A series has the same interval whatever else is asked for, and so has one with the
        same numbers: every call draws the same positions.
    """
    from scipy.stats import bootstrap

    found: list[tuple[float, float] | None] = [None] * len(samples)
    by_length: dict[int, list[int]] = {}
    for place, series in enumerate(samples):
        by_length.setdefault(len(series), []).append(place)
    for n, places in by_length.items():
        for start in range(0, len(places) if n > 1 else 0, SERIES):
            chunk = places[start : start + SERIES]
            data = np.array([samples[place] for place in chunk], dtype=float)
            options = {"n_resamples": RESAMPLES, "method": "percentile", "confidence_level": 1 - ALPHA, "vectorized": True, "axis": -1}
            drawn = bootstrap((data,), np.mean, batch=max(1, NUMBERS // (SERIES * n)), rng=np.random.default_rng(0), **options)
            # a mean of equal numbers may miss them by its last bit
            low, high = (np.clip(end, data.min(axis=1), data.max(axis=1)) for end in drawn.confidence_interval)
            for place, *ends in zip(chunk, low.tolist(), high.tolist(), strict=True):
                found[place] = (ends[0], ends[1])
    return found


def simultaneous_t(best: Sequence[float], others: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """Intervals of mean paired differences, other minus best, that all hold together with at least 95 %.

    Student's t with n - 1 degrees of freedom at 1 - 0.05 / m for m others (Bonferroni).

    Args:
        best: n ≥ 2 numbers. others: m series of n numbers, in the same order of pairs.
    """
    from scipy.stats import t

    if not others:
        return []
    n, m = len(best), len(others)
    differences = np.round(np.asarray(others, dtype=float) - np.asarray(best, dtype=float), DIGITS)
    centre = differences.mean(axis=1)
    half = float(t.ppf(1 - ALPHA / (2 * m), n - 1)) * differences.std(axis=1, ddof=1) / np.sqrt(n)
    return list(zip((centre - half).tolist(), (centre + half).tolist(), strict=True))


def signed_rank(differences: Sequence[float]) -> tuple[float, float]:
    """Wilcoxon's signed-rank statistic, the smaller sum, and its two-sided p; zeros are dropped, and nothing but zeros gives (0, 1).

    Up to :data:`EXACT` differences p counts all signs of the ranks, ties included; scipy tries them out one by one where there are
    ties, half a second a test. Beyond, it is scipy's normal approximation.
    """
    from scipy.stats import rankdata, wilcoxon

    rounded = np.round(np.asarray(differences, dtype=float), DIGITS)
    rounded = rounded[rounded != 0]
    n = len(rounded)
    if n == 0:
        return 0.0, 1.0
    if n > EXACT:
        found = wilcoxon(rounded)
        return float(found.statistic), float(found.pvalue)
    doubled = np.rint(2 * rankdata(np.abs(rounded))).astype(int)  # average ranks are whole or half
    ways = np.zeros(doubled.sum() + 1)  # in how many of the 2^n signs the positive ranks have each sum
    ways[0] = 1
    for rank in doubled:
        ways[rank:] += ways[:-rank].copy()
    positive = int(doubled[rounded > 0].sum())
    smaller = min(positive, int(doubled.sum()) - positive)
    return smaller / 2, min(1.0, 2 * float(ways[: smaller + 1].sum()) / 2**n)


def ranks(costs: np.ndarray) -> np.ndarray:
    """(N, k) ranks within each condition, 1 is the lowest cost, ties share the average rank."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(costs, axis=1), dtype=float)


def average_ranks(costs: np.ndarray) -> np.ndarray:
    """(k,) means of :func:`ranks` over the conditions."""
    return np.asarray(ranks(costs).mean(axis=0))


def friedman(costs: np.ndarray) -> tuple[float, float]:
    """Friedman's chi-squared, corrected for ties, and its p with k - 1 degrees of freedom; k ≥ 3. (0, 1) if all are equal everywhere."""
    from scipy.stats import friedmanchisquare

    if (costs == costs[:, :1]).all():
        return 0.0, 1.0
    found = friedmanchisquare(*costs.T)
    return float(found.statistic), float(found.pvalue)


def nemenyi(costs: np.ndarray) -> np.ndarray:
    """(k, k) p-values of Nemenyi's test on average ranks, which are adjusted for all pairs."""
    from scikit_posthocs import posthoc_nemenyi_friedman

    return np.asarray(posthoc_nemenyi_friedman(ranks(costs)), dtype=float)


def critical_difference(k: int, n: int) -> float:
    """How far apart two of k average ranks over n conditions must be for Nemenyi's test at 0.05 (Demšar, JMLR 7, 2006, section 3.2.2)."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - ALPHA, k, np.inf) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n)))


def wilcoxon_holm(costs: np.ndarray) -> np.ndarray:
    """(k, k) p-values of :func:`signed_rank` over the conditions, adjusted for all pairs by Holm's step-down method."""
    k = costs.shape[1]
    rows, columns = np.triu_indices(k, 1)
    raw = np.array([signed_rank(costs[:, i] - costs[:, j])[1] for i, j in zip(rows, columns, strict=True)])
    order = np.argsort(raw, kind="stable")
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1)))
    matrix = np.ones((k, k))
    matrix[rows, columns] = matrix[columns, rows] = adjusted
    return matrix


def cliques(p: np.ndarray) -> list[tuple[int, int]]:
    """First and last position of every longest run of neighbours, at least two, of which no pair has p < 0.05.

    Args:
        p: (k, k), in the order of average ranks.
    """
    found: list[tuple[int, int]] = []
    for first in range(len(p) - 1):
        last = first
        while last + 1 < len(p) and (p[first : last + 1, last + 1] >= ALPHA).all():
            last += 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found
