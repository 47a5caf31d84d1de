"""Networks by name: a trunk that gives features and a linear head that gives logits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import clock
from benchmark.errors import BenchmarkError, unknown_name
from benchmark.training.folding import folded
from benchmark.training.micro_batch import in_pieces
from benchmark.training.names import BACKBONES

_SMALLEST = {"cnn_small": 8, "cnn9": 28}
"""Backbone → the least side in pixels; the others take any."""


class BaseNetwork(nn.Module):
    """What every network has: features, logits, and what the harness reads of its forward passes.

    Attributes:
        last_logits: logits of the latest forward pass with gradients, detached; the sample history reads them.
        memo: while :func:`remembering`, the latest batch and its logits.
        bf16: whether the forward pass runs under bfloat16 autocast; losses are computed in float32.
        micro_batch: with gradients, more images than these pass in pieces; see :func:`benchmark.training.micro_batch.in_pieces`.
    """

    def __init__(self, *, bf16: bool = False) -> None:
        super().__init__()
        self.bf16 = bf16
        self.micro_batch: int | None = None
        self.last_logits: Tensor | None = None
        self.memo: tuple[Tensor, Tensor] | tuple[()] | None = None

    def features(self, images: Tensor) -> Tensor:
        """(B, width) float32 features of normalised images."""
        raise NotImplementedError

    def logits(self, images: Tensor) -> Tensor:
        """Float32 logits of normalised images, class by class."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Float32 logits of normalised images: (B, K), or of masks (B, T, J, H, W)."""
        if self.memo and self.memo[0] is images:
            return self.memo[1]
        run = clock.member()
        joint = None if run is None else run.forward([self], images)
        return self.had(images, self.logits(images) if joint is None else joint[0])

    def had(self, images: Tensor, logits: Tensor) -> Tensor:
        """Note a forward pass, however it was made; returns its logits."""
        if self.memo is not None:
            self.memo = (images, logits)
        if self.training and torch.is_grad_enabled():
            self.last_logits = logits.detach()
        return logits


class Network(BaseNetwork):
    """A trunk and a linear head.

    Args:
        trunk: (B, C, H, W) → (B, width).
        width: number of features.
        num_classes: K.
        bf16: run the forward pass under bfloat16 autocast.
    """

    def __init__(self, trunk: nn.Module, width: int, num_classes: int, *, bf16: bool = False) -> None:
        super().__init__(bf16=bf16)
        self.trunk = trunk
        self.head = nn.Linear(width, num_classes)
        self.to(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """(B, width) float32 features of normalised (B, C, H, W) images, or of (B, D) frozen features."""
        return in_pieces(self, self._features, images, self.micro_batch)

    def _features(self, images: Tensor) -> Tensor:
        if images.ndim == 4:
            images = images.contiguous(memory_format=torch.channels_last)  # close to twice as fast as (N, C, H, W) order on a CPU
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            return folded(self, self.trunk, images)(images).float()

    def logits(self, images: Tensor) -> Tensor:
        """(B, K) float32 logits of normalised (B, C, H, W) images."""
        return self.head(self.features(images))


@contextmanager
def remembering(networks: Iterable[BaseNetwork]) -> Iterator[None]:
    """Each network computes a batch once, however often it is asked for it: a predictor and its parts share the passes.

    For evaluation only: a network whose weights change meanwhile would not notice.
    """
    held = list(networks)
    for network in held:
        network.memo = ()
    try:
        yield
    finally:
        for network in held:
            network.memo = None


def build_network(name: str, *, channels: int, size: int, num_classes: int, pretrained: bool = False, bf16: bool = False) -> Network:
    """A fresh network; draws its weights from torch's global generator, so seed that first.

    Args:
        name: a name of :data:`~benchmark.training.names.BACKBONES`.
        channels: 1 or 3; the number D of frozen features for a backbone of :data:`~benchmark.training.names.FEATURE_BACKBONES`.
        size: the shorter side of the images in pixels.
        num_classes: K.
        pretrained: load published weights; timm models only.
        bf16: bfloat16 autocast in the forward pass.

    Raises:
        BenchmarkError: an unknown name, images too small for it, or weights that cannot be had.
    """
    if pretrained and not name.startswith("timm:"):
        raise BenchmarkError(f"protocol.pretrained=true needs a timm backbone, not {name}; write --set protocol.backbone=timm:resnet18")
    if name.startswith("timm:"):
        trunk, width = _timm(name.removeprefix("timm:"), channels, size, pretrained)
        return Network(trunk, width, num_classes, bf16=bf16)
    builders: dict[str, Any] = {"linear": _linear, "mlp": _mlp, "cnn_small": _cnn_small, "cnn9": _cnn9, "preact_resnet18": _preact_resnet18}
    if name in builders:
        if size < _SMALLEST.get(name, 1):
            raise BenchmarkError(f"backbone {name} needs images of at least {_SMALLEST[name]} px, these have {size}; {_smaller(size)}")
        trunk, width = builders[name](channels)
    elif name in ("resnet18", "resnet34"):
        trunk, width = _cifar_resnet(name, channels)
    else:
        raise unknown_name("backbone", name, BACKBONES, "timm:<name> takes any model of timm")
    return Network(trunk, width, num_classes, bf16=bf16)


def _smaller(size: int) -> str:
    return "use cnn_small or resnet18" if size >= _SMALLEST["cnn_small"] else "use resnet18"


def _linear(features: int) -> tuple[nn.Module, int]:
    return nn.Identity(), features


def _mlp(features: int) -> tuple[nn.Module, int]:
    return nn.Sequential(nn.Linear(features, 256), nn.ReLU(inplace=True)), 256


class GlobalPool(nn.Module):
    """(B, C, H, W) → (B, C, 1, 1), the mean over the pixels.

    ``AdaptiveAvgPool2d(1)`` computes the same, but hands its gradient back as one number a channel that is spread over the pixels by
    strides of 0, which the activation before it reads slowly on a CPU (tests/performance/test_step_parts.py).
    """

    def forward(self, images: Tensor) -> Tensor:
        """The means."""
        return F.avg_pool2d(images, images.shape[2:])


def _convolution(inputs: int, outputs: int, slope: float = 0.0, padding: int = 1, *, pool: bool = False) -> list[nn.Module]:
    """Convolution, batch norm, the pooling of 2 × 2 where asked for, and the activation: after the maximum it has a quarter to do.

    An activation that never falls gives the same before and after a maximum, to the bit, and so do the gradients.
    """
    activation = nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)
    pooling = [nn.MaxPool2d(2)] if pool else []
    return [nn.Conv2d(inputs, outputs, 3, padding=padding, bias=False), nn.BatchNorm2d(outputs), *pooling, activation]


