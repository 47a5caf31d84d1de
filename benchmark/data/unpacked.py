"""Images of downloads in a file that runs map into memory: unpacked once, piece by piece, whatever their size.

``<folder>/unpacked/<key>/`` holds ``images.npy``, ``labels.npz`` and ``meta.json``. The key covers the hashes of the source
files and how they are read, so that another source is another folder. It appears by one rename when it is whole; a build
that was killed leaves a ``.tmp`` folder behind, which the next build removes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.data.array_file import check_space, npy_header, told_of_full_disk, write_at
from benchmark.errors import BenchmarkError
from benchmark.files import TEMPORARY, alone, atomic_open, atomic_write_text

if TYPE_CHECKING:
    from benchmark.api import Report

UNPACKED_VERSION = 1
"""Raise it when the same files give other arrays."""

FOLDER = "unpacked"


@dataclass(frozen=True)
class Contents:
    """What the source files hold: checked as far as their headers go, and read as far as is asked for.

    Attributes:
        shape: (n, H, W, C).
        pieces: pairs of a row in [0, n) and the (m, H, W, C) uint8 images from there on, in any order; together all rows.
        labels: (n,) int64 in [0, K); may be filled by ``pieces``, so it is complete when these are through.
        split: (n,) int8, positions in :data:`~benchmark.api.SPLITS`.
    """

    shape: tuple[int, int, int, int]
    pieces: Iterable[tuple[int, np.ndarray]]
    labels: np.ndarray
    split: np.ndarray


@dataclass(frozen=True)
class Unpacked:
    """n images with their official labels.

    Attributes:
        images: (n, H, W, C) uint8, read-only and memory-mapped.
        labels: (n,) int64.
        split: (n,) int8.
    """

    images: np.memmap
    labels: np.ndarray
    split: np.ndarray


def open_unpacked(folder: Path, hashes: Mapping[str, str], contents: Callable[[], Contents], report: Report) -> Unpacked:
    """The images of some files, unpacked now if they have not been before.

    Two processes that want the same build it once. What an earlier version, or files of the same names with other hashes,
    left is removed after a build; who has mapped it keeps it.

    Args:
        folder: where the files lie; ``unpacked`` is made in it.
        hashes: file name → verified hash.
        contents: opens the files; asked only if they have to be unpacked.
        report: is told how far a build is.

    Raises:
        BenchmarkError: what ``contents`` and its pieces raise, no images, a disk that is too small or a folder that cannot be
            written.
    """
    identity = json.dumps([UNPACKED_VERSION, sorted(hashes.items())])
    store = folder / FOLDER / hashlib.sha256(identity.encode()).hexdigest()[:16]
    try:
        return _read(store) or _build(store, hashes, contents(), report)
    except OSError as error:
        raise BenchmarkError(
            f"cannot keep unpacked images in {store.parent}: {error.strerror or error}; choose another --data-root"
        ) from error


def consecutive(chunks: Iterable[np.ndarray], image_shape: tuple[int, int, int]) -> Iterator[tuple[int, np.ndarray]]:
    """Pieces of :class:`Contents` from chunks that follow each other; (m, H, W) becomes (m, H, W, 1)."""
    row = 0
    for chunk in chunks:
        yield row, chunk.reshape(len(chunk), *image_shape)
        row += len(chunk)


def _read(store: Path) -> Unpacked | None:
    """None where there is nothing, or half of it."""
    try:
        shape = json.loads((store / "meta.json").read_bytes())["shape"]
        images = np.load(store / "images.npy", mmap_mode="r", allow_pickle=False)
        with np.load(store / "labels.npz", allow_pickle=False) as arrays:
            labels, split = arrays["labels"], arrays["split"]
    except (FileNotFoundError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    whole = images.dtype == np.uint8 and list(images.shape) == shape
    whole &= labels.dtype == np.int64 and split.dtype == np.int8 and labels.shape == split.shape == images.shape[:1]
    return Unpacked(images, labels, split) if whole else None


def _build(store: Path, hashes: Mapping[str, str], contents: Contents, report: Report) -> Unpacked:
    """Build under a lock; who waited for it finds everything ready."""
    store.parent.mkdir(parents=True, exist_ok=True)
    # one build at a time below a folder: they would only share the disk
    with alone(store.parent / ".lock", lambda: report(f"waiting for another process that unpacks into {store.parent}", 0, 0)):
        found = _read(store)
        if found is not None:
            return found
        for leftover in store.parent.glob(f"*{TEMPORARY}"):  # of dead builds: a living one would hold the lock
            shutil.rmtree(leftover, ignore_errors=True)
        temporary = store.with_name(f"{store.name}{TEMPORARY}")
        temporary.mkdir()
        try:
            _write(temporary, hashes, contents, report)
            _discard(store)
            temporary.replace(store)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _remove_older(store, hashes)
        found = _read(store)
    if found is None:
        raise BenchmarkError(f"the unpacked images in {store} cannot be read back; is the disk sound?")
    return found


def _write(folder: Path, hashes: Mapping[str, str], contents: Contents, report: Report) -> None:
    """Plain writes instead of a memory map, whose written pages would count as this process's memory."""
    n, *image_shape = contents.shape
    if n == 0:
        raise BenchmarkError(f"there is no image in {folder.parent.parent / next(iter(hashes))}; remove it, so that it is fetched again")
    image_bytes, head, done = math.prod(image_shape), npy_header(contents.shape), 0
    with told_of_full_disk(folder, n * image_bytes):
        check_space(folder, n * image_bytes)
        descriptor = os.open(folder / "images.npy", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            write_at(descriptor, head, 0)
            for row, images in contents.pieces:
                assert images.dtype == np.uint8 and images.shape[1:] == tuple(image_shape)
                if len(images):
                    write_at(descriptor, np.ascontiguousarray(images).data.cast("B"), len(head) + row * image_bytes)
                done += len(images)
                report(f"unpacking {next(iter(hashes))}", done, n)
            assert done == n
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with atomic_open(folder / "labels.npz") as file:
            np.savez(file, labels=contents.labels, split=contents.split)
        meta = {"version": UNPACKED_VERSION, "files": dict(hashes), "shape": contents.shape}
        atomic_write_text(folder / "meta.json", json.dumps(meta, indent=1))


def _remove_older(store: Path, hashes: Mapping[str, str]) -> None:
    """Remove what this one takes the place of; a file that is mapped lives until it is unmapped."""
    for file in store.parent.glob("*/meta.json"):
        if file.parent != store:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                if set(json.loads(file.read_bytes())["files"]) == set(hashes):
                    _discard(file.parent)


def _discard(store: Path) -> None:
    """Remove a store as a whole: a reader finds all of it or nothing."""
    doomed = store.with_name(f"{store.name}.old{TEMPORARY}")
    with contextlib.suppress(FileNotFoundError):
        store.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
