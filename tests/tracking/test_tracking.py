"""The MLflow mirror: complete, exactly once, and never in the way of a result."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark import tracking
from benchmark.errors import BenchmarkError
from benchmark.tracking import MlflowTracker, NullTracker, make_tracker, sync
from benchmark.tracking.command import Command, masked, masked_arguments
from benchmark.tracking.mlflow_store import MlflowStore
from benchmark.tracking.record import CUT, metric_name, read_record
from tests.waiting import wait_for

pytest.importorskip("mlflow")
ROOT = Path(__file__).resolve().parents[2]
Writer = Callable[..., Path]
Copies = Callable[[Any, Path], list[Any]]
DEAD = "http://reader:hunter22@127.0.0.1:1"
STARTED = 1_767_225_600  # 2026-01-01T00:00:00Z


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One runs folder with one store for the whole module, because opening a new store takes two seconds."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def client(shared: Path) -> Any:
    from mlflow.tracking import MlflowClient

    MlflowStore(tracking.tracker.store_uri(None, shared), shared)
    return MlflowClient(tracking.tracker.store_uri(None, shared))


def mirror(shared: Path, *folders: Path, command: str = "run", status: str = "finished") -> MlflowTracker:
    tracker = MlflowTracker(None, shared)
    tracker.start(command, len(folders))
    for folder in folders:
        tracker.mirror(folder)
    tracker.finish(status)
    return tracker


def test_run_is_mirrored_completely(shared: Path, client: Any, write_run: Writer, copies: Copies) -> None:
    folder = write_run(shared, seed=1)
    mirror(shared, folder)
    (run,) = copies(client, folder)

    assert run.data.params["method"] == "coteaching"
    assert run.data.params["method.forget_rate"] == "0.2"
    assert run.data.params["protocol.lr"] == "0.005"
    assert run.data.params["dataset_fingerprint"] == "v1-abc"
    assert len(run.data.params["method.note"]) == 6000
    assert run.data.params["method.note"].endswith(CUT)

    metrics = run.data.metrics
    assert metrics["final/last/accuracy"] == 0.8
    assert metrics["final/aux/teacher/accuracy"] == 0.7
    assert metrics["cost/seconds"] == 12.5
    assert metrics["system/peak_memory_mb"] == 640
    assert metrics["system/cpu_percent"] == 50
    assert metrics["warm up/fit_wrong_"] == 0.5
    assert "final/last/auroc" not in metrics
    assert not any(name.startswith("train/val") for name in metrics)
    curve = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(point.step, point.value, point.timestamp) for point in curve] == [
        (0, 1.0, (STARTED + 2) * 1000),
        (1, 0.5, (STARTED + 4) * 1000),
        (2, 1 / 3, (STARTED + 6) * 1000),
    ]
    assert client.get_metric_history(run.info.run_id, "warm up/fit_wrong_")[0].timestamp == (STARTED + 50) * 1000

    tags = run.data.tags
    expected = {"kind": "run", "run_key": folder.name, "code_hash": "c" * 16, "method": "coteaching:0.2", "noise": "symmetric:0.2"}
    expected |= {"seed": "1", "status": "done", "git_commit": "f" * 40, "host": "box", "oracle": "noise_rate", "mirror": "complete"}
    expected |= {"result_sha": hashlib.sha256((folder / "result.json").read_bytes()).hexdigest()}
    assert expected.items() <= tags.items()
    assert (run.info.status, run.info.start_time, run.info.end_time) == ("FINISHED", STARTED * 1000, (STARTED + 60) * 1000)

    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("tissue:n=100", "v1-abc")
    assert {tag.key: tag.value for tag in data.tags}["mlflow.data.context"] == "train"
    artifacts = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert artifacts == {"spec.json", "result.json", "history.jsonl", "samples.parquet"}
    assert run.info.artifact_uri.startswith((shared / "mlartifacts").as_uri())


def test_parent_is_the_command(shared: Path, client: Any, monkeypatch: pytest.MonkeyPatch, write_run: Writer, copies: Copies) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", "run", "--tracking-uri", DEAD, "--token", "tok-123"])
    folders = [write_run(shared, seed=10), write_run(shared, seed=11), write_run(shared, seed=11, name="chaoyang")]
    mirror(shared, *folders, command="run")
    runs = [copies(client, folder)[0] for folder in folders]
    parents = [client.get_run(run.data.tags["mlflow.parentRunId"]) for run in runs]

    assert parents[0].info.run_id == parents[1].info.run_id != parents[2].info.run_id
    for run, parent in zip(runs, parents, strict=True):
        assert parent.info.experiment_id == run.info.experiment_id
        assert (parent.info.status, parent.info.run_name, parent.data.tags["kind"]) == ("FINISHED", "run", "command")
        note = parent.data.tags["mlflow.note.content"]
        assert "hunter22" not in note and "tok-123" not in note and "--tracking-uri" in note
    name = client.get_experiment(runs[2].info.experiment_id).name
    assert name.startswith("chaoyang:n=100 / quick-") and len(name.rpartition("-")[2]) == 8


def test_mirroring_twice_changes_nothing(shared: Path, client: Any, write_run: Writer, copies: Copies) -> None:
    folder = write_run(shared, seed=20)
    mirror(shared, folder)
    before = copies(client, folder)[0]
    mirror(shared, folder)
    (after,) = copies(client, folder)
    assert after.info.run_id == before.info.run_id
    assert len(client.get_metric_history(after.info.run_id, "train/loss")) == 3


def test_half_mirrored_run_is_rebuilt(
    shared: Path, client: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, write_run: Writer, copies: Copies
) -> None:
    folder = write_run(shared, seed=30)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr("mlflow.tracking.MlflowClient.log_inputs", lambda *_, **__: (_ for _ in ()).throw(OSError("No space left on device")))
        mirror(shared, folder)
    assert "No space left" in caplog.text
    (half,) = copies(client, folder)
    assert "mirror" not in half.data.tags
    assert half.info.status == "FINISHED"  # never RUNNING for ever

    mirror(shared, folder)
    (whole,) = copies(client, folder)
    assert whole.info.run_id != half.info.run_id
    assert whole.data.tags["mirror"] == "complete"


def test_changed_result_replaces_the_run(shared: Path, client: Any, write_run: Writer, copies: Copies) -> None:
    mirror(shared, write_run(shared, seed=40, accuracy=0.8))
    folder = write_run(shared, seed=40, accuracy=0.9, epochs=2, status="diverged")
    mirror(shared, folder)
    (run,) = copies(client, folder)
    assert run.data.metrics["final/last/accuracy"] == 0.9
    assert len(client.get_metric_history(run.info.run_id, "train/loss")) == 2
    assert run.info.status == "FAILED"


def test_killed_command_does_not_run_for_ever(shared: Path, client: Any, write_run: Writer, copies: Copies) -> None:
    tracker = MlflowTracker(None, shared)
    tracker.start("sweep", 2)
    folder = write_run(shared, seed=50)
    assert tracker._command is not None
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    tracker._command = dataclasses.replace(tracker._command, pid=ended.pid)
    tracker.mirror(folder)  # and no finish()
    wait_for(lambda: any(run.data.tags.get("mirror") for run in copies(client, folder)))
    parent = copies(client, folder)[0].data.tags["mlflow.parentRunId"]
    assert client.get_run(parent).info.status == "RUNNING"
    mirror(shared, write_run(shared, seed=51))
    assert (client.get_run(parent).info.status, client.get_run(parent).data.tags["status"]) == ("KILLED", "lost")


def test_unreadable_folders_do_not_stop_the_others(
    shared: Path, client: Any, caplog: pytest.LogCaptureFixture, write_run: Writer, copies: Copies
) -> None:
    good, bad, unfinished = write_run(shared, seed=60), write_run(shared, seed=61), write_run(shared, seed=62)
    (bad / "result.json").write_text("{")
    (unfinished / "result.json").unlink()
    with caplog.at_level(logging.WARNING):
        mirror(shared, bad, unfinished, good)
    assert [len(copies(client, folder)) for folder in (good, bad, unfinished)] == [1, 0, 0]
    assert len(caplog.records) == 1 and str(bad) in caplog.text
    report = sync(shared)
    assert list(report.failed) == [bad.name] and "result.json cannot be read" in report.failed[bad.name]
    (bad / "result.json").unlink()


def test_dead_server_warns_once_fast_and_sync_repairs(
    shared: Path, client: Any, caplog: pytest.LogCaptureFixture, write_run: Writer, copies: Copies
) -> None:
    folders = [write_run(shared, seed=70), write_run(shared, seed=71)]
    started = time.monotonic()
    with caplog.at_level(logging.WARNING):
        tracker = make_tracker(True, DEAD, shared)
        tracker.start("run", 2)
        for folder in folders:
            tracker.mirror(folder)
        tracker.finish("finished")
    assert time.monotonic() - started < 10
    assert [record.name for record in caplog.records] == ["benchmark.tracking.tracker"]
    assert f"python -m benchmark sync --runs {shared}" in caplog.text
    assert "hunter22" not in caplog.text and "***@127.0.0.1" in caplog.text and "\n" not in caplog.records[0].getMessage()

    seen: list[tuple[int, int]] = []
    report = sync(shared, None, lambda done, total: seen.append((done, total)))
    assert report.mirrored == 2 and not report.failed
    assert seen[-1] == (len(seen), len(seen))
    assert sync(shared).mirrored == 0
    assert [len(copies(client, folder)) for folder in folders] == [1, 1]


def test_sync_skips_what_is_not_committed(shared: Path, client: Any, write_run: Writer, copies: Copies) -> None:
    folder = write_run(shared, seed=80)
    old = write_run(shared / folder.name / "history", seed=81)
    away = write_run(shared / "quarantine", seed=82)
    sync(shared)
    assert [len(copies(client, each)) for each in (folder, old, away)] == [1, 0, 0]


def test_sync_says_in_one_line_what_is_wrong(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchmarkError, match=r"\*\*\*@127.0.0.1:1 cannot be used") as caught:
        sync(shared, DEAD)
    assert "hunter22" not in str(caught.value)
    with pytest.raises(BenchmarkError, match="no runs folder"):
        sync(tmp_path / "absent")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(BenchmarkError, match="pip install"):
        sync(shared)


def test_deleted_experiment_is_restored(shared: Path, client: Any, write_run: Writer, copies: Copies) -> None:
    folder = write_run(shared, seed=90, name="binned")
    mirror(shared, folder)
    client.delete_experiment(copies(client, folder)[0].info.experiment_id)
    mirror(shared, folder)
    assert len(copies(client, folder)) == 1


def test_without_mlflow_there_is_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    tracker = make_tracker(True, None, tmp_path)
    assert isinstance(tracker, NullTracker)
    assert [record.getMessage().count("pip install") for record in caplog.records] == [1]
    tracker.start("run", 1)
    tracker.mirror(tmp_path)
    tracker.finish("finished")
    assert isinstance(make_tracker(False, None, tmp_path), NullTracker)


def test_mlflow_that_cannot_be_imported_costs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, write_run: Writer
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    mirror(tmp_path, write_run(tmp_path, seed=1))
    assert len(caplog.records) == 1


def test_nothing_to_mirror_imports_no_mlflow(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from benchmark.tracking import make_tracker\n"
        f"t = make_tracker(True, None, Path({str(tmp_path)!r})); t.start('run', 3); t.finish('finished')\n"
        "sys.exit(bool({'mlflow', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
    assert not list(tmp_path.iterdir())


def test_a_long_run_is_mirrored_in_a_fraction_of_a_second(shared: Path, client: Any, write_run: Writer, copies: Copies) -> None:
    folder = write_run(shared, seed=100)
    lines = [{"stage": "train", "epoch": e, "seconds": 1.0, **{f"m{i}": 0.1 * i + e for i in range(9)}} for e in range(100)]
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    store = MlflowStore(tracking.tracker.store_uri(None, shared), shared)
    command = Command.of_this_process("run", 2)
    store.mirror(read_record(write_run(shared, seed=101)), command)  # creates the experiment and the parent
    started = time.perf_counter()
    store.mirror(read_record(folder), command)
    assert time.perf_counter() - started < 2.0  # 0.2 s on an idle machine
    store.finish("FINISHED")
    assert len(client.get_metric_history(copies(client, folder)[0].info.run_id, "train/m8")) == 100


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("hit@5", "hit_5"),
        ("acc[test]", "acc_test_"),
        ("a//b/../c", "a/b/c"),
        ("/x", "x"),
        ("Größe", "Gr__e"),
        ("..", ""),
        ("y" * 300, "y" * 250),
    ],
)
def test_metric_names_are_made_acceptable(raw: str, name: str) -> None:
    assert metric_name(raw) == name


def test_secrets_are_masked() -> None:
    assert masked("at postgresql://me:pa@ss@host/db: no") == "at postgresql://***@host/db: no"
    assert masked("password pa@ss refused", "http://me:pa%40ss@host") == "password *** refused"
    assert masked_arguments(["--api-key", "k1", "--secret=k2", "--set", "a.tokens=3"]) == [
        "--api-key",
        "***",
        "--secret=***",
        "--set",
        "a.tokens=3",
    ]


def test_record_is_the_same_each_time(tmp_path: Path, write_run: Writer) -> None:
    folder = write_run(tmp_path, seed=3)
    (folder / "system.jsonl").write_text("".join(json.dumps({"time": STARTED + i, "x": i}) + "\n" for i in range(2500)))
    assert read_record(folder) == read_record(folder)
    assert len([point for point in read_record(folder).points if point.name == "system/x"]) <= 1000
