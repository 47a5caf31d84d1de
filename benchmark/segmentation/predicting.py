"""Predictions that need an image's labels beside it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from benchmark.training.context import RunContext


def predict_beside(run: RunContext, predictor: Callable[[Tensor, Tensor], Tensor], labels: Tensor) -> Tensor:
    """(n, …) what a predictor says of each training image, not augmented, and of its labels.

    Args:
        run: the run.
        predictor: normalised (B, C, H, W) images and (B, …) labels → (B, …). The networks it calls should be in evaluation mode.
        labels: (n, …) of all training images, on ``run.device``.
    """
    done = 0

    def predict(images: Tensor) -> Tensor:
        nonlocal done
        first, done = done, done + len(images)
        return predictor(images, labels[first:done])

    return run.predict(predict)  # goes through the training set in order
