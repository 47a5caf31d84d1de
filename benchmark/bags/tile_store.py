"""Tiles of slides of which some are archives, in a store that runs map into memory: unpacked and decoded once, slide by slide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.bags.bag_store import Found, Source, open_store
from benchmark.data.array_file import npy_header
from benchmark.data.listing import Listing
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.api import Report

VERSION = 1
"""Raise it when the same files give other arrays."""

Block = tuple[str, np.ndarray]
"""A file, and the pixels (k, H, W, 3) uint8 in it."""

Slide = tuple[np.ndarray, np.ndarray, Iterable[Block]]
"""Positions (n, 2) int64 and truth (n,) int8 of the tiles of a slide, and their pixels file by file."""


def open_tiles(root: Path, files: Listing, slides: Iterator[Slide], count: int, image_size: int, report: Report) -> Found:
    """The tiles of all slides as a memory map, written now if they have not been before.

    Args:
        root: the folder for downloads and caches.
        files: of all slides.
        slides: read one by one, and only if there is no store; those of at most two are in memory.
        count: of slides.
        image_size: the side to which they are scaled; 0: none.
        report: is told how many slides are done.

    Returns:
        Pixels (N, H, W, 3) uint8, and ``offsets``, ``positions`` and ``tile_labels``.

    Raises:
        BenchmarkError: what reading raises, tiles that differ in size, or what :func:`~benchmark.bags.bag_store.open_store` raises.
    """
    source = Source(files, count, "tiles", "|u1", VERSION, {"image_size": image_size})
    return open_store(root, source, lambda folder: _write(folder, files.base, slides, count, report), report)


def sizes_differ(base: Path, first: Block, other: Block) -> BenchmarkError:
    """What is wrong with two files."""
    (one, block), (two, found) = first, other
    return BenchmarkError(
        f"{base}: tiles differ in size ({one} is {block.shape[2]}×{block.shape[1]}, {two} is {found.shape[2]}×{found.shape[1]} pixels); "
        "set image_size"
    )


def _write(folder: Path, base: Path, slides: Iterator[Slide], count: int, report: Report) -> tuple[int, ...]:
    """Append slide after slide by plain writes; returns (N, H, W, 3)."""
    offsets, positions, labels = [0], list[np.ndarray](), list[np.ndarray]()
    first: Block | None = None
    with (folder / "tiles.npy").open("xb") as stream:
        for row, (places, truth, blocks) in enumerate(slides):
            report(f"decoding tiles of {base}", row, count)
            for file, block in blocks:
                if first is None:
                    first = file, np.empty((0, *block.shape[1:]), dtype=np.uint8)
                    stream.write(npy_header(first[1].shape))
                if block.shape[1:] != first[1].shape[1:]:
                    raise sizes_differ(base, first, (file, block))
                stream.write(np.ascontiguousarray(block).data.cast("B"))
            offsets.append(offsets[-1] + len(places))
            positions.append(places)
            labels.append(truth)
        if first is None:
            raise BenchmarkError(f"{base} holds no tiles")
        shape = (offsets[-1], *first[1].shape[1:])
        stream.seek(0)
        stream.write(npy_header(shape))
    np.savez(folder / "bags.npz", offsets=np.array(offsets), positions=np.concatenate(positions), tile_labels=np.concatenate(labels))
    report(f"decoding tiles of {base}", count, count)
    return shape
