"""Random changes of images together with their masks, for whole batches on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.training.augment import Augmenter, Draws


class JointAugmenter(Augmenter):
    """uint8 images and masks → augmented, normalised float32 images and the masks moved along.

    What moves pixels (``flip``, ``rot90``, ``crop``) moves both in the same way, by one gather, so that no class id is ever
    interpolated; ``color`` changes the image alone. Each sample has choices of its own, drawn by :meth:`draw` from a CPU
    generator. ``crop`` mirrors image and masks at their borders.

    Args:
        names, height, width, scale, bias, strong: as of :class:`~benchmark.training.augment.Augmenter`.
    """

    def together(self, images: Tensor, labels: Tensor, draws: Draws | None = None) -> tuple[Tensor, Tensor]:
        """Augment (where draws are given) and normalise.

        Args:
            images: (B, C, H, W) uint8.
            labels: (B, T, H, W) uint8 on the same device.
            draws: B choices on the same device.

        Returns:
            (B, C, H, W) float32 images and (B, T, H, W) uint8 labels; the arguments are left as they are.
        """
        if draws is not None and draws.geometry is not None:
            channels = images.shape[1]
            moved = self._move(torch.cat([images, labels], dim=1), draws.geometry)
            images, labels = moved[:, :channels], moved[:, channels:]
            draws = Draws(None, draws.color, draws.holes)
        return self(images, draws), labels
