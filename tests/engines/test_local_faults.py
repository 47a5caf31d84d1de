"""The local engine when things go wrong: kills, hangs, dead parents, two drivers, noisy libraries, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmark.engines import local
from benchmark.engines.local import LocalEngine
from benchmark.errors import BenchmarkError
from benchmark.store import RunStore, Status
from benchmark.training.names import RUNS_PER_GPU
from tests.waiting import gone, wait_for

DRIVER = """
import json, sys
from pathlib import Path
from benchmark.engines import Job, WorkerOptions
from benchmark.engines.local import LocalEngine
runs, *command = sys.argv[1:]
jobs = [Job(key, what) for key, what in json.loads((Path(runs) / "plan.json").read_text()).items()]
engine = LocalEngine(WorkerOptions(runs=Path(runs), data_root=Path(runs), threads=1), 2, command=command)
print(*sorted({outcome.status for outcome in engine.run(jobs, lambda event: None)}))
"""


def ignore(event: dict) -> None:
    pass


@pytest.fixture
def driver(bench: Any) -> Iterator[Callable[[], subprocess.Popen]]:
    """Starts a driver process with two slots over the bench's plan."""
    started = []

    def start() -> subprocess.Popen:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        command = [sys.executable, "-c", DRIVER, str(bench.runs), *bench.command]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, process_group=0))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_killed_worker_costs_one_attempt(bench: Any) -> None:
    jobs = bench.jobs(["kill once", *["work"] * 4])
    events: list[dict] = []
    outcomes = {outcome.key: outcome for outcome in bench.local(2).run(jobs, events.append)}
    assert {outcome.status for outcome in outcomes.values()} == {"done"}
    assert bench.finished() == [job.key for job in jobs]
    (message,) = [event for event in events if event["event"] == "message"]
    assert message["run_key"] == jobs[0].key
    assert "SIGKILL" in message["message"]


@pytest.mark.parametrize(("what", "name"), [("kill", "SIGKILL"), ("segfault", "SIGSEGV"), ("exit", "exit code 3")])
def test_a_worker_that_always_dies_is_given_up(bench: Any, what: str, name: str) -> None:
    jobs = bench.jobs([what, "work", "work"])
    events: list[dict] = []
    outcomes = {outcome.key: outcome for outcome in bench.local().run(jobs, events.append)}
    assert [outcomes[job.key].status for job in jobs] == ["killed", "done", "done"]
    assert name in outcomes[jobs[0].key].message
    assert str(bench.runs / "logs" / "slot-0.log") in outcomes[jobs[0].key].message
    assert len([event for event in events if event["event"] == "message"]) == (name != "exit code 3")  # tried again
    assert RunStore(bench.runs).status(jobs[0].key, None) in (Status.DEAD, Status.MISSING)


def test_kill_from_outside(bench: Any) -> None:
    """kill -9 in the middle: the job is tried again; it hangs again, and the second kill ends it. The others go on."""
    jobs = bench.jobs(["hang", *["work"] * 4])
    killed: list[str] = []

    def kill() -> None:
        while len(killed) < 2:
            began = bench.began(jobs[0])
            if began and began[0] not in killed:
                killed.append(began[0])
                os.kill(int(began[0]), signal.SIGKILL)
            time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    outcomes = {outcome.key: outcome.status for outcome in bench.local(2).run(jobs, ignore)}
    thread.join()
    assert [outcomes[job.key] for job in jobs] == ["killed", *["done"] * 4]


@pytest.mark.parametrize("what", ["hang", "stubborn", "loaders"])
def test_timeout(bench: Any, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "GRACE_S", 0.3)
    jobs = bench.jobs([what, "work"])
    engine = bench.local(timeout=1.0)
    outcomes = {outcome.key: outcome for outcome in engine.run(jobs, ignore)}
    assert [outcomes[job.key].status for job in jobs] == ["timeout", "done"]
    assert outcomes[jobs[0].key].message.startswith("stopped after 1 s")
    assert gone(int(bench.began(jobs[0])[0]))
    assert RunStore(bench.runs).status(jobs[0].key, None) is not Status.RUNNING
    if what == "loaders":
        wait_for(lambda: gone(int((bench.runs / "loader.pid").read_text())))


