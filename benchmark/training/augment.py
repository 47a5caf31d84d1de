"""Random changes of whole batches on the device: one gather for all that moves pixels, one fused pass for colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmark import profiling
from benchmark.errors import BenchmarkError, unknown_name
from benchmark.training.images import CHUNK_BYTES, MappedImages
from benchmark.training.names import AUGMENTATIONS

COLOR_JITTER, STRONG_JITTER = 0.1, 0.4
"""Largest relative change of brightness, contrast and saturation, in a weak and in a strong view."""

CUTOUT = 0.5
"""Side of the square that a strong view blanks out, as a share of the image's shorter side (DeVries and Taylor 2017)."""

FEATURE_DROPOUT = 0.1
"""Share of the frozen features that a strong view leaves out."""

_LUMA = (0.299, 0.587, 0.114)


def parse_augmentation(text: str, declared: tuple[str, ...] = ()) -> frozenset[str]:
    """``auto`` (what the data set declares), ``none`` or names joined by ``+``; unknown names raise BenchmarkError."""
    if text == "auto":
        return frozenset(declared)
    names = frozenset(part.strip() for part in text.split("+") if part.strip()) - {"none"}
    for name in names:
        if name not in AUGMENTATIONS:
            raise unknown_name("augmentation", name, AUGMENTATIONS)
    return names


@dataclass(frozen=True)
class Draws:
    """The random choices of one epoch, one row a sample, drawn on the CPU at once so that a step needs no sync.

    Attributes:
        geometry: (n, 4) int64: vertical shift, horizontal shift, flip (0 or 1), quarter turns (0 to 3); None if unused.
        color: (n, 3) float32 factors of brightness, contrast and saturation; None if unused.
        holes: (n, 2) int64: row and column of the centre of the square that is blanked out, or, for features, (n, 1) numbers
            that choose which are left out; None if unused.
    """

    geometry: Tensor | None = None
    color: Tensor | None = None
    holes: Tensor | None = None

    def _each(self, change: Callable[[Tensor], Tensor]) -> Draws:
        return Draws(*(None if part is None else change(part) for part in (self.geometry, self.color, self.holes)))

    def __getitem__(self, rows: Any) -> Draws:
        return self._each(lambda part: part[rows])

    def to(self, device: torch.device) -> Draws:
        """The same choices on a device."""
        return self._each(lambda part: part.to(device, non_blocking=True))


