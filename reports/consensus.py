"""What several methods say of the same training samples: the mean of their ranks, their votes, and what they suggest instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.errors import BenchmarkError
from reports.run_files import read_arrays, read_columns

__all__ = ["Consensus", "consensus_of"]

JUDGED = ("train_given", "train_quality", "train_suspect")
KNOWN = ("train_true", "train_corrected", "train_open_set", "truth_known", "task")


@dataclass(frozen=True)
class Consensus:
    """Of n training samples and m methods.

    Attributes:
        methods: who voted. folder: of the run that names samples and classes.
        index: (n,) int64, where each sample is in the data set.
        given: (n,) int64. true: (n,) int64; None where nobody knows.
        foreign: (n,) bool, images that open-set noise has put in.
        rank: (n,) float64, mean over the methods of its rank by quality as a share, 0 = the most suspicious; equals share their mean.
        votes: (n,) int64, how many hold the label for wrong.
        suggested: (m, n) int64, another class than the given one, −1 = none.
    """

    methods: tuple[str, ...]
    folder: Path
    index: np.ndarray
    given: np.ndarray
    true: np.ndarray | None
    foreign: np.ndarray
    rank: np.ndarray
    votes: np.ndarray
    suggested: np.ndarray

    def most_suspicious(self, top: int) -> np.ndarray:
        """At most ``top`` rows, the lowest mean rank first, the lower index on a tie; foreign images show none of the classes."""
        order = np.lexsort((self.index, self.rank.round(12)))  # rounded: the order of a sum breaks no tie
        rows: np.ndarray = order[~self.foreign[order]][:top]
        return rows

    def suggestion(self, row: int) -> int | None:
        """What most methods suggest for a sample, the lower class on a tie."""
        counts = Counter(int(k) for k in self.suggested[:, row] if k >= 0)
        return min(counts, key=lambda k: (-counts[k], k)) if counts else None


@dataclass(frozen=True)
class _Judge:
    method: str
    folder: Path
    arrays: Mapping[str, np.ndarray]
    index: np.ndarray | None
    suggested: np.ndarray


def consensus_of(folders: Mapping[str, Path]) -> Consensus:
    """Ask the runs of several methods on the same data, noise and seed.

    A run whose files are missing or corrupt does not vote, nor does one whose quality is the same for all samples or not a number. Of runs
    that contradict each other about the given labels, those vote that most agree with.

    Args:
        folders: method → its run's folder.

    Raises:
        BenchmarkError: nobody votes, or no run says which samples these are.
    """
    judges, problems = [], []
    for method, folder in folders.items():
        try:
            judges.append(_judge(method, folder))
        except BenchmarkError as error:
            problems.append(str(error).replace(f"{folder}/", ""))
    if not judges:
        raise BenchmarkError(f"no run can be asked: {problems[0]}" if problems else "no method that ranks labels has finished")
    camps = Counter(judge.arrays["train_given"].tobytes() for judge in judges)
    majority = max(camps, key=lambda labels: camps[labels])  # the first of equals
    judges = [judge for judge in judges if judge.arrays["train_given"].tobytes() == majority]
    named = next((judge for judge in judges if judge.index is not None), None)
    if named is None or named.index is None:
        raise BenchmarkError("no run says which samples these are: samples.parquet is missing or corrupt; run a cell again")
    n, first = len(named.index), named.arrays
    known = "train_true" in first and bool(first.get("truth_known", True))
    return Consensus(
        methods=tuple(judge.method for judge in judges),
        folder=named.folder,
        index=named.index,
        given=first["train_given"],
        true=first["train_true"] if known else None,
        foreign=first.get("train_open_set", np.zeros(n, dtype=bool)),
        rank=np.mean([_shares(judge.arrays["train_quality"]) for judge in judges], axis=0),
        votes=np.stack([judge.arrays["train_suspect"] for judge in judges]).sum(axis=0),
        suggested=np.stack([judge.suggested for judge in judges]),
    )


def _judge(method: str, folder: Path) -> _Judge:
    path = folder / "predictions.npz"
    arrays = read_arrays(path, JUDGED, KNOWN)
    n = arrays["train_given"].shape[:1]
    kinds = {"train_quality": "fiu", "train_suspect": "b", "train_open_set": "b", "truth_known": "b", "task": "U"}
    for name, values in arrays.items():
        if values.dtype.kind not in kinds.get(name, "iu") or values.shape != (() if name in ("truth_known", "task") else n):
            raise BenchmarkError(f"{path} contradicts itself ({name} is {values.dtype} {values.shape}); run the cell again")
    quality = arrays["train_quality"]
    if not n[0] or np.isnan(quality).any() or (n[0] > 1 and quality.min() == quality.max()):
        raise BenchmarkError(f"{path} ranks nothing: its quality is the same for all samples, or not a number")
    index, suggested = None, arrays.get("train_corrected", np.full(n, -1))
    try:
        columns = read_columns(folder / "samples.parquet", ("index",), ("suggested",))
        if columns["index"].dtype.kind in "iu" and columns["index"].shape == n and columns["index"].min() >= 0:
            index = columns["index"]
        forecast = columns.get("suggested")
        if forecast is not None and forecast.dtype.kind in "iu" and forecast.shape == n:
            own = (suggested >= 0) & (suggested != arrays["train_given"])  # what the method says of the label comes first
            suggested = np.where(own, suggested, forecast)
    except BenchmarkError:
        pass  # another method's table may name the samples
    return _Judge(method, folder, arrays, index, np.where(suggested == arrays["train_given"], -1, suggested))


def _shares(quality: np.ndarray) -> np.ndarray:
    """(n,) float64 in [0, 1]."""
    from scipy.stats import rankdata

    shares: np.ndarray = (rankdata(quality) - 1) / max(len(quality) - 1, 1)
    return shares
