"""Mixup: train on weighted means of two samples and of their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F

from benchmark.api import Method, hp, method
from benchmark.training.losses import soft_cross_entropy
from benchmark.training.mixmatch import draw_mixup


@method(
    "mixup",
    paper="Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018, arXiv 1710.09412",
    year=2018,
    family="regularisation",
    needs=[],
    cost=1.5,
)
class Mixup(Method):
    """Every batch is mixed with itself in another order, by one weight that is drawn from Beta(alpha, alpha)."""

    records_history = False
    presets: ClassVar = {"noise20": {"alpha": 8.0}, "noise50": {"alpha": 32.0}, "noise80": {"alpha": 32.0}}

    @dataclass(frozen=True)
    class Params:
        """Hyperparameters of the paper."""

        alpha: float = hp(1.0, 0.0, 1000.0, search=(0.2, 32.0), log=True, help="0 is no mixing; large is always half and half")

    def training_step(self, batch, networks, epoch):
        """Samples and one-hot labels are mixed alike."""
        mix = draw_mixup(len(batch), self.params.alpha, batch.images.device)
        targets = mix(F.one_hot(batch.labels, self.data.num_classes).float())
        return soft_cross_entropy(networks[0](mix(batch.images)), targets).mean()
