"""Your own slides as features: what DSMIL or CLAM wrote, or a classic set of multiple instance learning as one csv."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmark.api import Dataset, Report, dataset, hp
from benchmark.bags.arrays import BagArrays
from benchmark.bags.classic import load_classic
from benchmark.bags.feature_store import open_bags
from benchmark.bags.mil_files import CLAM, DSMIL, LAYOUTS, NPZ, MilListing, list_bags
from benchmark.data.listing import Listing
from benchmark.errors import BenchmarkError

CLASSIC = "classic"
WHAT = f"a folder with {CLAM}, {DSMIL} or {NPZ}, or one csv of label, bag id and features"


@dataset(
    "mil", version=1, task="bags", modality="your own", classes=2, size="as in the files", access="folder", licence="as your data",
    citation="Layouts: Li et al. (2021), DSMIL; Lu et al. (2021), CLAM; Andrews et al. (2003), the classic sets", homepage="",
)  # fmt: skip
class Mil(Dataset):
    """Bags of features: one file a slide in the layouts of DSMIL and CLAM or as npz, or MUSK, Elephant, Fox and Tiger as a csv.

    Labels are in DSMIL's index, in a csv of slide_id and label beside the features, or in the first column of a classic csv. Positions of
    tiles are read where the files have them, the truth of tiles from npz and csv. Parts and patients come from the tables where they have
    columns for them; CLAM's ``splits_0.csv`` is read if it is there. Features are joined once into one file that all runs share.
    """

    @dataclass(frozen=True)
    class Params:
        """Where the files are and how they are laid out."""

        path: str = hp("", tune=False, help="the folder, DSMIL's index in it, or a classic csv")
        layout: str = hp("auto", choices=(*LAYOUTS, CLASSIC), tune=False, help="auto goes by what is there")
        labels: str = hp("", tune=False, help="csv of slide_id and label, also relative to the folder; by default the one that is there")
        splits: str = hp("", tune=False, help="CLAM's csv of parts, likewise; by default splits_0.csv if there is one")
        positive: str = hp("", tune=False, help="which of two words means positive, where that is not plain")

    labels_are_truth = False
    argument = "path"

    def prepare(self, root: Path, report: Report) -> None:
        """Join the features of all slides, if that has not been done.

        Raises:
            BenchmarkError: as :meth:`load`, or an ``image_size``, which features do not have.
        """
        if self.options.image_size:
            raise BenchmarkError(f"mil holds features, which have no image_size={self.options.image_size}; leave it out")
        if not self._is_classic():
            open_bags(root, self._listing(), report)

    def load(self, root: Path) -> BagArrays:  # type: ignore[override]
        """The bags; features of slides as a memory map, joined first where :meth:`prepare` was not called.

        Raises:
            BenchmarkError: another layout, slides without labels or tiles or the other way round, a slide twice or in two parts, features
                of another width or not finite, a file that cannot be read.
        """
        return load_classic(self._path()) if self._is_classic() else open_bags(root, self._listing(), _silent)

    def fingerprint(self, root: Path) -> str:
        """Changes with any file's name, size or time, and with labels, parts and patients; opens no file of features.

        Raises:
            BenchmarkError: as :meth:`load`, as far as names and labels tell.
        """
        if self._is_classic():
            path = self._path()
            return f"{super().fingerprint(root)}-{Listing(path, path.parent, [path.name], ['']).fingerprint()}"
        return f"{super().fingerprint(root)}-{self._listing().fingerprint()}"

    def _path(self) -> Path:
        if not self.params.path:
            raise BenchmarkError(f"mil needs a path: write mil:PATH with {WHAT}")
        path = Path(self.params.path).expanduser()
        if not path.exists():
            raise BenchmarkError(f"{path} does not exist; write mil:PATH with {WHAT}")
        return path

    def _is_classic(self) -> bool:
        """Whether the path is a csv of instances. A first line of numbers tells it from DSMIL's index, which has a header."""
        path, layout = self._path(), self.params.layout
        if layout == CLASSIC or layout != "auto" or not path.is_file():
            return layout == CLASSIC
        with path.open(encoding="utf-8-sig", errors="replace") as stream:
            fields = stream.readline(4096).split(",")[:3]
        return len(fields) == 3 and all(_is_number(field) for field in fields)

    def _listing(self) -> MilListing:
        p = self.params
        return list_bags(self._path(), p.layout, labels=p.labels, splits=p.splits, positive=p.positive)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _silent(text: str, done: int, total: int) -> None:
    """A report that nobody reads."""
