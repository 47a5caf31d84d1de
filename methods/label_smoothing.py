"""Label smoothing, positive and negative: the target is mixed with the uniform distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchmark.api import Method, hp, method
from benchmark.training.losses import cross_entropy
from benchmark.training.selection import capped_epochs


@method(
    "label_smoothing",
    paper="Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016, arXiv 1512.00567; Wei et al., "
    "To Smooth or Not? When Label Smoothing Meets Noisy Labels, ICML 2022, arXiv 2106.04149",
    year=2016,
    family="robust loss",
    needs=[],
    cost=1.0,
)
class LabelSmoothing(Method):
    """Cross-entropy with the target (1 − r) · one-hot + r/K; a negative r sharpens instead of smoothing."""

    presets: ClassVar = {"inception": {"rate": 0.1}, "negative": {"rate": -1.0, "warmup": 100}}

    @dataclass(frozen=True)
    class Params:
        """Hyperparameters; see docs/methods/label_smoothing.md."""

        rate: float = hp(0.1, -10.0, 0.99, search=(-1.0, 0.8), help="r; below 0 the loss has no lower bound, so warm up first")
        warmup: int = hp(0, 0, 1000, tune=False, help="epochs of plain cross-entropy before it, at most half of all")

    def setup(self, data, run):
        """When the smoothing begins."""
        self.start = capped_epochs(self.params.warmup, run.protocol.epochs, share=0.5) if self.params.warmup else 0

    def training_step(self, batch, networks, epoch):
        """Mean smoothed cross-entropy of the batch."""
        rate = self.params.rate if epoch >= self.start else 0.0
        return cross_entropy(networks[0](batch.images), batch.labels, rate).mean()
