"""CoDis: co-teaching that prefers samples on which the two networks' probabilities differ."""

from dataclasses import dataclass
from typing import ClassVar

from benchmark.api import hp, method
from benchmark.training.losses import js_divergence
from benchmark.training.two_networks import SmallLossPair, SmallLossParams, cross_entropies, exchanged


@method(
    "codis",
    paper="Xia et al., Combating Noisy Labels with Sample Selection by Mining High-Discrepancy Examples, ICCV 2023, pp. 1833-1843",
    year=2023,
    family="two networks",
    needs=["noise_rate"],
    cost=2.0,
)
class CoDis(SmallLossPair):
    """Networks exchange the samples of small loss minus discrepancy, the Jensen-Shannon divergence of their predictions."""

    presets: ClassVar = {"select_only": {"train_apart": False}}

    @dataclass(frozen=True)
    class Params(SmallLossParams):
        """Hyperparameters of the released program."""

        weight: float = hp(0.15, 0.0, 10.0, search=(0.05, 1.0), help="of the discrepancy")
        train_apart: bool = hp(True, help="the discrepancy is in the training loss too; false: it only selects")

    def training_step(self, batch, networks, epoch):
        """Each network's mean loss over what the other selects."""
        first, second, *losses = cross_entropies(batch, networks)
        p, r = first.softmax(dim=1), second.softmax(dim=1)
        # each network's loss reaches its own weights alone: the other's probabilities are constants in it
        divergences = (js_divergence(p, r.detach()), js_divergence(r, p.detach()))
        scores = [loss - self.params.weight * apart for loss, apart in zip(losses, divergences, strict=True)]
        kept = [self.keep(score, batch.labels, epoch) for score in scores]
        return exchanged(scores if self.params.train_apart else losses, kept)
