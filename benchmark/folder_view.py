"""All cells of a runs folder and their states, kept up to date by reading only what has changed.

A folder's time stamp changes when a file in it is created, replaced or removed, and that is how results, errors and leases come and
go. So a cell is looked at again when its folder's stamp has changed, and always while it runs.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark.code_hash import code_hash
from benchmark.cost import CostModel, Traits, traits_of, wall_seconds
from benchmark.errors import BenchmarkError
from benchmark.failures import Failure, printable
from benchmark.lease import FILE as LEASE
from benchmark.lease import Holder
from benchmark.registry import Registry
from benchmark.spec import RunSpec
from benchmark.store import RunStore, Status

__all__ = ["CellState", "FolderView", "Live", "failure_text", "state_of"]

UNREADABLE = "unreadable"
UNSETTLED = ("running", "dead", "missing")
"""States that a driver still has work with."""

SETTLING_NS = 2_000_000_000
"""A folder whose stamp is younger than this when it is read may change once more within the stamp's resolution: it is read again."""

TAIL_BYTES = 16_384
EPOCHS, SYSTEM = "history.jsonl", "system.jsonl"


@dataclass(frozen=True, slots=True)
class CellState:
    """One cell: its labels and seed (None if the spec cannot be read), its state, and a remark on it in one line.

    ``state`` is a :class:`~benchmark.store.Status` or ``unreadable``; ``ended`` is the status of its result, if it has one.
    """

    key: str
    method: str | None
    dataset: str | None
    noise: str | None
    seed: int | None
    state: str
    detail: str = ""
    ended: str | None = None

    @property
    def label(self) -> str:
        """The cell in words."""
        return f"{self.method} {self.dataset} {self.noise} seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Live:
    """How far a running cell is; None where no file tells yet.

    ``epoch`` counts from 1; ``beat_seconds`` since the last sign of life; ``seconds`` since it began; ``gpu_percent`` and
    ``gpu_memory_mb`` of its device.
    """

    stage: str | None
    epoch: int | None
    epochs: int | None
    beat_seconds: float | None
    seconds: float | None
    host: str | None
    gpu_percent: float | None
    gpu_memory_mb: float | None


@dataclass(slots=True)
class _Seen:
    stamp: int
    settled: bool
    cell: CellState
    traits: Traits | None


