"""A mixture over the losses of an early network parts right labels from wrong ones, without a noise rate."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from benchmark.api import hp, method
from benchmark.training.detect import Detector, StageTensors, Verdict, VerdictParams
from benchmark.training.loop import given_label_probability
from benchmark.training.mixmatch import clean_posterior
from benchmark.training.selection import capped_epochs

LEAST_PER_CLASS = 20
"""A class of fewer samples has no mixture of its own under ``per_class``: two Gaussians part any two samples."""


@method(
    "loss_gmm",
    paper="Li, Socher and Hoi, DivideMix: Learning with Noisy Labels as Semi-supervised Learning, ICLR 2020, arXiv 2002.07394 "
    "(the mixture alone), after Arazo et al., Unsupervised Label Noise Modeling and Loss Correction, ICML 2019, arXiv "
    "1904.11238",
    year=2020,
    family="detect and retrain",
    needs=[],
    cost=1.4,
)
class LossMixture(Detector):
    """Trains briefly, fits two Gaussians to the losses, and drops the labels of the one with the higher mean."""

    presets: ClassVar = {"dividemix_high_noise": {"average": 5}}

    @dataclass(frozen=True)
    class Params(VerdictParams):
        """The warm-up and the mixture."""

        warmup: int = hp(10, 1, 1000, search=(2, 20), help="epochs of cross-entropy before the losses are taken, at most half of all")
        average: int = hp(1, 1, 100, search=(1, 5), help="the losses are means over so many last epochs of the warm-up")
        threshold: float = hp(0.5, 0.01, 0.99, search=(0.3, 0.8), help="a label is wrong if its probability of being right is below")
        per_class: bool = hp(False, help="one mixture a class of given labels, instead of one for all")

    def detect(self, data, run):
        """Warm up, recording every sample's loss after each epoch."""
        epochs = capped_epochs(self.params.warmup, run.protocol.epochs, share=0.5)
        last = min(self.params.average, epochs)
        state = StageTensors(
            loss=torch.zeros(data.n, device=run.device), probability=torch.zeros(data.n, data.num_classes, device=run.device)
        )
        networks, loader = run.networks(1, name="warmup"), run.loader()
        for epoch in run.epochs("warmup", networks, epochs=epochs, state=state):
            for batch in loader:
                run.step(networks, F.cross_entropy(networks[0](batch.images), batch.labels), len(batch))
            if epoch >= epochs - last:
                predicted = run.class_probabilities(networks)
                state["loss"].sub_(given_label_probability(predicted, data.labels).clamp(min=1e-30).log(), alpha=1 / last)
                state["probability"].add_(predicted, alpha=1 / last)
        self.right = self._right(state["loss"], data.labels)
        return Verdict(-state["loss"], self.right < self.params.threshold, state["probability"].argmax(dim=1), self.right)

    def _right(self, losses, labels):
        """(n,) float32 probability that each label is right; a rare class is judged by the mixture of all."""
        right = clean_posterior(losses)
        if self.params.per_class:
            for inside in (labels == labels.unique()[:, None]).unbind():
                if int(inside.sum()) >= LEAST_PER_CLASS:
                    right[inside] = clean_posterior(losses[inside])
        return right

    def sample_columns(self):
        """The posterior that the given label is right."""
        return {**super().sample_columns(), "right_posterior": self.right}
