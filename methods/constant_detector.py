"""The floor of all detectors: every label is right."""

import torch

from benchmark.api import method
from benchmark.training.detect import Detector, Verdict


@method(
    "constant_detector",
    paper="a floor: no label is called wrong",
    year=None,
    family="detect and retrain",
    needs=[],
    cost=1.0,
    floor=True,
)
class ConstantDetector(Detector):
    """Flags nothing, so that whatever ``then`` says it trains as ``ce`` does."""

    def detect(self, data, run):
        """The same trust in every label."""
        quality = torch.ones(data.n, device=run.device)
        return Verdict(quality, torch.zeros_like(quality, dtype=torch.bool), data.labels)
