"""Bags through the command line: the task by name or by its plugins, a table, and one line for whatever is wrong with the data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.cli import main

SMALL = ("--epochs", "1", "--device", "cpu", "--jobs", "1", "--no-tracking")
ONE = ("--methods", "mil_max", "--baseline", "none")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs one command in this process, in a folder of the test's own; returns its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCHMARK_PLUGINS", raising=False)
    monkeypatch.setenv("BENCHMARK_CACHE", str(tmp_path / "cache"))

    def call(*words: str) -> int:
        return main(("run", *SMALL, *words[1:]) if words[0] == "run" else words)

    return call


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr; nothing may be on stdout."""
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1, printed.err
    return printed.err


def features(folder: Path, slides: int = 20) -> Path:
    """Slides of three tiles as npz and a csv of labels; tiles of positive slides are larger."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(slides):
        np.savez(folder / f"s{i:02d}.npz", features=(rng.normal(0, 1, (3, 4)) + 2 * (i % 2)).astype(np.float32))
    (folder / "labels.csv").write_text("slide_id,label\n" + "".join(f"s{i:02d},{i % 2}\n" for i in range(slides)))
    return folder


def tiles(folder: Path, slides: int = 6, side: int = 16) -> Path:
    """Two tiles a slide as images, below train and test, and a csv of labels."""
    for i in range(slides):
        part = folder / ("test" if i >= slides - 2 else "train") / f"s{i}"
        part.mkdir(parents=True, exist_ok=True)
        for column in range(2):
            Image.new("RGB", (side, side), (100 * (i % 2), 30, 60)).save(part / f"{column}_0.png")
    (folder / "labels.csv").write_text("slide_id,label\n" + "".join(f"s{i},{i % 2}\n" for i in range(slides)))
    return folder


# --------------------------------------------------------------------------------------------------------------- the task


def test_the_defaults_of_the_task(bench, capsys) -> None:
    from benchmark.tasks import TASKS

    assert bench("run", "--task", "bags", "--methods", "mil_max,abmil,dsmil", "--dry-run", "--format", "json") == 0
    printed = capsys.readouterr()
    planned = json.loads(printed.out)["cells"]
    assert {row["method"] for row in planned} == {"mil_max", "abmil", "dsmil", TASKS["bags"].baseline}
    assert {row["dataset"] for row in planned} == {"tissue_slides:0.2:features=texture"} and {row["noise"] for row in planned} == {"none"}


def test_the_task_is_that_of_the_plugins_and_a_number_is_symmetric_noise(bench, tmp_path: Path, capsys) -> None:
    features(tmp_path / "data")
    assert bench("run", *ONE, "--datasets", "mil:data", "--noise", "0.2", "--format", "json") == 0
    (row,) = json.loads(capsys.readouterr().out)["tasks"]["bags"]["runs"]
    assert (row["task"], row["noise"]) == ("bags", "symmetric:0.2") and 0 <= row["selected/auroc"] <= 1
    folder = tmp_path / "runs" / row["run_key"]
    assert json.loads((folder / "result.json").read_text())["noise"]["inherited_noise"] is None  # nobody knows the tiles
    assert (folder / "predictions.npz").is_file() and (folder / "samples.parquet").is_file()
    assert bench("run", *ONE, "--datasets", "mil:data", "--noise", "0.2") == 0  # nothing to do
    printed = capsys.readouterr()
    assert "nothing to run" in printed.err and "AUROC sel" in printed.out


def test_labels_of_bags_travel_in_a_file(bench, tmp_path: Path, capsys) -> None:
    features(tmp_path / "data")
    drawn = ("--datasets", "mil:data", "--noise", "symmetric:0.2")
    assert bench("noise", "export", *drawn, "--out", "labels.csv") == 0
    for noise in ("symmetric:0.2", "file:labels.csv"):
        assert bench("run", *ONE, "--datasets", "mil:data", "--noise", noise, "--quiet") == 0
    results = [json.loads(path.read_text())["noise"] for path in (tmp_path / "runs").glob("*/result.json")]
    assert len({result["label_hash"] for result in results}) == 1 and all(result["realised_rate"] > 0 for result in results)
    features(tmp_path / "other", slides=26)
    capsys.readouterr()
    assert bench("noise", "export", "--datasets", "mil:data", "--noise", "none", "--out", "labels.npz") == 0
    assert bench("run", *ONE, "--datasets", "mil:other", "--noise", "file:labels.npz") == 2
    assert "labels.npz is for other data" in capsys.readouterr().err


def test_a_table_beside_that_of_other_tasks(bench, tmp_path: Path, capsys) -> None:
    features(tmp_path / "data")
    assert bench("run", *ONE, "--datasets", "mil:data", "--noise", "none", "--quiet") == 0
    assert bench("run", "--methods", "ce", "--datasets", "digits:subset=60", "--noise", "none", "--quiet") == 0
    capsys.readouterr()
    assert bench("report", "--task", "bags") == 0
    table = capsys.readouterr().out
    assert "AUROC sel" in table and "mil_max" in table and "digits" not in table


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--methods", "mil_max,ce"), "method ce is for classification and method mil_max is for bags"),
        (("--datasets", "digits", "--methods", "abmil"), "method abmil is for bags and data set digits is for classification"),
        (
            ("--datasets", "tissue_slides", "--noise", "instance:0.2"),
            "noise instance is for classification and data set tissue_slides is for",
        ),
        (("--task", "bags", "--datasets", "tissue"), "data set tissue is for classification and --task is bags"),
        (("--task", "bag"), "unknown task 'bag'; did you mean 'bags'?"),
        (("--task", "bags", "--set", "protocol.backbone=resnet18"), "unknown protocol.backbone 'resnet18'"),
        (("--datasets", "tissue_slides:2", *ONE), "tissue_slides.witness_rate = 2.0 is outside"),
        (("--datasets", "tissue_slides:imbalance=5", *ONE), "tissue_slides is a set for bags, where imbalance means nothing; leave it out"),
        (
            ("--datasets", "tissue_slides:witnes_rate=0.1", *ONE),
            "unknown parameter of tissue_slides 'witnes_rate'; did you mean 'witness_rate'",
        ),
    ],
)
def test_what_does_not_go_together(bench, tmp_path: Path, capsys, words: tuple[str, ...], message: str) -> None:
    assert bench("run", *words) == 2
    assert told(capsys).startswith(f"error: {message}")
    assert not (tmp_path / "runs").exists()


def test_a_backbone_for_the_other_kind_of_tiles_fails_its_cell(bench, tmp_path: Path, capsys) -> None:
    features(tmp_path / "data")
    assert bench("run", *ONE, "--datasets", "mil:data", "--set", "protocol.backbone=tile_cnn", "--quiet") == 1
    assert "backbone tile_cnn does not take tiles that are features; use --set protocol.backbone=identity" in told(capsys)


# --------------------------------------------------------------------------------------------------------------- bad data


def without(folder: Path, name: str) -> None:
    (folder / name).unlink()


def rows(folder: Path, old: str, new: str) -> None:
    table = folder / "labels.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new))


def save(folder: Path, slide: str, values: np.ndarray) -> None:
    np.savez(folder / f"{slide}.npz", features=values)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: without(data, "s03.npz"), "data/labels.csv labels 's03', of which there are no tiles in data; leave"),
        (lambda data: save(data, "s03", np.zeros((0, 4), dtype=np.float32)), "data/s03.npz cannot be read: it holds no tiles"),
        (lambda data: rows(data, "s03,1\n", ""), "data: labels are missing for 's03'; add them to data/labels.csv"),
        (lambda data: save(data, "s03", np.zeros((3, 5), dtype=np.float32)), "data: tiles of slide 's03' have 5 features where 19 of 20"),
        (lambda data: rows(data, "s03,1\n", "s03,1\ns03,1\n"), "data/labels.csv: slide 's03' occurs twice; slide ids must be unique"),
        (lambda data: (data / "s03.npz").write_bytes(b"no archive"), "data/s03.npz cannot be read: it is no npz archive"),
        (lambda data: save(data, "s03", np.full((3, 4), np.inf)), "data: features of slide 's03' are NaN or infinite, first in its tile 0"),
        (lambda data: rows(data, "s03,1\n", "s03,perhaps\n"), "data/labels.csv: labels must be 0 and 1, or two words"),
        (lambda data: without(data, "labels.csv"), "data needs one csv with the columns slide_id and label; none is there"),
        (lambda data: rows(data, ",0\n", ",1\n"), "data: none of 20 slides is negative (label 0)"),
    ],
    ids=["no features", "no tiles", "no label", "width", "twice", "unreadable", "infinite", "third label", "no table", "one class"],
)  # fmt: skip
def test_features_that_cannot_be_used_stop_the_command(bench, tmp_path: Path, capsys, spoil: Callable, message: str) -> None:
    spoil(features(tmp_path / "data"))
    assert bench("run", *ONE, "--datasets", "mil:data", "--quiet") == 2
    assert told(capsys).startswith(f"error: {message}")
    assert not list(tmp_path.rglob("result.json")) and not list(tmp_path.rglob("*.tmp"))


def test_slides_in_two_parts_and_patients_in_two_parts(bench, tmp_path: Path, capsys) -> None:
    data = features(tmp_path / "data")
    lines = [f"s{i:02d},{i % 2},{'train' if i < 14 else 'test'},p{i // 2}" for i in range(20)]
    (data / "labels.csv").write_text("\n".join(["slide_id,label,split,case_id", *lines, "s03,1,test,p1"]) + "\n")
    assert bench("run", *ONE, "--datasets", "mil:data", "--quiet") == 2
    assert told(capsys) == (
        "error: data/labels.csv: slide 's03' lies in train and in test; keep it in one, or what it is tested on has been trained on\n"
    )
    lines[3] = "s03,1,test,p1"
    (data / "labels.csv").write_text("\n".join(["slide_id,label,split,case_id", *lines]) + "\n")
    assert bench("run", *ONE, "--datasets", "mil:data", "--quiet") == 2
    assert told(capsys).startswith(
        "error: data: slides 's02' and 's03' are of one patient, but the first lies in train and the second in test"
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda data: [file.unlink() for file in (data / "train" / "s1").iterdir()],
            "data: no tiles of slide 's1'; expected <split>/<slide>/",
        ),
        (
            lambda data: Image.new("RGB", (16, 16)).save(data / "train" / "5_5.png"),
            "data/train/5_5.png is a tile without a slide; expected ",
        ),
        (lambda data: Image.new("RGB", (16, 16)).save(data / "5_5.jpeg"), "data/5_5.jpeg is a tile without a slide; expected "),
        (lambda data: rows(data, "s1,1\n", ""), "data: labels are missing for 's1'; add them to data/labels.csv"),
        (lambda data: rows(data, "s1,1\n", "s1,1\ns9,1\n"), "data/labels.csv labels 's9', of which there are no tiles in data"),
        (lambda data: (data / "train" / "s1").rename(data / "test" / "s0"), "data: slide 's0' lies in test and in train; keep it in one"),
        (lambda data: (data / "train/s1/0_0.png").write_bytes(b"no image"), "cannot read the image data/train/s1/0_0.png"),
        (lambda data: Image.new("RGB", (9, 16)).save(data / "train/s1/0_0.png"), "the images in data differ in size"),
        (lambda data: (data / "train/s1/0_0.png").rename(data / "train/s1/tile.png"), "data/train/s1/tile.png is not named as a tile"),
    ],
    ids=["no tiles", "no slide", "no slide or part", "no label", "no folder", "two parts", "unreadable", "size", "name"],
)
def test_tiles_that_cannot_be_used_stop_the_command(bench, tmp_path: Path, capsys, spoil: Callable, message: str) -> None:
    spoil(tiles(tmp_path / "data"))
    assert bench("run", *ONE, "--datasets", "tiles:data", "--quiet") == 2
    assert told(capsys).startswith(f"error: {message}")
    assert not list(tmp_path.rglob("result.json")) and not list(tmp_path.rglob("*.tmp"))


def test_tiles_run_as_pixels_and_as_texture(bench, tmp_path: Path, capsys) -> None:
    tiles(tmp_path / "data", 16)
    assert bench("run", *ONE, "--datasets", "tiles:data,tiles:data:features=texture", "--noise", "none", "--format", "json") == 0
    runs = json.loads(capsys.readouterr().out)["tasks"]["bags"]["runs"]
    assert len(runs) == 2 and all(row["status"] == "done" for row in runs)


def test_features_of_features_stop_the_command(bench, tmp_path: Path, capsys) -> None:
    features(tmp_path / "data")
    assert bench("run", *ONE, "--datasets", "mil:data:features=texture", "--quiet") == 2
    assert told(capsys) == "error: data set mil holds features already; leave features=texture out\n"


def test_too_few_bags_are_refused_before_the_first_run(bench, tmp_path: Path, capsys) -> None:
    features(tmp_path / "data", 2)
    assert bench("run", *ONE, "--datasets", "mil:data", "--quiet") == 2
    assert "the test part would be empty: 2 samples in 2 classes are too few" in told(capsys)
    assert not list((tmp_path / "runs").glob("*/log.txt"))


def test_a_part_of_one_label_is_told(bench, tmp_path: Path, capsys) -> None:
    folder = features(tmp_path / "data")
    rows = [f"s{i:02d},{i % 2},{'test' if i > 15 else 'val' if i in (1, 3) else 'train'}" for i in range(20)]
    (folder / "labels.csv").write_text("slide_id,label,split\n" + "\n".join(rows) + "\n")
    assert bench("run", *ONE, "--datasets", "mil:data") == 0
    told_once = capsys.readouterr().err
    assert told_once.count("all 2 slides of the val part have one label: no epoch is better by AUROC") == 1 and "test part" not in told_once
