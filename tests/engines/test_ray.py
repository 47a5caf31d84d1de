"""The Ray engine: addresses that lead nowhere, and (slow) a cluster of two nodes on this machine, one of which is killed."""

import contextlib
import errno
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmark.engines import EngineChoice, Job, make_engine, parcel, ray_address, ray_capacity, ray_cluster, ray_entry, ray_node
from benchmark.engines.ray_capacity import Capacity
from benchmark.engines.ray_cluster import RayEngine
from benchmark.errors import BenchmarkError
from benchmark.lease import Lease
from benchmark.spec import SCHEMA
from benchmark.store import RunStore, Status
from tests.waiting import gone, wait_for

pytest.importorskip("ray")


def ignore(event: dict) -> None:
    pass


# ---------------------------------------------------------------------------------------------- without a cluster


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nonsense", "is not host:port of the head node"),
        ("ray://10.0.0.1:10001", "is not host:port of the head node"),
        ("10.0.0.1:", "is not host:port of the head node"),
        ("127.0.0.1:99999", "no Ray cluster at --address 127.0.0.1:99999: "),
        ("no-such-host.invalid:6379", "no Ray cluster at --address no-such-host.invalid:6379: "),
    ],
)
def test_an_address_that_leads_nowhere_is_one_line(bench: Any, address: str, said: str) -> None:
    engine = make_engine(bench.options(), 0, choice=EngineChoice("ray", address=address))
    with pytest.raises(BenchmarkError) as caught:
        list(engine.run(bench.jobs(["work"]), ignore))
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert RunStore(bench.runs).keys() == []
    engine.close()


def test_a_port_where_nobody_listens_and_one_where_something_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_address, "ANSWER_S", 2.0)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(BenchmarkError, match=f"no Ray cluster at --address {address}: Connection refused; see the line that"):
            ray_address.check_reachable(address)
        other.listen(1)
        started = time.monotonic()
        with pytest.raises(BenchmarkError, match="something listens there, but it does not answer as a Ray head node"):
            ray_address.check_reachable(address)
        assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("threads", "gpus", "node", "runs"),
    [
        (1, None, {"CPU": 4.0}, 4),
        (3, None, {"CPU": 8.0}, 2),
        (1, 0.25, {"CPU": 16.0, "GPU": 2.0}, 8),
        (1, 0.3, {"CPU": 16.0, "GPU": 2.0}, 6),
        (1, 0.1, {"CPU": 16.0, "GPU": 1.0}, 10),
        (1, 2.0, {"CPU": 16.0, "GPU": 5.0}, 2),
        (4, 1.0, {"CPU": 8.0, "GPU": 5.0}, 2),
        (1, 1.0, {"CPU": 8.0}, 0),
    ],
)
def test_how_many_runs_a_node_bears(threads: int, gpus: float | None, node: dict[str, float], runs: int) -> None:
    assert Capacity(threads, gpus or 0).fit(node) == runs


