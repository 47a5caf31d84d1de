"""Where workers run: in this process (``serial``), in several on this machine (``local``), or on other machines (``ray``, ``slurm``)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from benchmark.engines.base import Engine, Job, Outcome, WorkerOptions
from benchmark.engines.choice import ENGINES, EngineChoice

__all__ = ["ENGINES", "Engine", "EngineChoice", "Job", "Outcome", "WorkerOptions", "available_cores", "make_engine"]


def make_engine(options: WorkerOptions, jobs: int = 1, gpus: Sequence[str] = (), choice: EngineChoice | None = None) -> Engine:
    """The engine that was chosen; imports only that one.

    Args:
        jobs: runs at a time. Of ``ray`` and ``slurm`` 0 is as many as the cluster bears.
        gpus: ids for CUDA_VISIBLE_DEVICES; at least one run at a time on each, ``jobs`` dealt round robin over them.
        choice: ``auto`` if None.

    Raises:
        BenchmarkError: options that contradict each other; see :meth:`EngineChoice.check`.
    """
    choice = choice or EngineChoice()
    choice.check(jobs, gpus, options.device, options.timeout, options.stack_seeds)
    name = choice.name
    if name == "auto":
        name = "serial" if jobs == 1 and not gpus and options.timeout is None else "local"
    if name == "serial":
        from benchmark.engines.serial import SerialEngine

        return SerialEngine(options)
    if name == "ray":
        from benchmark.engines.ray_cluster import RayEngine

        return RayEngine(options, jobs, address=choice.address, gpus_per_run=choice.gpus_per_run)
    if name == "slurm":
        from benchmark.engines.slurm import SlurmEngine

        return SlurmEngine(options, jobs, choice.slurm)
    from benchmark.engines.local import LocalEngine

    return LocalEngine(options, jobs, tuple(gpus))


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
