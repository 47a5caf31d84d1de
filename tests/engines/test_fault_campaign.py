"""Sixty runs, two drivers on one folder, and everything that happens in a night: afterwards nothing is lost and nothing done twice."""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmark import driver
from benchmark.engines import WorkerOptions
from benchmark.engines.ray_cluster import RayEngine
from benchmark.progress import Progress
from benchmark.registry import Registry
from benchmark.spec import PluginSpec, RunSpec, TrainingProtocol
from benchmark.store import RunStore, Status
from benchmark.tracking import NullTracker

RUNS, KILLS, FULL_DISKS = 60, 16, 6
DRIVERS_AMONG_THEM = (3, 8, 12)
WORKER = Path(__file__).with_name("campaign_worker.py")

DRIVER = """
import contextlib, json, sys
from pathlib import Path
from benchmark import driver
from benchmark.engines import WorkerOptions
from benchmark.engines.local import LocalEngine
from benchmark.progress import Progress
from benchmark.registry import Registry
from benchmark.spec import RunSpec
from benchmark.store import RunStore
from benchmark.tracking import NullTracker
home, worker = sys.argv[1:]
specs = [RunSpec.from_dict(spec) for spec in json.loads((Path(home) / "specs.json").read_text())]
runs = Path(home) / "runs"
plan = driver.plan(Registry(), specs, RunStore(runs))
options = WorkerOptions(runs=runs, data_root=Path(home))
engine = LocalEngine(options, 2, command=(sys.executable, worker))
with contextlib.closing(engine):
    result = driver.execute(plan, engine, NullTracker(), Progress(len(plan.pending)), poll_s=0.2)
raise SystemExit(result.exit_code)
"""


class Campaign:
    """Sixty cells in a folder, their plan, and drivers that work on them."""

    def __init__(self, home: Path, code: str, full: dict[int, int] | None = None) -> None:
        self.home, self.store = home, RunStore(home / "runs")
        home.mkdir()
        base = (PluginSpec("ce"), PluginSpec("digits", {}, 1, "v1"), PluginSpec("none", {}, 1), TrainingProtocol())
        self.specs = [RunSpec(*base, seed) for seed in range(RUNS)]
        self.keys = [spec.key() for spec in self.specs]
        (home / "specs.json").write_text(json.dumps([spec.to_dict() for spec in self.specs]))
        (home / "plan.json").write_text(json.dumps({key: [code, (full or {}).get(i)] for i, key in enumerate(self.keys)}))

    def driver(self) -> subprocess.Popen:
        command = [sys.executable, "-c", DRIVER, str(self.home), str(WORKER)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
        with (self.home / "drivers.txt").open("ab") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, process_group=0)

    def done(self) -> list[str]:
        return [key for key in self.keys if (self.store.root / key / "result.json").exists()]

    def metrics(self) -> dict[str, Any]:
        return {key: (self.store.result(key) or {}).get("metrics") for key in self.keys}

    def commits(self) -> Counter[str]:
        return Counter((self.home / "commits.txt").read_text().split())

    def check(self, expected: dict[str, Any], code: str, *, by_nodes: bool = False) -> None:
        """All are done, none was committed twice, nothing is left over, and every number is as in the quiet campaign.

        A node's commit is one in its scratch folder: it may have to be made again, and counts only once the driver has made it.
        """
        assert {self.store.status(key, code) for key in self.keys} == {Status.DONE}
        assert by_nodes or max(self.commits().values()) == 1
        assert not list(self.store.root.glob("*/history")) and not (self.store.root / "quarantine").exists()
        assert not list(self.store.root.glob("*/lease.json")) and not list(self.store.root.glob("*/last.pt"))
        assert self.metrics() == expected


@pytest.fixture(scope="module")
def code() -> str:
    from benchmark.code_hash import code_hash

    base = (PluginSpec("ce"), PluginSpec("digits", {}, 1, "v1"), PluginSpec("none", {}, 1), TrainingProtocol())
    return code_hash(RunSpec(*base, 0), Registry())


