"""What a method sees of bags, what evaluation sees of them, and batches of several bags."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark import profiling
from benchmark.api import Batch, TrainingData
from benchmark.bags.segments import bag_rows
from benchmark.training.augment import Augmenter, FeatureScaler
from benchmark.training.images import MappedImages


@dataclass(frozen=True)
class BagData(TrainingData):
    """All that a method may know of the training bags; ``images`` are the N tiles of all of them, ``labels`` (n,) those of the bags.

    Attributes:
        offsets: (n + 1,) int64 in host memory: tiles of bag i are ``offsets[i]:offsets[i + 1]``.
    """

    offsets: Tensor = dataclasses.field(kw_only=True)

    @property
    def tiles(self) -> int:
        """Number of tiles N."""
        return int(self.images.shape[0])


@dataclass(frozen=True)
class BagPart:
    """The bags of a part, for evaluation.

    Attributes:
        tiles: (N, …) on the device, or by rows.
        offsets: (n + 1,) int64 in host memory.
    """

    tiles: Tensor | MappedImages
    offsets: Tensor


@dataclass(frozen=True)
class BagBatch(Batch):
    """Some bags: ``images`` are their tiles, one bag after the other, ``labels`` and ``indices`` (b,) are the bags'.

    Attributes:
        offsets: (b + 1,) int64 on the device.
        rows: (M,) int64, positions of the tiles among all training tiles.
    """

    offsets: Tensor = dataclasses.field(kw_only=True)
    rows: Tensor = dataclasses.field(kw_only=True)


class BagLoader:
    """Shuffled batches of whole bags, their tiles augmented; each iteration is one pass over the bags.

    Args:
        data: the training bags.
        indices: (m,) int64 bags to visit.
        labels: (m,) int64 their labels.
        batch_size: bags a batch.
        augmenters: one a view of the tiles. The first makes ``Batch.images``.
        generator: returns the CPU generator of this pass; called once a pass.
    """

    def __init__(
        self,
        data: BagData,
        indices: Tensor,
        labels: Tensor,
        batch_size: int,
        augmenters: Sequence[Augmenter | FeatureScaler],
        generator: Callable[[], torch.Generator],
    ) -> None:
        self.data, self.indices, self.labels, self.batch_size = data, indices, labels, batch_size
        self.augmenters, self._generator = augmenters, generator

    def __len__(self) -> int:
        """Number of batches in a pass."""
        return math.ceil(len(self.indices) / self.batch_size)

    @profiling.batches
    def __iter__(self) -> Iterator[BagBatch]:
        generator, device = self._generator(), self.data.labels.device
        order = torch.randperm(len(self.indices), generator=generator)
        bags = self.indices.cpu()[order]  # offsets are in host memory: no batch waits for the device
        for start in range(0, len(order), self.batch_size):
            chosen = bags[start : start + self.batch_size]
            rows, offsets = bag_rows(self.data.offsets, chosen)
            on_device = rows.to(device, non_blocking=True)
            tiles = self.data.images.index_select(0, on_device)
            draws = [augmenter.draw(len(rows), generator).to(device) for augmenter in self.augmenters]
            views = tuple(augmenter(tiles, drawn) for augmenter, drawn in zip(self.augmenters, draws, strict=True))
            labels = self.labels[order[start : start + self.batch_size].to(self.labels.device, non_blocking=True)]
            bags_here, offsets_here = (part.to(device, non_blocking=True) for part in (chosen, offsets))
            yield BagBatch(views[0], labels, bags_here, views, offsets=offsets_here, rows=on_device)


def bag_bounds(offsets: Tensor, tiles: int) -> list[tuple[int, int]]:
    """(first, behind the last) bag of each piece: as many whole bags as have at most so many tiles together, at least one."""
    bounds, start, ends = [], 0, offsets.tolist()
    for bag in range(1, len(ends)):
        if ends[bag] - ends[start] > tiles and bag - 1 > start:
            bounds.append((start, bag - 1))
            start = bag - 1
    return [*bounds, (start, len(ends) - 1)] if len(ends) > 1 else []
