"""What one run contributes to the evidence of its method: numbers that add up over seeds, without the arrays that they come from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.metrics.bags import UNDECIDED
from benchmark.metrics.calibration import BINS, bins_of
from benchmark.segmentation import VOID
from benchmark.tasks import TASKS
from reports.run_files import final_epochs, read_arrays

__all__ = ["RECALL", "RunParts", "TestPart", "precision_at", "read_parts"]

RECALL = tuple(k / 40 for k in range(1, 41))
"""Where precision is read off. Not at 0: nothing need be suspected for that."""

SLACK = 1e-3
"""How far a probability may be off by rounding, also in half precision."""

CURVES = {"test": "test_{}", "validation": "val_{}", "fit_wrong": "fit_wrong", "fit_right": "fit_right"}
"""Curve → its key in history.jsonl, where ``{}`` stands for the task's headline metric."""


@dataclass(frozen=True)
class TestPart:
    """Forecasts for the test part at the selected epoch.

    Attributes:
        classes: K. pairs: (p,) int64, true class · K + predicted class, ascending; counts: (p,) how often.
        bins: (3, B) sums over the samples of each bin of confidence: of 1, of the confidence, of right predictions.
    """

    __test__ = False  # pytest collects every class that starts with Test

    classes: int
    pairs: np.ndarray
    counts: np.ndarray
    bins: np.ndarray


@dataclass(frozen=True)
class RunParts:
    """One run.

    Attributes:
        curves: name → (E,) float64 by epoch, NaN where the history has no number.
        test: None of masks, and where a probability is not finite: that is no forecast.
        precision: (R,) float64 at :data:`RECALL`; None where nobody knows the truth, nothing is wrong or the quality is not defined.
        wrong: share of wrong labels; None as ``precision``.
    """

    curves: Mapping[str, np.ndarray]
    test: TestPart | None
    precision: np.ndarray | None
    wrong: float | None


def read_parts(folder: Path, task: str, threshold: float | None = None) -> RunParts:
    """What a run's ``history.jsonl`` and ``predictions.npz`` say.

    Args:
        folder: the run's.
        task: of its data.
        threshold: of bags, the probability from which one is called positive.

    Raises:
        BenchmarkError: a file that is missing, corrupt or foreign; one line that names it.
    """
    headline = TASKS[task].headline
    curves = _curves(final_epochs(folder / "history.jsonl", headline), headline)
    path = folder / "predictions.npz"
    masks = task == "segmentation"
    needed = ("train_given", "train_true") if masks else ("test_labels", "test_selected")
    optional = ("train_ranked", "train_ranked_quality") if masks else ("train_given", "train_true", "train_quality", "train_open_set")
    arrays = read_arrays(path, needed, (*optional, "truth_known", "task"))
    try:
        found = str(arrays.get("task", "classification"))
        if found != task:
            raise ValueError(f"it is of {found}, not of {task}")
        test = None if masks else _test_part(arrays, UNDECIDED if threshold is None else threshold, task)
        precision, wrong = _detection(arrays, masks)
    except (ValueError, IndexError, TypeError) as error:
        raise BenchmarkError(f"{path} contradicts itself ({' '.join(str(error).split())}); run the cell again") from error
    return RunParts(curves, test, precision, wrong)