def _pooled() -> list[nn.Module]:
    return [GlobalPool(), nn.Flatten()]


def _cnn_small(channels: int) -> tuple[nn.Module, int]:
    layers = [*_convolution(channels, 24, pool=True), *_convolution(24, 48, pool=True), *_convolution(48, 96)]
    return nn.Sequential(*layers, *_pooled()), 96


def _cnn9(channels: int) -> tuple[nn.Module, int]:
    layers: list[nn.Module] = []
    for width in (128, 256):
        for inputs, last in ((channels if width == 128 else 128, False), (width, False), (width, True)):
            layers += _convolution(inputs, width, slope=0.01, pool=last)
        layers.append(nn.Dropout2d(0.25))
    for inputs, width in ((256, 512), (512, 256), (256, 128)):
        layers += _convolution(inputs, width, slope=0.01, padding=0)
    return nn.Sequential(*layers, *_pooled()), 128


def _cifar_resnet(name: str, channels: int) -> tuple[nn.Module, int]:
    from torchvision import models

    network = getattr(models, name)(weights=None)
    network.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.maxpool = nn.Identity()
    network.avgpool = GlobalPool()
    network.fc = nn.Identity()
    return network, 512


class _PreActBlock(nn.Module):
    """Two 3×3 convolutions, each after batch norm and ReLU, beside a shortcut (He et al. 2016, "Identity mappings")."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm1(x))
        residual = x if self.shortcut is None else self.shortcut(active)
        return self.conv2(F.relu(self.norm2(self.conv1(active)))) + residual


def _preact_resnet18(channels: int) -> tuple[nn.Module, int]:
    layers: list[nn.Module] = [nn.Conv2d(channels, 64, 3, 1, 1, bias=False)]
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [_PreActBlock(inputs, outputs, stride), _PreActBlock(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers, nn.BatchNorm2d(512), nn.ReLU(inplace=True), *_pooled()), 512


def _timm(name: str, channels: int, size: int, pretrained: bool) -> tuple[nn.Module, int]:
    try:
        import timm
    except ImportError as error:
        raise BenchmarkError("backbone timm:… needs timm; install it: python -m pip install timm") from error
    if not timm.is_model(name):
        raise unknown_name("timm model", name, timm.list_models(), "timm.list_models() has them all")
    try:
        trunk = timm.create_model(name, pretrained=pretrained, in_chans=channels, num_classes=0)
    except Exception as error:  # timm raises whatever its download or its model raises
        weights = " with its weights" if pretrained else ""
        raise BenchmarkError(f"timm cannot build {name}{weights}: {_first_line(error)}") from error
    try:
        with torch.no_grad():  # num_features is not the width of every model, and some take one size only
            features = trunk.eval()(torch.zeros(1, channels, size, size))
    except Exception as error:  # whatever the model makes of it
        raise BenchmarkError(f"backbone timm:{name} cannot take images of {size} px: {_first_line(error)}") from error
    return trunk.train(), int(features.shape[1])


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
