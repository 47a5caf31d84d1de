"""``relabel export`` and ``relabel import`` as a user gives them: from a run to the next one."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

RUN = ("run", "--methods", "works", "--baseline", "none", "--no-tracking", "--quiet", "--seeds", "0")


@pytest.fixture
def relabel(bench, toys: Path):
    """One ``relabel`` command with the toys."""

    def call(*words: str) -> int:
        return int(bench("relabel", *words, *(("--plugin", str(toys)) if words[0] == "export" else ())))

    return call


@pytest.fixture
def key(bench, tmp_path: Path) -> str:
    """A finished run on noisy labels."""
    assert bench(*RUN, "--datasets", "toy", "--noise", "0.3") == 0
    (path,) = (tmp_path / "runs").glob("*/result.json")
    return path.parent.name


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "answers.csv").read_bytes().decode("utf-8-sig"), newline="")))


def fill(folder: Path, to: Path) -> None:
    """Answer every row as the toy's truth has it: even indices are dark."""
    rows = [row | {"answer": ("dark", "bright")[int(row["index"]) % 2]} for row in rows_of(folder)]
    with to.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def result(tmp_path: Path, *earlier: str) -> dict[str, Any]:
    (path,) = (path for path in (tmp_path / "runs").glob("*/result.json") if path.parent.name not in earlier)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_from_a_run_to_the_next_and_the_one_after(bench, relabel, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert relabel("export", key[:5], "--top", "10", "--out", "round1") == 0
    printed = capsys.readouterr()
    rows = rows_of(tmp_path / "round1")
    assert len(rows) == 10
    assert printed.out.startswith(f"10 samples of run {key} in round1 (set {rows[0]['set']}), ")
    assert "relabel import FILE --export round1 --labels labels.csv" in printed.err
    assert {row["suggestion"] for row in rows} <= {"dark", "bright"} and all("the network" in row["reason"] for row in rows)

    fill(tmp_path / "round1", tmp_path / "anna.csv")
    words = ("import", "anna.csv", "--export", "round1", "--labels", "labels.csv", "--annotator", "anna")
    assert relabel(*words) == 0
    wrong = sum(row["given"] != ("dark", "bright")[int(row["index"]) % 2] for row in rows)
    printed = capsys.readouterr()
    assert printed.out == f"10 new answers ({wrong} changed a label, {10 - wrong} confirmed it), 0 were already applied, 0 left empty\n"
    assert "--noise file:labels.csv --seeds 0, or the data set option label_file=labels.csv" in printed.err
    assert relabel(*words) == 0
    assert capsys.readouterr().out == "0 new answers, 10 were already applied, 0 left empty\n"

    assert bench(*RUN, "--datasets", "toy", "--noise", "file:labels.csv") == 0
    one = result(tmp_path, key)
    before = json.loads((tmp_path / "runs" / key / "result.json").read_text())
    n = before["data"]["n_train"]
    assert one["noise"]["realised_rate"] * n == pytest.approx(before["noise"]["realised_rate"] * n - wrong)
    assert bench(*RUN, "--datasets", "toy:label_file=labels.csv", "--noise", "human") == 0
    two = result(tmp_path, key, one["run_key"])
    assert two["noise"]["label_hash"] == one["noise"]["label_hash"] and two["metrics"] == one["metrics"]

    second = ("export", two["run_key"], "--top", "3", "--skip-answered", "labels.csv", "--out", "round2", "--json")
    capsys.readouterr()
    assert relabel(*second) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["samples"], told["run_key"], told["pictures"]) == (3, two["run_key"], 3)
    assert not {row["index"] for row in rows} & {row["index"] for row in rows_of(tmp_path / "round2")}
    fill(tmp_path / "round2", tmp_path / "ben.csv")
    assert relabel("import", "ben.csv", "--export", "round2", "--labels", "labels.csv", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["new"], told["already"], told["labels"]) == (3, 0, before["data"]["n_train"] + before["data"]["n_val"])
    assert len((tmp_path / "labels.history.jsonl").read_text().splitlines()) == 13


def test_answers_that_cannot_be_merged(relabel, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert relabel("export", f"runs/{key}", "--top", "2", "--out", "out") == 0
    fill(tmp_path / "out", tmp_path / "anna.csv")
    text = (tmp_path / "anna.csv").read_text()
    (tmp_path / "anna.csv").write_text(text.replace(",dark,,", ",drak,,").replace(",bright,,", ",brihgt,,"))
    before = sorted(tmp_path.iterdir())
    capsys.readouterr()
    assert relabel("import", "anna.csv", "--export", "out", "--labels", "labels.csv") == 2
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert printed.out == "" and lines[0] == "error: nothing was imported, the labels are as they were; 2 problems:"
    assert all("anna.csv, line" in line and "did you mean" in line for line in lines[1:]) and len(lines) == 3
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("export", "ffffffffffffffff", "--out", "out"), "unknown run 'ffffffffffffffff'; "),
        (("export", "KEY", "--out", "runs"), "no export; choose another --out"),
        (
            ("export", "KEY", "--out", "out", "--skip-answered", "none.csv"),
            "none.csv has no answers: there is no none.history.jsonl beside it",
        ),
        (("export", "KEY", "--out", "out", "--runs", "none"), "runs folder none does not exist; check --runs DIR"),
        (("export", "KEY", "--out", "out", "--top", "0"), "--top"),
        (("export", "KEY"), "--out"),
        (("import", "a.csv", "--export", "none", "--labels", "labels.csv"), "none holds no export: there is no export.json in it"),
        (("import", "a.csv", "--export", "none", "--labels", "labels.npz"), "--labels labels.npz: the file's name must end in .csv"),
        (("import", "--export", "none", "--labels", "labels.csv"), "FILE"),
    ],
)
def test_bad_input_is_one_line(
    relabel, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    before = sorted(tmp_path.iterdir())
    capsys.readouterr()
    assert relabel(*(word.replace("KEY", key) for word in words)) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1
    assert printed.err.startswith("error: ") and message in printed.err
    assert sorted(tmp_path.iterdir()) == before
