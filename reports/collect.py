"""Evidence from the run folders of a comparison: one pass over the files, one run in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.metrics.calibration import BINS
from reports.escape import one_line
from reports.evidence import LARGEST_CONFUSION, LISTED_CONFUSIONS, Band, Calibration, Confusion, Detection, Evidence
from reports.rows import Row
from reports.run_files import class_names
from reports.run_parts import CURVES, RECALL, RunParts, TestPart, read_parts
from reports.tables import Comparison

__all__ = ["NO_FOLDER", "FolderOf", "Progress", "collect", "evidence_of"]

FolderOf = Callable[[str], Path | None]
"""A run's key → its folder; None where only its result is known."""

Progress = Callable[[int, int], None]
"""Told how much is done, of how much."""

NO_FOLDER = "only its result is here: history and predictions are in the run's folder"
LONGEST_REASON = 200
"""Characters."""

BAG_CLASSES = ("negative", "positive")
COSTS = ("seconds", "samples_per_second", "peak_memory_mb", "gpu_peak_memory_mb", "parameters")


def collect(comparison: Comparison, folder_of: FolderOf, *, progress: Progress | None = None) -> dict[tuple[int, str], Evidence]:
    """(position of the group, method) → what lies behind each entry of a comparison.

    Args:
        comparison: its entries' ``run_keys`` are read, and of ``runs`` the costs.
        folder_of: where each run lies.
        progress: told after each run.
    """
    rows = {row["run_key"]: row for row in comparison.runs}
    total, done, found = sum(len(entry.run_keys) for group in comparison.groups for entry in group.entries), 0, {}

    def tell() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    for position, group in enumerate(comparison.groups):
        for entry in group.entries:
            runs = dict(zip(entry.seeds, entry.run_keys, strict=False))
            folders = {seed: folder_of(key) for seed, key in runs.items()}
            own = {seed: rows[key] for seed, key in runs.items() if key in rows}
            found[position, entry.method] = evidence_of(folders, own, comparison.task, tell)
    return found


def evidence_of(folders: Mapping[int, Path | None], rows: Mapping[int, Row], task: str, tell: Callable[[], None] | None = None) -> Evidence:
    """What lies behind one method under one condition.

    Args:
        folders: seed → the run's folder; None where only its result is known.
        rows: seed → the run's flat row.
        task: of the data.
        tell: called after each run.
    """
    parts: dict[int, RunParts] = {}
    missing: dict[int, str] = {}
    for seed, folder in sorted(folders.items()):
        if folder is None:
            missing[seed] = NO_FOLDER
        else:
            try:
                parts[seed] = _fitting(read_parts(folder, task, rows.get(seed, {}).get("selected/threshold")), parts.values())
            except BenchmarkError as error:
                # where the folder lies is nobody's business but its owner's
                missing[seed] = one_line(str(error).replace(f"{folder}/", ""))[:LONGEST_REASON]
        if tell is not None:
            tell()
    first = next((folder for seed, folder in sorted(folders.items()) if seed in parts and folder is not None), None)
    tested = [part.test for part in parts.values() if part.test is not None]
    length = max((len(curve) for part in parts.values() for curve in part.curves.values()), default=0)
    chosen = [rows[seed]["epochs/selected"] for seed in parts if rows.get(seed, {}).get("epochs/selected") is not None]
    curves = {name: [part.curves[name] for part in parts.values() if name in part.curves] for name in CURVES}
    return Evidence(
        seeds=tuple(parts),
        missing=missing,
        epochs=tuple(range(length)),
        curves={name: _band(values, length) for name, values in curves.items() if values},
        selected=float(np.mean(chosen)) if chosen else None,
        classes=_classes(first, tested, task),
        confusion=_confusion(tested),
        calibration=_calibration(tested),
        detection=_detection(list(parts.values())),
        cost=_cost(list(rows.values())),
    )


def _fitting(part: RunParts, others: Iterable[RunParts]) -> RunParts:
    """The part, if its forecasts are of as many classes as those of the seeds before it."""
    K = next((other.test.classes for other in others if other.test is not None), None)
    if part.test is not None and K not in (None, part.test.classes):
        raise BenchmarkError(f"predictions.npz has {part.test.classes} classes where other seeds have {K}; run the cell again")
    return part


def _classes(folder: Path | None, tested: Sequence[TestPart], task: str) -> tuple[str, ...]:
    """Names of the classes; their numbers where the result does not have as many names."""
    if folder is None or not tested:
        return ()
    if task == "bags":
        return BAG_CLASSES
    K = tested[0].classes
    named = class_names(folder)
    return named if len(named) == K else tuple(map(str, range(K)))


def _band(values: Sequence[np.ndarray], length: int) -> Band:
    """Over seeds, each as far as it goes; NaN is no value."""
    table = np.full((len(values), length), np.nan)
    for row, series in zip(table, values, strict=True):
        row[: len(series)] = series
    known = ~np.isnan(table)
    mean = np.where(known, table, 0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    low, high = np.fmin.reduce(table, axis=0), np.fmax.reduce(table, axis=0)
    return Band(_plain(mean.clip(low, high)), _plain(low), _plain(high))  # the mean of equals may be off by a rounding


def _plain(values: np.ndarray) -> tuple[float | None, ...]:
    return tuple(None if math.isnan(value) else value for value in values.tolist())


def _confusion(tested: Sequence[TestPart]) -> Confusion | None:
    if not tested:
        return None
    K = tested[0].classes
    every = np.concatenate([part.pairs for part in tested])
    pairs, place = np.unique(every, return_inverse=True)
    counts = np.bincount(place, np.concatenate([part.counts for part in tested])).astype(np.int64)
    true, called = np.divmod(pairs, K)
    of_class = np.bincount(true, counts, K)
    recalls = []
    for part in tested:
        own, predicted = np.divmod(part.pairs, K)
        total = np.bincount(own, part.counts, K)
        recalls.append(np.bincount(own, part.counts * (own == predicted), K) / np.where(total > 0, total, np.nan))
    confused = np.flatnonzero(true != called)
    listed = confused[np.argsort(-counts[confused], kind="stable")][:LISTED_CONFUSIONS]
    top = tuple((int(true[i]), int(called[i]), float(counts[i] / of_class[true[i]])) for i in listed)
    matrix = None
    if K <= LARGEST_CONFUSION:
        matrix = tuple(map(tuple, np.bincount(pairs, counts, K * K).astype(np.int64).reshape(K, K).tolist()))
    return Confusion(matrix, _band(recalls, K), top)


def _calibration(tested: Sequence[TestPart]) -> Calibration | None:
    if not tested:
        return None
    samples, confidence, right = np.sum([part.bins for part in tested], axis=0)
    held = np.where(samples > 0, samples, np.nan)
    edges = tuple(edge / BINS for edge in range(BINS + 1))
    return Calibration(edges, _plain(confidence / held), _plain(right / held), tuple((samples / samples.sum()).tolist()))


def _detection(parts: Sequence[RunParts]) -> Detection | None:
    curves = [part.precision for part in parts if part.precision is not None]
    shares = [part.wrong for part in parts if part.wrong is not None]
    return Detection(RECALL, _band(curves, len(RECALL)), float(np.mean(shares))) if curves else None


def _cost(rows: Sequence[Row]) -> dict[str, float]:
    known = {name: [row[f"cost/{name}"] for row in rows if row.get(f"cost/{name}") is not None] for name in COSTS}
    return {name: float(np.mean(values)) for name, values in known.items() if values}
