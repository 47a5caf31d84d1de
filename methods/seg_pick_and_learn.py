"""Pick-and-Learn: a second network judges each image with its mask, and the judgement weighs the loss of the first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from benchmark.api import hp, method
from benchmark.seeds import derive_seed
from benchmark.segmentation import VOID
from benchmark.segmentation.losses import batch_weights, pixel_cross_entropy, soft_dice, weighted_by_image
from benchmark.segmentation.method import MaskMethod
from benchmark.segmentation.predicting import predict_beside
from benchmark.segmentation.quality import mean_over_tasks
from benchmark.training.networks import Networks

LOSSES = ("dice", "ce")
SMALLEST = {"small": 4, "vgg16_bn": 32}
"""Judge → the least side in pixels that its pooling leaves something of."""


@method(
    "seg_pick_and_learn",
    task="segmentation",
    paper="Zhu, Shi and Wu, Pick-and-Learn: Automatic Quality Evaluation for Noisy-Labeled Image Segmentation, MICCAI 2019, "
    "arXiv 1907.11835",
    year=2019,
    family="sample weighting",
    needs=[],
    cost=1.3,
)
class PickAndLearn(MaskMethod):
    """Images weigh within their batch as a quality network says; the same loss trains it to tell which masks cannot be fitted."""

    presets: ClassVar = {"zhang2020": {"loss": "ce", "judge": "vgg16_bn"}}

    @dataclass(frozen=True)
    class Params:
        """What is weighed, and what weighs it."""

        loss: str = hp("dice", choices=LOSSES, help="of a mask, which its weight multiplies: the paper's soft Dice, or cross-entropy")
        judge: str = hp("small", choices=tuple(SMALLEST), help="small: three convolutions; vgg16_bn: the published one, from 32 px on")

    def supports(self, data):
        """VGG halves an image five times."""
        side, least = int(min(data.images.shape[2:])), SMALLEST[self.params.judge]
        return f"judge={self.params.judge} needs images of {least} px and more; these have {side}" if side < least else None

    def setup(self, data, run):
        """The judge starts from weights of its own name and follows the protocol's plan."""
        build = _SmallJudge if self.params.judge == "small" else _VggJudge
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive_seed("weights", run.seed, "judge", 0))
            judge = build(int(data.images.shape[1]) + len(data.tasks) * (data.num_classes - 1), len(data.tasks))
        self.judge = Networks([judge.to(run.device)], run.protocol)

    def training_step(self, batch, networks, epoch):
        """Mean over the tasks of Σ_b w_b · loss of mask b; w is the softmax over the batch of 2·tanh of its score."""
        self.judge.set_epoch(epoch, self.run.protocol.epochs)
        self.judge.train()
        logits, weights = networks[0](batch.images), self.weights(batch.images, batch.labels)
        if self.params.loss == "dice":
            return (weights * soft_dice(logits, batch.labels)).sum(dim=0).mean()
        losses = pixel_cross_entropy(logits, batch.labels)
        tasks = [slice(t, t + 1) for t in range(losses.shape[1])]
        return torch.stack([weighted_by_image(losses[:, t], batch.labels[:, t], weights[:, t].squeeze(1)) for t in tasks]).mean()

    def weights(self, images, labels):
        """(B, T) weights that add up to 1 over the batch; 0 for masks that are void throughout, whose loss of 0 would draw all weight."""
        weights = torch.stack([batch_weights(scores) for scores in self.scores(images, labels).T], dim=1)
        weights = weights * _labelled(labels)
        return weights / weights.sum(dim=0).clamp(min=torch.finfo(weights.dtype).tiny)

    def scores(self, images, labels):
        """(B, T) what the judge says of normalised (B, C, H, W) images with (B, T, H, W) masks."""
        objects = torch.arange(1, self.data.num_classes, device=labels.device).view(-1, 1, 1)
        masks = (labels.unsqueeze(2) == objects).flatten(1, 2)  # void is none of them
        return self.judge[0](torch.cat([images, masks.to(images.dtype)], dim=1))

    def after_backward(self, networks, epoch):
        """The judge's gradients are of the same loss."""
        for optimizer in self.judge.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def fit(self, data, run):
        """Train both, then let the judge look at every image once, in evaluation mode and without augmentation."""
        networks = super().fit(data, run)
        self.judge.train(False)
        self.quality = predict_beside(run, self.scores, data.labels).masked_fill(~_labelled(data.labels), float("nan"))
        return networks

    def label_quality(self):
        """The judge's scores before tanh, mean over the tasks whose masks are not void throughout."""
        return mean_over_tasks(self.quality)

    def diagnostics(self):
        """``effective_images``: 1/(n Σ w²), mean over the tasks, of a batch of all n images whose mask is not void throughout; 1 where all
        weigh the same."""
        known = [scores[~scores.isnan()] for scores in self.quality.T]
        shares = [1 / (len(scores) * batch_weights(scores).square().sum()) for scores in known if len(scores)]
        return {"effective_images": float(torch.stack(shares).mean()) if shares else 1.0}


def _labelled(labels):
    """(B, T) bool: the masks that are not void throughout."""
    return (labels != VOID).flatten(2).any(dim=2)


class _Judge(nn.Module):
    """Ends in the mean over space, and over as many groups of channels as there are tasks: with one task the mean of all, as published."""

    layers: nn.Module

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.tasks = tasks

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) images and masks → (B, T) scores, none of them negative."""
        return F.adaptive_avg_pool1d(self.layers(pairs).mean(dim=(2, 3)), self.tasks)


class _SmallJudge(_Judge):
    """Three convolutions with batch norm, two of them pooled."""

    def __init__(self, channels: int, tasks: int) -> None:
        super().__init__(tasks)
        layers: list[nn.Module] = []
        for inputs, outputs in ((channels, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        self.layers = nn.Sequential(*layers[:-1])


class _VggJudge(_Judge):
    """VGG16 with batch norm, without its classifier."""

    def __init__(self, channels: int, tasks: int) -> None:
        super().__init__(tasks)
        from torchvision.models.vgg import cfgs, make_layers

        self.layers = make_layers(cfgs["D"], batch_norm=True)
        self.layers[0] = nn.Conv2d(channels, self.layers[0].out_channels, 3, padding=1)
        for part in self.layers:
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(part.bias)
