"""Jobs for the toy worker."""

import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmark.engines import Engine, Job, WorkerOptions
from benchmark.engines.local import LocalEngine
from benchmark.store import RunStore

TOY = Path(__file__).with_name("toy_worker.py")


class Bench:
    """A runs folder, a plan of what the toy does, and the command of a toy worker."""

    command = (sys.executable, str(TOY))
    toy = TOY

    def __init__(self, root: Path) -> None:
        self.runs = root / "runs"
        self.runs.mkdir()
        self.engines: list[Engine] = []

    def local(self, jobs: int = 1, gpus: Sequence[str] = (), command: Sequence[str] | None = None, **changes: object) -> LocalEngine:
        """An engine that is closed after the test."""
        self.engines.append(LocalEngine(self.options(**changes), jobs, gpus, command or self.command))
        return self.engines[-1]

    def options(self, **changes: object) -> WorkerOptions:
        return WorkerOptions(**{"runs": self.runs, "data_root": self.runs, "threads": 1, **changes})

    def jobs(self, actions: Sequence[str]) -> list[Job]:
        plan = {f"{number:016x}": what for number, what in enumerate(actions)}
        (self.runs / "plan.json").write_text(json.dumps(plan))
        return [Job(key, what, alike="the same") for key, what in plan.items()]

    def finished(self) -> list[str]:
        path = self.runs / "done.txt"
        return sorted(path.read_text().split()) if path.exists() else []

    def began(self, job: Job) -> list[str] | None:
        """pid, GPU, OMP threads, threads of the last attempt; None before it."""
        path = self.runs / f"{job.key}.began"
        return path.read_text().split() if path.exists() else None


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for engine in made.engines:
        engine.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of a Ray cluster on this machine, with logical GPUs, and this process joined to it. A test may add nodes and end them."""
    pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 0, "include_dashboard": False})
    made.add_node(num_cpus=2, num_gpus=2)
    ray.init(made.address, log_to_driver=False, logging_level=logging.ERROR)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the driver commits each key."""
    count: Counter[str] = Counter()
    original = RunStore.commit

    def commit(self: RunStore, key: str, result: Mapping[str, Any]) -> None:
        count[key] += 1
        original(self, key, result)

    monkeypatch.setattr(RunStore, "commit", commit)
    return count
