"""Networks for masks by name: images → logits of every task's classes at every pixel, and one feature vector an image.

``vnet2d`` is the two-dimensional V-Net (Milletari, Navab and Ahmadi 2016) of Zhang et al. (2020); with one channel and one task of
two classes it has 1,151,932 parameters. ``vnet_small`` is the same with about a third of its channels and a wider head.
``unet:timm:<name>`` puts a light decoder on any timm model that gives feature maps.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import BenchmarkError, unknown_name
from benchmark.training.backbones import BaseNetwork
from benchmark.training.micro_batch import in_pieces
from benchmark.training.names import MASK_BACKBONES, UNET

DECODER = (128, 64, 48, 32, 24)
"""Channels of the decoder's levels above a timm encoder, the coarsest first."""


class SegmentationNetwork(BaseNetwork):
    """A trunk for masks, with autocast inside so that losses are computed in float32. Images of any size are taken, but of
    ``multiple`` pixels and less in both directions, of which one feature is left, not in batches of one: batch norm refuses these.

    Args:
        trunk: (B, C, H, W) → (B, T·J, H, W) logits and (B, width, h, w) features; H and W are multiples of ``multiple``.
        width: number of features.
        tasks: T.
        classes: J.
        multiple: images are padded to a multiple of it, by repeating their border, and the logits are cropped.
        bf16: run the forward pass under bfloat16 autocast.

    Attributes:
        width, tasks, classes: as given.
    """

    def __init__(self, trunk: nn.Module, width: int, *, tasks: int, classes: int, multiple: int, bf16: bool = False) -> None:
        super().__init__(bf16=bf16)
        self.trunk = trunk
        self.width, self.tasks, self.classes, self.multiple = width, tasks, classes, multiple
        self.to(memory_format=torch.channels_last)

    def with_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """One pass: (B, T, J, H, W) float32 logits and (B, width) float32 features, the mean of the deepest maps.

        Args:
            images: (B, C, H, W) float32, normalised.

        Raises:
            BenchmarkError: in training, see :meth:`check_batches`.
        """
        height, width = images.shape[2:]
        if self.training:
            self.check_batches(len(images), height, width)
        return in_pieces(self, self._with_features, images, self.micro_batch)

    def _with_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        height, width = images.shape[2:]
        below, right = -height % self.multiple, -width % self.multiple
        if below or right:
            images = F.pad(images, (0, right, 0, below), mode="replicate")
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            maps, deepest = self.trunk(images)
        logits = maps[:, :, :height, :width].float().unflatten(1, (self.tasks, self.classes))
        return logits, deepest.float().mean(dim=(2, 3))

    def check_batches(self, least: int, height: int, width: int) -> None:
        """Refuse batches that leave batch norm one value a channel at the deepest level.

        Args:
            least: number of images in the smallest batch.
            height, width: of the images, in pixels.

        Raises:
            BenchmarkError: one image a batch, of :attr:`multiple` pixels or less in both directions.
        """
        if least == 1 and max(height, width) <= self.multiple:
            raise BenchmarkError(
                f"in batches of one image this network needs images of at least {self.multiple + 1} px in one direction, because of "
                f"smaller ones batch norm has a single value at the deepest level; these have {height} × {width}: "
                "raise image_size, or train on two images and more in batches of two and more (protocol.batch_size)"
            )

    def features(self, images: Tensor) -> Tensor:
        """(B, width) float32 features of normalised (B, C, H, W) images."""
        return self.with_features(images)[1]

    def logits(self, images: Tensor) -> Tensor:
        """(B, T, J, H, W) float32 logits of normalised (B, C, H, W) images."""
        return self.with_features(images)[0]


def build_segmentation_network(
    name: str, *, channels: int, tasks: int, classes: int, size: int = 64, pretrained: bool = False, bf16: bool = False
) -> SegmentationNetwork:
    """A fresh network; draws its weights from torch's global generator, so seed that first.

    Args:
        name: ``vnet2d``, ``vnet_small`` or ``unet:timm:<name>``.
        channels: C of the images.
        tasks: T.
        classes: J.
        size: the shorter side of the images in pixels, on which a timm encoder is tried.
        pretrained: load published weights of the encoder; timm only.
        bf16: bfloat16 autocast in the forward pass.

    Raises:
        BenchmarkError: an unknown name, an encoder that gives no feature maps, or weights that cannot be had.
    """
    outputs = tasks * classes
    trunk: nn.Module
    if name.startswith(UNET):
        trunk = _UNet(name.removeprefix(UNET), channels, outputs, size, pretrained)
        return SegmentationNetwork(trunk, trunk.width, tasks=tasks, classes=classes, multiple=trunk.multiple, bf16=bf16)
    if name not in MASK_BACKBONES:
        raise unknown_name("segmentation network", name, MASK_BACKBONES, f"{UNET}<name> puts a decoder on a model of timm")
    if pretrained:
        raise BenchmarkError(f"there are no published weights for {name}; pretrained=true needs a timm encoder, such as {UNET}resnet18")
    published = name == "vnet2d" and outputs == 2
    base = 16 if name == "vnet2d" else 6
    trunk = VNet2d(channels, outputs, base=base, head=outputs if published else 2 * base)
    return SegmentationNetwork(trunk, trunk.width, tasks=tasks, classes=classes, multiple=8, bf16=bf16)


