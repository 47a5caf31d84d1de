"""Plan and campaign, with an engine that only pretends."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmark import driver
from benchmark.cli import campaign as camp
from benchmark.cli.dry_run import print_plan
from benchmark.cost import FolderCosts
from benchmark.engines import EngineChoice
from benchmark.engines.base import Job, OnEvent, Outcome
from benchmark.errors import BenchmarkError
from benchmark.progress import Progress
from benchmark.registry import Registry
from benchmark.spec import SCHEMA, PluginSpec, RunSpec, TrainingProtocol
from benchmark.store import RunStore, Status
from benchmark.system_metrics import Gpu
from benchmark.tracking import NullTracker


def spec(seed: int, **changes: Any) -> RunSpec:
    """A cell of plugins that exist."""
    base = RunSpec(PluginSpec("ce"), PluginSpec("digits", {}, 1, "v1"), PluginSpec("none", {}, 1), TrainingProtocol(), seed)
    return dataclasses.replace(base, **changes)


def commit(store: RunStore, cell: RunSpec, code: str, status: str = "done", seconds: float = 10.0) -> None:
    """What a worker leaves."""
    key = store.register(cell)
    result = {"schema": SCHEMA, "run_key": key, "code_hash": code, "status": status, "reason": "because", "spec": cell.to_dict()}
    store.commit(key, {**result, "cost": {"seconds": seconds}})


class FakeEngine:
    """Calls a function for each job; it may commit, and returns the outcome's status."""

    def __init__(self, act: Callable[[str], str]) -> None:
        self.act, self.seen, self.closed = act, [], False

    def run(self, jobs: Sequence[Job], on_event: OnEvent) -> Iterator[Outcome]:
        try:
            for job in jobs:
                self.seen.append(job.key)
                on_event({"event": "epoch", "run_key": job.key, "epoch": 0, "epochs": 1})
                yield Outcome(job.key, self.act(job.key), 1.0, "")  # type: ignore[arg-type]
        finally:
            self.closed = True


class Recorder(NullTracker):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def start(self, command: str, cells: int) -> None:
        self.calls.append((command, cells))

    def mirror(self, folder: Path) -> None:
        self.calls.append(folder.name)

    def finish(self, status: str) -> None:
        self.calls.append(status)


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def code_of(cell: RunSpec, registry: Registry) -> str:
    from benchmark.code_hash import code_hash

    return code_hash(cell, registry)


def run(plan: driver.Plan, act: Callable[[str], str], tracker: Any = None) -> tuple[driver.CampaignResult, FakeEngine]:
    engine = FakeEngine(act)
    return driver.execute(plan, engine, tracker or NullTracker(), Progress(len(plan.pending)), poll_s=0.01), engine


def test_a_plan_sorts_cells_and_writes_nothing(registry: Registry, store: RunStore, tmp_path: Path) -> None:
    plan = driver.plan(registry, [spec(0), spec(1)], store)
    assert plan.counts == {"missing": 2}
    assert [cell.pending for cell in plan.cells] == [True, True]
    assert plan.wall_seconds(1) is None
    assert list(tmp_path.iterdir()) == []


def test_every_status_has_its_policy(registry: Registry, store: RunStore) -> None:
    cells = [spec(seed) for seed in range(5)]
    code = code_of(cells[0], registry)
    commit(store, cells[0], code)
    commit(store, cells[1], "other code")
    commit(store, cells[2], code, status="diverged")
    store.fail(store.register(cells[3]), ValueError("no luck"), "traceback")

    def pending(**options: Any) -> list[bool]:
        return [cell.pending for cell in driver.plan(registry, cells, store, **options).cells]

    assert pending() == [False, True, False, False, True]
    assert pending(stale="keep") == [False, False, False, False, True]
    assert pending(retry_failed=True) == [False, True, True, True, True]
    with pytest.raises(BenchmarkError, match="1 of 5 cells were made by other code"):
        pending(stale="error")
    with pytest.raises(BenchmarkError, match="did you mean 'keep'"):
        pending(stale="kep")
    plan = driver.plan(registry, cells, store)
    assert plan.counts == {"done": 2, "stale": 1, "failed": 1, "missing": 1}
    assert plan.cells[3].message == "ValueError: no luck"


