"""Mini WebVision: fifty classes of images as a web search found them."""

from __future__ import annotations

from pathlib import Path

from benchmark.api import dataset
from benchmark.data.layouts import wrong_layout
from benchmark.data.listed import ListedDataset
from benchmark.data.listing import Listing, names_inside
from benchmark.errors import BenchmarkError

CLASSES = 50
TRAIN, TEST, SYNSETS = "info/train_filelist_google.txt", "info/val_filelist.txt", "info/synsets.txt"
EXPECTED = f"{TRAIN}, {TEST}, google/ and val_images_256/"


@dataset(
    "webvision",
    version=1,
    modality="web images",
    classes=50,
    size="65,944 + 2,500 images, shorter side 256 px, RGB",
    access="folder",
    licence="as on the homepage; the images are from the web, and their owners keep their rights",
    citation="Li, Wang, Li, Agustsson and Van Gool (2017), WebVision Database: Visual Learning and Understanding from Web Data, "
    "arXiv:1708.02862",
    homepage="https://data.vision.ee.ethz.ch/cvl/webvision/dataset2017.html",
)
class WebVision(ListedDataset):
    """The first 50 classes of WebVision 1.0's Google part: real noise without a reference.

    The resized archives of version 1.0 (``google_resized_256.tar``, ``val_images_resized.tar``) and its ``info`` folder::

        PATH/info/train_filelist_google.txt     lines "google/q0001/xxx.jpg 0" (google/ may be missing); trains
        PATH/info/val_filelist.txt              lines "val000001.jpg 0"; labelled by people; tests
        PATH/info/synsets.txt                   optional; line k names class k: "n01440764 tench, Tinca tinca"
        PATH/google/q0001/*.jpg                 only the classes 0 to 49 are needed
        PATH/val_images_256/*.jpg

    The labels of the training part are the words that were searched for. Which of them are wrong nobody knows, so train
    with ``--noise none``; detection cannot be scored. Sizes differ, so ``image_size`` is needed.
    """

    augmentation = ("crop", "flip")

    labels_are_truth = False

    def listing(self, root: Path) -> Listing:
        """Read the lists.

        Raises:
            BenchmarkError: the folder is missing or laid out otherwise, or a line is no path and number.
        """
        folder = self.folder(root)
        if not all((folder / file).is_file() for file in (TRAIN, TEST)):
            raise wrong_layout(folder, EXPECTED)
        classes = _class_names(folder / SYNSETS)
        names: list[str] = []
        labels: list[str] = []
        splits: list[str] = []
        for split, file, images in (("train", folder / TRAIN, "google/"), ("test", folder / TEST, "val_images_256/")):
            rows = _read(file)
            names += names_inside(file, folder, ((place, path if path.startswith(images) else images + path) for place, path, _ in rows))
            labels += [classes[label] for _, _, label in rows]
            splits += [split] * len(rows)
        return Listing(folder, folder, names, labels, splits, order=classes)


def _read(file: Path) -> list[tuple[str, str, int]]:
    """Place, path and class of each line whose class is among the first ones."""
    rows = []
    for number, line in enumerate(_lines(file), 1):
        path, _, label = line.rpartition(" ")
        if not line:
            continue
        if not path.strip() or not label.isdecimal():
            raise BenchmarkError(f"{file}, line {number}: expected a path and the number of its class; found '{line[:80]}'")
        if int(label) < CLASSES:
            rows.append((f"line {number}", path.strip(), int(label)))
    return rows


def _class_names(file: Path) -> tuple[str, ...]:
    """The first word of each synset where these differ, else the synset's number; "class 0" and so on without the file."""
    if not file.is_file():
        return tuple(f"class {number}" for number in range(CLASSES))
    lines = _lines(file)[:CLASSES]
    if len(lines) < CLASSES or not all(" " in line for line in lines):
        raise BenchmarkError(f"{file}: expected {CLASSES} lines or more like 'n01440764 tench, Tinca tinca'; found {len(lines)}")
    words = tuple(line.partition(" ")[2].partition(",")[0].strip() for line in lines)
    return words if len(set(words)) == CLASSES else tuple(line.partition(" ")[0] for line in lines)


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text("utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise BenchmarkError(f"{file} is not UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise BenchmarkError(f"cannot read {file}: {error.strerror or error}") from None
