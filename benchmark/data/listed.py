"""Data sets of image files: a subclass says which files and which labels, the rest is the same for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.api import SPLITS, Arrays, Dataset, Report, hp
from benchmark.data.listing import Listing
from benchmark.data.store import left_out, open_images
from benchmark.errors import BenchmarkError


@dataclass(frozen=True)
class FolderParams:
    """The parameters of a set that the user puts into a folder; a set may add its own."""

    path: str = hp("", tune=False, help="the set's folder; by default the one of its name in the folder for downloads")
    skip_bad: bool = hp(False, tune=False, help="leave unreadable images out, with a warning")


class ListedDataset(Dataset):
    """A data set that is a list of image files.

    A subclass defines :meth:`listing` and no more. Its parameters may hold ``path`` (see :meth:`folder`), ``skip_bad``
    (leave unreadable images out; else they are refused) and ``channels`` (``"1"``, ``"3"`` or ``"auto"``, the default: 1
    if all images are grey). The images are decoded once, at the size of the common option ``image_size``, into a file
    below ``root`` that is memory-mapped from then on.
    """

    Params = FolderParams
    argument = "path"

    def listing(self, root: Path) -> Listing:
        """Which files, with what labels; opens no image and is cheap, as it is part of every run's identity.

        Args:
            root: the folder for downloads and caches; may not exist yet.

        Raises:
            BenchmarkError: the source is missing or is not laid out as it should be.
        """
        raise NotImplementedError

    def folder(self, root: Path) -> Path:
        """Where the set lies: ``path``, or the folder of the set's name below ``root``.

        Raises:
            BenchmarkError: there is no such folder.
        """
        folder = Path(self.params.path).expanduser() if self.params.path else root / self.name
        if not folder.is_dir():
            raise BenchmarkError(
                f"{folder} {'is no folder' if folder.exists() else 'does not exist'}; get {self.name} from "
                f"{self.manifest.get('homepage') or 'its authors'} and give its folder: {self.name}:PATH"
            )
        return folder

    def prepare(self, root: Path, report: Report) -> None:
        """Decode the images into the store, if that has not been done."""
        self._open(root, report)

    def load(self, root: Path) -> Arrays:
        """The images as a memory map, built first where :meth:`prepare` was not called.

        Returns:
            ``paths`` are relative to the listing's base. 16-bit images are reduced to 8 bits, EXIF orientation is applied,
            alpha is dropped.

        Raises:
            BenchmarkError: as :meth:`listing`; an image cannot be read (without ``skip_bad``), sizes differ (without
                ``image_size``), or the store cannot be written.
        """
        images, listing = self._open(root, _silent)
        classes = listing.classes()
        return Arrays(
            images,
            _codes(listing.labels, classes, np.int64),
            classes,
            clean_labels=None if listing.clean_labels is None else _codes(listing.clean_labels, classes, np.int64),
            split=None if listing.splits is None else _codes(listing.splits, SPLITS, np.int8),
            groups=None if listing.groups is None else np.unique(listing.groups, return_inverse=True)[1].astype(np.int64),
            paths=tuple(listing.names),
        )

    def fingerprint(self, root: Path) -> str:
        """Changes with the set's version, with what is said of the images, and with any file's name, size or time.

        Raises:
            BenchmarkError: as :meth:`listing`, or the labels are of fewer than two classes.
        """
        listing = self.listing(root)
        listing.classes()  # a command asks for this before any run begins
        return f"{super().fingerprint(root)}-{listing.fingerprint()}-{listing.annotation_fingerprint()}"

    def _open(self, root: Path, report: Report) -> tuple[np.memmap, Listing]:
        listing = self.listing(root)
        listing.classes()  # before the slow part
        images, kept = open_images(root, listing, report=report, **self._reading())
        return images, listing if len(kept) == len(listing) else listing.keep(kept.tolist())

    def left_out(self, root: Path) -> dict[str, str]:
        """Path → why, of the images that ``skip_bad`` left out; they are known once the set was prepared or loaded."""
        return left_out(root, self.listing(root), **self._reading())

    def _reading(self) -> dict[str, Any]:
        """How the images are read."""
        return {
            "image_size": self.options.image_size,
            "channels": getattr(self.params, "channels", "auto"),
            "skip_bad": getattr(self.params, "skip_bad", False),
        }


def _codes(words: Sequence[str], known: Sequence[str], dtype: type[np.signedinteger]) -> np.ndarray:
    """(n,) positions of the words in ``known``."""
    positions = {word: position for position, word in enumerate(known)}
    return np.fromiter((positions[word] for word in words), dtype=dtype, count=len(words))


def _silent(text: str, done: int, total: int) -> None:
    """A report that nobody reads."""
