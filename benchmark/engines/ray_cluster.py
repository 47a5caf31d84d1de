"""Runs on the nodes of a Ray cluster, without a shared file system: specs travel there, finished run folders travel back.

The driver holds a run's lease while it is out, writes what comes back into its own runs folder, and commits it once. Ray
places runs on CPUs and on GPUs or shares of them; those whose node or Ray worker died are sent again from here, for Ray's own
retries have no bound where memory runs out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.engines.base import Job, OnEvent, Outcome, OutcomeStatus, WorkerOptions
from benchmark.engines.parcel import Files, pack_plugins, unpack_run
from benchmark.engines.ray_address import join, one_line
from benchmark.engines.ray_capacity import Capacity
from benchmark.engines.ray_entry import entry
from benchmark.engines.ray_node import Mailbox, Order
from benchmark.errors import BenchmarkError, LeaseLostError
from benchmark.lease import BusyError, Lease
from benchmark.store import RESULT, SPEC, RunStore, Status

logger = logging.getLogger(__name__)

RETRIES = 2
"""Further attempts of a run whose node or Ray worker died."""

POLL_S = 0.2
EVENTS_S, EVENTS_OF_ENDED_S = 5.0, 30.0
"""Seconds to wait for events, while runs go on and when one has just ended: its last words come before its outcome."""


@dataclass(frozen=True)
class _Out:
    """A run that is on its way or on a node."""

    job: Job
    lease: Lease
    started: float
    order: dict[str, Any]
    attempt: int = 1


class _LostError(Exception):
    """What became of a run is not known, and it may be sent again."""


class RayEngine:
    """Runs jobs on a Ray cluster; see docs/engines.md for what travels and what is tried again.

    Args:
        options: passed to the workers, but for the runs folder, which is the driver's alone.
        jobs: runs at a time; 0 is as many as the cluster's CPUs and GPUs bear.
        address: ``host:port`` of the head node, ``auto`` for a cluster on this machine; None starts an instance of its own on the loopback
            interface. A connection that this process has already is used, and left as it is.
        gpus_per_run: a share of a GPU or a number of them; None gives a run no GPU.
        command: starts a worker, for tests.
    """

    def __init__(
        self,
        options: WorkerOptions,
        jobs: int = 0,
        *,
        address: str | None = None,
        gpus_per_run: float | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        self.options, self.jobs, self.address = options, jobs, address
        self.gpus = gpus_per_run or 0
        self.command = None if command is None else tuple(command)
        self._store = RunStore(options.runs)
        self._plugins: list[tuple[str, Files]] = []
        self._task: Any = None
        self._mailbox: Any = None
        self._taking: Any = None
        self._ours = False
        self._capacity = Capacity(options.threads, self.gpus)

    def run(self, jobs: Sequence[Job], on_event: OnEvent) -> Iterator[Outcome]:
        """See :class:`benchmark.engines.base.Engine`. Raises BenchmarkError if there is no cluster, or none with what a run needs."""
        if not jobs:
            return
        ray = self._connect()
        waiting, out = deque(jobs), dict[Any, _Out]()
        try:
            while waiting or out:
                while waiting and len(out) < (self.jobs or max(1, self._capacity.count(ray))):
                    sent = self._send(waiting.popleft())
                    if isinstance(sent, Outcome):
                        yield sent
                    else:
                        out |= sent
                ready, _ = ray.wait(list(out), timeout=POLL_S) if out else ([], [])
                patience = EVENTS_OF_ENDED_S if ready else EVENTS_S
                for event in self._events({item.job.key for item in out.values()}, patience):
                    on_event(event)
                for ref in ready:
                    try:
                        outcome = self._arrival(ref, out[ref])
                    except _LostError as error:
                        on_event(_lost_message(out[ref], error))
                        out |= self._submit(dataclasses.replace(out[ref], attempt=out[ref].attempt + 1))
                        del out[ref]
                    else:
                        out.pop(ref).lease.release()
                        yield outcome
                if self._capacity.stranded(ray):
                    left = [*(item.job for item in out.values()), *waiting]
                    waiting.clear()
                    _take_back(ray, out)
                    yield from (Outcome(job.key, "killed", 0.0, self._capacity.why_stranded()) for job in left)
        finally:
            _take_back(ray, out)

    def close(self) -> None:
        """Leave the cluster, and end it if it is an instance of our own."""
        if self._task is None:
            return
        import ray

        with contextlib.suppress(Exception):
            ray.kill(self._mailbox)
        self._task = self._mailbox = self._taking = None
        if self._ours:
            ray.shutdown()
            self._ours = False

    def _connect(self) -> Any:
        """Join the cluster, once; the module ``ray``."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if self.address is None and "ray" not in sys.modules:  # which reads this on import: our own instance is to listen on loopback only
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        import ray

        if self._task is not None:
            return ray
        self._plugins = pack_plugins(self.options.plugins)
        if not ray.is_initialized():
            join(ray, self.address)
            self._ours = True
        try:
            self._capacity.check(ray)
            here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
            self._mailbox = ray.remote(Mailbox).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()
            needs = {"num_cpus": self.options.threads, "num_gpus": self.gpus}
            self._task = ray.remote(entry(str(Path(__file__).resolve().parents[2]))).options(**needs, max_retries=0)
        except BaseException:
            if self._ours:
                ray.shutdown()
            raise
        return ray

    def _send(self, job: Job) -> Outcome | dict[Any, _Out]:
        """Take the run's lease and hand it to Ray; an outcome at once if there is nothing to do, or somebody else does it."""
        lease, started = self._store.lease(job.key), time.monotonic()
        try:
            lease.acquire()
        except BusyError as error:
            return Outcome(job.key, "busy", 0.0, str(error))
        except BenchmarkError as error:
            return Outcome(job.key, "failed", 0.0, str(error))
        try:
            if (done := self._committed(job)) is not None:
                lease.release()
                return done
            if self._store.result(job.key) is not None or self._store.error(job.key) is not None:
                self._store.archive(job.key)  # stale, or failed before
            path = self._store.folder(job.key) / SPEC
            spec = path.read_bytes() if path.exists() else None
            order = Order(job.key, job.label, spec, self.options.to_dict(), self._plugins, self.command, str(Path.cwd()), self.gpus)
            return self._submit(_Out(job, lease, started, dataclasses.asdict(order)))
        except (OSError, BenchmarkError) as error:
            lease.release()
            return Outcome(job.key, "failed", 0.0, " ".join(str(error).split()))
        except BaseException:
            lease.release()
            raise

    def _submit(self, item: _Out) -> dict[Any, _Out]:
        return {self._task.remote(item.order, self._mailbox): item}

    def _committed(self, job: Job) -> Outcome | None:
        """The outcome of a run that has its result already, say by another driver."""
        if self._store.status(job.key, job.code) is not Status.DONE:
            return None
        result = self._store.result(job.key) or {}
        return Outcome(job.key, result.get("status", "done"), 0.0, str(result.get("reason") or ""))

    def _arrival(self, ref: Any, item: _Out) -> Outcome:
        """Take over what a node gives back; never raises for what is in it. Raises _LostError if it is to be sent again."""
        import ray

        lost = (
            ray.exceptions.WorkerCrashedError,
            ray.exceptions.NodeDiedError,
            ray.exceptions.OutOfMemoryError,
            ray.exceptions.ObjectLostError,
        )
        key, seconds = item.job.key, time.monotonic() - item.started
        status: OutcomeStatus
        try:
            answer = ray.get(ref)
            outcome = Outcome(**answer["outcome"])
            _check_code(answer, item.job)
            unpack_run(answer["files"], self._store, key, item.lease)
            return self._with_log(outcome, answer)
        except ray.exceptions.RayTaskError as error:
            status, text = "failed", f"its Ray worker: {one_line(error.cause)}"
        except ray.exceptions.RayError as error:
            if isinstance(error, lost) and item.attempt <= RETRIES:
                raise _LostError(one_line(error)) from error
            status, text = "killed", f"Ray gave it up in attempt {item.attempt} of {RETRIES + 1}: {one_line(error)}"
        except LeaseLostError as error:
            done = self._committed(item.job)
            status, text = (done.status, done.message) if done else ("busy", str(error))
        except OSError as error:
            full = error.errno == errno.ENOSPC
            text = f"no space left below {self.options.runs}; free some and give the same command again" if full else one_line(error)
            status = "failed"
        except BenchmarkError as error:
            status, text = "failed", str(error)
        return Outcome(key, status, seconds, text)

    def _with_log(self, outcome: Outcome, answer: dict[str, Any]) -> Outcome:
        """The outcome with its node, and with the end of the worker's log laid beside the runs where it ended badly."""
        if not answer["log"]:
            return outcome
        path = self.options.runs / "logs" / f"ray-{outcome.key}.log"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(answer["log"])
        if outcome.status == "failed":  # has a log of its own
            return outcome
        return dataclasses.replace(outcome, message=f"{outcome.message}, on node {answer['node']}; see {path}")

    def _events(self, keys: set[str], patience_s: float) -> list[dict[str, Any]]:
        """What the runs with these keys have said since the last look; what a busy machine does not deliver in time comes with the next."""
        import ray

        if self._taking is None:
            self._taking = self._mailbox.take.remote()
        try:
            taken = ray.get(self._taking, timeout=patience_s)
        except ray.exceptions.GetTimeoutError:
            return []
        except ray.exceptions.RayError:  # it restarts if its node dies
            taken = []
        self._taking = None
        return [event for event in taken if event.get("run_key") in keys]


def _lost_message(item: _Out, error: _LostError) -> dict[str, Any]:
    job, attempt = item.job, item.attempt + 1
    text = f"{job.label} ({job.key}) was lost and is sent again, attempt {attempt} of {RETRIES + 1}: {error}"
    return {"event": "message", "run_key": job.key, "message": text}


def _take_back(ray: Any, out: dict[Any, _Out]) -> None:
    """Cancel runs and give their leases back."""
    while out:
        ref, item = out.popitem()
        with contextlib.suppress(Exception):
            ray.cancel(ref, force=True)
        item.lease.release()


def _check_code(answer: dict[str, Any], job: Job) -> None:
    """BenchmarkError if the node runs other code than the driver: its results would count as stale for ever."""
    if job.code is None or RESULT not in answer["files"]:
        return
    with contextlib.suppress(ValueError, AttributeError):  # no JSON, or no object: refused when it is unpacked
        if json.loads(answer["files"][RESULT]).get("code_hash") != job.code:
            raise BenchmarkError(f"node {answer['node']} runs other code than this machine; install the same version there")
