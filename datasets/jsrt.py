"""The chest radiographs of JSRT with masks of lungs, heart and clavicles, as Zhang et al. (2020) keep them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmark.api import Dataset, dataset, hp
from benchmark.errors import BenchmarkError
from benchmark.segmentation.arrays import MaskArrays
from benchmark.segmentation.layouts import MaskListing, jsrt_layout, load_masks


@dataset(
    "jsrt",
    version=1,
    task="segmentation",
    modality="chest radiograph",
    classes=2,
    size="197 + 50 of 256×256 px, grey; lung, heart and clavicle, which overlap",
    access="folder",
    licence="no redistribution: obtain it yourself",
    citation="Shiraishi et al. (2000), American Journal of Roentgenology 174:71-74 (images); van Ginneken, Stegmann and Loog (2006), "
    "Medical Image Analysis 10:19-40 (masks); Zhang et al. (2020), MICCAI (this selection)",
    homepage="http://db.jsrt.or.jp/eng.php",
)
class Jsrt(Dataset):
    """247 radiographs of the Japanese Society of Radiological Technology: 197 train, 50 test.

    PATH holds ``clean-data``, or is that folder, as in the program of Zhang et al.; the same name in all four folders::

        PATH/clean-data/training/images/JPCLN001.png      and lung/, heart/, clavicle/ beside images/
        PATH/clean-data/validation/images/JPCLN003.png    and the same

    What is called validation there is the part that results are reported on, so it tests here, and a validation part, as noisy as the
    rest, is split off the training part. Masks are foreground above 127. Each image is a patient of its own. Images keep
    their own size, or have ``image_size``.
    """

    @dataclass(frozen=True)
    class Params:
        """Where the set lies."""

        path: str = hp("", tune=False, help="the set's folder; by default the one of its name in the folder for downloads")

    argument = "path"
    augmentation = ("crop", "color")  # never flipped: the heart is on the left

    def load(self, root: Path) -> MaskArrays:
        """Read all images and masks.

        Raises:
            BenchmarkError: no such folder, another layout, or a file that cannot be used.
        """
        return load_masks(self._listing(root), self.options.image_size)

    def fingerprint(self, root: Path) -> str:
        """Changes with any file's name, size or time; opens none.

        Raises:
            BenchmarkError: no such folder, or another layout.
        """
        return f"{super().fingerprint(root)}-{self._listing(root).fingerprint()}"

    def _listing(self, root: Path) -> MaskListing:
        folder = Path(self.params.path).expanduser() if self.params.path else root / self.name
        if not folder.is_dir():
            raise BenchmarkError(
                f"{folder} {'is no folder' if folder.exists() else 'does not exist'}; get the images from {self.manifest['homepage']} "
                "and the masks from their authors, and give the folder that holds clean-data: jsrt:PATH"
            )
        return jsrt_layout(folder)
