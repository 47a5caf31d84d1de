"""Confident learning for masks: two teachers flag pixels, a student learns from the masks with the flagged labels turned or smoothed."""

from dataclasses import dataclass

import torch

from benchmark.api import hp, method
from benchmark.segmentation.confident import METHODS, confident_maps
from benchmark.segmentation.cross_prediction import CrossParams, CrossPredicted
from benchmark.segmentation.losses import pixel_mean, smoothed_cross_entropy


@method(
    "seg_cl",
    task="segmentation",
    paper="Zhang et al., Characterizing Label Errors: Confident Learning for Noisy-Labeled Image Segmentation, MICCAI 2020, "
    "doi 10.1007/978-3-030-59710-8_70",
    year=2020,
    family="detect and retrain",
    needs=[],
    cost=2.0,
)
class SegmentationConfidentLearning(CrossPredicted):
    """Pixels that confident learning flags have their labels turned over, and a fresh network is trained on the result."""

    @dataclass(frozen=True)
    class Params(CrossParams):
        """Which pixels are flagged, and what becomes of their labels."""

        filter_by: str = hp(
            "both", choices=METHODS, help="how confident learning chooses the pixels; with two classes the first three are one"
        )
        epsilon: float = hp(1.0, 0.0, 1.0, help="share of a flagged label that goes to the other classes: 1 turns it over, 0 leaves it")

    def flag(self, labels, probabilities, folds, tasks):
        """The confident maps, by thresholds of either half's own."""
        return confident_maps(labels, probabilities, folds, self.params.filter_by, tasks)

    def companion(self, data):
        """All images, and the map of flagged pixels."""
        everything = torch.arange(data.n, device=data.labels.device)
        return everything, self.flagged.to(data.labels.device, torch.uint8)

    def training_step(self, batch, networks, epoch):
        """Cross-entropy with the labels of flagged pixels smoothed (SLSR)."""
        given, flagged = batch.labels.chunk(2, dim=1)
        return pixel_mean(smoothed_cross_entropy(networks[0](batch.images), given, flagged, self.params.epsilon), given)

    def corrected_labels(self):
        """The given masks with the teacher's most probable other class where flagged."""
        return self.other


@method(
    "seg_cl_slsr",
    task="segmentation",
    paper="Zhang et al., Characterizing Label Errors: Confident Learning for Noisy-Labeled Image Segmentation, MICCAI 2020, "
    "doi 10.1007/978-3-030-59710-8_70",
    year=2020,
    family="detect and retrain",
    needs=[],
    cost=2.0,
)
class SpatialLabelSmoothing(SegmentationConfidentLearning):
    """Confident learning whose flagged labels are smoothed instead of turned over (SLSR): the maps are not sure enough for that."""

    @dataclass(frozen=True)
    class Params(SegmentationConfidentLearning.Params):
        """Those of seg_cl, with the paper's epsilon."""

        epsilon: float = hp(0.8, 0.0, 1.0, help="share of a flagged label that goes to the other classes: 1 turns it over, 0 leaves it")
