"""ELR: early-learning regularisation holds the network to what it believed before it learned wrong labels by heart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from benchmark.api import Method, hp, method
from benchmark.training.early_learning import early_learning, move_targets
from benchmark.training.loop import given_label_probability
from benchmark.training.losses import cross_entropy


@method(
    "elr",
    paper="Liu et al., Early-Learning Regularization Prevents Memorization of Noisy Labels, NeurIPS 2020, arXiv 2007.00151",
    year=2020,
    family="regularisation",
    needs=[],
    cost=1.0,
)
class ELR(Method):
    """Cross-entropy + lambda · log(1 − ⟨p, t⟩), where t is the running mean of a sample's own predictions p."""

    presets: ClassVar = {
        "cifar10": {"lambda_": 3.0, "beta": 0.7},
        "cifar10_asymmetric": {"lambda_": 1.0, "beta": 0.9},
        "cifar100": {"lambda_": 7.0, "beta": 0.9},
    }

    @dataclass(frozen=True)
    class Params:
        """Hyperparameters of the paper."""

        lambda_: float = hp(3.0, 0.0, 100.0, search=(0.5, 10.0), log=True, help="weight of the regularisation; 0 is cross-entropy")
        beta: float = hp(0.7, 0.0, 0.999, search=(0.5, 0.99), help="momentum of the running mean")

    def setup(self, data, run):
        """The running means start at zero."""
        self.targets = torch.zeros(data.n, data.num_classes, device=run.device)

    def training_step(self, batch, networks, epoch):
        """The batch's predictions enter its targets first, as published; no gradient goes through the targets."""
        logits = networks[0](batch.images)
        targets = move_targets(self.targets, batch.indices, logits.detach().softmax(dim=1), self.params.beta)
        return (cross_entropy(logits, batch.labels) + self.params.lambda_ * early_learning(logits, targets)).mean()

    def label_quality(self):
        """The given label's share of the target, which holds the network's belief of the last epochs."""
        return given_label_probability(self.targets / self.targets.sum(dim=1, keepdim=True).clamp(min=1e-12), self.data.labels)

    def suspects(self):
        """The labels that are not the target's most likely class."""
        return self.corrected_labels() != self.data.labels

    def corrected_labels(self):
        """The target's most likely class; the given label before the first epoch."""
        return torch.where(self.targets.sum(dim=1) > 0, self.targets.argmax(dim=1), self.data.labels)
