"""Which samples are most worth a look, in which order, and why: in words for the people who look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Candidate:
    """One training sample that people are asked about.

    Attributes:
        index: position in the data set.
        row: position in the training part.
        given: id of its label.
        suggestion: id of the class that the run finds likelier, None where the run says nothing.
        confidence: the run's probability of the suggestion, None where it is unknown.
        quality: of the given label, by the run's method; higher is better, and only the order means something.
        reason: why it is here.
    """

    index: int
    row: int
    given: int
    suggestion: int | None
    confidence: float | None
    quality: float
    reason: str


def most_suspicious(
    samples: Mapping[str, np.ndarray], classes: Sequence[str], top: int, answered: frozenset[int] = frozenset()
) -> list[Candidate]:
    """The samples to look at first: those that the method suspects before all others, the lowest quality first within both,
    the lower index on a tie.

    Args:
        samples: columns of ``samples.parquet``; see :data:`benchmark.relabel.runs.NEEDED` and ``OPTIONAL``.
        classes: K names.
        top: at most so many.
        answered: indices that are left out.
    """
    quality, suspect = samples["quality"].astype(np.float64), samples["suspect"].astype(bool)
    order = np.lexsort((samples["index"], quality, ~suspect))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[np.argsort(quality, kind="stable")] = np.arange(1, len(order) + 1)
    rows = [row for row in order.tolist() if int(samples["index"][row]) not in answered][:top]
    return [_candidate(samples, classes, row, int(ranks[row])) for row in rows]


def _candidate(samples: Mapping[str, np.ndarray], classes: Sequence[str], row: int, rank: int) -> Candidate:
    given, quality = int(samples["given"][row]), float(samples["quality"][row])
    suggestion, confidence = _suggestion(samples, row, given)
    reasons = [_network(samples, classes, row, given, suggestion, confidence), _method(samples, classes, row, given, suggestion)]
    reasons.append(f"label quality {quality:.3g}, rank {rank:,} of {len(samples['index']):,} from the bottom")
    return Candidate(int(samples["index"][row]), row, given, suggestion, confidence, quality, "; ".join(filter(None, reasons)))


def _suggestion(samples: Mapping[str, np.ndarray], row: int, given: int) -> tuple[int | None, float | None]:
    """What the final predictor says; in runs that did not keep that, what the method corrected the label to."""
    if "suggested" in samples:
        confidence = float(samples["confidence"][row]) if "confidence" in samples else np.nan
        return int(samples["suggested"][row]), confidence if np.isfinite(confidence) else None
    corrected = int(samples["corrected"][row]) if "corrected" in samples else -1
    return (corrected if corrected not in (-1, given) else None), None


def _network(
    samples: Mapping[str, np.ndarray], classes: Sequence[str], row: int, given: int, suggestion: int | None, confidence: float | None
) -> str:
    """What the network says of the image."""
    if "suggested" not in samples or suggestion is None or confidence is None:
        return ""
    if suggestion == given:
        return f"the network agrees with '{classes[given]}' ({percent(confidence)})"
    if "given_probability" not in samples:
        return f"the network gives '{classes[suggestion]}' {percent(confidence)}"
    probability = float(samples["given_probability"][row])
    return f"the network gives '{classes[given]}' {percent(probability)} and '{classes[suggestion]}' {percent(confidence)}"


def _method(samples: Mapping[str, np.ndarray], classes: Sequence[str], row: int, given: int, suggestion: int | None) -> str:
    """What the method made of the label."""
    corrected = int(samples["corrected"][row]) if "corrected" in samples else given
    if corrected == -1:
        return "the method left it out"
    if corrected != given and ("suggested" not in samples or corrected != suggestion):
        return f"the method would make it '{classes[corrected]}'"
    return "the method suspects it" if samples["suspect"][row] and suggestion in (None, given) else ""


def percent(share: float) -> str:
    """``94 %``; what would be rounded to certainty is ``<1 %`` or ``>99 %``."""
    if share < 0.005:
        return "<1 %"
    return ">99 %" if share >= 0.995 else f"{100 * share:.0f} %"
