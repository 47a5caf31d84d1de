"""The command line as a user meets it, with training that takes a moment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("one_thread")


def stamps(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


def test_run_then_run_again_does_nothing(bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("run", "--methods", "works", "--seeds", "0-1") == 0
    first = capsys.readouterr()
    assert "4 to run, no estimate yet" in first.err
    assert "[4/4] done     ce toy symmetric:0.2 seed 1" in first.err
    assert "\x1b" not in first.err + first.out
    assert "\n works " in first.out and "ranked by selected/accuracy" in first.out
    before = stamps(tmp_path / "runs")
    assert bench("run", "--methods", "works", "--seeds", "0-1", "--format", "json") == 0
    second = capsys.readouterr()
    assert "4 done; nothing to run" in second.err
    assert {row["method"] for row in json.loads(second.out)["tasks"]["classification"]["runs"]} == {"works", "ce"}
    assert stamps(tmp_path / "runs") == before

    for form, sign in (("csv", "task,dataset,noise"), ("md", "| method |"), ("latex", "tabular"), ("table", "ranked by")):
        assert bench("report", "--format", form) == 0
        assert sign in capsys.readouterr().out
    assert bench("report", "--methods", "ce", "--seeds", "1", "--format", "csv") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert bench("report", "--rank-by", "last/acuracy") == 2
    assert "did you mean 'last/accuracy'" in capsys.readouterr().err

    assert bench("status", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert sum(listed["counts"].values()) == 4
    key = listed["cells"][0]["run_key"]
    assert bench("show", key) == 0
    assert "selected/accuracy" in capsys.readouterr().out
    assert bench("rescore") == 0
    assert capsys.readouterr().out == "0 runs changed\n"


def test_bad_cells_do_not_lose_good_ones(bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("run", "--methods", "fails,diverges,declines,works", "--baseline", "none") == 1
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith(("failed", "diverged"))]
    assert len(lines) == 2
    assert lines[0].startswith("failed  fails toy symmetric:0.2 seed 0: RuntimeError: [bold]no[/bold] luck; log: runs/")
    assert "; repeat: python -m benchmark worker " in lines[0]
    assert "Traceback" not in printed.err
    assert "it is too shy" in printed.out

    words = lines[0].partition("repeat: python -m benchmark ")[2].split()
    assert bench(*words) == 1
    assert "no luck" not in capsys.readouterr().out

    assert bench("run", "--methods", "fails,works", "--baseline", "none") == 1
    again = capsys.readouterr().err
    assert "nothing to run" in again
    assert "--retry-failed" in again
    assert bench("run", "--methods", "fails,diverges", "--baseline", "none", "--retry-failed") == 1
    assert "2 to run" in capsys.readouterr().err


def test_only_skipped_is_no_failure(bench) -> None:
    assert bench("run", "--methods", "declines", "--baseline", "none", "--quiet") == 0


def test_interrupted(bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("run", "--methods", "works,stopped", "--baseline", "none") == 130
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == "interrupted; 1 of 2 cells done; run the same command again to resume"
    assert printed.out == ""


def test_changed_code_is_stale(bench, toys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("run", "--methods", "works", "--baseline", "none")
    assert bench(*words, "--quiet") == 0
    toys.write_text(toys.read_text() + "\n# a comment\n")
    forget_hashes()
    assert bench(*words, "--dry-run") == 0
    assert "1 done; nothing to run" in capsys.readouterr().err
    toys.write_text(toys.read_text() + "\nNEW = 1\n")
    forget_hashes()
    assert bench(*words, "--dry-run") == 0
    assert "1 stale; 1 to run" in capsys.readouterr().err
    assert bench(*words, "--stale", "error") == 2
    assert "--stale rerun" in capsys.readouterr().err
    assert bench(*words, "--stale", "keep") == 0
    assert "stale" in capsys.readouterr().out
    assert bench(*words) == 0
    assert bench(*words) == 0
    assert "nothing to run" in capsys.readouterr().err


def forget_hashes() -> None:
    """A new process would read the file anew."""
    from benchmark import code_hash

    code_hash.forget_sources()
