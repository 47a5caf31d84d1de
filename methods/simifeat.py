"""SimiFeat: a label that its nearest neighbours contradict is wrong."""

import math
from dataclasses import dataclass

import torch

from benchmark.api import hp, method
from benchmark.training.detect import Detector, DetectorParams, Verdict
from benchmark.training.loop import train_cross_entropy
from benchmark.training.neighbours import nearest, vote

DECISIONS = ("vote", "rank")
SPARE = 2
"""How many times more neighbours are looked up than a round is expected to need, so that hardly any sample runs short."""


@method(
    "simifeat",
    paper="Zhu, Dong and Liu, Detecting Corrupted Labels Without Training a Model to Predict, ICML 2022, arXiv 2110.06283",
    year=2022,
    family="detect and retrain",
    needs=[],
    cost=1.2,
)
class SimiFeat(Detector):
    """Neighbours among features vote on every label, in several rounds among random parts of the data."""

    @dataclass(frozen=True)
    class Params(DetectorParams):
        """Features, neighbours and rounds."""

        decide: str = hp("vote", choices=DECISIONS, help="vote: another class has the majority in most rounds; rank: noise_rate")
        k: int = hp(10, 1, 1000, search=(5, 50), log=True, help="neighbours that vote")
        rounds: int = hp(10, 1, 1000, search=(1, 20), help="votes taken, each among another random part")
        share: float = hp(0.5, 0.05, 1.0, search=(0.3, 1.0), help="of the samples that may vote in a round")
        epoch_share: float = hp(0.2, 0.01, 1.0, search=(0.1, 1.0), help="of the epochs that the network for the features is trained")

    def detect(self, data, run):
        """Find neighbours once and let them vote in every round."""
        neighbours, similarities = nearest(self._features(data, run), math.ceil(SPARE * self.params.k / self.params.share))
        right, soft = torch.zeros(data.n, device=run.device), torch.zeros(data.n, data.num_classes, device=run.device)
        rejected = torch.zeros(data.n, device=run.device)
        generator = run.rng("simifeat")
        for _ in range(self.params.rounds):
            voters = torch.from_numpy(generator.random(data.n) < self.params.share).to(run.device)
            shares = round_votes(neighbours, similarities, voters, data.labels, data.num_classes, self.params.k)
            given = shares.gather(1, data.labels[:, None]).squeeze(1)
            right += given / shares.norm(dim=1).clamp(min=1e-12)
            rejected += shares.amax(dim=1) > given
            soft += shares
        quality = right / self.params.rounds
        wrong = rejected > self.params.rounds / 2 if self.params.decide == "vote" else self.lowest(quality)
        self.soft = soft / self.params.rounds
        return Verdict(quality, wrong, self.soft.argmax(dim=1))

    def _features(self, data, run):
        """(n, D) frozen features as they are (normalised), or those of a network that is trained for them."""
        if not data.has_pixels:
            return run.predict(lambda features: features)
        everything = torch.arange(data.n, device=run.device)
        epochs = max(1, int(self.params.epoch_share * run.protocol.epochs))
        networks = train_cross_entropy(run, "features", everything, data.labels, epochs=epochs)
        return run.features(networks[0])

    def sample_columns(self):
        """The share of the votes that the given label has."""
        return {**super().sample_columns(), "vote": self.soft.gather(1, self.data.labels[:, None]).squeeze(1)}


def round_votes(neighbours, similarities, voters, labels, num_classes, k):
    """(n, K) shares of the classes among each sample's k nearest voters, each voter weighted by its similarity.

    The weights settle ties, which k equal votes often end in. A sample that none of its candidates may vote on votes for itself.

    Args:
        neighbours: (n, c) int64 candidates, nearest first.
        similarities: (n, c) of the candidates; what is below 0 counts as 0.
        voters: (n,) bool, who may vote.
        labels: (n,) int64.
        num_classes: K.
        k: how many vote, fewer where fewer candidates are voters.
    """
    chosen = voters[neighbours]
    chosen &= chosen.cumsum(dim=1) <= k
    weights = chosen * similarities.clamp(min=1e-6)
    shares = vote(neighbours, labels, num_classes, weights)
    alone = ~chosen.any(dim=1)
    own = torch.zeros_like(shares).scatter_(1, labels[:, None], 1.0)
    return torch.where(alone[:, None], own, shares)
