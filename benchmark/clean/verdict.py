"""From what the methods say to how likely each label is wrong, calibrated by known wrong labels among those judged right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

__all__ = ["EASY", "HARD", "NOISY", "Interval", "SelfCheck", "Verdict", "judge"]

if TYPE_CHECKING:
    from benchmark.clean.scores import Scores

EASY, HARD, NOISY = 0, 1, 2
"""States of a sample: surely right; right, but hard to learn; likely wrong."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SelfCheck:
    """What the whole procedure finds on the same data when it is known which labels are wrong, because they were made so.

    Attributes:
        rate: share of labels that were changed. changed: how many. kind: of the change, e.g. ``symmetric``.
        flagged: how many of the changed and of those judged right were called wrong at the precision asked for, by weights and a cut that
            were learnt on other samples. found: share of the changed labels among them (recall).
        precision: share of changed labels among the flagged whose label was judged right before.
        average_precision: of the consensus, and method → of each alone, in ranking the changed labels among those judged right.
    """

    rate: float
    changed: int
    kind: str
    flagged: int
    found: Interval
    precision: Interval
    average_precision: float
    alone: dict[str, float]

    @property
    def by_chance(self) -> bool:
        """Whether the changed labels may have been found no more often than their share of all: the answer is worth nothing then."""
        return not self.found.low > self.rate

    def sentence(self) -> str:
        """``On your data with 10 % known flips injected, this found 84 % (80 to 88) at precision 91 % (88 to 94).``"""
        found, precision = (
            f"{100 * one.value:.0f} % ({100 * one.low:.0f} to {100 * one.high:.0f})" for one in (self.found, self.precision)
        )
        held = f" at precision {precision}" if self.flagged else ", and flagged nothing"
        return f"On your data with {100 * self.rate:.0f} % known flips injected, this found {found}{held}."


@dataclass(frozen=True)
class Verdict:
    """The answer for n samples of K classes.

    Attributes:
        wrong: (n,) float64, calibrated probability that the given label is wrong.
        suspicion: (n,) float64, the consensus that ``wrong`` is a monotone function of within a part: what ranks the samples.
        suggested: (n,) int64, the most likely class by the methods' final models weighted by their worth, never the given one where
            ``wrong`` is above a half.
        confidence: (n,) float64, probability of ``suggested``, by the same weights.
        state: (n,) uint8, :data:`EASY`, :data:`HARD` or :data:`NOISY`.
        flagged: (n,) bool: the most suspicious, as many as the estimate allows at the precision asked for.
        precision: estimated precision of the flagged; None where nothing is flagged.
        noise_rate: estimated share of wrong labels. It is above the mean of ``wrong`` where the real errors are unlike the known ones: then
            more labels are wrong than can be pointed at.
        curve: estimated precision of the m most suspicious, at m of ``curve_at``.
        confusion: (K, K) float64, estimated number of samples with given class (row) and true class (column).
        weights: method → its weight in the consensus of the samples that were trained on, summing to 1; held-out ones have their own.
        check: of the procedure on the same data.
    """

    wrong: np.ndarray
    suspicion: np.ndarray
    suggested: np.ndarray
    confidence: np.ndarray
    state: np.ndarray
    flagged: np.ndarray
    precision: Interval | None
    noise_rate: Interval
    curve_at: tuple[int, ...]
    curve: tuple[Interval, ...]
    confusion: np.ndarray
    weights: dict[str, float]
    check: SelfCheck


def judge(
    scores: Scores,
    check: Scores,
    injected: np.ndarray,
    *,
    precision: float = 0.9,
    seed: int = 0,
    classes: int | None = None,
    kind: str = "symmetric",
) -> Verdict:
    """The answer, from runs on the labels as they are and runs of the same methods on the same parts with known wrong labels among them.

    Args:
        scores: of the labels as they are. check: with the known wrong ones.
        injected: (n,) bool, the labels that were changed.
        precision: that the flagged samples are to have, by the estimate (its mean, not its lower end: the self-check measures it).
        seed: of folds and of the samples drawn anew for intervals.
        classes: K; by default as many as occur in labels and forecasts.
        kind: of the change, for the words of the self-check.

    Raises:
        BenchmarkError: the two do not fit each other, or no label was changed.
    """
    from benchmark.clean.judging import judge as judged

    return judged(scores, check, injected, precision=precision, seed=seed, classes=classes, kind=kind)
