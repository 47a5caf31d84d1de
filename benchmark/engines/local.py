"""Several worker processes on this machine, each kept warm for run after run; a crash costs one attempt of one run."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmark.engines.base import Job, OnEvent, Outcome, WorkerOptions, groups_of
from benchmark.engines.process import WorkerEnded, WorkerProcess
from benchmark.errors import BenchmarkError
from benchmark.training.names import RUNS_PER_GPU

logger = logging.getLogger(__name__)

GRACE_S = 5.0
"""Seconds between SIGTERM and SIGKILL."""

WORKER = (sys.executable, "-m", "benchmark", "worker", "--serve")


class _StoppedError(Exception):
    """The run is over, and with it the wait of a slot for its worker."""


@dataclasses.dataclass(frozen=True)
class _SlotEnded:
    """A slot's thread is over; ``reason`` if that was not for want of jobs."""

    reason: str | None = None


_Inbox = queue.SimpleQueue[dict[str, Any] | Outcome | _SlotEnded]


class LocalEngine:
    """Runs jobs in worker processes, which stay warm between two calls of :meth:`run` (importing torch takes seconds) until :meth:`close`.

    Args:
        options: passed to the workers.
        jobs: runs at a time.
        gpus: ids for CUDA_VISIBLE_DEVICES; at least one run at a time on each, ``jobs`` dealt round robin over them.
        command: starts a worker that calls :func:`benchmark.engines.serve.serve_stdio`.

    A run that takes longer than ``options.timeout`` ends as ``timeout``; so do runs that are trained together and take longer than as
    many times that. One whose worker dies by a signal (SIGKILL for
    want of memory, a segmentation fault) is tried once more in a fresh worker, then ends as ``killed``; runs that were trained together
    when it died are tried again one by one, twice at most. Workers log to
    ``<runs>/logs/slot-<i>.log``. They end with this process, however it ends.
    """

    def __init__(self, options: WorkerOptions, jobs: int = 1, gpus: Sequence[str] = (), command: Sequence[str] = WORKER) -> None:
        if jobs < 1:
            raise BenchmarkError(f"--jobs {jobs}: at least 1 run at a time")
        self.slots = max(jobs, len(gpus))
        self.gpus = tuple(gpus)
        self.command = tuple(command)
        self.options = options
        self.workers: dict[int, WorkerProcess] = {}
        """By slot; the slot's thread alone touches its own while a run goes on."""

    def run(self, jobs: Sequence[Job], on_event: OnEvent) -> Iterator[Outcome]:
        """See :class:`benchmark.engines.base.Engine`. Raises BenchmarkError if no worker can be started."""
        waiting: queue.SimpleQueue[list[Job]] = queue.SimpleQueue()
        groups = groups_of(jobs, self.options, self.slots)
        for group in groups:
            waiting.put(group)
        inbox: _Inbox = queue.SimpleQueue()
        stop = threading.Event()
        slots = [_Slot(self, number, waiting, inbox, stop) for number in range(min(self.slots, len(groups)))]
        remaining, running = len(jobs), len(slots)
        reasons: list[str] = []
        try:
            for slot in slots:
                slot.start()
            while remaining:
                item = inbox.get()
                if isinstance(item, Outcome):
                    remaining -= 1
                    yield item
                elif isinstance(item, dict):
                    on_event(item)
                else:
                    running -= 1
                    reasons += [item.reason] if item.reason else []
                    if not running and remaining:
                        raise BenchmarkError(reasons[0] if reasons else f"{remaining} runs were lost by their workers")
        finally:
            stop.set()
            processes = [slot.current_process() for slot in slots]
            if remaining:
                _stop(processes)
            for slot in slots:
                if slot.is_alive():
                    slot.join(GRACE_S)
            if remaining:
                self.close()

    def close(self) -> None:
        """Let the warm workers leave."""
        workers, self.workers = list(self.workers.values()), {}
        for worker in workers:
            worker.end_input()
        for worker in workers:
            worker.close(GRACE_S)

    def environment(self, number: int) -> dict[str, str]:
        """The environment of the worker in a slot."""
        threads = str(self.options.threads)
        package = str(Path(__file__).resolve().parents[2])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONFAULTHANDLER": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        if self.gpus:
            place = number % len(self.gpus)
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus[place]
            environment[RUNS_PER_GPU] = str(len(range(place, self.slots, len(self.gpus))))
        return environment

    def log_path(self, number: int) -> Path:
        """Where the worker in a slot logs."""
        return self.options.runs / "logs" / f"slot-{number}.log"


