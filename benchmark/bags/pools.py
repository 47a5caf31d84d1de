"""Which tiles contrastive fine-tuning sees: pools by pseudo label, the self-paced share, when pseudo labels change, and batches.

A pseudo label is the score of a tile in [0, 1]. Pools are indices into the one table of tiles, on its device. Only tiles of training bags
are ranked and enter: scores of validation bags decide which pseudo labels are kept, and training on those bags would spoil the choice.

Source: HNM-WSI, MICCAI 2024, on ItS2CLR, Liu et al., CVPR 2023, as in their released programs, but for the validation bags, which those
of HNM-WSI train on.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmark.bags.segments import bag_of_tile, top_fraction
from benchmark.errors import BenchmarkError, DivergedError


@dataclass(frozen=True)
class Pools:
    """Tiles by pseudo label, as rising (…,) int64 indices; τ is the threshold.

    Attributes:
        pos_full: tiles of positive bags above τ.
        pos_spl: of those, the top fraction.
        neg_clean: the hard negatives: the top fraction of all tiles of negative bags together.
        neg_spl: those, and after the first update the lowest fraction of the tiles of positive bags at or below τ.
    """

    pos_full: Tensor
    pos_spl: Tensor
    neg_clean: Tensor
    neg_spl: Tensor


def build_pools(
    scores: Tensor,
    offsets: Tensor,
    labels: Tensor,
    training: Tensor,
    *,
    threshold: float = 0.3,
    positive_share: float = 0.2,
    hard_share: float = 0.2,
    added_share: float | None = None,
) -> Pools:
    """The pools of these pseudo labels; shares are exact, at least one tile of any, and taken over all bags together.

    Args:
        scores: (N,) pseudo labels of all tiles; those outside training bags are not looked at.
        offsets: (n + 1,).
        labels: (n,) 0 or 1, given labels of the bags.
        training: (n,) bool: bags to train on.
        threshold: τ.
        positive_share: r, the share of pos_full in pos_spl.
        hard_share: the share of the tiles of negative bags that are hard negatives; 1 takes them all.
        added_share: r_neg, the share of the low tiles of positive bags in neg_spl. None adds none, as before the first update; 0, as
            from there to the end of the warm-up, adds the lowest one.

    Raises:
        BenchmarkError: no training bag, or a share or threshold outside [0, 1].
        DivergedError: a pseudo label that is not finite.
    """
    if not 0 <= threshold <= 1:
        raise BenchmarkError(f"the threshold of pseudo labels lies between 0 and 1, not at {threshold:g}")
    if not bool(training.any()):
        raise BenchmarkError("there is no training bag to take tiles from; training marks the bags whose tiles may be used")
    bag = bag_of_tile(offsets, len(scores))
    usable, positive = training[bag], labels[bag] == 1
    if not bool(scores[usable].isfinite().all()):
        raise DivergedError("a pseudo label is not finite: the network for bags that gave it has diverged; lower its learning rate")
    confident = usable & positive & (scores > threshold)
    pos_full = _indices(confident)
    neg_clean = _top(scores, _indices(usable & ~positive), hard_share)
    neg_spl = neg_clean
    if added_share is not None:
        added = _top(-scores, _indices(usable & positive & ~confident), added_share)
        neg_spl = torch.cat([neg_clean, added]).sort().values
    return Pools(pos_full, _top(scores, pos_full, positive_share), neg_clean, neg_spl)


def _indices(mask: Tensor) -> Tensor:
    return mask.nonzero().squeeze(1)


def _top(scores: Tensor, candidates: Tensor, share: float) -> Tensor:
    """Those of the candidates with the largest scores."""
    return candidates[top_fraction(scores[candidates], share)]


def instance_labels(scores: Tensor, offsets: Tensor, labels: Tensor, threshold: float = 0.3) -> Tensor:
    """(N,) int64: 1 where the bag is positive and the pseudo label is above the threshold, else 0."""
    positive = labels[bag_of_tile(offsets, len(scores))] == 1
    return (positive & (scores > threshold)).long()


def paced_share(epoch: int, *, first: float, last: float, warmup: int, epochs: int) -> float:
    """The self-paced share after an epoch: ``first`` until the end of the warm-up, then on a line that reaches ``last`` at ``epochs``.

    Args:
        epoch: e, counted from 0; the share holds from its end.
        first, last: the shares at the two ends.
        warmup: w, in epochs.
        epochs: E, of the whole fine-tuning. If they end with the warm-up, the share stays what it was.
    """
    if epoch < warmup or epochs <= warmup:
        return first
    return first + (epoch - warmup) * (last - first) / (epochs - warmup)


class PseudoLabels:
    """The pseudo labels in use: a round's scores replace them only if it was no worse on validation than the best so far.

    Args:
        scores: (N,) of the first round; copied.
        validation: what the first round reached on the validation bags, larger is better.
        keep: share of the old in the new pseudo labels (exponential moving average); 0 replaces them.

    Attributes:
        scores: (N,) in use. Never changed in place, so what was handed out stays as it was.
        best: validation value of the best round.
        updates: how often they changed.

    Raises:
        BenchmarkError: keep outside [0, 1).
    """

    def __init__(self, scores: Tensor, validation: float, keep: float = 0.0) -> None:
        if not 0 <= keep < 1:
            raise BenchmarkError(
                f"the share of old pseudo labels that is kept lies in [0, 1), not at {keep:g}; at 1 they would never change"
            )
        self.scores, self.best, self.keep, self.updates = copy.deepcopy(scores.detach()), validation, keep, 0

    def offer(self, scores: Tensor, validation: float) -> bool:
        """Take over the scores of a round, or not; says which. A validation value of NaN is worse than any.

        Raises:
            BenchmarkError: scores of another number of tiles.
        """
        if scores.shape != self.scores.shape:
            raise BenchmarkError(f"{len(scores)} pseudo labels for {len(self.scores)} tiles; a round scores every tile once")
        # NaN compares false with anything, so a first round with NaN would shut out all others
        if math.isnan(validation) or validation < self.best:
            return False
        self.best = validation
        self.scores = self.keep * self.scores + (1 - self.keep) * scores.detach() if self.keep else copy.deepcopy(scores.detach())
        self.updates += 1
        return True

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs."""
        return {"scores": self.scores, "best": self.best, "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.scores, self.best, self.updates = state["scores"], state["best"], state["updates"]


class TileBatches(NamedTuple):
    """Batches of one epoch: row b of both is batch b. Negatives are (B, q) int64 tiles, positives (B, p)."""

    negative: Tensor
    positive: Tensor


def draw_tile_batches(
    negative: Tensor, positive: Tensor, size: int, positive_ratio: float, generator: torch.Generator, batches: int | None = None
) -> TileBatches:
    """Batches with a fixed share of positives; each pool is gone through in random order, again and again as need be.

    No tile is twice in a batch. A pool with fewer tiles than its share of a batch gives all it has; an empty one gives none.

    Args:
        negative, positive: indices of two pools.
        size: tiles a batch.
        positive_ratio: share of a batch that is positive, in (0, 1); at least one tile of either.
        generator: on the CPU.
        batches: B. None: as many as the negatives fill once, at least one.

    Raises:
        BenchmarkError: two empty pools, fewer than two tiles a batch, or a ratio outside (0, 1).
    """
    if size < 2 or not 0 < positive_ratio < 1:
        raise BenchmarkError(
            f"a batch of {size} tiles with a share of {positive_ratio:g} positive ones has not both; "
            "give at least 2 tiles and a share between 0 and 1"
        )
    if not len(negative) and not len(positive):
        raise BenchmarkError("both pools of tiles are empty, so there is nothing to fine-tune on; check which bags are for training")
    positives = min(max(round(size * positive_ratio), 1), size - 1)
    if batches is None:
        batches = max(1, len(negative) // (size - positives))
    return TileBatches(_rows(negative, size - positives, batches, generator), _rows(positive, positives, batches, generator))


def _rows(pool: Tensor, width: int, rows: int, generator: torch.Generator) -> Tensor:
    """(rows, ≤ width) of a pool, each row without repetition."""
    width = min(width, len(pool))
    if not width:
        return pool.new_empty((rows, 0))
    filled = len(pool) // width  # rows that one shuffle fills; what is left over takes part in the next shuffle
    shuffles = -(-rows // filled)
    order = torch.rand(shuffles, len(pool), generator=generator).argsort(dim=1)[:, : filled * width]
    return pool[order.reshape(-1, width)[:rows].to(pool.device)]


def draw_bag_pairs(labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(p,) positive and (p,) negative bags in random order, pair by pair; none if one label is missing.

    Args:
        labels: (n,) 0 or 1, of the training bags.
        generator: on the CPU.
    """
    shuffled = [
        members[torch.randperm(len(members), generator=generator).to(members.device)]
        for members in (_indices(labels == 1), _indices(labels != 1))
    ]
    sizes = [len(members) for members in shuffled]
    number = max(sizes) if all(sizes) else 0
    positive, negative = (members.repeat(-(-number // max(len(members), 1)))[:number] for members in shuffled)
    return positive, negative
