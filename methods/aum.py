"""Area under the margin: a label that the network learns against its own inclination has a low margin throughout training."""

import dataclasses
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from benchmark.api import hp, method
from benchmark.training.detect import Detector, DetectorParams, StageTensors, Verdict
from benchmark.training.networks import Networks

THRESHOLDS = ("extra_class", "rate")


@method(
    "aum",
    paper="Pleiss et al., Identifying Mislabeled Data using the Area Under the Margin Ranking, NeurIPS 2020, arXiv 2001.10528",
    year=2020,
    family="detect and retrain",
    needs=[],
    cost=2.0,
)
class AreaUnderMargin(Detector):
    """Ranks labels by their mean margin over training; samples of a made-up class show how low a wrong label's margin is."""

    @dataclass(frozen=True)
    class Params(DetectorParams):
        """How the margins are made and where they are cut."""

        threshold: str = hp("extra_class", choices=THRESHOLDS, help="extra_class: what samples of a made-up class reach; rate: noise_rate")
        percentile: float = hp(99.0, 50.0, 100.0, search=(90.0, 100.0), help="extra_class: of the made-up class's margins, the cut")
        epoch_share: float = hp(0.5, 0.01, 1.0, search=(0.2, 1.0), help="of the epochs, in each detection run; the paper's 150 of 300")

    def detect(self, data, run):
        """One run a set of threshold samples (two; one without any under ``threshold=rate``), at a constant learning rate."""
        sets = threshold_sets(data.n, data.num_classes, run.rng("aum")) if self.params.threshold == "extra_class" else [[]]
        total, seen = torch.zeros(data.n, device=run.device), torch.zeros(data.n, device=run.device)
        probability = torch.zeros(data.n, data.num_classes, device=run.device)
        wrong = torch.ones(data.n, dtype=torch.bool, device=run.device)
        self.thresholds = {}
        for number, chosen in enumerate(sets, start=1):
            fake = torch.zeros(data.n, dtype=torch.bool, device=run.device)
            fake[torch.as_tensor(chosen, dtype=torch.int64, device=run.device)] = True
            extra = self.params.threshold == "extra_class"
            margins, predicted = self._run(f"margins{number}", torch.where(fake, data.num_classes, data.labels), extra, data, run)
            if extra:
                cut = indicator_threshold(margins[fake], self.params.percentile)
                wrong &= fake | (margins < cut)  # wrong only if every run that kept the label says so
                self.thresholds[f"threshold{number}"] = cut
            total += torch.where(fake, 0, margins)
            probability += torch.where(fake[:, None], 0, predicted)
            seen += ~fake
        quality = total / seen.clamp(min=1)
        return Verdict(quality, wrong if self.params.threshold == "extra_class" else self.lowest(quality), probability.argmax(dim=1))

    def _run(self, stage, labels, extra, data, run):
        """(n,) mean margins of labels and (n, K) mean probabilities over one run's epochs but the first."""
        epochs = max(1, int(self.params.epoch_share * run.protocol.epochs))
        networks = constant_rate_networks(run, stage, extra)
        state = StageTensors(
            margin=torch.zeros(data.n, device=run.device), probability=torch.zeros(data.n, data.num_classes, device=run.device)
        )
        loader, first = run.loader(labels=labels), min(1, epochs - 1)
        for epoch in run.epochs(stage, networks, epochs=epochs, state=state):
            for batch in loader:
                run.step(networks, F.cross_entropy(networks[0](batch.images), batch.labels), len(batch))
                if epoch >= first:  # the first epoch's margins are those of the initial weights
                    logits = networks[0].last_logits
                    state["margin"].index_add_(0, batch.indices, margin(logits, batch.labels))
                    state["probability"].index_add_(0, batch.indices, logits[:, : data.num_classes].softmax(dim=1))
        return state["margin"] / (epochs - first), state["probability"] / (epochs - first)

    def diagnostics(self):
        """The margin below which each run calls a label wrong, too."""
        return super().diagnostics() | self.thresholds


def margin(logits, labels):
    """(B,) the label's logit less the largest other one; 0 where there is no other class."""
    given = logits.gather(1, labels.view(-1, 1))
    other = logits.scatter(1, labels.view(-1, 1), -math.inf).amax(dim=1)
    return (given.squeeze(1) - other).nan_to_num(posinf=0.0)


def threshold_sets(n, num_classes, rng):
    """Two disjoint random sets of ⌊n / (K + 1)⌋ positions, as many as a class has on average once there is one more."""
    count = n // (num_classes + 1)
    order = rng.permutation(n)
    return [order[:count], order[count : 2 * count]]


def indicator_threshold(margins, percentile):
    """The margin under which a label is wrong: less than more than (100 − percentile) % of the threshold samples reach.

    Args:
        margins: (m,) of the threshold samples; without any, nothing is below the threshold.
        percentile: in [0, 100].
    """
    if len(margins) == 0:
        return float(torch.finfo(torch.float32).min)
    above = math.floor((1 - percentile / 100) * len(margins) + 1e-9)
    return float(margins.sort(descending=True).values[min(above, len(margins) - 1)])


def constant_rate_networks(run, stage, extra):
    """One fresh network at the protocol's learning rate throughout; with ``extra`` it has an output for one more class.

    Up to the first drop of the learning rate networks have learnt few wrong labels by heart.
    """
    network = run.networks(1, name=stage)[0]
    if extra:
        wide = nn.Linear(network.head.in_features, network.head.out_features + 1).to(run.device)
        bound = 1 / math.sqrt(network.head.in_features)
        drawn = torch.from_numpy(run.rng(stage, "extra class").uniform(-bound, bound, network.head.in_features + 1)).float().to(run.device)
        with torch.no_grad():
            wide.weight.copy_(torch.cat([network.head.weight, drawn[None, 1:]]))
            wide.bias.copy_(torch.cat([network.head.bias, drawn[:1]]))
        network.head = wide
    return Networks([network], dataclasses.replace(run.protocol, lr_schedule="constant"))
