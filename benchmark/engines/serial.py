"""One run after the other in this process: for one cell, for tests and for debuggers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmark.engines.base import Execute, Job, OnEvent, Outcome, WorkerOptions, default_execute, execute_safely


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
        execute = self._execute or default_execute()
        for job in jobs:
            yield execute_safely(execute, job.key, self.options, on_event)
