"""Label quality of pixels and of whole masks, and what cleanlab's own segmentation module says of both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmark.segmentation import VOID
from benchmark.segmentation.checks import check, task_names
from benchmark.training.detect import lowest_share
from benchmark.training.mixture import lower_component

TEMPERATURE = 0.1
"""Of the softmin over an image's pixels; cleanlab's default. Towards 0 the worst pixel decides, towards infinity it is their mean."""

BATCH_VALUES = 10_000_000
"""Probabilities that cleanlab looks at together; its default of 10,000 is less than one image."""


def pixel_quality(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(n, T, H, W) float32 in [0, 1]: the probability of the given label (self-confidence), 1 where it is void.

    Args:
        labels: (n, T, H, W) class ids.
        probabilities: (n, T, J, H, W).
    """
    quality = np.ones(labels.shape, dtype=np.float32)
    for j in range(probabilities.shape[2]):
        np.copyto(quality, probabilities[:, :, j], where=labels == j, casting="same_kind")
    return quality


def image_quality(labels: np.ndarray, probabilities: np.ndarray, temperature: float = TEMPERATURE) -> np.ndarray:
    """(n, T) float64 in [0, 1]: Σ s w / Σ w over the pixels that are not void, s their quality, w = exp(−s / temperature).

    The softmin score of Lad and Mueller 2023 (:func:`cleanlab.segmentation.rank.get_label_quality_scores`), for several tasks and with
    void pixels; higher = the mask is more likely right. A mask that is void throughout has NaN.

    Args:
        labels, probabilities: as in :func:`pixel_quality`.
        temperature: above 0.
    """
    scores = np.empty(labels.shape[:2])
    for i in range(len(labels)):  # image by image: the weights are float64
        quality, known = pixel_quality(labels[i : i + 1], probabilities[i : i + 1])[0].astype(np.float64), labels[i] != VOID
        lowest = quality.min(axis=(1, 2), keepdims=True)
        weights = np.exp((lowest - quality) / temperature) * known
        total = weights.sum(axis=(1, 2))
        scores[i] = np.where(total > 0, (quality * weights).sum(axis=(1, 2)) / np.where(total > 0, total, 1), np.nan)
    return scores


def mean_over_tasks(quality: Tensor) -> Tensor:
    """(n,) the mean quality of an image's masks from (n, T), NaN where a mask is void throughout; 1 for an image of such masks alone."""
    return quality.nanmean(dim=1).nan_to_num(nan=1.0)


def lowest_masks(quality: Tensor, share: float | None) -> Tensor:
    """(n, T) bool: the masks of lowest quality, task by task; never one that is void throughout.

    Args:
        quality: (n, T) scores, NaN where a mask is void throughout.
        share: of a task's other masks, in [0, 1); None: those in the lower part of a two-component mixture.
    """
    lowest = torch.zeros_like(quality, dtype=torch.bool)
    for task, scores in enumerate(quality.T):
        known = ~scores.isnan()
        found = torch.from_numpy(lower_component(scores[known].cpu().numpy())) if share is None else lowest_share(scores[known], share)
        lowest[known, task] = found.to(lowest.device)
    return lowest


def cleanlab_segmentation(
    labels: np.ndarray, probabilities: np.ndarray, tasks: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Cleanlab's segmentation module on each task: another choice of pixels than :func:`~benchmark.segmentation.confident.confident_maps`.

    It flags as many pixels as lie off the diagonal of the confident joint, those of least self-confidence over all classes. Void,
    which it does not know, is left out and goes through cleanlab's flat function of the same steps.

    Args:
        labels, probabilities, tasks: as in :func:`~benchmark.segmentation.confident.confident_maps`.

    Returns:
        (n, T, H, W) bool, the pixels held for wrong, and (n, T) float64, the softmin scores, NaN where a mask is void throughout.

    Raises:
        BenchmarkError: what :func:`benchmark.segmentation.checks.check` refuses.
    """
    from cleanlab.experimental.label_issues_batched import find_label_issues_batched
    from cleanlab.segmentation.filter import find_label_issues
    from cleanlab.segmentation.rank import get_label_quality_scores

    check(labels, probabilities, task_names(tasks, labels))
    flagged, scores = np.zeros(labels.shape, dtype=bool), np.empty(labels.shape[:2])
    for t in range(labels.shape[1]):
        given = labels[:, t].astype(np.int64)
        forecast = probabilities[:, t].astype(np.float32, copy=False) if probabilities.dtype == np.float16 else probabilities[:, t]
        known = given != VOID
        options = {"batch_size": BATCH_VALUES, "n_jobs": 1, "verbose": False}  # its pools are slower by an order of magnitude
        if known.all():
            flagged[:, t] = find_label_issues(given, forecast, **options)
            scores[:, t] = get_label_quality_scores(given, forecast, **options)[0]
        else:
            flat = np.moveaxis(forecast, 1, -1)[known]
            flagged[:, t][known] = find_label_issues_batched(given[known], flat, return_mask=True, **options)
            scores[:, t] = image_quality(labels[:, t : t + 1], probabilities[:, t : t + 1])[:, 0]
    return flagged, scores