class Augmenter:
    """uint8 batches → augmented, normalised float32 batches.

    Args:
        names: the augmentations to use.
        height, width: of the images in pixels.
        scale, bias: (C,) float32, so that ``image * scale + bias`` is normalised.
        strong: a strong view: more colour, and a square blanked out.
    """

    def __init__(self, names: frozenset[str], height: int, width: int, scale: Tensor, bias: Tensor, *, strong: bool = False) -> None:
        self.names = names | {"color"} if strong else names
        self.height, self.width = height, width
        side = min(height, width)
        self.shift = min(max(1, side // 8), side - 1) if "crop" in names else 0  # a single pixel has nowhere to go
        self.moves = bool(names & {"crop", "flip", "rot90"})
        self.colors = "color" in self.names
        self.jitter = STRONG_JITTER if strong else COLOR_JITTER
        self.hole = round(CUTOUT * side) if strong else 0
        self.scale, self.bias = scale.view(1, -1, 1, 1), bias.view(1, -1, 1, 1)
        device = scale.device
        self._rows = torch.arange(height, device=device).view(1, height, 1)
        self._columns = torch.arange(width, device=device).view(1, 1, width)
        self._luma = torch.tensor(_LUMA, device=device).view(1, 3, 1, 1)

    @profiling.timed("augmentation")
    def draw(self, n: int, generator: torch.Generator) -> Draws:
        """The choices for n samples from a CPU generator; the same on every device."""
        geometry = color = holes = None
        if self.moves:
            shifts = torch.randint(-self.shift, self.shift + 1, (n, 2), generator=generator)
            flips = torch.randint(0, 2, (n, 1), generator=generator) * ("flip" in self.names)
            turns = torch.randint(0, 4, (n, 1), generator=generator) * ("rot90" in self.names)
            if self.height != self.width:
                turns = turns // 2 * 2  # only half turns keep the shape
            geometry = torch.cat([shifts, flips, turns], dim=1)
        if self.colors:
            color = 1 + self.jitter * (2 * torch.rand(n, 3, generator=generator) - 1)
        if self.hole:
            sides = torch.tensor([self.height, self.width])
            holes = (torch.rand(n, 2, generator=generator) * sides).long()
        return Draws(geometry, color, holes)

    @profiling.timed("augmentation")
    def __call__(self, images: Tensor, draws: Draws | None = None) -> Tensor:
        """Augment (where draws are given) and normalise (B, C, H, W) uint8 images."""
        if draws is not None and draws.geometry is not None:
            images = self._move(images, draws.geometry)
        pixels = images.float()
        if draws is not None and draws.color is not None:
            pixels = self._recolor(pixels.contiguous(), draws.color)  # the mean of other orders in memory rounds otherwise
        pixels = self._normalise(pixels)
        if draws is not None and draws.holes is not None:
            pixels = self._cut_out(pixels, draws.holes)
        return pixels

    def _normalise(self, pixels: Tensor) -> Tensor:
        """In place; channels_last by whole rows of an image, because three numbers at a time are no work for vector units."""
        if pixels.is_contiguous() or not pixels.is_contiguous(memory_format=torch.channels_last):
            return pixels.mul_(self.scale).add_(self.bias)
        width = pixels.shape[3]
        pixels.permute(0, 2, 3, 1).flatten(2).mul_(self.scale.flatten().repeat(width)).add_(self.bias.flatten().repeat(width))
        return pixels

    def together(self, images: Tensor, labels: Tensor, draws: Draws | None = None) -> tuple[Tensor, Tensor]:
        """The images augmented and their labels, which stay as they are: a class does not move."""
        return self(images, draws), labels

    def _cut_out(self, pixels: Tensor, holes: Tensor) -> Tensor:
        """Zero, the mean of normalised pixels, in a square around each centre."""
        row, column = holes.view(-1, 2, 1, 1).unbind(dim=1)
        first = self.hole // 2
        inside = (self._rows >= row - first) & (self._rows < row - first + self.hole)
        inside = inside & (self._columns >= column - first) & (self._columns < column - first + self.hole)
        return pixels.masked_fill(inside.unsqueeze(1), 0.0)

    def _move(self, images: Tensor, geometry: Tensor) -> Tensor:
        """Turned, flipped and shifted: where each pixel comes from is the sum of a number of its row and one of its column."""
        batch, channels = images.shape[:2]
        down, right, flip, turns = geometry.view(batch, 4, 1).unbind(dim=1)
        odd, half = turns % 2 == 1, turns >= 2  # a quarter turn swaps the axes, a half turn reverses both
        rows, columns = self._rows.view(1, -1), self._columns.view(1, -1)
        if "rot90" in self.names:
            rows = torch.where(half, self.height - 1 - rows, rows)
            columns = torch.where(half != odd, self.width - 1 - columns, columns)
        if "flip" in self.names:
            columns = torch.where(flip == 1, self.width - 1 - columns, columns)
        if self.shift:
            rows, columns = _mirror(rows + down, self.height), _mirror(columns + right, self.width)
        along_rows, along_columns = rows * self.width, columns
        if "rot90" in self.names and self.height == self.width:
            along_rows, along_columns = torch.where(odd, columns, along_rows), torch.where(odd, along_rows, columns)
        source = (along_rows.unsqueeze(2) + along_columns.unsqueeze(1)).expand(batch, self.height, self.width).reshape(batch, 1, -1)
        flat = images.reshape(batch, channels, -1)
        return flat.gather(2, source.expand(batch, channels, -1)).view_as(images)

    def _recolor(self, images: Tensor, color: Tensor) -> Tensor:
        brightness, contrast, saturation = color.view(-1, 3, 1, 1, 1).unbind(dim=1)
        images = images * brightness
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = torch.lerp(mean, images, contrast)
        if images.shape[1] == 3:
            gray = (images * self._luma).sum(dim=1, keepdim=True)
            images = torch.lerp(gray.expand_as(images), images, saturation)
        return images.clamp_(0, 255)


def _mirror(index: Tensor, size: int) -> Tensor:
    """Reflect positions that lie outside [0, size) at the edges, without repeating the edge."""
    index = index.abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index)


class FeatureScaler:
    """Frozen features → the features that a head is trained on: scaled, never augmented.

    Args:
        scale, bias: (D,) float32, so that ``features * scale + bias`` is normalised.
        strong: a strong view: a share of the features left out.
    """

    def __init__(self, scale: Tensor, bias: Tensor, *, strong: bool = False) -> None:
        self.scale, self.bias, self.strong = scale, bias, strong
        self._columns = torch.arange(len(scale), device=scale.device)

    @profiling.timed("augmentation")
    def draw(self, n: int, generator: torch.Generator) -> Draws:
        """The choices for n samples from a CPU generator: none in a weak view."""
        return Draws(holes=torch.randint(1, 2**31, (n, 1), generator=generator)) if self.strong else Draws()

    def together(self, features: Tensor, labels: Tensor, draws: Draws | None = None) -> tuple[Tensor, Tensor]:
        """The features scaled and their labels."""
        return self(features, draws), labels

    @profiling.timed("augmentation")
    def __call__(self, features: Tensor, draws: Draws | None = None) -> Tensor:
        """Normalise (B, D) float32 features; leave some out where draws say so (the others are scaled up, as dropout does)."""
        features = features * self.scale + self.bias
        if draws is None or draws.holes is None:
            return features
        mixed = (draws.holes * 2654435761 + (self._columns + 1) * 2246822519) % 2**32  # one number a sample stands for D choices
        mixed = (mixed ^ (mixed >> 15)) * 2246822519 % 2**32
        return features * ((mixed >> 8) >= FEATURE_DROPOUT * 2**24) / (1 - FEATURE_DROPOUT)


def make_augmenters(
    augmentation: str, declared: tuple[str, ...], normalize: str, images: Tensor | MappedImages
) -> tuple[Augmenter, Augmenter] | tuple[FeatureScaler, FeatureScaler]:
    """What a protocol does to the images of a run, or to their features.

    Args:
        augmentation: of the protocol; see :func:`parse_augmentation`. Features are never augmented.
        declared: what ``auto`` means for the data set.
        normalize: of the protocol; see :func:`normalization`.
        images: (n, C, H, W) uint8 training images or (n, D) float32 training features.

    Returns:
        The protocol's own (the weak view), and the strong view of the methods that compare the two. The strong one moves
        images as the data set declares, whatever the protocol says.

    Raises:
        BenchmarkError: an unknown augmentation, or a normalisation of pixels for features.
    """
    if len(images.shape) == 2:
        if normalize == "imagenet":
            raise BenchmarkError("protocol.normalize=imagenet is for pixels; frozen features take dataset or none")
        parse_augmentation(augmentation, declared)
        width = int(images.shape[1])
        if normalize == "none":
            one, zero = torch.ones(width, device=images.device), torch.zeros(width, device=images.device)
            return FeatureScaler(one, zero), FeatureScaler(one, zero, strong=True)
        sample = images.index_select(0, _even_positions(images)).double()
        mean, deviation = sample.mean(dim=0), sample.std(dim=0, correction=0)
        scale = torch.where(deviation > 1e-6, 1 / deviation.clamp(min=1e-6), 0.0)  # a feature that never varies says nothing
        scale, bias = scale.float(), (-mean * scale).float()
        return FeatureScaler(scale, bias), FeatureScaler(scale, bias, strong=True)
    names, sides = parse_augmentation(augmentation, declared), (int(images.shape[2]), int(images.shape[3]))
    scale, bias = normalization(normalize, images)
    return Augmenter(names, *sides, scale, bias), Augmenter(names | frozenset(declared), *sides, scale, bias, strong=True)


def normalization(mode: str, images: Tensor | MappedImages) -> tuple[Tensor, Tensor]:
    """Scale and bias (each (C,)) that take uint8 images to what ``mode`` asks for.

    Args:
        mode: ``dataset`` (mean 0 and deviation 1 over the training images), ``imagenet`` or ``none`` (to [0, 1]).
        images: (n, C, H, W) uint8 training images; only ``dataset`` looks at them.
    """
    channels = images.shape[1]
    if mode == "none":
        mean, std = torch.zeros(channels), torch.ones(channels)
    elif mode == "imagenet":
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        if channels == 1:
            mean, std = mean.mean(dim=0, keepdim=True), std.mean(dim=0, keepdim=True)
    else:
        mean, std = _channel_statistics(images)
    return ((1 / 255) / std).to(images.device), (-mean / std).to(images.device)


STATISTICS_IMAGES = 10_000
"""Mean and deviation come from this many images at most, evenly spaced: more would not change the third digit."""


def _even_positions(images: Tensor | MappedImages) -> Tensor:
    """At most :data:`STATISTICS_IMAGES` positions, evenly spaced."""
    n = int(images.shape[0])
    return torch.linspace(0, n - 1, min(n, STATISTICS_IMAGES), dtype=torch.float64).round().long().to(images.device)


def _channel_statistics(images: Tensor | MappedImages) -> tuple[Tensor, Tensor]:
    """Mean and deviation per channel in [0, 1], from exact integer histograms (no float copy of the data)."""
    channels, pixels = int(images.shape[1]), int(images.shape[2] * images.shape[3])
    step = max(1, CHUNK_BYTES // (channels * pixels))
    chosen = _even_positions(images)
    counts = torch.zeros(channels, 256, dtype=torch.float64)
    for start in range(0, len(chosen), step):
        chunk = images.index_select(0, chosen[start : start + step])
        counts += torch.stack([torch.bincount(chunk[:, channel].reshape(-1), minlength=256) for channel in range(channels)]).cpu()
    values = torch.arange(256, dtype=torch.float64) / 255
    means = (counts * values).sum(dim=1) / counts.sum(dim=1)
    deviations = ((counts * (values - means[:, None]) ** 2).sum(dim=1) / counts.sum(dim=1)).sqrt().clamp(min=1e-3)
    return means.float(), deviations.float()
