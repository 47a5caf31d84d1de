"""How far apart the tiles of a slide lie, and which of them are neighbours.

A slide may hold several pieces of tissue, each cut from a corner of its own (CLAM does), and slides may differ in magnification. So every
slide has a pitch of its own, and its tiles need not be on one grid. Arrays are those of :mod:`benchmark.bags`.
"""

from __future__ import annotations

import numpy as np

from benchmark.errors import BenchmarkError

REACH = 1.5 - 1e-9
"""Neighbours are less than 1.5 pitches apart in x and in y: corners count, and pieces may be half a tile off."""

FEWEST_VOTES, LEAST_SHARE = 4, 0.1
"""A pitch is sure if so many tiles of the slide, and such a share of them, have their nearest neighbour on an axis that far off."""


ALONE = np.iinfo(np.int64).max


def tile_pitch(positions: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The distance of neighbouring tiles, slide by slide.

    It is the most frequent distance of a tile to the nearest one in its row or column, the smaller one of two that are equally frequent.
    Where few tiles share rows or columns, it is the median distance to the nearest tile (the larger one of dx and dy), but at most the
    pitch that most of the other slides have.

    Args:
        positions: (N, 2) int64 x and y. Tiles at the same place are one.
        offsets: (n + 1,) int64, no bag empty.

    Returns:
        (n,) float64 above 0; 1 where nothing is known, as of a single slide of one tile.

    Raises:
        BenchmarkError: a slide so wide that its positions are no coordinates of tiles.
    """
    bag = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    bag, places, _ = distinct(bag, _from_zero(positions, offsets))
    near = np.minimum(_nearest_along(bag, places[:, 1], places[:, 0]), _nearest_along(bag, places[:, 0], places[:, 1]))
    has = near < ALONE
    distances, number = np.unique(near[has], return_inverse=True)
    keys, votes = np.unique(bag[has] * distances.size + number, return_counts=True)
    pairs = np.stack([keys // max(distances.size, 1), distances[keys % max(distances.size, 1)]], axis=1)
    order = np.lexsort((-pairs[:, 1], votes, pairs[:, 0]))  # the last of each slide has the most votes
    last = order[np.diff(pairs[order, 0], append=-1) != 0]
    sure = last[(votes[last] >= FEWEST_VOTES) & (votes[last] >= LEAST_SHARE * np.bincount(bag)[pairs[last, 0]])]
    pitch = np.zeros(len(offsets) - 1)
    pitch[pairs[sure, 0]] = pairs[sure, 1]
    known, counts = np.unique(pitch[pitch > 0], return_counts=True)
    usual = known[counts.argmax()] if known.size else np.inf
    for slide in np.flatnonzero(pitch == 0):
        found = min(usual, _median_nearest(places[bag == slide]))
        pitch[slide] = found if np.isfinite(found) else 1.0
    return pitch


def grid_cells(positions: np.ndarray, offsets: np.ndarray, pitch: tuple[int, int] | None = None) -> np.ndarray:
    """Columns and rows of tiles, whatever the unit of their positions: the nearest ones, where pieces of tissue have grids of their own.

    Args:
        positions: (N, 2) int64 x and y.
        offsets: (n + 1,) int64, no bag empty.
        pitch: distance of neighbouring tiles in x and in y, in the unit of the positions; None: see :func:`tile_pitch`.

    Returns:
        (N, 2) int64 column and row, from 0 in each slide. Two tiles may have one cell.

    Raises:
        BenchmarkError: as :func:`tile_pitch`.
    """
    cells: np.ndarray = np.floor(scaled(positions, offsets, pitch) + 0.5).astype(np.int64)
    return cells


def scaled(positions: np.ndarray, offsets: np.ndarray, pitch: tuple[int, int] | None = None) -> np.ndarray:
    """(N, 2) float64 positions in pitches, from 0 in each slide; arguments and errors are those of :func:`grid_cells`."""
    counts = np.diff(offsets)
    steps = np.tile(np.asarray(pitch, dtype=np.float64), (len(counts), 1)) if pitch else tile_pitch(positions, offsets)[:, None]
    found: np.ndarray = _from_zero(positions, offsets) / np.repeat(steps, counts, axis=0)
    return found


def distinct(bag: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tiles at one place as one, by slide, y and x.

    Args:
        bag: (N,) int64 slides of the tiles.
        places: (N, 2) x and y.

    Returns:
        The slides (m,) and places (m, 2) that there are, and (N,) int64 which of them each tile has.
    """
    order = np.lexsort((places[:, 0], places[:, 1], bag))
    bag, places = bag[order], places[order]
    fresh = np.ones(len(bag), dtype=bool)
    fresh[1:] = (np.diff(bag) != 0) | (np.diff(places, axis=0) != 0).any(axis=1)
    which = np.empty(len(bag), dtype=np.int64)
    which[order] = np.cumsum(fresh) - 1
    return bag[fresh], places[fresh], which


def neighbours(bag: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of tiles of a slide that are less than 1.5 pitches apart in x and in y, each pair once.

    Args:
        bag: (m,) int64 slides of the tiles.
        places: (m, 2) float64, see :func:`scaled`; distinct within a slide.

    Returns:
        Twice (k,) int64 indices.
    """
    from scipy.spatial import cKDTree

    if not len(bag):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    tree = cKDTree(np.column_stack([places, 2.0 * bag]), balanced_tree=False)  # slides lie beyond each other's reach
    pairs = tree.query_pairs(REACH, p=np.inf, output_type="ndarray")
    return pairs[:, 0], pairs[:, 1]


def _from_zero(positions: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(N, 2) int64 positions from 0 in each slide; refuses what cannot be numbered."""
    starts = offsets[:-1]
    low, high = (extreme.reduceat(positions, starts, axis=0).astype(np.float64) for extreme in (np.minimum, np.maximum))
    spans = (high - low).max(axis=0, initial=0) + 2
    if spans.prod() * len(starts) >= 2.0**62:
        raise BenchmarkError(
            f"positions of the tiles of one slide span {spans[0]:.3g} × {spans[1]:.3g}; expected x and y in tiles or pixels"
        )
    relative: np.ndarray = positions - np.repeat(np.minimum.reduceat(positions, starts, axis=0), np.diff(offsets), axis=0)
    return relative


def _nearest_along(bag: np.ndarray, line: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(m,) int64 distance of each tile to the nearest one of the same slide on the same line; :data:`ALONE` where there is none."""
    order = np.lexsort((place, line, bag))
    gap = np.where((np.diff(bag[order]) == 0) & (np.diff(line[order]) == 0), np.diff(place[order]), ALONE)
    near = np.empty(len(bag), dtype=np.int64)
    near[order] = np.minimum(np.append(gap, ALONE), np.append(ALONE, gap))
    return near


def _median_nearest(places: np.ndarray) -> float:
    """Of the tiles of one slide; infinite where there is only one."""
    from scipy.spatial import cKDTree

    return float(np.median(cKDTree(places).query(places, k=2, p=np.inf)[0][:, 1]))
