"""The mirror in real servers, which are killed in the middle of a campaign, and by several drivers at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli import main
from benchmark.tracking import MlflowTracker, read_results, sync
from benchmark.tracking.record import read_record
from tests.waiting import wait_for

pytest.importorskip("mlflow")
Writer = Callable[..., Path]
Copies = Callable[[Any, Path], list[Any]]
ROOT = Path(__file__).resolve().parents[2]


def client_of(uri: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri.replace("postgresql:", "postgresql+psycopg2:"))


def check_exact(client: Any, folder: Path, copies: Copies) -> None:
    """One copy of a run, whole, with all its points and files."""
    (run,) = copies(client, folder)
    assert run.data.tags["mirror"] == "complete"
    points = read_record(folder).points
    for name in {point.name for point in points}:
        there = {(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)}
        assert there == {(point.step, point.value) for point in points if point.name == name}
    assert run.data.params == read_record(folder).params
    assert {item.path for item in client.list_artifacts(run.info.run_id)} == {
        "spec.json",
        "result.json",
        "history.jsonl",
        "samples.parquet",
    }


def dies_and_comes_back(server: Any, runs: Path, write_run: Writer, copies: Copies, caplog: pytest.LogCaptureFixture) -> None:
    """A campaign of four runs whose server is killed after two of them."""
    folders = [write_run(runs, seed) for seed in range(4)]
    client = client_of(server.uri)
    mirror = MlflowTracker(server.uri, runs)
    mirror.start("run", 4)
    for folder in folders[:2]:
        mirror.mirror(folder)
    wait_for(lambda: all(run and run.data.tags.get("mirror") for folder in folders[:2] for run in copies(client, folder) or [None]))
    assert not caplog.records
    server.kill()
    for folder in folders[2:]:
        mirror.mirror(folder)
    mirror.finish("finished")
    assert [record.name for record in caplog.records] == ["benchmark.tracking.tracker"]
    assert f"sync --runs {runs} --tracking-uri {server.uri}" in caplog.text

    server.start()
    report = sync(runs, server.uri)
    assert (report.mirrored, report.already, report.failed) == (2, 2, {})
    first = [copies(client, folder)[0].info.run_id for folder in folders]
    again = sync(runs, server.uri)
    assert (again.mirrored, again.already) == (0, 4)
    assert first == [copies(client, folder)[0].info.run_id for folder in folders]
    for folder in folders:
        check_exact(client, folder, copies)
    assert not (runs / "mlartifacts").exists()
    expected = [json.loads((folder / "result.json").read_bytes()) for folder in sorted(folders)]
    assert [result for result in read_results(runs, server.uri) if result in expected] == expected


def test_server_on_sqlite(
    sqlite_server: Any, tmp_path: Path, write_run: Writer, copies: Copies, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one real server of the fast tests: mirror, report, nothing on stdout."""
    runs, uri = tmp_path / "runs", sqlite_server.uri
    folders = [write_run(runs, seed, name="quick") for seed in range(2)]
    mirror = MlflowTracker(uri, runs)
    mirror.start("run", 2)
    for folder in folders:
        mirror.mirror(folder)
    mirror.finish("finished")
    for folder in folders:
        check_exact(client_of(uri), folder, copies)
    assert capsys.readouterr() == ("", "")
    texts = []
    for words in (["--runs", str(runs)], ["--from", "mlflow", "--tracking-uri", uri, "--datasets", "quick:n=100"]):
        assert main(["report", "--format", "md", *words]) == 0
        texts.append(capsys.readouterr().out.partition("**where the numbers come from**")[0])
    assert texts[0] == texts[1] and "ranked by selected/accuracy" in texts[0]


@pytest.mark.slow
def test_sqlite_server_dies_and_comes_back(
    sqlite_server: Any, tmp_path: Path, write_run: Writer, copies: Copies, caplog: pytest.LogCaptureFixture
) -> None:
    dies_and_comes_back(sqlite_server, tmp_path / "runs", write_run, copies, caplog)


@pytest.mark.slow
def test_postgresql_server_dies_and_comes_back(
    postgresql_server: Any, tmp_path: Path, write_run: Writer, copies: Copies, caplog: pytest.LogCaptureFixture
) -> None:
    dies_and_comes_back(postgresql_server, tmp_path / "runs", write_run, copies, caplog)


def test_postgresql_without_a_server_of_mlflow(
    postgresql: str, tmp_path: Path, write_run: Writer, copies: Copies, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    folders = [write_run(runs, seed, name="direct") for seed in range(2)]
    assert sync(runs, postgresql).mirrored == 2
    assert sync(runs, postgresql).already == 2
    for folder in folders:
        check_exact(client_of(postgresql), folder, copies)
    assert [result["run_key"] for result in read_results(runs, postgresql)] == sorted(folder.name for folder in folders)
    hostile = write_run(
        runs, 7, name="d" * 600, note="nul \0, half a character \udcff, € " + "x" * 9000
    )  # PostgreSQL is strict where sqlite is not
    assert sync(runs, postgresql).failed == {}
    check_exact(client_of(postgresql), hostile, copies)
    assert main(["sync", "--runs", str(runs), "--tracking-uri", postgresql.replace("cluster-word-81", "other-word-82")]) == 2
    said = capsys.readouterr().err
    assert "authentication failed" in said and "word-8" not in said and len(said.splitlines()) == 1


SYNC = """
import sys
import time
from pathlib import Path
from benchmark.tracking import sync
sys.exit(" ".join(sync(Path(sys.argv[1]), sys.argv[2]).failed.values()) or None)
"""


def several_syncs(uri: str, runs: list[Path]) -> None:
    """One process a folder, at the same time."""
    processes = [subprocess.Popen([sys.executable, "-c", SYNC, str(folder), uri], cwd=ROOT) for folder in runs]
    assert [process.wait(240) for process in processes] == [0] * len(runs)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite_server", "postgresql_server", "postgresql", "file"])
def test_syncs_at_the_same_time_leave_one_copy(
    backend: str, tmp_path: Path, write_run: Writer, copies: Copies, request: pytest.FixtureRequest
) -> None:
    """Of one folder, and of another host's folder with the same runs."""
    found = f"sqlite:///{tmp_path}/new.db" if backend == "file" else request.getfixturevalue(backend)
    uri = found if isinstance(found, str) else found.uri
    here, there = tmp_path / "here", tmp_path / "there"
    folders = [write_run(here, seed, name=f"at-once-{backend}") for seed in range(3)]
    for seed in range(3):
        write_run(there, seed, name=f"at-once-{backend}")
    several_syncs(uri, [here, here, there])
    report = sync(here, uri)
    assert (report.mirrored, report.already, report.failed) == (0, 3, {})
    for folder in folders:
        check_exact(client_of(uri), folder, copies)
