"""A user's own .npz archive: arrays by name, what their checksums say of them, and what several data sets read alike."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from benchmark.api import SPLITS
from benchmark.errors import BenchmarkError


def read_arrays(path: Path, owner: str, choose: Callable[[set[str]], Iterable[str]]) -> dict[str, np.ndarray]:
    """Some arrays of an archive; nothing is unpickled, and the others are not read.

    Args:
        path: the archive.
        owner: the data set's name, for messages.
        choose: from the names of all arrays, the names of those to read; its BenchmarkError is passed on.

    Raises:
        BenchmarkError: the file is broken, or an array holds Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in choose(set(archive.files))}
    except BenchmarkError:
        raise
    except Exception as error:  # zipfile and numpy raise whatever a broken file makes them trip over
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BenchmarkError(f"{owner}: {path} cannot be read: {reason}; only whole archives of plain arrays") from error


def checksum(path: Path, owner: str) -> str:
    """16 hex digits that change with the content of any array; reads the archive's directory only.

    Raises:
        BenchmarkError: not a whole .npz.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted((item.filename, item.file_size, item.CRC) for item in archive.infolist())
    except Exception as error:  # as above
        raise BenchmarkError(f"{owner}: {path} is not a whole .npz file: {error}") from error
    return hashlib.sha256(repr(members).encode()).hexdigest()[:16]


def as_images(images: np.ndarray, path: Path, owner: str) -> np.ndarray:
    """(n, H, W, 1 or 3) uint8 from (n, H, W), too; anything else is a BenchmarkError."""
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise BenchmarkError(
            f"{owner}: images in {path} are {images.dtype} {images.shape}; expected uint8 (n, H, W), (n, H, W, 1) or (n, H, W, 3)"
        )
    return np.ascontiguousarray(images)


def one_an_image(name: str, values: np.ndarray, n: int, path: Path, owner: str) -> np.ndarray:
    """The values, if there are n; else a BenchmarkError."""
    if values.shape != (n,):
        raise BenchmarkError(f"{owner}: {name} in {path} has shape {values.shape} for {n} images; expected ({n},)")
    return values


def as_split(values: np.ndarray, path: Path, owner: str) -> np.ndarray:
    """(n,) int8 codes of the parts from codes or words; anything else is a BenchmarkError."""
    if values.dtype.kind in "US":
        named = values.astype(str).tolist()
        strange = sorted(set(named) - set(SPLITS))
        if strange:
            raise BenchmarkError(f"{owner}: split in {path} holds '{strange[0]}'; expected {', '.join(SPLITS)} or 0, 1, 2")
        return np.array([SPLITS.index(word) for word in named], dtype=np.int8)
    if values.dtype.kind not in "iu" or (len(values) and not 0 <= int(values.min()) <= int(values.max()) < len(SPLITS)):
        raise BenchmarkError(f"{owner}: split in {path} must hold {', '.join(SPLITS)} or 0, 1, 2")
    return values.astype(np.int8)


def words(text: str) -> tuple[str, ...]:
    """The words of a parameter that joins them by ``+``."""
    return tuple(word.strip() for word in text.split("+") if word.strip())
