"""Features of slides, joined once into a store that runs map into memory."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.api import SPLITS
from benchmark.bags.arrays import BagArrays
from benchmark.bags.bag_store import Source, open_store
from benchmark.bags.checks import check_bags, check_finite, check_widths
from benchmark.bags.mil_files import MilListing
from benchmark.bags.slide_files import read_slide
from benchmark.data.listing import Listing
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.api import Report

VERSION = 1
"""Raise it when the same files give other arrays."""

_log = logging.getLogger(__name__)


def open_bags(root: Path, listing: MilListing, report: Report) -> BagArrays:
    """The features of all slides as a memory map, joined now if they have not been before.

    Args:
        root: the folder for downloads and caches.
        listing: which slides, see :func:`~benchmark.bags.mil_files.list_bags`.
        report: is told how many slides are read.

    Returns:
        What :func:`~benchmark.bags.mil_files.load_bags` returns, with ``tiles`` read-only.

    Raises:
        BenchmarkError: a file that cannot be read, features of another width or not finite, what
            :func:`~benchmark.bags.checks.check_bags` refuses, or a folder that cannot be written.
    """
    files = Listing(listing.base, listing.base, listing.files, listing.names)
    source = Source(files, len(listing), "features", "<f4", VERSION, {})
    tiles, columns = open_store(root, source, lambda folder: _write(folder, listing, report), report)
    arrays = BagArrays(
        tiles,
        columns["offsets"],
        np.array(listing.labels, dtype=np.int64),
        listing.names,
        listing.classes,
        split=None if listing.splits is None else np.array([SPLITS.index(part) for part in listing.splits], dtype=np.int8),
        groups=None if listing.groups is None else np.unique(listing.groups, return_inverse=True)[1].astype(np.int64),
        tile_labels=columns.get("tile_labels"),
        positions=columns.get("positions"),
    )
    check_bags(arrays, str(listing.base))
    return arrays


def _write(folder: Path, listing: MilListing, report: Report) -> tuple[int, int]:
    """Append slide after slide; returns (N, D). Plain writes: no more than one slide is in memory."""
    where, widths = str(listing.base), dict[str, int]()
    counts: list[int] = []
    positions: list[np.ndarray | None] = []
    labels: list[np.ndarray | None] = []
    with (folder / "tiles.npy").open("xb") as stream:
        stream.write(_header(0, 0))
        for row, (name, file) in enumerate(zip(listing.names, listing.files, strict=True)):
            report(f"reading features of {where}", row, len(listing))
            slide = read_slide(listing.base / file)
            check_finite(slide.features, name, where)
            widths[name] = slide.features.shape[1]
            counts.append(len(slide.features))
            positions.append(slide.positions)
            labels.append(slide.tile_labels)
            if len(set(widths.values())) == 1:  # else there will be no store; the other slides tell which width is the usual one
                stream.write(slide.features.data.cast("B"))
        if not counts:
            raise BenchmarkError(f"{where} holds no slides")
        check_widths(widths, where)
        shape = (sum(counts), next(iter(widths.values())))
        stream.seek(0)
        stream.write(_header(*shape))
    columns = {"offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)}
    placed = [found for found in positions if found is not None]
    if len(placed) == len(positions):
        columns["positions"] = np.concatenate(placed)
    elif placed:
        first = listing.names[[found is None for found in positions].index(True)]
        _log.warning("%s: positions are left out, because slide '%s' has none", where, first)
    if any(found is not None for found in labels):
        known = [np.full(n, -1, dtype=np.int8) if found is None else found for n, found in zip(counts, labels, strict=True)]
        columns["tile_labels"] = np.concatenate(known)
    np.savez(folder / "bags.npz", **columns)  # type: ignore[arg-type]
    report(f"reading features of {where}", len(listing), len(listing))
    return shape


def _header(n: int, width: int) -> bytes:
    """The head of a ``.npy`` file of (n, width) float32; always 128 bytes long, because numpy leaves room for larger numbers."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (n, width)})
    return head.getvalue()