class Pretended:
    """Stands for the module ``ray``, the task and the mailbox: what each order comes to is said beforehand, per attempt."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ends: dict[str, list[Any]], nodes: Callable[[], int] = lambda: 1) -> None:
        import ray

        self.ends, self.orders, self.cancelled = ends, list[dict[str, Any]](), list[Any]()
        monkeypatch.setattr(ray_cluster, "POLL_S", 0.0)
        monkeypatch.setattr(ray_capacity, "COUNT_EVERY_S", -1.0)
        monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 1.0}}] * nodes())
        monkeypatch.setattr(ray, "wait", lambda refs, timeout: ([ref for ref in refs if self.ends[ref[0]]][:1], []))
        monkeypatch.setattr(ray, "get", self.get)
        monkeypatch.setattr(ray, "cancel", lambda ref, force: self.cancelled.append(ref))
        self.take = self

    def engine(self, options: Any, **more: Any) -> RayEngine:
        made = RayEngine(options, **more)
        made._task = made._mailbox = self
        return made

    def remote(self, order: dict[str, Any] | None = None, mailbox: Any = None) -> Any:
        if order is None:
            return "events"
        self.orders.append(order)
        return order["key"], len(self.orders)

    def get(self, ref: Any, timeout: float | None = None) -> Any:
        if ref == "events":
            return []
        end = self.ends[ref[0]].pop(0)
        if isinstance(end, Exception):
            raise end
        return {"outcome": {"key": ref[0], "status": end, "seconds": 1.0}, "files": {}, "node": "n", "log": b""}


def test_events_that_come_late_are_not_lost(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the mailbox answers after the limit: the same answer is asked for again, and no other one is begun."""
    from ray import exceptions

    answers: list[Any] = [exceptions.GetTimeoutError(), [{"event": "start", "run_key": "k"}, {"event": "start", "run_key": "other"}]]
    pretended = Pretended(monkeypatch, {})
    engine, asked = pretended.engine(bench.options()), list[Any]()

    def get(ref: Any, timeout: float) -> Any:
        asked.append(ref)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("ray.get", get)
    monkeypatch.setattr(pretended, "remote", lambda: f"take {len(asked)}")
    assert engine._events({"k"}, 5.0) == []
    assert engine._events({"k"}, 5.0) == [{"event": "start", "run_key": "k"}]
    assert asked == ["take 0", "take 0"]


def losses() -> list[Exception]:
    from ray import exceptions

    return [
        exceptions.WorkerCrashedError(),
        exceptions.NodeDiedError("the node is gone"),
        exceptions.OutOfMemoryError("memory is short"),
        exceptions.ObjectLostError("00", None, ""),
    ]


