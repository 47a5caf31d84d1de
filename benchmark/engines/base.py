"""What engines share: the job, its outcome, the options of a worker, and the protocol that every engine keeps."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from benchmark.errors import BenchmarkError

logger = logging.getLogger(__name__)

OutcomeStatus = Literal["done", "skipped", "diverged", "failed", "busy", "timeout", "killed"]


@dataclass(frozen=True)
class Job:
    """One registered run to execute.

    Attributes:
        label: its name for people.
        code: hash of the code that the driver would run it with; None takes any. Engines on other machines compare it with theirs.
        alike: equal for jobs that differ in their seed only; None for a job like no other.
    """

    key: str
    label: str
    code: str | None = None
    alike: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How one job ended.

    Attributes:
        status: ``done``, ``skipped`` and ``diverged`` have a committed result, ``failed`` an ``error.json``; ``busy`` is
            somebody else's; ``timeout`` and ``killed`` (the worker process ended) resume from their checkpoint.
        seconds: wall time.
        message: one line for people; empty if there is nothing to say.
    """

    key: str
    status: OutcomeStatus
    seconds: float
    message: str = ""


@dataclass(frozen=True)
class WorkerOptions:
    """How to run, never what: nothing here changes a run's identity.

    Attributes:
        runs: the runs folder.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``.
        data_root: downloads and caches; None is the default place.
        threads: CPU threads of one run. Sums are rounded otherwise with another number, so the default does not depend on
            the machine or on how many runs share it; ``--threads auto`` of the commands asks for that.
        checkpoint_seconds: least time between two checkpoints of a stage.
        timeout: seconds per attempt of a run; None is no limit. Only engines with processes of their own can enforce it.
        plugins: more plugin files and folders.
        stale: what to do with a result by other code, ``rerun`` or ``keep``.
        keep_model: keep the final networks as model.safetensors; a finished run without them is run again.
        profile: measure where the seconds of each run go; see :mod:`benchmark.profiling`.
        stack_seeds: train runs that differ in their seed only together, up to :data:`MOST_TOGETHER` in one worker.
        heartbeat_s, stale_s: of the leases.

    Raises:
        BenchmarkError: ``profile`` with ``stack_seeds``.
    """

    runs: Path
    device: str = "auto"
    data_root: Path | None = None
    threads: int = 1
    checkpoint_seconds: float = 10.0
    timeout: float | None = None
    plugins: tuple[str, ...] = ()
    stale: str = "rerun"
    keep_model: bool = False
    profile: bool = False
    stack_seeds: bool = False
    heartbeat_s: float = 15.0
    stale_s: float = 120.0

    def __post_init__(self) -> None:
        if self.profile and self.stack_seeds:
            raise BenchmarkError("--profile measures one run at a time and --stack-seeds trains several in one process; give one of them")

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable; :meth:`from_dict` reads it back."""
        data = dataclasses.asdict(self)
        return {**data, "runs": str(self.runs), "data_root": None if self.data_root is None else str(self.data_root)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WorkerOptions:
        """The inverse of :meth:`to_dict`. Raises KeyError or TypeError on anything else."""
        root = data.get("data_root")
        paths = {"runs": Path(data["runs"]), "data_root": None if root is None else Path(root)}
        return cls(**{**data, **paths, "plugins": tuple(data.get("plugins", ()))})


OnEvent = Callable[[dict[str, Any]], None]
"""Takes ``{"event": "start" | "epoch" | "message" | "end", "run_key": ..., ...}``; see docs/design.md for the fields."""

Execute = Callable[[str, WorkerOptions, OnEvent], Outcome]
"""Runs one registered key to its end: ``benchmark.worker.execute``, or a toy in tests."""


class Engine(Protocol):
    """Where workers run: :meth:`run` any number of times, then :meth:`close`. Every engine passes tests/engines/test_conformance.py."""

    def run(self, jobs: Sequence[Job], on_event: OnEvent) -> Iterator[Outcome]:
        """Yield one outcome per job, in the order in which they end; a job that fails never stops the others.

        ``on_event`` is called in the thread that iterates. Closing the iterator (``contextlib.closing``), or an exception
        such as KeyboardInterrupt inside it, stops all work at once; what was under way resumes on the next call.
        """
        ...

    def close(self) -> None:
        """Free what stays warm between two runs; closing twice does nothing. Called when no run is under way."""
        ...


MOST_TOGETHER = 16
"""Runs in one worker at most: their data, networks and activations are in memory at the same time."""


def groups_of(jobs: Sequence[Job], options: WorkerOptions, slots: int = 1) -> list[list[Job]]:
    """The jobs, those side by side that one worker trains together; each alone unless ``options.stack_seeds``.

    Groups are as large as they can be without leaving one of the slots idle, and start in the order of their first jobs.
    """
    if not options.stack_seeds:
        return [[job] for job in jobs]
    limit = max(1, min(MOST_TOGETHER, math.ceil(len(jobs) / max(1, slots))))
    groups: list[list[Job]] = []
    filling: dict[str, list[Job]] = {}
    for job in jobs:
        group = None if job.alike is None else filling.get(job.alike)
        if group is None or len(group) >= limit:
            group = []
            groups.append(group)
            if job.alike is not None:
                filling[job.alike] = group
        group.append(job)
    return groups


def default_execute() -> Execute:
    """The real worker; imported on use because it brings torch."""
    from benchmark import worker

    return worker.execute


def execute_safely(execute: Execute, key: str, options: WorkerOptions, on_event: OnEvent) -> Outcome:
    """The outcome of one job, ``failed`` for an exception that the worker let through; only exits are raised."""
    started = time.monotonic()
    try:
        return execute(key, options, on_event)
    except Exception as error:
        logger.exception("run %s ended with an error that the worker did not catch", key)
        return Outcome(key, "failed", time.monotonic() - started, f"{type(error).__name__}: {error}")
