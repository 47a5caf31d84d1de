"""Methods that train two networks side by side: what they share in training, in prediction and in judging labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.api import Batch, Method, TrainingData, hp
from benchmark.training.context import RunContext
from benchmark.training.detect import lowest_share
from benchmark.training.loop import given_label_probability
from benchmark.training.networks import Networks
from benchmark.training.noise_rate import noise_rate_hp
from benchmark.training.selection import (
    capped_epochs,
    forget_rate,
    keep_mask,
    masked_mean,
    rank_within,  # noqa: F401 - coteaching_vog has it from here
)
from benchmark.training.side_by_side import logits_of


class TwoNetworks(Method):
    """Two networks of the protocol's backbone, from different initial weights, on the same batches.

    After training every sample is scored once, by both networks, in evaluation mode and without augmentation: the picks of the last
    epoch depend on batch mates and on one draw of the augmentation.

    Attributes:
        quality: (n,) mean probability of the given label under both networks; set at the end of :meth:`fit`.
    """

    networks = 2
    quality: Tensor

    def auxiliary_predictions(self, networks: Networks, images: Tensor) -> dict[str, Tensor]:
        """Each network alone, as the papers report them."""
        return {f"network{i + 1}": network(images).softmax(dim=1) for i, network in enumerate(networks)}

    def fit(self, data: TrainingData, run: RunContext) -> Networks:
        """Train, then score all samples."""
        networks = super().fit(data, run)
        self.quality = given_label_probability(run.class_probabilities(networks), data.labels)
        return networks

    def label_quality(self) -> Tensor:
        """Mean probability of the given label under both networks, in evaluation mode."""
        return self.quality


@dataclass(frozen=True)
class SmallLossParams:
    """What every method takes that leaves a growing share of each batch out; subclass it for more."""

    noise_rate: float | str = noise_rate_hp("final share of each batch to leave out")
    num_gradual: int = hp(10, 1, 1000, search=(1, 20), help="epochs until the full forget rate, at most a quarter of all")
    exponent: float = hp(1.0, 0.1, 4.0, search=(0.5, 2.0), help="the ramp ends at noise_rate ** exponent")
    per_class: bool = hp(False, help="leave out this share of every class, instead of the worst samples overall")


class SmallLossPair(TwoNetworks):
    """Two networks that learn from the small-loss part of every batch; the share that they leave out ramps up to the noise rate.

    Attributes:
        rate: the noise rate.
        gradual: epochs until the full forget rate.
    """

    Params = SmallLossParams
    rate: float
    gradual: int

    def setup(self, data: TrainingData, run: RunContext) -> None:
        """Fix the noise rate and the ramp."""
        self.rate = run.noise_rate(self.params.noise_rate)
        self.gradual = capped_epochs(self.params.num_gradual, run.protocol.epochs, share=0.25)

    def forget(self, epoch: int) -> float:
        """The share of a batch to leave out in a 0-based epoch."""
        return forget_rate(epoch, self.rate, self.gradual, self.params.exponent)

    def keep(self, losses: Tensor, labels: Tensor, epoch: int, among: Tensor | None = None) -> Tensor:
        """(B,) bool: the samples of smallest loss, by the epoch's forget rate and ``per_class``.

        Args:
            losses: (B,) losses or other scores, lower is better.
            labels: (B,) int64 given labels.
            epoch: 0-based.
            among: (B,) bool, the samples to choose from; the forget rate is then a share of these. None is kept where there are none.
        """
        groups = labels if self.params.per_class else None
        if among is None:
            return keep_mask(losses, self.forget(epoch), groups)
        # the others form a group of their own, so that nothing has to be counted on the host
        apart = torch.full_like(labels, -1)
        chosen = keep_mask(losses, self.forget(epoch), torch.where(among, torch.zeros_like(labels) if groups is None else groups, apart))
        return chosen & among

    def suspects(self) -> Tensor:
        """The samples of lowest quality: the noise rate's share of all, or of every class."""
        return lowest_share(self.quality, self.rate, self.data.labels if self.params.per_class else None)

    def diagnostics(self) -> dict[str, float]:
        """The noise rate that was used."""
        return {"noise_rate": self.rate}


def cross_entropies(batch: Batch, networks: Networks) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits (B, K) of both networks and their cross-entropies (B,) with the given labels."""
    first, second = logits_of(networks, batch.images)
    losses = [F.cross_entropy(logits, batch.labels, reduction="none") for logits in (first, second)]
    return first, second, losses[0], losses[1]


def exchanged(losses: tuple[Tensor, Tensor], kept: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The cross update: each network's mean loss over what the other keeps.

    Args:
        losses: (B,) of both networks.
        kept: (B,) bool, what each network keeps.

    Returns:
        Two scalars; 0 for a network whose peer keeps nothing.
    """
    return masked_mean(losses[0], kept[1]), masked_mean(losses[1], kept[0])


def disagreement(first: Tensor, second: Tensor) -> Tensor:
    """(B,) bool: where two networks of (B, K) logits predict different classes."""
    return first.argmax(dim=1) != second.argmax(dim=1)


def without_gradients(networks: Networks, unless: Tensor) -> None:
    """Take the gradients away unless a condition holds, so that the optimisers leave the weights alone.

    A batch without a single sample to learn from has gradients of zero, and Adam would still move by its momentum. For
    :meth:`Method.after_backward`; looking at the condition is one sync.

    Args:
        networks: whose gradients.
        unless: bool scalar, on the device.
    """
    if not bool(unless):
        for network in networks:
            for parameter in network.parameters():
                parameter.grad = None
