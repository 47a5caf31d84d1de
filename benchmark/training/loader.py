"""Mini-batches: an index, a gather (on the device, or from a memory-mapped file), an augmentation; no Python per sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from benchmark import profiling
from benchmark.api import Batch
from benchmark.training.augment import Augmenter, FeatureScaler
from benchmark.training.images import MappedImages


class Loader:
    """Shuffled, augmented batches of (a part of) the training set; each iteration is one pass over it.

    Args:
        images: (n, C, H, W) uint8 (or (n, D) features), all training images, on the device or mapped.
        indices: (m,) int64 positions to visit.
        labels: (m,) int64 their labels, or (m, …, H, W) uint8 what moves with the images.
        batch_size: B; a last batch of a single sample joins the one before, because batch norm cannot bear it.
        augmenters: one a view of the batch: moves, recolours and normalises. The first makes ``Batch.images``.
        generator: returns the CPU generator of this pass (order and augmentation); called once a pass.
    """

    def __init__(
        self,
        images: Tensor | MappedImages,
        indices: Tensor,
        labels: Tensor,
        batch_size: int,
        augmenters: Sequence[Augmenter | FeatureScaler],
        generator: Callable[[], torch.Generator],
    ) -> None:
        self.images, self.indices, self.labels = images, indices, labels
        self.batch_size, self.augmenters, self._generator = batch_size, augmenters, generator

    def __len__(self) -> int:
        """Number of batches in a pass."""
        return len(batch_bounds(int(self.indices.shape[0]), self.batch_size))

    @profiling.batches
    def __iter__(self) -> Iterator[Batch]:
        n, device = int(self.indices.shape[0]), self.images.device
        generator = self._generator()
        order = torch.randperm(n, generator=generator).to(device, non_blocking=True)
        draws = [augmenter.draw(n, generator).to(device) for augmenter in self.augmenters]
        indices = self.indices[order]
        bounds = batch_bounds(n, self.batch_size)
        for (start, stop), picked in zip(bounds, self._pick(indices, bounds), strict=True):
            rows = slice(start, stop)
            first, labels = self.augmenters[0].together(picked, self.labels[order[rows]], draws[0][rows])
            others = (augmenter(picked, drawn[rows]) for augmenter, drawn in zip(self.augmenters[1:], draws[1:], strict=True))
            yield Batch(first, labels, indices[rows], (first, *others))

    def _pick(self, indices: Tensor, bounds: list[tuple[int, int]]) -> Iterator[Tensor]:
        """The images of each batch; from a file on a disk, the next batch is read while the last one trains."""
        if isinstance(self.images, Tensor) or self.images.at_hand:
            for start, stop in bounds:
                yield self.images.index_select(0, indices[start:stop])
            return
        rows = indices.cpu()  # the one sync of a pass
        with ThreadPoolExecutor(1) as reader:
            coming = [reader.submit(self.images.index_select, 0, rows[start:stop]) for start, stop in bounds[:1]]
            for following in [*bounds[1:], None][: len(bounds)]:
                picked = coming.pop().result()
                if following is not None:
                    coming.append(reader.submit(self.images.index_select, 0, rows[slice(*following)]))
                yield picked


def batch_bounds(n: int, batch_size: int) -> list[tuple[int, int]]:
    """(start, stop) of every batch; a remainder of one sample is joined to the batch before it."""
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], n], strict=True)) if n else []
