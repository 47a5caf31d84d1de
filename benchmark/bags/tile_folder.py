"""Tiles of slides as image files: ``<split>/<slide>/<x>_<y>.jpeg``, and a csv of the slides' labels.

A third number is the tile's truth, as HNM-WSI names them: ``<x>_<y>_<z>.jpeg`` with z of 0, 1, or -1 where it is unknown. Without
folders called train, val or test, slides lie in the folder itself. A slide may also be one ``tiles.npz``, as the tiler writes it.
"""

from __future__ import annotations

import logging
import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.api import SPLITS
from benchmark.bags.arrays import BagArrays
from benchmark.bags.checks import check_bags, check_names, listed
from benchmark.bags.label_table import SPLIT_NAMES, find_labels, read_slide_labels
from benchmark.bags.tile_store import Block, Slide, open_tiles, sizes_differ
from benchmark.data.layouts import wrong_layout
from benchmark.data.listing import SUFFIXES, Listing, subfolders
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.api import Report

ARCHIVE = "tiles.npz"
"""All tiles of a slide in one file: ``tiles`` (n, H, W, 3) uint8, ``positions`` (n, 2), and ``tile_labels`` (n,) where known."""

LAYOUT = "<split>/<slide>/<x>_<y>.jpeg and a csv of labels"
NAME = re.compile(r"(-?\d+)_(-?\d+)(?:_(-?\d+))?")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TileListing:
    """n slides as files of tiles.

    Attributes:
        base: the folder that all files lie in.
        names: n slide ids, sorted within each part.
        files: n tuples of paths relative to ``base``: images row by row, or one :data:`ARCHIVE`.
        labels: n of 0 and 1.
        classes: the names of the two.
        splits: n of :data:`~benchmark.api.SPLITS`, or None.
        groups: n names of patients, or None.
    """

    base: Path
    names: tuple[str, ...]
    files: tuple[tuple[str, ...], ...]
    labels: tuple[int, ...]
    classes: tuple[str, str] = ("negative", "positive")
    splits: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def images(self) -> Listing:
        """All files, in the order of the tiles."""
        words = [name for name, files in zip(self.names, self.files, strict=True) for _ in files]
        return Listing(self.base, self.base, [file for files in self.files for file in files], words)

    def fingerprint(self) -> str:
        """Changes with any file's name, size or time, and with labels, parts and patients; opens no file."""
        words = [f"{name} {label}" for name, label in zip(self.names, self.labels, strict=True)]
        said = Listing(self.base, self.base, (), words, self.splits, self.groups, order=self.classes)
        return f"{self.images().fingerprint()}-{said.annotation_fingerprint()}"


def tile_layout(path: Path, labels: str = "", positive: str = "") -> TileListing:
    """List a folder of tiles; no image is opened.

    Args:
        path: holds the folders of the parts, or of the slides.
        labels: the csv of labels, absolute or relative to ``path``; by default the one that is there. Parts are what the folders say;
            where there are none, what its column ``split`` says.
        positive: which of two words means positive, where that is not plain.

    Raises:
        BenchmarkError: another layout, a slide without tiles or in two parts, a tile of another name or twice at one place, a slide
            without a label or the other way round.
    """
    parts = [folder for folder in subfolders(path) if folder.name.lower() in SPLIT_NAMES and any(True for _ in subfolders(folder))]
    folders = [slide for part in parts for slide in subfolders(part)] if parts else list(subfolders(path))
    if not folders:
        raise wrong_layout(path, LAYOUT)
    others = [folder.name for folder in subfolders(path) if folder not in parts] if parts else []
    if others:
        _log.warning("%s: only %s are read; ignored: %s", path, ", ".join(part.name for part in parts), ", ".join(others))
    splits = [SPLIT_NAMES[folder.parent.name.lower()] for folder in folders] if parts else None
    names = [folder.name for folder in folders]
    check_names(names, str(path), splits)
    root = path.resolve()
    files = [tuple(_tiles(path, root, folder)) for folder in folders]
    empty = [name for name, found in zip(names, files, strict=True) if not found]
    if empty:
        raise BenchmarkError(f"{path}: no tiles of slide {listed(empty)}; expected {LAYOUT}: remove the folder, or tile the slide again")
    table = read_slide_labels(find_labels(path, labels), positive).of(names, str(path))
    splits = splits or (None if table.splits is None else list(table.splits))
    return TileListing(
        path, table.slides, tuple(files), table.labels, table.classes, None if splits is None else tuple(splits), table.groups
    )