def initialise(module: nn.Module) -> None:
    """He et al. (2015) for convolutions and their transposes, 1 and 0 for batch norm."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            # Every input pixel of a 2×2 transposed convolution of stride 2 reaches each output once: fan-in is its first axis.
            fan_in = part.weight.shape[0] if isinstance(part, nn.ConvTranspose2d) else part.weight[0].numel()
            nn.init.normal_(part.weight, std=(2 / fan_in) ** 0.5)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)


class _Logits(nn.Conv2d):
    """The last convolution, 1×1, in float32 under autocast too: bfloat16 would round logits to 8 bits."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


# --------------------------------------------------------------------------------------------------------------- V-Net


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs)]


class _Residual(nn.Module):
    """ReLU(x + F(x)) of some 3×3 convolutions, each with batch norm, with ReLU between them."""

    def __init__(self, channels: int, convolutions: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(convolutions):
            layers += [*_convolution(channels, channels), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.layers(x), inplace=True)


def _down(inputs: int, convolutions: int) -> nn.Sequential:
    outputs = 2 * inputs
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 2, stride=2), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True), _Residual(outputs, convolutions)
    )


class _Up(nn.Module):
    """To twice the size, beside the encoder's map of that size."""

    def __init__(self, inputs: int, outputs: int, convolutions: int) -> None:
        super().__init__()
        half = outputs // 2
        self.grow = nn.Sequential(nn.ConvTranspose2d(inputs, half, 2, stride=2), nn.BatchNorm2d(half), nn.ReLU(inplace=True))
        self.mix = _Residual(outputs, convolutions)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.mix(torch.cat([self.grow(x), skip], dim=1))


class VNet2d(nn.Module):
    """Three levels down and up with residual blocks of 1, 2 and 3 convolutions.

    Args:
        channels: C of the images.
        outputs: T·J.
        base: channels at full size, an even number; they double at each level.
        head: channels between the last two convolutions. The published network has as many as outputs, two; behind their ReLU the objects
            of several tasks never come back once their channel is dead, so that more take 2 · ``base``.

    Attributes:
        width: channels at the deepest level, 8 · ``base``.
    """

    def __init__(self, channels: int, outputs: int, base: int, head: int) -> None:
        super().__init__()
        self.width = 8 * base
        self.first = nn.Sequential(*_convolution(channels, base), nn.ReLU(inplace=True))
        self.downs = nn.ModuleList([_down(base * 2**level, level + 1) for level in range(3)])
        self.ups = nn.ModuleList([_Up(8 * base, 8 * base, 3), _Up(8 * base, 4 * base, 2), _Up(4 * base, 2 * base, 1)])
        self.head = nn.Sequential(*_convolution(2 * base, head), nn.ReLU(inplace=True), _Logits(head, outputs))
        initialise(self)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) → (B, outputs, H, W) logits and (B, width, H/8, W/8) features; H and W are multiples of 8."""
        x = self.first(images)
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        deepest = x
        for up in self.ups:
            x = up(x, skips.pop())
        return self.head(x), deepest


# --------------------------------------------------------------------------------------------------------------- U-Net


class _UNet(nn.Module):
    """A timm encoder and a light decoder: one 3×3 convolution a level after bilinear upsampling (Ronneberger et al. 2015)."""

    def __init__(self, name: str, channels: int, outputs: int, size: int, pretrained: bool) -> None:
        super().__init__()
        encoder = _encoder(name, channels, pretrained)
        widths, reductions = encoder.feature_info.channels(), encoder.feature_info.reduction()
        self.width, self.multiple = int(widths[-1]), int(max(reductions))
        inputs, layers = self.width, []
        for level, skip in enumerate(reversed([0, *widths[:-1]])):  # the last level, at full size, has no map beside it
            width = DECODER[min(level, len(DECODER) - 1)]
            layers.append(nn.Sequential(*_convolution(inputs + skip, width), nn.ReLU(inplace=True)))
            inputs = width
        self.decoder = nn.ModuleList(layers)
        self.head = _Logits(inputs, outputs)
        initialise(self)
        self.encoder = encoder  # after the initialisation, which is the decoder's
        side = size + -size % self.multiple
        try:
            with torch.no_grad():
                self.eval()(torch.zeros(1, channels, side, side))
        except Exception as error:  # whatever the model makes of it
            raise BenchmarkError(f"encoder timm:{name} cannot take images of {side} px: {_first_line(error)}") from error
        self.train()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) → (B, outputs, H, W) logits and the encoder's deepest features."""
        *skips, deepest = self.encoder(images)
        x = deepest
        for layer in self.decoder:
            skip = skips.pop() if skips else None
            x = F.interpolate(x, size=(images if skip is None else skip).shape[2:], mode="bilinear", align_corners=False)
            x = layer(x if skip is None else torch.cat([x, skip], dim=1))
        return self.head(x), deepest


def _encoder(name: str, channels: int, pretrained: bool) -> Any:
    try:
        import timm
    except ImportError as error:
        raise BenchmarkError(f"{UNET}… needs timm; install it: python -m pip install timm") from error
    if not timm.is_model(name):
        raise unknown_name("timm model", name, timm.list_models(), "timm.list_models() has them all")
    try:
        return timm.create_model(name, pretrained=pretrained, in_chans=channels, features_only=True)
    except Exception as error:  # timm raises whatever its download or its model raises
        weights = " with its weights" if pretrained else ""
        raise BenchmarkError(f"timm cannot build {name}{weights} as an encoder: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
