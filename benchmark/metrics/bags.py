"""How well slides are called, and how well the tiles that decide it are found. Lesions are counted in :mod:`benchmark.metrics.froc`.

Arrays are those of :mod:`benchmark.bags`: bag i owns the tiles ``offsets[i]:offsets[i + 1]``, labels are 0 or 1, and a tile of label −1
is unknown and counts nowhere. A score at the threshold is positive, except among pseudo labels. Equal scores enter every curve as one
step, so that the order of ties is worth nothing. With a NaN among the scores that count, the numbers that need them are None.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmark.metrics.calibration import calibration

UNDECIDED = 0.5
"""The threshold where validation bags tell of none."""

SUFFIX = "_positive_bags"
"""Of metrics over the tiles of positive bags alone: tiles of negative bags are many and easy, and hide what happens there."""


def bag_metrics(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, float | None]:
    """How often bags get their label, at a threshold and as a ranking, and what their probabilities mean.

    Args:
        labels: (n,) int64 true labels, 0 or 1.
        probabilities: (n,) of label 1, in [0, 1].
        threshold: chosen elsewhere, see :func:`youden_threshold`; on these bags it would flatter.

    Returns:
        None where undefined, and everywhere without bags or with a probability that is not finite; in [0, 1] but for ``nll`` ≥ 0:

        - ``auroc`` (None of one class) and ``average_precision`` (None without positives) of the ranking;
        - at the threshold ``accuracy``, ``balanced_accuracy`` (mean recall of the classes that occur), ``precision`` (None if no bag is
          called positive), ``recall`` and ``f1`` (None without positives);
        - ``nll`` and ``ece`` as in :func:`~benchmark.metrics.calibration.calibration`: the latter is of the likelier class, whatever the
          threshold.
    """
    names = ("auroc", "average_precision", "accuracy", "balanced_accuracy", "precision", "recall", "f1", "nll", "ece")
    if labels.size == 0 or not np.isfinite(probabilities).all():
        return dict.fromkeys(names)
    of_positive = np.asarray(probabilities, dtype=np.float64)  # a threshold of float64 would be rounded to float32 when compared
    positive, called = labels == 1, of_positive >= threshold
    right = called == positive
    recalls = [right[members].mean() for members in (positive, ~positive) if members.any()]
    values = {**_ranks(positive, of_positive), **_flags(positive, called)}
    values |= {"accuracy": float(right.mean()), "balanced_accuracy": float(np.mean(recalls))}
    values |= calibration(labels, np.stack([1 - of_positive, of_positive], axis=1))
    return {name: values[name] for name in names}


def youden_threshold(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The threshold of largest sensitivity + specificity − 1 (Youden, 1950). Choose it on validation bags, never on those that are tested.

    Candidates are the middles between neighbouring distinct probabilities. Of equally good ones the nearest to 0.5 is taken, and of two
    at the same distance the lower, which misses fewer positives.

    Args:
        labels: (v,) int64 labels of the validation bags, 0 or 1.
        probabilities: (v,) of label 1, in [0, 1].

    Returns:
        A float in (0, 1]; 0.5 where no threshold is better than chance: bags of one class, equal probabilities, a ranking the wrong way
        round, or a probability that is not finite.
    """
    scores, positive = np.asarray(probabilities, dtype=np.float64), labels == 1
    positives = int(positive.sum())
    negatives = positive.size - positives
    if not positives or not negatives or not np.isfinite(scores).all():
        return UNDECIDED
    values, hits, taken = _steps(positive, scores)
    gain = (hits * negatives - (taken - hits) * positives)[:-1]  # whole numbers: equal ones are equal
    if not gain.size or gain.max() <= 0:
        return UNDECIDED
    middles = (values[:-1] + values[1:]) / 2
    middles = np.where(middles > values[1:], middles, values[:-1])  # neighbours so close that the middle is rounded to the lower
    tied = middles[gain == gain.max()]
    return float(tied[np.lexsort((tied, np.abs(tied - UNDECIDED).round(12)))[0]])


def instance_metrics(
    tile_labels: np.ndarray | None, scores: np.ndarray, bag_labels: np.ndarray, offsets: np.ndarray, threshold: float
) -> dict[str, float | None]:
    """How well the tiles that make a bag positive are found.

    Args:
        tile_labels: (N,) truth, 0 or 1, −1 unknown; None: nothing is known.
        scores: (N,) of the tiles, higher = more likely positive.
        bag_labels: (n,) int64, 0 or 1.
        offsets: (n + 1,) int64.
        threshold: of ``f1``, chosen without the truth of these tiles.

    Returns:
        ``auroc`` (None if all or no tiles are positive); ``average_precision`` and ``f1``, with ``random_average_precision``, the share of
        positive tiles, to read the former against, and ``oracle_best_f1``, the best that any threshold reaches, which only the truth can
        choose (None if no tile is positive). The same with ``_positive_bags`` at the end, among the tiles of positive bags.
    """

    def measure(positive: np.ndarray, of_tile: np.ndarray) -> dict[str, float | None]:
        ranks = _ranks(positive, of_tile)
        values = {name: ranks[name] for name in ("auroc", "average_precision")}
        values["random_average_precision"] = float(positive.mean()) if positive.any() else None
        values["f1"] = None if np.isnan(of_tile).any() else _flags(positive, of_tile >= threshold)["f1"]
        return values | {"oracle_best_f1": ranks["best_f1"]}

    return _over_bags(measure, tile_labels, scores, bag_labels, offsets)


