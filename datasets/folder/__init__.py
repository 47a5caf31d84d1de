"""Your own images: a folder of class folders, or a csv file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmark.api import dataset, hp
from benchmark.data.listed import ListedDataset
from benchmark.data.listing import Listing
from benchmark.errors import BenchmarkError

from .listing import list_images


@dataset("folder", version=2, modality="your own", access="folder", licence="as your data", citation="", homepage="")
class Folder(ListedDataset):
    """Images from PATH/<class>/*.png, from PATH/train/<class> (val, test), or from a csv (path,label and more).

    A csv has the columns ``path`` (relative to the csv's folder, and inside it) and ``label``, and may have ``split``
    (train, val or test), ``group`` (patient or slide; never torn apart) and ``clean_label`` (a reference; the labels are
    then real noise, see ``--noise human``). In the place of ``label`` there may be ``label_1``, ``label_2`` and so on, of several
    people; what most say is the label. Classes are the sorted set of the labels. The identity of a run holds the
    names, sizes and modification times of the files, so a changed image makes old results stale.
    """

    @dataclass(frozen=True)
    class Params:
        """Where the images are and how they are read."""

        path: str = hp("", tune=False, help="a folder of class folders (or of train, val and test), or a csv file")
        channels: str = hp("auto", choices=("auto", "1", "3"), tune=False, help="auto: 1 if all images are grey, else 3")
        skip_bad: bool = hp(False, tune=False, help="leave unreadable images out, with a warning")

    labels_are_truth = False
    argument = "path"
    augmentation = ("crop", "flip")

    def listing(self, root: Path) -> Listing:
        """List PATH; ``root`` is not used.

        Raises:
            BenchmarkError: PATH is missing or empty or holds fewer than two classes, or the csv is unusable.
        """
        if not self.params.path:
            raise BenchmarkError("folder needs a path: write folder:PATH with a folder of class folders or a csv file")
        return list_images(Path(self.params.path).expanduser())
