"""PGDF: co-division guided by a prior from training histories, with denoised guesses and hard samples weighed up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from benchmark.api import hp, method
from benchmark.training.codivide import CoDivide, CoDivideParams
from benchmark.training.history_prior import history_prior

ENHANCE, DENOISE, MIX = 100 / 300, 150 / 300, 200 / 300
"""After these shares of the epochs: hard samples are weighed up, guesses are denoised, losses join the prior in the division."""


@method(
    "pgdf",
    paper="Chen et al., Sample Prior Guided Robust Model Learning to Suppress Noisy Labels, ECML PKDD 2023, arXiv 2112.01197",
    year=2023,
    family="semi-supervised",
    needs=["noise_rate"],
    cost=10.0,
)
class PGDF(CoDivide):
    """DivideMix whose division starts from what the history of a plain training says of each sample."""

    presets: ClassVar = {
        "low": {"lambda_u": 0.0},
        "high": {"lambda_u": 25.0},
        "cifar100_low": {"lambda_u": 25.0, "warmup": 30},
        "cifar100_high": {"lambda_u": 150.0, "warmup": 30},
        "weak_views": {"strong": False},
        "imbalanced": {"prior": "none", "per_class": True},
    }

    @dataclass(frozen=True)
    class Params(CoDivideParams):
        """DivideMix's, with this program's defaults, and its own."""

        temperature: float = hp(1.0, 0.05, 1.0, search=(0.3, 1.0), help="sharpening of guessed and refined labels; 1: none")
        strong: bool = hp(True, help="strong views to train on, weak ones to guess from; false: weak ones for both")
        loss_weight: float = hp(0.5, 0.0, 1.0, search=(0.2, 0.8), help="of the mixture over losses in the division, against the prior")
        hard_exponent: float = hp(2.0, 0.0, 4.0, search=(0.0, 3.0), help="labels weigh 1/w^this, w their probability of being right")
        denoise_guesses: bool = hp(True, help="undo the confusion of classes that is seen on easy samples")

    def setup(self, data, run):
        """The prior comes from stages of its own, in :meth:`fit`."""
        super().setup(data, run)
        self.used_rate = self.rate(run)
        self.easy = torch.zeros(data.n, dtype=torch.bool, device=run.device)
        self.history_clean = torch.ones(2, data.n, device=run.device)
        self.undo = torch.eye(data.num_classes, device=run.device).repeat(2, 1, 1)

    def fit(self, data, run):
        """Two trainings for the prior, then the stages of DivideMix."""
        prior = history_prior(run, data, self.used_rate)
        self.easy, self.history_clean = prior.easy, prior.clean
        return super().fit(data, run)

    def divide(self, losses, probabilities, epoch):
        """The prior alone at first, then its weighted mean with the mixture over losses."""
        labels, k = self.data.labels, self.data.num_classes
        self.undo = torch.stack([undo_confusion(confusion(each, labels, self.easy, k)) for each in probabilities])
        if epoch + 1 < MIX * self.run.protocol.epochs:
            return self.history_clean
        return torch.lerp(self.history_clean, super().divide(losses, probabilities, epoch), self.params.loss_weight)

    def denoise(self, probabilities, taught, epoch):
        """Guesses with the taught network's own confusion of classes undone."""
        if not self.params.denoise_guesses or epoch < DENOISE * self.run.protocol.epochs:
            return probabilities
        found = (probabilities @ self.undo[taught]).clamp(min=0)
        total = found.sum(dim=1, keepdim=True)
        return torch.where(total > 0, found / total.clamp(min=1e-12), probabilities)

    def label_weights(self, clean, epoch):
        """1/w^exponent; a label that is used although its w is below the threshold counts as one at the threshold."""
        if epoch < ENHANCE * self.run.protocol.epochs or self.params.hard_exponent == 0:
            return None
        return clean.clamp(min=max(self.params.p_threshold, 0.1)) ** -self.params.hard_exponent

    def sample_columns(self):
        """What the histories say: the probability of being right (mean of both detectors), and who is easy."""
        return {"history_clean": self.history_clean.mean(dim=0), "easy": self.easy.long()}


def confusion(probabilities, labels, easy, num_classes):
    """(K, K) mean prediction of the easy samples of each class; the row of a class without any is its own.

    Args:
        probabilities: (n, K).
        labels: (n,) int64.
        easy: (n,) bool.
        num_classes: K.
    """
    members = F.one_hot(labels, num_classes).float() * easy.unsqueeze(1)
    count = members.sum(dim=0).unsqueeze(1)
    own = torch.eye(num_classes, device=labels.device)
    return torch.where(count > 0, members.T @ probabilities / count.clamp(min=1), own)


def undo_confusion(matrix):
    """The inverse of a (K, K) confusion; of one that tells no classes apart, the pseudo-inverse."""
    return torch.linalg.pinv(matrix.double(), rtol=1e-3).to(matrix.dtype)
