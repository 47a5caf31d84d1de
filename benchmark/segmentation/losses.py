"""Losses of pixels, and which pixels or masks to train on.

Logits are (B, T, J, H, W), labels (B, T, H, W) of any number format with class ids in [0, J) and 255 = void; neither is changed. Losses of
pixels are (B, T, H, W) float32 and 0 where the label is void, so that a method can weight or mask them before a mean is taken. All
comes from log-softmax: a confidently wrong pixel has the whole gradient, which clipped probabilities take from it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.segmentation import VOID
from benchmark.training.selection import keep_mask


def pixel_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """(B, T, H, W) −log p of the given class."""
    losses = F.cross_entropy(logits.float().flatten(0, 1), labels.long().flatten(0, 1), ignore_index=VOID, reduction="none")
    return losses.unflatten(0, labels.shape[:2])


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, flagged: Tensor, epsilon: float) -> Tensor:
    """(B, T, H, W) spatial label smoothing regularisation (SLSR): cross-entropy with the labels of flagged pixels smoothed.

    The target is (1 − εm)·onehot + εm·(1 − onehot)/(J − 1), m = 1 where flagged. ε = 0 is cross-entropy; with J = 2, ε = 1 turns the
    flagged labels over.

    Args:
        logits, labels: as everywhere here.
        flagged: (B, T, H, W) bool or 0/1, a confident map.
        epsilon: ε in [0, 1].

    Source: Zhang et al., Characterizing Label Errors: Confident Learning for Noisy-Labeled Image Segmentation, MICCAI 2020, in the
    form for K classes. Its released program edits the label tensor twice in place, which at ε = 1 makes every flagged label background.
    """
    log_p = logits.float().log_softmax(dim=2)
    known = labels != VOID
    given = log_p.gather(2, torch.where(known, labels, 0).long().unsqueeze(2)).squeeze(2)
    share = epsilon * flagged.float()
    losses = -(1 - share) * given - share * (log_p.sum(dim=2) - given) / (logits.shape[2] - 1)
    return losses * known


def generalized_cross_entropy(logits: Tensor, labels: Tensor, q: float) -> Tensor:
    """(B, T, H, W) (1 − p_y^q)/q: cross-entropy at q = 0, half the absolute error at q = 1 (Zhang and Sabuncu 2018)."""
    negative_log = pixel_cross_entropy(logits, labels)
    return negative_log if q == 0 else -torch.expm1(-q * negative_log) / q


def soft_dice(logits: Tensor, labels: Tensor, smooth: float = 1.0) -> Tensor:
    """(B, T) 1 − (2 Σ p·g + s) / (Σ p + Σ g + s), the mean over the classes 1 … J − 1; sums run over the pixels that are not void.

    An object that is absent and not predicted costs nothing, whatever s > 0.

    Args:
        logits, labels: as everywhere here.
        smooth: s, in pixels.

    Source: Milletari et al., V-Net, 2016, with sums of p in the place of its squares (Drozdzal et al. 2016).
    """
    known = (labels != VOID).unsqueeze(2)
    p = logits.float().softmax(dim=2)[:, :, 1:] * known
    classes = torch.arange(1, logits.shape[2], device=logits.device).view(-1, 1, 1)
    given = labels.unsqueeze(2) == classes  # void is none of them
    shared = (p * given).sum(dim=(3, 4))
    return (1 - (2 * shared + smooth) / (p.sum(dim=(3, 4)) + given.sum(dim=(3, 4)) + smooth)).mean(dim=2)


def pixel_mean(losses: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Σ w ℓ / Σ w over the pixels of the batch that are not void; 0, with a gradient of 0, if there is none.

    Args:
        losses, labels: (B, T, H, W).
        weights: w ≥ 0, a mask or anything that broadcasts to the losses ((B, 1, 1, 1) for one weight an image). None: 1.
    """
    counted = _counted(losses, labels, weights)
    return (losses * counted).sum() / _at_least(counted.sum())


def image_means(losses: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """(B,) what :func:`pixel_mean` is of each image alone, tasks together."""
    counted = _counted(losses, labels, weights)
    return (losses * counted).sum(dim=(1, 2, 3)) / _at_least(counted.sum(dim=(1, 2, 3)))


def keep_pixels(losses: Tensor, labels: Tensor, forget: float, by_class: bool = True) -> Tensor:
    """(B, T, H, W) bool: the pixels of smallest loss of the batch, task by task; void ones never.

    Args:
        losses, labels: (B, T, H, W).
        forget: share to leave out, in [0, 1).
        by_class: select within each given class too: over all classes a small organ, whose pixels are few and hard, is given up first.
    """
    tasks = torch.arange(labels.shape[1], device=labels.device).view(-1, 1, 1)
    known = labels != VOID
    groups = (VOID + 1) * tasks + (labels.long() if by_class else torch.where(known, 0, VOID))
    return keep_mask(losses.reshape(-1), forget, groups.reshape(-1)).view_as(known) & known


def keep_images(losses: Tensor, labels: Tensor, forget: float) -> Tensor:
    """(B,) bool: the images of smallest mean loss, at least one."""
    return keep_mask(image_means(losses, labels), forget)


def batch_weights(scores: Tensor) -> Tensor:
    """(B,) softmax over the batch of 2·tanh(score): the weights of its images, which add up to 1.

    Args:
        scores: (B,) what the quality network says of each image and its mask.

    Source: Zhu et al., Pick-and-Learn, MICCAI 2019.
    """
    return (2 * torch.tanh(scores.float())).softmax(dim=0)


def weighted_by_image(losses: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Σ_b w_b · mean of image b, for weights that add up to 1 as those of :func:`batch_weights`; equal weights are the mean of images.

    Args:
        losses, labels: (B, T, H, W).
        weights: (B,).
    """
    return (weights * image_means(losses, labels)).sum()


def _counted(losses: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    known = (labels != VOID).to(losses.dtype)
    return known if weights is None else known * weights


def _at_least(total: Tensor) -> Tensor:
    return total.clamp(min=torch.finfo(total.dtype).tiny)
