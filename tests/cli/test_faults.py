"""What goes wrong while cells run, through the real command line: methods, disks, files, kills, servers."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmark.cli import main
from tests.waiting import wait_for

RUN = ("run", "--methods", "works", "--baseline", "none")

DEADLY = '''
"""Methods that end more than their run."""
import os
import signal
import sys
import time

import torch.nn.functional as F

from benchmark.api import Method, method


class Base(Method):
    def training_step(self, batch, networks, epoch):
        return F.cross_entropy(networks[0](batch.images), batch.labels)


@method("leaves")
class Leaves(Base):
    """Calls sys.exit."""

    def training_step(self, batch, networks, epoch):
        sys.exit(3)


@method("dies")
class Dies(Base):
    """Is killed, say for want of memory."""

    def training_step(self, batch, networks, epoch):
        os.kill(os.getpid(), signal.SIGKILL)


@method("notes")
class Notes(Base):
    """Writes a line for each epoch that it trains."""

    def training_step(self, batch, networks, epoch):
        time.sleep(float(os.environ.get("NAP", "0")))
        return super().training_step(batch, networks, epoch)

    def end_epoch(self, networks, epoch, run):
        with open(os.environ["NOTES"], "a") as file:
            file.write(f"{run.seed} {epoch}\\n")
'''


@pytest.fixture
def deadly(toys: Path) -> Path:
    """One more plugin file."""
    path = toys.with_name("deadly.py")
    path.write_text(DEADLY, encoding="utf-8")
    return path


def failures(err: str) -> dict[str, str]:
    """Method → its line in the list of what went wrong."""
    return {line.split()[1]: line for line in err.splitlines() if "; repeat: " in line}


def repeat(line: str) -> tuple[str, ...]:
    """The words after the program's name."""
    return tuple(line.partition("; repeat: python -m benchmark ")[2].split())


def folder_of(runs: Path, seed: int) -> Path:
    """The folder of the run with this seed."""
    return next(path.parent for path in runs.glob("*/spec.json") if json.loads(path.read_text())["seed"] == seed)


# ------------------------------------------------------------------------------------------------------ methods


def test_a_method_that_leaves_the_process_takes_nothing_with_it(bench, deadly: Path, capsys) -> None:
    assert bench("run", "--methods", "leaves,works", "--baseline", "none", "--plugin", str(deadly)) == 1
    printed = capsys.readouterr()
    assert "\n works   1" in printed.out
    (line,) = failures(printed.err).values()
    assert line.startswith("killed  leaves toy symmetric:0.2 seed 0: the run called sys.exit(3); log: runs/")
    assert bench(*repeat(line)) == 1
    assert "the run called sys.exit(3)" in capsys.readouterr().err


def test_a_run_that_diverged_is_shown_and_can_be_repeated(bench, tmp_path: Path, capsys) -> None:
    assert bench("run", "--methods", "diverges,works", "--baseline", "none") == 1
    printed = capsys.readouterr()
    assert "  diverged 1\n" in printed.out and "\n works     1" in printed.out
    (line,) = failures(printed.err).values()
    before = next((tmp_path / "runs").glob("*/history"), None)
    assert before is None
    assert bench(*repeat(line)) == 1
    assert "diverged  " in capsys.readouterr().err
    assert len(list((tmp_path / "runs").glob("*/history/*/result.json"))) == 1  # trained anew, and the old result is kept


