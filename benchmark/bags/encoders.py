"""Encoders by name, in front of the networks for bags: tiles → features, which contrastive fine-tuning changes.

``identity`` leaves frozen features as they are, ``projection`` adds a head to them that can be fine-tuned, and ``cnn`` takes pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import BenchmarkError, unknown_name

ENCODERS = ("identity", "projection", "cnn")
SMALLEST_TILE = 16
"""Pixels a side: the CNN's deepest map must have more than one place, over which instance norm is taken."""


class Encoder(nn.Module):
    """Tiles → features, and a head for the contrastive loss: width → width → ReLU → width/2. This one leaves features as they are.

    Args:
        width: D of the features that come out.
        head: with a head for the contrastive loss.

    Attributes:
        width: as given.
    """

    def __init__(self, width: int, head: bool = True) -> None:
        super().__init__()
        self.width = width
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, max(width // 2, 1))) if head else None

    def forward(self, tiles: Tensor) -> Tensor:
        """(N, D) float32 features."""
        return tiles

    def projected(self, tiles: Tensor) -> Tensor:
        """(N, D/2) unit vectors for the contrastive loss.

        Raises:
            BenchmarkError: the encoder has nothing that could be fine-tuned.
        """
        if self.head is None:
            raise BenchmarkError("encoder identity has nothing to fine-tune; choose projection for features or cnn for pixels")
        return F.normalize(self.head(self(tiles)), dim=1)

    @torch.no_grad()
    def extract(self, tiles: Tensor, chunk: int = 4096) -> Tensor:
        """(N, D) features of any number of tiles, on their device, so many at a time; without a gradient, and never augmented."""
        was_training = self.training
        self.eval()
        features = torch.cat([self(part) for part in tiles.split(chunk)])
        self.train(was_training)
        return features


class ResidualEncoder(Encoder):
    """h + W_2 ReLU(W_1 h) on frozen features. W_2 begins at zero: before fine-tuning, features are exactly those that were given."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        last = nn.Linear(width, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.change = nn.Sequential(nn.Linear(width, width), nn.ReLU(), last)

    def forward(self, tiles: Tensor) -> Tensor:
        """(N, D) float32 features of (N, D) features."""
        return tiles + self.change(tiles)


class ConvolutionalEncoder(Encoder):
    """Four 3×3 convolutions with instance norm, the last three of stride 2, and the mean over the map: 8 · base features.

    Instance norm has no weights, as in the ResNet-18 of DSMIL and HNM-WSI: stain and brightness of a tile are taken out of it.

    Args:
        channels: C of the tiles.
        base: channels at full size; they double at each stride.
    """

    def __init__(self, channels: int, base: int = 32) -> None:
        super().__init__(8 * base)
        layers: list[nn.Module] = []
        for level in range(4):
            inputs, outputs = (base * 2 ** (level - 1) if level else channels), base * 2**level
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride=2 if level else 1, padding=1),
                nn.InstanceNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, tiles: Tensor) -> Tensor:
        """(N, 8 · base) features of (N, H, W, C) uint8 pixels, or of (N, C, H, W) float32 ones that are normalised already.

        Raises:
            BenchmarkError: tiles that are too small.
        """
        images = tiles if tiles.is_floating_point() else tiles.movedim(-1, 1).float() / 255
        if min(images.shape[2:]) < SMALLEST_TILE:
            raise BenchmarkError(
                f"encoder cnn takes tiles of at least {SMALLEST_TILE} pixels a side, these have {images.shape[2]} × {images.shape[3]}; "
                "use larger tiles, or features"
            )
        return self.layers(images).mean(dim=(2, 3))


def build_encoder(name: str, inputs: int, *, base: int = 32) -> Encoder:
    """A fresh encoder; draws its weights from torch's global generator, so seed that first.

    Args:
        name: ``identity`` or ``projection`` for features, ``cnn`` for pixels.
        inputs: D of the features, or C of the pixels.
        base: channels of the first convolution of ``cnn``.

    Raises:
        BenchmarkError: an unknown name.
    """
    if name == "identity":
        return Encoder(inputs, head=False)
    if name == "projection":
        return ResidualEncoder(inputs)
    if name == "cnn":
        return ConvolutionalEncoder(inputs, base)
    raise unknown_name("encoder of tiles", name, ENCODERS)
