"""Where workers run: in this process (``serial``) or in several on this machine (``local``)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from benchmark.engines.base import Engine, Job, Outcome, WorkerOptions

__all__ = ["Engine", "Job", "Outcome", "WorkerOptions", "available_cores", "make_engine"]


def make_engine(options: WorkerOptions, jobs: int = 1, gpus: Sequence[str] = ()) -> Engine:
    """The simplest engine that can do it: ``serial`` for one job at a time without GPU list and timeout, else ``local``.

    Args:
        jobs: runs at a time.
        gpus: ids for CUDA_VISIBLE_DEVICES; at least one run at a time on each, ``jobs`` dealt round robin over them.
    """
    if jobs == 1 and not gpus and options.timeout is None:
        from benchmark.engines.serial import SerialEngine

        return SerialEngine(options)
    from benchmark.engines.local import LocalEngine

    return LocalEngine(options, jobs, tuple(gpus))


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
