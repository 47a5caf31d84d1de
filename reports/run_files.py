"""The files of one run as a report reads them: they may come from someone else, so nothing in them is believed unchecked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import BenchmarkError

__all__ = ["LARGEST_ARRAY", "class_names", "corrupt", "final_epochs", "read_arrays", "read_columns"]

LARGEST_ARRAY = 2**30
"""Bytes: a compressed file of a few kilobytes can unfold to more than any machine has."""

LARGEST_TEXT = 2**28
"""Bytes of a history or a result; one line an epoch is some 500."""

MOST_EPOCHS = 100_000
"""The most that a protocol can ask for."""


def read_arrays(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Some arrays of a ``predictions.npz``; the others are not read. Pickles are refused.

    Args:
        path: the file.
        needed: names that it must have.
        optional: names that are absent from the answer where it does not have them.

    Raises:
        BenchmarkError: a file that is missing, corrupt or too large, or lacks an array; names it.
    """
    if not path.is_file():
        raise BenchmarkError(f"{path} {'is no file' if path.exists() else 'does not exist'}; run the cell again")
    try:
        with np.load(path, allow_pickle=False) as file:
            wanted = {name: f"{name}.npy" for name in (*needed, *optional) if name in file}
            large = [name for name, member in wanted.items() if file.zip.getinfo(member).file_size > LARGEST_ARRAY]
            arrays = {} if large else {name: np.asarray(file[name]) for name in wanted}
    except Exception as error:  # a foreign file can fail in any way
        raise corrupt(path, error) from error
    if large:
        raise BenchmarkError(f"{path}: {large[0]} is larger than {LARGEST_ARRAY:,} bytes, so it is not read; run the cell again")
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise BenchmarkError(f"{path} lacks {', '.join(missing)}; run the cell again")
    return arrays


def read_columns(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Some columns of a ``samples.parquet``, (n,) each; raises as :func:`read_arrays`."""
    import pyarrow.parquet as pq

    if not path.is_file():
        raise BenchmarkError(f"{path} {'is no file' if path.exists() else 'does not exist'}; run the cell again")
    try:
        with pq.ParquetFile(path, memory_map=False) as file:
            if file.metadata.num_rows > LARGEST_ARRAY // 8:  # a few kilobytes can say that a billion rows are the same
                raise ValueError(f"it has {file.metadata.num_rows:,} rows")
            known = set(file.schema_arrow.names)
            table = file.read(columns=[name for name in (*needed, *optional) if name in known], use_threads=False)
            columns = {name: table.column(name).to_numpy() for name in table.column_names}
    except Exception as error:
        raise corrupt(path, error) from error
    missing = [name for name in needed if name not in columns]
    if missing:
        raise BenchmarkError(f"{path} lacks the column {missing[0]}; run the cell again")
    return columns


def final_epochs(path: Path, headline: str) -> dict[int, dict[str, Any]]:
    """Epoch → its line in a ``history.jsonl``, of the stage that made the final predictor. All numbers are floats, perhaps NaN.

    That is the last stage whose epochs were evaluated; those before it (another network's, a phase's, an earlier round's) have epochs
    of their own. The last line of an epoch counts.

    Args:
        path: the file.
        headline: the task's metric: a line that was evaluated has it as ``test_<headline>``.

    Raises:
        BenchmarkError: a file that is missing or corrupt, or without an evaluated epoch; names it.
    """
    if not path.is_file():
        raise BenchmarkError(f"{path} {'is no file' if path.exists() else 'does not exist'}; run the cell again")
    try:
        if path.stat().st_size > LARGEST_TEXT:
            raise ValueError(f"it has {path.stat().st_size:,} bytes")
        text = path.read_text(encoding="utf-8")
        joined = ",".join(text.strip().split("\n"))
        lines: list[Any] = json.loads(f"[{joined}]", parse_int=float)  # no number is too long for a float
        evaluated = [line for line in lines if f"test_{headline}" in line]
        found = {_epoch(line["epoch"]): line for line in evaluated if line["stage"] == evaluated[-1]["stage"]}
    except Exception as error:
        raise corrupt(path, error) from error
    if not found:
        raise BenchmarkError(f"{path} has no epoch with test_{headline}; run the cell again")
    return found


def class_names(folder: Path) -> tuple[str, ...]:
    """The names of the classes in a run's ``result.json``; none if it cannot be read, as whoever asks has its numbers already."""
    try:
        named = json.loads((folder / "result.json").read_bytes())["data"]["classes"]
    except Exception:
        return ()
    return tuple(map(str, named)) if isinstance(named, list) else ()


def corrupt(path: Path, error: Exception) -> BenchmarkError:
    """What is said of a file that cannot be read."""
    reason = " ".join(str(error).split())
    return BenchmarkError(f"{path} is corrupt ({type(error).__name__}: {reason}); run the cell again")


def _epoch(value: Any) -> int:
    if not isinstance(value, float) or not 0 <= value < MOST_EPOCHS or value != int(value):
        raise ValueError(f"{value} is no epoch")
    return int(value)
