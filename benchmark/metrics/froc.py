"""How many lesions are found at how many false alarms: tiles as a map of the slide.

Arrays are those of :mod:`benchmark.bags`.
"""

from __future__ import annotations

import numpy as np

from benchmark.metrics.tile_grid import distinct, neighbours, scaled

FALSE_POSITIVES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives per slide at which :func:`froc` reads the sensitivity: those of Camelyon16."""


def froc(
    tile_labels: np.ndarray | None,
    scores: np.ndarray,
    positions: np.ndarray | None,
    offsets: np.ndarray,
    pitch: tuple[int, int] | None = None,
) -> dict[str, float | None]:
    """Free-response ROC of Camelyon16, on tiles: the share of lesions that are found, at a few false alarms per slide.

    A lesion is a group of positive tiles of a slide that are neighbours, corners included (:mod:`benchmark.metrics.tile_grid`). A detection
    is a local maximum of the score map: neighbouring tiles of one score, often a single tile, none of whose neighbours scores higher. It
    is one detection, at the tile next to its centre, so a constant score earns next to nothing; pass logits where probabilities are
    rounded to 1. A detection in a lesion finds it, with the score of the highest one in it; a detection elsewhere is a false positive.
    Between its points the curve is linear, and beyond the last one level, as in the evaluation of the challenge. That one has detections
    of pixels, and leaves out lesions of a few cells.

    Args:
        tile_labels: (N,) truth, 0 or 1, −1 unknown: such tiles are no detections and no neighbours; None: nothing is known.
        scores: (N,) of the tiles, higher = more likely positive.
        positions: (N, 2) int64 x and y of the tiles; None: unknown. Tiles at the same place are one, with their highest score and label.
        offsets: (n + 1,) int64.
        pitch: see :func:`~benchmark.metrics.tile_grid.grid_cells`.

    Returns:
        ``froc``, the mean of ``sensitivity_at_0.25`` … ``sensitivity_at_8`` (:data:`FALSE_POSITIVES` per slide), all in [0, 1], and
        ``lesions``, their number. None without truth or positions or with a NaN among the scores, but for ``lesions`` = 0 where no tile
        is positive.

    Raises:
        BenchmarkError: positions too far apart.

    Source:
        Ehteshami Bejnordi et al., Diagnostic Assessment of Deep Learning Algorithms for Detection of Lymph Node Metastases in Women With
        Breast Cancer, JAMA 2017.
    """
    names = [f"sensitivity_at_{rate:g}" for rate in FALSE_POSITIVES]
    values: dict[str, float | None] = dict.fromkeys(("froc", *names, "lesions"))
    if tile_labels is None or positions is None:
        return values
    known = tile_labels >= 0
    if np.isnan(scores[known]).any():
        return values
    if not (tile_labels == 1).any():
        return values | {"lesions": 0.0}
    bag = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[known]
    bag, places, place = distinct(bag, scaled(positions, offsets, pitch)[known])
    rank, truth = np.full(len(bag), -1), np.zeros(len(bag), dtype=bool)
    np.maximum.at(rank, place, np.unique(scores[known], return_inverse=True)[1])
    np.logical_or.at(truth, place, tile_labels[known] == 1)
    first, second = neighbours(bag, places)
    lesion, lesions = _groups(first, second, truth)
    peak = _peaks(first, second, rank, places)
    found = np.full(lesions, -1)
    np.maximum.at(found, lesion[peak & truth], rank[peak & truth])
    found, alarms = np.sort(found[found >= 0]), np.sort(rank[peak & ~truth])
    thresholds = np.unique(np.concatenate([found, alarms]))[::-1]
    sensitivity, rate = ((group.size - np.searchsorted(group, thresholds)) for group in (found, alarms))
    slides = np.unique(bag).size
    read = np.interp(FALSE_POSITIVES, np.append(0, rate) / slides, np.append(0, sensitivity) / lesions)
    return values | dict(zip(names, read.tolist(), strict=True)) | {"froc": float(read.mean()), "lesions": float(lesions)}


def _peaks(first: np.ndarray, second: np.ndarray, rank: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(m,) bool: one tile of each group of equal neighbours that has no higher neighbour, the one next to its centre.

    Args:
        first, second: pairs of neighbours.
        rank: (m,) int64 of the scores.
        places: (m, 2) float64; of tiles equally far from the centre the first counts.
    """
    equal = rank[first] == rank[second]
    group, groups = _components(first[equal], second[equal], len(rank))
    highest = np.ones(groups, dtype=bool)
    highest[group[first[rank[first] < rank[second]]]] = False
    highest[group[second[rank[second] < rank[first]]]] = False
    size = np.bincount(group, minlength=groups)
    distance = np.zeros(len(rank))
    for axis in places.T:
        distance += (axis - (np.bincount(group, axis, groups) / size)[group]) ** 2
    order = np.lexsort((distance.round(6), group))
    centre = order[np.diff(group[order], prepend=-1) != 0]
    peak = np.zeros(len(rank), dtype=bool)
    peak[centre[highest[group[centre]]]] = True
    return peak


def _groups(first: np.ndarray, second: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, int]:
    """(m,) the group of each positive cell, from 0 on (what negative cells have means nothing), and how many groups there are."""
    both = truth[first] & truth[second]
    component = _components(first[both], second[both], truth.size)[0]
    group = np.zeros(truth.size, dtype=np.int64)
    present, group[truth] = np.unique(component[truth], return_inverse=True)
    return group, len(present)


def _components(first: np.ndarray, second: np.ndarray, size: int) -> tuple[np.ndarray, int]:
    """(size,) the component of each tile, from 0 on, and how many there are."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(first.size, dtype=bool), (first, second)), shape=(size, size))
    count, component = connected_components(edges, directed=False)
    return component, count
