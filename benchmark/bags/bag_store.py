"""Bags in one file that runs map into memory: written once, slide by slide, whatever their size.

``<root>/bags/<key>/`` holds ``tiles.npy``, ``bags.npz`` and ``meta.json``. The key covers name, size and time of every file, not what is
said of the slides: other labels or parts need no other copy. A store appears by one rename when it is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.data.listing import Listing
from benchmark.errors import BenchmarkError
from benchmark.files import TEMPORARY, alone, atomic_write_text

if TYPE_CHECKING:
    from benchmark.api import Report

FOLDER = "bags"

Found = tuple[np.ndarray, dict[str, np.ndarray]]
"""The tiles (N, …) of all slides, read-only and memory-mapped, and the arrays of ``bags.npz``, among them ``offsets``."""


@dataclass(frozen=True)
class Source:
    """What a store is made of.

    Attributes:
        files: of n slides; one may have several.
        slides: n.
        what: the tiles are, for messages: features, say.
        dtype: of the tiles.
        version: raised when the same files give other arrays.
        settings: how they are read, by name; each has a store of its own.
    """

    files: Listing
    slides: int
    what: str
    dtype: str
    version: int
    settings: Mapping[str, Any]

    def key(self, files: str) -> str:
        """The name of the store of files with that fingerprint."""
        identity = [self.version, files, *([dict(self.settings)] if self.settings else [])]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]

    def owner(self) -> dict[str, Any]:
        """What a store has in common with those that it takes the place of."""
        names = hashlib.sha256("\n".join(self.files.names).encode("utf-8", "surrogateescape")).hexdigest()
        return {"source": str(self.files.base.resolve()), "names": names, **self.settings}


def open_store(root: Path, source: Source, write: Callable[[Path], tuple[int, ...]], report: Report) -> Found:
    """The arrays of a store, written now if they have not been before.

    Args:
        root: the folder for downloads and caches.
        source: what it is made of.
        write: puts ``tiles.npy`` and ``bags.npz`` into a folder and returns the shape of the tiles.
        report: is told of waiting.

    Raises:
        BenchmarkError: what ``write`` raises, a folder that cannot be written, or files that changed while they were read.
    """
    files = source.files.fingerprint()
    store = root / FOLDER / source.key(files)
    try:
        return _read(store, source) or _build(store, source, files, write, report)
    except OSError as error:
        raise BenchmarkError(
            f"cannot keep {source.what} in {store.parent}: {error.strerror or error}; choose another --data-root"
        ) from error


def _read(store: Path, source: Source) -> Found | None:
    """None where there is no store, or half of one."""
    try:
        meta = json.loads((store / "meta.json").read_bytes())
        tiles: np.ndarray = np.load(store / "tiles.npy", mmap_mode="r", allow_pickle=False)
        with np.load(store / "bags.npz", allow_pickle=False) as archive:
            columns = {name: archive[name] for name in archive.files}
        whole = tiles.dtype == source.dtype and list(tiles.shape) == meta["shape"] and columns["offsets"].shape == (source.slides + 1,)
    except (FileNotFoundError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return (tiles, columns) if whole else None


def _build(store: Path, source: Source, files: str, write: Callable[[Path], tuple[int, ...]], report: Report) -> Found:
    """Build under a lock; who waited for it finds everything ready."""
    store.parent.mkdir(parents=True, exist_ok=True)
    # one build at a time below a folder: they would only share the disk
    with alone(store.parent / ".lock", lambda: report(f"waiting for another process that reads {source.what} into {store.parent}", 0, 0)):
        found = _read(store, source)
        if found is not None:
            return found
        for leftover in store.parent.glob(f"*{TEMPORARY}"):  # of dead builds: a living one would hold the lock
            shutil.rmtree(leftover, ignore_errors=True)
        temporary = store.with_name(f"{store.name}.{secrets.token_hex(4)}{TEMPORARY}")
        temporary.mkdir()
        try:
            shape = write(temporary)
            if source.files.fingerprint() != files:
                raise BenchmarkError(
                    f"{source.what} in {source.files.base} changed while they were read; run it again when nobody writes there"
                )
            meta = {**source.owner(), "version": source.version, "shape": shape}
            atomic_write_text(temporary / "meta.json", json.dumps(meta, indent=1))
            shutil.rmtree(store, ignore_errors=True)  # half of one
            temporary.rename(store)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _remove_older(store, source.owner())
        found = _read(store, source)
    if found is None:
        raise BenchmarkError(f"the {source.what} in {store} cannot be read back; is the disk sound?")
    return found


def _remove_older(store: Path, owner: dict[str, Any]) -> None:
    """Remove the stores of the same files as they were before; a file that is mapped lives until it is unmapped."""
    for file in store.parent.glob("*/meta.json"):
        if file.parent != store:
            with contextlib.suppress(OSError, ValueError, AttributeError):
                meta = json.loads(file.read_bytes())
                if all(meta.get(name) == value for name, value in owner.items()):
                    doomed = file.parent.with_name(f"{file.parent.name}.old{TEMPORARY}")
                    file.parent.rename(doomed)
                    shutil.rmtree(doomed, ignore_errors=True)
