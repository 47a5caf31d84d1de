"""Bootstrapping: the target is a mixture of the given label and what the network itself believes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchmark.api import Method, hp, method
from benchmark.training.losses import cross_entropy, entropy


@method(
    "bootstrapping",
    paper="Reed et al., Training Deep Neural Networks on Noisy Labels with Bootstrapping, ICLR workshop 2015, arXiv 1412.6596",
    year=2015,
    family="robust loss",
    needs=[],
    cost=1.0,
)
class Bootstrapping(Method):
    """Cross-entropy against beta · label + (1 − beta) · prediction, the prediction as one class (hard) or as it is (soft)."""

    presets: ClassVar = {"hard": {"kind": "hard", "beta": 0.8}, "soft": {"kind": "soft", "beta": 0.95}}

    @dataclass(frozen=True)
    class Params:
        """Hyperparameters of the paper."""

        kind: str = hp("hard", choices=("hard", "soft"), help="what stands beside the label: the predicted class, or all probabilities")
        beta: float = hp(0.8, 0.0, 1.0, search=(0.5, 0.98), help="weight of the given label; published: 0.8 with hard, 0.95 with soft")

    def training_step(self, batch, networks, epoch):
        """The mean over the batch; a soft target is differentiated too, which makes it entropy minimisation."""
        logits = networks[0](batch.images)
        predicted = entropy(logits) if self.params.kind == "soft" else cross_entropy(logits, logits.detach().argmax(dim=1))
        return (self.params.beta * cross_entropy(logits, batch.labels) + (1 - self.params.beta) * predicted).mean()
