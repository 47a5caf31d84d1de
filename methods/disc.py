"""DISC: every sample has a threshold of its own, which follows how sure the network has been of it, in two views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from benchmark.api import Method, hp, method
from benchmark.training.loop import given_label_probability, method_predictor
from benchmark.training.losses import cross_entropy, generalized_cross_entropy, soft_cross_entropy
from benchmark.training.mixmatch import draw_mixup, same_share_per_class
from benchmark.training.selection import capped_epochs, masked_mean

HIGHEST = 0.9
"""No threshold of correction is above this. The paper has max(…, 0.99), which its authors call an error for min; their program 0.9."""


@method(
    "disc",
    paper="Li et al., DISC: Learning from Noisy Labels via Dynamic Instance-Specific Selection and Correction, CVPR 2023, doi "
    "10.1109/CVPR52729.2023.02305",
    year=2023,
    family="semi-supervised",
    needs=[],
    cost=3.5,
)
class DISC(Method):
    """Clean (above both thresholds): cross-entropy; hard (above one): GCE; these and the corrected ones: mixup."""

    presets: ClassVar = {
        "asymmetric": {"momentum": 0.95},
        "instance": {"start": 15},
        "high": {"momentum": 0.95, "lambda_hard": 0.2},
    }

    @dataclass(frozen=True)
    class Params:
        """Hyperparameters of the paper."""

        momentum: float = hp(0.99, 0.0, 0.999, search=(0.9, 0.99), help="of the thresholds; it looks back over at most half of all epochs")
        start: int = hp(20, 1, 1000, search=(2, 20), help="epochs of cross-entropy on both views, at most a quarter of all")
        sigma: float = hp(0.5, 0.0, 1.0, search=(0.2, 0.7), help="above the mean threshold, a prediction replaces the label")
        lambda_hard: float = hp(1.0, 0.0, 10.0, search=(0.1, 2.0), help="weight of the hard samples' loss")
        q: float = hp(0.7, 0.0, 1.0, search=(0.3, 1.0), help="of generalised cross-entropy")
        alpha: float = hp(5.0, 0.0, 100.0, search=(0.5, 8.0), help="of mixup's Beta distribution; 0: no mixup")
        per_class: bool = hp(False, help="select the same share of each class")

    def setup(self, data, run):
        """Per-sample state, for the weak and the strong view; n and K are the data's, and every sample has its own label."""
        epochs = run.protocol.epochs
        self.start = capped_epochs(self.params.start, epochs, share=0.25)
        self.momentum = 1 - 1 / capped_epochs(round(1 / (1 - self.params.momentum)), epochs, share=0.5)
        self.probabilities = torch.zeros(2, data.n, data.num_classes, device=run.device)
        self.thresholds = torch.full((2, data.n), 1 / data.n, device=run.device)
        self.above = torch.zeros(2, data.n, dtype=torch.bool, device=run.device)
        self.corrected = torch.zeros(data.n, dtype=torch.bool, device=run.device)
        self.labels = data.labels.clone()
        self.quality = torch.zeros(data.n, device=run.device)
        self.judged = 0

    def fit(self, data, run):
        """One stage; the thresholds move from the first epoch on and select from epoch ``start`` on."""
        networks, loader = run.networks(1), run.loader(views=("weak", "strong"))
        for epoch in run.epochs("train", networks, state=self, predictor=method_predictor(self, networks)):
            for batch in loader:
                logits = networks[0](torch.cat(batch.views)).chunk(2)
                loss = self.warm_up_loss(logits, batch) if epoch < self.start else self.loss(networks[0], logits, batch)
                run.step(networks, loss, len(batch))
                for view in range(2):
                    self.probabilities[view].index_copy_(0, batch.indices, logits[view].detach().softmax(dim=1))
                run.history.record(epoch, batch.indices, batch.labels, logits[0].detach())
            self._select(epoch)
        return networks

    def warm_up_loss(self, logits, batch):
        """Cross-entropy of both views, added up."""
        return sum(cross_entropy(each, batch.labels).mean() for each in logits)

    def loss(self, network, logits, batch):
        """The three parts, each a sum over both views; the first two are means over the whole batch, mixup's over its samples."""
        above = self.above[:, batch.indices]
        clean, hard = above.all(dim=0), above[0] ^ above[1]
        mixed = above.any(dim=0) | self.corrected[batch.indices]
        labels = F.one_hot(self.labels[batch.indices], self.data.num_classes).float()
        total = 0.0
        for view, each in zip(batch.views, logits, strict=True):
            total = total + (cross_entropy(each, batch.labels) * clean).mean()
            total = total + self.params.lambda_hard * (generalized_cross_entropy(each, batch.labels, self.params.q) * hard).mean()
            mix = draw_mixup(len(batch), self.params.alpha, view.device, among=mixed)
            total = total + masked_mean(soft_cross_entropy(network(mix(view)), mix(labels)), mixed)
        return total

    @torch.no_grad()
    def _select(self, epoch):
        """Compare with the thresholds of the epochs before, then move these towards the confidence of this one."""
        given = torch.stack([given_label_probability(each, self.data.labels) for each in self.probabilities])
        margins = given - self.thresholds
        self.above = margins > 0
        if self.params.per_class:
            self.above = torch.stack([same_share_per_class(*pair, self.data.labels) for pair in zip(self.above, -margins, strict=True)])
        confidence, favourite = self.probabilities.mean(dim=0).max(dim=1)
        threshold = (self.thresholds.mean(dim=0) + self.params.sigma).clamp(max=HIGHEST)
        self.corrected = (confidence > threshold) & ~self.above.any(dim=0)
        self.labels = torch.where(self.corrected, favourite, self.data.labels)
        self.thresholds = torch.lerp(self.probabilities.amax(dim=2), self.thresholds, self.momentum)
        if epoch + 1 > self.run.protocol.epochs - self.run.protocol.last_k:
            self.quality = (self.quality * self.judged + margins.mean(dim=0)) / (self.judged + 1)
            self.judged += 1

    def label_quality(self):
        """How far the given label's probability lies above the sample's own threshold, mean over views and the last epochs."""
        return self.quality

    def suspects(self):
        """Labels above the threshold of neither view."""
        return ~self.above.any(dim=0)

    def corrected_labels(self):
        """The given label where a view selects it, the network's class where it is sure of it, else -1: not trained on."""
        return torch.where(self.suspects() & ~self.corrected, -1, self.labels)

    def sample_columns(self):
        """The mean threshold, and the set: 0 clean, 1 hard, 2 corrected, 3 none."""
        group = torch.where(self.above.all(dim=0), 0, torch.where(self.above.any(dim=0), 1, torch.where(self.corrected, 2, 3)))
        return {"threshold": self.thresholds.mean(dim=0), "group": group}

    def diagnostics(self):
        """Shares of the sets after the last epoch, and the momentum that was used."""
        clean, some = self.above.all(dim=0).float().mean(), self.above.any(dim=0).float().mean()
        shares = {"clean": float(clean), "hard": float(some - clean), "corrected": float(self.corrected.float().mean())}
        return {**shares, "momentum": self.momentum}
