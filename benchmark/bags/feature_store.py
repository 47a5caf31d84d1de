"""Features of slides in one file that runs map into memory: joined once, slide by slide, whatever their size.

``<root>/bags/<key>/`` holds ``tiles.npy``, ``bags.npz`` and ``meta.json``. The key covers name, size and time of every file, not what is
said of the slides: other labels or parts need no other copy. A store appears by one rename when it is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.api import SPLITS
from benchmark.bags.arrays import BagArrays
from benchmark.bags.checks import check_bags, check_finite, check_widths
from benchmark.bags.mil_files import MilListing
from benchmark.bags.slide_files import read_slide
from benchmark.data.listing import Listing
from benchmark.errors import BenchmarkError
from benchmark.files import TEMPORARY, atomic_write_text

if TYPE_CHECKING:
    from benchmark.api import Report

VERSION = 1
"""Raise it when the same files give other arrays."""

FOLDER = "bags"
WAIT_SECONDS = 1.0

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
    files = Listing(listing.base, listing.base, listing.files, listing.names).fingerprint()
    key = hashlib.sha256(json.dumps([VERSION, files]).encode()).hexdigest()[:16]
    store = root / FOLDER / key
    try:
        found = _read(store, len(listing)) or _build(store, listing, files, report)
    except OSError as error:
        raise BenchmarkError(f"cannot keep features in {store.parent}: {error.strerror or error}; choose another --data-root") from error
    tiles, columns = found
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


_Found = tuple[np.ndarray, dict[str, np.ndarray]]
"""(N, D) float32 features, and the arrays of ``bags.npz``."""


def _read(store: Path, slides: int) -> _Found | None:
    """None where there is no store, or half of one."""
    try:
        meta = json.loads((store / "meta.json").read_bytes())
        tiles: np.ndarray = np.load(store / "tiles.npy", mmap_mode="r", allow_pickle=False)
        with np.load(store / "bags.npz", allow_pickle=False) as archive:
            columns = {name: archive[name] for name in archive.files}
        whole = tiles.dtype == np.float32 and list(tiles.shape) == meta["shape"] and columns["offsets"].shape == (slides + 1,)
    except (FileNotFoundError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return (tiles, columns) if whole else None


def _build(store: Path, listing: MilListing, files: str, report: Report) -> _Found:
    """Build under a lock; who waited for it finds everything ready."""
    store.parent.mkdir(parents=True, exist_ok=True)
    with _alone(store.parent, report):
        found = _read(store, len(listing))
        if found is not None:
            return found
        for leftover in store.parent.glob(f"*{TEMPORARY}"):  # of dead builds: a living one would hold the lock
            shutil.rmtree(leftover, ignore_errors=True)
        temporary = store.with_name(f"{store.name}.{secrets.token_hex(4)}{TEMPORARY}")
        temporary.mkdir()
        try:
            shape = _write(temporary, listing, report)
            if Listing(listing.base, listing.base, listing.files, listing.names).fingerprint() != files:
                raise BenchmarkError(f"features in {listing.base} changed while they were read; run it again when nobody writes there")
            names = hashlib.sha256("\n".join(listing.files).encode("utf-8", "surrogateescape")).hexdigest()
            owner = {"source": str(listing.base.resolve()), "names": names}
            atomic_write_text(temporary / "meta.json", json.dumps({**owner, "version": VERSION, "shape": shape}, indent=1))
            shutil.rmtree(store, ignore_errors=True)  # half of one
            temporary.rename(store)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _remove_older(store, owner)
        found = _read(store, len(listing))
    if found is None:
        raise BenchmarkError(f"the features in {store} cannot be read back; is the disk sound?")
    return found


def _write(folder: Path, listing: MilListing, report: Report) -> list[int]:
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
    return list(shape)


def _header(n: int, width: int) -> bytes:
    """The head of a ``.npy`` file of (n, width) float32; always 128 bytes long, because numpy leaves room for larger numbers."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (n, width)})
    return head.getvalue()


@contextlib.contextmanager
def _alone(parent: Path, report: Report) -> Iterator[None]:
    """One build at a time below a folder: they would only share the disk. The lock ends with the process that holds it."""
    from filelock import FileLock, Timeout

    lock = FileLock(parent / ".lock")
    while True:
        try:
            lock.acquire(timeout=WAIT_SECONDS)
            break
        except Timeout:
            report(f"waiting for another process that reads features into {parent}", 0, 0)
    try:
        yield
    finally:
        lock.release()


def _remove_older(store: Path, owner: dict[str, str]) -> None:
    """Remove the stores of the same files as they were before; a file that is mapped lives until it is unmapped."""
    for file in store.parent.glob("*/meta.json"):
        if file.parent != store:
            with contextlib.suppress(OSError, ValueError, AttributeError):
                meta = json.loads(file.read_bytes())
                if all(meta.get(name) == value for name, value in owner.items()):
                    doomed = file.parent.with_name(f"{file.parent.name}.old{TEMPORARY}")
                    file.parent.rename(doomed)
                    shutil.rmtree(doomed, ignore_errors=True)
