"""``report`` as its user meets it: what it writes where, what it refuses, and what foreign files, kills and full disks leave behind."""

from __future__ import annotations

import errno
import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli import main
from benchmark.spec import PluginSpec, RunSpec, protocol

MakeRuns = Callable[..., Path]
LEFT = ".leaderboard-0a1b2c3d.tmp"
FILES = {f"leaderboard.{end}" for end in ("html", "md", "csv", "json", "tex")}


def _result(method: str, seed: int, rate: float = 0.2, **more: Any) -> dict[str, Any]:
    noise = PluginSpec("symmetric", {"rate": rate}, 2)
    labels = {"method": method, "dataset": "cells", "noise": f"symmetric:{rate}"}
    spec = RunSpec(PluginSpec(method, {}), PluginSpec("cells", {}, 1, "v1"), noise, protocol("quick"), seed, labels)
    metrics = {"selected": {"accuracy": 0.8 + seed / 100}, "last": {"accuracy": 0.7 + seed / 100}}
    data = {"task": "classification", "classes": ["a", "b"]}
    known = {"schema": 1, "run_key": spec.key(), "status": "done", "spec": spec.to_dict(), "metrics": metrics, "data": data}
    return {**known, "noise": {"solvable": True, "nominal_rate": rate}, "host": {"machine": "my-laptop", "device": "cpu"}, **more}


@pytest.fixture
def make_runs(tmp_path: Path) -> MakeRuns:
    """Writes results into ``runs``, by default of two methods with two seeds each."""

    def make(*results: dict[str, Any]) -> Path:
        for one in results or [_result(method, seed) for method in ("ce", "gce") for seed in (0, 1)]:
            folder = tmp_path / "runs" / one["run_key"]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "result.json").write_text(json.dumps(one), encoding="utf-8")
        return tmp_path / "runs"

    return make