def pseudo_label_quality(
    pseudo: np.ndarray, tile_labels: np.ndarray | None, offsets: np.ndarray, bag_labels: np.ndarray, threshold: float
) -> dict[str, float | None]:
    """How right the pseudo labels of a round are: ``pseudo > threshold``, strictly, as the pools of HNM-WSI and ItS2CLR have it.

    Args:
        pseudo: (N,) scores of the tiles, higher = more likely positive.
        tile_labels, offsets, bag_labels: as in :func:`instance_metrics`. The bags that are labelled positive are those of which a method
            takes positive tiles: pass the labels that it was given.
        threshold: τ of the method.

    Returns:
        ``precision`` (None if no tile is above τ), ``recall``, ``f1`` and ``average_precision`` (None if no tile is positive), ``auroc``
        (None if all or none are); the same with ``_positive_bags`` at the end, among the tiles of bags that are labelled positive.
    """

    def measure(positive: np.ndarray, of_tile: np.ndarray) -> dict[str, float | None]:
        above = None if np.isnan(of_tile).any() else of_tile > threshold
        ranks = _ranks(positive, of_tile)
        return {**_flags(positive, above), **{name: ranks[name] for name in ("auroc", "average_precision")}}

    return _over_bags(measure, tile_labels, pseudo, bag_labels, offsets)


def structural_noise(labels: np.ndarray, tile_labels: np.ndarray | None, offsets: np.ndarray) -> dict[str, float | None]:
    """How wrong it is to give tiles the label of their bag.

    Args:
        labels: (n,) int64 labels of the bags, 0 or 1, as they are given: tiles of bags that noise makes positive count.
        tile_labels: (N,) truth, 0 or 1, −1 unknown; None: nothing is known.
        offsets: (n + 1,) int64.

    Returns:
        ``inherited_noise``: share of negative tiles among all known tiles of positive bags; ``witness_rate``: share of positive tiles
        of a bag, as the mean over the positive bags with known tiles: a small one counts as much as a large one. None if there is none.
    """
    if tile_labels is None:
        return {"inherited_noise": None, "witness_rate": None}
    bag = _bag_of_tile(offsets)
    known = np.bincount(bag[tile_labels >= 0], minlength=len(labels))
    positive = np.bincount(bag[tile_labels == 1], minlength=len(labels))
    counted = (labels == 1) & (known > 0)
    if not counted.any():
        return {"inherited_noise": None, "witness_rate": None}
    noise = 1 - positive[counted].sum() / known[counted].sum()
    return {"inherited_noise": float(noise), "witness_rate": float((positive[counted] / known[counted]).mean())}


def _over_bags(
    measure: Callable[[np.ndarray, np.ndarray], dict[str, float | None]],
    tile_labels: np.ndarray | None,
    scores: np.ndarray,
    bag_labels: np.ndarray,
    offsets: np.ndarray,
) -> dict[str, float | None]:
    """``measure(positive, scores)`` of the known tiles of all bags, and with :data:`SUFFIX` of those of positive bags."""
    scores = np.asarray(scores, dtype=np.float64)
    truth = np.full(scores.size, -1, dtype=np.int8) if tile_labels is None else tile_labels
    known, in_positive = truth >= 0, np.repeat(bag_labels == 1, np.diff(offsets))
    values = measure(truth[known] == 1, scores[known])
    among = known & in_positive
    return values | {f"{name}{SUFFIX}": value for name, value in measure(truth[among] == 1, scores[among]).items()}


def _flags(positive: np.ndarray, flagged: np.ndarray | None) -> dict[str, float | None]:
    """Precision, recall and F1 of (m,) bool flags; None stands for flags that are unknown."""
    values: dict[str, float | None] = dict.fromkeys(("precision", "recall", "f1"))
    if flagged is None:
        return values
    hits, claimed, positives = int((positive & flagged).sum()), int(flagged.sum()), int(positive.sum())
    if claimed:
        values["precision"] = hits / claimed
    if positives:
        values |= {"recall": hits / positives, "f1": 2 * hits / (claimed + positives)}
    return values


def _ranks(positive: np.ndarray, scores: np.ndarray) -> dict[str, float | None]:
    """AUROC, average precision and the best F1 of any threshold, from one sort: scikit-learn sorts once for each."""
    values: dict[str, float | None] = dict.fromkeys(("auroc", "average_precision", "best_f1"))
    positives = int(positive.sum())
    negatives = positive.size - positives
    if not positives or np.isnan(scores).any():
        return values
    _, hits, taken = _steps(positive, scores)
    values["average_precision"] = float((np.diff(hits, prepend=0) * hits / taken).sum() / positives)
    values["best_f1"] = float((2 * hits / (taken + positives)).max())
    if negatives:
        values["auroc"] = float(np.trapezoid(np.append(0, hits), np.append(0, taken - hits)) / (positives * negatives))
    return values


def _steps(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct scores from the highest on, and how many positives and how many of all score so high. Not of no scores."""
    order = np.argsort(-scores)
    ordered = scores[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    return ordered[last], np.cumsum(positive[order])[last], last + 1


def _bag_of_tile(offsets: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
