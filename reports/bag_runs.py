"""What finished runs say of slides and their tiles, ready to be drawn: maps of test slides, hard negatives, pseudo labels by round."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import BenchmarkError
from reports.hard_negatives import hardest
from reports.heatmaps import SlideScores
from reports.rounds_figure import Rounds
from reports.rows import Row

__all__ = ["BagRun", "SlideData", "choose_slides", "inherited_precision", "maps_of", "negatives_of", "read_bag_run", "rounds_of"]

NEEDED = (
    "test_labels", "test_offsets", "test_selected", "test_selected_tiles", "train_given", "train_true", "train_offsets", "train_tiles",
)  # fmt: skip
OPTIONAL = ("test_positions", "test_tile_labels", "train_tile_labels")
SUFFIX = "_positive_bags"


@dataclass(frozen=True)
class SlideData:
    """Slides that several runs have in common, read again.

    Attributes:
        names: ``train`` and ``test`` → ids of the slides. classes: names of the two labels.
        given, true, test: labels of the training slides as given and in truth, and of the test slides.
        offsets: part → (n + 1,).
        pixels: gives the tiles (m, H, W, C) uint8 at some rows of a part; None where the tiles are features.
    """

    names: Mapping[str, Sequence[str]]
    classes: tuple[str, ...]
    given: np.ndarray
    true: np.ndarray
    test: np.ndarray
    offsets: Mapping[str, np.ndarray]
    pixels: Callable[[str, np.ndarray], np.ndarray] | None


@dataclass(frozen=True)
class BagRun:
    """A finished run: the flat row of its result, and the arrays :data:`NEEDED` and, where there are any, :data:`OPTIONAL`."""

    row: Row
    arrays: Mapping[str, np.ndarray]


def read_bag_run(folder: Path, row: Row, data: SlideData) -> BagRun:
    """A committed run on bags, if its data are these.

    Args:
        folder: the run's. Pickles are refused: it may come from someone else.
        row: of its result.
        data: as they were read again.

    Raises:
        BenchmarkError: a file that is missing or corrupt, or data that are not those of the run.
    """
    path = folder / "predictions.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            names = set(file.files) if isinstance(file, np.lib.npyio.NpzFile) else set()
            arrays = {name: file[name] for name in (*NEEDED, *OPTIONAL) if name in names}
    except FileNotFoundError:
        raise BenchmarkError(f"{path} does not exist; run the cell again") from None
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise BenchmarkError(f"{path} is corrupt ({type(error).__name__}: {reason}); run the cell again") from error
    missing = [name for name in NEEDED if name not in arrays]
    if missing:
        raise BenchmarkError(f"{path} lacks {', '.join(missing)}; run the cell again")
    expected = {
        "test_labels": data.test,
        "train_given": data.given,
        "train_true": data.true,
        "test_offsets": data.offsets["test"],
        "train_offsets": data.offsets["train"],
    }
    if not all(np.array_equal(arrays[name], values) for name, values in expected.items()):
        raise BenchmarkError(f"the slides of run {folder.name} are other ones by now: their labels or tiles differ; run the cell again")
    tiles = {part: int(data.offsets[part][-1]) for part in ("train", "test")}
    shapes = {"test_selected": (len(data.test), 2), "test_selected_tiles": (tiles["test"],), "train_tiles": (tiles["train"],)}
    shapes |= {"test_positions": (tiles["test"], 2), "test_tile_labels": (tiles["test"],), "train_tile_labels": (tiles["train"],)}
    for name, shape in shapes.items():
        if name in arrays and arrays[name].shape != shape:
            raise BenchmarkError(f"{path}: {name} is {arrays[name].shape}, expected {shape}; run the cell again")
    return BagRun(row, arrays)


def choose_slides(labels: np.ndarray, probabilities: np.ndarray, count: int) -> np.ndarray:
    """Test slides worth a look: half positive, from the most missed to the surest; the others negative, the worst false alarms first.

    Args:
        labels: (t,) true labels.
        probabilities: (t,) of label 1, where several runs are compared the mean over them.
        count: how many; fewer where there are fewer slides.

    Returns:
        (k,) int64 positions, positive slides first.
    """
    order = np.argsort(probabilities, kind="stable")
    positive, negative = order[labels[order] == 1], order[labels[order] != 1][::-1]
    wanted = min(len(positive), max(count - len(negative), count - count // 2))
    spread = np.round(np.linspace(0, len(positive) - 1, wanted)).astype(np.int64) if wanted else np.zeros(0, dtype=np.int64)
    chosen: np.ndarray = np.concatenate([positive[spread], negative[: count - wanted]]).astype(np.int64)
    return chosen


def maps_of(run: BagRun, data: SlideData, chosen: Sequence[int] | np.ndarray) -> SlideScores:
    """Some test slides with what the run's selected epoch says of their tiles; only their pixels are read."""
    arrays, chosen = run.arrays, np.asarray(chosen)
    rows, offsets = _rows_of(arrays["test_offsets"], chosen)
    return SlideScores(
        offsets,
        arrays["test_positions"][rows] if "test_positions" in arrays else None,
        arrays["test_selected_tiles"][rows],
        [data.names["test"][slide] for slide in chosen.tolist()],
        tile_labels=arrays["test_tile_labels"][rows] if "test_tile_labels" in arrays else None,
        tiles=None if data.pixels is None else data.pixels("test", rows),
        labels=arrays["test_labels"][chosen],
        probabilities=arrays["test_selected"][chosen, 1],
        classes=data.classes,
    )


