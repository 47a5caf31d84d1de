"""How many lesions are found at how many false alarms: tiles as a map of the slide.

Arrays are those of :mod:`benchmark.bags`.
"""

from __future__ import annotations

import numpy as np

from benchmark.errors import BenchmarkError

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

    A lesion is a group of positive tiles of a slide that touch on the grid, corners included. A detection is a local maximum of the score
    map: a tile none of whose up to eight neighbours scores higher. Equal neighbours do not suppress each other, so a constant score is a
    detection everywhere and earns next to nothing; pass logits where probabilities are rounded to 1. A detection in a lesion finds it,
    with the score of the highest one in it; a detection elsewhere is a false positive. Between its points the curve is linear, and beyond
    the last one level, as in the evaluation of the challenge. That one has detections of pixels, and leaves out lesions of a few cells.

    Args:
        tile_labels: (N,) truth, 0 or 1, −1 unknown: such tiles are no detections and no neighbours; None: nothing is known.
        scores: (N,) of the tiles, higher = more likely positive.
        positions: (N, 2) int64 x and y of the tiles; None: unknown. Tiles at the same place are one, with their highest score and label.
        offsets: (n + 1,) int64.
        pitch: see :func:`grid_cells`.

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
    cells = grid_cells(positions, offsets, pitch)
    width, height = (int(size) + 1 for size in cells.max(axis=0, initial=0) + 1)  # one more: no tile touches the next row or slide
    bag = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[known]
    keys, place = np.unique((bag * height + cells[known, 1]) * width + cells[known, 0], return_inverse=True)
    rank, truth = np.full(keys.size, -1), np.zeros(keys.size, dtype=bool)
    np.maximum.at(rank, place, np.unique(scores[known], return_inverse=True)[1])
    np.logical_or.at(truth, place, tile_labels[known] == 1)
    first, second = _touching(keys, width)
    lesion, lesions = _groups(first, second, truth)
    peak = np.ones(keys.size, dtype=bool)
    peak[first[rank[first] < rank[second]]] = False
    peak[second[rank[second] < rank[first]]] = False
    found = np.full(lesions, -1)
    np.maximum.at(found, lesion[peak & truth], rank[peak & truth])
    found, alarms = np.sort(found[found >= 0]), np.sort(rank[peak & ~truth])
    thresholds = np.unique(np.concatenate([found, alarms]))[::-1]
    sensitivity, rate = ((group.size - np.searchsorted(group, thresholds)) for group in (found, alarms))
    slides = np.unique(bag).size
    read = np.interp(FALSE_POSITIVES, np.append(0, rate) / slides, np.append(0, sensitivity) / lesions)
    return values | dict(zip(names, read.tolist(), strict=True)) | {"froc": float(read.mean()), "lesions": float(lesions)}


def grid_cells(positions: np.ndarray, offsets: np.ndarray, pitch: tuple[int, int] | None = None) -> np.ndarray:
    """Columns and rows of tiles, whatever the unit of their positions.

    Args:
        positions: (N, 2) int64 x and y.
        offsets: (n + 1,) int64, no bag empty.
        pitch: distance of neighbouring tiles in x and in y, in the unit of the positions. None: for both the greatest common divisor of
            all distances within slides; tiles that are not on a grid need a pitch.

    Returns:
        (N, 2) int64 column and row, from 0 in each slide.

    Raises:
        BenchmarkError: a slide so wide that its cells cannot be numbered; the positions are no coordinates of tiles.
    """
    starts = offsets[:-1]
    low, high = (extreme.reduceat(positions, starts, axis=0).astype(np.float64) for extreme in (np.minimum, np.maximum))
    spans = (high - low).max(axis=0, initial=0) + 2
    if spans.prod() * len(starts) >= 2.0**62:
        raise BenchmarkError(
            f"positions of the tiles of one slide span {spans[0]:.3g} × {spans[1]:.3g}; expected x and y in tiles or pixels"
        )
    relative = positions - np.repeat(np.minimum.reduceat(positions, starts, axis=0), np.diff(offsets), axis=0)
    if pitch is None:
        common = max(int(np.gcd.reduce(relative, axis=None)), 1)
        pitch = (common, common)
    cells: np.ndarray = relative // np.asarray(pitch, dtype=np.int64)
    return cells


def _touching(keys: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of neighbours among cells, each once. keys: (m,) distinct and rising, row · width + column."""
    pairs = []
    for step in (1, width - 1, width, width + 1):
        place = np.minimum(np.searchsorted(keys, keys + step), len(keys) - 1)
        there = np.flatnonzero(keys[place] == keys + step)
        pairs.append((there, place[there]))
    first, second = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    return first, second


def _groups(first: np.ndarray, second: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, int]:
    """(m,) the group of each positive cell, from 0 on (what negative cells have means nothing), and how many groups there are."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    both = truth[first] & truth[second]
    edges = coo_array((np.ones(int(both.sum()), dtype=bool), (first[both], second[both])), shape=(truth.size, truth.size))
    component = connected_components(edges, directed=False)[1]
    group = np.zeros(truth.size, dtype=np.int64)
    present, group[truth] = np.unique(component[truth], return_inverse=True)
    return group, len(present)
