"""How long a cell will take, told by the finished runs of its folder; and how long many cells take side by side.

The cost of training is taken as proportional to epochs × samples. What a finished run says of another cell is its seconds times
the ratio of these; the estimate is the median over the runs that are most like the cell:

1. the same method with its parameters, data and network, for as many epochs on as large a subset;
2. the same for other epochs or another subset;
3. the same method with other parameters or another batch size;
4. the same method on other images of the same shape, where some run has shown how many the cell's data have.

Another method, another network or another device says nothing: there is no estimate then. Noise does not count.
"""

from __future__ import annotations

import functools
import heapq
import statistics
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.spec import canonical_json

if TYPE_CHECKING:
    from benchmark.store import RunStore

__all__ = ["CostModel", "Estimate", "FolderCosts", "Traits", "traits_of", "wall_seconds"]

FEWEST_FOR_INTERVAL = 3
"""Runs below which their scatter says nothing."""

LONGEST_S = 1e9
"""Thirty years: longer is no duration of a cell, but a file that somebody has changed."""
LARGEST = 10**12
"""More samples or epochs than any run has."""

NOT_WHOLE = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What JSON of another form than ours raises."""

BASES = ("the same cell", "other epochs or subset", "other settings of the method", "other data of this shape")
"""What runs have in common with a cell, from the most to the least."""


@dataclass(frozen=True)
class Estimate:
    """Expected seconds of one cell on one slot.

    Attributes:
        seconds: the median over the runs.
        low, high: their 10 % and 90 % quantiles, interpolated; None of fewer than three runs.
        runs: how many runs say so.
        basis: how they are like the cell, in words.
    """

    seconds: float
    low: float | None
    high: float | None
    runs: int
    basis: str


@dataclass(frozen=True)
class Traits:
    """What decides how long a cell takes."""

    method: str  # its name
    setting: str  # all of it, and the batch size
    images: str
    subset: float
    network: str
    epochs: float


@dataclass(frozen=True)
class _Run:
    """A finished run."""

    traits: Traits
    seconds: float
    device: str | None
    finished: str
    samples: int | None
    pool: int | None  # samples that train and validate, which a subset is taken of
    shape: str


class CostModel:
    """Learns from results, predicts for specs.

    Args:
        device: whose runs count, as ``host.device`` of their results names it; None: the device of the run that finished last.
    """

    def __init__(self, device: str | None = None) -> None:
        self._device = device
        self._runs: dict[str, _Run] = {}
        self._index: _Index | None = None

    def learn(self, result: Mapping[str, Any]) -> None:
        """Take in the content of a ``result.json``; one that did not finish, or lacks something, or was changed by hand, says nothing."""
        run, key = _run(result), str(result.get("run_key"))
        if run is None:
            self._runs.pop(key, None)
        else:
            self._runs[key] = run
        self._index = None

    def forget(self, key: str) -> None:
        """Leave a run out that is no longer there."""
        if self._runs.pop(key, None) is not None:
            self._index = None

    def predict(self, cell: Mapping[str, Any] | Traits) -> Estimate | None:
        """The expected duration of a cell, as :meth:`benchmark.spec.RunSpec.to_dict` writes it; None if no run here is like it."""
        if self._index is None:
            self._index = _Index(self._runs.values(), self._device)
        traits = cell if isinstance(cell, Traits) else traits_of(cell)
        return None if traits is None else self._index.estimate(traits)


class FolderCosts:
    """What the finished runs of a folder tell, for those who ask again and again: each result is read once, and again when it has changed.

    Args:
        store: the runs folder.
        device: as for :class:`CostModel`.
    """

    def __init__(self, store: RunStore, device: str | None = None) -> None:
        self._store, self._model = store, CostModel(device)
        self._stamps: dict[str, tuple[int, int]] = {}

    def model(self) -> CostModel:
        """The same model each time, with what is there now."""
        stamps = {}
        for key in self._store.keys():  # noqa: SIM118 - a store is no dict
            try:
                about = (self._store.folder(key) / "result.json").stat()
            except OSError:
                continue
            stamps[key] = (about.st_mtime_ns, about.st_ino)  # a result is replaced, never written over
            if stamps[key] != self._stamps.get(key):
                self._model.learn(self._store.result(key) or {"run_key": key})
        for key in self._stamps.keys() - stamps.keys():
            self._model.forget(key)
        self._stamps = stamps
        return self._model


class _Index:
    """The runs of one device by what they may tell of a cell."""

    def __init__(self, runs: Iterable[_Run], device: str | None) -> None:
        every = list(runs)
        if device is None and every:
            device = max(every, key=lambda run: run.finished).device
        self._groups: dict[Hashable, list[_Run]] = {}
        self._sizes: dict[str, _Run] = {}
        for run in every:
            if run.samples:
                self._sizes.setdefault(run.traits.images, run)  # the size of the data is the same on any device
            if run.device == device:
                for group in _groups(run.traits, run.shape):
                    self._groups.setdefault(group, []).append(run)
        self.estimate = functools.cache(self._estimate)

    def _estimate(self, cell: Traits) -> Estimate | None:
        known = self._sizes.get(cell.images)
        shape = known.shape if known else ""
        for basis, group in zip(BASES, _groups(cell, shape), strict=False):
            scaled = [self._scaled(run, cell) for run in self._groups.get(group, ())]
            found = [seconds for seconds in scaled if seconds is not None and seconds <= LONGEST_S]
            if found:
                return _summary(found, basis)
        return None

    def _scaled(self, run: _Run, cell: Traits) -> float | None:
        """The seconds of a run if it had the cell's epochs and samples; None where the samples of either are not known."""
        epochs = cell.epochs / run.traits.epochs
        if (run.traits.images, run.traits.subset) == (cell.images, cell.subset):
            return run.seconds * epochs
        samples = self._samples(cell)
        return None if not samples or not run.samples else run.seconds * epochs * samples / run.samples

    def _samples(self, cell: Traits) -> float | None:
        """How many samples a cell trains on, from a run on the same data, whatever its subset."""
        known = self._sizes.get(cell.images)
        if known is None or not known.samples or not known.pool:
            return None
        if known.traits.subset == cell.subset:
            return known.samples
        if known.traits.subset > 1:  # a number of samples: how many there are in all, it does not tell
            pool = cell.subset if cell.subset > 1 else None
        else:
            whole = known.pool / known.traits.subset
            pool = min(cell.subset, whole) if cell.subset > 1 else cell.subset * whole
        return None if pool is None else known.samples * pool / known.pool


