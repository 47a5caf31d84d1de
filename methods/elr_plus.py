"""ELR+: early-learning regularisation with two networks, whose averages set each other's targets, and mixup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from benchmark.api import Method, hp, method
from benchmark.training.early_learning import early_learning, move_targets, sigmoid_ramp
from benchmark.training.loop import given_label_probability, method_predictor
from benchmark.training.losses import soft_cross_entropy
from benchmark.training.mixmatch import draw_mixup
from benchmark.training.networks import MovingAverage


@method(
    "elr_plus",
    paper="Liu et al., Early-Learning Regularization Prevents Memorization of Noisy Labels, NeurIPS 2020, arXiv 2007.00151 (ELR+)",
    year=2020,
    family="two networks",
    needs=[],
    cost=2.7,
)
class ELRPlus(Method):
    """Mixup cross-entropy + lambda · log(1 − ⟨p, t⟩); t is the running mean of what the *other* network's average predicts."""

    networks = 2
    presets: ClassVar = {
        "cifar10": {"lambda_": 3.0, "beta": 0.7},
        "cifar10_asymmetric": {"lambda_": 1.0, "beta": 0.9},
        "cifar100": {"lambda_": 7.0, "beta": 0.9, "ramp_steps": 40_000, "weigh_labels": True},
    }

    @dataclass(frozen=True)
    class Params:
        """Hyperparameters of the paper."""

        lambda_: float = hp(3.0, 0.0, 100.0, search=(0.5, 10.0), log=True, help="weight of the regularisation")
        beta: float = hp(0.7, 0.0, 0.999, search=(0.5, 0.99), help="momentum of the targets")
        alpha: float = hp(1.0, 0.0, 100.0, search=(0.2, 8.0), help="of mixup's Beta distribution; 0: no mixup")
        ema: float = hp(0.997, 0.0, 1.0, search=(0.9, 0.999), help="momentum of the averaged weights, at most one epoch's: 1 - 1/steps")
        ema_steps: int = hp(40_000, 0, 10_000_000, tune=False, help="steps until that momentum, at most half of all")
        ramp_steps: int = hp(0, 0, 10_000_000, tune=False, help="steps until the full lambda_, at most half of all")
        weigh_labels: bool = hp(False, help="multiply labels by targets, as published for 100 classes")

    def setup(self, data, run):
        """The targets of both networks start at zero."""
        self.targets = torch.zeros(2, data.n, data.num_classes, device=run.device)

    def fit(self, data, run):
        """Both networks see the same batches, each under a mixup of its own; the averages follow after each step."""
        networks, loader = run.networks(2), run.loader()
        steps = run.protocol.epochs * len(loader)
        self.first, self.second = (MovingAverage(network, self.params.ema) for network in networks)
        full = min(self.params.ema, 1 - 1 / max(1, len(loader)))
        for epoch in run.epochs("train", networks, state=self, predictor=method_predictor(self, networks)):
            for position, batch in enumerate(loader):
                step = epoch * len(loader) + position
                believed = self.beliefs(batch.images)
                ramp = sigmoid_ramp(step, min(self.params.ramp_steps, steps / 2))
                losses = [self.loss(networks[i], batch, believed[1 - i], self.targets[i], ramp) for i in range(2)]
                run.step(networks, losses, len(batch))
                for average, network in zip((self.first, self.second), networks, strict=True):
                    average.momentum = full * sigmoid_ramp(step + 1, min(self.params.ema_steps, steps / 2))
                    average.update(network)
                run.history.record(epoch, batch.indices, batch.labels, torch.stack(believed).mean(dim=0).log())
        return networks

    @torch.no_grad()
    def beliefs(self, images):
        """(B, K) probabilities of the two averages, in training mode: their batch-norm statistics then follow the data."""
        averages = (self.first.network.train(), self.second.network.train())
        return [average(images).softmax(dim=1) for average in averages]

    def loss(self, network, batch, believed, targets, ramp):
        """Mean loss of one network.

        Args:
            network: is trained.
            batch: unmixed.
            believed: (B, K) what the other network's average predicts for the unmixed images.
            targets: (n, K) this network's targets; the batch's are moved towards ``believed`` first.
            ramp: factor on ``lambda_``.
        """
        mix = draw_mixup(len(batch), self.params.alpha, batch.images.device)
        target = mix(move_targets(targets, batch.indices, believed, self.params.beta))
        label = mix(F.one_hot(batch.labels, targets.shape[1]).float())
        if self.params.weigh_labels:
            label = label * target
            label = label / label.sum(dim=1, keepdim=True).clamp(min=1e-12)
        logits = network(mix(batch.images))
        return (soft_cross_entropy(logits, label) + ramp * self.params.lambda_ * early_learning(logits, target)).mean()

    def auxiliary_predictions(self, networks, images):
        """The mean of the two averages; each network alone."""
        averages = [average.network.eval()(images).softmax(dim=1) for average in (self.first, self.second)]
        alone = {f"network{i + 1}": network(images).softmax(dim=1) for i, network in enumerate(networks)}
        return {"average": torch.stack(averages).mean(dim=0), **alone}

    def _target(self):
        """(n, K) mean of both networks' targets, as probabilities."""
        both = self.targets.mean(dim=0)
        return both / both.sum(dim=1, keepdim=True).clamp(min=1e-12)

    def label_quality(self):
        """The given label's share of the targets, which hold the averages' beliefs of the last epochs."""
        return given_label_probability(self._target(), self.data.labels)

    def suspects(self):
        """The labels that are not the most likely class of the targets."""
        return self.corrected_labels() != self.data.labels

    def corrected_labels(self):
        """The most likely class of the targets."""
        return self._target().argmax(dim=1)
