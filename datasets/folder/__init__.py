"""Your own images: a folder of class folders, or a csv file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.api import SPLITS, Arrays, Dataset, dataset, hp
from benchmark.errors import BenchmarkError

from .decode import decode_images
from .listing import fingerprint, list_images


@dataset("folder", version=1, modality="your own", licence="as your data", citation="", homepage="")
class Folder(Dataset):
    """Images from PATH/<class>/*.png, from PATH/train/<class> (val, test), or from a csv (path,label and more).

    A csv has the columns ``path`` (relative to the csv's folder, and inside it) and ``label``, and may have ``split``
    (train, val or test), ``group`` (patient or slide; never torn apart) and ``clean_label`` (a reference; the labels are
    then real noise, see ``--noise human``). Classes are the sorted set of the labels. The identity of a run holds the
    names, sizes and modification times of the files, so a changed image makes old results stale.
    """

    @dataclass(frozen=True)
    class Params:
        """Where the images are and how they are read."""

        path: str = hp("", tune=False, help="a folder of class folders (or of train, val and test), or a csv file")
        size: int = hp(0, 0, 4096, tune=False, help="height and width in pixels; 0 keeps the native size, if it is the same for all")
        channels: str = hp("auto", choices=("auto", "1", "3"), tune=False, help="auto: 1 if all images are grey, else 3")
        skip_bad: bool = hp(False, tune=False, help="leave unreadable images out, with a warning")

    argument = "path"
    augmentation = ("crop", "flip")

    def load(self, root: Path) -> Arrays:
        """List, check and decode the images; ``root`` is not used.

        Returns:
            ``paths`` are relative to PATH (or the csv's folder). 16-bit images are reduced to 8 bits, EXIF orientation is
            applied, alpha is dropped.

        Raises:
            BenchmarkError: PATH is missing or empty or holds fewer than two classes, the csv has unusable columns or
                rows, an image cannot be read (without ``skip_bad``), or sizes differ (without ``size``).
        """
        source = self._source()
        listing = list_images(source)
        listing.classes(source)  # before the slow part
        p = self.params
        images, kept = decode_images(listing.base, listing.names, size=p.size, channels=p.channels, skip_bad=p.skip_bad)
        listing = listing.keep(kept.tolist())
        classes = listing.classes(source)
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
        """Changes with the csv and with any file's name, size or modification time; opens no image.

        Raises:
            BenchmarkError: PATH is missing or empty or holds fewer than two classes, or the csv is unusable.
        """
        source = self._source()
        listing = list_images(source)
        listing.classes(source)  # a command asks for this before any run begins
        return f"{super().fingerprint(root)}-{fingerprint(source, listing)}"

    def _source(self) -> Path:
        if not self.params.path:
            raise BenchmarkError("folder needs a path: write folder:PATH with a folder of class folders or a csv file")
        return Path(self.params.path).expanduser()


def _codes(words: Sequence[str], known: Sequence[str], dtype: type[np.signedinteger]) -> np.ndarray:
    """(n,) positions of the words in ``known``."""
    positions = {word: position for position, word in enumerate(known)}
    return np.fromiter((positions[word] for word in words), dtype=dtype, count=len(words))
