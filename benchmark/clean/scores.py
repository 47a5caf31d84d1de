"""What the methods say of every sample, from the files of their runs: on the labels as they are, and with known wrong ones among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.errors import BenchmarkError

__all__ = ["HELD_OUT", "Scores", "rank_shares", "scores_of"]

HELD_OUT = ("val", "test")
"""Parts that no method trains on, numbered 1 and 2 in ``Scores.part``."""

NEEDED = ("train_given", "train_quality", "train_suspect", "val_labels", "val_selected", "test_labels", "test_selected")
KNOWN = ("train_true", "val_true", "truth_known")
COLUMNS = ("index", "suggested", "confidence")
HSA_EASY, HSA_HARD = 0, 1


@dataclass(frozen=True)
class Scores:
    """Of n samples, m methods and K classes; one row a sample of the data set, in its order.

    Attributes:
        methods: short names.
        given: (n,) int64 labels of these runs; in the check with the known wrong ones.
        part: (n,) uint8, 0 = a method trained on it, 1 = held out for validation, 2 = for testing. Held-out samples are judged by the
            forecast of a model that has not seen them.
        suspicion: (m, n) float64 in [0, 1], rank share within what was judged alike (part 0, or 1 and 2), 1 = the most suspicious; ties
            share their mean.
        flagged: (m, n) bool, what the method itself holds for wrong (held out: the forecast is another class).
        suggested: (m, n) int64, the class its final model takes for the most likely.
        confidence: (m, n) float64, the probability of that class.
        hardness: (n,) float64 in [0, 1], higher is harder, NaN = not said: what hsa says of samples that it does not hold for wrong. Those
            that it calls hard have their rank share in the upper half, those that it calls easy in the lower one.
        true: (n,) int64; None where nobody knows, which is the rule.
    """

    methods: tuple[str, ...]
    given: np.ndarray
    part: np.ndarray
    suspicion: np.ndarray
    flagged: np.ndarray
    suggested: np.ndarray
    confidence: np.ndarray
    hardness: np.ndarray
    true: np.ndarray | None

    @property
    def held_out(self) -> np.ndarray:
        """(n,) bool: judged by a forecast."""
        held: np.ndarray = self.part > 0
        return held


def rank_shares(values: np.ndarray) -> np.ndarray:
    """(m,) numbers → float64 in [0, 1], 1 = the largest; ties share their mean, and a single one has a half."""
    from scipy.stats import rankdata

    if len(values) < 2:
        return np.full(len(values), 0.5)
    shares: np.ndarray = (rankdata(values) - 1) / (len(values) - 1)
    return shares


def scores_of(folders: Mapping[str, Path], n: int, parts: Mapping[str, np.ndarray], labels: np.ndarray | None = None) -> Scores:
    """Read one finished run of every method, all on the same labels.

    A method whose quality is the same for all training samples, or no number, does not vote.

    Args:
        folders: method → its run's folder.
        n: samples of the data set.
        parts: ``train``, ``val``, ``test`` → positions in the data set, as :class:`~benchmark.prepare.PreparedData` has them: the files
            do not say where held-out samples lie.
        labels: (n,) int64, the data set's own: where a reference is known, the files hold that one of the test part, and what is to be
            judged are the labels as given. None: they are the same.

    Raises:
        BenchmarkError: a file is missing or corrupt or contradicts the others, the parts are no split of the n samples, or nobody votes.
    """
    where = {name: np.asarray(parts[name], dtype=np.int64) for name in ("train", *HELD_OUT)}
    everything = np.sort(np.concatenate(list(where.values())))
    if not np.array_equal(everything, np.arange(n)):
        raise BenchmarkError(
            f"the parts hold {len(everything)} positions, not each of the {n} samples once; leave subset and imbalance out"
        )
    part = np.zeros(n, dtype=np.uint8)
    for number, name in enumerate(HELD_OUT, 1):
        part[where[name]] = number
    runs = {method: _read(folder, where, n, labels) for method, folder in folders.items()}
    first = next(iter(runs.values()), None)
    if first is None:
        raise BenchmarkError("no method was asked; name at least one in --methods")
    for method, run in runs.items():
        if not np.array_equal(run["given"], first["given"]):
            raise BenchmarkError(f"{folders[method]} has other labels than {next(iter(folders.values()))}; run the cells again")
    voting = {method: run for method, run in runs.items() if run["votes"]}
    if not voting:
        raise BenchmarkError(f"none of {', '.join(folders)} ranks the labels: their quality is the same for all samples; ask other methods")
    rows = list(voting.values())
    hard = [run["hardness"] for run in rows if "hardness" in run]
    truths = [run["true"] for run in rows if "true" in run]
    return Scores(
        methods=tuple(voting),
        given=first["given"],
        part=part,
        **{name: np.stack([run[name] for run in rows]) for name in ("suspicion", "flagged", "suggested", "confidence")},
        hardness=hard[0] if hard else np.full(n, np.nan),
        true=truths[0] if truths else None,
    )


def _read(folder: Path, where: Mapping[str, np.ndarray], n: int, given: np.ndarray | None) -> dict[str, np.ndarray]:
    """One run's answers, (n,) each, and ``votes``; ``given`` as in :func:`scores_of`."""
    from reports.run_files import read_arrays, read_columns

    path = folder / "predictions.npz"
    arrays = read_arrays(path, NEEDED, KNOWN)
    columns = read_columns(folder / "samples.parquet", COLUMNS, ("state", "history_mean"))
    _check(path, folder / "samples.parquet", arrays, columns, where)
    train, held = where["train"], np.concatenate([where[name] for name in HELD_OUT])
    forecast = np.concatenate([arrays[f"{name}_selected"] for name in HELD_OUT]).astype(np.float64)
    labels = np.concatenate([arrays["val_labels"], arrays["test_labels"] if given is None else given[where["test"]]])
    quality = arrays["train_quality"].astype(np.float64)

    def whole(of_train: np.ndarray, of_held: np.ndarray, kind: type) -> np.ndarray:
        values: np.ndarray = np.zeros(n, dtype=kind)
        values[train], values[held] = of_train, of_held
        return values

    run = {
        "votes": np.array(np.isfinite(quality).all() and quality.min() < quality.max()),
        "given": whole(arrays["train_given"], labels, np.int64),
        "suspicion": whole(rank_shares(-quality), rank_shares(-forecast[np.arange(len(labels)), labels]), np.float64),
        "flagged": whole(arrays["train_suspect"], forecast.argmax(1) != labels, bool),
        "suggested": whole(columns["suggested"], forecast.argmax(1), np.int64),
        "confidence": whole(columns["confidence"], forecast.max(1), np.float64).clip(0, 1),
    }
    if bool(arrays.get("truth_known", True)) and "train_true" in arrays and "val_true" in arrays:
        run["true"] = whole(arrays["train_true"], np.concatenate([arrays["val_true"], arrays["test_labels"]]), np.int64)
    if "state" in columns and "history_mean" in columns:
        run["hardness"] = whole(_hardness(columns["state"], columns["history_mean"]), np.full(len(held), np.nan), np.float64)
    return run