def test_estimates_are_medians_and_longest_runs_go_first(registry: Registry, store: RunStore) -> None:
    code = code_of(spec(0), registry)
    for seed, seconds in enumerate((10.0, 12.0, 99.0)):
        commit(store, spec(seed), code, seconds=seconds)
    longer, unknown = spec(4, protocol=TrainingProtocol(epochs=90)), spec(6, method=PluginSpec("gce"))
    plan = driver.plan(registry, [spec(3), spec(5), longer, unknown], store)  # 30 epochs take 12 s, 90 take 36 s
    assert [cell.estimate and cell.estimate.seconds for cell in plan.cells] == [12.0, 12.0, 36.0, None]
    assert (plan.wall_seconds(1), plan.wall_seconds(2), plan.unestimated) == (60.0, 36.0, 1)
    assert [cell.spec for cell in plan.longest_first] == [unknown, longer, spec(3), spec(5)]
    _, engine = run(plan, lambda key: "done")
    assert engine.seen == [cell.key() for cell in (unknown, longer, spec(3), spec(5))]


def test_one_failure_does_not_lose_the_others(registry: Registry, store: RunStore) -> None:
    cells = [spec(seed) for seed in range(3)]
    code = code_of(cells[0], registry)
    by_key = {cell.key(): cell for cell in cells}

    def act(key: str) -> str:
        if by_key[key].seed == 1:
            return "failed"
        commit(store, by_key[key], code)
        return "done"

    tracker = Recorder()
    result, engine = run(driver.plan(registry, cells, store), act, tracker)
    assert [result.outcomes[cell.key()].status for cell in cells] == ["done", "failed", "done"]
    assert (result.finished, result.exit_code, engine.closed) == (2, 1, True)
    assert tracker.calls == [("run", 3), cells[0].key(), cells[2].key(), "failed"]


def test_again_does_nothing(registry: Registry, store: RunStore) -> None:
    commit(store, spec(0), code_of(spec(0), registry))
    tracker = Recorder()
    result, engine = run(driver.plan(registry, [spec(0)], store), lambda key: "failed", tracker)
    assert (engine.seen, tracker.calls, result.exit_code) == ([], [], 0)


def trial_of(cell: RunSpec) -> RunSpec:
    return dataclasses.replace(cell, labels={"method": "ce", "dataset": "digits", "noise": "none", "sweep": "ab12"})


def named(cell: RunSpec) -> RunSpec:
    return dataclasses.replace(cell, labels={"method": "ce", "dataset": "digits", "noise": "none"})


def test_a_trial_that_is_named_is_mirrored_once(registry: Registry, store: RunStore) -> None:
    """Also where nothing is to run; the search that asks for it again changes nothing."""
    code = code_of(spec(0), registry)
    commit(store, trial_of(spec(0)), code)
    key, tracker = spec(0).key(), Recorder()
    _, engine = run(driver.plan(registry, [trial_of(spec(0))], store), lambda key: "failed", tracker)
    assert (engine.seen, tracker.calls) == ([], [])
    for expected in ([("run", 1), key, "finished"], []):
        tracker = Recorder()
        result, engine = run(driver.plan(registry, [named(spec(0))], store), lambda key: "failed", tracker)
        assert (engine.seen, tracker.calls, result.exit_code) == ([], expected, 0)
        assert "sweep" not in store.spec(key).labels
    run(driver.plan(registry, [trial_of(spec(0))], store), lambda key: "failed")
    assert "sweep" not in store.spec(key).labels


def test_a_trial_that_is_named_is_mirrored_beside_others(registry: Registry, store: RunStore) -> None:
    commit(store, trial_of(spec(0)), code_of(spec(0), registry))
    tracker = Recorder()
    run(driver.plan(registry, [named(spec(0)), named(spec(1))], store), lambda key: "done", tracker)
    assert tracker.calls == [("run", 2), spec(0).key(), spec(1).key(), "finished"]


@pytest.mark.parametrize("error", [BenchmarkError("the cluster is gone"), RuntimeError("a defect")])
def test_the_tracker_hears_of_the_end_whatever_happens(registry: Registry, store: RunStore, error: Exception) -> None:
    cells, tracker = [spec(seed) for seed in range(3)], Recorder()

    def act(key: str) -> str:
        if key == cells[1].key():
            raise error
        (store.root / "phases").mkdir()
        return "done"

    with pytest.raises(type(error), match=str(error)):
        run(driver.plan(registry, cells, store), act, tracker)
    assert tracker.calls == [("run", 3), cells[0].key(), "failed"]
    assert (store.root / "phases").is_dir()  # for those who give the command again