def wall_seconds(durations: Iterable[float], slots: int, busy: Sequence[float] = ()) -> float:
    """When the last of these ends if each free slot takes the longest that is left; 0.0 of nothing.

    Args:
        durations: seconds each.
        slots: how many run at a time, at least one.
        busy: for how long the first slots are taken.

    Longest first is at most a third longer than the best order (Graham, Bounds on multiprocessing timing anomalies, 1969).
    """
    free = [*busy, *([0.0] * (max(1, slots) - len(busy)))]
    heapq.heapify(free)
    for seconds in sorted(durations, reverse=True):
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def _run(result: Mapping[str, Any]) -> _Run | None:
    """What a result tells; None for one that tells nothing."""
    try:
        data, host = result.get("data") or {}, result.get("host") or {}
        seconds, traits = _number((result.get("cost") or {}).get("seconds"), 0.0, LONGEST_S), traits_of(result.get("spec"))
        if result.get("status", "done") != "done" or seconds is None or traits is None:
            return None
        tiles, images, val = (_whole(data.get(name)) for name in ("tiles_train", "n_train", "n_val"))
        return _Run(
            traits,
            seconds,
            None if host.get("device") is None else str(host["device"]),
            str(result.get("finished") or ""),
            images if tiles is None else tiles,
            None if images is None or val is None else images + val,
            canonical_json([data.get("task"), data.get("image_shape")]),
        )
    except NOT_WHOLE:
        return None


def traits_of(spec: Mapping[str, Any] | None) -> Traits | None:
    """What counts of a cell; None for what is no spec, or has epochs or a subset that no run can have."""
    try:
        method, dataset, protocol = spec["method"], spec["dataset"], spec["protocol"]  # type: ignore[index]
        own = {name: value for name, value in dataset["params"].items() if name not in ("subset", "label_file")}
        subset, epochs = _number(dataset["params"].get("subset", 1.0), 0.0, LARGEST), _number(protocol["epochs"], 1.0, LARGEST)
        if not subset or epochs is None:
            return None
        return Traits(
            method=str(method["name"]),
            setting=canonical_json([method, protocol.get("batch_size")]),
            images=canonical_json([dataset["name"], own]),
            subset=subset,
            network=canonical_json([protocol.get(name) for name in ("backbone", "precision", "augmentation")]),
            epochs=epochs,
        )
    except NOT_WHOLE:
        return None


def _number(value: Any, low: float, high: float) -> float | None:
    """A number within bounds as a float; None for anything else, NaN among it."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and _number(value, 0, LARGEST) is not None else None


def _groups(traits: Traits, shape: str) -> list[Hashable]:
    """What a run or a cell is like, from the narrowest to the widest; the last only where the shape of its images is known."""
    named = (traits.method, traits.network)
    same = (*named, traits.images, traits.setting)
    return [(*same, traits.epochs, traits.subset), same, (*named, traits.images), *([(*named, None, shape)] if shape else [])]


def _summary(seconds: list[float], basis: str) -> Estimate:
    low = high = None
    if len(seconds) >= FEWEST_FOR_INTERVAL:
        deciles = statistics.quantiles(seconds, n=10, method="inclusive")
        low, high = deciles[0], deciles[-1]
    return Estimate(statistics.median(seconds), low, high, len(seconds), basis)
