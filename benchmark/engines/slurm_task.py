"""What a task of a SLURM array does: one run in a worker process; its events and its outcome go into files."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.engines.base import Job, WorkerOptions
from benchmark.engines.local import LocalEngine
from benchmark.files import append_line, atomic_write_text

OUTCOME, EVENTS = ".outcome.json", ".events.jsonl"


class SlurmTask:
    """Called by submitit on a node, with the key and the label of a job.

    Args:
        options: of the worker, as a dict.
        folder: shared with the driver; ``<key>.events.jsonl`` and ``<key>.outcome.json`` are written there.
        command: starts a worker.
    """

    def __init__(self, options: dict[str, Any], folder: Path, command: Sequence[str]) -> None:
        self.options, self.folder, self.command = options, folder, tuple(command)

    def __call__(self, key: str, label: str) -> None:
        """Run the key to its end. A signal that submitit takes for preemption ends it by SystemExit, after :meth:`checkpoint`."""
        engine = _TaskEngine(WorkerOptions.from_dict(self.options), key, self.command)
        events = self.folder / f"{key}{EVENTS}"
        with contextlib.closing(engine):
            (outcome,) = engine.run([Job(key, label)], lambda event: append_line(events, event))
        atomic_write_text(self.folder / f"{key}{OUTCOME}", json.dumps(dataclasses.asdict(outcome)) + "\n")

    def checkpoint(self, key: str, label: str) -> Any:
        """What is to be queued again: the same; the run's folder has its checkpoint."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, key, label)


class _TaskEngine(LocalEngine):
    """A local engine for one run, with a log of its own: many tasks share the runs folder."""

    def __init__(self, options: WorkerOptions, key: str, command: Sequence[str]) -> None:
        super().__init__(options, 1, command=command)
        self.key = key

    def log_path(self, number: int) -> Path:
        return self.options.runs / "logs" / f"slurm-{self.key}.log"
