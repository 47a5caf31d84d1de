"""What bags must be before anything is trained on them: every refusal is one line that names the slide and the next step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from benchmark.api import SPLITS
from benchmark.bags.arrays import BagArrays
from benchmark.errors import BenchmarkError

MOST_LISTED = 3
"""An error names so many slides and counts the others."""

CHUNK = 65_536
"""Tiles looked at in one go: features may be a file larger than memory."""


def check_bags(arrays: BagArrays, name: str) -> None:
    """Refuse bags that break the contract of :class:`~benchmark.bags.arrays.BagArrays`, or that cannot be learnt from.

    Args:
        arrays: the bags.
        name: of the set, for messages.

    Raises:
        BenchmarkError: no bag, or none of one class; columns of other lengths; a slide that occurs twice, or in two parts; a patient in
            two parts; a slide without tiles or tiles without a slide; labels other than 0 and 1; tiles that are neither features nor
            pixels, or not finite; tile labels other than 0, 1 and -1, or a positive one in a negative slide.
    """
    _check_lengths(arrays, name)
    _check_parts(arrays, name)
    _check_offsets(arrays, name)
    _check_labels(arrays, name)
    _check_tiles(arrays, name)
    _check_tile_labels(arrays, name)


def check_names(names: Sequence[str], where: str, split: Sequence[str] | None = None) -> None:
    """Refuse a slide id that occurs twice: in two parts it would be trained and tested on.

    Args:
        names: n slide ids.
        where: the set, for the message.
        split: n names of parts, or None.

    Raises:
        BenchmarkError: names the slide, and the two parts if it lies in two.
    """
    seen: dict[str, int] = {}
    for row, slide in enumerate(names):
        first = seen.setdefault(slide, row)
        if first == row:
            continue
        if split is not None and split[first] != split[row]:
            raise BenchmarkError(
                f"{where}: slide '{slide}' lies in {split[first]} and in {split[row]}; keep it in one, or what it is tested "
                "on has been trained on"
            )
        raise BenchmarkError(f"{where}: slide '{slide}' occurs twice; slide ids must be unique")


def check_paired(slides: Iterable[str], labelled: Iterable[str], where: str, table: str) -> None:
    """Refuse slides without a label, and labels without a slide.

    Args:
        slides: ids of the slides that have tiles.
        labelled: ids in the table of labels.
        where: what holds the tiles, for the message.
        table: what holds the labels, likewise.

    Raises:
        BenchmarkError: lists the first few.
    """
    slides, labelled = list(slides), list(labelled)
    known, present = set(labelled), set(slides)
    without_label = [slide for slide in slides if slide not in known]
    if without_label:
        raise BenchmarkError(f"{where}: labels are missing for {listed(without_label)}; add them to {table}")
    without_tiles = [slide for slide in labelled if slide not in present]
    if without_tiles:
        raise BenchmarkError(f"{table} labels {listed(without_tiles)}, of which there are no tiles in {where}; leave them out of the csv")


def check_widths(widths: Mapping[str, int], where: str) -> None:
    """Refuse features of different widths.

    Args:
        widths: slide id → number of features of its tiles, in order.
        where: the set, for the message.

    Raises:
        BenchmarkError: names the first slide that differs from the most frequent width.
    """
    counts: dict[int, int] = {}
    for width in widths.values():
        counts[width] = counts.get(width, 0) + 1
    if len(counts) > 1:
        usual = max(counts, key=lambda width: counts[width])
        slide, width = next((slide, width) for slide, width in widths.items() if width != usual)
        raise BenchmarkError(
            f"{where}: tiles of slide '{slide}' have {width} features where {counts[usual]} of {len(widths)} slides have {usual}; "
            "extract all with one network"
        )


def check_finite(features: np.ndarray, slide: str, where: str) -> None:
    """Refuse the features (n, D) of one slide if any is NaN or infinite.

    Raises:
        BenchmarkError: names the slide and the first such tile.
    """
    for start in range(0, len(features), CHUNK):
        finite = np.isfinite(features[start : start + CHUNK]).all(axis=1)
        if not finite.all():
            raise BenchmarkError(_not_finite(where, slide, start + int(np.argmin(finite))))


def listed(slides: Sequence[str]) -> str:
    """A few slide ids and how many more there are: ``'a', 'b', 'c' and 2 more``."""
    more = f" and {len(slides) - MOST_LISTED} more" if len(slides) > MOST_LISTED else ""
    return ", ".join(f"'{slide}'" for slide in slides[:MOST_LISTED]) + more


def _check_lengths(arrays: BagArrays, name: str) -> None:
    n, tiles = len(arrays.names), len(arrays.tiles)
    if not n:
        raise BenchmarkError(f"{name} holds no slides")
    shapes = {
        "offsets": (arrays.offsets, (n + 1,)),
        "labels": (arrays.labels, (n,)),
        "split": (arrays.split, (n,)),
        "groups": (arrays.groups, (n,)),
        "tile_labels": (arrays.tile_labels, (tiles,)),
        "positions": (arrays.positions, (tiles, 2)),
    }
    for column, (values, shape) in shapes.items():
        if values is not None and values.shape != shape:
            raise BenchmarkError(f"{name}: {column} have shape {values.shape}; expected {shape} for {n} slides with {tiles} tiles")
        if values is not None and values.dtype.kind not in "iu":
            raise BenchmarkError(f"{name}: {column} are {values.dtype}; expected whole numbers")
    if arrays.tile_names is not None and len(arrays.tile_names) != tiles:
        raise BenchmarkError(f"{name}: {len(arrays.tile_names)} tile names for {tiles} tiles")


def _check_offsets(arrays: BagArrays, name: str) -> None:
    offsets, tiles = arrays.offsets, len(arrays.tiles)
    counts = np.diff(offsets)
    if (counts < 0).any():
        row = int(np.argmax(counts < 0))
        raise BenchmarkError(
            f"{name}: offsets fall from {offsets[row]} to {offsets[row + 1]} at slide '{arrays.names[row]}'; tiles must be sorted by slide"
        )
    empty = [arrays.names[row] for row in np.flatnonzero(counts == 0).tolist()]
    if empty:
        raise BenchmarkError(f"{name}: no tiles of slide {listed(empty)}; leave such slides out, or tile them again")
    if offsets[0] != 0 or offsets[-1] != tiles:
        raise BenchmarkError(
            f"{name}: tiles without a slide: offsets go from {offsets[0]} to {offsets[-1]}, but there are {tiles} tiles; "
            f"expected 0 to {tiles}"
        )


def _check_labels(arrays: BagArrays, name: str) -> None:
    strange = np.flatnonzero((arrays.labels != 0) & (arrays.labels != 1))
    if strange.size:
        row = int(strange[0])
        raise BenchmarkError(f"{name}: slide '{arrays.names[row]}' has label {arrays.labels[row]}; expected 0 (negative) or 1 (positive)")
    if len(arrays.classes) != 2:
        raise BenchmarkError(f"{name}: {len(arrays.classes)} class names ({', '.join(arrays.classes)}); bags have two classes")
    counts = np.bincount(arrays.labels, minlength=2)
    if not counts.all():
        absent = int(np.argmin(counts))
        raise BenchmarkError(
            f"{name}: none of {len(arrays)} slides is {arrays.classes[absent]} (label {absent}); at least one slide of each class is needed"
        )


def _check_parts(arrays: BagArrays, name: str) -> None:
    if arrays.split is None:
        check_names(arrays.names, name)
        return
    strange = np.flatnonzero((arrays.split < 0) | (arrays.split >= len(SPLITS)))
    if strange.size:
        row = int(strange[0])
        raise BenchmarkError(f"{name}: slide '{arrays.names[row]}' is in part {arrays.split[row]}; expected 0 (train), 1 (val) or 2 (test)")
    check_names(arrays.names, name, [SPLITS[part] for part in arrays.split])
    if arrays.groups is None:
        return
    groups, member = np.unique(arrays.groups, return_inverse=True)
    low, high = np.full(len(groups), len(SPLITS)), np.full(len(groups), -1)
    np.minimum.at(low, member, arrays.split)
    np.maximum.at(high, member, arrays.split)
    torn = np.flatnonzero(low != high)
    if torn.size:
        rows = np.flatnonzero(member == torn[0])
        first, second = rows[0], rows[np.argmax(arrays.split[rows] != arrays.split[rows[0]])]
        raise BenchmarkError(
            f"{name}: slides '{arrays.names[first]}' and '{arrays.names[second]}' are of one patient, but the first lies in "
            f"{SPLITS[arrays.split[first]]} and the second in {SPLITS[arrays.split[second]]}; keep a patient in one part"
        )


def _check_tiles(arrays: BagArrays, name: str) -> None:
    tiles = arrays.tiles
    features = tiles.ndim == 2 and tiles.dtype == np.float32 and tiles.shape[1] > 0
    pixels = tiles.ndim == 4 and tiles.dtype == np.uint8 and tiles.shape[3] in (1, 3) and tiles.size > 0
    if not (features or pixels):
        raise BenchmarkError(
            f"{name}: tiles are {tiles.shape} {tiles.dtype}; expected features (N, D) float32 or pixels (N, H, W, 1 or 3) uint8"
        )
    if pixels:
        return
    for start in range(0, len(tiles), CHUNK):
        finite = np.isfinite(tiles[start : start + CHUNK]).all(axis=1)
        if not finite.all():
            tile = start + int(np.argmin(finite))
            row = int(np.searchsorted(arrays.offsets, tile, side="right")) - 1
            raise BenchmarkError(_not_finite(name, arrays.names[row], tile - int(arrays.offsets[row])))


def _check_tile_labels(arrays: BagArrays, name: str) -> None:
    if arrays.tile_labels is None:
        return
    strange = np.flatnonzero((arrays.tile_labels < -1) | (arrays.tile_labels > 1))
    if strange.size:
        slide = arrays.names[int(arrays.bag_of_tile[strange[0]])]
        raise BenchmarkError(
            f"{name}: a tile of slide '{slide}' has label {arrays.tile_labels[strange[0]]}; expected 0, 1, or -1 where it is unknown"
        )
    wrong = np.flatnonzero((arrays.tile_labels == 1) & (arrays.labels[arrays.bag_of_tile] == 0))
    if wrong.size:
        row = int(arrays.bag_of_tile[wrong[0]])
        count = int(np.count_nonzero(arrays.bag_of_tile[wrong] == row))
        raise BenchmarkError(
            f"{name}: slide '{arrays.names[row]}' is negative, but {count} of its tiles are labelled positive; one of the two is wrong"
        )


def _not_finite(where: str, slide: str, tile: int) -> str:
    return f"{where}: features of slide '{slide}' are NaN or infinite, first in its tile {tile}; extract that slide again"
