"""``report --from mlflow``: the same tables as from the files, whatever is wrong with single runs of the store."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli import main
from benchmark.tracking import read_results, sync

pytest.importorskip("mlflow")
Writer = Callable[..., Path]
Copies = Callable[[Any, Path], list[Any]]
DEAD = "http://reader:hunter22@127.0.0.1:1"


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory, write_run: Writer) -> Path:
    """A runs folder of two methods, three seeds and one that diverged, and its store."""
    runs = tmp_path_factory.mktemp("mirrored") / "runs"
    for seed in range(3):
        write_run(runs, seed, accuracy=0.7 + 0.1 * seed / 3)
        write_run(runs, seed, accuracy=0.6 + 0.05 * seed, method="ce", note="$_&|\\ [bold]é")
    write_run(runs, 3, status="diverged", method="ce")
    sync(runs)
    return runs


@pytest.fixture
def store(mirrored: Path, tmp_path: Path) -> tuple[Path, Any]:
    """A copy of that store, to be spoilt, and MLflow's client for it. Its artifacts lie where they were first put."""
    from mlflow.tracking import MlflowClient

    shutil.copyfile(mirrored / "mlflow.db", tmp_path / "mlflow.db")
    return tmp_path, MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line with which a report is refused."""
    assert main(["report", "--from", "mlflow", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1, printed.err
    return printed.err


def numbers(text: str) -> str:
    """A report without the lines that say by which command and from where it was made."""
    if text.startswith("{"):
        found = json.loads(text)
        assert found.pop("provenance")["hosts"]
        return json.dumps(found)
    return "\n".join(line for line in text.splitlines() if not line.lstrip("-% ").startswith(("made by ", "read: ")))


@pytest.mark.parametrize("fmt", ["table", "json", "csv", "md", "latex"])
def test_it_is_the_report_from_files_to_the_byte(mirrored: Path, capsys: pytest.CaptureFixture[str], fmt: str) -> None:
    texts = []
    for source in ("files", "mlflow"):
        assert main(["report", "--runs", str(mirrored), "--from", source, "--format", fmt]) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        texts.append(numbers(printed.out))
    assert texts[0] == texts[1]
    assert "coteaching" in texts[0] and ("73.3" in texts[0] or "0.733" in texts[0])  # mean of 0.7, 0.733, 0.767


def test_results_are_the_files_content(mirrored: Path) -> None:
    expected = [json.loads(path.read_bytes()) for path in sorted(mirrored.glob("*/result.json"))]
    assert len(expected) == 7
    assert read_results(mirrored) == expected


def test_choices_work_alike(mirrored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["report", "--runs", str(mirrored), "--from", "mlflow", "--format", "json"]
    assert main([*words, "--methods", "ce", "--seeds", "0,1"]) == 0
    assert sorted(run["seed"] for run in json.loads(capsys.readouterr().out)["tasks"]["classification"]["runs"]) == [0, 1]
    assert main([*words, "--task", "bags"]) == 2
    assert capsys.readouterr().err == "error: no finished runs of bags in the MLflow store; leave --task out\n"


def test_single_bad_runs_are_left_out_with_a_line_each(
    store: tuple[Path, Any], mirrored: Path, copies: Copies, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, client = store
    files = [path.parent for path in sorted(mirrored.glob("*/result.json"))]
    half, gone, other, rubbish = (copies(client, each)[0] for each in files[:4])

    def put(run: Any, content: str, sha: str) -> None:
        """Another result.json for a copy, without touching the file that the other tests read."""
        files = folder / "mlartifacts" / run.info.run_id / "artifacts"
        files.mkdir(parents=True)
        (files / "result.json").write_text(content)
        place(folder / "mlflow.db", run, files)
        client.set_tag(run.info.run_id, "result_sha", sha)

    client.delete_tag(half.info.run_id, "mirror")
    place(folder / "mlflow.db", gone, folder / "nowhere" / "mlartifacts" / gone.info.run_id / "artifacts")
    foreign = (files[5] / "result.json").read_text()
    put(other, foreign, hashlib.sha256(foreign.encode()).hexdigest())
    put(rubbish, "[1]", hashlib.sha256(b"[1]").hexdigest())
    cut = copies(client, files[4])[0]
    client.set_tag(cut.info.run_id, "result_sha", "0" * 64)
    stranger = client.create_run(half.info.experiment_id, tags={"kind": "run", "run_key": "../../etc", "mirror": "complete"})
    assert stranger.info.status == "RUNNING"

    assert main(["report", "--runs", str(folder), "--from", "mlflow", "--format", "json"]) == 0
    printed = capsys.readouterr()
    said = printed.err.splitlines()
    expected = {
        files[0].name: "it is only half mirrored",
        files[1].name: "result.json cannot be had: ",
        files[2].name: f"result.json belongs to run {files[5].name}",
        files[3].name: "result.json cannot be read: TypeError",
        files[4].name: "result.json is not the file that was mirrored",
    }
    for line, (key, why) in zip(said, expected.items(), strict=True):
        assert line.startswith(f"warning: run {key} was left out: {why}")
    assert {run["run_key"] for run in json.loads(printed.out)["tasks"]["classification"]["runs"]} == {path.name for path in files[5:]}


def place(database: Path, run: Any, folder: Path) -> None:
    """Let a run of a sqlite store say that its artifacts lie elsewhere."""
    import sqlite3

    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (folder.as_uri(), run.info.run_id))
    connection.close()


def test_of_two_copies_one_counts(store: tuple[Path, Any], mirrored: Path, copies: Copies) -> None:
    folder, client = store
    first = sorted(mirrored.glob("*/result.json"))[0].parent
    (run,) = copies(client, first)
    twin = client.create_run(run.info.experiment_id, tags={key: run.data.tags[key] for key in ("kind", "run_key", "mirror", "result_sha")})
    client.log_artifact(twin.info.run_id, str(first / "result.json"))
    assert len(copies(client, first)) == 2
    assert read_results(folder) == read_results(mirrored)


def test_artifacts_out_of_reach_are_one_line(store: tuple[Path, Any], mirrored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import sqlite3

    folder, _ = store
    with sqlite3.connect(folder / "mlflow.db") as connection:
        connection.execute("UPDATE runs SET artifact_uri = replace(artifact_uri, 'mlartifacts', 'moved/mlartifacts')")
    connection.close()
    said = refused(capsys, "--runs", str(folder))
    assert "none of its 7 runs can be read; " in said and "result.json cannot be had" in said
    assert said.rstrip().endswith(f"mirror a runs folder with: python -m benchmark sync --runs {folder}")


@pytest.fixture
def trial(tmp_path: Path, write_run: Writer) -> Path:
    """A run that a search has made, beside one that a command has."""
    runs = tmp_path / "runs"
    write_run(runs, 0)
    folder = write_run(runs, 0, method="ce")
    for name in ("spec.json", "result.json"):
        content = json.loads((folder / name).read_text())
        (content if name == "spec.json" else content["spec"])["labels"]["sweep"] = "ab12"
        (folder / name).write_text(json.dumps(content))
    return folder


def name_it(folder: Path) -> None:
    """What a driver does that is asked for a run by name."""
    content = json.loads((folder / "spec.json").read_text())
    del content["labels"]["sweep"]
    (folder / "spec.json").write_text(json.dumps(content))


def reports(runs: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """The report from the files and that from their mirror."""
    texts = []
    for source in ("files", "mlflow"):
        assert main(["report", "--runs", str(runs), "--from", source, "--format", "json", *words]) == 0
        texts.append(capsys.readouterr().out)
    return texts


def test_a_trial_that_a_command_names_is_shown_from_both(trial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also by a store that had it as a trial only: a sync sees that its copy is outdated."""
    runs = trial.parent
    assert sync(runs).mirrored == 2
    files, mirror = reports(runs, capsys)
    assert files == mirror and trial.name not in files
    files, mirror = reports(runs, capsys, "--trials")
    assert files == mirror and trial.name in files
    name_it(trial)
    done = sync(runs)
    assert (done.mirrored, done.already) == (1, 1)
    files, mirror = reports(runs, capsys)
    assert files == mirror and trial.name in files
    assert sync(runs).already == 2
    assert [result.get("named") for result in read_results(runs) if result["run_key"] == trial.name] == [True]


