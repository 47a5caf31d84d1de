"""What cleanlab's segmentation module says of masks, and what to do about it: drop pixels, correct them, or drop whole masks."""

from dataclasses import dataclass

import torch

from benchmark.api import hp, method
from benchmark.segmentation import VOID
from benchmark.segmentation.cross_prediction import CrossParams, CrossPredicted
from benchmark.segmentation.losses import pixel_cross_entropy, pixel_mean
from benchmark.segmentation.quality import cleanlab_segmentation, lowest_masks

THEN = ("drop", "correct", "images")


@method(
    "seg_cleanlab",
    task="segmentation",
    paper="Lad and Mueller, Estimating Label Quality and Errors in Semantic Segmentation Data via Any Model, 2023, arXiv 2307.05080",
    year=2023,
    family="detect and retrain",
    needs=[],
    cost=2.0,
)
class CleanlabSegmentation(CrossPredicted):
    """Cleanlab's segmentation module finds wrong pixels and bad masks in out-of-sample predictions; training goes on without them."""

    @dataclass(frozen=True)
    class Params(CrossParams):
        """What is done with cleanlab's answer."""

        then: str = hp("drop", choices=THEN, help="flagged pixels: drop them, correct them; images: leave out the masks of lowest score")
        share: float | str = hp(
            "estimate", 0.0, 0.95, choices=("estimate",), help="then=images: share of each task's masks, or the lower part of a mixture"
        )

    def flag(self, labels, probabilities, folds, tasks):
        """Cleanlab's choice; it has one set of thresholds for all."""
        return cleanlab_segmentation(labels, probabilities, tasks)[0]

    def companion(self, data):
        """The labels to learn from: void where they were dropped; images of which nothing is left are not visited."""
        if self.params.then == "correct":
            lesson = self.other
        elif self.params.then == "drop":
            lesson = torch.where(self.flagged, VOID, data.labels.cpu())
        else:
            self.left_out = self.worst_masks()
            lesson = torch.where(self.left_out[:, :, None, None], VOID, data.labels.cpu())
        kept = (lesson != VOID).flatten(1).any(dim=1)
        if not bool(kept.any()):
            lesson, kept = data.labels.cpu(), torch.ones_like(kept)
        return torch.where(kept)[0].to(data.labels.device), lesson[kept].to(data.labels.device)

    def worst_masks(self):
        """(n, T) bool: the masks of lowest score, task by task; none of a task that could not be judged, none that is void throughout."""
        return lowest_masks(self.mask_quality, None if self.params.share == "estimate" else self.params.share) & self.judged

    def training_step(self, batch, networks, epoch):
        """Cross-entropy with what is left of the labels."""
        lesson = batch.labels.chunk(2, dim=1)[1]
        return pixel_mean(pixel_cross_entropy(networks[0](batch.images), lesson), lesson)

    def suspects(self):
        """Under ``then=images`` the images of which a mask was left out; else the harness draws the line."""
        return self.left_out.any(dim=1) if self.params.then == "images" else None

    def corrected_labels(self):
        """The masks with the teacher's class where flagged, under ``then=correct``; what is dropped is not corrected."""
        return self.other if self.params.then == "correct" else None

    def diagnostics(self):
        """The share of masks that were left out, too; those that are void throughout do not count."""
        if self.params.then != "images":
            return super().diagnostics()
        known = ~self.mask_quality.isnan()
        return super().diagnostics() | {"left_out": float(self.left_out.sum() / known.sum().clamp(min=1))}
