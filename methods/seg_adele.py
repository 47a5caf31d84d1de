"""ADELE: each class's labels give way to confident predictions once the class has passed from early learning to memorisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from benchmark.api import hp, method
from benchmark.segmentation import VOID
from benchmark.segmentation.adele import (
    CONFIDENCE,
    SLOPE_CHANGE,
    at_scales,
    correct_labels,
    early_learning_ended,
    overlap_counts,
    scale_consistency,
)
from benchmark.segmentation.losses import pixel_cross_entropy, pixel_mean
from benchmark.segmentation.method import MaskMethod
from benchmark.segmentation.predicting import predict_beside
from benchmark.training.loop import method_predictor
from benchmark.training.selection import capped_epochs


@method(
    "seg_adele",
    task="segmentation",
    paper="Liu et al., Adaptive Early-Learning Correction for Segmentation from Noisy Annotations, CVPR 2022, arXiv 2110.03740",
    year=2022,
    family="label correction",
    needs=[],
    cost=4.5,
)
class Adele(MaskMethod):
    """Corrects a class's labels once the fit to them has stopped rising fast, and holds predictions at several scales to each other."""

    presets: ClassVar = {
        "segthor": {"confidence": 0.7, "every": 10, "present_only": True},
        "voc": {"present_only": True},
        "one_scale": {"scales": "1"},
    }

    @dataclass(frozen=True)
    class Params:
        """The paper's, and what it leaves open."""

        slope_change: float = hp(
            SLOPE_CHANGE, 0.01, 0.999, search=(0.6, 0.95), help="r: early learning ends when the slope lost this share"
        )
        confidence: float = hp(CONFIDENCE, 0.0, 1.0, search=(0.6, 0.95), help="tau: labels give way to predictions above this; 1: never")
        consistency: float = hp(1.0, 0.0, 100.0, search=(0.1, 5.0), help="lambda: weight of the agreement across scales")
        sure: float = hp(CONFIDENCE, 0.0, 1.0, tune=False, help="rho: only images with a probability of at least this have to agree")
        scales: str = hp("0.7+1.0+1.5", tune=False, help="factors of height and width, joined by +; 1 alone leaves no agreement to reach")
        every: int = hp(1, 1, 1000, tune=False, help="epochs between two corrections, at most a tenth of all")
        present_only: bool = hp(False, help="write no class into a mask that lacks it; wrong where noise erases whole objects")

        def __post_init__(self) -> None:
            """Refuse scales that are none; ValueError with the reason."""
            scale_factors(self.scales)

    def setup(self, data, run):
        """No class has ended its early learning."""
        T, J = len(data.tasks), data.num_classes
        self.iou = torch.zeros(run.protocol.epochs, T, J, device=run.device)
        self.counts = torch.zeros(T, J, 2, dtype=torch.int64, device=run.device)
        self.ended_after = torch.zeros(T, J, dtype=torch.int64, device=run.device)
        self.current = data.labels.clone()
        self.scales = scale_factors(self.params.scales)
        self.every = capped_epochs(self.params.every, run.protocol.epochs, share=0.1)

    def fit(self, data, run):
        """Batches carry the given and the current masks."""
        networks = run.networks(1)
        for epoch in run.epochs("train", networks, state=self, predictor=method_predictor(self, networks)):
            self.counts.zero_()
            for batch in run.loader(labels=torch.cat([data.labels, self.current], dim=1)):
                run.step(networks, self.training_step(batch, networks, epoch), len(batch))
                run.history.record(epoch, batch.indices, batch.labels[:, : len(data.tasks)], networks[0].last_logits)
            self.end_epoch(networks, epoch, run)
        return networks

    def training_step(self, batch, networks, epoch):
        """Cross-entropy with the current masks, mean over the scales, and the weighted disagreement of the scales."""
        given, current = batch.labels.chunk(2, dim=1)
        logits = at_scales(networks[0], batch.images, self.scales)
        repeated = current.repeat(len(logits), 1, 1, 1)
        loss = pixel_mean(pixel_cross_entropy(logits.flatten(0, 1), repeated), repeated)
        if len(logits) > 1:
            loss = loss + self.params.consistency * scale_consistency(logits, given, self.params.sure).mean()
        mean = logits.detach().log_softmax(dim=3).logsumexp(dim=0)
        self.counts += overlap_counts(mean.argmax(dim=2), given, self.data.num_classes)
        networks[0].last_logits = mean  # of the images at their size, which those of the last scale are not
        return loss

    def end_epoch(self, networks, epoch, run):
        """Look at the curves of the classes that are still learning, then correct those that have ended."""
        self.iou[epoch] = self.counts[:, :, 0] / self.counts[:, :, 1].clamp(min=1)
        curves = self.iou[: epoch + 1].cpu().numpy()
        learning = self.ended_after == 0
        for task, label in np.argwhere(learning.cpu().numpy()).tolist():
            if label > 0 and early_learning_ended(curves[:, task, label], self.params.slope_change):
                self.ended_after[task, label] = epoch + 1
        ended = self.ended_after > 0
        if bool((ended & learning).any()) or (bool(ended.any()) and (epoch + 1) % self.every == 0):
            networks.train(False)
            self.current = predict_beside(run, lambda images, given: self.corrected(networks, images, given, ended), self.data.labels)

    def corrected(self, networks, images, given, ended):
        """(B, T, H, W) given masks with the predictions in them that are confident on average over the scales."""
        probabilities = at_scales(networks[0], images, self.scales).softmax(dim=3).mean(dim=0)
        return correct_labels(given, probabilities, ended, self.params.confidence, self.params.present_only)

    def pixel_suspects(self):
        """The pixels whose labels have been corrected."""
        return self.current != self.data.labels

    def corrected_labels(self):
        """The current masks."""
        return self.current

    def diagnostics(self):
        """``corrected``: share of the pixels that are not void; ``ended``: share of the classes whose early learning has ended, and
        ``ended_after``: their mean epoch (absent without any)."""
        known = self.data.labels != VOID
        ended = self.ended_after[:, 1:]
        found = {"corrected": float(self.pixel_suspects().sum() / known.sum().clamp(min=1)), "ended": float((ended > 0).float().mean())}
        return found | ({"ended_after": float(ended[ended > 0].float().mean())} if bool((ended > 0).any()) else {})


def scale_factors(text: str) -> tuple[float, ...]:
    """Factors joined by +; ValueError if they are not."""
    try:
        factors = tuple(float(part) for part in text.split("+"))
    except ValueError:
        factors = ()
    if not factors or not all(0.1 <= factor <= 10 for factor in factors):
        raise ValueError(f"scales '{text}' is not factors from 0.1 to 10 joined by +, e.g. 0.7+1.0+1.5")
    return factors
