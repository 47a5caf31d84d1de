"""Which images of a comparison are worth a look, and their strips of tiles: runs of several methods on the same masks."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.metrics.masks import organ_names
from benchmark.seeds import numpy_generator
from benchmark.segmentation import VOID
from benchmark.segmentation.overlap import image_means, overlap
from reports import overlays
from reports.escape import one_line
from reports.overlays import Strip, Tile

__all__ = ["Choice", "MaskData", "MaskRun", "choose", "prediction_strips", "read_mask_run", "training_strips"]

LONGEST_NAME = 30
"""Characters of a file's name below its image; of a longer one the end is shown."""


@dataclass(frozen=True)
class MaskData:
    """Images and masks that several runs have in common.

    Attributes:
        images: ``train`` and ``test`` → rows (m, H, W, C) uint8. index: the same parts → (m,) positions in the data set.
        paths: file names of the whole set, where images come from files.
        given, true: (n, T, H, W) uint8 of the training part. test: (t, T, H, W), the truth of the test part.
        tasks, classes: T and J names.
        referenced: whether ``true`` is more than the given masks again (:attr:`benchmark.prepare.PreparedData.knows_truth`).
    """

    images: dict[str, Any]
    index: dict[str, np.ndarray]
    paths: Sequence[str] | None
    given: np.ndarray
    true: np.ndarray
    test: np.ndarray
    tasks: tuple[str, ...]
    classes: tuple[str, ...]
    referenced: bool

    @property
    def objects(self) -> list[str]:
        """Names of the T·(J − 1) objects."""
        return organ_names(self.tasks, self.classes)

    @property
    def has_void(self) -> bool:
        """Whether a pixel is void in any of the masks."""
        return any(bool((masks == VOID).any()) for masks in (self.given, self.true, self.test))

    def dice(self, part: str, rows: np.ndarray, masks: np.ndarray) -> np.ndarray:
        """(m,) the mean Dice of an image's objects, of some masks for these rows of a part; NaN where no pixel is compared."""
        true = (self.true if part == "train" else self.test)[rows]
        return image_means(overlap(masks, true, len(self.classes))["dice"])


