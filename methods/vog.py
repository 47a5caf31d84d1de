"""Variance of gradients: the gradients of samples that are hard to learn, and of wrong labels, keep changing."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from benchmark.api import hp, method
from benchmark.training.detect import Detector, DetectorParams, Verdict
from benchmark.training.networks import Networks
from benchmark.training.vog import RunningVariance, class_normalised, last_layer_gradients, pixel_gradients

TARGETS = ("last_layer", "pixels")
STAGES = {"all": (0.0, 1.0), "early": (0.0, 1 / 3), "late": (2 / 3, 1.0)}
"""Which part of the training the checkpoints are from."""


@method(
    "vog",
    paper="Agarwal, D'souza and Hooker, Estimating Example Difficulty using Variance of Gradients, CVPR 2022, arXiv 2008.11600",
    year=2022,
    family="detect and retrain",
    needs=["noise_rate"],
    cost=1.3,
)
class VarianceOfGradients(Detector):
    """Ranks labels by the deviation of their gradients over checkpoints of one training, within classes."""

    @dataclass(frozen=True)
    class Params(DetectorParams):
        """Which gradients, at which checkpoints."""

        of: str = hp("last_layer", choices=TARGETS, help="gradient of the loss by the last layer, or of the label's logit by the pixels")
        checkpoints: int = hp(10, 2, 100, search=(3, 20), help="evenly over the stage, at most one an epoch")
        stage: str = hp("early", choices=tuple(STAGES), help="part of the training that they are from; early: its first third")
        normalise: bool = hp(True, help="z-scores within the classes of the given labels")

    def supports(self, data):
        """Frozen features have no pixels."""
        return "frozen features have no pixels; use of=last_layer" if self.params.of == "pixels" and not data.has_pixels else None

    def detect(self, data, run):
        """Train as far as the stage goes, keep the weights of some epochs, and take every sample's gradients under each of them."""
        moments = checkpoint_epochs(run.protocol.epochs, self.params.checkpoints, self.params.stage)
        networks, loader, snapshots = Beginning(run.networks(1, name="checkpoints"), run.protocol), run.loader(), Snapshots()
        for epoch in run.epochs("checkpoints", networks, epochs=max(moments) + 1, state=snapshots):
            for batch in loader:
                run.step(networks, F.cross_entropy(networks[0](batch.images), batch.labels), len(batch))
            if epoch in moments:
                snapshots.take(networks[0])
        scores, probability = self._scores(snapshots.networks(networks[0]), data, run)
        self.variance = scores
        quality = -(class_normalised(scores, data.labels, data.num_classes) if self.params.normalise else scores)
        return Verdict(quality, self.lowest(quality), probability.argmax(dim=1))

    def _scores(self, networks, data, run):
        """(n,) VOG and (n, K) mean probabilities; batch by batch through all checkpoints, so that no gradient is kept."""
        start = 0

        def visit(images):
            nonlocal start
            labels = data.labels[start : start + len(images)]
            start += len(images)
            running, probability = None, 0
            for network in networks:
                features = network.features(images)
                logits = network.head(features)
                if self.params.of == "pixels":
                    gradients = pixel_gradients(network, images, labels)
                else:
                    gradients = last_layer_gradients(features, logits, labels)
                running = running or RunningVariance(len(images), gradients.shape[1], run.device)
                running.update(gradients)
                probability = probability + logits.softmax(dim=1)
            return torch.cat([running.score()[:, None], probability / len(networks)], dim=1)

        found = run.predict(visit)
        return found[:, 0], found[:, 1:]

    def sample_columns(self):
        """The score before it is normalised."""
        return {**super().sample_columns(), "vog": self.variance}


class Beginning(Networks):
    """Networks in the first epochs of the protocol's training: the learning rate is that of the whole plan."""

    def __init__(self, modules, protocol):
        super().__init__(modules, protocol)
        self.planned = protocol.epochs

    def set_epoch(self, epoch, epochs):
        """As in the same epoch of the whole training."""
        super().set_epoch(epoch, self.planned)


class Snapshots:
    """The weights of a network at some epochs; checkpointed with the stage that takes them."""

    def __init__(self):
        self.weights = []

    def take(self, network):
        """Keep the weights and buffers as they are now."""
        self.weights.append({name: value.detach().clone() for name, value in network.state_dict().items()})

    def networks(self, network):
        """Copies of a network with the weights of each epoch, in evaluation mode."""
        copies = [copy.deepcopy(network).eval().requires_grad_(False) for _ in self.weights]
        for one, weights in zip(copies, self.weights, strict=True):
            one.load_state_dict(weights)
        return copies

    def state_dict(self):
        """The weights of the epochs so far."""
        return {"weights": self.weights}

    def load_state_dict(self, state):
        """Restore them."""
        self.weights = [dict(weights) for weights in state["weights"]]


def checkpoint_epochs(epochs, count, stage):
    """The 0-based epochs, at least two where there are two, after which a checkpoint is taken: evenly over a stage of the training."""
    start, stop = STAGES[stage]
    first, last = int(start * epochs), max(int(start * epochs) + 1, round(stop * epochs) - 1)
    last = min(last, epochs - 1)
    first = min(first, max(0, last - 1))
    return {int(epoch) for epoch in np.linspace(first, last, num=count).round()}