def test_one_odd_result_is_no_obstacle(registry: Registry, store: RunStore) -> None:
    code = code_of(spec(0), registry)
    for seed in range(4):
        commit(store, spec(seed), code, seconds=12.0)
    changes = [("epochs", "30", "Infinity"), ("seconds", "12.0", "1" + "0" * 400), ("labels", "{}", "[1]")]
    for seed, (name, old, new) in enumerate(changes):
        path = store.folder(spec(seed).key()) / "result.json"
        text = path.read_text()
        assert f'"{name}": {old}' in text
        path.write_text(text.replace(f'"{name}": {old}', f'"{name}": {new}'))
    plan = driver.plan(registry, [spec(0), spec(9)], store)
    estimate = plan.cells[1].estimate
    assert plan.counts == {"done": 1, "missing": 1} and estimate is not None and (estimate.seconds, estimate.runs) == (12.0, 2)


def test_costs_that_are_kept_are_read_once(registry: Registry, store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    code, costs = code_of(spec(0), registry), FolderCosts(store)
    commit(store, spec(0), code, seconds=12.0)
    read: list[str] = []
    original = store.result
    monkeypatch.setattr(store, "result", lambda key: read.append(key) or original(key))
    for _ in range(2):
        plan = driver.plan(registry, [spec(1)], store, costs=costs)
        assert plan.cells[0].estimate is not None and plan.cells[0].estimate.seconds == 12.0
    assert read == [spec(0).key()]


def test_stale_results_stay_until_their_worker_begins(registry: Registry, store: RunStore) -> None:
    cells = [spec(0), spec(1)]
    for cell in cells:
        commit(store, cell, "other code")

    def act(key: str) -> str:
        if key == cells[1].key():
            raise KeyboardInterrupt
        assert store.result(key) is not None  # put away by the worker, under its lease
        return "done"

    result, _ = run(driver.plan(registry, cells, store), act)
    assert result.interrupted
    assert store.result(cells[1].key()) is not None


def test_a_busy_cell_is_waited_for(registry: Registry, store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = spec(0)
    looks: list[Status] = []
    status = store.status

    def look(key: str, code: str | None) -> Status:
        looks.append(Status.RUNNING)
        if len(looks) < 3:
            return Status.RUNNING
        commit(store, cell, code_of(cell, registry))
        return status(key, code)

    plan = driver.plan(registry, [cell], store)
    monkeypatch.setattr(store, "status", look)
    result, engine = run(plan, lambda key: "busy")
    assert result.outcomes[cell.key()].status == "done"
    assert len(engine.seen) == 1


def test_a_busy_cell_whose_driver_dies_is_taken_over(registry: Registry, store: RunStore) -> None:
    cell = spec(0)
    answers = iter(["busy", "done"])
    result, engine = run(driver.plan(registry, [cell], store), lambda key: next(answers))
    assert result.outcomes[cell.key()].status == "done"
    assert len(engine.seen) == 2


def test_interrupted(registry: Registry, store: RunStore) -> None:
    cells = [spec(seed) for seed in range(3)]

    def act(key: str) -> str:
        if key == cells[1].key():
            raise KeyboardInterrupt
        return "done"

    tracker = Recorder()
    result, engine = run(driver.plan(registry, cells, store), act, tracker)
    assert (result.interrupted, result.exit_code, result.finished) == (True, 130, 1)
    assert engine.closed
    assert tracker.calls[-1] == "interrupted"


def test_a_cell_that_cannot_be_registered_fails_alone(registry: Registry, store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [spec(0), spec(1)]
    register = store.register

    def full(cell: RunSpec) -> str:
        if cell.seed == 0:
            raise OSError(28, "No space left on device")
        return register(cell)

    plan = driver.plan(registry, cells, store)
    monkeypatch.setattr(store, "register", full)
    result, engine = run(plan, lambda key: "done")
    assert result.outcomes[cells[0].key()].message == "[Errno 28] No space left on device"
    assert engine.seen == [cells[1].key()]
    assert result.exit_code == 1


def test_a_folder_that_cannot_be_written_stops_everything(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    plan = driver.plan(registry, [spec(0)], RunStore(tmp_path / "file"))
    with pytest.raises(BenchmarkError, match="is a file"):
        run(plan, lambda key: "done")


def conditions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, device: str = "auto", **choice: Any) -> camp.Conditions:
    """Those of a command without --jobs, for an engine that need not be installed."""
    with monkeypatch.context() as patch:
        patch.setattr("benchmark.engines.choice.EXTRAS", {})
        patch.setattr("benchmark.engines.choice.shutil.which", lambda name: name)
        made = EngineChoice(engine, **choice)
    where = {"runs": tmp_path, "data_root": None, "plugins": None, "tracking_uri": None, "no_tracking": True}
    how = {"jobs": None, "gpus": "", "device": device, "threads": 1, "timeout": None, "stale": "rerun", "retry_failed": False}
    return camp.Conditions(**where, **how, dry_run=True, fmt="table", quiet=True, engine=made)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("engine", "device", "choice", "expected"),
    [
        ("ray", "auto", {}, "cpu"),
        ("ray", "auto", {"gpus_per_run": 0.5}, None),
        ("slurm", "auto", {}, "cpu"),
        ("slurm", "auto", {"slurm": {"gpus_per_node": 1}}, None),
        ("slurm", "cuda", {}, None),
        ("slurm", "cpu", {"slurm": {"gpus_per_node": 1}}, "cpu"),
        ("local", "auto", {}, "H200"),
    ],
)
def test_this_machines_gpus_say_nothing_of_runs_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, device: str, choice: dict[str, Any], expected: str | None
) -> None:
    monkeypatch.setattr("benchmark.system_metrics.gpus", lambda: [Gpu("H200", 0.0, 0.0, 1.0)])
    assert camp._device_name(conditions(tmp_path, monkeypatch, engine, device, **choice)) == expected


def test_runs_a_gpu_count_as_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry, store: RunStore) -> None:
    """For the engine and for the estimate of the wall time; --jobs that says the same may stand beside it."""
    made = dataclasses.replace(conditions(tmp_path, monkeypatch, "auto"), gpus="0,1", per_gpu=3)
    plan = driver.plan(registry, [named(spec(1)), named(spec(2))], store)
    assert camp._jobs(2, made) == camp._slots(plan, made) == 6
    assert camp._jobs(2, dataclasses.replace(made, jobs=6)) == 6
    assert made.worker.device == "cuda"


