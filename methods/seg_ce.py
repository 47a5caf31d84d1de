"""The floor for masks: cross-entropy on the given ones, wrong pixels included."""

from __future__ import annotations

from benchmark.api import method
from benchmark.segmentation.method import MaskMethod


@method(
    "seg_ce", task="segmentation", paper="cross-entropy, the baseline without any defence", year=None, family="baseline", needs=[], cost=1.0
)
class SegmentationCrossEntropy(MaskMethod):
    """Cross-entropy of all pixels on the given masks; the floor that every method for masks is compared with."""