@pytest.mark.slow
def test_a_killed_worker_is_one_line_and_the_others_finish(bench, deadly: Path, tmp_path: Path, capsys) -> None:
    broken = tmp_path / "data"
    for value, label in enumerate("ab"):
        (broken / label).mkdir(parents=True)
        for index in range(8):
            write_image(broken / label / f"{index}.png", 90 * value + index)
    (broken / "a" / "3.png").write_bytes(b"no image")
    words = ("--baseline", "none", "--jobs", "2", "--plugin", str(deadly))
    assert bench("run", "--methods", "fails,leaves,dies,works", *words, "--datasets", "folder:data", "--skip-bad") == 1
    printed = capsys.readouterr()
    assert "\n works   1" in printed.out
    lines = failures(printed.err)
    assert sorted(lines) == ["dies", "fails", "leaves"]
    assert "the worker ended by SIGKILL twice; see runs/logs/slot-" in lines["dies"]
    assert "the worker ended by exit code 3; see runs/logs/slot-" in lines["leaves"]
    assert "RuntimeError: [bold]no[/bold] luck; log: runs/" in lines["fails"]
    warnings = [line for line in printed.err.splitlines() if line.startswith("warning: ")]
    assert len([line for line in warnings if "left out 1 unreadable of 16 images in data" in line]) == 1
    assert len([line for line in warnings if "dies" in line and "tried once more" in line]) == 1
    assert len(warnings) == 2
    again = subprocess.run(
        [sys.executable, "-m", "benchmark", *repeat(lines["dies"])], capture_output=True, check=False, env=surroundings()
    )
    assert again.returncode == -signal.SIGKILL


def write_image(path: Path, value: int) -> None:
    from PIL import Image

    Image.new("L", (8, 8), value).save(path)


# -------------------------------------------------------------------------------------------------------- disks