class FolderView:
    """The cells below one store.

    Attributes:
        cells: key → cell, as of the last :meth:`refresh`.
        model: what the finished runs tell of the others' durations.
    """

    def __init__(self, store: RunStore, registry: Registry) -> None:
        self.store, self.registry, self.model = store, registry, CostModel()
        self._seen: dict[str, _Seen] = {}

    @property
    def cells(self) -> dict[str, CellState]:
        """Key → cell, in the order of the keys."""
        return {key: seen.cell for key, seen in self._seen.items()}

    @property
    def counts(self) -> dict[str, int]:
        """State → number of cells; those that occur."""
        return dict(sorted(Counter(seen.cell.state for seen in self._seen.values()).items()))

    def refresh(self) -> int:
        """Look at what has changed; returns how many cells were read."""
        read, seen = 0, {}
        for key in self.store.keys():  # noqa: SIM118 - a store is no dict
            now = time.time_ns()
            try:
                stamp = (self.store.root / key).stat().st_mtime_ns
            except OSError:
                continue  # removed or moved away in this moment
            known = self._seen.get(key)
            if known is None or known.stamp != stamp or not known.settled:
                known = self._read(key, stamp, now)
                read += 1
            seen[key] = known
        for key in self._seen.keys() - seen.keys():
            self.model.forget(key)
        self._seen = seen
        return read

    def seconds_left(self) -> tuple[float | None, int]:
        """Expected seconds until nothing is left to run, on as many slots as are busy now, and how many cells that leaves out.

        None where nothing runs or nothing is known.
        """
        running, waiting, unknown = [], [], 0
        for seen in self._seen.values():
            if seen.cell.state not in UNSETTLED:
                continue
            estimate = self.model.predict(seen.traits) if seen.traits is not None else None
            if estimate is None:
                unknown += 1
            if seen.cell.state == "running":
                spent = self.live(seen.cell.key).seconds or 0.0
                running.append(max(0.0, estimate.seconds - spent) if estimate else 0.0)
            elif estimate is not None:
                waiting.append(estimate.seconds)
        if not running or not (any(running) or waiting):
            return None, unknown
        return wall_seconds(waiting, len(running), running), unknown

    def failures(self) -> list[Failure]:
        """The cells that failed, by key."""
        return [Failure(key, seen.cell.label, seen.cell.detail) for key, seen in self._seen.items() if seen.cell.state == "failed"]

    def live(self, key: str) -> Live:
        """How far a running cell is, from the ends of its files."""
        folder = self.store.folder(key)
        holder, line, system = Holder.read(folder / LEASE), _last_row(folder / EPOCHS), _last_row(folder / SYSTEM)
        epoch, epochs = line.get("epoch"), line.get("epochs")
        try:
            beat: float | None = max(0.0, time.time() - (folder / LEASE).stat().st_mtime)
        except OSError:
            beat = None
        return Live(
            printable(str(line["stage"])) if line.get("stage") else None,
            epoch + 1 if isinstance(epoch, int) else None,
            epochs if isinstance(epochs, int) else None,
            beat,
            None if holder is None else _age(holder.since),
            None if holder is None else printable(str(holder.host)),
            _number(system.get("gpu_percent")),
            _number(system.get("gpu_memory_mb")),
        )

    def _read(self, key: str, stamp: int, now: int) -> _Seen:
        settled = now - stamp > SETTLING_NS
        try:
            spec = self.store.spec(key)
        except BenchmarkError as error:
            return _Seen(stamp, settled, CellState(key, None, None, None, None, UNREADABLE, printable(str(error))), None)
        status, result = state_of(self.store, self.registry, spec, key)
        if result is None:
            self.model.forget(key)
        else:
            self.model.learn(result)
        ended = None if result is None else str(result.get("status", "done"))
        method, dataset, noise = (printable(spec.labels.get(kind, getattr(spec, kind).name)) for kind in ("method", "dataset", "noise"))
        cell = CellState(key, method, dataset, noise, spec.seed, str(status), self._detail(key, status, result), ended)
        settled = settled and status not in (Status.RUNNING, Status.DEAD)  # heart-beats leave the folder's stamp as it is
        return _Seen(stamp, settled, cell, traits_of(spec.to_dict()) if cell.state in UNSETTLED else None)

    def _detail(self, key: str, status: Status, result: dict[str, Any] | None) -> str:
        if status is Status.FAILED:
            return failure_text(self.store, key)
        if status in (Status.DONE, Status.STALE) and result is not None and result.get("status", "done") != "done":
            return printable(f"{result['status']}: {result.get('reason') or ''}")
        return ""


def state_of(store: RunStore, registry: Registry, spec: RunSpec, key: str) -> tuple[Status, dict[str, Any] | None]:
    """A run's state under today's code, and its result; under any code if its plugins are not to be found here."""
    try:
        code: str | None = code_hash(spec, registry)
    except (BenchmarkError, OSError, SyntaxError):
        code = None
    return store.look(key, code)


def failure_text(store: RunStore, key: str) -> str:
    """Why a run failed, in one line that is fit for a terminal."""
    error = store.error(key) or {}
    kind, message = error.get("type", "error"), error.get("message", "")
    return printable(str(message) if kind == BenchmarkError.__name__ else f"{kind}: {message}")


def _last_row(path: Path) -> dict[str, Any]:
    """The last whole JSON line of a log; an empty dict if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]
        row = json.loads(lines[-1]) if lines else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def _age(since: str) -> float | None:
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds())
    except (TypeError, ValueError):
        return None


def _number(value: Any) -> float | None:
    try:
        number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