def precision_at(wrong: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """(R,) float64, at each of :data:`RECALL` the precision of the smallest set of lowest quality that holds this share of the wrong.

    Args:
        wrong: (n,) bool, at least one True.
        quality: (n,) scores without NaN, higher = more likely right; equal ones enter the set together.
    """
    order = np.argsort(quality)
    ordered = quality[order]
    hits = np.cumsum(wrong[order])
    steps = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # the last sample of each run of equals
    total = int(hits[-1])
    needed = -(-np.arange(1, len(RECALL) + 1) * total // len(RECALL))  # whole numbers: no share is missed by rounding
    reached = steps[np.searchsorted(hits[steps], needed)]
    precision: np.ndarray = hits[reached] / (reached + 1)
    return precision


def _curves(epochs: Mapping[int, Mapping[str, Any]], headline: str) -> dict[str, np.ndarray]:
    length, curves = max(epochs) + 1, {}
    for name, key in ((name, key.format(headline)) for name, key in CURVES.items()):
        values = np.full(length, np.nan)
        for epoch, line in epochs.items():
            value = line.get(key)
            if isinstance(value, float) and math.isfinite(value):
                values[epoch] = value
        if not np.isnan(values).all():
            curves[name] = values
    return curves


def _test_part(arrays: Mapping[str, np.ndarray], threshold: float, task: str) -> TestPart | None:
    labels, probabilities = arrays["test_labels"], arrays["test_selected"]
    _check("test_labels", labels, "iu", labels.shape[:1])
    _check("test_selected", probabilities, "f", (len(labels), *probabilities.shape[1:2]))
    K = probabilities.shape[1]
    if K < 2 or (task == "bags" and K != 2):
        raise ValueError(f"forecasts of {K} classes")
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < K:
        raise ValueError(f"test_labels lie outside the {K} classes")
    if not labels.size or not np.isfinite(probabilities).all():
        return None
    if not -SLACK <= float(probabilities.min()) <= float(probabilities.max()) <= 1 + SLACK:
        raise ValueError("test_selected holds what are no probabilities")
    if task == "bags":
        of_positive = probabilities[:, 1].astype(np.float64)
        probabilities = np.stack([1 - of_positive, of_positive], axis=1)  # as the metrics do: float32 would move a tie
    likeliest = probabilities.argmax(axis=1)
    confidence = np.take_along_axis(probabilities, likeliest[:, None], axis=1)[:, 0].astype(np.float64)
    place, right = bins_of(confidence), likeliest == labels
    bins = np.stack([np.bincount(place, weights, BINS) for weights in (None, confidence, right)]).astype(np.float64)
    called = (probabilities[:, 1] >= threshold).astype(np.int64) if task == "bags" else likeliest
    pairs, counts = np.unique(labels.astype(np.int64) * K + called, return_counts=True)
    return TestPart(K, pairs, counts, bins)


def _detection(arrays: Mapping[str, np.ndarray], masks: bool) -> tuple[np.ndarray, float] | tuple[None, None]:
    """Precision at :data:`RECALL` and the share of wrong labels, of what the metrics of detection look at."""
    judged = "train_ranked_quality" if masks else "train_quality"
    if not {"train_given", "train_true", judged} <= arrays.keys() or not bool(arrays.get("truth_known", True)):
        return None, None
    given, true, quality = arrays["train_given"], arrays["train_true"], arrays[judged]
    _check("train_given", given, "iu", given.shape)
    _check("train_true", true, "iu", given.shape)
    if masks:
        drawn = arrays.get("train_ranked", np.zeros(0, dtype=np.int64))
        _check("train_ranked", drawn, "iu", drawn.shape[:1])
        given, true = given.reshape(-1)[drawn], true.reshape(-1)[drawn]
    _check(judged, quality, "fiu", given.shape)
    known = np.ones(len(given), dtype=bool)
    if masks:
        known = (given != VOID) & (true != VOID)
    elif "train_open_set" in arrays:  # such an image shows none of the classes
        _check("train_open_set", arrays["train_open_set"], "b", given.shape)
        known = ~arrays["train_open_set"]
    wrong, quality = (given != true)[known], quality[known]
    if not wrong.any() or np.isnan(quality).any():
        return None, None
    return precision_at(wrong, quality), float(wrong.mean())


def _check(name: str, values: np.ndarray, kinds: str, shape: tuple[int, ...]) -> None:
    if values.dtype.kind not in kinds or values.shape != shape:
        raise ValueError(f"{name} is {values.dtype} {values.shape}")
