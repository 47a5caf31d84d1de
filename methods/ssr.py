"""SSR+: samples are relabelled where the network is sure and selected where their neighbours agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from benchmark.api import Method, hp, method
from benchmark.seeds import derive_seed
from benchmark.training.loop import given_label_probability, method_predictor
from benchmark.training.losses import soft_cross_entropy
from benchmark.training.mixmatch import draw_mixup, paired
from benchmark.training.neighbours import nearest, vote
from benchmark.training.networks import Networks

HIDDEN, PROJECTED = 256, 128
"""Widths of the two heads of the feature consistency."""


@method(
    "ssr",
    paper="Feng et al., SSR: An Efficient and Robust Framework for Learning with Unknown Label Noise, BMVC 2022, arXiv 2111.11288",
    year=2022,
    family="semi-supervised",
    needs=[],
    cost=3.7,
)
class SSR(Method):
    """Mixup cross-entropy on the selected samples, drawn evenly from the classes, and consistent features on all (the +)."""

    presets: ClassVar = {
        "high": {"theta_r": 0.8},
        "plain": {"lambda_fc": 0.0},
        "weak_views": {"strong": False},
    }

    @dataclass(frozen=True)
    class Params:
        """Hyperparameters of the paper."""

        theta_r: float = hp(0.9, 0.0, 1.0, search=(0.7, 0.98), help="confidence above which the network's class replaces the label")
        theta_s: float = hp(1.0, 0.0, 1.0, search=(0.7, 1.0), help="vote for the label over the highest vote; from here on it is selected")
        k: int = hp(200, 1, 10_000, search=(10, 200), help="neighbours, at most half of the mean size of a class")
        lambda_fc: float = hp(1.0, 0.0, 100.0, search=(0.0, 2.0), help="weight of feature consistency; 0: SSR without the plus")
        alpha: float = hp(4.0, 0.0, 100.0, search=(0.5, 8.0), help="of mixup's Beta distribution; 0: no mixup")
        strong: bool = hp(True, help="train on strong views; false: on weak ones, also where consistency is asked for")
        balance: bool = hp(True, help="divide votes by the classes' shares, and draw the selected samples evenly from the classes")

    def setup(self, data, run):
        """Per-sample state; neighbours cannot be more than a class has."""
        self.k = max(1, min(self.params.k, data.n // (2 * data.num_classes)))
        self.labels = data.labels.clone()
        self.support = torch.zeros(data.n, device=run.device)
        self.selected = torch.ones(data.n, dtype=torch.bool, device=run.device)
        self.quality = torch.zeros(data.n, device=run.device)
        self.judged = 0

    def fit(self, data, run):
        """An epoch is one pass over all samples; the selected ones are gone through beside it, as often as it takes."""
        networks, seen = run.networks(1), "strong" if self.params.strong else "weak"
        self.heads = consistency_heads(networks[0].head.in_features, run)
        for epoch in run.epochs("train", networks, state=self, predictor=method_predictor(self, networks)):
            if epoch == 0:
                self._judge(run, networks)
                networks.train()
            self.heads.set_epoch(epoch, run.protocol.epochs)
            self.heads.train()
            positions = self.positions()
            chosen = run.loader(positions, self.labels[positions], views=(seen, seen))
            for batch, some in paired(run.loader(views=("weak", seen)), chosen):
                loss = self.supervised_loss(networks[0], some)
                if self.params.lambda_fc:
                    loss = loss + self.params.lambda_fc * consistency(networks[0], self.heads[0], *batch.views)
                for optimizer in self.heads.optimizers:
                    optimizer.zero_grad(set_to_none=True)
                run.step(networks, loss, len(batch), after_backward=self._step_heads)
            run.history.record_probabilities(epoch, self._judge(run, networks))
            if epoch + 1 > run.protocol.epochs - run.protocol.last_k:
                self.quality = (self.quality * self.judged + self.support) / (self.judged + 1)
                self.judged += 1
        return networks

    def _step_heads(self):
        for optimizer in self.heads.optimizers:
            optimizer.step()

    def supervised_loss(self, network, batch):
        """Mixup cross-entropy over both strong views of a batch of selected samples."""
        images = torch.cat(batch.views)
        targets = F.one_hot(batch.labels, self.data.num_classes).float().repeat(len(batch.views), 1)
        mix = draw_mixup(len(images), self.params.alpha, images.device)
        return soft_cross_entropy(network(mix(images)), mix(targets)).mean()

    @torch.no_grad()
    def _judge(self, run, networks):
        """Select for the next epoch; returns the (n,) probabilities of the given labels, without augmentation."""
        networks.train(False)
        network, classes = networks[0], self.data.num_classes
        both = run.predict(lambda images: _features_and_logits(network, images))
        probabilities = both[:, -classes:].softmax(dim=1)
        self.select(both[:, :-classes], probabilities)
        return given_label_probability(probabilities, self.data.labels)

    def select(self, features, probabilities):
        """Relabel what the network is sure of, starting from the given labels; select what the neighbours then agree with.

        Args:
            features: (n, D).
            probabilities: (n, K) predictions.
        """
        confidence, favourite = probabilities.max(dim=1)
        self.labels = torch.where(confidence > self.params.theta_r, favourite, self.data.labels)
        votes = self.votes(features)
        highest = votes.amax(dim=1).clamp(min=1e-12)
        self.selected = given_label_probability(votes, self.labels) / highest >= self.params.theta_s
        self.support = given_label_probability(votes, self.data.labels) / highest

    def votes(self, features):
        """(n, K) shares of the present labels among the k nearest neighbours, over the classes' own shares."""
        votes = vote(nearest(features, self.k)[0], self.labels, self.data.num_classes)
        if not self.params.balance:
            return votes
        shares = torch.bincount(self.labels, minlength=self.data.num_classes).float() / len(self.labels)
        return votes / shares.clamp(min=1e-12)

    def positions(self):
        """(m,) int64 positions to train on: those selected, or all if there are none; with ``balance`` each class as often as
        the largest, its samples repeated evenly."""
        chosen = torch.where(self.selected | ~self.selected.any())[0]
        if not self.params.balance:
            return chosen
        chosen = chosen[torch.randperm(len(chosen)).to(chosen.device)]  # whom the last, incomplete round of a class leaves out
        chosen = chosen[self.labels[chosen].argsort(stable=True)]
        sizes = torch.bincount(self.labels[chosen], minlength=self.data.num_classes)
        first, sizes = (sizes.cumsum(0) - sizes)[sizes > 0], sizes[sizes > 0]
        turns = torch.arange(int(sizes.max()), device=chosen.device)
        return chosen[(first[:, None] + turns[None, :] % sizes[:, None]).flatten()]

    def label_quality(self):
        """The vote for the given label over the highest vote, mean over the last epochs."""
        return self.quality

    def suspects(self):
        """The labels that were replaced, or with which their neighbours do not agree."""
        return (self.labels != self.data.labels) | ~self.selected

    def corrected_labels(self):
        """The labels after the last epoch; -1 where the neighbours do not agree."""
        return torch.where(self.selected, self.labels, -1)

    def diagnostics(self):
        """Shares of selected and of relabelled samples, and the number of neighbours."""
        relabelled = (self.labels != self.data.labels).float().mean()
        return {"selected": float(self.selected.float().mean()), "relabelled": float(relabelled), "k": float(self.k)}


def _features_and_logits(network, images):
    features = network.features(images)
    return torch.cat([features, network.head(features)], dim=1)


class ConsistencyHeads(nn.Module):
    """A projection z = f(features) and a prediction h(z), each of two layers."""

    def __init__(self, width):
        super().__init__()
        self.project, self.predict = _two_layers(width), _two_layers(PROJECTED)


def _two_layers(width):
    return nn.Sequential(nn.Linear(width, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PROJECTED))


def consistency_heads(width, run):
    """The heads, with an optimiser on the run's plan; their weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed("weights", run.seed, "ssr heads"))
        heads = ConsistencyHeads(width)
    return Networks([heads.to(run.device)], run.protocol)


def consistency(network, heads, weak, strong):
    """−cos(h(f(strong)), f(weak)), mean over the batch; no gradient goes through the weak view (SimSiam, one direction)."""
    with torch.no_grad():
        anchor = heads.project(network.features(weak))
    return -F.cosine_similarity(heads.predict(heads.project(network.features(strong))), anchor, dim=1).mean()
