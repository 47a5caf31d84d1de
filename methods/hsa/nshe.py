"""Stage 2, NSHE: leave out what the averaged network doubts (noise suppressing), weigh up what is hard (hard enhancing)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.api import Batch
from benchmark.training.detect import lowest_share
from benchmark.training.history import SampleHistory
from benchmark.training.networks import MovingAverage, Networks


def ema_momentum(momentum: float, steps: int) -> float:
    """min(momentum, 1 − 10/steps), so that in a short run the average does not stay at its initial weights."""
    return max(0.0, min(momentum, 1 - 10 / max(1, steps)))


def hard_weights(probability: Tensor, weighting: str, gamma: float) -> Tensor:
    """(B,) weights with mean one.

    Args:
        probability: (B,) last recorded probability of the training label.
        weighting: ``focal`` (1 − p)^γ, ``confidence`` p^γ, ``none`` 1.
        gamma: γ.
    """
    if weighting == "none":
        return torch.ones_like(probability)
    weights = ((1 - probability) if weighting == "focal" else probability).clamp(min=0.0) ** gamma
    mean = weights.mean()
    return torch.where(mean > 0, weights / mean.clamp(min=1e-12), torch.ones_like(weights))


def lowest(probability: Tensor, indices: Tensor, share: float, labels: Tensor | None = None) -> Tensor:
    """(n,) bool: the ⌊share · m⌋ of (m,) ``indices`` with the lowest of (n,) recorded probabilities, or, with (m,) labels, this share
    of each class."""
    mask = torch.zeros_like(probability, dtype=torch.bool)
    if labels is not None:
        mask[indices] = lowest_share(probability[indices], share, labels)
        return mask
    count = int(share * len(indices))
    if count:
        mask[indices[probability[indices].topk(count, largest=False).indices]] = True
    return mask


class NoiseSuppressor:
    """Per-sample state of stage 2: last recorded probabilities of both networks, and who is left out.

    Args:
        indices: (m,) int64 training positions of the almost clean set.
        n: size of the training set.
        epochs: epochs of the stage.
        params: the method's hyperparameters.
        warmup: epochs with the plain mean.
        labels: (m,) int64 classes, to leave out a share of each; None leaves out the worst of all.
    """

    def __init__(self, indices: Tensor, n: int, epochs: int, params, warmup: int, labels: Tensor | None = None) -> None:
        self.indices, self.params, self.warmup, self.labels = indices, params, warmup, labels
        self.gradient = SampleHistory(n, epochs, indices.device)
        self.average = SampleHistory(n, epochs, indices.device)
        self.left_out = torch.zeros(n, dtype=torch.bool, device=indices.device)
        self.last = torch.ones(n, device=indices.device)

    def start_epoch(self, epoch: int) -> None:
        """From the second epoch on: who is doubted by the averaged network, by its record of the epoch before."""
        if epoch >= 1:
            self.last = self.average.values[epoch - 1].nan_to_num(1.0)
            self.left_out = lowest(self.last, self.indices, self.params.forget_rate, self.labels)

    def loss(self, logits: Tensor, batch: Batch, epoch: int) -> Tensor:
        """mean_i w_i · CE_i over the samples of the batch that are kept; weights by dataset position."""
        kept = (~self.left_out[batch.indices]).float()
        losses = F.cross_entropy(logits, batch.labels, reduction="none")
        if epoch >= self.warmup:
            losses = losses * hard_weights(self.last[batch.indices], self.params.weighting, self.params.gamma)
        return (losses * kept).sum() / kept.sum().clamp(min=1.0)

    def record(self, epoch: int, batch: Batch, networks: Networks, average: MovingAverage | None) -> None:
        """Store both networks' probabilities; the average runs in training mode so that its statistics follow the data."""
        logits = networks[0].last_logits
        self.gradient.record(epoch, batch.indices, batch.labels, logits)
        if average is None:
            self.average.record(epoch, batch.indices, batch.labels, logits)
            return
        average.update(networks[0])
        average.network.train()
        with torch.no_grad():
            self.average.record(epoch, batch.indices, batch.labels, average.network(batch.images))

    def state_dict(self) -> dict:
        """For checkpoints; who is left out follows from the records."""
        return {"gradient": self.gradient.values, "average": self.average.values}

    def load_state_dict(self, state: dict) -> None:
        """Restore the records."""
        self.gradient.values.copy_(state["gradient"])
        self.average.values.copy_(state["average"])