@pytest.mark.parametrize("engine", ["ray", "slurm"])
def test_a_cluster_that_decides_how_many_run_is_costed_for_one_worker(
    registry: Registry, store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    commit(store, spec(0), code_of(spec(0), registry), seconds=12.0)
    plan = driver.plan(registry, [named(spec(1)), named(spec(2))], store)
    slots = camp._slots(plan, conditions(tmp_path, monkeypatch, engine))
    print_plan(plan, "table", slots)
    assert capsys.readouterr().out.endswith("\nwall time for one worker: about 24.0 s\n")
    print_plan(plan, "json", slots)
    document = json.loads(capsys.readouterr().out)
    assert (document["jobs"], document["wall_seconds"]) == (None, 24.0)


def test_a_command_with_nothing_to_run_opens_the_mirror_for_a_named_trial_only(
    registry: Registry, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(store, trial_of(spec(0)), code_of(spec(0), registry))
    how, tracker = dataclasses.replace(conditions(store.root, monkeypatch, "serial"), no_tracking=False), Recorder()
    monkeypatch.setattr("benchmark.tracking.make_tracker", lambda enabled, uri, runs: tracker if enabled else NullTracker())
    for expected in (["finished"], []):
        tracker.calls.clear()
        camp.execute(camp.make_plan(registry, [named(spec(0))], how, set()), how, set())
        assert tracker.calls[-1:] == expected


@pytest.mark.parametrize(
    ("cores", "jobs", "pending", "threads"),
    [(8, None, 1, 8), (8, None, 3, 2), (8, None, 40, 1), (8, 2, 40, 4), (8, 4, 2, 4), (2, 4, 40, 1), (8, 3, 3, 2)],
)
def test_automatic_threads_are_the_cores_over_the_runs_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, jobs: int | None, pending: int, threads: int
) -> None:
    monkeypatch.setattr("benchmark.engines.available_cores", lambda: cores)
    asked = dataclasses.replace(conditions(tmp_path, monkeypatch, "local", "cpu"), threads=camp.AUTO_THREADS, jobs=jobs)
    assert asked.worker_of(pending).threads == threads
    assert dataclasses.replace(asked, threads=3).worker_of(pending).threads == 3
    words = camp.repeat_command("0" * 16, asked.worker_of(pending))
    assert (f"--threads {threads}" in words) is (threads != 1)


def test_automatic_threads_are_announced_and_no_cluster_takes_them(
    registry: Registry, store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmark.engines.available_cores", lambda: 6)
    asked = dataclasses.replace(conditions(tmp_path, monkeypatch, "local", "cpu"), threads=camp.AUTO_THREADS, quiet=False, dry_run=False)
    camp.announce(driver.plan(registry, [spec(0), spec(1)], store), "two", asked)
    assert capsys.readouterr().err.endswith("; 3 threads a run (--threads auto)\n")
    elsewhere = conditions(tmp_path, monkeypatch, "slurm")
    with pytest.raises(BenchmarkError, match="--threads auto divides the cores of this machine; --engine slurm needs a number"):
        dataclasses.replace(elsewhere, threads=camp.AUTO_THREADS)
