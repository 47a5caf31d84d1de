"""Whole slides as bags: is there carcinoma anywhere on the slide? With the truth of every tile, and tiles that only look like it."""

from __future__ import annotations

import heapq

import numpy as np

from benchmark.bags.arrays import BagArrays
from benchmark.errors import BenchmarkError
from benchmark.seeds import numpy_generator

from .appearance import CLASSES
from .render import render
from .stain import draw_stains

VERSION = 1
"""Raise it when the same parameters give other slides."""

SMALLEST = 8
"""The least height and width of a tile in pixels."""

NORMAL, SERRATED, TUMOUR, LOOKALIKE = (CLASSES.index(name) for name in ("normal", "serrated", "adenocarcinoma", "adenoma"))

SPREAD = 0.4
"""Slides hold between (1 - SPREAD) and (1 + SPREAD) times the mean number of tiles."""

MOST_CLUSTERS = 3
ROUGHNESS = 1.0
"""How uneven tissue and tumours grow: 0 gives discs, more gives fingers."""


def tissue_slides(
    n_slides: int = 200,
    tiles_per_slide: int = 100,
    witness_rate: float = 0.2,
    size: int = 32,
    seed: int = 0,
    *,
    positive: float = 0.5,
    lookalikes: float = 0.2,
    mixed: float = 0.6,
) -> BagArrays:
    """Draw slides of tissue, about half of which hold carcinoma.

    Each slide has a stain of its own and its own number of tiles, which lie side by side on a grid. All slides show normal and serrated
    mucosa, and adenoma, which is no carcinoma but crowds dark nuclei as one does. More than half of all tiles are mixtures besides: 30 to
    48 % of their appearance is another class, carcinoma among them. These two are the hard negatives. On positive slides a share
    ``witness_rate`` of the tiles is carcinoma, in at most :data:`MOST_CLUSTERS` connected clusters. The rate and the size change nothing
    else: tumours of a lower rate lie within those of a higher one.

    Args:
        n_slides: at least 2.
        tiles_per_slide: mean number, at least 2.
        witness_rate: in (0, 1], of the tiles of a positive slide; at least one tile is tumour.
        size: height and width of a tile in pixels.
        seed: another seed gives other slides.
        positive: share of the slides that are positive; at least one is, and at least one is not.
        lookalikes: in [0, 1], the share of adenoma among the tiles that are no tumour.
        mixed: in [0, 1], the share of tiles that look much like another class: what makes tiles hard to tell.

    Returns:
        Pixels (N, size, size, 3) uint8, with ``tile_labels`` and ``positions`` (column and row on the grid).

    Raises:
        BenchmarkError: numbers outside these ranges.
    """
    if n_slides < 2 or tiles_per_slide < 2 or size < SMALLEST:
        raise BenchmarkError(
            f"tissue_slides needs at least 2 slides with 2 tiles of {SMALLEST} px; "
            f"not {n_slides} slides with {tiles_per_slide} tiles of {size} px"
        )
    if not (0 < witness_rate <= 1 and all(0 <= share <= 1 for share in (positive, lookalikes, mixed))):
        raise BenchmarkError(
            "tissue_slides needs a witness_rate in (0, 1], and positive, lookalikes and mixed in [0, 1]; "
            f"not {witness_rate:g}, {positive:g}, {lookalikes:g} and {mixed:g}"
        )
    rng = numpy_generator("tissue_slides", VERSION, seed, n_slides, tiles_per_slide)
    positives = min(max(round(positive * n_slides), 1), n_slides - 1)
    labels = (rng.permutation(n_slides) < positives).astype(np.int64)
    counts = np.maximum(np.rint(tiles_per_slide * rng.uniform(1 - SPREAD, 1 + SPREAD, n_slides)).astype(np.int64), 2)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    positions, order = _draw_shapes(counts, rng)
    tumours = np.where(labels == 1, np.maximum(np.rint(witness_rate * counts).astype(np.int64), 1), 0)
    bag = np.repeat(np.arange(n_slides), counts)
    tumour = order < tumours[bag]
    classes = np.where(rng.random(len(bag)) < 0.5, NORMAL, SERRATED)
    classes = np.where(rng.random(len(bag)) < lookalikes, LOOKALIKE, classes)
    classes = np.where(tumour, TUMOUR, classes)
    tiles, _ = render(classes, _draw_mixing(len(bag), mixed, rng), draw_stains(n_slides, rng)[bag], rng, size)
    digits = len(str(n_slides))
    names = tuple(f"slide-{row + 1:0{digits}d}" for row in range(n_slides))
    return BagArrays(tiles, offsets, labels, names, tile_labels=tumour.astype(np.int8), positions=positions)


