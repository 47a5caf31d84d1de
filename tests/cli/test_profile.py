"""``run --profile`` as a user meets it: the table, the files, and cells of which nothing is left to be measured."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from benchmark.cli.profiles import print_profiles
from benchmark.profiling.summary import FOLDER, PROFILE, TRACE, Column, mean_column, rows_of

pytestmark = pytest.mark.usefixtures("one_thread")


def folders(root: Path) -> list[Path]:
    return sorted(path.parent.parent for path in (root / "runs").glob(f"*/{FOLDER}/{PROFILE}"))


def test_a_table_below_the_comparison(bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("run", "--methods", "works", "--seeds", "0-1", "--profile", "--quiet") == 0
    printed = capsys.readouterr()
    before, _, table = printed.out.partition("\nWhere the time goes on toy, mean of 2 runs\n")
    assert "ranked by selected/accuracy" in before
    lines = table.splitlines()
    assert lines[0].split() == ["part", "works", "ce"]
    assert {"preparation", "forward", "backward", "optimiser", "evaluation", "checkpoint", "commit"} <= {
        line.split()[0] for line in lines[1:]
    }
    assert lines[-1].split()[0] == "run" and lines[-1].count("100.0 %") == 2
    assert f"traces: runs/<run key>/{FOLDER}/{TRACE}, to be opened in https://ui.perfetto.dev or chrome://tracing" in printed.err
    assert len(folders(tmp_path)) == 4
    for folder in folders(tmp_path):
        with gzip.open(folder / FOLDER / TRACE) as file:
            assert json.load(file)["traceEvents"]
        assert json.loads((folder / "result.json").read_text())["status"] == "done"


def test_documents_on_stdout_stay_documents(bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("run", "--methods", "works", "--profile", "--quiet", "--format", "json") == 0
    printed = capsys.readouterr()
    assert "tasks" in json.loads(printed.out)
    assert "Where the time goes on toy\n" in printed.err


def test_what_is_done_cannot_be_profiled(bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("run", "--methods", "works", "--baseline", "none", "--quiet") == 0
    assert not folders(tmp_path)
    capsys.readouterr()
    assert bench("run", "--methods", "works", "--baseline", "none", "--profile") == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: --profile measures runs while they go on, and none of the 1 cells is to run: "
        "give an empty folder (--runs DIR), or other --seeds or --epochs"
    )
    assert bench("run", "--methods", "works", "--profile") == 0  # the baseline is new
    printed = capsys.readouterr()
    assert "--profile: 1 cell of 2 ended before and will not be measured" in printed.err
    assert "works" not in printed.out.partition("Where the time goes")[2]
    assert len(folders(tmp_path)) == 1
    assert bench("run", "--methods", "works", "--baseline", "none", "--profile", "--runs", "elsewhere") == 0


def test_what_failed_before_can_be_tried_again(bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("run", "--methods", "fails,declines", "--baseline", "none", "--profile") == 1
    printed = capsys.readouterr()
    assert "2 cells left no profile" in printed.err and "Where the time goes" not in printed.out
    assert bench("run", "--methods", "fails", "--baseline", "none", "--profile") == 2
    assert capsys.readouterr().err.endswith("; --retry-failed runs those that failed\n")


def test_a_dry_run_measures_nothing(bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("run", "--methods", "works", "--profile", "--dry-run") == 0
    assert not (tmp_path / "runs").exists()
    assert "Where the time goes" not in capsys.readouterr().out


@pytest.mark.slow
def test_workers_of_their_own_profile_each_run(bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("run", "--methods", "works", "--profile", "--jobs", "2", "--quiet") == 0
    starts = [json.loads((folder / FOLDER / PROFILE).read_text())["parts"]["start"] for folder in folders(tmp_path)]
    assert len(starts) == 2 and min(starts) > 0.5  # each process has imported torch
    assert "\nstart " in capsys.readouterr().out


def test_the_mean_of_a_method_by_hand() -> None:
    profiles = [{"parts": {"forward": 1.0, "backward": 2.0, "of a later version": 1.0}}, {"parts": {"forward": 3.0}}]
    column = mean_column("ce", profiles, [0.5, 0.5])
    assert column == Column("ce", {"forward": 2.0, "backward": 1.0, "tracking": 0.5, "other": 0.5}, 2)
    assert column.total == 4.0
    other = Column("hsa", {"backward": 8.0}, 1)
    assert rows_of([column, other]) == [
        ["forward", "2.00 s   50.0 %", ""],
        ["backward", "1.00 s   25.0 %", "8.00 s  100.0 %"],
        ["tracking", "0.50 s   12.5 %", ""],
        ["other", "0.50 s   12.5 %", ""],
        ["run", "4.00 s  100.0 %", "8.00 s  100.0 %"],
    ]


def test_the_mirrors_seconds_are_a_row(bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmark.cli import run as command

    def with_a_slow_mirror(campaign, fmt: str) -> None:
        campaign.tracking_seconds = dict.fromkeys(campaign.outcomes, 1000.0)
        print_profiles(campaign, fmt)

    monkeypatch.setattr(command, "print_profiles", with_a_slow_mirror)
    assert bench("run", "--methods", "works", "--baseline", "none", "--profile", "--quiet") == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("tracking")]
    assert row.split()[:2] == ["tracking", "1000.00"]
