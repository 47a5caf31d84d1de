"""What a run has said of its training samples, from the files in its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import BenchmarkError
from reports.run_files import read_arrays, read_columns

if TYPE_CHECKING:
    import numpy as np

__all__ = ["TrainingPart", "read_training_part"]

LABELS = ("train_given", "train_true", "train_quality")
OPTIONAL = ("train_hardness", "train_open_set")


@dataclass(frozen=True)
class TrainingPart:
    """The training samples of one run, without images that open-set noise has replaced: they show none of the classes.

    Attributes:
        index: (n,) int64, where each sample is in the data set.
        given, true: (n,) int64 labels.
        quality: (n,) float, higher = the given label is more likely right.
        hardness: (n,) float, higher is harder, NaN = unknown; None where the data set does not know it.
    """

    index: np.ndarray
    given: np.ndarray
    true: np.ndarray
    quality: np.ndarray
    hardness: np.ndarray | None


def read_training_part(folder: Path) -> TrainingPart:
    """The training part of a committed run, from ``predictions.npz`` and the column ``index`` of ``samples.parquet``.

    Labels, quality and hardness come from the arrays, which only the harness writes; a method may add columns to the table.

    Args:
        folder: the run's folder. Pickles are refused: it may come from someone else.

    Raises:
        BenchmarkError: a file that is missing, corrupt or at odds with the other; names it.
    """
    arrays = read_arrays(folder / "predictions.npz", LABELS, OPTIONAL)
    index = read_columns(folder / "samples.parquet", ("index",))["index"]
    shapes = {name: array.shape for name, array in {**arrays, "index": index}.items()}
    if len(set(shapes.values())) > 1 or index.ndim != 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise BenchmarkError(f"{folder}: predictions.npz and samples.parquet contradict each other ({listed}); run the cell again")
    known = ~arrays["train_open_set"].astype(bool) if "train_open_set" in arrays else slice(None)
    given, true, quality = (arrays[name][known] for name in LABELS)
    hardness = arrays["train_hardness"][known] if "train_hardness" in arrays else None
    return TrainingPart(index[known], given, true, quality, hardness)