def _draw_mixing(n: int, mixed: float, rng: np.random.Generator) -> np.ndarray:
    """(n,) float32: as :func:`~.appearance.draw_mixing`, with a share of one's own of tiles that look much like another class."""
    weak = 0.2 * rng.beta(1.0, 2.0, n)
    strong = rng.uniform(0.30, 0.48, n)
    return np.where(rng.random(n) < mixed, strong, weak).astype(np.float32)


def _draw_shapes(counts: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Where the tiles of each slide lie, and in which order a tumour would take them.

    Args:
        counts: (n,) tiles of each slide.
        rng: the only source of randomness.

    Returns:
        positions: (N, 2) int64 columns and rows, from 0 in each slide, row by row.
        order: (N,) int64, a permutation within each slide: its first k tiles are a tumour of k tiles.
    """
    positions, order = [], []
    for count in counts.tolist():
        half = int(np.ceil(np.sqrt(count))) + 1
        side = 2 * half + 1
        cells = _grow(rng.exponential(ROUGHNESS, (side, side)) + 1.0, np.ones((side, side), dtype=bool), {(half, half): 0.0}, count)
        tissue = np.zeros((side, side), dtype=bool)
        tissue[tuple(np.array(cells).T)] = True
        rows, columns = np.nonzero(tissue)
        # A later cluster starts later, so that small tumours are one cluster and large ones may be several.
        starts = rng.permutation(count)[: rng.integers(1, MOST_CLUSTERS + 1)]
        delays = np.sqrt(count) * rng.random(len(starts)) * (np.arange(len(starts)) > 0)
        sources = {(int(rows[tile]), int(columns[tile])): float(delay) for tile, delay in zip(starts, delays, strict=True)}
        taken = _grow(rng.exponential(ROUGHNESS, (side, side)) + 1.0, tissue, sources, count)
        rank = np.empty((side, side), dtype=np.int64)
        rank[tuple(np.array(taken).T)] = np.arange(count)
        positions.append(np.stack([columns - columns.min(), rows - rows.min()], axis=1))
        order.append(rank[rows, columns])
    return np.concatenate(positions).astype(np.int64), np.concatenate(order)


def _grow(cost: np.ndarray, allowed: np.ndarray, sources: dict[tuple[int, int], float], count: int) -> list[tuple[int, int]]:
    """The first ``count`` cells that growth from the sources reaches, in order: after each step every cluster is connected.

    Args:
        cost: (H, W) how long it takes to enter a cell.
        allowed: (H, W) bool, the cells that may be taken.
        sources: cell → when growth starts there.
        count: cells to take; at least so many must be reachable.
    """
    queue = [(start, cell) for cell, start in sources.items()]
    heapq.heapify(queue)
    taken: dict[tuple[int, int], None] = {}
    while queue and len(taken) < count:
        time, cell = heapq.heappop(queue)
        if cell in taken:
            continue
        taken[cell] = None
        row, column = cell
        for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if 0 <= near[0] < cost.shape[0] and 0 <= near[1] < cost.shape[1] and allowed[near] and near not in taken:
                heapq.heappush(queue, (time + float(cost[near]), near))
    return list(taken)
