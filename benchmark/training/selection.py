"""Small-loss selection and its forget-rate schedule (Co-teaching, Han et al. 2018)."""

from __future__ import annotations

import math

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


def capped_epochs(published: int, epochs: int, share: float) -> int:
    """A published number of epochs (a warm-up, a ramp), but no more than a share of this budget, and at least 1.

    Co-teaching's ramp of 10 epochs is 10 of its 200; under 20 epochs and a share of 1/4 it is 5.
    """
    return max(1, min(published, int(share * epochs + 1e-9)))
