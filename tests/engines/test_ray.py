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

from benchmark.engines import EngineChoice, Job, make_engine, parcel, ray_address
from benchmark.engines.ray_cluster import RayEngine
from benchmark.errors import BenchmarkError
from benchmark.lease import Lease
from benchmark.spec import SCHEMA
from benchmark.store import RunStore, Status

pytest.importorskip("ray")


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


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
def test_how_many_runs_a_node_bears(bench: Any, threads: int, gpus: float | None, node: dict[str, float], runs: int) -> None:
    assert RayEngine(bench.options(threads=threads), gpus_per_run=gpus)._fit(node) == runs


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
