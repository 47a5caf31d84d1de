"""What labels and probabilities of pixels must be before anything is computed from them; cleanlab takes a NaN silently."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.segmentation import VOID

SUM_TOLERANCE = 5e-3
"""A pixel's probabilities add up to 1 within this; half precision is off by less than 5e-4 a class."""

MOST_VALUES = 10
"""An error lists unexpected values unless there are more than this."""


def check(labels: np.ndarray, probabilities: np.ndarray, tasks: Sequence[str], where: str = "") -> None:
    """Refuse what cannot be right.

    Args:
        labels: (n, T, H, W) class ids.
        probabilities: (n, T, J, H, W).
        tasks: T names.
        where: what the images are, after a blank, for the messages: ``" of fold 1"``.

    Raises:
        BenchmarkError: shapes that do not fit; labels that are neither in [0, J) nor 255; a task in which no pixel is labelled, or
            all are of one class; probabilities that are NaN, infinite or outside [0, 1], or do not add up to 1.
    """
    if labels.ndim != 4 or probabilities.ndim != 5 or labels.shape != _without_classes(probabilities):
        raise BenchmarkError(
            f"labels{where} are {labels.shape} and probabilities {probabilities.shape}; expected (n, T, H, W) and (n, T, J, H, W)"
        )
    for index, task in enumerate(tasks):
        _check_labels(labels[:, index], probabilities.shape[2], f"task '{task}'{where}")
    for number, forecast in enumerate(probabilities):  # image by image, so that nothing as large as the input is made
        low, high = forecast.min(initial=0), forecast.max(initial=0)  # a NaN comes through both
        if not (np.isfinite(low) and np.isfinite(high)):
            bad = tasks[int(np.argmin(np.isfinite(forecast).all(axis=(1, 2, 3))))]
            raise BenchmarkError(
                f"probabilities of task '{bad}', image {number}{where} are not finite; the network diverged: lower its learning rate"
            )
        if low < -SUM_TOLERANCE or high > 1 + SUM_TOLERANCE:
            raise BenchmarkError(
                f"probabilities of image {number}{where} reach from {low:.3g} to {high:.3g}, outside [0, 1]; apply a softmax over classes"
            )
        sums = forecast.sum(axis=1, dtype=np.float32)
        if np.abs(sums - 1).max(initial=0) > SUM_TOLERANCE:
            raise BenchmarkError(
                f"probabilities of image {number}{where} add up to {sums.min():.3g} to {sums.max():.3g} over the classes; expected 1"
            )


def task_names(tasks: Sequence[str] | None, labels: np.ndarray) -> Sequence[str]:
    """The names that were given, or numbers.

    Raises:
        BenchmarkError: not as many names as tasks.
    """
    count = labels.shape[1] if labels.ndim > 1 else 0
    if tasks is not None and len(tasks) != count:
        raise BenchmarkError(f"{len(tasks)} names of tasks for {count} tasks: {', '.join(tasks)}")
    return [str(number) for number in range(count)] if tasks is None else tasks


def _check_labels(labels: np.ndarray, num_classes: int, what: str) -> None:
    """``labels``: (n, H, W) of one task."""
    if labels.dtype.kind not in "iu":
        raise BenchmarkError(f"labels of {what} are {labels.dtype}; expected whole class ids, uint8")
    if labels.size and (labels.min() < 0 or labels.max() > VOID):
        counts, unexpected = (
            np.zeros(VOID + 1, dtype=np.int64),
            np.unique(labels[(labels < 0) | (labels >= num_classes) & (labels != VOID)]),
        )
    else:
        counts = sum((np.bincount(mask.ravel(), minlength=VOID + 1) for mask in labels), np.zeros(VOID + 1, dtype=np.int64))
        unexpected = num_classes + np.flatnonzero(counts[num_classes:VOID])
    if unexpected.size:
        listed = ", ".join(str(value) for value in unexpected[:MOST_VALUES].tolist()) + (", …" if unexpected.size > MOST_VALUES else "")
        raise BenchmarkError(f"labels of {what} have unexpected values: {listed}; expected 0 to {num_classes - 1}, or {VOID} for void")
    if not counts[:VOID].any():
        raise BenchmarkError(f"{what} has no labelled pixel: all {labels.size} are void")
    if not counts[1:VOID].any():
        raise BenchmarkError(f"{what} has no foreground in any of its {len(labels)} given masks; leave it out, or use weaker noise")
    if np.count_nonzero(counts[:VOID]) < 2:
        raise BenchmarkError(f"{what} has only pixels of class {int(counts[:VOID].argmax())}; nothing tells right from wrong labels there")


def _without_classes(probabilities: np.ndarray) -> tuple[int, ...]:
    return (*probabilities.shape[:2], *probabilities.shape[3:])