def test_a_run_that_is_lost_is_sent_again_so_often_and_not_more(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    crash, died, memory, gone = losses()
    jobs = bench.jobs(["a", "b", "c"])
    ends = {jobs[0].key: [crash, gone, "failed"], jobs[1].key: [memory, memory, memory, "done"], jobs[2].key: [died, "failed"]}
    ray, events = Pretended(monkeypatch, ends), list[dict]()
    outcomes = {outcome.key: outcome for outcome in ray.engine(bench.options(), jobs=3).run(jobs, events.append)}
    assert [outcomes[job.key].status for job in jobs] == ["failed", "killed", "failed"]
    assert outcomes[jobs[1].key].message == "Ray gave it up in attempt 3 of 3: memory is short"
    assert Counter(order["key"] for order in ray.orders) == {jobs[0].key: 3, jobs[1].key: 3, jobs[2].key: 2}
    told = [event["message"] for event in events if event["run_key"] == jobs[1].key]
    assert told == [f"b ({jobs[1].key}) was lost and is sent again, attempt {number} of 3: memory is short" for number in (2, 3)]
    assert not ray.cancelled and not list(bench.runs.glob("*/lease.json"))


def test_what_is_no_loss_is_not_sent_again(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.exceptions import RuntimeEnvSetupError

    (job,) = bench.jobs(["a"])
    ray = Pretended(monkeypatch, {job.key: [RuntimeEnvSetupError("no space")]})
    (outcome,) = ray.engine(bench.options()).run([job], ignore)
    assert outcome.status == "killed" and "in attempt 1 of 3" in outcome.message and len(ray.orders) == 1


def test_ray_itself_tries_nothing_again(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory monitor would do so for ever."""
    import ray

    given: list[dict] = []

    class Remote:
        def options(self, **options: Any) -> Any:
            given.append(options)
            return self

        def remote(self) -> Any:
            return self

    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 1.0}}])
    monkeypatch.setattr(ray, "get_runtime_context", type("Context", (), {"get_node_id": lambda self: "0" * 56}))
    monkeypatch.setattr(ray, "remote", lambda what: Remote())
    RayEngine(bench.options())._connect()
    assert given[1] == {"num_cpus": 1, "num_gpus": 0, "max_retries": 0}


def test_runs_that_no_node_can_take_any_more_end(bench: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    jobs = bench.jobs(["a", "b"])
    monkeypatch.setattr(ray_capacity, "STRANDED_S", 0.1)
    ray = Pretended(monkeypatch, {job.key: [] for job in jobs}, nodes=lambda: 0 if ray.orders else 1)
    outcomes = list(ray.engine(bench.options(), jobs=1).run(jobs, ignore))
    assert [(outcome.key, outcome.status) for outcome in outcomes] == [(job.key, "killed") for job in jobs]
    assert all("no node of the Ray cluster could take it for" in outcome.message for outcome in outcomes)
    assert len(ray.orders) == len(ray.cancelled) == 1  # the other one was not even sent
    assert [record.getMessage() for record in caplog.records] == [
        "no node of the Ray cluster can take a run any more, which needs 1 CPUs (--threads) and 0 GPUs (--gpus-per-run); waiting for one"
    ]
    assert not list(bench.runs.glob("*/lease.json"))


def test_a_node_that_comes_in_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    rooms = [0, 0, 1, 0]
    monkeypatch.setattr(ray_capacity, "COUNT_EVERY_S", -1.0)
    monkeypatch.setattr(ray_capacity, "STRANDED_S", 0.05)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": float(rooms.pop(0))}}])
    capacity, seen = Capacity(1, 0), []
    for _ in range(4):
        seen.append(capacity.stranded(ray))
        time.sleep(0.03)
    assert seen == [False] * 4  # 0.09 s in all, yet never 0.05 s on end


def test_a_node_without_the_benchmark_says_so(bench: Any) -> None:
    """Its code travels with the task."""
    from ray import cloudpickle

    task = cloudpickle.dumps(ray_entry.entry("/no/such/checkout")).hex()
    code = f"task = '{task}'\nimport json, sys, ray.cloudpickle as c\nsys.modules['benchmark'] = None\n"
    code += "print(json.dumps(c.loads(bytes.fromhex(task))({'key': 'k'}, 0)['outcome']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=bench.runs, capture_output=True, text=True, check=True, timeout=60)
    outcome = json.loads(done.stdout)
    assert outcome["status"] == "failed" and f"node {os.uname().nodename} cannot import the benchmark" in outcome["message"]


# ---------------------------------------------------------------------------------------------- on a node, without a cluster


class Letters:
    """A mailbox that keeps what is put into it."""

    def __init__(self) -> None:
        self.put, self.kept = self, list[dict]()

    def remote(self, events: list[dict]) -> None:
        self.kept += events


@pytest.fixture
def node(bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[dict, list[dict]]]]:
    """Carries out one job as a Ray worker does, with a folder of its own for scratch."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(ray_node.tempfile, "tempdir", str(scratch))

    def carry_out(job: Job, gpus: float = 0) -> tuple[dict, list[dict]]:
        letters = Letters()
        order = ray_node.Order(job.key, job.label, None, bench.options().to_dict(), [], bench.command, str(Path.cwd()), gpus)
        return ray_node.carry_out(order, letters), letters.kept

    yield carry_out
    if ray_node._home is not None:
        ray_node._home.close()
        ray_node._home = None


@pytest.mark.parametrize(("gpus", "seen"), [(0, ""), (0.5, "1")])
def test_a_run_without_gpu_sees_none_whatever_the_node_says(
    node: Callable[..., Any], bench: Any, monkeypatch: pytest.MonkeyPatch, gpus: float, seen: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    (job,) = bench.jobs(["work"])
    answer, _ = node(job, gpus)
    assert answer["outcome"]["status"] == "done"
    assert (bench.runs / f"{job.key}.began").read_text().split(" ")[1] == seen


def test_a_worker_that_had_a_gpu_is_not_used_without_one(node: Callable[..., Any], bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    jobs = bench.jobs(["work", "work"])
    node(jobs[0], 1)
    node(jobs[1], 0)
    assert [(bench.runs / f"{job.key}.began").read_text().split(" ")[1] for job in jobs] == ["1", ""]


def test_files_that_may_not_travel_are_named(node: Callable[..., Any], bench: Any) -> None:
    (job,) = bench.jobs(["litter"])
    answer, events = node(job)
    assert sorted(answer["files"]) == ["log.txt", "my plot.png", "result.json"]
    (said,) = [event["message"] for event in events if event["event"] == "message"]
    host = os.uname().nodename
    assert said == f"litter ({job.key}): files whose names may not travel stay on {host} and are lost: '.nfs0001', 'a/b/c/d/e.txt'"


def test_orphans_go_and_the_living_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_node.tempfile, "tempdir", str(tmp_path))
    living, mark = ray_node._scratch_folder()
    names = ("killed", "killed-early", "about-to-mark")
    killed, early, young = (tmp_path / f"{ray_node.SCRATCH}{name}" for name in names)
    for folder in (killed, early, young):
        folder.mkdir()
    (killed / ray_node.MARK).touch()
    hour = time.time() - ray_node.ORPHAN_S - 1
    os.utime(early, (hour, hour))
    ray_node._remove_orphans()
    assert sorted(tmp_path.iterdir()) == sorted([living, young])
    os.close(mark)


def test_a_home_that_another_worker_takes_for_an_orphan_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one comes between the making of the mark and its lock."""
    import fcntl

    monkeypatch.setattr(ray_node.tempfile, "tempdir", str(tmp_path))
    lock, seen = fcntl.flock, list[Path]()

    def late(descriptor: int, how: int) -> None:
        if not seen:
            seen.extend(tmp_path.iterdir())
            monkeypatch.setattr(fcntl, "flock", lock)
            ray_node._remove_orphans()
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    folder, mark = ray_node._scratch_folder()
    assert folder.is_dir() and seen != [folder] and list(tmp_path.iterdir()) == [folder]
    ray_node._remove_orphans()
    assert folder.is_dir()
    os.close(mark)


# ------------------------------------------------------------------------------------------------- with a cluster

slow = pytest.mark.slow


@pytest.fixture
def engine(cluster: Any, bench: Any) -> Iterator[Callable[..., RayEngine]]:
    """Makes engines that are closed after the test."""
    made: list[RayEngine] = []

    def make(jobs: int = 0, gpus_per_run: float | None = None, **options: Any) -> RayEngine:
        made.append(RayEngine(bench.options(**options), jobs, gpus_per_run=gpus_per_run, command=bench.command))
        return made[-1]

    yield make
    for one in made:
        one.close()


@slow
def test_every_run_sees_its_own_gpu(engine: Callable[..., RayEngine], bench: Any) -> None:
    jobs = bench.jobs(["pair", "pair"])
    assert [outcome.status for outcome in engine(gpus_per_run=1).run(jobs, ignore)] == ["done"] * 2
    assert sorted(bench.began(job)[1] for job in jobs) == ["0", "1"]  # pid, GPU, threads
    shared = bench.jobs(["work", "work", "slow"])[2:]
    assert [outcome.status for outcome in engine(gpus_per_run=0.5).run(shared, ignore)] == ["done"]
    assert bench.began(shared[0])[1] in ("0", "1")


@slow
def test_what_no_node_has_is_one_line(engine: Callable[..., RayEngine], bench: Any) -> None:
    with pytest.raises(BenchmarkError, match=r"it needs 1 CPUs \(--threads\) and 5 GPUs \(--gpus-per-run\), and the largest has .* 2 GPUs"):
        list(engine(gpus_per_run=5).run(bench.jobs(["work"]), ignore))
    assert RunStore(bench.runs).keys() == []


@slow
def test_a_node_that_is_killed_costs_one_attempt(cluster: Any, engine: Callable[..., RayEngine], bench: Any, commits: Counter[str]) -> None:
    """The run fits on one node only; that node dies in the middle, another takes its place, and the run is committed once."""
    jobs = bench.jobs(["hang once", *["work"] * 3])

    def replace(event: dict) -> None:
        if event["event"] == "start" and event["run_key"] == jobs[0].key and len(nodes) == 1:
            pid = int(wait_for(lambda: bench.began(jobs[0]))[0])
            cluster.remove_node(nodes[0], allow_graceful=False)
            wait_for(lambda: gone(pid))
            nodes.append(cluster.add_node(num_cpus=6, num_gpus=0))

    nodes = [cluster.add_node(num_cpus=6, num_gpus=0)]
    outcomes = {outcome.key: outcome.status for outcome in engine(threads=6).run(jobs, replace)}
    assert outcomes == {job.key: "done" for job in jobs}
    assert len(nodes) == 2 and commits == {job.key: 1 for job in jobs}
    assert bench.finished() == [job.key for job in jobs]
    assert not list(bench.runs.glob("*/history"))
    cluster.remove_node(nodes[1])


@slow
def test_stopping_ends_what_runs_on_the_nodes(engine: Callable[..., RayEngine], bench: Any) -> None:
    (job,) = bench.jobs(["hang"])

    def stop(event: dict) -> None:
        if event["event"] == "start":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(engine().run([job], stop))
    pid = int(wait_for(lambda: bench.began(job))[0])
    wait_for(lambda: gone(pid))
    assert RunStore(bench.runs).status(job.key, None) is Status.MISSING


@slow
def test_a_limit_of_time_and_logs_of_what_ended_badly(engine: Callable[..., RayEngine], bench: Any) -> None:
    jobs = bench.jobs(["hang", "kill", "raise"])
    outcomes = {outcome.key: outcome for outcome in engine(timeout=2.0).run(jobs, ignore)}
    assert [outcomes[job.key].status for job in jobs] == ["timeout", "killed", "failed"]
    assert outcomes[jobs[2].key].message == "ValueError: not today"
    store = RunStore(bench.runs)
    for job in jobs:
        assert (store.folder(job.key) / "log.txt").read_text() == f"the log of {job.key}"  # came back
        assert b"--- worker " in (bench.runs / "logs" / f"ray-{job.key}.log").read_bytes()
    for job in jobs[:2]:
        assert outcomes[job.key].message.endswith(f", on node {socket.gethostname()}; see {bench.runs}/logs/ray-{job.key}.log")


@slow
def test_what_another_driver_has_committed_stays(engine: Callable[..., RayEngine], bench: Any, commits: Counter[str]) -> None:
    """The driver slept, say, and its lease was taken over: the copy that comes back late is dropped."""
    (job,) = bench.jobs(["wait"])
    store = RunStore(bench.runs)

    def take_over(event: dict) -> None:
        if event["event"] == "start":
            (store.folder(job.key) / "lease.json").unlink()
            store.commit(job.key, {"schema": SCHEMA, "run_key": job.key, "code_hash": "theirs"})
            (bench.runs / "go").touch()

    assert [outcome.status for outcome in engine().run([job], take_over)] == ["done"]
    assert store.result(job.key)["code_hash"] == "theirs" and commits == {job.key: 1}
    assert not (store.folder(job.key) / "log.txt").exists()


@slow
def test_a_key_that_another_driver_holds_is_not_sent(engine: Callable[..., RayEngine], bench: Any) -> None:
    jobs = bench.jobs(["work", "work"])
    with RunStore(bench.runs).lease(jobs[0].key):
        outcomes = {outcome.key: outcome.status for outcome in engine().run(jobs, ignore)}
    assert outcomes == {jobs[0].key: "busy", jobs[1].key: "done"}
    assert bench.finished() == [jobs[1].key]


@slow
def test_a_node_with_other_code_is_told(engine: Callable[..., RayEngine], bench: Any) -> None:
    (job,) = bench.jobs(["work"])
    (outcome,) = engine().run([Job(job.key, job.label, code="d")], ignore)  # the toy says c
    assert outcome.status == "failed" and outcome.message.endswith("runs other code than this machine; install the same version there")
    assert RunStore(bench.runs).result(job.key) is None


@slow
def test_a_disk_that_is_full_when_a_run_comes_back(engine: Callable[..., RayEngine], bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = bench.jobs(["work"])

    def full(path: Path) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(parcel, "atomic_open", full)
        (outcome,) = engine().run([job], ignore)
    assert (outcome.status, "no space left below" in outcome.message) == ("failed", True)
    store = RunStore(bench.runs)
    assert store.status(job.key, None) in (Status.DEAD, Status.MISSING)
    assert [outcome.status for outcome in engine().run([job], ignore)] == ["done"]


@slow
def test_a_lease_is_held_while_the_run_is_out(engine: Callable[..., RayEngine], bench: Any) -> None:
    (job,) = bench.jobs(["wait"])
    seen: list[Status] = []

    def look(event: dict) -> None:
        if event["event"] == "start":
            seen.append(RunStore(bench.runs).status(job.key, None))
            (bench.runs / "go").touch()

    assert [outcome.status for outcome in engine().run([job], look)] == ["done"]
    assert seen == [Status.RUNNING]
    assert not Lease(RunStore(bench.runs).folder(job.key)).path.exists()


@slow
def test_a_killed_driver_takes_its_workers_along(bench: Any) -> None:
    bench.jobs(["hang"])
    code = DRIVER.format(runs=str(bench.runs), command=bench.command)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    driver = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def agent(process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            return any(word.endswith("Agent") for word in process.cmdline())
        return False

    try:
        pid = int(wait_for(lambda: bench.began(Job("0" * 16, "hang")))[0])
        family = psutil.Process(driver.pid).children(recursive=True)
        listening = [c.laddr.ip for process in family for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        assert listening and {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    finally:
        driver.kill()
        driver.wait()
    wait_for(lambda: gone(pid))
    wait_for(lambda: all(gone(process.pid) for process in family if not agent(process)))
    for process in family:  # Ray's own agents may outlive it
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    assert RunStore(bench.runs).status("0" * 16, None) is not Status.RUNNING


DRIVER = """
from pathlib import Path
from benchmark.engines import Job, WorkerOptions
from benchmark.engines.ray_cluster import RayEngine
runs = Path({runs!r})
list(RayEngine(WorkerOptions(runs=runs, data_root=runs), command={command!r}).run([Job("0" * 16, "hang")], print))
"""


@slow
def test_the_head_node_answers(cluster: Any) -> None:
    ray_address.check_reachable(cluster.address)


@slow
@pytest.mark.timeout(900)
def test_a_command_on_an_instance_of_its_own(tmp_path: Path) -> None:
    """The whole way: real worker, plugin file, quiet, the same numbers and hash of code as without Ray."""
    plugin = tmp_path / "mine" / "half.py"
    plugin.parent.mkdir()
    plugin.write_text(PLUGIN)
    words = ["run", "--methods", "half", "--baseline", "none", "--datasets", "digits:subset=0.2", "--epochs", "1", "--seeds", "0,1"]
    words += ["--device", "cpu", "--no-tracking", "--plugin", str(plugin), "--data-root", str(tmp_path / "data"), "--format", "json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}

    def call(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "benchmark", *words, *more]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=400)

    done = call("--engine", "ray", "--runs", "ray")
    assert done.returncode == 0, done.stderr
    assert "ray" not in done.stderr.replace("runs: ray", "").lower() and "[20" not in done.stderr  # Ray itself keeps quiet
    assert call("--engine", "serial", "--runs", "serial").returncode == 0
    keys = RunStore(tmp_path / "serial").keys()
    assert keys == RunStore(tmp_path / "ray").keys() and len(keys) == 2
    for key in keys:
        folders = [tmp_path / runs / key for runs in ("ray", "serial")]
        names = [{path.name for path in folder.iterdir()} - {"system.jsonl"} for folder in folders]  # that one comes after five seconds
        assert names[0] == names[1] >= {"result.json", "predictions.npz", "samples.parquet", "history.jsonl", "log.txt", "spec.json"}
        results = [json.loads((folder / "result.json").read_text()) for folder in folders]
        assert len({json.dumps([result["metrics"], result["code_hash"]]) for result in results}) == 1


PLUGIN = '''
"""A method."""
import torch.nn.functional as F

from benchmark.api import Method, method


@method("half")
class Half(Method):
    """Half of cross-entropy."""

    def training_step(self, batch, networks, epoch):
        return 0.5 * F.cross_entropy(networks[0](batch.images), batch.labels)
'''

logging.getLogger("ray").setLevel(logging.ERROR)
