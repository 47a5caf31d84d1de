"""What a run has said of its training samples, from the files in its folder."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import BenchmarkError

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
    arrays = _arrays(folder / "predictions.npz")
    index = _index(folder / "samples.parquet")
    shapes = {name: array.shape for name, array in {**arrays, "index": index}.items()}
    if len(set(shapes.values())) > 1 or index.ndim != 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise BenchmarkError(f"{folder}: predictions.npz and samples.parquet contradict each other ({listed}); run the cell again")
    known = ~arrays["train_open_set"].astype(bool) if "train_open_set" in arrays else slice(None)
    given, true, quality = (arrays[name][known] for name in LABELS)
    hardness = arrays["train_hardness"][known] if "train_hardness" in arrays else None
    return TrainingPart(index[known], given, true, quality, hardness)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            names = set(file.files) if isinstance(file, np.lib.npyio.NpzFile) else set()
            arrays = {name: file[name] for name in (*LABELS, *OPTIONAL) if name in names}
    except FileNotFoundError:
        raise BenchmarkError(f"{path} does not exist; run the cell again") from None
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise _corrupt(path, error) from error
    missing = [name for name in LABELS if name not in arrays]
    if missing:
        raise BenchmarkError(f"{path} lacks {', '.join(missing)}; run the cell again")
    return arrays


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


def _corrupt(path: Path, error: Exception) -> BenchmarkError:
    reason = " ".join(str(error).split())
    return BenchmarkError(f"{path} is corrupt ({type(error).__name__}: {reason}); run the cell again")
