"""Co-teaching with variance of gradients: part of the picks are the samples whose gradients have settled."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from benchmark.api import hp, method
from benchmark.training.two_networks import SmallLossPair, SmallLossParams, cross_entropies, exchanged, rank_within
from benchmark.training.vog import WindowedVariance, all_pixel_gradients, class_normalised, last_layer_inputs, residuals, with_bias


@method(
    "coteaching_vog",
    paper="Khanal et al., Active Label Refinement for Robust Training of Imbalanced Medical Image Classification Tasks in the "
    "Presence of High Label Noise, MICCAI 2024, arXiv 2407.05973",
    year=2024,
    family="two networks",
    needs=["noise_rate"],
    cost=2.1,
)
class CoteachingVOG(SmallLossPair):
    """Co-teaching whose picks are samples of small loss and, beside them, samples whose gradients vary least between epochs."""

    presets: ClassVar = {"all_activations": {"gradient": "all_activations"}, "original_vog": {"gradient": "pixels", "class_norm": True}}

    @dataclass(frozen=True)
    class Params(SmallLossParams):
        """Hyperparameters of the paper and of its program."""

        mix_ratio: float = hp(0.2, 0.0, 1.0, search=(0.0, 0.5), help="share of the picks that go by variance of gradients")
        gradient: str = hp("label", choices=("label", "all_activations", "pixels"), help="of the last layer: label's row or all; or pixels")
        class_norm: bool = hp(False, help="z-scores within the given classes, so that hard classes are not passed over")
        observe_epochs: int = hp(5, 2, 100, search=(2, 10), help="epochs over which gradients vary")
        harvest: str = hp(
            "training",
            choices=("training", "evaluation"),
            help="gradients of the training passes, at no cost, or of one more pass an epoch without augmentation; pixels: the latter",
        )

    def setup(self, data, run):
        """Fix the noise rate and the ramp; a window of gradients for each network."""
        super().setup(data, run)
        self.vog = torch.zeros(2, data.n, device=run.device)
        self.window1, self.window2 = (WindowedVariance(self.params.observe_epochs) for _ in range(2))

    def training_step(self, batch, networks, epoch):
        """Each network's mean loss over what the other picks: after the ramp by loss and by variance of gradients."""
        losses = self.observed_losses(batch, networks) if self.online and self.observes(epoch) else cross_entropies(batch, networks)[2:]
        if self.params.mix_ratio == 0 or epoch <= self.gradual:
            return exchanged(losses, [self.keep(loss, batch.labels, epoch) for loss in losses])
        scores = zip(losses, self.vog[:, batch.indices], strict=True)
        return exchanged(losses, [self.pick(loss.detach(), vog, batch.labels, self.forget(epoch)) > 0 for loss, vog in scores])

    @property
    def online(self):
        """Whether gradients are those of the training passes; with respect to the pixels they would need a backward pass more."""
        return self.params.harvest == "training" and self.params.gradient != "pixels"

    def observes(self, epoch):
        """Whether an epoch's gradients are looked at: from the first that the first mixed picks reach back to."""
        return self.params.mix_ratio > 0 and epoch > self.gradual - self.params.observe_epochs

    def observed_losses(self, batch, networks):
        """Cross-entropies (B,) of both networks; the factors of each sample's gradient in these very passes go into the windows."""
        with last_layer_inputs(networks) as features:
            *logits, first, second = cross_entropies(batch, networks)
        for window, vectors, output in zip((self.window1, self.window2), features, logits, strict=True):
            factors = residuals(output.detach(), batch.labels, all_activations=self.params.gradient == "all_activations")
            window.write(self.data.n, batch.indices, with_bias(vectors), factors)
        return first, second

    def pick(self, losses, vog, labels, forget):
        """(m,) int64: 1 picked for a small loss, 2 for a small variance of gradients, 0 left out.

        Of m samples k = ⌊(1 − forget) · m⌋ are picked, at least 1: ⌊k (1 − mix_ratio)⌋ by loss and all others by variance of
        gradients, from what the loss has left; within each class with ``per_class``.
        """
        groups = labels if self.params.per_class else torch.zeros_like(labels)
        rank, size = rank_within(losses, groups)
        picks = torch.floor((1 - forget) * size.double() + 1e-9).clamp(min=1)
        by_loss = torch.floor((1 - self.params.mix_ratio) * picks + 1e-9)
        small = rank < by_loss
        rank, _ = rank_within(torch.where(small, torch.inf, vog), groups)
        return small + 2 * (rank < picks - by_loss)

    def end_epoch(self, networks, epoch, run):
        """Every sample's gradient in this epoch joins the window, and its variance is taken anew."""
        if not self.observes(epoch):
            return
        windows = (self.window1, self.window2)
        if self.online:
            for window in windows:
                window.complete()
        else:
            for window, factors in zip(windows, self.gradients(networks, run), strict=True):
                window.push(*factors)
        if self.window1.pushed > 1:
            self.vog = torch.stack([self.comparable(window.score()) for window in windows])

    def gradients(self, networks, run):
        """The two factors of every sample's gradient under each network, in evaluation mode and without augmentation."""
        labels = self.data.labels
        if self.params.gradient == "pixels":
            ones = torch.ones(len(labels), device=run.device)
            return [(all_pixel_gradients(run, network, labels), ones) for network in networks]
        networks.train(False)

        def outputs(images):
            features = [network.features(images) for network in networks]
            logits = [network.head(each) for network, each in zip(networks, features, strict=True)]
            return torch.cat(features + logits, dim=1)

        head, every = networks[0].head, self.params.gradient == "all_activations"
        widths = [head.in_features] * 2 + [head.out_features] * 2
        *features, first, second = run.predict(outputs).split(widths, dim=1)  # one pass over the images for both networks
        factors = [residuals(logits, labels, all_activations=every) for logits in (first, second)]
        return list(zip(map(with_bias, features), factors, strict=True))

    def comparable(self, scores):
        """Variances of gradients as they are, or as z-scores within the given classes."""
        return class_normalised(scores, self.data.labels, self.data.num_classes) if self.params.class_norm else scores

    def picked(self):
        """(n,) int64 as :meth:`pick` says, of all samples at once, by the mean of both networks' probabilities and variances."""
        return self.pick(-self.quality, self.vog.mean(dim=0), self.data.labels, self.rate)

    def suspects(self):
        """What is not picked from all samples at once by the rule of the batches."""
        return self.picked() == 0

    def sample_columns(self):
        """The variance of gradients of the last epochs, and by what a sample was picked (0 not, 1 loss, 2 variance of gradients)."""
        return {"vog": self.vog.mean(dim=0), "picked": self.picked()}