def _hardness(state: np.ndarray, history_mean: np.ndarray) -> np.ndarray:
    """(t,) float64: easy samples in [0, ½), hard ones in (½, 1], others NaN."""
    hardness = np.full(len(state), np.nan)
    for code, base in ((HSA_EASY, 0.0), (HSA_HARD, 0.501)):
        rows = state == code
        hardness[rows] = base + 0.499 * rank_shares(-history_mean[rows].astype(np.float64))
    return hardness


def _check(
    path: Path, table: Path, arrays: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray], where: Mapping[str, np.ndarray]
) -> None:
    """Refuse arrays that do not fit each other or the parts; what comes from a file is not believed."""
    classes = arrays["val_selected"].shape[-1] if arrays["val_selected"].ndim == 2 else 0
    for name, values in arrays.items():
        part = name.split("_")[0]
        size = () if name == "truth_known" else (len(where[part]), classes) if name.endswith("_selected") else (len(where[part]),)
        kind = "b" if name in ("truth_known", "train_suspect") else "f" if name.endswith("_selected") else "iu"
        if name == "train_quality":
            kind = "fiu"
        if values.shape != size or values.dtype.kind not in kind:
            raise BenchmarkError(f"{path}: {name} is {values.dtype} {values.shape}, not {size}; run the cell again")
        if kind == "iu" and values.size and not 0 <= values.min() <= values.max() < classes:
            raise BenchmarkError(f"{path}: {name} has labels outside [0, {classes}); run the cell again")
        if name.endswith("_selected") and not np.isfinite(values).all():
            raise BenchmarkError(f"{path}: {name} has forecasts that are no numbers; run the cell again")
    for name, values in columns.items():
        kind = "iu" if name in ("index", "suggested", "state") else "fiu"
        if values.shape != (len(where["train"]),) or values.dtype.kind not in kind:
            raise BenchmarkError(
                f"{table}: {name} is {values.dtype} {values.shape}, one of each training sample expected; run the cell again"
            )
    if not np.array_equal(columns["index"], where["train"]):
        raise BenchmarkError(f"{table} lists other samples than this data's training part; run the cell again")
    suggested, confidence = columns["suggested"], columns["confidence"]
    if not 0 <= suggested.min() <= suggested.max() < classes:
        raise BenchmarkError(f"{table} suggests classes outside [0, {classes}); run the cell again")
    if not ((confidence >= -1e-4) & (confidence <= 1 + 1e-4)).all():
        raise BenchmarkError(f"{table}: a confidence is no probability; run the cell again")
