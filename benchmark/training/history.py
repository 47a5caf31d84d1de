"""The training history: what the network thought of every given label, epoch by epoch, in the training forward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmark import profiling


class SampleHistory:
    """p_i^t, the probability that the network gave to sample i's label in epoch t (HSA-NRL, Zhu et al. 2022).

    Args:
        n: number of samples.
        epochs: number of epochs T.
        device: where it lives; recording causes no sync.

    Attributes:
        values: (T, n) float32, NaN where nothing was recorded.
    """

    def __init__(self, n: int, epochs: int, device: torch.device) -> None:
        self.values = torch.full((epochs, n), float("nan"), device=device)

    @property
    def epochs(self) -> int:
        """Number of epochs T that it has room for."""
        return int(self.values.shape[0])

    def make_room(self, epochs: int) -> None:
        """Have room for at least so many epochs; what is recorded stays."""
        if epochs > self.epochs:
            more = self.values.new_full((epochs - self.epochs, self.values.shape[1]), float("nan"))
            self.values = torch.cat([self.values, more])

    @profiling.timed("history")
    @torch.no_grad()
    def record(self, epoch: int, indices: Tensor, labels: Tensor, logits: Tensor | None) -> None:
        """Store softmax(logits)[label] of one batch; logits of another batch size (mixed inputs) are ignored.

        Args:
            epoch: 0-based.
            indices: (B,) positions.
            labels: (B,) classes; of masks (B, T, H, W), void 255: the mean over an image's pixels is stored, NaN without any.
            logits: (B, K), or (B, T, J, H, W).
        """
        if logits is None or logits.shape[0] != labels.shape[0]:
            return
        if logits.ndim > 2:
            known = labels < logits.shape[2]
            classes = torch.where(known, labels, 0).long().unsqueeze(2)
            pixels = logits.float().log_softmax(dim=2).gather(2, classes).squeeze(2).exp_() * known
            means = pixels.flatten(1).sum(dim=1) / known.flatten(1).sum(dim=1)  # 0 / 0 is NaN
            self.values[epoch].index_copy_(0, indices, means)
            return
        given = logits.float().log_softmax(dim=1).gather(1, labels.view(-1, 1)).squeeze(1)
        self.values[epoch].index_copy_(0, indices, given.exp_())

    @profiling.timed("history")
    def record_probabilities(self, epoch: int, given: Tensor) -> None:
        """Store the (n,) probabilities of the given labels of all samples."""
        self.values[epoch] = given.float()

    def mean(self, skip: int = 0) -> Tensor:
        """(n,) mean over the epochs from ``skip`` on; 0 for a sample without any record."""
        return torch.nanmean(self.values[min(skip, self.epochs - 1) :], dim=0).nan_to_num_(0.0)

    def matrix(self, indices: Tensor) -> Tensor:
        """(m, T) histories of some samples; gaps are 0."""
        return self.values[:, indices].T.nan_to_num(0.0).contiguous()

    def state_dict(self) -> dict[str, Any]:
        """The values, for a checkpoint."""
        return {"values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values."""
        self.values = state["values"].to(self.values.device).clone()
