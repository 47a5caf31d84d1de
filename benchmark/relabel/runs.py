"""The finished run that an export starts from: found by its key or folder, its samples read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.spec import RunSpec
from benchmark.store import RunStore

SAMPLES = "samples.parquet"
NEEDED = ("index", "given", "quality", "suspect")
OPTIONAL = ("corrected", "suggested", "confidence", "given_probability")
_KEY = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class FinishedRun:
    """A run with a result.

    Attributes:
        key: 16 hex digits.
        spec: what it is.
        samples: column → (n,) array, of ``samples.parquet``; all of :data:`NEEDED` and those of :data:`OPTIONAL` that it has.
    """

    key: str
    spec: RunSpec
    samples: dict[str, np.ndarray]


def open_run(text: str, runs: Path) -> FinishedRun:
    """The run that a user named.

    Args:
        text: a run's key, the first digits of one, or the path of a run's folder.
        runs: the folder in which keys are looked up.

    Raises:
        BenchmarkError: no such run, several, one without a result or of another task than classification, or one whose samples
            cannot be read.
    """
    store, key = _find(text, runs)
    spec, result = store.spec(key), store.result(key)
    if result is None:
        raise BenchmarkError(f"run {key} has no result yet; give the command that began it again, or see: python -m benchmark status")
    if result.get("status") != "done":
        raise BenchmarkError(
            f"run {key} is {result.get('status')} ({result.get('reason')}), so it says nothing of its samples; name another"
        )
    task = (result.get("data") or {}).get("task", "classification")
    if task != "classification":
        raise BenchmarkError(f"run {key} is of {task}; labels go to annotators and back only where each image has one class")
    return FinishedRun(key, spec, _read_samples(store.folder(key) / SAMPLES))


def _find(text: str, runs: Path) -> tuple[RunStore, str]:
    path = Path(text).expanduser()
    if text and (path / "spec.json").is_file():
        folder = path.resolve()
        if not _KEY.fullmatch(folder.name):
            raise BenchmarkError(f"{path} is no run's folder: its name is '{folder.name}'; expected the run's key, 16 hex digits")
        return RunStore(folder.parent), folder.name
    if len(path.parts) > 1:
        raise BenchmarkError(f"{path} is no run's folder: there is no spec.json in it; give a run's key or its folder")
    if not runs.is_dir():
        raise BenchmarkError(f"runs folder {runs} {'is no folder' if runs.exists() else 'does not exist'}; check --runs DIR")
    store = RunStore(runs)
    return store, store.find(text)


def _read_samples(path: Path) -> dict[str, np.ndarray]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, memory_map=False)
    except (OSError, pa.ArrowException) as error:
        problem = "there is no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
        raise BenchmarkError(f"{path} cannot be read: {problem}; run the cell again") from error
    lacking = [name for name in NEEDED if name not in table.column_names]
    if lacking:
        raise BenchmarkError(f"{path} lacks the column {lacking[0]}; expected {', '.join(NEEDED)}; run the cell again")
    kept = [name for name in (*NEEDED, *OPTIONAL) if name in table.column_names]
    return {name: table.column(name).to_numpy() for name in kept}
