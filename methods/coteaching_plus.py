"""Co-teaching+: two networks teach each other the small-loss samples among those on which they disagree."""

from dataclasses import dataclass
from typing import ClassVar

from benchmark.api import hp, method
from benchmark.training.selection import capped_epochs
from benchmark.training.two_networks import SmallLossPair, SmallLossParams, cross_entropies, disagreement, exchanged, without_gradients


@method(
    "coteaching_plus",
    paper="Yu et al., How does Disagreement Help Generalization against Label Corruption?, ICML 2019, arXiv 1901.04215",
    year=2019,
    family="two networks",
    needs=["noise_rate"],
    cost=2.0,
)
class CoteachingPlus(SmallLossPair):
    """Co-teaching at first; then a batch is cut down to the samples whose predicted classes differ between the networks."""

    presets: ClassVar = {"mnist": {"init_epochs": 0}, "cifar10": {"init_epochs": 20}, "cifar100": {"init_epochs": 5}}

    @dataclass(frozen=True)
    class Params(SmallLossParams):
        """Hyperparameters of the paper and of its program."""

        init_epochs: int = hp(20, 0, 1000, search=(0, 20), help="epochs of plain co-teaching before, at most a third of all")

    def setup(self, data, run):
        """Fix the noise rate, the ramp and the epoch from which only disagreement counts."""
        super().setup(data, run)
        published = self.params.init_epochs
        self.init_epochs = capped_epochs(published, run.protocol.epochs, share=1 / 3) if published else 0

    def training_step(self, batch, networks, epoch):
        """Each network's mean loss over what the other finds easy, among the samples on which they disagree."""
        first, second, *losses = cross_entropies(batch, networks)
        among = None
        if epoch >= self.init_epochs:
            among = disagreement(first, second)
            self.learns = among.any()
        return exchanged(losses, [self.keep(loss, batch.labels, epoch, among) for loss in losses])

    def after_backward(self, networks, epoch):
        """A batch on which the networks agree throughout teaches nothing."""
        if epoch >= self.init_epochs:
            without_gradients(networks, unless=self.learns)
