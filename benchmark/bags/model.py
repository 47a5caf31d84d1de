"""An encoder of tiles and a network for bags as one network of the harness."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmark.bags.encoders import Encoder, build_encoder
from benchmark.bags.networks import BagNetwork, BagOutput, build_bag_network
from benchmark.errors import BenchmarkError
from benchmark.training.backbones import BaseNetwork

WIDTHS = {"tile_cnn_small": 16, "tile_cnn": 32}
"""Encoder of pixels → channels of its first convolution."""

EVALUATION_BYTES = 64 * 2**20
ACTIVATIONS = 16
"""A forward pass without gradients takes as many tiles at once as fit into this memory, with this many float32 copies of a tile."""


def evaluation_tiles(shape: tuple[int, ...]) -> int:
    """How many tiles of a shape pass through an encoder at once where no gradient is kept."""
    return max(64, EVALUATION_BYTES // (4 * ACTIVATIONS * math.prod(shape)))


class BagModel(BaseNetwork):
    """Tiles → features → bags.

    Args:
        encoder: (N, …) tiles → (N, D).
        pooling: (N, D) and offsets → logits.
        bf16: bfloat16 autocast in the encoder; ``pooling`` has its own.

    Attributes:
        last_logits: (n, 2) of the latest forward pass with gradients, detached: 0 and the bags' logits.
        refuses_pieces: why tiles do not pass in pieces of a batch, which counts bags; empty if they do.
    """

    refuses_pieces = "a batch of bags is not cut: a bag may have any number of tiles; write --set protocol.batch_size=1 or use features"

    def __init__(self, encoder: Encoder, pooling: BagNetwork, *, bf16: bool = False) -> None:
        super().__init__(bf16=bf16)
        self.encoder, self.pooling = encoder, pooling

    def features(self, images: Tensor) -> Tensor:
        """(N, D) float32 features of normalised tiles; without gradients some at a time, since a bag may have any number of tiles."""
        size = len(images) if torch.is_grad_enabled() else evaluation_tiles(tuple(images.shape[1:]))
        if len(images) > size:
            return torch.cat([self.features(some) for some in images.split(size)])
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            return self.encoder(images).float()

    def forward(self, images: Tensor, offsets: Tensor) -> BagOutput:  # type: ignore[override]
        """What the network says of n bags.

        Args:
            images: (N, …) normalised tiles, bag after bag.
            offsets: (n + 1,) int64 on their device.
        """
        return self.pool(self.features(images), offsets)

    def pool(self, features: Tensor, offsets: Tensor) -> BagOutput:
        """:meth:`forward` of features that are there already."""
        output: BagOutput = self.pooling(features, offsets)
        if self.training and torch.is_grad_enabled():
            logits = output.bag_logits.detach()
            self.last_logits = torch.stack([torch.zeros_like(logits), logits], dim=1)
        return output


def build_bag_model(backbone: str, shape: tuple[int, ...], pooling: str, *, bf16: bool = False, encoder: str = "") -> BagModel:
    """A fresh network; draws its weights from torch's global generator, so seed that first.

    Args:
        backbone: of the protocol: a name of :data:`~benchmark.training.names.BAG_BACKBONES`; ``auto`` is ``tile_cnn_small`` for pixels and
            ``identity`` for features.
        shape: of one tile, (C, H, W) or (D,).
        pooling: one of :data:`~benchmark.bags.networks.NETWORKS`.
        bf16: bfloat16 autocast.
        encoder: what stands in the place of ``identity``, for a method that fine-tunes features.

    Raises:
        BenchmarkError: an unknown name, or a backbone for the other kind of tiles.
    """
    has_pixels = len(shape) == 3
    name = ("tile_cnn_small" if has_pixels else "identity") if backbone == "auto" else backbone
    if (name in WIDTHS) != has_pixels:
        tiles, needed = ("pixels", "tile_cnn_small or tile_cnn") if has_pixels else ("features", "identity or projection")
        raise BenchmarkError(
            f"backbone {name} does not take tiles that are {tiles}; use --set protocol.backbone={needed.split()[0]} ({needed})"
        )
    if name in WIDTHS:
        built = build_encoder("cnn", shape[0], base=WIDTHS[name])
    else:
        built = build_encoder(encoder if encoder and name == "identity" else name, shape[0])
    return BagModel(built, build_bag_network(pooling, built.width, bf16=bf16), bf16=bf16)