@pytest.fixture(scope="module")
def quiet(code: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The numbers of a campaign that nothing disturbs."""
    campaign = Campaign(tmp_path_factory.mktemp("quiet") / "home", code)
    assert campaign.driver().wait(120) == 0, (campaign.home / "drivers.txt").read_text()
    campaign.check(campaign.metrics(), code)
    assert campaign.commits() == dict.fromkeys(campaign.keys, 1)
    assert len({json.dumps(metrics) for metrics in campaign.metrics().values()}) == RUNS
    return campaign.metrics()


def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def workers_of(drivers: list[subprocess.Popen]) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in drivers:
        try:
            found += psutil.Process(process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_a_night_of_faults(code: str, quiet: dict[str, Any], tmp_path: Path, seed: int) -> None:
    """SIGKILL of workers and of drivers at random instants, disks that are full, two drivers at once."""
    rng = random.Random(seed)
    full = {index: rng.randint(1, 6) for index in rng.sample(range(RUNS), FULL_DISKS)}
    campaign = Campaign(tmp_path / "home", code, full)
    told = [f"disk full in {FULL_DISKS} runs at epochs {sorted(full.values())}"]
    drivers = [campaign.driver(), campaign.driver()]
    try:
        until(lambda: campaign.store.root.exists() and any(campaign.store.root.glob("*/last.pt")))
        for number in range(KILLS):  # spread over the whole campaign
            until(lambda number=number: len(campaign.done()) >= number * RUNS // (KILLS + 4))
            time.sleep(rng.uniform(0.0, 0.3))
            if number in DRIVERS_AMONG_THEM:
                which = rng.randrange(2)
                drivers[which].kill()
                drivers[which].wait()
                told.append(f"driver killed with {len(campaign.done())} of {RUNS} done")
                drivers[which] = campaign.driver()
            else:
                until(lambda: workers_of(drivers) or all(process.poll() is not None for process in drivers))
                for victim in rng.sample(workers_of(drivers), 1):
                    victim.kill()
                    told.append(f"worker killed with {len(campaign.done())} of {RUNS} done")
        for process in drivers:
            process.wait(120)
        rounds = 0
        while len(campaign.done()) < RUNS:
            rounds += 1
            assert rounds < 6, (campaign.home / "drivers.txt").read_text()
            campaign.driver().wait(120)
            told.append(f"the same command once more: {len(campaign.done())} of {RUNS} done")
    finally:
        for process in drivers:
            process.kill()
            process.wait()
    print(*told, sep="\n")
    assert sum("killed" in line for line in told) >= KILLS - 2, told
    assert len(list(campaign.home.glob("*.full"))) == FULL_DISKS
    campaign.check(quiet, code)


class Chaos(Progress):
    """Calls a function each time a cell has ended."""

    def __init__(self, ended: Callable[[int], None]) -> None:
        super().__init__(RUNS)
        self.ended, self.count = ended, 0

    def finished(self, *args: Any, **more: Any) -> None:
        self.count += 1
        self.ended(self.count)


@pytest.mark.slow
def test_a_ray_node_dies_in_a_campaign(cluster: Any, commits: Counter[str], code: str, quiet: dict[str, Any], tmp_path: Path) -> None:
    """Two of three nodes are killed while a second driver works on the same folder with workers of this machine."""
    campaign = Campaign(tmp_path / "home", code, {7: 3, 21: 5})
    nodes = [cluster.add_node(num_cpus=2, num_gpus=0)]
    told = ["disk full in 2 runs at epochs 3 and 5"]

    def disturb(count: int) -> None:
        if count in (10, 20):
            cluster.remove_node(nodes.pop(), allow_graceful=False)
            told.append(f"node killed with {len(campaign.done())} of {RUNS} done")
            nodes.append(cluster.add_node(num_cpus=2, num_gpus=0))
        if count == 30:
            rivals.append(campaign.driver())
            until(lambda: campaign.home.joinpath("commits.txt").exists() and list(campaign.store.root.glob("*/last.pt")))

    rivals: list[subprocess.Popen] = []

    def execute() -> driver.CampaignResult:
        plan = driver.plan(Registry(), campaign.specs, campaign.store)
        options = WorkerOptions(runs=campaign.store.root, data_root=campaign.home)
        with closing(RayEngine(options, command=(sys.executable, str(WORKER)))) as engine:
            return driver.execute(plan, engine, NullTracker(), Chaos(disturb), poll_s=0.2)

    try:
        bad = execute().bad
        for rival in rivals:
            rival.wait(120)
    finally:
        for rival in rivals:
            rival.kill()
            rival.wait()
    told.append(f"{len(bad)} cells of this driver ended badly; the same command once more")
    assert execute().exit_code == 0
    cluster.remove_node(nodes.pop())
    print(*told, sep="\n")
    assert len(told) == 4 and len(rivals) == 1
    assert max(commits.values()) == 1  # by this driver; the rest are the rival's
    assert set(commits) | set(campaign.commits()) == set(campaign.keys)
    campaign.check(quiet, code, by_nodes=True)
