"""Metrics of committed runs, computed again from their saved predictions."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError
from benchmark.files import atomic_write_text
from benchmark.store import BusyError, RunStore

if TYPE_CHECKING:
    import numpy as np

__all__ = ["rescore", "rescore_all"]

REQUIRED = frozenset(
    ("test_labels", "test_last_k", "test_selected", "test_best", "train_given", "train_true", "train_quality", "train_suspect")
)
"""Arrays without which some group of metrics would silently vanish."""


def rescore_all(store: RunStore) -> list[str]:
    """Rescore every committed run; returns the keys of those that changed.

    Each is rewritten under its lease; a run that another process works on is left to it.

    Raises:
        BenchmarkError: predictions that are missing or corrupt. It is raised at the end: one bad run stops no other.
    """
    changed, problems = [], []
    for row in store.rows():
        key = str(row["run_key"])
        try:
            with store.lease(key):
                if rescore(store.folder(key)):
                    changed.append(key)
        except BusyError:
            continue
        except BenchmarkError as error:
            problems.append(str(error))
    if problems:
        more = f" (and {len(problems) - 1} more runs)" if len(problems) > 1 else ""
        raise BenchmarkError(f"{problems[0]}{more}; {len(changed)} runs were rescored")
    return changed


def rescore(folder: Path) -> bool:
    """Compute the metrics of one run again and rewrite its ``result.json``, in one step, if they differ.

    A skipped run, and a diverged one without predictions, has no metrics and is left as it is.

    Args:
        folder: the run's folder, with ``result.json`` and ``predictions.npz``.

    Returns:
        Whether the file was rewritten.

    Raises:
        BenchmarkError: no result, or predictions that are missing or corrupt; names the file.
    """
    from benchmark.metrics import compute

    path, predictions = folder / "result.json", folder / "predictions.npz"
    result = _read_result(path)
    if result.get("status") != "done" and not predictions.exists():
        return False
    try:
        metrics = {group: dict(sorted(values.items())) for group, values in sorted(compute(_read_predictions(predictions)).items())}
    except (ValueError, IndexError, TypeError) as error:
        raise BenchmarkError(f"{predictions}: its arrays contradict each other ({error}); run the cell again") from error
    if metrics == result.get("metrics"):
        return False
    result["metrics"] = metrics
    atomic_write_text(path, json.dumps(result, indent=1, allow_nan=False) + "\n")
    return True


def _read_result(path: Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BenchmarkError(f"{path} does not exist: the run is not finished and has nothing to rescore") from None
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"{path} cannot be read: {error}") from error
    if not isinstance(result, dict):
        raise BenchmarkError(f"{path} is not a result: it holds no JSON object")
    return result


def _read_predictions(path: Path) -> dict[str, np.ndarray]:
    """All arrays of the file. Pickles are refused: a run folder may come from someone else."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file.items()) if isinstance(file, np.lib.npyio.NpzFile) else {}
    except FileNotFoundError:
        raise BenchmarkError(f"{path} does not exist: this run cannot be rescored; run the cell again") from None
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise BenchmarkError(f"{path} is corrupt ({type(error).__name__}: {error}); run the cell again") from error
    missing = sorted(REQUIRED - set(arrays))
    if missing:
        raise BenchmarkError(f"{path} lacks {', '.join(missing)}; run the cell again")
    return arrays
