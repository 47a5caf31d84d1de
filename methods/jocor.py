"""JoCoR: two networks are trained towards the labels and towards each other, on the samples of small joint loss."""

from dataclasses import dataclass
from typing import ClassVar

from benchmark.api import hp, method
from benchmark.training.losses import kl_divergence
from benchmark.training.selection import masked_mean
from benchmark.training.two_networks import SmallLossPair, SmallLossParams, cross_entropies


@method(
    "jocor",
    paper="Wei et al., Combating Noisy Labels by Agreement: A Joint Training Method with Co-Regularization, CVPR 2020, arXiv 2003.02752",
    year=2020,
    family="two networks",
    needs=["noise_rate"],
    cost=2.0,
)
class JoCoR(SmallLossPair):
    """One loss for both networks: cross-entropies plus the symmetric divergence between them; the smallest of a batch count."""

    presets: ClassVar = {
        "cifar10": {"weight": 0.9},
        "cifar10_sym80": {"weight": 0.65},
        "cifar100": {"weight": 0.85},
        "released": {"weight": 0.1},
    }

    @dataclass(frozen=True)
    class Params(SmallLossParams):
        """Hyperparameters of the paper."""

        weight: float = hp(0.9, 0.0, 1.0, search=(0.05, 0.95), help="of agreement; the labels have the rest")

    def joint_losses(self, batch, networks):
        """(B,) λ (KL(p1‖p2) + KL(p2‖p1)) + (1 − λ) (CE1 + CE2); gradients reach both networks through both divergences."""
        first, second, *labelled = cross_entropies(batch, networks)
        apart = kl_divergence(first, second) + kl_divergence(second, first)
        return self.params.weight * apart + (1 - self.params.weight) * sum(labelled)

    def training_step(self, batch, networks, epoch):
        """The mean joint loss over the part of the batch where it is smallest, the same part for both networks."""
        losses = self.joint_losses(batch, networks)
        return masked_mean(losses, self.keep(losses, batch.labels, epoch))