@dataclass(frozen=True)
class MaskRun:
    """What a finished run says of the masks.

    Attributes:
        folder: where it lies. key: its name. method: short name.
        quality: (n,) higher = the given mask is more likely right.
        test: (t, T, H, W) uint8, the most likely classes of the selected epoch.
        corrects: whether it has corrected masks.
    """

    folder: Path
    key: str
    method: str
    quality: np.ndarray
    test: np.ndarray
    corrects: bool

    @property
    def ranks(self) -> np.ndarray:
        """(n,) 1 for the image that is most worth a look; equals share the mean of their ranks."""
        from scipy.stats import rankdata

        ranks: np.ndarray = rankdata(np.nan_to_num(self.quality, nan=np.inf))
        return ranks

    def judgements(self, data: MaskData, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """(m, T, H, W) flagged pixels, and corrected masks if there are any, of some training images."""
        names = ("train_flagged", "train_corrected") if self.corrects else ("train_flagged",)
        found, _ = _arrays(self.folder / "predictions.npz", names)
        for name in names:
            _check_shape(self.folder, name, found[name], data.given.shape)
        return found["train_flagged"][rows].astype(bool), found["train_corrected"][rows] if self.corrects else None


@dataclass(frozen=True)
class Choice:
    """Rows of the training part, the worst first and then some at random, and of the test part.

    Attributes:
        train, test: rows and why each was chosen.
    """

    train: tuple[tuple[int, str], ...]
    test: tuple[tuple[int, str], ...]


def read_mask_run(folder: Path, method: str, data: MaskData) -> MaskRun:
    """A committed run, if its data are these.

    Args:
        folder: the run's. Pickles are refused: it may come from someone else.
        method: its short name.
        data: as they were read again.

    Raises:
        BenchmarkError: a file that is missing or corrupt, or data that are not those of the run.
    """
    path = folder / "predictions.npz"
    found, names = _arrays(path, ("train_given", "test_labels", "train_quality", "test_selected"))
    same = np.array_equal(_index(folder / "samples.parquet"), data.index["train"])
    same &= np.array_equal(found["train_given"], data.given) and np.array_equal(found["test_labels"], data.test)
    if not same:
        raise BenchmarkError(f"the data of run {folder.name} are other ones by now: their masks differ; run the cell again")
    J, (t, T, H, W) = len(data.classes), data.test.shape
    _check_shape(folder, "train_quality", found["train_quality"], (len(data.given),))
    _check_shape(folder, "test_selected", found["test_selected"], (t, T, J, H, W))
    ids = found["test_selected"].argmax(axis=2).astype(np.uint8)
    return MaskRun(folder, folder.name, method, found["train_quality"].astype(np.float64), ids, "train_corrected" in names)


def choose(data: MaskData, runs: Sequence[MaskRun], *, worst: int, random: int, test: int) -> Choice:
    """The images to show.

    Args:
        runs: methods whose ranks are averaged.
        worst: so many training images with the worst mean rank. random: so many others, the same whatever the runs are, as far as
            they are not among the worst. test: so many test images, one half those of the lowest mean Dice, the others at random.
    """
    n, t = len(data.given), len(data.test)
    order = np.argsort(np.mean([run.ranks for run in runs], axis=0), kind="stable")
    trained = _with_random(order[:worst], numpy_generator("gallery", "train", n).permutation(n), random, "worst")
    everywhere = np.arange(t)
    dice = np.mean([data.dice("test", everywhere, run.test) for run in runs], axis=0)
    lowest = np.argsort(dice, kind="stable")[: (test + 1) // 2]
    tested = _with_random(lowest, numpy_generator("gallery", "test", t).permutation(t), test - len(lowest), "lowest")
    return Choice(trained, tested)


def _with_random(first: np.ndarray, drawn: np.ndarray, count: int, why: str) -> tuple[tuple[int, str], ...]:
    taken = first.tolist()
    others = [row for row in drawn.tolist() if row not in set(taken)][:count]
    return (*((row, f"{why} {place}") for place, row in enumerate(taken, 1)), *((row, "at random") for row in others))


def training_strips(data: MaskData, runs: Sequence[MaskRun], chosen: Sequence[tuple[int, str]], side: int = overlays.SIDE) -> list[Strip]:
    """Image, given mask, of each run the flagged pixels and the corrected mask, truth; shares and Dice in percent below.

    Args:
        chosen: rows of the training part and why each is shown. side: of a tile.
    """
    if not chosen:
        return []
    rows, J = np.array([row for row, _ in chosen]), len(data.classes)
    images, given, true = data.images["train"][rows], data.given[rows], data.true[rows]
    known = (given != VOID) & (true != VOID)
    before, wrong = data.dice("train", rows, given), _share(given != true, known)
    strips = []
    for place, (row, why) in enumerate(chosen):
        told = (_dice(before[place]), f"{100 * wrong[place]:.1f} % wrong") if data.referenced else ()
        tiles = [
            _image_tile(data, "train", row, why, images[place], side),
            Tile("given", overlays.outlined(images[place], given[place], J, side), told),
        ]
        strips.append(tiles)
    for run in runs:
        flagged, corrected = run.judgements(data, rows)
        shares, ranks = _share(flagged, known), run.ranks[rows]
        after = None if corrected is None else data.dice("train", rows, corrected)
        for place, tiles in enumerate(strips):
            truth = true[place] if data.referenced else None
            lines = (f"rank {ranks[place]:.0f} of {len(data.given)}", f"{100 * shares[place]:.1f} % flagged")
            tiles.append(Tile("flagged", overlays.judged(images[place], given[place], truth, flagged[place], side), lines, run.method))
            if corrected is not None and after is not None:
                told = (_dice(after[place]), _change(after[place] - before[place])) if data.referenced else ()
                tiles.append(Tile("corrected", overlays.outlined(images[place], corrected[place], J, side), told, run.method))
    if data.referenced:
        for place, tiles in enumerate(strips):
            tiles.append(Tile("truth", overlays.outlined(images[place], true[place], J, side)))
    return [Strip(tuple(tiles)) for tiles in strips]


def prediction_strips(data: MaskData, runs: Sequence[MaskRun], chosen: Sequence[tuple[int, str]], side: int = overlays.SIDE) -> list[Strip]:
    """Image, of each run the prediction of its selected epoch with its Dice, truth.

    Args:
        chosen: rows of the test part and why each is shown. side: of a tile.
    """
    if not chosen:
        return []
    rows, J = np.array([row for row, _ in chosen]), len(data.classes)
    images, dice = data.images["test"][rows], [data.dice("test", rows, run.test[rows]) for run in runs]
    strips = []
    for place, (row, why) in enumerate(chosen):
        tiles = [_image_tile(data, "test", row, why, images[place], side)]
        for run, values in zip(runs, dice, strict=True):
            tiles.append(Tile("prediction", overlays.outlined(images[place], run.test[row], J, side), (_dice(values[place]),), run.method))
        tiles.append(Tile("truth", overlays.outlined(images[place], data.test[row], J, side)))
        strips.append(Strip(tuple(tiles)))
    return strips


def _image_tile(data: MaskData, part: str, row: int, why: str, image: np.ndarray, side: int) -> Tile:
    index = int(data.index[part][row])
    lines = [f"index {index} · {why}"]
    if data.paths is not None:
        name = one_line(PurePosixPath(data.paths[index]).name)
        lines.append(name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}")
    return Tile("image", overlays.plain(image, side), tuple(lines))


def _share(pixels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(m,) share of the known pixels, 0 without any."""
    axes = (1, 2, 3)
    shares: np.ndarray = (pixels & known).sum(axis=axes) / np.maximum(known.sum(axis=axes), 1)
    return shares


def _dice(value: float) -> str:
    return "Dice –" if np.isnan(value) else f"Dice {100 * value:.1f} %"


def _change(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:+.1f}".replace("-", "−")


def _arrays(path: Path, needed: Sequence[str]) -> tuple[dict[str, np.ndarray], frozenset[str]]:
    """Arrays of a predictions.npz by name, and the names of all that it holds."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names = frozenset(file.files if isinstance(file, np.lib.npyio.NpzFile) else ())
            found = {name: file[name] for name in needed if name in names}
    except FileNotFoundError:
        raise BenchmarkError(f"{path} does not exist; run the cell again") from None
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise _corrupt(path, error) from error
    missing = [name for name in needed if name not in found]
    if missing:
        raise BenchmarkError(f"{path} lacks {', '.join(missing)}; run the cell again")
    return found, names


def _index(path: Path) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        column: np.ndarray = pq.ParquetFile(path).read(columns=["index"]).column("index").to_numpy()
    except FileNotFoundError:
        raise BenchmarkError(f"{path} does not exist; run the cell again") from None
    except (OSError, KeyError, pa.ArrowException) as error:
        raise _corrupt(path, error) from error
    return column


def _check_shape(folder: Path, name: str, found: np.ndarray, expected: tuple[int, ...]) -> None:
    if found.shape != expected or found.dtype.kind not in "fiub":
        raise BenchmarkError(f"{folder / 'predictions.npz'}: {name} is {found.dtype} {found.shape}, not {expected}; run the cell again")


def _corrupt(path: Path, error: Exception) -> BenchmarkError:
    return BenchmarkError(f"{path} is corrupt ({type(error).__name__}: {' '.join(str(error).split())}); run the cell again")