class _Slot(threading.Thread):
    """Feeds one worker process for one call of run; replaces it when it dies."""

    def __init__(
        self, engine: LocalEngine, number: int, waiting: queue.SimpleQueue[list[Job]], inbox: _Inbox, stop: threading.Event
    ) -> None:
        super().__init__(name=f"slot-{number}", daemon=True)
        self.engine = engine
        self.number = number
        self.log = engine.log_path(number)
        self.waiting, self.inbox, self.stop = waiting, inbox, stop
        self._starting = threading.Lock()

    def run(self) -> None:
        """Take jobs until there are none; a slot whose worker does not start takes none and leaves them to the others."""
        ended = _SlotEnded()
        try:
            while not self.stop.is_set() and not self.waiting.empty():
                self._ready_worker()
                with contextlib.suppress(queue.Empty):
                    self._run_group(self.waiting.get_nowait())
        except _StoppedError:
            pass
        except (WorkerEnded, OSError) as error:
            ended = _SlotEnded(f"the worker of slot {self.number} does not start: {error}; see {self.log}")
        except Exception as error:
            logger.exception("slot %d", self.number)
            ended = _SlotEnded(f"slot {self.number} broke: {type(error).__name__}: {error}")
        finally:
            if ended.reason and not self.stop.is_set():
                logger.warning("%s", ended.reason)
            process = self.engine.workers.get(self.number)
            if process is not None and (ended.reason or not process.alive()):
                self.engine.workers.pop(self.number, None)
                process.close(GRACE_S)
            self.inbox.put(ended)

    def current_process(self) -> WorkerProcess | None:
        """The worker; none is started any more once ``stop`` is set and this has returned."""
        with self._starting:
            return self.engine.workers.get(self.number)

    def _run_group(self, jobs: Sequence[Job]) -> None:
        """Jobs that the worker trains together, mostly one; when it dies, those that go on are tried again, each by itself."""
        left = {job.key: job for job in jobs}
        for attempt in (1, 2):
            started = time.monotonic()
            try:
                self._attempt(left, started)
            except WorkerEnded as end:
                if self.stop.is_set():
                    return
                if not left:
                    return
                if end.by_signal and attempt == 1:
                    for job in left.values():
                        self._tell(job, f"the worker ended by {end}; the run is tried once more")
                    if len(left) > 1:  # which of them it was, or whether they were too many, shows when each has a worker to itself
                        for job in left.values():
                            self._run_group([job])
                        return
                    continue
                again = " twice" if attempt == 2 else ""
                for key in left:
                    said = f"the worker ended by {end}{again}; see {self.log}"
                    self.inbox.put(Outcome(key, "killed", time.monotonic() - started, said))
            return

    def _attempt(self, left: dict[str, Job], started: float) -> None:
        """One try; takes the jobs away that have ended. Raises WorkerEnded if the worker dies."""
        worker = self._ready_worker()
        worker.send({"run_keys": list(left)})
        timeout = self.engine.options.timeout
        deadline = None if timeout is None else time.monotonic() + timeout * len(left)
        limit = timeout and timeout * len(left)
        while left:
            message = worker.receive(deadline)
            if message is None:
                self._time_out(worker, left, started, limit or 0.0)
                return
            if not self._take(message, left):
                self.inbox.put({**message, "slot": self.number})

    def _take(self, message: dict[str, Any], left: dict[str, Job]) -> bool:
        """Whether a message is the outcome of one of these jobs, which then has ended."""
        if message.get("event") != "outcome" or message.get("key") not in left:
            return False
        job = left.pop(message["key"])
        self.inbox.put(Outcome(job.key, message["status"], float(message["seconds"]), str(message.get("message", ""))))
        return True

    def _time_out(self, worker: WorkerProcess, left: dict[str, Job], started: float, limit: float) -> None:
        """Stop the worker; runs may still have ended in that moment."""
        worker.terminate(GRACE_S)
        with contextlib.suppress(WorkerEnded):
            while left and (message := worker.receive(None)) is not None:
                self._take(message, left)
        text = f"stopped after {limit:g} s; it resumes from its last checkpoint; see {self.log}"
        for key in left:
            self.inbox.put(Outcome(key, "timeout", time.monotonic() - started, text))

    def _ready_worker(self) -> WorkerProcess:
        """The slot's live worker, started if need be.

        Raises WorkerEnded if it dies before it is ready, and _StoppedError if the run is over first.
        """
        workers = self.engine.workers
        process = workers.get(self.number)
        if process is not None and not process.alive():
            del workers[self.number]
            process.close(0.0)
            process = None
        if process is None:
            with self._starting:
                if self.stop.is_set():
                    raise _StoppedError
                process = WorkerProcess(self.engine.command, self.engine.environment(self.number), self.log)
                workers[self.number] = process
            process.send({"options": self.engine.options.to_dict()})
        while not process.ready:  # the others may end the run meanwhile; the next one goes on waiting
            message = process.receive(time.monotonic() + 0.2)
            process.ready = message is not None and message.get("event") == "ready"
            if message is None and self.stop.is_set():
                raise _StoppedError
        return process

    def _tell(self, job: Job, text: str) -> None:
        said = f"{job.label} ({job.key}): {text}; see {self.log}"
        self.inbox.put({"event": "message", "run_key": job.key, "message": said, "slot": self.number})


def _stop(workers: Sequence[WorkerProcess | None]) -> None:
    """SIGTERM to all, SIGKILL to those that are left after the grace; also when a second Ctrl-C cuts the wait short."""
    running = [worker for worker in workers if worker is not None]
    try:
        for worker in running:
            worker.signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        for worker in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(max(0.0, deadline - time.monotonic()))
    finally:
        for worker in running:
            worker.kill()
