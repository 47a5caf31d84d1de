"""Sums, maxima and attention within bags, over one flat table of tiles: no loop over bags, no padding.

``values`` hold one row a tile, in the order of the bags; ``offsets`` (n + 1,) int64 from 0 to N say where each bag begins and ends, as in
:class:`~benchmark.bags.arrays.BagArrays`. No bag is empty. Where several operations follow one another, the bag of each tile
(:func:`bag_of_tile`) can be handed over as ``bag`` and is then not computed again. Nothing waits for the device, except where said.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.errors import BenchmarkError

ROUNDING = 1e-9
"""0.29 · 100 is 28.999… in floating point; a share of a number of tiles is rounded down only after this is added."""


def bag_of_tile(offsets: Tensor, tiles: int) -> Tensor:
    """(N,) int64: the bag of each tile.

    Args:
        offsets: (n + 1,) int64.
        tiles: N, which is known from a shape, so that the device is not asked for it.
    """
    bags = torch.arange(len(offsets) - 1, device=offsets.device)
    return bags.repeat_interleave(offsets.diff(), output_size=tiles)


def segment_sum(values: Tensor, offsets: Tensor, bag: Tensor | None = None) -> Tensor:
    """(n, …) the sum of each bag's rows of (N, …) values."""
    bag = bag_of_tile(offsets, len(values)) if bag is None else bag
    return values.new_zeros((len(offsets) - 1, *values.shape[1:])).index_add(0, bag, values)


def segment_mean(values: Tensor, offsets: Tensor, bag: Tensor | None = None) -> Tensor:
    """(n, …) the mean of each bag's rows of (N, …) values."""
    sizes = offsets.diff().to(values.dtype)
    return segment_sum(values, offsets, bag) / sizes.view(-1, *[1] * (values.ndim - 1))


def segment_weighted_sum(values: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
    """(n, D) Σ w_j · v_j over each bag, differentiable in both; w_j · v_j of all tiles is never written down.

    Args:
        values: (N, D) floating point.
        weights: (N,) of the same type.
        offsets: (n + 1,).
    """
    # A table of embeddings in which bag i looks up its own rows: the library's one fused weighted sum by segments.
    rows = torch.arange(len(values), device=values.device)
    return F.embedding_bag(rows, values, offsets[:-1], mode="sum", per_sample_weights=weights)


def segment_max(values: Tensor, offsets: Tensor, bag: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(n,) the largest of each bag's (N,) values, and (n,) int64 where it stands among the N; the first of equal ones.

    The gradient reaches that one tile. A bag with NaN has the maximum NaN.
    """
    bag = bag_of_tile(offsets, len(values)) if bag is None else bag
    highest = _highest(values, offsets, bag)
    places = torch.arange(len(values), device=values.device)
    # NaN equals nothing: without the second condition a bag with NaN would have no place at all.
    at_top = (values.detach() == highest[bag]) | values.detach().isnan()
    places = torch.where(at_top, places, len(values))
    first = offsets[1:].sub(1).scatter_reduce(0, bag, places, "amin")
    return values[first], first


def segment_softmax(values: Tensor, offsets: Tensor, bag: Tensor | None = None) -> Tensor:
    """(N,) softmax of (N,) values within each bag; values of any size neither overflow nor vanish together."""
    bag = bag_of_tile(offsets, len(values)) if bag is None else bag
    # The shift cancels, so it needs no gradient.
    raised = (values - _highest(values, offsets, bag)[bag]).exp()
    return raised / segment_sum(raised, offsets, bag).index_select(0, bag)


def segment_topk_mean(values: Tensor, offsets: Tensor, k: int, bag: Tensor | None = None) -> Tensor:
    """(n,) the mean of the k largest of each bag's (N,) values; of all of them where a bag has fewer than k.

    Raises:
        BenchmarkError: k below 1.
    """
    if k < 1:
        raise BenchmarkError(f"the mean of the top {k} tiles of a bag does not exist; give at least 1")
    bag = bag_of_tile(offsets, len(values)) if bag is None else bag
    falling = values.detach().argsort(descending=True, stable=True)
    order = falling[bag[falling].argsort(stable=True)]  # by bag, and within it from the largest down
    rank = torch.arange(len(values), device=values.device) - offsets[bag]
    top = torch.where(rank < k, values[order], 0)
    return segment_sum(top, offsets, bag) / offsets.diff().clamp(max=k).to(values.dtype)


def top_fraction(scores: Tensor, share: float) -> Tensor:
    """(N,) bool: exactly 1 + ⌊share · (N − 1)⌋ tiles, those of the largest scores, the first of equal ones; none of none.

    This many lie at or above the quantile 1 − share where no two scores are equal. It is share · N wherever that is a whole number, and
    one tile where the share is 0.

    Args:
        scores: (N,) of any number format.
        share: in [0, 1].

    Raises:
        BenchmarkError: a share outside [0, 1].
    """
    kept = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    kept[scores.argsort(descending=True, stable=True)[: top_count(len(scores), share)]] = True
    return kept


def top_count(tiles: int, share: float) -> int:
    """How many of so many tiles :func:`top_fraction` takes; raises as it does."""
    if not 0 <= share <= 1:
        raise BenchmarkError(f"a share of tiles lies between 0 and 1, not at {share:g}")
    return min(tiles, 1 + int(share * (tiles - 1) + ROUNDING)) if tiles else 0


def bag_rows(offsets: Tensor, bags: Tensor) -> tuple[Tensor, Tensor]:
    """(M,) int64 the tiles of some bags, in the order of ``bags``, and their (b + 1,) offsets; for any table of tiles.

    Waits for the device of ``offsets`` once, to learn M: keep offsets in host memory where that matters.

    Args:
        offsets: (n + 1,) of all bags.
        bags: (b,) int64 on the same device, in any order; a bag may occur twice.
    """
    starts = offsets[bags]
    taken = F.pad((offsets[bags + 1] - starts).cumsum(0), (1, 0))
    total = int(taken[-1])
    shift = (starts - taken[:-1]).repeat_interleave(taken.diff(), output_size=total)
    return torch.arange(total, device=offsets.device) + shift, taken


def take_bags(tiles: Tensor, offsets: Tensor, bags: Tensor) -> tuple[Tensor, Tensor]:
    """(M, …) the tiles of some bags, and their (b + 1,) offsets: one batch.

    Args:
        tiles: (N, …) of any number format, on any device.
        offsets: (n + 1,), on that device or in host memory.
        bags: (b,) int64, beside the offsets.

    Returns:
        Both on the device of the tiles.
    """
    rows, taken = bag_rows(offsets, bags)
    return tiles.index_select(0, rows.to(tiles.device)), taken.to(tiles.device)


def _highest(values: Tensor, offsets: Tensor, bag: Tensor) -> Tensor:
    """(n,) the largest value of each bag, without a gradient."""
    lowest = values.new_full((len(offsets) - 1,), -torch.inf)
    return lowest.scatter_reduce(0, bag, values.detach(), "amax")
