"""Generalised cross-entropy: between cross-entropy, which learns fast, and absolute error, which noise does not mislead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from benchmark.api import Method, hp, method
from benchmark.training.loop import given_label_probability
from benchmark.training.losses import generalized_cross_entropy
from benchmark.training.selection import capped_epochs


@method(
    "gce",
    paper="Zhang and Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels, NeurIPS 2018, "
    "arXiv 1805.07836",
    year=2018,
    family="robust loss",
    needs=[],
    cost=1.0,
)
class GeneralizedCrossEntropy(Method):
    """(1 − p^q)/q of the given label's probability p; truncated, it gives up the labels whose p stays at or below k."""

    presets: ClassVar = {"truncated": {"truncate": 0.5}}

    @dataclass(frozen=True)
    class Params:
        """Hyperparameters of the paper."""

        q: float = hp(0.7, 0.0, 1.0, search=(0.1, 0.95), help="0 is cross-entropy, 1 is half the absolute error")
        truncate: float = hp(0.0, 0.0, 0.99, tune=False, help="k: labels of no higher probability are left out; 0: none, 0.5: published")
        prune_start: int = hp(40, 1, 1000, tune=False, help="epochs before labels are left out, at most a third of all")
        prune_every: int = hp(10, 1, 1000, tune=False, help="epochs between two looks at all labels, at most a twelfth of all")

    def setup(self, data, run):
        """All labels count at first."""
        self.kept = torch.ones(data.n, dtype=torch.bool, device=run.device)
        self.start = capped_epochs(self.params.prune_start, run.protocol.epochs, share=1 / 3)
        self.every = capped_epochs(self.params.prune_every, run.protocol.epochs, share=1 / 12)

    def training_step(self, batch, networks, epoch):
        """Mean over the batch; labels that are left out count as 0."""
        losses = generalized_cross_entropy(networks[0](batch.images), batch.labels, self.params.q)
        return (losses * self.kept[batch.indices]).mean()

    def end_epoch(self, networks, epoch, run):
        """Look at all labels again, in evaluation mode and without augmentation."""
        done = epoch + 1 - self.start
        if self.params.truncate and done >= 0 and done % self.every == 0 and epoch + 1 < run.protocol.epochs:
            given = given_label_probability(run.class_probabilities(networks), self.data.labels)
            kept = given > self.params.truncate
            self.kept = kept | ~kept.any()  # a network that believes no label has learned nothing yet

    def suspects(self):
        """The labels that the truncated loss has left out; without truncation it judges none."""
        return ~self.kept if self.params.truncate else None

    def corrected_labels(self):
        """-1 for labels that were left out."""
        return torch.where(self.kept, self.data.labels, -1) if self.params.truncate else None
