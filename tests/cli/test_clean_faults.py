"""What goes wrong while ``clean`` works: methods, images, disks, kills, and two calls at once."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.cleaning import FEW, METHODS, Clean, Given, figures, table, tiles, write
from tests.cli.conftest import TOY
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_method_that_fails_leaves_the_answer_to_the_others(answer: Given, clean: Clean, toys: Path, tmp_path: Path) -> None:
    methods = "aum,fails,declines,diverges,constant_detector"
    code, printed, notes = clean(answer.path, tmp_path / "out", "--plugin", toys, "--no-model", methods=methods)
    assert code == 1  # asked, and not all have answered
    assert printed.splitlines()[-1] == (
        "Not counted: fails, its runs have not ended well; declines, its runs have not ended well; "
        "diverges, its runs have not ended well; constant_detector, it ranks no label above another."
    )
    assert notes.count("skipped  declines: it is too shy\n") == 1 and notes.count("RuntimeError: [bold]no[/bold] luck; log: ") == 2
    told = figures(tmp_path / "out")
    assert (
        told["weights"] == {"aum": 1.0} and told["provenance"]["methods"] == "aum" and set(told["left_out"]) == set(methods.split(",")[1:])
    )
    assert "its runs have not ended well" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    code, _, notes = clean(answer.path, tmp_path / "out", "--plugin", toys, "--no-model", methods=methods)
    assert code == 1 and "nothing to run" in notes and "--retry-failed runs them" in notes
    code, _, notes = clean(answer.path, tmp_path / "out", "--plugin", toys, "--no-model", "--retry-failed", methods=methods)
    assert code == 1 and "4 to run" in notes


@pytest.mark.parametrize(("method", "said"), [("fails", "RuntimeError"), ("declines", "it is too shy"), ("constant_detector", "none of")])
def test_no_method_that_says_anything(answer: Given, clean: Clean, toys: Path, tmp_path: Path, method: str, said: str) -> None:
    for _ in range(2):  # a second call says why, too
        code, printed, notes = clean(answer.path, tmp_path / "out", "--plugin", toys, methods=method)
        assert (code, printed) == (2, "") and said in notes and "Traceback" not in notes
        assert sum(line.startswith("error: ") for line in notes.splitlines()) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["runs"]


def test_interrupted_and_given_again(answer: Given, clean: Clean, toys: Path, tmp_path: Path) -> None:
    code, printed, notes = clean(answer.path, tmp_path / "out", "--plugin", toys, "--no-model", methods="aum,stopped")
    assert (code, printed) == (130, "")
    assert notes.splitlines()[-1] == "interrupted; 1 of 4 runs of this step done; give the same command again to go on"
    toys.write_text(TOY.replace("raise KeyboardInterrupt", "return super().training_step(batch, networks, epoch)"), encoding="utf-8")
    code, _, notes = clean(answer.path, tmp_path / "out", "--plugin", toys, "--no-model", methods="aum")
    assert code == 0 and "1 done, 1 missing; 1 to run" in notes


def test_images_that_have_changed_are_judged_anew(answer: Given, clean: Clean, tmp_path: Path) -> None:
    rows = tiles(tmp_path / "tiles", 60)
    path = write(tmp_path / "tiles" / "labels.csv", rows)
    assert clean(path, tmp_path / "out", methods="aum")[0] == 0
    for name, *_ in rows[:3]:
        Image.effect_noise((8, 8), 80).convert("RGB").save(tmp_path / "tiles" / name)
    code, _, notes = clean(path, tmp_path / "out", methods="aum")
    assert code == 0 and "2 missing; 2 to run" in notes
    write(path, rows[:45])
    code, _, notes = clean(path, tmp_path / "out", methods="aum")
    assert code == 0 and len(table(tmp_path / "out")) == 45


def test_a_model_of_an_earlier_answer_is_said_to_be_one(answer: Given, clean: Clean, tmp_path: Path) -> None:
    shutil.copytree(answer.out, tmp_path / "out")
    code, _, notes = clean(answer.path, tmp_path / "out", "--no-model")
    assert code == 0 and f"{tmp_path / 'out' / 'model'} is of an earlier call and not of this answer\n" in notes


def test_a_broken_image_is_left_out_on_request(answer: Given, clean: Clean, tmp_path: Path) -> None:
    rows = tiles(tmp_path / "tiles", 60)
    path = write(tmp_path / "tiles" / "labels.csv", rows)
    (tmp_path / "tiles" / rows[4][0]).write_bytes(b"no image")
    code, _, notes = clean(path, tmp_path / "out")
    assert code == 2 and str(tmp_path / "tiles" / rows[4][0]) in notes and not (tmp_path / "out").exists()
    assert notes.endswith("; add --skip-bad to leave such files out\n")
    code, _, notes = clean(path, tmp_path / "out", "--skip-bad", "--no-model", methods="aum")
    assert code == 0, notes
    assert list(figures(tmp_path / "out")["audit"]["unreadable"]) == [rows[4][0]]
    assert [row["path"] for row in sorted(table(tmp_path / "out"), key=lambda row: int(row["index"]))] == [
        name for i, (name, *_) in enumerate(rows) if i != 4
    ]


def test_a_disk_that_fills_up_is_one_line(answer: Given, clean: Clean, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    shutil.copytree(answer.out / "runs", tmp_path / "out" / "runs")
    real = os.fsync

    def full(descriptor: int) -> None:
        if "labels.csv" in Path(f"/proc/self/fd/{descriptor}").readlink().name:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    code, printed, notes = clean(answer.path, tmp_path / "out", "--no-model")
    assert (code, printed) == (2, "") and "No space left" in notes.splitlines()[-1] and "Traceback" not in notes
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["runs"]
    monkeypatch.undo()
    assert clean(answer.path, tmp_path / "out", "--no-model")[0] == 0


def command(answer: Given, out: Path, *words: object) -> list[str]:
    """The words of a process of its own that takes a few seconds."""
    first = ("clean", answer.path, "--out", out, "--methods", METHODS, *FEW, "--data-root", answer.root, *words)
    return [sys.executable, "-m", "benchmark", *map(str, first)]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_or_interrupted_it_goes_on(answer: Given, tmp_path: Path, number: signal.Signals) -> None:
    words = command(answer, tmp_path / "out", "--epochs", 400)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: list((tmp_path / "out").glob("runs/*/result.json")), 90)
        wait_for(lambda: len(list((tmp_path / "out").glob("runs/*/history.jsonl"))) > 1, 90)
        process.send_signal(number)
        printed, notes = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -number), notes
    assert printed == "" and "Traceback" not in notes
    assert ("give the same command again to go on" in notes.splitlines()[-1]) == (number == signal.SIGINT)
    assert not (tmp_path / "out" / "labels.csv").exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("runs/*/result.json")}

    again = subprocess.run(words, capture_output=True, text=True, check=False, timeout=200)
    assert again.returncode == 0, again.stderr
    assert kept and all(path.stat().st_mtime_ns == time for path, time in kept.items())  # none was trained again
    assert len(table(tmp_path / "out")) == 180

    whole = subprocess.run(command(answer, tmp_path / "whole", "--epochs", 400), capture_output=True, text=True, check=False, timeout=200)
    assert whole.stdout == again.stdout  # as if nothing had happened
    assert (tmp_path / "whole" / "labels.csv").read_bytes() == (tmp_path / "out" / "labels.csv").read_bytes()


@pytest.mark.slow
def test_two_at_once_into_one_folder(answer: Given, tmp_path: Path) -> None:
    words = command(answer, tmp_path / "out", "--epochs", 200)
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [(*process.communicate(timeout=200), process.returncode) for process in both]
    assert 0 in [code for *_, code in ended], ended
    assert not [notes for _, notes, _ in ended if "Traceback" in notes]
    last = subprocess.run(words, capture_output=True, text=True, check=False, timeout=200)
    assert last.returncode == 0 and len(table(tmp_path / "out")) == 180, last.stderr
    assert [out for out, _, code in ended if code == 0 and out != last.stdout] == []


@pytest.mark.slow
def test_several_jobs_give_the_same_answer(answer: Given, tmp_path: Path) -> None:
    words = command(answer, tmp_path / "out")
    words[words.index("--jobs") + 1] = "2"
    found = subprocess.run(words, capture_output=True, text=True, check=False, timeout=200)
    assert (found.returncode, found.stdout) == (0, answer.printed), found.stderr
    assert (tmp_path / "out" / "labels.csv").read_bytes() == (answer.out / "labels.csv").read_bytes()
