"""Learning-rate plans, set once an epoch; epochs are 0-based."""

from __future__ import annotations

import math

import torch

from benchmark.spec import TrainingProtocol

_ROUNDING = 1e-9
"""0.28 · 25 is a little more than 7 in floating point, yet epoch 7 is past that share."""


class Schedule:
    """The learning rate and Adam's first beta by epoch, as :class:`TrainingProtocol` describes them."""

    def __init__(self, protocol: TrainingProtocol, lr_scale: float = 1.0) -> None:
        self.protocol = protocol
        self.base = protocol.lr * lr_scale
        self.milestones = protocol.milestone_shares()

    def lr(self, epoch: int, epochs: int) -> float:
        """The learning rate of one epoch.

        ``linear_tail`` with s = decay_start · epochs: base for epoch < s, then base · (epochs − epoch)/(epochs − s).
        """
        plan = self.protocol.lr_schedule
        if plan == "cosine":
            return self.base * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        if plan == "step":
            return self.base * 0.1 ** sum(epoch >= share * epochs - _ROUNDING for share in self.milestones)
        if plan == "linear_tail" and self._in_tail(epoch, epochs):
            return self.base * (epochs - epoch) / (epochs - self.protocol.decay_start * epochs)
        return self.base

    def beta1(self, epoch: int, epochs: int) -> float:
        """Adam's first beta: the protocol's momentum, and ``tail_beta1`` while ``linear_tail`` falls."""
        tail = self.protocol.lr_schedule == "linear_tail" and self._in_tail(epoch, epochs)
        return self.protocol.tail_beta1 if tail else self.protocol.momentum

    def apply(self, optimizer: torch.optim.Optimizer, epoch: int, epochs: int) -> None:
        """Set both for one epoch."""
        for group in optimizer.param_groups:
            group["lr"] = self.lr(epoch, epochs)
            if "betas" in group:
                group["betas"] = (self.beta1(epoch, epochs), group["betas"][1])

    def _in_tail(self, epoch: int, epochs: int) -> bool:
        return epoch >= self.protocol.decay_start * epochs - _ROUNDING and self.protocol.decay_start < 1
