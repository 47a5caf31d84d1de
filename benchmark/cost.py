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
import math
import statistics
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.spec import canonical_json

__all__ = ["CostModel", "Estimate", "Traits", "traits_of", "wall_seconds"]

FEWEST_FOR_INTERVAL = 3
"""Runs below which their scatter says nothing."""

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
    epochs: int


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
        try:
            run = _run(result)
        except (KeyError, TypeError, ValueError, AttributeError):
            run = None
        key = str(result.get("run_key"))
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
        return self._index.estimate(cell if isinstance(cell, Traits) else traits_of(cell))


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
            found = [seconds for run in self._groups.get(group, ()) if (seconds := self._scaled(run, cell)) is not None]
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
    seconds = (result.get("cost") or {}).get("seconds")
    if result.get("status", "done") != "done" or not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        return None
    data, host = result.get("data") or {}, result.get("host") or {}
    tiles, images, val = data.get("tiles_train"), data.get("n_train"), data.get("n_val")
    samples = tiles if isinstance(tiles, int) else images if isinstance(images, int) else None
    return _Run(
        traits_of(result["spec"]),
        float(seconds),
        None if host.get("device") is None else str(host["device"]),
        str(result.get("finished") or ""),
        samples,
        images + val if isinstance(images, int) and isinstance(val, int) else None,
        canonical_json([data.get("task"), data.get("image_shape")]),
    )


def traits_of(spec: Mapping[str, Any]) -> Traits:
    """What counts of a cell; KeyError, TypeError, ValueError or AttributeError for what is no spec."""
    method, dataset, protocol = spec["method"], spec["dataset"], spec["protocol"]
    own = {name: value for name, value in dataset["params"].items() if name not in ("subset", "label_file")}
    return Traits(
        method=str(method["name"]),
        setting=canonical_json([method, protocol.get("batch_size")]),
        images=canonical_json([dataset["name"], own]),
        subset=float(dataset["params"].get("subset", 1.0)),
        network=canonical_json([protocol.get(name) for name in ("backbone", "precision", "augmentation")]),
        epochs=max(1, int(protocol["epochs"])),
    )


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
