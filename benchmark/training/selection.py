"""Small-loss selection and its forget-rate schedule (Co-teaching, Han et al. 2018)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def forget_rate(epoch: int, rate: float, gradual: int, exponent: float = 1.0) -> float:
    """The share of a batch to leave out in a 0-based epoch: rate^exponent · epoch/(gradual − 1), then the full rate.

    The full rate is reached at epoch ``gradual − 1``, as in the released program; with ``gradual`` 1 it is full at once.
    """
    if epoch >= gradual or gradual <= 1:
        return rate
    return rate**exponent * epoch / (gradual - 1)


def keep_count(batch_size: int, forget: float) -> int:
    """How many of a batch to keep: ⌊(1 − forget) · B⌋, at least 1."""
    return max(1, math.floor((1 - forget) * batch_size + 1e-9))


def small_loss(losses: Tensor, forget: float) -> Tensor:
    """(k,) positions of the smallest of (B,) losses, k = :func:`keep_count`."""
    return losses.detach().topk(keep_count(losses.shape[0], forget), largest=False).indices


def keep_mask(losses: Tensor, forget: float, labels: Tensor | None = None, rounding: Tensor | float = 1e-6) -> Tensor:
    """(B,) bool: the samples of smallest loss, overall or, with labels, within each class that occurs.

    Selection over all classes at once gives up the classes that are hard to learn, which are the rare ones. Within a class of
    b samples ⌊(1 − forget) · b + rounding⌋ are kept, at least 1. Nothing here waits for a GPU; take means as
    ``(losses * mask).sum() / mask.sum()``.

    Args:
        losses: (B,) losses or other scores, lower is better.
        forget: share to leave out, in [0, 1).
        labels: (B,) int64 classes to select within.
        rounding: with labels only. Next to 0 rounds down; (B,), a number for each class that is drawn evenly from [0, 1) rounds up as
            often as makes (1 − forget) · b samples the mean (where that is 1 or more).
    """
    losses = losses.detach()
    if labels is None:
        mask = torch.zeros_like(losses, dtype=torch.bool)
        return mask.index_fill_(0, small_loss(losses, forget), True)
    rank, size = rank_within(losses, labels)
    return rank < torch.floor((1 - forget) * size + rounding).clamp(min=1)


def rank_within(scores: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Each sample's rank by score in its group (0 for the lowest; equals go by position), and how many the group has.

    Args:
        scores: (B,).
        groups: (B,) int64, e.g. labels.

    Returns:
        ranks and sizes, (B,) int64 each.
    """
    order = scores.argsort(stable=True)
    order = order[groups[order].argsort(stable=True)]  # by group, then by score
    grouped = groups[order]
    first = torch.searchsorted(grouped, grouped)  # where the group begins
    size = torch.searchsorted(grouped, grouped, right=True) - first
    rank = torch.arange(len(order), device=order.device) - first
    return torch.empty_like(rank).index_copy_(0, order, rank), torch.empty_like(size).index_copy_(0, order, size)


def masked_mean(losses: Tensor, mask: Tensor) -> Tensor:
    """The mean of the (B,) losses where the mask holds; 0, with a gradient of 0, where it holds nowhere."""
    return (losses * mask).sum() / mask.sum().clamp(min=1)


def capped_epochs(published: int, epochs: int, share: float) -> int:
    """A published number of epochs (a warm-up, a ramp), but no more than a share of this budget, and at least 1.

    Co-teaching's ramp of 10 epochs is 10 of its 200; under 20 epochs and a share of 1/4 it is 5.
    """
    return max(1, min(published, int(share * epochs + 1e-9)))
