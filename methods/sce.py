"""Symmetric cross-entropy: cross-entropy and the same with label and prediction exchanged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchmark.api import Method, hp, method
from benchmark.training.losses import LOG_ZERO, cross_entropy, reverse_cross_entropy


@method(
    "sce",
    paper="Wang et al., Symmetric Cross Entropy for Robust Learning with Noisy Labels, ICCV 2019, arXiv 1908.06112",
    year=2019,
    family="robust loss",
    needs=[],
    cost=1.0,
)
class SymmetricCrossEntropy(Method):
    """alpha · cross-entropy, which learns, + beta · reverse cross-entropy, which symmetric noise does not mislead."""

    presets: ClassVar = {
        "mnist": {"alpha": 0.01, "beta": 1.0},
        "cifar10": {"alpha": 0.1, "beta": 1.0},
        "cifar100": {"alpha": 6.0, "beta": 0.1},
    }

    @dataclass(frozen=True)
    class Params:
        """Hyperparameters of the paper."""

        alpha: float = hp(0.1, 0.0, 100.0, search=(0.01, 6.0), log=True, help="weight of cross-entropy")
        beta: float = hp(1.0, 0.0, 100.0, search=(0.1, 1.0), help="weight of reverse cross-entropy")
        log_zero: float = hp(LOG_ZERO, -50.0, -0.01, tune=False, help="what log 0 counts as; only its product with beta matters")

    def training_step(self, batch, networks, epoch):
        """Mean of both over the batch."""
        logits = networks[0](batch.images)
        reverse = reverse_cross_entropy(logits, batch.labels, self.params.log_zero)
        return (self.params.alpha * cross_entropy(logits, batch.labels) + self.params.beta * reverse).mean()
