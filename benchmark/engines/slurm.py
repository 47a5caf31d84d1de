"""Runs as tasks of SLURM job arrays, submitted through submitit; every node must see the runs folder and this package.

A task runs one key in a worker process, as the local engine does, and commits it itself under the lease. It tells the driver
how it ended in a small JSON file; for a task that ended without a word, the run's folder is asked. No pickle is read back.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import subprocess
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark.engines.base import Job, OnEvent, Outcome, WorkerOptions
from benchmark.engines.local import WORKER
from benchmark.engines.slurm_task import EVENTS, OUTCOME, SlurmTask
from benchmark.errors import BenchmarkError
from benchmark.store import RunStore, Status

logger = logging.getLogger(__name__)

ARRAY = 1000
"""Tasks of one array; SLURM's usual limit is 1001."""

MINUTES = 240
"""Limit of a task if --slurm time= does not say otherwise. A task that reaches it is queued again and goes on from its checkpoint."""

POLL_S = 1.0
ENDED_EVERY_S = 30.0
"""Seconds between two questions to SLURM whether tasks have ended without a word."""

PATIENCE_S = 20.0
"""For files that a node has written and a network file system shows late."""

END_S = 10.0


@dataclass
class _Submitted:
    """One task: submitit's job, how much of its events was read, and since when SLURM says that it is over."""

    job: Job
    task: Any
    read: int = 0
    over_since: float | None = field(default=None)


class SlurmEngine:
    """Runs jobs as tasks of job arrays.

    Args:
        options: passed to the workers; the runs folder has to be on a file system that driver and nodes share.
        jobs: tasks that run at a time; 0 is submitit's default of 256.
        parameters: of submitit's SLURM executor, from :func:`benchmark.engines.choice.parse_slurm`.
        cluster: ``slurm``, or ``local`` for submitit's imitation of it on this machine.
        command: starts a worker, for tests.

    A task that is preempted or reaches its time limit is queued again (submitit's ``checkpoint``) and resumes. Tasks that
    have been submitted live on when this process is killed, and commit their runs; Ctrl-C cancels them.
    """

    def __init__(
        self,
        options: WorkerOptions,
        jobs: int = 0,
        parameters: Mapping[str, Any] | None = None,
        *,
        cluster: str = "slurm",
        command: Sequence[str] = WORKER,
    ) -> None:
        self.options, self.jobs, self.cluster = options, jobs, cluster
        self.parameters = dict(parameters or {})
        self.command = tuple(command)
        self._store = RunStore(options.runs)

    def run(self, jobs: Sequence[Job], on_event: OnEvent) -> Iterator[Outcome]:
        """See :class:`benchmark.engines.base.Engine`. Raises BenchmarkError if SLURM refuses the arrays."""
        if not jobs:
            return
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        folder = self.options.runs.resolve() / "logs" / f"slurm-{stamp}-{secrets.token_hex(2)}"
        out: dict[str, _Submitted] = {}
        asked = time.monotonic()
        try:
            for start in range(0, len(jobs), ARRAY):
                part = jobs[start : start + ARRAY]
                for job, task in zip(part, self._submit(part, folder), strict=True):
                    out[job.key] = _Submitted(job, task)
            while out:
                ask = time.monotonic() - asked > ENDED_EVERY_S
                asked = time.monotonic() if ask else asked
                there = {entry.name for entry in os.scandir(folder)}
                for key in list(out):
                    ended = f"{key}{OUTCOME}" in there  # before the events: what was said up to the end is told
                    if f"{key}{EVENTS}" in there:
                        for event in _new_events(folder / f"{key}{EVENTS}", out[key]):
                            on_event(event)
                    outcome = _read_outcome(folder / f"{key}{OUTCOME}", key) if ended else self._end_without_word(out[key], ask)
                    if outcome is not None:
                        del out[key]
                        yield outcome
                if out:
                    time.sleep(POLL_S)
        finally:
            self._cancel([submitted.task for submitted in out.values()])

    def close(self) -> None:
        """Nothing is held between two runs."""

    def _submit(self, jobs: Sequence[Job], folder: Path) -> list[Any]:
        import submitit

        task = SlurmTask({**self.options.to_dict(), "runs": str(self.options.runs.resolve())}, folder, self.command)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                executor = submitit.AutoExecutor(folder, cluster=self.cluster)
                executor.update_parameters(name="noisy-labels", timeout_min=MINUTES, cpus_per_task=self.options.threads, **self._slurm())
                return list(executor.map_array(task, [job.key for job in jobs], [job.label for job in jobs]))
        except Exception as error:  # whatever sbatch, the file system or submitit say
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise BenchmarkError(f"SLURM took no job array: {lines[-1] if lines else type(error).__name__}; see --slurm") from error

    def _slurm(self) -> dict[str, Any]:
        """Parameters that only SLURM understands."""
        if self.cluster != "slurm":
            return {}
        package = Path(__file__).resolve().parents[2]
        found = f'export PYTHONPATH="{package}${{PYTHONPATH:+:$PYTHONPATH}}"'
        own = {"array_parallelism": self.jobs or 256, "setup": [found, *self.parameters.get("setup", [])]}
        return {f"slurm_{name}": value for name, value in {**self.parameters, **own}.items()}

    def _end_without_word(self, submitted: _Submitted, ask: bool) -> Outcome | None:
        """How a run ended whose task is over and wrote no outcome; None while it goes on, or its file may still appear."""
        if submitted.over_since is None:
            if ask and submitted.task.done():
                submitted.over_since = time.monotonic()
            return None
        key = submitted.job.key
        status = self._store.status(key, submitted.job.code)
        if status is Status.DONE:
            result = self._store.result(key) or {}
            return Outcome(key, result.get("status", "done"), 0.0, str(result.get("reason") or ""))
        if time.monotonic() - submitted.over_since < PATIENCE_S:
            return None
        told = f"its SLURM task {submitted.task.job_id} ended without a word ({submitted.task.state}); see {submitted.task.paths.stderr}"
        return Outcome(key, "killed", 0.0, told)

    def _cancel(self, tasks: Sequence[Any]) -> None:
        """Cancel what is left, whole arrays at once; of an imitation on this machine, wait for the end."""
        if self.cluster == "slurm":
            arrays = sorted({task.job_id.split("_")[0] for task in tasks})
            if arrays:
                with contextlib.suppress(OSError):
                    subprocess.run(["scancel", *arrays], check=False, capture_output=True)  # noqa: S603, S607
            return
        for task in tasks:
            task.cancel(check=False)
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline and not all(task.done() for task in tasks):
            time.sleep(0.05)


def _new_events(path: Path, submitted: _Submitted) -> Iterator[dict[str, Any]]:
    """Whole lines that were added since the last look."""
    with path.open("rb") as file:
        file.seek(submitted.read)
        *lines, rest = file.read().split(b"\n")
        submitted.read = file.tell() - len(rest)
    for line in lines:
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict) and event.get("run_key") == submitted.job.key:
                yield event


def _read_outcome(path: Path, key: str) -> Outcome:
    try:
        found = json.loads(path.read_bytes())
        return Outcome(key, found["status"], float(found["seconds"]), str(found["message"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        return Outcome(key, "killed", 0.0, f"{path} cannot be read: {error}")
