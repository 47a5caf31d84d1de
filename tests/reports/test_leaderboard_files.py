"""The whole folder of a leaderboard from a fixed folder of runs: every byte of it, foreign names in it, and what is refused."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import shutil
from pathlib import Path

import pytest

from benchmark.cli import main
from tests.reports.run_folders import write_runs

GOLDEN = Path(__file__).parent / "golden"
FILES = ("leaderboard.md", "leaderboard.csv", "leaderboard.json", "leaderboard.tex", "compare.md")
EVIL = '=<script>alert("x")</script>|a_b%[red]\\é\x1b[31m\n&{}$#~^*\u202e'


@pytest.fixture
def runs(tmp_path: Path, result, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_runs(tmp_path / "runs", result)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, result) -> Path:
    """A report of the whole folder, with its pairs."""
    here = tmp_path_factory.mktemp("board")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        write_runs(here / "runs", result)
        assert main(["report", "--out", "out", "--compare", "hsa,ce"]) == 0
    return here / "out"


@pytest.mark.parametrize("name", FILES)
def test_golden(written: Path, name: str) -> None:
    """To renew them after a change that is meant: copy what this test writes, and read the difference."""
    assert (written / name).read_bytes() == (GOLDEN / name).read_bytes()


def test_a_naive_mean_would_rank_who_lacks_the_hardest_cell_first(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`lucky` has no result where 40 % of the labels of `cells` are wrong; over what is there its mean is the highest."""
    assert main(["report", "--filter", 'dataset == "cells"', "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["tasks"]["classification"]
    means: dict[str, list[float]] = {}
    for row in found["table"]:
        means.setdefault(row["method"], []).append(row["values"]["selected/accuracy"]["mean"])
    naive = sorted(means, key=lambda method: -sum(means[method]) / len(means[method]))
    assert naive[0] == "lucky"
    standings = {row["method"]: row for row in found["overall"]["standings"]}
    assert [*standings][::4] == ["hsa:rounds=2", "lucky"]
    assert (standings["lucky"]["average_rank"], standings["lucky"]["mean"], standings["lucky"]["missing"]) == (None, None, 1)
    assert found["overall"]["too_few"] == "too few to test: 4 conditions of 6"


def test_every_number_has_its_origin(written: Path) -> None:
    text = (written / "leaderboard.json").read_text()
    origin = json.loads(text)["provenance"]
    assert origin["command"] == "python -m benchmark report --out out --compare hsa,ce"
    (host,) = origin["hosts"]
    assert "torch 2.15.0" in host and "cpu" in host and "secret-host" not in text
    rows = list(csv.DictReader(io.StringIO((written / "leaderboard.csv").read_text())))
    for row in rows:
        keys = row["run_keys"].split()
        assert len(keys) == int(row["n"]) == 3 - (row["method"] == "elr" and row["dataset"] == "slides" and row["noise"] == "none")
        assert all((written.parent / "runs" / key / "result.json").exists() for key in keys)
        assert row["command"].startswith("python -m benchmark run --methods ")
    text = (written / "leaderboard.md").read_text()
    assert "0123456789abcdef" in text and "torch 2.15.0" in text


def test_what_was_left_out_on_purpose_is_said(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--seeds", "0-1", "--methods", "ce,hsa", "--filter", "rate < 0.4", "--format", "md"]) == 0
    out = capsys.readouterr().out
    assert "- only: methods ce, hsa\n- only: seeds 0-1\n- only: rate &lt; 0.4\n" in out and "elr" not in out


def test_foreign_names_are_inert_in_every_file(tmp_path: Path, result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_runs(tmp_path / "runs", result, {"cells": EVIL, "elr": EVIL, "in situ": EVIL})
    assert main(["report", "--out", "out"]) == 0
    out = tmp_path / "out"
    page = (out / "leaderboard.html").read_text()
    assert "<script>alert" not in page and html.escape('=<script>alert("x")</script>') in page
    for figure in out.glob("figures/*.svg"):
        assert "<script" not in figure.read_text()
    rows = list(csv.DictReader(io.StringIO((out / "leaderboard.csv").read_text())))
    assert "'" + EVIL in {row["method"] for row in rows} and not any(value.startswith("=") for row in rows for value in row.values())
    tex = (out / "leaderboard.tex").read_text()
    assert "\\textless{}script\\textgreater{}" in tex and not re.search(r"(?<!\\)[&%$#_](?=b\\%)", tex)
    assert tex.count("\\begin{table}") == tex.count("\\end{table}") == 9  # eight conditions, and what is over them
    table = [line for line in (out / "leaderboard.md").read_text().splitlines() if line.startswith("|")]
    assert "<script" not in "\n".join(table) and "\x1b" not in "\n".join(table)
    assert json.loads((out / "leaderboard.json").read_text())


def test_the_folder_belongs_to_the_report(runs: Path, written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {path.name for path in written.iterdir() if path.is_file()} == {
        *FILES, "leaderboard.html", "compare.csv", "compare.json", "compare.tex",
    }  # fmt: skip
    assert (written / "figures" / "classification-noise.svg").exists()
    out = runs.parent / "out"
    shutil.copytree(written, out)
    assert main(["report", "--out", "out", "--filter", 'dataset == "cells" and rate == 0.2']) == 0
    assert not (out / "figures" / "classification-noise.svg").exists(), "a figure of an earlier report"
    (out / "mine.txt").write_text("precious")
    capsys.readouterr()
    assert main(["report", "--out", "out"]) == 2
    assert capsys.readouterr().err == "error: --out out holds mine.txt, which this command did not write; choose another folder\n"
    (out / "mine.txt").unlink()
    (out / "figures" / "my plot.svg").write_text("precious")
    assert main(["report", "--out", "out"]) == 2
    assert "my plot.svg" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "out", "--format", "md"), "--out writes every format; leave --format md out, or print one: report --format md > FILE"),
        (("--out", "table.md"), "--out table.md is a file; give a folder, or print one table: report --format md > table.md"),
        (("--filter", "datset == 1"), "did you mean 'dataset'"),
        (("--filter", "rate > 0.9"), "none of 117 runs"),
        (("--filter", "__import__('os').system('x')"), "is no condition"),
        (("--compare", "hsa"), "names one method; name two or more"),
        (("--compare", "hsa,gcf"), "unknown method 'gcf'"),
        (("--posthoc", "nemeni"), "did you mean 'nemenyi'"),
        (("--from", "mlfow"), "did you mean 'mlflow'"),
        (("--gallery", "-1"), "--gallery"),
        (("diff", "runs"), "NEW"),
        (("diff", "runs", "nowhere"), "nowhere"),
        (("diff", "runs", "table.md"), "table.md"),
        (("dif", "runs", "runs"), "dif"),
    ],
)
def test_bad_input_is_one_line(runs: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    (runs.parent / "table.md").write_text("mine")
    assert main(["report", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and printed.err.startswith("error: ") and said in printed.err, printed.err
    assert not (runs.parent / "out").exists() and (runs.parent / "table.md").read_text() == "mine"


def test_what_changed_between_two_states(runs: Path, written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(written, "before")
    for old in ("runs", "before", "before/leaderboard.json"):
        assert main(["report", "diff", old, "runs"]) == 0
        assert capsys.readouterr().out.startswith("Nothing has changed: 117 runs"), old
    (changed,) = [path for path in runs.glob("*/result.json") if _is(path, "lucky", "slides", "none", 0)]
    document = json.loads(changed.read_text())
    document["metrics"]["selected"]["accuracy"] = 0.99
    changed.write_text(json.dumps(document))
    assert main(["report", "diff", "before", "runs", "--format", "json"]) == 0
    assert "0.99" in capsys.readouterr().out
    assert main(["report", "diff", "before", "runs"]) == 0
    assert "1 with other numbers" in capsys.readouterr().out


def _is(path: Path, method: str, dataset: str, noise: str, seed: int) -> bool:
    spec = json.loads(path.read_text())["spec"]
    return (*(spec["labels"][kind] for kind in ("method", "dataset", "noise")), spec["seed"]) == (method, dataset, noise, seed)


def test_a_report_without_any_figure(tmp_path: Path, result, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run is what a first attempt leaves: nothing to draw, and a whole folder all the same."""
    monkeypatch.chdir(tmp_path)
    write_runs(tmp_path / "runs", result)
    assert main(["report", "--out", "out", "--methods", "ce", "--datasets", "cells", "--noise", "none", "--seeds", "0"]) == 0
    assert {file.name for file in (tmp_path / "out").iterdir()} >= {"leaderboard.html", *FILES[:4]}
    assert not list((tmp_path / "out").glob("figures/*"))
    left_out = json.loads((tmp_path / "out" / "leaderboard.json").read_text())["tasks"]["classification"]["overall"]["left_out"]
    assert left_out == {"0": "no two methods are complete"}
