"""Runs as tasks of SLURM job arrays, submitted through submitit; every node must see the runs folder and this package.

A task runs one key in a worker process, as the local engine does, and commits it itself under the lease. It tells the driver
how it ended in a small JSON file; for a task that squeue no longer lists and that left no word, the run's folder is asked. No
pickle is read back.
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
from dataclasses import dataclass
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

PATIENCE_S = 45.0
"""For files that a node has written and a network file system shows late; long enough for SLURM to say twice that a task is over."""

GIVE_UP_S = 600.0
"""How long a file system may refuse to be read: one that many machines share has bad minutes."""

END_S = 10.0
ANSWER_S = 60.0
"""Seconds that a command of SLURM has to answer."""


@dataclass
class _Submitted:
    """One task: submitit's job, how much of its events was read, since when it is over, and since when its outcome cannot be read."""

    job: Job
    task: Any
    read: int = 0
    over_since: float | None = None
    state: str = "no state known"
    unreadable_since: float | None = None


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
        self._said: set[str] = set()

    def run(self, jobs: Sequence[Job], on_event: OnEvent) -> Iterator[Outcome]:
        """See :class:`benchmark.engines.base.Engine`. Raises BenchmarkError if SLURM refuses the arrays."""
        if not jobs:
            return
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        folder = self.options.runs.resolve() / "logs" / f"slurm-{stamp}-{secrets.token_hex(2)}"
        self._said = set()
        for start in range(0, len(jobs), ARRAY):  # one after the other, since each array has a limit of its own on what runs at a time
            yield from self._run_array(jobs[start : start + ARRAY], folder, on_event)

    def _run_array(self, jobs: Sequence[Job], folder: Path, on_event: OnEvent) -> Iterator[Outcome]:
        out = {job.key: _Submitted(job, task) for job, task in zip(jobs, self._submit(jobs, folder), strict=True)}
        asked = readable = time.monotonic()
        try:
            while out:
                if time.monotonic() - asked > ENDED_EVERY_S:
                    self._find_ended(list(out.values()))
                    asked = time.monotonic()
                try:
                    there = {entry.name for entry in os.scandir(folder)}
                    readable = time.monotonic()
                except OSError as error:
                    self._warn_once("files", f"{folder} cannot be read: {error}; trying again")
                    if time.monotonic() - readable > GIVE_UP_S:
                        raise BenchmarkError(f"{folder} cannot be read: {error}; the same command goes on when it can") from error
                    time.sleep(POLL_S)
                    continue
                for key, submitted in list(out.items()):
                    ended = f"{key}{OUTCOME}" in there  # before the events: what was said up to the end is told
                    if f"{key}{EVENTS}" in there:
                        for event in self._new_events(folder / f"{key}{EVENTS}", submitted):
                            on_event(event)
                    outcome = self._read_outcome(folder / f"{key}{OUTCOME}", submitted) if ended else self._end_without_word(submitted)
                    if outcome is not None:
                        del out[key]
                        yield (self._committed(submitted.job) or outcome) if outcome.status == "killed" else outcome
                if out:
                    time.sleep(POLL_S)
        finally:
            self._cancel([submitted.task for submitted in out.values()])

    def close(self) -> None:
        """Nothing is held between two runs."""

    def _submit(self, jobs: Sequence[Job], folder: Path) -> list[Any]:
        import submitit

        logging.getLogger("submitit").setLevel(logging.CRITICAL)  # it prints
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

    def _find_ended(self, submitted: Sequence[_Submitted]) -> None:
        """Mark the tasks that are over. Where SLURM does not answer, none is."""
        if self.cluster == "slurm":
            arrays = ",".join(sorted({item.task.job_id.split("_")[0] for item in submitted}))
            listed = self._ask("squeue", "--noheader", "--array", "--format=%i", f"--jobs={arrays}")
            if listed is None:
                return
            left = set(listed.split())
            over = {item.job.key for item in submitted if item.task.job_id not in left}
        else:
            over = {item.job.key for item in submitted if item.task.done()}
        fresh = [item for item in submitted if item.job.key in over and item.over_since is None]
        for item in submitted:  # one that was preempted may be back in the queue
            item.over_since = (item.over_since or time.monotonic()) if item.job.key in over else None
        if fresh and self.cluster == "slurm":
            self._find_states(fresh, arrays)

    def _find_states(self, submitted: Sequence[_Submitted], arrays: str) -> None:
        """Let SLURM's accounting, where there is one, say how tasks ended."""
        told = self._ask("sacct", "--noheader", "--allocations", "--parsable2", "--format=JobID,State", f"--jobs={arrays}") or ""
        states = dict(line.split("|", 1) for line in told.splitlines() if "|" in line)
        for item in submitted:
            item.state = states.get(item.task.job_id, item.state)

    def _ask(self, *command: str) -> str | None:
        """What a command of SLURM prints; None, said once, where it fails."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SQUEUE_", "SACCT_"))}  # a user's filters
        try:
            answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ANSWER_S, env=environment)  # noqa: S603
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            reason = str(error)
        else:
            if answer.returncode == 0:
                return answer.stdout
            lines = answer.stderr.strip().splitlines()
            reason = lines[-1] if lines else f"exit code {answer.returncode}"
            if command[0] == "squeue" and "invalid job id" in reason.lower():  # nothing is left of the array
                return ""
        without = "how tasks ended is not known" if command[0] == "sacct" else "whether tasks are over is not known yet"
        self._warn_once(command[0], f"{command[0]} does not answer ({reason}): {without}")
        return None

    def _warn_once(self, about: str, text: str) -> None:
        if about not in self._said:
            self._said.add(about)
            logger.warning("%s", text)

    def _end_without_word(self, submitted: _Submitted) -> Outcome | None:
        """How a run ended whose task is over and wrote no outcome; None while it goes on, or its file may still appear."""
        if submitted.over_since is None:
            return None
        if (done := self._committed(submitted.job)) is not None:
            return done
        if time.monotonic() - submitted.over_since < PATIENCE_S:
            return None
        if self._store.status(submitted.job.key, submitted.job.code) is Status.RUNNING:  # its lease will tell
            return None
        task = submitted.task
        state = submitted.state if self.cluster == "slurm" else task.state
        told = f"its SLURM task {task.job_id} ended without a word ({state}); see {task.paths.stderr}"
        return Outcome(submitted.job.key, "killed", 0.0, told)

    def _committed(self, job: Job) -> Outcome | None:
        """The outcome of a run that has its result."""
        status, result = self._store.look(job.key, job.code)
        if status is not Status.DONE or result is None:
            return None
        return Outcome(job.key, result.get("status", "done"), 0.0, str(result.get("reason") or ""))

    def _new_events(self, path: Path, submitted: _Submitted) -> list[dict[str, Any]]:
        """Those in whole lines that were added since the last look; none where they cannot be read now."""
        try:
            with path.open("rb") as file:
                file.seek(submitted.read)
                *lines, rest = file.read().split(b"\n")
                submitted.read = file.tell() - len(rest)
        except OSError as error:
            self._warn_once("files", f"{path} cannot be read: {error}; trying again")
            return []
        events = []
        for line in lines:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and event.get("run_key") == submitted.job.key:
                    events.append(event)
        return events

    def _read_outcome(self, path: Path, submitted: _Submitted) -> Outcome | None:
        """What a task has said of its end; None as long as that cannot be read and may still be."""
        key = submitted.job.key
        try:
            found = json.loads(path.read_bytes())
            return Outcome(key, found["status"], float(found["seconds"]), str(found["message"]))
        except (OSError, ValueError, TypeError, KeyError) as error:
            submitted.unreadable_since = submitted.unreadable_since or time.monotonic()
            self._warn_once("files", f"{path} cannot be read: {error}; trying again")
            if time.monotonic() - submitted.unreadable_since < GIVE_UP_S:
                return None
            return Outcome(key, "killed", 0.0, f"{path} cannot be read: {error}")

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
