"""Your own images and masks: a folder of files, or a numpy archive, which may hold the masks of several annotators."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmark.api import Dataset, dataset, hp
from benchmark.data.npz_archive import checksum, words
from benchmark.errors import BenchmarkError, unknown_name
from benchmark.segmentation.arrays import MaskArrays
from benchmark.segmentation.layouts import load_masks, masks_layout
from benchmark.training.names import AUGMENTATIONS

from .annotators import draw_annotators, majority_vote
from .archive import ArrayNames, read_masks

__all__ = ["ArrayNames", "Masks", "draw_annotators", "majority_vote", "read_masks"]

OF_ARCHIVES = {"key": "masks", "given": "", "available": "", "draw": 0, "group": ""}
"""Parameters that mean nothing for a folder, and their defaults."""

FEWEST = 3
"""Training, validation and test need an image each."""


@dataset(
    "masks",
    version=1,
    task="segmentation",
    modality="your own",
    size="as in the files",
    access="folder",
    licence="as your data",
    citation="",
    homepage="",
)
class Masks(Dataset):
    """Images and masks from a folder or a .npz file, also with the masks of several annotators.

    A **folder** holds ``images/NAME.png`` and ``masks/NAME.png`` (class ids, or 0 and 255), or ``masks/<class>/NAME.png`` where classes
    overlap, one task each; and perhaps ``groups.csv`` (name,group). Files are png, jpg, tif … or npz with one array.

    A **.npz file** holds ``images`` (n, H, W) or (n, H, W, 1 or 3) uint8 and, under the name ``key``, masks (n, H, W) or (n, T, H, W):
    bool, 0 and 255, or class ids with 255 for void. It may hold ``classes``, ``tasks`` (T names), ``groups`` (n,) ids of patients or
    slides, ``split`` (n,) of 0, 1, 2 or train, val, test, and ``paths`` (n,). Nothing is unpickled.

    With ``given=NAME``, an array (n, R, H, W) or (n, R, T, H, W) of R annotators, each image has the mask of one of its annotators, drawn
    by ``draw``: ``--noise human`` trains on it. ``key`` is then the reference: another array, or ``majority``, the vote of the image's
    annotators at each pixel (a tie goes to the lowest class). Who drew which image is told by a bool array (n, R): ``available``, or
    ``has_<given>``, with or without a final s, where there is one; else all did.
    """

    @dataclass(frozen=True)
    class Params:
        """Where images and masks are, what they are called, and whose masks train."""

        path: str = hp("", tune=False, help="a folder with images and masks, or a .npz file")
        classes: str = hp("", tune=False, help="class names joined by +, the background first")
        key: str = hp("masks", tune=False, help="npz: the array of masks, the reference where masks are given; or majority")
        given: str = hp("", tune=False, help="npz: an array of several annotators' masks, of which each image has one")
        available: str = hp("", tune=False, help="npz: an array that tells which annotators drew which image")
        draw: int = hp(0, 0, tune=False, help="npz: another number draws other annotators")
        group: str = hp("", tune=False, help="npz: an array of ids that no split tears apart; by default groups, where there is one")
        augment: str = hp(
            "flip", tune=False, help="what the auto augmentation of a protocol means: of crop, flip, rot90, color, joined by +"
        )

        def __post_init__(self) -> None:
            for name in words(self.augment):
                if name not in AUGMENTATIONS and name != "none":
                    raise unknown_name("augmentation", name, (*AUGMENTATIONS, "none"))

    labels_are_truth = False
    argument = "path"

    @property
    def augmentation(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the user's ``augment`` names."""
        return tuple(name for name in words(self.params.augment) if name != "none")

    def load(self, root: Path) -> MaskArrays:
        """Read images and masks; ``root`` is not used.

        Raises:
            BenchmarkError: nothing there, another layout, an array that is missing or of another shape, values that are no class ids,
                no foreground, fewer than three images, or an image that no annotator drew.
        """
        p, path = self.params, self._path()
        if path.is_dir():
            arrays = load_masks(masks_layout(path, words(p.classes)), self.options.image_size)
        else:
            arrays = read_masks(path, ArrayNames(p.key, p.given, p.available, p.group), words(p.classes), p.draw)
        n = len(arrays)
        if n < FEWEST:
            raise BenchmarkError(f"masks: {path} holds {n} image{'s' * (n != 1)}; training, validation and test need one each at least")
        return arrays

    def fingerprint(self, root: Path) -> str:
        """Of a folder, changes with any file's name, size or time; of a .npz file, with the content of any array.

        Raises:
            BenchmarkError: nothing there, or another layout.
        """
        path = self._path()
        own = masks_layout(path, words(self.params.classes)).fingerprint() if path.is_dir() else checksum(path, "masks")
        return f"{super().fingerprint(root)}-{own}"

    def _path(self) -> Path:
        expected = "write masks:PATH with a folder that holds images and masks, or a .npz file"
        if not self.params.path:
            raise BenchmarkError(f"masks needs a path: {expected}")
        path = Path(self.params.path).expanduser()
        if path.is_dir():
            unfit = [name for name, default in OF_ARCHIVES.items() if getattr(self.params, name) != default]
            if unfit:
                raise BenchmarkError(f"masks: {', '.join(unfit)} is for .npz files, and {path} is a folder; leave it out")
        elif not path.is_file():
            raise BenchmarkError(f"masks: there is no {path}; {expected}")
        return path
