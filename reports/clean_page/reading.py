"""What the page and the tables read from an answer: the order to look in, what to expect of it, and which sample is a copy of which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.clean.answer import Answer
from benchmark.clean.audit import Twins
from benchmark.clean.verdict import HARD, NOISY, Interval

__all__ = [
    "MOST_HARD",
    "MOST_SAMPLES",
    "STATES",
    "Selection",
    "expected_wrong",
    "noise_by_class",
    "review_order",
    "select",
    "twins_in_order",
    "worth_a_look",
]

MOST_SAMPLES, MOST_HARD = 200, 60
"""That the page shows of the budget, and of the hard ones."""
STATES = ("easy", "hard", "noisy")
"""Names of the states, by their numbers."""


@dataclass(frozen=True)
class Selection:
    """The samples that the page shows, each position once.

    Attributes:
        likely: those of the budget that are likely wrong. doubtful: the rest of the budget, whose label may well be right.
        hard: not in the budget; the label is probably right, and the sample hard to learn, the hardest first.
        left_out: samples of the budget that the page has no room for.
    """

    likely: tuple[int, ...]
    doubtful: tuple[int, ...]
    hard: tuple[int, ...]
    left_out: int


def review_order(answer: Answer) -> np.ndarray:
    """(n,) int64 positions: the most probably wrong first, on a tie the more suspicious, then the lower position."""
    verdict = answer.verdict
    return np.lexsort((np.arange(len(answer.paths)), -verdict.suspicion, -verdict.wrong))


def worth_a_look(answer: Answer) -> int:
    """How many labels the person will look at: the budget, or all where there are fewer."""
    return min(answer.budget, len(answer.paths))


def precision_at(answer: Answer, places: Sequence[int]) -> list[Interval]:
    """Estimated share of wrong labels among the m most suspicious, for each m of ``places`` in [1, n].

    At the points of the curve it is the curve. Between them it is the mean probability, moved by as much as the curve differs from that
    at the points beside it; the interval is as wide as theirs. Without a curve the interval is NaN.
    """
    verdict = answer.verdict
    means = np.cumsum(verdict.wrong[review_order(answer)]) / np.arange(1, len(answer.paths) + 1)
    if not verdict.curve_at:
        return [Interval(float(means[m - 1]), float("nan"), float("nan")) for m in places]
    at = np.array(verdict.curve_at)
    away = [np.array([getattr(point, name) for point in verdict.curve]) - means[at - 1] for name in ("value", "low", "high")]
    moved = (means[np.array(places, dtype=np.int64) - 1] + np.interp(places, at, each) for each in away)
    return [Interval(*(min(1.0, max(0.0, float(part))) for part in parts)) for parts in zip(*moved, strict=True)]


def expected_wrong(answer: Answer, m: int) -> Interval:
    """How many of the m most suspicious labels are expected to be wrong."""
    (found,) = precision_at(answer, [m])
    return Interval(m * found.value, m * found.low, m * found.high)


def noise_by_class(answer: Answer) -> list[tuple[str, int, float, str, float]]:
    """Class as given, its samples, how many of them are expected to be wrong, and the most frequent true class with its share of these.

    Classes without samples are left out; the class is empty where nothing is expected to be wrong.
    """
    confusion = np.asarray(answer.verdict.confusion, dtype=np.float64)
    counts = np.bincount(answer.scores.given, minlength=len(answer.classes))
    found = []
    for k, name in enumerate(answer.classes):
        if counts[k] == 0:
            continue
        row = confusion[k].copy()
        row[k] = 0.0
        wrong, other = float(row.sum()), int(row.argmax())
        found.append(
            (name, int(counts[k]), wrong, answer.classes[other] if wrong > 0 else "", float(row[other] / wrong) if wrong > 0 else 0.0)
        )
    return found


def select(answer: Answer, most: int, most_hard: int) -> Selection:
    """What the page shows.

    Args:
        most: samples of the budget at most. most_hard: hard ones at most.
    """
    state, order = answer.verdict.state, review_order(answer)
    asked = worth_a_look(answer)
    first = order[: min(asked, most)]
    chosen = set(first.tolist())
    hard = [i for i in np.flatnonzero(state == HARD).tolist() if i not in chosen]
    hardness = np.where(np.isnan(answer.scores.hardness), -np.inf, answer.scores.hardness)
    hard.sort(key=lambda i: (-hardness[i], -answer.verdict.suspicion[i], i))
    return Selection(
        tuple(i for i in first.tolist() if state[i] == NOISY),
        tuple(i for i in first.tolist() if state[i] != NOISY),
        tuple(hard[:most_hard]),
        asked - len(first),
    )


def twins_in_order(twins: Sequence[Twins]) -> list[Twins]:
    """Conflicting labels first, then leaks, then the others; within each exact copies first, then by distance."""
    return sorted(twins, key=lambda found: (not found.conflict, not found.leak, not found.exact, found.distance, found.samples))