def test_a_worker_that_cannot_start_is_one_line(bench: Any) -> None:
    for command in ([sys.executable, "-c", "raise SystemExit(7)"], ["/no/such/program"]):
        with pytest.raises(BenchmarkError, match=r"does not start: .*slot-\d.log"):
            list(bench.local(2, command=command).run(bench.jobs(["work"] * 3), ignore))


def test_one_broken_slot_leaves_its_jobs_to_the_others(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = LocalEngine.environment
    broken = {"PYTHONHOME": "/nowhere"}
    monkeypatch.setattr(LocalEngine, "environment", lambda self, number: {**environment(self, number), **(broken if number == 0 else {})})
    outcomes = list(bench.local(2).run(bench.jobs(["work"] * 4), ignore))
    assert [outcome.status for outcome in outcomes] == ["done"] * 4


def test_gpus_and_threads_per_slot(bench: Any) -> None:
    jobs = bench.jobs(["slow"] * 12)
    engine = bench.local(3, ["4", "7"], threads=None)
    assert engine.slots == 3
    assert [engine.environment(slot)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["4", "7", "4"]
    assert [engine.environment(slot)[RUNS_PER_GPU] for slot in range(3)] == ["2", "1", "2"]
    assert RUNS_PER_GPU not in bench.local(3).environment(0)
    list(engine.run(jobs, ignore))
    seen = [bench.began(job) for job in jobs]
    assert {gpu for _, gpu, *_ in seen} <= {"4", "7"}
    assert {(omp, threads) for *_, omp, threads in seen} == {(str(engine.options.threads),) * 2}


def test_printing_goes_to_the_log(bench: Any) -> None:
    outcomes = list(bench.local().run(bench.jobs(["print"]), ignore))
    assert [outcome.status for outcome in outcomes] == ["done"]
    log = (bench.runs / "logs" / "slot-0.log").read_bytes()
    for said in (b"a library that prints", b"from a child", b"\x00\xff", b"EOFError"):
        assert said in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_no_orphans(bench: Any, driver: Callable[[], subprocess.Popen], number: int) -> None:
    """Ctrl-C, kill and kill -9 of the driver end its workers, and the runs can be taken up again."""
    jobs = bench.jobs(["hang", "hang"])
    process = driver()
    pids = [int(wait_for(lambda job=job: bench.began(job))[0]) for job in jobs]
    os.kill(process.pid, number)
    process.wait(20)
    for pid in pids:
        wait_for(lambda pid=pid: gone(pid))
    store = RunStore(bench.runs)
    assert all(store.status(job.key, None) in (Status.DEAD, Status.MISSING) for job in jobs)
    again = bench.jobs(["work", "work"])
    assert [outcome.status for outcome in bench.local(2).run(again, ignore)] == ["done"] * 2


@pytest.mark.parametrize(("what", "code"), [(None, 0), ("hang", -signal.SIGKILL)])
def test_a_worker_ends_with_its_input(bench: Any, what: str | None, code: int) -> None:
    (job,) = bench.jobs([what or "work"])
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    worker = subprocess.Popen(bench.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, process_group=0)
    try:
        worker.stdin.write(json.dumps({"options": bench.options().to_dict()}).encode() + b"\n")
        worker.stdin.flush()
        assert json.loads(worker.stdout.readline())["event"] == "ready"
        if what:
            worker.stdin.write(json.dumps({"run_keys": [job.key]}).encode() + b"\n")
        worker.communicate(timeout=20)
        assert worker.returncode == code
    finally:
        worker.kill()
        worker.communicate()


def test_two_drivers_never_run_a_key_twice(bench: Any, driver: Callable[[], subprocess.Popen]) -> None:
    jobs = bench.jobs(["slow"] * 30)
    drivers = [driver(), driver()]
    said = [process.communicate(timeout=60)[0].split() for process in drivers]
    assert all(set(statuses) <= {"done", "busy"} for statuses in said)
    assert bench.finished() == [job.key for job in jobs]
    store = RunStore(bench.runs)
    assert all(store.status(job.key, None) is Status.DONE for job in jobs)


def test_drivers_take_over_what_killed_ones_left(bench: Any, driver: Callable[[], subprocess.Popen]) -> None:
    jobs = bench.jobs(["slow"] * 30)
    first = driver()
    wait_for(bench.finished)
    first.kill()
    first.wait()
    second = driver()
    assert second.communicate(timeout=60)[0].split() in (["done"], ["busy", "done"])  # busy: a worker on its way out
    outcomes = list(bench.local(2).run(jobs, ignore))
    assert {outcome.status for outcome in outcomes} == {"done"}
    assert sorted(set(bench.finished())) == [job.key for job in jobs]


def children() -> set[int]:
    """Processes that this one has started; a browser that other tests share may be among them."""
    return {process.pid for process in psutil.Process().children()}


def test_workers_stay_warm_between_runs_until_close(bench: Any) -> None:
    others = children()
    jobs = bench.jobs(["slow"] * 8)
    engine = bench.local(2)
    pids = []
    for part in (jobs[:2], jobs[2:4], jobs[4:]):
        list(engine.run(part, ignore))
        pids.append({bench.began(job)[0] for job in part})
    assert len(set.union(*pids)) <= 2
    os.kill(int(next(iter(pids[2]))), signal.SIGKILL)  # one that dies while it waits is replaced
    assert [outcome.status for outcome in engine.run(bench.jobs(["work"] * 12)[8:], ignore)] == ["done"] * 4
    engine.close()
    assert children() <= others


def test_a_run_does_not_wait_for_a_worker_that_still_starts(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three slots, of which one takes long to start; the next run finds it ready."""
    late = [sys.executable, "-c", "import time, runpy, sys; time.sleep(1); runpy.run_path(sys.argv[1], run_name='__main__')"]
    commands = {0: bench.command, 1: (*late, str(bench.toy))}
    original = local.WorkerProcess
    monkeypatch.setattr(local, "WorkerProcess", lambda command, env, log: original(commands[int(log.stem[-1])], env, log))
    engine = bench.local(2)
    started = time.monotonic()
    assert len(list(engine.run(bench.jobs(["work"] * 2), ignore))) == 2
    assert time.monotonic() - started < 1
    slow = engine.workers[1]
    list(engine.run(bench.jobs(["slow"] * 40)[2:], ignore))
    assert engine.workers[1] is slow and slow.ready
    engine.close()


def test_this_process_keeps_nothing(bench: Any) -> None:
    def descriptors() -> int:
        return psutil.Process().num_fds()

    others = children()
    engine = bench.local(2)
    list(engine.run(bench.jobs(["work"] * 3), ignore))
    engine.close()
    before, threads = descriptors(), threading.active_count()
    list(engine.run(bench.jobs(["kill", *["work"] * 3]), ignore))
    engine.close()
    assert descriptors() <= before
    assert threading.active_count() <= threads
    assert children() <= others


class TestTogether:
    """Runs that one worker trains side by side."""

    def test_a_dead_worker_costs_each_one_attempt(self, bench: Any) -> None:
        jobs = bench.jobs(["kill once", "work", "work"])
        events: list[dict] = []
        outcomes = list(bench.local(1, stack_seeds=True).run(jobs, events.append))
        assert {outcome.key: outcome.status for outcome in outcomes} == {job.key: "done" for job in jobs}
        assert any("tried once more" in event.get("message", "") for event in events)

    def test_then_each_is_tried_by_itself(self, bench: Any) -> None:
        jobs = bench.jobs(["work", "kill", "work"])
        outcomes = {outcome.key: outcome for outcome in bench.local(1, stack_seeds=True).run(jobs, lambda event: None)}
        assert outcomes[jobs[0].key].status == "done"  # it had ended before
        assert [outcomes[job.key].status for job in jobs[1:]] == ["killed", "done"]
        assert "SIGKILL twice" in outcomes[jobs[1].key].message

    def test_one_that_leaves_the_process_ends_alone(self, bench: Any) -> None:
        jobs = bench.jobs(["exit", "work"])
        outcomes = {outcome.key: outcome for outcome in bench.local(1, stack_seeds=True).run(jobs, lambda event: None)}
        assert [outcomes[job.key].status for job in jobs] == ["killed", "done"]
        assert outcomes[jobs[0].key].message == "the run called sys.exit(3)"

    def test_the_limit_is_that_of_as_many_runs(self, bench: Any) -> None:
        jobs = bench.jobs(["hang", "work"])
        started = time.monotonic()
        outcomes = {outcome.key: outcome for outcome in bench.local(1, stack_seeds=True, timeout=1.0).run(jobs, lambda event: None)}
        assert [outcomes[job.key].status for job in jobs] == ["timeout", "timeout"]  # the first sleeps with the baton in its hand
        assert time.monotonic() - started > 2.0
        assert "stopped after 2 s" in outcomes[jobs[1].key].message
