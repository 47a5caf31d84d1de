"""Images decoded once: a file of uint8 pixels that every run maps into memory instead of decoding again.

``root/images/<fingerprint>/`` holds ``images.npy`` and ``meta.json``. The fingerprint covers names, sizes and times of the
source files and how they are read, so that a changed source is another store. The folder appears by one rename when it is
whole; a build that was killed leaves a ``.tmp`` folder behind, which the next build removes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import secrets
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.data.listing import Listing
from benchmark.data.store_writer import write_images
from benchmark.errors import BenchmarkError
from benchmark.files import TEMPORARY, alone, atomic_write_text

if TYPE_CHECKING:
    from benchmark.api import Report

STORE_VERSION = 1
"""Raise it when the same files give other pixels."""

_log = logging.getLogger(__name__)


def open_images(
    root: Path, listing: Listing, *, image_size: int, channels: str, skip_bad: bool, report: Report
) -> tuple[np.memmap, np.ndarray]:
    """The pixels of n listed files, decoded now if they have not been before.

    Two processes that want the same store build it once. Older stores of the same source, read in the same way, are
    removed after a build; who has mapped one keeps it.

    Args:
        root: the folder for downloads and caches; may not exist yet.
        listing: the files.
        image_size: 0 keeps the native size, which must be the same for all; otherwise the shorter side is scaled to it
            (bicubic) and the centre is cut out.
        channels: ``"1"``, ``"3"``, or ``"auto"`` (1 if all images are grey, else 3).
        skip_bad: leave unreadable images out, with one warning, instead of raising.
        report: is told how far a build is.

    Returns:
        images: (m, H, W, C) uint8, read-only and memory-mapped, of the m readable files.
        kept: (m,) int64 ascending rows of the listing.

    Raises:
        BenchmarkError: an unreadable image, or no readable one, sizes that differ while ``image_size`` is 0, a disk that is
            too small or a folder that cannot be written, or files that changed while they were read.
    """
    store = _Store(root / "images", listing, {"image_size": image_size, "channels": channels, "skip_bad": skip_bad})
    try:
        found = store.read() or store.build(report)
    except OSError as error:
        raise BenchmarkError(
            f"cannot keep decoded images in {store.folder.parent}: {error.strerror or error}; choose another --data-root"
        ) from error
    images, bad = found
    if bad:
        row, reason = min(bad.items())
        name = listing.names[row]
        _log.warning("left out %d unreadable of %d images in %s; the first: %s (%s)", len(bad), len(listing), listing.base, name, reason)
    return images, np.setdiff1d(np.arange(len(listing), dtype=np.int64), list(bad))


def left_out(root: Path, listing: Listing, *, image_size: int, channels: str, skip_bad: bool) -> dict[str, str]:
    """Name → reason of the files that :func:`open_images` left out, which must have been called before with the same; else none."""
    found = _Store(root / "images", listing, {"image_size": image_size, "channels": channels, "skip_bad": skip_bad}).read()
    return {listing.names[row]: reason for row, reason in sorted(found[1].items())} if found else {}


_Found = tuple[np.memmap, dict[int, str]]
"""Images, and the rows that were left out with the reason."""


class _Store:
    """One store: where it is, and how it is read, built and cleaned up after."""

    def __init__(self, parent: Path, listing: Listing, settings: dict[str, Any]) -> None:
        self.listing, self.settings = listing, settings
        self.files = listing.fingerprint()
        identity = json.dumps([STORE_VERSION, self.files, settings], sort_keys=True)
        self.folder = parent / hashlib.sha256(identity.encode()).hexdigest()[:16]

    def read(self) -> _Found | None:
        """None where there is no store, or half of one."""
        try:
            meta = json.loads((self.folder / "meta.json").read_bytes())
            images = np.load(self.folder / "images.npy", mmap_mode="r", allow_pickle=False)
            bad = {int(row): str(reason) for row, reason in meta["left_out"]}
            whole = images.dtype == np.uint8 and list(images.shape) == meta["shape"] and len(images) + len(bad) == len(self.listing)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, EOFError):
            return None
        return (images, bad) if whole else None

    def build(self, report: Report) -> _Found:
        """Build under a lock; who waited for it finds the store ready."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(_lock_file(self.folder), lambda: report(f"waiting for another process that decodes {self.listing.source}", 0, 0)):
            found = self.read()
            if found is not None:
                return found
            self._remove_leftovers()
            _discard(self.folder)
            temporary = self.folder.with_name(f"{self.folder.name}.{secrets.token_hex(4)}{TEMPORARY}")
            temporary.mkdir()
            try:
                self._write(temporary, report)
                temporary.rename(self.folder)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
            self._remove_older()
            found = self.read()
        if found is None:
            raise BenchmarkError(f"the decoded images in {self.folder} cannot be read back; is the disk sound?")
        return found

    def _write(self, folder: Path, report: Report) -> None:
        from PIL import __version__ as pillow

        written = write_images(folder / "images.npy", self.listing.base, self.listing.names, report=report, **self.settings)
        if self.listing.fingerprint() != self.files:
            raise BenchmarkError(f"images in {self.listing.base} changed while they were read; run it again when nobody writes there")
        meta = {
            **self._owner(),
            "version": STORE_VERSION,
            "files": self.files,
            "shape": written.shape,
            "left_out": sorted(written.bad.items()),
            "pillow": pillow,
        }
        atomic_write_text(folder / "meta.json", json.dumps(meta, indent=1))

    def _owner(self) -> dict[str, Any]:
        """What a store has in common with those that it takes the place of."""
        return {"source": str(self.listing.source.resolve()), "variant": self.listing.variant, "settings": self.settings}

    def _remove_leftovers(self) -> None:
        """Remove what dead builds left behind: a build holds the lock of its store as long as it lives."""
        from filelock import FileLock, Timeout

        for leftover in self.folder.parent.glob(f"*{TEMPORARY}"):
            store = leftover.with_name(leftover.name.split(".")[0])
            if store == self.folder:
                shutil.rmtree(leftover, ignore_errors=True)
                continue
            with contextlib.suppress(Timeout), FileLock(_lock_file(store), timeout=0):
                shutil.rmtree(leftover, ignore_errors=True)

    def _remove_older(self) -> None:
        """Remove the stores that this one takes the place of; a file that is mapped lives until it is unmapped."""
        for file in self.folder.parent.glob("*/meta.json"):
            if file.parent == self.folder or file.parent.name.endswith(TEMPORARY):
                continue
            with contextlib.suppress(OSError, ValueError, AttributeError):
                meta = json.loads(file.read_bytes())
                if all(meta.get(key) == value for key, value in self._owner().items()):
                    _discard(file.parent)
                    _lock_file(file.parent).unlink(missing_ok=True)


def _lock_file(store: Path) -> Path:
    return store.with_name(f"{store.name}.lock")


def _discard(store: Path) -> None:
    """Remove a store as a whole: a reader finds all of it or nothing."""
    doomed = store.with_name(f"{store.name}.{time.monotonic_ns():x}{TEMPORARY}")
    with contextlib.suppress(FileNotFoundError):
        store.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
