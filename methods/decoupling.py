"""Decoupling: two networks learn from the samples on which they disagree."""

from dataclasses import dataclass
from typing import ClassVar

from benchmark.api import hp, method
from benchmark.training.selection import capped_epochs
from benchmark.training.two_networks import TwoNetworks, cross_entropies, disagreement, without_gradients


@method(
    "decoupling",
    paper='Malach and Shalev-Shwartz, Decoupling "when to update" from "how to update", NeurIPS 2017, arXiv 1706.02613',
    year=2017,
    family="two networks",
    needs=[],
    cost=2.0,
)
class Decoupling(TwoNetworks):
    """Update by disagreement: a sample counts in both losses while the networks predict different classes for it."""

    presets: ClassVar = {"mean": {"min_share": 0.0}}

    @dataclass(frozen=True)
    class Params:
        """Hyperparameters of the released program."""

        warmup: int = hp(0, 0, 1000, search=(0, 10), help="epochs of plain cross-entropy before, at most a quarter of all")
        min_share: float = hp(0.1, 0.0, 1.0, search=(0.0, 0.5), help="a sum is divided by this share of the batch at least; 0: a mean")

    def setup(self, data, run):
        """Fix the epoch from which only disagreement counts."""
        warmup = self.params.warmup
        self.warmup = capped_epochs(warmup, run.protocol.epochs, share=0.25) if warmup else 0

    def training_step(self, batch, networks, epoch):
        """Each network's loss over the samples on which the two disagree."""
        first, second, *losses = cross_entropies(batch, networks)
        if epoch < self.warmup:
            return [loss.mean() for loss in losses]
        differ = disagreement(first, second)
        self.learns = differ.any()
        count = differ.sum().clamp(min=max(1.0, self.params.min_share * len(batch.labels)))
        return [(loss * differ).sum() / count for loss in losses]

    def after_backward(self, networks, epoch):
        """A batch on which the networks agree throughout teaches nothing."""
        if epoch >= self.warmup:
            without_gradients(networks, unless=self.learns)