def load_tiles(listing: TileListing, image_size: int = 0, root: Path | None = None, report: Report | None = None) -> BagArrays:
    """Decode all tiles.

    Args:
        listing: which.
        image_size: 0 keeps the tiles' own size, which must be the same for all; otherwise the shorter side is scaled to it and the centre
            cut out.
        root: the folder for caches: tiles are then decoded once and memory-mapped from then on. Without it they are held in memory.
        report: is told how far that is.

    Returns:
        Pixels (N, H, W, 3) RGB, with positions and the names of the files; tile labels where any tile's name holds them.

    Raises:
        BenchmarkError: a tile that cannot be read or is of another size, or what :func:`~benchmark.bags.checks.check_bags` refuses.
    """
    where = str(listing.base)
    archived = [len(files) == 1 and Path(files[0]).name == ARCHIVE for files in listing.files]
    if root is not None and any(archived):
        slides = (_slide(listing, row, image_size) for row in range(len(listing)))
        tiles, columns = open_tiles(root, listing.images(), slides, len(listing), image_size, report or _silent)
        parts = columns["offsets"][1:-1]
        found = list(zip(np.split(columns["positions"], parts), np.split(columns["tile_labels"], parts), strict=True))
    elif root is not None:
        from benchmark.data.store import open_images

        tiles = open_images(root, listing.images(), image_size=image_size, channels="3", skip_bad=False, report=report or _silent)[0]
        found = [_named(files) for files in listing.files]
    else:
        held = [_slide(listing, row, image_size) for row in range(len(listing))]
        found = [(positions, labels) for positions, labels, _ in held]
        tiles = _decoded(listing, (block for _, _, blocks in held for block in blocks), sum(len(labels) for _, labels in found))
    offsets = np.concatenate([[0], np.cumsum([len(positions) for positions, _ in found])]).astype(np.int64)
    tile_labels = np.concatenate([labels for _, labels in found])
    arrays = BagArrays(
        tiles,
        offsets,
        np.array(listing.labels, dtype=np.int64),
        listing.names,
        listing.classes,
        split=None if listing.splits is None else np.array([SPLITS.index(part) for part in listing.splits], dtype=np.int8),
        groups=None if listing.groups is None else np.unique(listing.groups, return_inverse=True)[1].astype(np.int64),
        tile_labels=None if (tile_labels == -1).all() else tile_labels,
        positions=np.concatenate([positions for positions, _ in found]),
        tile_names=None if any(archived) else tuple(file for files in listing.files for file in files),
    )
    check_bags(arrays, where)
    return arrays


def _tiles(base: Path, root: Path, folder: Path) -> Iterator[str]:
    """The tiles of one slide relative to ``base``, row by row; refuses what leads out of ``root``."""
    if not folder.resolve().is_relative_to(root):
        raise BenchmarkError(f"{folder} leads out of {root}; copy the files into it")
    prefix = folder.relative_to(base).as_posix()
    placed: dict[tuple[int, int], str] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(".") or not (name == ARCHIVE or name.lower().endswith(SUFFIXES)) or entry.is_dir():
                continue
            if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
                raise BenchmarkError(f"{entry.path} leads out of {root}; copy the file into it")
            if name == ARCHIVE:
                yield f"{prefix}/{name}"
                return
            x, y, _ = _place(name, entry.path)
            if (y, x) in placed:
                raise BenchmarkError(f"{folder} holds two tiles at x {x}, y {y}: {placed[y, x]} and {name}; keep one")
            placed[y, x] = name
    yield from (f"{prefix}/{placed[place]}" for place in sorted(placed))


