"""Image files to one array file: decoded in threads, written in pieces, never held in memory as a whole.

Threads, because Pillow decodes and resizes without Python's lock: on two cores they decode as fast as two processes where
images are scaled and at three quarters of that where they are not, without start-up, copies or orphans. Pieces go to the
file by plain writes, because the pages of a written memory map count as this process's memory until the disk has them.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from benchmark.data.array_file import check_space, npy_header, told_of_full_disk, write_at
from benchmark.data.decode import Header, read_header, read_pixels
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.api import Report

MOST_THREADS = 16
PIECE_BYTES = 4 * 2**20
MOST_IN_PIECE = 64
"""A piece is what one thread decodes and writes at a time: at most so many bytes and images, at least one image."""
WRITING_BYTES = 256 * 2**20
"""Of pieces that are filled at the same time, over all threads."""
DECODING_PIXELS = 24_000_000
"""Pixels that are decoded at the same time, over all threads; a larger image is decoded alone. About 10 bytes each."""

UNREADABLE = (None, errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""What ``skip_bad`` is for. A failing disk or a missing permission passes, but the store would remember the lack."""

T = TypeVar("T")


@dataclass(frozen=True)
class Written:
    """What became of n files.

    Attributes:
        shape: (m, H, W, C) of the array in the file.
        bad: row → reason, of the files that could not be read.
    """

    shape: tuple[int, int, int, int]
    bad: dict[int, str]


