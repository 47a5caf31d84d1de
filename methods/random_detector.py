"""The floor of ranking detectors: labels are called wrong by lot."""

import torch

from benchmark.api import method
from benchmark.training.detect import Detector, DetectorParams, Verdict


@method(
    "random_detector",
    paper="a floor: labels are called wrong by lot, as many as the noise rate says",
    year=None,
    family="detect and retrain",
    needs=["noise_rate"],
    cost=0.8,
    floor=True,
)
class RandomDetector(Detector):
    """Holds a random share of the labels for wrong; suggests a random other class."""

    Params = DetectorParams

    def detect(self, data, run):
        """Draw a score for every label and, where there are others, another class."""
        rng = run.rng("random_detector")
        quality = torch.from_numpy(rng.random(data.n)).float().to(run.device)
        steps = torch.from_numpy(rng.integers(1, max(2, data.num_classes), data.n)).to(run.device)
        return Verdict(quality, self.lowest(quality), (data.labels + steps) % data.num_classes)
