"""One run after the other in this process: for one cell, for tests and for debuggers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from benchmark import profiling
from benchmark.engines.base import Execute, Job, OnEvent, Outcome, WorkerOptions, default_execute, execute_safely, groups_of


class SerialEngine:
    """Runs jobs in this process. It cannot enforce ``options.timeout``, and a crash of the interpreter ends it all.

    Args:
        options: passed to the worker.
        execute: the worker; ``benchmark.worker.execute`` if None.
    """

    def __init__(self, options: WorkerOptions, execute: Execute | None = None) -> None:
        self.options = options
        self._execute = execute

    def run(self, jobs: Sequence[Job], on_event: OnEvent) -> Iterator[Outcome]:
        """See :class:`benchmark.engines.base.Engine`."""
        begun = time.perf_counter()
        execute = self._execute or default_execute()
        profiling.ready_after(time.perf_counter() - begun)
        for group in groups_of(jobs, self.options):
            if len(group) == 1:
                yield execute_here(execute, group[0].key, self.options, on_event)
                continue
            from benchmark.training.together import execute_together

            with contextlib.closing(execute_together(execute, [job.key for job in group], self.options, on_event)) as outcomes:  # type: ignore[type-var]
                yield from outcomes

    def close(self) -> None:
        """Nothing is held."""


def execute_here(execute: Execute, key: str, options: WorkerOptions, on_event: OnEvent) -> Outcome:
    """The outcome of one job in this process: ``killed`` for a method that calls ``sys.exit``, as if it had a process of its own."""
    started = time.monotonic()
    try:
        return execute_safely(execute, key, options, on_event)
    except SystemExit as end:
        return Outcome(key, "killed", time.monotonic() - started, f"the run called sys.exit({end.code!r})")
