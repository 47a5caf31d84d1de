"""Generalised cross-entropy of pixels: what the network contradicts with confidence weighs little."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.api import hp, method
from benchmark.segmentation.losses import generalized_cross_entropy, pixel_mean
from benchmark.segmentation.method import MaskMethod


@method(
    "seg_gce",
    task="segmentation",
    paper="Zhang and Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels, NeurIPS 2018, "
    "arXiv 1805.07836",
    year=2018,
    family="robust loss",
    needs=[],
    cost=1.0,
)
class SegmentationGCE(MaskMethod):
    """(1 − p^q)/q of the probability p of each pixel's given class."""

    @dataclass(frozen=True)
    class Params:
        """The paper's, without its truncation."""

        q: float = hp(0.7, 0.0, 1.0, search=(0.1, 0.95), help="0 is cross-entropy, 1 is half the absolute error")

    def training_step(self, batch, networks, epoch):
        """Mean over the pixels that are not void."""
        return pixel_mean(generalized_cross_entropy(networks[0](batch.images), batch.labels, self.params.q), batch.labels)
