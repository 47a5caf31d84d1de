"""Co-teaching on masks: two networks teach each other the images, or the pixels, of small loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from benchmark.api import hp, method
from benchmark.segmentation import VOID
from benchmark.segmentation.losses import image_means, keep_pixels, pixel_cross_entropy, pixel_mean, soft_dice
from benchmark.segmentation.lowest import lowest_pixels
from benchmark.segmentation.method import MaskMethod
from benchmark.segmentation.quality import image_quality, lowest_masks, mean_over_tasks, pixel_quality
from benchmark.training.selection import capped_epochs, forget_rate, keep_mask

LEVELS, RANKS = ("image", "pixel"), ("both", "ce", "dice")


@method(
    "seg_coteaching",
    task="segmentation",
    paper="Han et al., Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels, NeurIPS 2018, arXiv 1804.06872",
    year=2018,
    family="two networks",
    needs=[],
    cost=2.0,
)
class SegmentationCoteaching(MaskMethod):
    """Two networks exchange the small-loss part of every batch; the share that they leave out ramps up to ``noise_rate``."""

    networks = 2
    presets: ClassVar = {"pixel": {"level": "pixel"}}

    @dataclass(frozen=True)
    class Params:
        """Co-teaching's, and what it selects."""

        level: str = hp("image", choices=LEVELS, help="what is left out: whole masks (an image's, task by task), or pixels")
        noise_rate: float = hp(0.2, 0.0, 0.95, search=(0.05, 0.6), help="final share of each batch's masks or pixels to leave out")
        rank_by: str = hp(
            "both", choices=RANKS, help="masks: cross-entropy, which is least for small ones, soft Dice, for large ones, or their sum"
        )
        per_class: bool = hp(True, help="pixels: leave out this share of each class, so that small objects are not given up first")
        num_gradual: int = hp(10, 1, 1000, search=(1, 20), help="epochs until the full forget rate, at most a quarter of all")
        exponent: float = hp(1.0, 0.1, 4.0, search=(0.5, 2.0), help="the ramp ends at noise_rate ** exponent")

    def setup(self, data, run):
        """Fix the ramp, and what rounds."""
        self.rounding = run.generator("seg_coteaching")
        self.gradual = capped_epochs(self.params.num_gradual, run.protocol.epochs, share=0.25)

    def training_step(self, batch, networks, epoch):
        """Each network's mean loss over what the other finds easy."""
        logits = [network(batch.images) for network in networks]
        losses = [pixel_cross_entropy(each, batch.labels) for each in logits]
        drawn = torch.rand(batch.labels.shape[1], generator=self.rounding).clamp(min=1e-6).to(batch.labels.device, non_blocking=True)
        kept = [self.keep(*each, batch.labels, epoch, drawn) for each in zip(logits, losses, strict=True)]
        return pixel_mean(losses[0], batch.labels, kept[1]), pixel_mean(losses[1], batch.labels, kept[0])

    def keep(self, logits, losses, labels, epoch, drawn):
        """(B, T, H, W) or (B, T, 1, 1) bool: the pixels or masks of smallest loss of each task, by the epoch's forget rate.

        ``drawn``: (T,) from [0, 1), which rounds how many masks are kept. Batches have few: of 4 rounded down, every rate up to 1/4 is 1/4.
        """
        forget = forget_rate(epoch, self.params.noise_rate, self.gradual, self.params.exponent)
        if self.params.level == "pixel":
            return keep_pixels(losses, labels, forget, by_class=self.params.per_class)
        known = (labels != VOID).flatten(2).any(dim=2)
        tasks = torch.where(known, torch.arange(known.shape[1], device=known.device), -1)  # masks that are void throughout have no loss
        kept = keep_mask(self.difficulty(logits, losses, labels).view(-1), forget, tasks.view(-1), drawn.expand_as(known).reshape(-1))
        return (kept.view_as(known) & known)[..., None, None]

    def difficulty(self, logits, losses, labels):
        """(B, T) how badly each mask is fitted, by ``rank_by``."""
        score = torch.zeros(labels.shape[:2], device=labels.device)
        if self.params.rank_by != "ce":
            score = score + soft_dice(logits.detach(), labels)
        if self.params.rank_by != "dice":
            score = score + image_means(*(each.detach().flatten(0, 1).unsqueeze(1) for each in (losses, labels))).view_as(score)
        return score

    def fit(self, data, run):
        """Train, then score every pixel once: the picks of the last epoch depend on batch mates."""
        networks = super().fit(data, run)
        labels, probabilities = data.labels.cpu().numpy(), run.predict(lambda images: self.predict(networks, images)).cpu().numpy()
        self.self_confidence = torch.from_numpy(pixel_quality(labels, probabilities))
        self.mask_quality = torch.from_numpy(image_quality(labels, probabilities))
        return networks

    def auxiliary_predictions(self, networks, images):
        """Each network alone."""
        return {f"network{i + 1}": network(images).float().softmax(dim=2) for i, network in enumerate(networks)}

    def label_quality(self):
        """The softmin over an image's pixels of the probability of their labels under both networks, mean over the tasks."""
        return mean_over_tasks(self.mask_quality)

    def suspects(self):
        """Of images: those with a mask among the noise rate's share of lowest quality of its task."""
        if self.params.level == "pixel":
            return None
        return lowest_masks(self.mask_quality, self.params.noise_rate).any(dim=1)

    def pixel_quality(self):
        """The mean probability of the given label under both networks."""
        return self.self_confidence

    def pixel_suspects(self):
        """Of pixels: the noise rate's share of lowest quality, of each class with ``per_class``."""
        if self.params.level == "image":
            return None
        labels, quality = self.data.labels.cpu().numpy(), self.self_confidence.numpy()
        classes = self.data.num_classes if self.params.per_class else None
        return torch.from_numpy(lowest_pixels(quality, labels, self.params.noise_rate, classes))