def test_what_a_result_says_of_its_name_is_not_believed(trial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = json.loads((trial / "result.json").read_text())
    (trial / "result.json").write_text(json.dumps({**result, "named": True}))
    sync(trial.parent)
    files, mirror = reports(trial.parent, capsys)
    assert files == mirror and trial.name not in files


def test_files_that_lie_elsewhere_are_not_read(
    store: tuple[Path, Any], mirrored: Path, copies: Copies, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though they are the right ones."""
    folder, client = store
    first = sorted(mirrored.glob("*/result.json"))[0].parent
    (run,) = copies(client, first)
    place(folder / "mlflow.db", run, first)
    assert main(["report", "--runs", str(folder), "--from", "mlflow", "--format", "json"]) == 0
    printed = capsys.readouterr()
    expected = f"its files lie at {first.as_uri()}, which is not part of this store"
    assert printed.err == f"warning: run {first.name} was left out: {expected}\n"
    assert first.name not in {run["run_key"] for run in json.loads(printed.out)["tasks"]["classification"]["runs"]}


def test_no_store_an_empty_one_and_a_dead_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.chdir(tmp_path)
    assert refused(capsys).startswith(f"error: there is no MLflow store sqlite:///{tmp_path}/runs/mlflow.db; mirror")
    assert refused(capsys, "--tracking-uri", "sqlite:///typo.db").startswith("error: there is no MLflow store sqlite:///typo.db; mirror")
    said = refused(capsys, "--tracking-uri", DEAD)
    assert said.startswith("error: MLflow store http://***@127.0.0.1:1 cannot be used: ") and "hunter22" not in said
    assert refused(capsys, "--tracking-uri", "htp://x").startswith("error: MLflow store htp://x cannot be used: ")
    assert not list(tmp_path.iterdir())

    (tmp_path / "bad.db").write_text("not a database, but long enough to look like a file of one" * 20)
    assert "cannot be used: " in refused(capsys, "--tracking-uri", "sqlite:///bad.db")
    MlflowClient("sqlite:///empty.db").search_experiments()
    assert "sqlite:///empty.db: it holds no runs; mirror a runs folder with: " in refused(capsys, "--tracking-uri", "sqlite:///empty.db")
    assert not (tmp_path / "runs").exists()


def test_options_that_say_nothing_together(mirrored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--runs", str(mirrored), "--tracking-uri", "sqlite:///x.db"]) == 2
    assert capsys.readouterr().err == "error: --tracking-uri says nothing of files; add --from mlflow, or leave it out\n"
    assert main(["report", "--runs", str(mirrored), "--from", "mlfow"]) == 2
    assert capsys.readouterr().err.startswith("error: unknown --from 'mlfow'; did you mean 'mlflow'?")


def test_without_mlflow_it_says_how_to_get_it(mirrored: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "pip install 'mlflow>=3.10'" in refused(capsys, "--runs", str(mirrored))
