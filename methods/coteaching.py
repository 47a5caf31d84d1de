"""Co-teaching: two networks teach each other the samples of small loss."""

from benchmark.api import method
from benchmark.training.two_networks import SmallLossPair, cross_entropies, exchanged


@method(
    "coteaching",
    paper="Han et al., Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels, NeurIPS 2018, arXiv 1804.06872",
    year=2018,
    family="two networks",
    needs=["noise_rate"],
    cost=2.0,
)
class Coteaching(SmallLossPair):
    """Two networks exchange the small-loss part of every batch; the forget rate ramps up to the noise rate."""

    def training_step(self, batch, networks, epoch):
        """Each network's mean loss over the samples that the other finds easy."""
        _, _, *losses = cross_entropies(batch, networks)
        return exchanged(losses, [self.keep(loss, batch.labels, epoch) for loss in losses])
