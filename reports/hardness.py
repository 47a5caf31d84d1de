"""Which samples are hard: as the data set knows it, or as networks that saw right labels only have found them.

A network that is trained on right labels is slow to learn some samples; nothing but the samples can be the reason. The mean
quality that such runs give a sample is therefore a reference for its hardness on data whose makers do not know it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.errors import BenchmarkError
from benchmark.spec import canonical_json
from reports.repeat import protocol_words, ranges
from reports.rows import Row
from reports.samples import TrainingPart

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Reference", "command", "find_runs", "reference"]


@dataclass(frozen=True)
class Reference:
    """Hardness by sample, from runs without noise.

    Attributes:
        method: that was trained. seeds: of its runs, one each.
        index: (m,) int64, sorted: the samples, as they are numbered in the data set.
        hardness: (m,) float64, minus the mean quality over those runs that had the sample in their training part.
    """

    method: str
    seeds: tuple[int, ...]
    index: np.ndarray
    hardness: np.ndarray

    def of(self, index: np.ndarray) -> np.ndarray:
        """(n,) float64 hardness of the samples with these numbers; NaN for a sample that no run was trained on."""
        import numpy as np

        position = np.searchsorted(self.index, index).clip(max=len(self.index) - 1)
        return np.where(self.index[position] == index, self.hardness[position], np.nan)


def find_runs(rows: Sequence[Row], like: Row, method: str) -> list[Row]:
    """The finished runs of a method without noise, on the data and under the protocol of another run.

    Args:
        rows: all runs of the store.
        like: a run whose hardness is asked for.
        method: its short name (``hsa:rounds=2``), or the plugin's if only one of its settings has such runs.

    Raises:
        BenchmarkError: several settings of the method have such runs, and none of them has just this name.
    """
    same = [
        row
        for row in rows
        if row["status"] == "done" and row["spec"]["noise"]["name"] == "none" and _data_and_protocol(row) == _data_and_protocol(like)
    ]
    exact = [row for row in same if method in (row["method"], (row["spec"].get("labels") or {}).get("method"))]
    found = exact or [row for row in same if row["spec"]["method"]["name"] == method]
    names = {row["identity"]["method"]: row["method"] for row in found}
    if len(names) > 1:
        listed = ", ".join(sorted(names.values()))
        where = f"{len(names)} settings of it have runs without noise on {like['dataset']}"
        raise BenchmarkError(f"--hard-by {method}: {where}; name one: {listed}")
    return sorted(found, key=lambda row: row["seed"])


def reference(runs: Sequence[Row], read: Callable[[Row], TrainingPart]) -> Reference:
    """Hardness of every sample that at least one run was trained on.

    Args:
        runs: of one method on one data set, without noise; at least one. Each seed may have another training part.
        read: the training part of a run.

    Raises:
        BenchmarkError: files that cannot be read.
    """
    import numpy as np

    parts = [read(run) for run in runs]
    index, sample = np.unique(np.concatenate([part.index for part in parts]), return_inverse=True)
    quality = np.concatenate([part.quality for part in parts]).astype(np.float64)
    mean = np.bincount(sample, weights=quality) / np.bincount(sample)
    return Reference(runs[0]["method"], tuple(run["seed"] for run in runs), index, -mean)


def command(rows: Sequence[Row], method: str, *more: str) -> str:
    """The command line that makes the reference runs for some runs without noise.

    Args:
        rows: of one protocol; their data sets and seeds are used.
        method: to be trained.
        *more: words to append, e.g. ``--runs``.
    """
    datasets = dict.fromkeys(str((row["spec"].get("labels") or {}).get("dataset") or row["dataset"]) for row in rows)
    seeds = sorted({row["seed"] for row in rows})
    words = ["run", "--methods", method, "--baseline", "none", "--datasets", ",".join(datasets), "--noise", "none"]
    words += ["--seeds", ranges(seeds), *protocol_words(rows[0]["spec"]["protocol"]), *more]
    return f"python -m benchmark {shlex.join(words)}"


def _data_and_protocol(row: Row) -> str:
    protocol = {key: value for key, value in row["spec"]["protocol"].items() if key != "name"}
    return canonical_json({"dataset": row["spec"]["dataset"], "protocol": protocol})