def test_a_disk_that_fills_up_in_a_run_loses_nothing(bench, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def full(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if len(path.parent.name) == 16 and not path.name.startswith("spec.json"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    assert bench(*RUN, "--quiet") == 0
    capsys.readouterr()
    monkeypatch.setattr(os, "fsync", full)
    assert bench(*RUN, "--seeds", "0-2") == 1
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert printed.err.count("no space left below runs; free some and give the same command again; log: ") == 2
    assert "\n works   1" in printed.out
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert bench(*RUN, "--seeds", "0-2") == 0  # what could not even be marked as failed goes on
    printed = capsys.readouterr()
    assert "1 done, 2 dead; 2 to run" in printed.err
    assert not list((tmp_path / "runs").rglob("*.tmp"))


def test_a_disk_that_is_full_before_the_first_run(bench, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert bench(*RUN, "--quiet") == 2
    assert capsys.readouterr().err == "error: cannot write to runs folder runs: No space left on device; choose another with --runs DIR\n"


# -------------------------------------------------------------------------------------------------------- files


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_half_written_run_folders_are_told_and_made_again(bench, toys: Path, tmp_path: Path, capsys) -> None:
    runs = tmp_path / "runs"
    assert bench(*RUN, "--seeds", "0-5", "--quiet") == 0
    numbers = {seed: json.loads((folder_of(runs, seed) / "result.json").read_text())["metrics"] for seed in range(6)}
    keys = {seed: folder_of(runs, seed).name for seed in range(6)}
    halve(runs / keys[0] / "result.json")
    (runs / keys[1] / "spec.json").write_text('{"a')
    halve(runs / keys[2] / "predictions.npz")
    (runs / keys[3] / "history.jsonl").write_bytes(b"")
    (runs / keys[4] / "result.json").unlink()
    (runs / keys[4] / "last.pt").write_bytes(b"half a checkpoint")
    (runs / keys[4] / "stages").mkdir()
    (runs / keys[4] / "stages" / "train.pt").write_bytes(b"PK\x03\x04half")
    (runs / keys[5] / "samples.parquet").write_bytes(b"")
    capsys.readouterr()

    assert bench("report", "--plugin", str(toys)) == 0
    assert "over seeds 1, 2, 3, 5" in capsys.readouterr().out
    assert bench("rescore") == 2
    assert f"error: runs/{keys[2]}/predictions.npz is corrupt" in capsys.readouterr().err
    for words in (("status", "--plugin", str(toys)), ("show", keys[3]), ("show", keys[4])):
        assert bench(*words) == 0
    capsys.readouterr()
    assert len(list((runs / "quarantine").iterdir())) == 2

    assert bench(*RUN, "--seeds", "0-5") == 0
    printed = capsys.readouterr()
    assert "3 done, 1 dead, 2 missing; 3 to run" in printed.err
    assert "Traceback" not in printed.err
    assert {seed: json.loads((folder_of(runs, seed) / "result.json").read_text())["metrics"] for seed in range(6)} == numbers


@pytest.mark.parametrize("name", ["result.json", "spec.json"])
def test_a_folder_in_place_of_a_file_stops_nothing(bench, tmp_path: Path, name: str) -> None:
    assert bench(*RUN, "--seeds", "0-1", "--quiet") == 0
    strange = folder_of(tmp_path / "runs", 1) / name
    strange.unlink()
    strange.mkdir()
    assert bench("status") == 0
    assert bench(*RUN, "--seeds", "0-1", "--quiet") == 0
    assert len(list((tmp_path / "runs" / "quarantine").iterdir())) == 1


# ----------------------------------------------------------------------------------------------------- tracking


def test_a_dead_tracking_server_costs_one_warning(bench, toys: Path, tmp_path: Path, capsys) -> None:
    words = ("run", "--methods", "works", "--baseline", "none", "--datasets", "toy", "--epochs", "1", "--device", "cpu", "--jobs", "1")
    assert main([*words, "--seeds", "0-1", "--plugin", str(toys), "--tracking-uri", "http://127.0.0.1:9"]) == 0
    printed = capsys.readouterr()
    assert "\n works   2" in printed.out
    (warning,) = [line for line in printed.err.splitlines() if line.startswith("warning: ")]
    assert warning.startswith("warning: MLflow tracking is off, results are safe: ")
    assert warning.endswith("repair the mirror with: python -m benchmark sync --runs runs --tracking-uri http://127.0.0.1:9")
    assert bench("sync", "--tracking-uri", "http://127.0.0.1:9") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    store = f"sqlite:///{tmp_path}/mlflow.db"
    for said in ("2 runs mirrored, 0 were already, 0 failed\n", "0 runs mirrored, 2 were already, 0 failed\n"):
        assert bench("sync", "--tracking-uri", store) == 0
        assert capsys.readouterr().out == said


# ------------------------------------------------------------------------------------------------------ drivers


def surroundings(**more: str) -> dict[str, str]:
    """Of a command in a process of its own, started in another folder."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **more}


def command(deadly: Path, toys: Path, *more: str) -> list[str]:
    words = ["run", "--methods", "notes", "--baseline", "none", "--datasets", "toy", "--device", "cpu", "--no-tracking", "--jobs", "2"]
    return [sys.executable, "-m", "benchmark", *words, "--plugin", str(toys), "--plugin", str(deadly), *more]


@pytest.mark.slow
def test_two_drivers_train_every_cell_once(deadly: Path, toys: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    words = command(deadly, toys, "--seeds", "0-11", "--epochs", "1", "--runs", str(tmp_path / "runs"))
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
    both = [subprocess.Popen(words, env=surroundings(NOTES=str(notes), NAP="0.2"), **pipes) for _ in range(2)]
    said = [process.communicate(timeout=240) for process in both]
    for process, (out, err) in zip(both, said, strict=True):
        assert process.returncode == 0, err
        assert re.search(r"^ notes +12 ", out, re.MULTILINE)
    assert Counter(notes.read_text().splitlines()) == {f"{seed} 0": 1 for seed in range(12)}


@pytest.mark.slow
def test_a_killed_driver_takes_its_workers_along_and_the_same_command_goes_on(deadly: Path, toys: Path, tmp_path: Path) -> None:
    notes, runs = tmp_path / "notes.txt", tmp_path / "runs"
    words = command(deadly, toys, "--seeds", "0-3", "--epochs", "40", "--runs", str(runs))
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    driver = subprocess.Popen(words, env=surroundings(NOTES=str(notes), NAP="0.1"), **quiet)
    wait_for(lambda: len(list(runs.glob("*/history.jsonl"))) == 2)
    workers = psutil.Process(driver.pid).children(recursive=True)
    assert len(workers) >= 2
    driver.kill()
    driver.wait()
    wait_for(lambda: all(not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE for worker in workers), 20)
    again = subprocess.run(
        words, env=surroundings(NOTES=str(notes)), cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240
    )
    assert again.returncode == 0, again.stderr
    assert "2 dead, 2 missing; 4 to run" in again.stderr.splitlines()[0].replace("2 missing, 2 dead", "2 dead, 2 missing")
    assert re.search(r"^ notes +4 ", again.stdout, re.MULTILINE)
    assert {line.split()[0] for line in notes.read_text().splitlines() if line.endswith(" 39")} == set("0123")
