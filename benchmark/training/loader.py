"""Mini-batches from data that live on the device: an index, a gather, an augmentation; no Python per sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmark.api import Batch
from benchmark.training.augment import Augmenter


class Loader:
    """Shuffled, augmented batches of (a part of) the training set; each iteration is one pass over it.

    Args:
        images: (n, C, H, W) uint8, all training images, on the device.
        indices: (m,) int64 positions to visit.
        labels: (m,) int64 their labels.
        batch_size: B; a last batch of a single sample joins the one before, because batch norm cannot bear it.
        augmenter: moves, recolours and normalises.
        generator: returns the CPU generator of this pass (order and augmentation); called once a pass.
    """

    def __init__(
        self,
        images: Tensor,
        indices: Tensor,
        labels: Tensor,
        batch_size: int,
        augmenter: Augmenter,
        generator: Callable[[], torch.Generator],
    ) -> None:
        self.images, self.indices, self.labels = images, indices, labels
        self.batch_size, self.augmenter, self._generator = batch_size, augmenter, generator

    def __len__(self) -> int:
        """Number of batches in a pass."""
        return len(batch_bounds(int(self.indices.shape[0]), self.batch_size))

    def __iter__(self) -> Iterator[Batch]:
        n, device = int(self.indices.shape[0]), self.images.device
        generator = self._generator()
        order = torch.randperm(n, generator=generator).to(device, non_blocking=True)
        draws = self.augmenter.draw(n, generator).to(device)
        indices, labels = self.indices[order], self.labels[order]
        for start, stop in batch_bounds(n, self.batch_size):
            rows = slice(start, stop)
            picked = self.images.index_select(0, indices[rows])
            yield Batch(self.augmenter(picked, draws[rows]), labels[rows], indices[rows])


def batch_bounds(n: int, batch_size: int) -> list[tuple[int, int]]:
    """(start, stop) of every batch; a remainder of one sample is joined to the batch before it."""
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], n], strict=True)) if n else []
