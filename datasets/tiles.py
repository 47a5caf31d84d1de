"""Your own slides as images of tiles: a folder a slide, as the tile command writes it, and a csv of labels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from benchmark.api import Dataset, Report, dataset, hp
from benchmark.bags.arrays import BagArrays
from benchmark.bags.label_table import SPLIT_NAMES
from benchmark.bags.tile_folder import LAYOUT, TileListing, load_tiles, tile_layout
from benchmark.data.listing import SUFFIXES, subfolders
from benchmark.errors import BenchmarkError


@dataset(
    "tiles", version=1, task="bags", modality="your own", classes=2, size="as in the files", access="folder", licence="as your data",
    citation="", homepage="",
)  # fmt: skip
class Tiles(Dataset):
    """Slides as folders of tiles, PATH/<slide>/<x>_<y>.jpeg or PATH/train/<slide>/… (val, test), and a csv of slide_id and label.

    A third number in a tile's name is its truth (``<x>_<y>_1.jpeg``), for evaluation only. A slide may be one ``tiles.npz`` instead.
    Tiles are decoded once, at ``image_size`` or as they are, into one file that all runs share. Without folders of parts, the csv may have
    a column ``split``, and ``case_id`` or ``group`` for patients, which are never torn apart.
    """

    @dataclass(frozen=True)
    class Params:
        """Where the tiles are, what their labels are, and how they may be turned."""

        path: str = hp("", tune=False, help="the folder of slides, or of train, val and test")
        labels: str = hp("", tune=False, help="csv of slide_id and label, also relative to the folder; by default the one that is there")
        positive: str = hp("", tune=False, help="which of two words means positive, where that is not plain")
        augment: str = hp(
            "flip+rot90+color", tune=False, help="what the auto augmentation of a protocol means: of crop, flip, rot90, color, joined by +"
        )

    labels_are_truth = False
    argument = "path"

    @property
    def augmentation(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the user's ``augment`` names."""
        return tuple(name.strip() for name in self.params.augment.split("+") if name.strip() and name.strip() != "none")

    def prepare(self, root: Path, report: Report) -> None:
        """Decode the tiles, if that has not been done."""
        load_tiles(self._listing(), self.options.image_size, root, report)

    def load(self, root: Path) -> BagArrays:  # type: ignore[override]
        """The bags; tiles as a memory map, decoded first where :meth:`prepare` was not called.

        Raises:
            BenchmarkError: another layout, slides without labels or tiles or the other way round, a slide twice or in two parts, tiles of
                another size without ``image_size``, one that cannot be read.
        """
        return load_tiles(self._listing(), self.options.image_size, root)

    def fingerprint(self, root: Path) -> str:
        """Changes with any file's name, size or time, and with labels, parts and patients; opens no tile.

        Raises:
            BenchmarkError: as :meth:`load`, as far as names and labels tell.
        """
        return f"{super().fingerprint(root)}-{self._listing().fingerprint()}"

    def _listing(self) -> TileListing:
        if not self.params.path:
            raise BenchmarkError(f"tiles needs a path: write tiles:PATH with a folder that holds {LAYOUT}")
        path = Path(self.params.path).expanduser()
        if not path.is_dir():
            raise BenchmarkError(
                f"{path} {'is no folder' if path.exists() else 'does not exist'}; write tiles:PATH with a folder that holds {LAYOUT}"
            )
        _refuse_loose_tiles(path)
        return tile_layout(path, self.params.labels, self.params.positive)


def _refuse_loose_tiles(path: Path) -> None:
    """Images beside the folders of the slides belong to no slide: somebody unpacked them one folder too high."""
    for folder in (path, *(part for part in subfolders(path) if part.name.lower() in SPLIT_NAMES)):
        with os.scandir(folder) as entries:
            loose = min(
                (entry.name for entry in entries if entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".")), default=""
            )
        if loose:
            raise BenchmarkError(f"{folder / loose} is a tile without a slide; expected {LAYOUT}: move it into its slide's folder")
