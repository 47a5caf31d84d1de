"""NCE+RCE: normalised cross-entropy (active) and reverse cross-entropy (passive)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchmark.api import Method, hp, method
from benchmark.training.losses import normalized_cross_entropy, reverse_cross_entropy


@method(
    "nce_rce",
    paper="Ma et al., Normalized Loss Functions for Deep Learning with Noisy Labels, ICML 2020, arXiv 2006.13554",
    year=2020,
    family="robust loss",
    needs=[],
    cost=1.0,
)
class NCEandRCE(Method):
    """alpha · NCE, which raises the given class, + beta · RCE, which lowers the others; both are robust to symmetric noise."""

    presets: ClassVar = {
        "mnist": {"alpha": 1.0, "beta": 10.0},
        "cifar10": {"alpha": 1.0, "beta": 1.0},
        "cifar100": {"alpha": 10.0, "beta": 0.1},
    }

    @dataclass(frozen=True)
    class Params:
        """Hyperparameters of the paper."""

        alpha: float = hp(1.0, 0.0, 100.0, search=(0.1, 10.0), log=True, help="weight of normalised cross-entropy")
        beta: float = hp(1.0, 0.0, 100.0, search=(0.1, 10.0), log=True, help="weight of reverse cross-entropy")

    def training_step(self, batch, networks, epoch):
        """Mean of both over the batch."""
        logits = networks[0](batch.images)
        active, passive = normalized_cross_entropy(logits, batch.labels), reverse_cross_entropy(logits, batch.labels)
        return (self.params.alpha * active + self.params.beta * passive).mean()
