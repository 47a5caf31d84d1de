"""``retention`` as a user meets it: what it prints, writes and refuses."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = ("run", "--methods", "works", "--quiet")
REFERENCE = "python -m benchmark run --methods ce --baseline none --datasets toy --noise none --seeds 0-1 --epochs 1 --runs runs"


pytestmark = pytest.mark.usefixtures("one_thread")


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr; nothing may be on stdout."""
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1, printed.err
    return printed.err


def test_from_no_reference_to_files(bench, tmp_path: Path, capsys) -> None:
    assert bench(*RUN, "--noise", "0.4", "--seeds", "0-1") == 0
    capsys.readouterr()
    before = sorted(path.name for path in tmp_path.iterdir())
    assert bench("retention", "--out", "figures") == 2
    lack = "which samples of toy are hard is not known, and there are no runs of ce without noise to tell"
    assert told(capsys) == f"error: {lack}; make them: {REFERENCE}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == before

    assert bench(*REFERENCE.split()[3:]) == 0  # the command as it was told
    capsys.readouterr()
    assert bench("retention", "--against", "ce", "--out", "figures") == 0
    printed = capsys.readouterr()
    assert "toy · symmetric:0.4" in printed.out
    assert "works against ce: " in printed.out
    assert (
        "hard: the quarter of the training samples with the lowest mean quality in 2 runs of ce without noise (seeds 0, 1)" in printed.out
    )
    assert printed.err.splitlines() == [f"written: figures/retention.{kind}" for kind in ("csv", "svg", "png")]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["retention.csv", "retention.png", "retention.svg"]
    with (tmp_path / "figures" / "retention.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2 * 2 * 20

    for form, sign in (("csv", "dataset,noise"), ("md", "| method |"), ("latex", "tabular")):
        assert bench("retention", "--format", form, "--methods", "works") == 0
        assert sign in capsys.readouterr().out
    assert bench("retention", "--format", "json", "--noise", "symmetric", "--datasets", "toy") == 0
    document = json.loads(capsys.readouterr().out)
    assert {row["method"] for row in document["table"]} == {"works", "ce"}
    assert document["hardness"][0]["reference_seeds"] == [0, 1]

    (tmp_path / "file").write_text("x")
    for words, message in (
        (("--methods", "wroks"), "unknown method 'wroks'; did you mean 'works'"),
        (("--datasets", "toi"), "unknown dataset 'toi'; did you mean 'toy'"),
        (("--noise", "symetric"), "unknown noise 'symetric'; did you mean 'symmetric'"),
        (("--noise", "none"), "no runs with wrong labels among these"),
        (("--against", "wroks"), "unknown --against 'wroks'; did you mean 'works'"),
        (("--hard-by", "cee"), "unknown --hard-by 'cee'; did you mean 'ce'"),
        (("--hard-by", "gce"), "which samples of toy are hard is not known, and there are no runs of gce without noise to tell"),
        (("--format", "htm"), "unknown --format 'htm'; known: csv, json, latex, md, table"),
        (("--out", "file"), "--out file is a file; give a folder"),
        (("--out", "file/below"), "file/below: Not a directory"),
    ):
        assert bench("retention", *words) == 2
        assert told(capsys).startswith(f"error: {message}")
    (key,) = {run["run_key"] for run in document["runs"] if run["method"] == "works" and run["seed"] == 1}
    (tmp_path / "runs" / key / "predictions.npz").write_bytes(b"")
    assert bench("retention") == 2
    assert told(capsys).startswith(f"error: runs/{key}/predictions.npz is corrupt")


def test_no_runs(bench, tmp_path: Path, capsys) -> None:
    assert bench("retention") == 2
    assert told(capsys) == "error: runs folder runs does not exist; check --runs DIR\n"
    (tmp_path / "runs").mkdir()
    assert bench("retention", "--out", "figures") == 2
    assert told(capsys) == "error: no finished runs in runs; see: python -m benchmark status --runs runs\n"
    assert not (tmp_path / "figures").exists()


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; from benchmark.cli import main; main(['retention', '--help']); "
    code += "print(*{'torch', 'numpy', 'pandas', 'matplotlib', 'seaborn', 'pyarrow'} & set(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "--hard-by" in done.stdout
    assert done.stderr.strip() == ""