def _refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main(["report", *map(str, words)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1, printed.err
    return printed.err


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


# ------------------------------------------------------------------------------------------------- the folder


def test_pictures_of_somebody_else_are_not_removed(make_runs: MakeRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paper = tmp_path / "paper"
    (paper / "figures").mkdir(parents=True)
    for name in ("overview.png", "classification-me.svg"):
        (paper / "figures" / name).write_bytes(b"mine")
    said = _refused(capsys, "--runs", make_runs(), "--out", paper)
    assert "holds classification-me.svg, which this command did not write" in said
    assert _names(paper / "figures") == {"overview.png", "classification-me.svg"}


def test_what_a_killed_report_has_left_goes_with_the_next(make_runs: MakeRuns, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / LEFT / "figures").mkdir(parents=True)
    (out / LEFT / "leaderboard.html.0a1b2c3d.tmp").write_text("half")
    assert main(["report", "--runs", str(make_runs()), "--out", str(out)]) == 0
    assert _names(out) == {*FILES, "figures"}


def test_an_earlier_comparison_and_earlier_figures_go(make_runs: MakeRuns, tmp_path: Path) -> None:
    runs, out = make_runs(*(_result(m, s, rate) for m in ("ce", "gce") for s in (0, 1) for rate in (0.2, 0.4))), tmp_path / "out"
    assert main(["report", "--runs", str(runs), "--out", str(out), "--compare", "gce,ce"]) == 0
    assert {"compare.md", "compare.csv", "compare.json", "compare.tex"} < _names(out)
    (out / "figures" / "bags-cd-3.png").write_bytes(b"of an earlier report")
    assert main(["report", "--runs", str(runs), "--out", str(out), "--methods", "ce"]) == 0
    assert _names(out) == {*FILES, "figures"}
    assert "bags-cd-3.png" not in _names(out / "figures")


def test_every_figure_has_a_name_that_the_next_report_knows(make_runs: MakeRuns, tmp_path: Path) -> None:
    from reports.board_names import FIGURES

    runs, out = make_runs(*(_result(m, s, rate) for m in ("ce", "gce", "elr") for s in (0, 1) for rate in (0.2, 0.4))), tmp_path / "out"
    assert main(["report", "--runs", str(runs), "--out", str(out)]) == 0
    drawn = _names(out / "figures")
    assert {name.split("-")[1].split(".")[0] for name in drawn} >= {"noise", "rules"}
    assert all(FIGURES.fullmatch(name) for name in drawn)


def test_a_full_disk_keeps_the_earlier_report(
    make_runs: MakeRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmark import files

    runs, out = make_runs(), tmp_path / "out"
    assert main(["report", "--runs", str(runs), "--out", str(out)]) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    capsys.readouterr()
    write = files.atomic_write_bytes

    def full(path: Path, data: bytes) -> None:
        if path.name.endswith(".csv"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    monkeypatch.setattr(files, "atomic_write_bytes", full)
    assert main(["report", "--runs", str(runs), "--methods", "ce", "--out", str(out)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"error: --out {out} cannot be written: {os.strerror(errno.ENOSPC)}; " + (
        "make room, or give another folder"
    )
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert main(["report", "--runs", str(runs), "--out", str(tmp_path / "new")]) == 2
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_an_interrupt_leaves_nothing(
    make_runs: MakeRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    from reports import leaderboard_figures

    def stopped(board: object, folder: Path) -> None:
        folder.mkdir()
        raise stop

    monkeypatch.setattr(leaderboard_figures, "draw_all", stopped)
    words = ["report", "--runs", str(make_runs()), "--out", str(tmp_path / "out")]
    if stop is KeyboardInterrupt:
        assert main(words) == 130
    else:
        with pytest.raises(stop):
            main(words)
    assert not (tmp_path / "out").exists()


def test_two_reports_take_turns(make_runs: MakeRuns, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    runs, out = make_runs(), tmp_path / "out"
    out.mkdir()
    (out / LEFT).mkdir()  # of the report that holds the folder
    holder = os.open(out, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    command = [sys.executable, "-m", "benchmark", "report", "--runs", str(runs), "--out", str(out)]
    second = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert second.stderr is not None
    lines = []
    while "waiting" not in (lines[-1] if lines else ""):
        lines.append(second.stderr.readline())
        assert lines[-1], lines
    assert _names(out) == {LEFT}
    os.close(holder)
    printed, said = second.communicate(timeout=60)
    assert (second.returncode, printed) == (0, ""), said
    assert _names(out) == {*FILES, "figures"}


@pytest.mark.parametrize("name", ["a b", "ü/ß", "it's"])
def test_folders_of_any_name(make_runs: MakeRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    make_runs()
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["report", "--out", name]) == 0
    assert _names(tmp_path / name) >= FILES
    assert json.loads((tmp_path / name / "leaderboard.json").read_bytes())["provenance"]["source"] == "runs"


def test_a_folder_inside_the_runs_is_no_run(make_runs: MakeRuns, capsys: pytest.CaptureFixture[str]) -> None:
    runs = make_runs()
    for _ in range(2):
        assert main(["report", "--runs", str(runs), "--out", str(runs / "board")]) == 0
    capsys.readouterr()
    key = _result("ce", 0)["run_key"]
    assert f"holds {key}, which this command did not write" in _refused(capsys, "--runs", runs, "--out", runs).replace(
        sorted(_names(runs))[0], key
    )
    assert "holds result.json" in _refused(capsys, "--runs", runs, "--out", runs / key)


# ------------------------------------------------------------------------------------------------- foreign results

FOREIGN = {
    "no spec": lambda r: r.pop("spec"),
    "a spec that is a list": lambda r: r.update(spec=[1]),
    "a method that is none": lambda r: r["spec"].update(method=None),
    "parameters that are a text": lambda r: r["spec"]["method"].update(params="x"),
    "a parameter that is no number": lambda r: r["spec"]["method"].update(params={"q": float("nan")}),
    "a seed that is a text": lambda r: r["spec"].update(seed="x"),
    "labels that are a list": lambda r: r["spec"].update(labels=["a"]),
    "a protocol that is none": lambda r: r["spec"].update(protocol=None),
    "half a character": lambda r: r["spec"]["labels"].update(method="a\ud800"),
    "metrics that are a list": lambda r: r.update(metrics=[1]),
    "a metric beyond all numbers": lambda r: r["metrics"]["selected"].update(accuracy=10**400),
    "a metric whose square is": lambda r: r["metrics"]["selected"].update(accuracy=1e308),
    "another task": lambda r: r["data"].update(task="regression"),
    "another status": lambda r: r.update(status="weird"),
    "noise that is a list": lambda r: r.update(noise=[1]),
    "a host that is a list": lambda r: r.update(host=[1]),
    "epochs that are a list": lambda r: r.update(epochs=[3]),
    "a truth that is a number": lambda r: r.update(oracle=5),
    "a solvable that is a text": lambda r: r["noise"].update(solvable="x"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_foreign_result_is_left_out_and_named(make_runs: MakeRuns, capsys: pytest.CaptureFixture[str], what: str) -> None:
    foreign = _result("elr", 0)
    FOREIGN[what](foreign)
    runs = make_runs()
    make_runs(foreign)
    assert main(["report", "--runs", str(runs), "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert {run["method"] for run in json.loads(printed.out)["tasks"]["classification"]["runs"]} == {"ce", "gce"}
    assert printed.err.startswith(f"warning: run {foreign['run_key']} is left out, its result is none: ")
    assert len(printed.err.splitlines()) == 1


def test_foreign_results_alone_are_an_error(make_runs: MakeRuns, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--runs", str(make_runs({**_result("ce", 0), "spec": 1}))]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: none of these results can be read; run the cells again"


def test_a_method_that_is_gone_and_an_older_schema(make_runs: MakeRuns, capsys: pytest.CaptureFixture[str]) -> None:
    runs = make_runs(_result("gone", 0), {**_result("ce", 0), "schema": 0})
    assert main(["report", "--runs", str(runs), "--format", "csv"]) == 0
    printed = capsys.readouterr()
    assert "gone" in printed.out and len(printed.err.splitlines()) == 1
    assert printed.err.startswith("warning: run ") and "it has schema 0, not 1" in printed.err


# ------------------------------------------------------------------------------------------------- what must not be told


def test_no_password_and_no_machine_in_any_file(
    make_runs: MakeRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = _result("ce", 0)
    address = "https://reader:hunter22@example.org/cells"
    secret["spec"]["dataset"]["params"] = {"root": address}
    secret["spec"]["labels"]["dataset"] = f"cells:root={address}"
    skipped = {**_result("gce", 0), "status": "skipped", "reason": f"{address} is closed"}
    skipped["spec"]["dataset"] = secret["spec"]["dataset"]
    runs, out = make_runs(secret, skipped), tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["benchmark"])
    words = ["report", "--runs", str(runs), "--filter", f'dataset != "{address}"', "--compare", "ce,gce"]
    assert main([*words, "--out", str(out)]) == 0
    for path in out.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"hunter22" not in content and b"my-laptop" not in content, path
    assert "https://***@example.org/cells" in (out / "leaderboard.json").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["report", "diff", str(runs), str(out)]) == 0
    assert "hunter22" not in capsys.readouterr().out


def test_nothing_is_fetched(make_runs: MakeRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a report reached for the web")

    one = _result("ce", 0)
    one["spec"]["dataset"] = {"name": "bloodmnist", "params": {}, "version": 1, "fingerprint": "v1"}
    runs = make_runs(one)
    given, quality = np.array([0, 1, 0, 1]), np.array([0.1, 0.2, 0.3, 0.4])
    judged = {"train_given": given, "train_true": given, "train_quality": quality, "train_suspect": quality < 0.15}
    np.savez(runs / one["run_key"] / "predictions.npz", **judged)
    pq.write_table(pa.table({"index": np.arange(4)}), runs / one["run_key"] / "samples.parquet")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("BENCHMARK_CACHE", str(tmp_path / "home" / "cache"))
    assert main(["report", "--runs", str(runs), "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "leaderboard.html").read_text(encoding="utf-8")
    assert "no pictures: " in page and "is not on this machine" in page
    assert str(tmp_path / "home") not in page and not list(tmp_path.glob("home/**/*.npz"))


# ------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize("option", ["--methods", "--datasets", "--noise", "--columns"])
def test_a_list_of_nothing(make_runs: MakeRuns, capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert f"error: {option} ',' names nothing" in _refused(capsys, "--runs", make_runs(), option, ",")


def test_names_that_no_run_has_at_once(make_runs: MakeRuns, capsys: pytest.CaptureFixture[str]) -> None:
    runs = make_runs(_result("ce", 0), _result("gce", 1))
    assert "no run has all of these" in _refused(capsys, "--runs", runs, "--methods", "ce", "--seeds", "1")


@pytest.mark.parametrize("words", [["--runs", "x"], ["--out", "y"], ["--format", "json"]])
def test_options_before_diff_are_not_lost(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert f"error: {words[0]} is no option of diff" in _refused(capsys, *words, "diff", "a", "b")


@pytest.mark.parametrize("option", ["--rank-by", "--columns"])
def test_an_unknown_metric_has_a_next_step(make_runs: MakeRuns, capsys: pytest.CaptureFixture[str], option: str) -> None:
    said = _refused(capsys, "--runs", make_runs(), option, "acc")
    assert "unknown metric 'acc'" in said and "report --format csv" in said


def test_a_filter_that_nothing_passes_says_where_to_look(make_runs: MakeRuns, capsys: pytest.CaptureFixture[str]) -> None:
    runs = make_runs()
    assert f"none of 4 runs; see: python -m benchmark report --runs {runs}" in _refused(capsys, "--runs", runs, "--filter", "seed > 8")


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; from benchmark.cli import main; main(['report', '--help']); main(['report', '--from', 'x', '--runs', 'y'])\n"
    code += "print(*sorted({'numpy', 'scipy', 'matplotlib', 'torch', 'pandas', 'mlflow'} & set(sys.modules)), file=sys.stderr)"
    env = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=env)
    assert done.stderr.splitlines()[-1] == ""
    assert all(len(line) <= 80 for line in done.stdout.splitlines()) and "--compare LIST" in done.stdout


def test_stdout_has_the_result_alone(make_runs: MakeRuns) -> None:
    """Bars and notes go to stderr, also where that is a terminal."""
    runs = make_runs()
    out, terminal = runs.parent / "out", pty.openpty()
    command = [sys.executable, "-m", "benchmark", "report", "--runs", str(runs)]
    with subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.PIPE, stderr=terminal[1], text=True) as process:
        os.close(terminal[1])
        shown = b""
        while process.poll() is None or select.select([terminal[0]], [], [], 0)[0]:
            if select.select([terminal[0]], [], [], 0.1)[0]:
                try:
                    part = os.read(terminal[0], 65_536)
                except OSError:  # the other end is closed
                    break
                shown += part
        assert process.wait() == 0 and process.stdout is not None and process.stdout.read() == ""
    os.close(terminal[0])
    assert b"written: " in shown and b"drawing figures" in shown
    done = subprocess.run([*command, "--format", "json"], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout)["tasks"] and done.stderr == ""


@pytest.mark.slow
def test_a_kill_at_any_time_leaves_the_earlier_report_or_the_next(make_runs: MakeRuns, tmp_path: Path) -> None:
    runs, out = make_runs(), tmp_path / "out"
    command = [sys.executable, "-m", "benchmark", "report", "--runs", str(runs), "--out", str(out)]
    assert subprocess.run(command, capture_output=True, check=False, timeout=120).returncode == 0
    earlier = json.loads((out / "leaderboard.json").read_bytes())
    killed = 0
    for wait in (0.0, 0.2, 0.4):
        process = subprocess.Popen([*command, "--methods", "ce"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not any(name.endswith(".tmp") for name in _names(out)):
            time.sleep(0.005)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        for name in FILES:
            assert (out / name).stat().st_size > 0
        found = json.loads((out / "leaderboard.json").read_bytes())
        assert found == earlier or len(found["tasks"]["classification"]["runs"]) == 2
    assert killed
    assert subprocess.run(command, capture_output=True, check=False, timeout=120).returncode == 0
    assert _names(out) == {*FILES, "figures"}
    shutil.rmtree(out)