def write_images(
    file: Path, base: Path, names: Sequence[str], *, image_size: int, channels: str, skip_bad: bool, report: Report
) -> Written:
    """Decode n image files into a new ``.npy`` file of (m, H, W, C) uint8, in the order of the names.

    Headers are read first where they decide anything, so that images of mixed sizes and a disk that is too small are refused
    before any is decoded.

    Args:
        file: the array's file; must not exist. Half a file is left behind by an error.
        base: the folder that names are relative to.
        names: n relative paths.
        image_size: 0 keeps the native size; otherwise the shorter side is scaled to it and the centre is cut out.
        channels: ``"1"``, ``"3"``, or ``"auto"`` (1 if all images are grey, else 3).
        skip_bad: leave unreadable images out instead of raising.
        report: is told how far the work is.

    Raises:
        BenchmarkError: an unreadable image, or no readable one, sizes that differ while ``image_size`` is 0, or a disk
            that is too small.
        OSError: the file cannot be written for another reason.
    """
    from PIL import Image

    # An image below Pillow's limit is decoded, alone if it is large, and needs no line that names no file; one above it is refused.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    reader = _Reader(base, names, image_size, skip_bad, report)
    shape = reader.common_shape(channels)
    needed = len(reader.rows) * math.prod(shape)
    with told_of_full_disk(file.parent, needed):
        check_space(file.parent, needed)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            lost = reader.write_pixels(descriptor, shape)
            _close_gaps(descriptor, len(reader.rows), lost, math.prod(shape))
            whole = (len(reader.rows) - len(lost), *shape)
            write_at(descriptor, npy_header(whole), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return Written(whole, reader.bad)


class _Reader:
    """n files, and what went wrong with which.

    Attributes:
        rows: (r,) int64, the files that are to be decoded.
        bad: row → reason.
    """

    def __init__(self, base: Path, names: Sequence[str], image_size: int, skip_bad: bool, report: Report) -> None:
        self.base, self.names, self.size, self.skip_bad, self.report = base, names, image_size, skip_bad, report
        self.rows = np.arange(len(names))
        self.bad: dict[int, str] = {}

    def common_shape(self, channels: str) -> tuple[int, int, int]:
        """(H, W, C) of all images; files with an unreadable header leave :attr:`rows`.

        A native size has to be looked up in every header. For the channels, the first image with colour decides.
        """
        first: tuple[int, Header] | None = None
        grey = True
        for row, header in self._headers() if not self.size or channels == "auto" else ():
            grey &= header.grey
            if self.size and not grey:
                break
            first = first or (row, header)
            if not self.size and (header.height, header.width) != (first[1].height, first[1].width):
                raise self._sizes_differ(first, (row, header))
        self._refuse_none()
        self.rows = np.setdiff1d(self.rows, list(self.bad))
        depth = {"1": 1, "3": 3, "auto": 1 if grey else 3}[channels]
        return (self.size, self.size, depth) if self.size or first is None else (first[1].height, first[1].width, depth)

    def _sizes_differ(self, *two: tuple[int, Header]) -> BenchmarkError:
        words = ", ".join(f"{self.names[row]} is {header.height}×{header.width}" for row, header in two)
        return BenchmarkError(f"the images in {self.base} differ in size: {words}; add image_size=64, say, to resize them")

    def _headers(self) -> Iterator[tuple[int, Header]]:
        """Row and header of each readable file."""

        def read(rows: range) -> list[Header | Exception]:
            return [_guarded(functools.partial(read_header, f"{self.base}/{self.names[row]}")) for row in rows]

        n = len(self.names)
        pieces = [range(start, min(start + 128, n)) for start in range(0, n, 128)]
        with _threads(0) as pool:
            for piece, found in zip(pieces, pool.map(read, pieces), strict=True):
                for row, header in zip(piece, found, strict=True):
                    if isinstance(header, Exception):
                        self._note(row, header)
                    else:
                        yield row, header
                self.report(f"reading headers in {self.base}", piece.stop, n)

    def write_pixels(self, descriptor: int, shape: tuple[int, int, int]) -> list[int]:
        """Decode the images of :attr:`rows` to consecutive places of the file; returns the places that stayed empty."""
        n, image_bytes = len(self.rows), math.prod(shape)
        count = max(1, min(MOST_IN_PIECE, PIECE_BYTES // image_bytes))
        offset = len(npy_header((n, *shape)))
        budget = _Budget(DECODING_PIXELS)

        def decode(row: int) -> np.ndarray:
            return read_pixels(f"{self.base}/{self.names[row]}", self.size, shape[2] == 1, budget.take)

        def write(start: int) -> list[tuple[int, Exception]]:
            piece = self.rows[start : start + count].tolist()
            images = np.zeros((len(piece), *shape), dtype=np.uint8)
            failed = []
            for place, row in enumerate(piece):
                pixels = _guarded(functools.partial(decode, row))
                if isinstance(pixels, Exception):
                    failed.append((start + place, pixels))
                else:
                    images[place] = pixels
            write_at(descriptor, images.data.cast("B"), offset + start * image_bytes)
            return failed

        lost: list[int] = []
        with _threads(image_bytes) as pool:
            for start, failed in zip(range(0, n, count), pool.map(write, range(0, n, count)), strict=True):
                for place, error in failed:
                    lost.append(place)
                    self._note(int(self.rows[place]), error)
                self.report(f"decoding images in {self.base}", min(start + count, n), n)
        self._refuse_none()
        return lost

    def _refuse_none(self) -> None:
        """Raise where no file could be read."""
        if len(self.bad) == len(self.names):
            row = min(self.bad)
            raise BenchmarkError(
                f"none of the {len(self.names)} images in {self.base} can be read; the first: {self.names[row]} ({self.bad[row]})"
            )

    def _note(self, row: int, error: Exception) -> None:
        self.bad[row] = " ".join(str(error).split()) or type(error).__name__
        passing = isinstance(error, OSError) and error.errno not in UNREADABLE
        if passing or not self.skip_bad:
            hint = "" if passing else "; add skip_bad=true to leave such files out"
            raise BenchmarkError(f"cannot read the image {self.base / self.names[row]}: {self.bad[row]}{hint}") from error


class _Budget:
    """Keeps what is in use at the same time below a limit; a request above it waits until nothing else is in use."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def take(self, amount: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._used or self._used + amount <= self._limit)
            self._used += amount
        try:
            yield
        finally:
            with self._changed:
                self._used -= amount
                self._changed.notify_all()


@contextlib.contextmanager
def _threads(image_bytes: int) -> Iterator[ThreadPoolExecutor]:
    """Two threads more than cores, so that one that waits for a disk or for Python's lock leaves no core idle; fewer where
    images are huge. What has not begun is dropped when the block ends."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pool = ThreadPoolExecutor(max(1, min(cores + 2, MOST_THREADS, WRITING_BYTES // max(image_bytes, 1))), thread_name_prefix="decode")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _guarded(function: Callable[[], T]) -> T | Exception:
    try:
        return function()
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise whatever a broken file makes them trip over
        return error


def _close_gaps(descriptor: int, n: int, lost: list[int], image_bytes: int) -> None:
    """Move the images behind a gap up and cut the file off; its head has the place it needs."""
    head = os.lseek(descriptor, 0, os.SEEK_END) - n * image_bytes
    if not lost:
        return
    target = lost[0]
    for gap, following in zip(lost, [*lost[1:], n], strict=True):
        for place in range(gap + 1, following):
            write_at(descriptor, os.pread(descriptor, image_bytes, head + place * image_bytes), head + target * image_bytes)
            target += 1
    os.ftruncate(descriptor, head + target * image_bytes)
