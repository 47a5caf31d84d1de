"""What a method for masks is."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.api import Batch, Method
from benchmark.segmentation import VOID
from benchmark.segmentation.losses import pixel_cross_entropy, pixel_mean
from benchmark.training.networks import Networks


class MaskMethod(Method):
    """A way to train on masks of which some pixels are wrong. As it stands it is plain cross-entropy.

    Labels are (n, T, H, W) uint8 class ids, 255 void: T independent tasks of J = ``data.num_classes`` classes each. Networks give
    (B, T, J, H, W) logits. ``batch.labels`` are moved with the augmented images; ``run.loader(labels=…)`` moves any (m, …, H, W) uint8
    tensor, so that a map of suspects can travel as further channels of the labels. Losses for pixels, images and whole batches are in
    :mod:`benchmark.segmentation.losses`.

    A method judges at two levels: images (:meth:`label_quality`, :meth:`suspects`: which annotation is worth another look) and pixels.
    A mask may be void throughout. What a method has for each mask is NaN there (:mod:`benchmark.segmentation.quality` takes means and
    shares of the others); an image without any labelled pixel has some finite quality, which the harness replaces by one above all others.
    """

    def training_step(self, batch: Batch, networks: Networks, epoch: int) -> Tensor:
        """Mean cross-entropy of the pixels that are not void."""
        return pixel_mean(pixel_cross_entropy(networks[0](batch.images), batch.labels), batch.labels)

    def predict(self, networks: Networks, images: Tensor) -> Tensor:
        """(B, T, J, H, W) class probabilities of normalised (B, C, H, W) images; the mean softmax over the networks."""
        return torch.stack([network(images).float().softmax(dim=2) for network in networks]).mean(dim=0)

    def label_quality(self) -> Tensor:
        """(n,) the mean of the training history; 1 for an image without a labelled pixel, of which there is none."""
        return torch.where((self.data.labels != VOID).flatten(1).any(dim=1), super().label_quality(), 1.0)

    def pixel_quality(self) -> Tensor | None:
        """(n, T, H, W) scores of the given labels, higher = more likely right; None: the final predictor's probability of them."""
        return None

    def pixel_suspects(self) -> Tensor | None:
        """(n, T, H, W) bool, True = held for wrong; None: where the final predictor says another class."""
        return None

    def corrected_labels(self) -> Tensor | None:
        """(n, T, H, W) uint8 masks after correction; None if the method corrects nothing."""
        return None