def negatives_of(run: BagRun, data: SlideData, count: int, of_slide: int | None) -> SlideScores | None:
    """The hardest negatives among the training tiles, and no other tile; None where tiles are features or none has a score.

    Args:
        run: of which the final predictor's scores are taken.
        data: its slides; those that are labelled negative count, whatever they are in truth.
        count, of_slide: as in :func:`reports.hard_negatives.hardest`.
    """
    arrays = run.arrays
    if data.pixels is None:
        return None
    tiles = np.sort(hardest(arrays["train_tiles"], arrays["train_given"], arrays["train_offsets"], count, of_slide))
    if not tiles.size:
        return None
    slide = np.searchsorted(arrays["train_offsets"], tiles, side="right") - 1
    slides, counts = np.unique(slide, return_counts=True)
    return SlideScores(
        np.append(0, np.cumsum(counts)),
        None,
        arrays["train_tiles"][tiles],
        [data.names["train"][position] for position in slides.tolist()],
        tile_labels=arrays["train_tile_labels"][tiles] if "train_tile_labels" in arrays else None,
        tiles=data.pixels("train", tiles),
        labels=arrays["train_given"][slides],
        classes=data.classes,
    )


def rounds_of(rows: Sequence[Row]) -> dict[str, Rounds]:
    """Method → how right its pseudo labels are, round by round, among the tiles of slides that are labelled positive; a sequence a seed.

    Args:
        rows: of runs on the same data and noise under one protocol; those without pseudo labels are left out.
    """
    found: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        if f"pseudo/0/precision{SUFFIX}" in row:
            found.setdefault(str(row["method"]), []).append(row)
    return {method: Rounds(*([_values(row, name) for row in group] for name in ("precision", "recall"))) for method, group in found.items()}


def inherited_precision(rows: Sequence[Row]) -> float | None:
    """How right tiles are that have the label of their slide, over the seeds of some runs; None where nobody knows."""
    shares: dict[Any, float] = {row["seed"]: row["noise/inherited_noise"] for row in rows if row.get("noise/inherited_noise") is not None}
    return 1 - float(np.mean(list(shares.values()))) if shares else None


def _values(row: Row, name: str) -> list[float | None]:
    values: list[float | None] = []
    while f"pseudo/{len(values)}/{name}{SUFFIX}" in row:
        values.append(row[f"pseudo/{len(values)}/{name}{SUFFIX}"])
    return values


def _rows_of(offsets: np.ndarray, bags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The tiles of some slides, in their order, and where each slide begins among them."""
    sizes = np.diff(offsets)[bags]
    begins = np.append(0, np.cumsum(sizes))
    return np.repeat(offsets[:-1][bags] - begins[:-1], sizes) + np.arange(int(begins[-1])), begins