def _place(name: str, path: str) -> tuple[int, int, int]:
    """x, y and truth (-1: unknown) from a file's name."""
    match = NAME.fullmatch(os.path.splitext(name)[0])  # noqa: PTH122 - a Path for each of a million names takes long
    if match is None or match[3] not in (None, "0", "1", "-1"):
        raise BenchmarkError(f"{path} is not named as a tile; expected <x>_<y>.jpeg, or <x>_<y>_<z>.jpeg with z of 0 or 1")
    return int(match[1]), int(match[2]), int(match[3] or -1)


def _named(files: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n, 2) int64 and truth (n,) int8 of a slide's tiles, from their names."""
    values = np.array([_place(file.rsplit("/", 1)[-1], file) for file in files], dtype=np.int64)
    return values[:, :2], values[:, 2].astype(np.int8)


def _slide(listing: TileListing, row: int, image_size: int) -> Slide:
    """The tiles of one slide; images are decoded when they are asked for."""
    files = listing.files[row]
    if len(files) == 1 and Path(files[0]).name == ARCHIVE:
        pixels, positions, labels = _archive(listing.base / files[0], image_size)
        return positions, labels, [(files[0], pixels)]
    positions, labels = _named(files)
    return positions, labels, ((file, _image(listing.base / file, image_size)[None]) for file in files)


def _archive(file: Path, image_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels (n, H, W, 3) uint8, positions (n, 2) int64 and truth (n,) int8 of a slide in one file."""
    try:
        if not zipfile.is_zipfile(file):  # numpy would advise to unpickle it
            raise ValueError("it is no npz archive")
        with np.load(file, allow_pickle=False) as archive:
            pixels, positions = archive["tiles"], archive["positions"]
            labels = archive["tile_labels"] if "tile_labels" in archive.files else np.full(len(pixels), -1)
    except Exception as error:  # zipfile and numpy raise whatever a broken file makes them trip over
        raise _unreadable(file, error) from None
    n = len(pixels)
    if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8 or positions.shape != (n, 2) or labels.shape != (n,):
        raise BenchmarkError(
            f"{file} holds tiles {pixels.shape} {pixels.dtype}, positions {positions.shape} and labels {labels.shape}; "
            "expected (n, H, W, 3) uint8, (n, 2) and (n,)"
        )
    if not n:
        raise BenchmarkError(f"{file} holds no tiles; remove the folder, or tile the slide again")
    if image_size and pixels.shape[1:3] != (image_size, image_size):
        raise BenchmarkError(
            f"{file} holds tiles of {pixels.shape[2]}×{pixels.shape[1]} pixels, which are kept as they are; "
            "leave image_size out, or tile again"
        )
    return pixels, positions.astype(np.int64), labels.astype(np.int8)


def _decoded(listing: TileListing, blocks: Iterable[Block], count: int) -> np.ndarray:
    """All tiles in one array in memory."""
    tiles: np.ndarray | None = None
    first, done = "", 0
    for file, block in blocks:
        if tiles is None:
            tiles, first = np.empty((count, *block.shape[1:]), dtype=np.uint8), file
        if block.shape[1:] != tiles.shape[1:]:
            raise sizes_differ(listing.base, (first, tiles), (file, block))
        tiles[done : done + len(block)] = block
        done += len(block)
    if tiles is None:
        raise BenchmarkError(f"{listing.base} holds no tiles")
    return tiles


def _image(file: Path, image_size: int) -> np.ndarray:
    from benchmark.data.decode import read_pixels

    try:
        return read_pixels(file, image_size, grey=False)
    except Exception as error:  # Pillow raises whatever a broken file leads to
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: Exception) -> BenchmarkError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return BenchmarkError(f"{file} cannot be read: {reason}")


def _silent(text: str, done: int, total: int) -> None:
    """A report that nobody reads."""
