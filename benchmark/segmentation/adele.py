"""The ingredients of ADELE: when a class ends its early learning, which labels are then corrected, and agreement across scales.

Source: Liu et al., Adaptive Early-Learning Correction for Segmentation from Noisy Annotations, CVPR 2022, arXiv 2110.03740.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.segmentation import VOID

SLOPE_CHANGE = 0.9
"""r: early learning has ended when the slope of the curve has lost this share of what it was after one epoch."""

CONFIDENCE = 0.8
"""τ: labels are corrected, and images held to agreement across scales, above this probability."""

SCALES = (0.7, 1.0, 1.5)
"""Of the released program."""

FEWEST_EPOCHS = 4
"""The curve has three parameters."""

NOT_LEARNT = 0.01
"""Epochs before the first intersection over union above this are no part of the curve: the class is not predicted yet."""


def overlap_counts(predicted: Tensor, given: Tensor, num_classes: int) -> Tensor:
    """(T, J, 2) int64: pixels of intersection and of union of predictions and given labels, to be added up over an epoch's batches.

    Args:
        predicted, given: (B, T, H, W) class ids; void pixels of ``given`` are left out.
        num_classes: J.
    """
    classes = torch.arange(num_classes, device=given.device).view(-1, 1, 1, 1, 1)
    ours, theirs = (predicted == classes) & (given != VOID), given == classes
    return torch.stack([(ours & theirs).sum(dim=(1, 3, 4)), (ours | theirs).sum(dim=(1, 3, 4))], dim=-1).transpose(0, 1)


def fit_curve(iou: np.ndarray) -> tuple[float, float, float] | None:
    """Parameters (a, b, c) of f(t) = a (1 − exp(−t^b / c)), fitted to (m,) values at t = 1 … m by weighted least squares.

    Later epochs weigh more: the standard deviations fall geometrically from 1 to 0.1, as in the released program. 0 ≤ a, b ≤ 1, c > 0.

    Returns:
        None if there are fewer than :data:`FEWEST_EPOCHS` values, one is not finite, or the fit does not converge.
    """
    from scipy.optimize import curve_fit

    values = np.asarray(iou, dtype=np.float64)
    if values.size < FEWEST_EPOCHS or not np.isfinite(values).all():
        return None
    spread = np.geomspace(1, 0.1, values.size)
    try:
        (a, b, c), _ = curve_fit(
            lambda t, a, b, c: a * -np.expm1(-(t**b) / c),
            np.arange(1, values.size + 1),
            values,
            p0=(1, 1, 1),
            sigma=spread,
            bounds=([0, 0, 1e-6], [1, 1, np.inf]),
        )
    except RuntimeError:
        return None
    return float(a), float(b), float(c)


def slope_change(parameters: tuple[float, float, float], t: float) -> float:
    """|f′(1) − f′(t)| / |f′(1)| of the curve of :func:`fit_curve`; 0 for a flat curve."""
    _, b, c = parameters
    # f'(t)/f'(1) = t^(b−1) exp((1 − t^b)/c): a and b/c cancel, and no slope is divided by another that has become 0
    ratio = t ** (b - 1) * np.exp((1 - t**b) / c)
    return 0.0 if parameters[0] == 0 or b == 0 else float(abs(1 - ratio))


def early_learning_ended(iou: np.ndarray, threshold: float = SLOPE_CHANGE) -> bool:
    """Whether a class has passed from early learning to memorisation; once it has, it is to be remembered.

    Args:
        iou: (m,) of one class, after each epoch: the training predictions against the given labels. Leading epochs up to
            :data:`NOT_LEARNT` are left out, and t counts from there.
        threshold: r in (0, 1).

    Returns:
        Whether the slope of the fitted curve has changed by more than r; False where :func:`fit_curve` has no answer.
    """
    values = np.asarray(iou, dtype=np.float64)
    learnt = np.flatnonzero(values > NOT_LEARNT)
    values = values[learnt[0] :] if learnt.size else values[:0]
    parameters = fit_curve(values)
    return parameters is not None and slope_change(parameters, values.size) > threshold


def correct_labels(
    labels: Tensor, probabilities: Tensor, ended: Tensor, threshold: float = CONFIDENCE, present_only: bool = True
) -> Tensor:
    """Given labels with confident predictions in the place of those of the classes whose early learning has ended.

    A pixel changes if its prediction is above the threshold, and its label and the prediction are each the background or a class
    whose early learning has ended.

    Args:
        labels: (B, T, H, W) class ids; void stays void. Not changed.
        probabilities: (B, T, J, H, W), averaged over scales (:func:`at_scales`).
        ended: (T, J) bool; that of the background is not looked at.
        threshold: τ.
        present_only: a class that an image's given mask lacks is never written into it. That is right for masks drawn from image
            labels, as in the paper, and wrong for noise that erases whole objects.

    Returns:
        (B, T, H, W) in the labels' number format.
    """
    confidence, predicted = probabilities.max(dim=2)
    allowed = ended.to(labels.device).clone()
    allowed[:, 0] = True
    tasks = torch.arange(labels.shape[1], device=labels.device).view(1, -1, 1, 1)
    known = labels != VOID
    replaced = known & (confidence > threshold) & allowed[tasks, torch.where(known, labels, 0).long()] & allowed[tasks, predicted]
    if present_only:
        classes = torch.arange(probabilities.shape[2], device=labels.device)
        present = (labels.unsqueeze(2) == classes.view(1, 1, -1, 1, 1)).flatten(3).any(dim=3) | (classes == 0)
        images = torch.arange(labels.shape[0], device=labels.device).view(-1, 1, 1, 1)
        replaced &= present[images, tasks, predicted]
    return torch.where(replaced, predicted.to(labels.dtype), labels)


def at_scales(forward: Callable[[Tensor], Tensor], images: Tensor, scales: Sequence[float] = SCALES, multiple: int = 8) -> Tensor:
    """(S, B, T, J, H, W) logits of the images at several scales, brought back to their size; ``softmax(3).mean(0)`` averages them.

    Args:
        forward: (B, C, h, w) → (B, T, J, h, w) logits.
        images: (B, C, H, W).
        scales: S factors of height and width.
        multiple: sizes are rounded to multiples of this, at least one, for networks that halve them again and again.
    """
    size = images.shape[-2:]
    every = []
    for scale in scales:
        scaled = [max(multiple, round(side * scale / multiple) * multiple) for side in size]
        resized = images if scale == 1 else F.interpolate(images, size=scaled, mode="bilinear", align_corners=False)
        logits = forward(resized)
        if logits.shape[-2:] != size:
            logits = F.interpolate(logits.flatten(1, 2), size=size, mode="bilinear", align_corners=False).unflatten(1, logits.shape[1:3])
        every.append(logits)
    return torch.stack(every)


def scale_consistency(logits: Tensor, labels: Tensor, threshold: float = CONFIDENCE) -> Tensor:
    """(B,) mean over scales and pixels of KL(p_s ‖ q), q the mean of the p_s over scales; 0 for an image that is sure nowhere.

    Args:
        logits: (S, B, T, J, H, W), of :func:`at_scales`.
        labels: (B, T, H, W); void pixels are left out.
        threshold: an image counts if some probability of q in it is at least this, as in the released program.
    """
    known = labels != VOID
    log_p = logits.float().log_softmax(dim=3)
    log_q = log_p.logsumexp(dim=0) - np.log(len(logits))
    divergence = (log_p.exp() * (log_p - log_q)).sum(dim=3).mean(dim=0) * known
    sure = (log_q.exp().amax(dim=2) * known).amax(dim=(1, 2, 3)) >= threshold
    return divergence.sum(dim=(1, 2, 3)) / known.sum(dim=(1, 2, 3)).clamp(min=1) * sure
