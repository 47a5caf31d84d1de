"""What every engine has to keep. A new engine is one more line in ENGINES."""

import runpy
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from benchmark.engines import Engine
from benchmark.engines.base import WorkerOptions
from benchmark.engines.serial import SerialEngine
from benchmark.store import RunStore


def serial(bench: Any) -> Engine:
    return SerialEngine(bench.options(), runpy.run_path(str(bench.toy))["execute"])


def local(jobs: int) -> Callable[[Any], Engine]:
    return lambda bench: bench.local(jobs)


def ray(bench: Any) -> Engine:
    from benchmark.engines.ray_cluster import RayEngine

    return RayEngine(bench.options(), command=bench.command)


def slurm(bench: Any) -> Engine:
    pytest.importorskip("submitit")
    from benchmark.engines.slurm import SlurmEngine

    return SlurmEngine(bench.options(), cluster="local", command=bench.command)


def serial_together(bench: Any) -> Engine:
    return SerialEngine(bench.options(stack_seeds=True), runpy.run_path(str(bench.toy))["execute"])


def local_together(jobs: int) -> Callable[[Any], Engine]:
    return lambda bench: bench.local(jobs, stack_seeds=True)


FAST = {"serial": serial, "local-1": local(1), "local-2": local(2)}
FAST |= {"serial-together": serial_together, "local-1-together": local_together(1), "local-2-together": local_together(2)}
SLOW = {"ray": ray, "slurm-local": slurm}
ENGINES = {**FAST, **SLOW}


@pytest.fixture(params=[*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def engine(request: pytest.FixtureRequest, bench: Any) -> Iterator[Engine]:
    if request.param == "ray":
        request.getfixturevalue("cluster")
    with closing(ENGINES[request.param](bench)) as made:
        yield made


class TestEngine:
    def test_one_outcome_per_job(self, engine: Engine, bench: Any) -> None:
        jobs = bench.jobs(["work"] * 5)
        events: list[dict] = []
        outcomes = list(engine.run(jobs, events.append))
        assert sorted(outcome.key for outcome in outcomes) == [job.key for job in jobs] == bench.finished()
        assert {outcome.status for outcome in outcomes} == {"done"}
        for job in jobs:
            own = [event for event in events if event["run_key"] == job.key]
            assert [event["event"] for event in own] == ["start", "epoch", "epoch"]
            assert [event.get("epoch") for event in own] == [None, 0, 1]
        assert {row["run_key"] for row in RunStore(bench.runs).rows()} == {job.key for job in jobs}

    def test_a_failure_stops_nobody(self, engine: Engine, bench: Any) -> None:
        jobs = bench.jobs(["raise", "work", "busy", "loose", "work"])
        outcomes = {outcome.key: outcome for outcome in engine.run(jobs, lambda event: None)}
        assert [outcomes[job.key].status for job in jobs] == ["failed", "done", "busy", "failed", "done"]
        assert outcomes[jobs[0].key].message == "ValueError: not today"
        assert outcomes[jobs[2].key].message == "somebody else"

    def test_again_does_nothing(self, engine: Engine, bench: Any) -> None:
        jobs = bench.jobs(["work"] * 2)
        for _ in range(2):
            assert [outcome.status for outcome in engine.run(jobs, lambda event: None)] == ["done"] * 2
        assert len(bench.finished()) == 2

    def test_rounds(self, engine: Engine, bench: Any) -> None:
        """A search runs in rounds; what fails in one leaves the next alone."""
        jobs = bench.jobs(["work", "raise", *["work"] * 4])
        found = [[outcome.status for outcome in engine.run(part, lambda event: None)] for part in (jobs[:1], jobs[1:2], jobs[2:])]
        assert found == [["done"], ["failed"], ["done"] * 4]

    def test_close_twice_and_before_any_run(self, engine: Engine, bench: Any) -> None:
        for _ in range(2):
            engine.close()
        assert [outcome.status for outcome in engine.run(bench.jobs(["work"]), lambda event: None)] == ["done"]
        for _ in range(2):
            engine.close()

    def test_no_jobs(self, engine: Engine) -> None:
        assert list(engine.run([], lambda event: None)) == []

    def test_libraries_may_print(self, engine: Engine, bench: Any) -> None:
        jobs = bench.jobs(["print", "work"])
        assert [outcome.status for outcome in engine.run(jobs, lambda event: None)] == ["done"] * 2

    def test_closing_stops(self, engine: Engine, bench: Any) -> None:
        jobs = bench.jobs(["work", *["slow"] * 12])
        with closing(engine.run(jobs, lambda event: None)) as outcomes:
            next(outcomes)
        finished = len(bench.finished())
        assert finished < len(jobs)
        assert len(list(engine.run(jobs, lambda event: None))) == len(jobs)
        assert sorted(set(bench.finished())) == [job.key for job in jobs]  # one that is stopped just before its commit works again
        assert {row["run_key"] for row in RunStore(bench.runs).rows()} == {job.key for job in jobs}

    def test_an_error_in_the_callback_comes_out(self, engine: Engine, bench: Any) -> None:
        def broken(event: dict) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            list(engine.run(bench.jobs(["work"] * 2), broken))
        assert RunStore(bench.runs).status("0" * 16, None) != "running"


def test_options_survive_json(bench: Any) -> None:
    for options in (bench.options(), bench.options(data_root=bench.runs, plugins=("a.py",), timeout=3.0)):
        assert WorkerOptions.from_dict(options.to_dict()) == options
