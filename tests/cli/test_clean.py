"""``clean`` as people give it: one small answer of which much must hold, then other inputs, options and bad input."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.cli import main
from tests.cli.conftest import TOY
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = ("normal", "serrated", "tumour")
COLUMNS = [
    *("index", "path", "given", "suggested", "confidence", "wrong_probability", "state", "flagged", "review", "rank"),
    *("score_aum", "score_confident_learning", "duplicate_of", "near_duplicate_of", "conflict", "leak", "label"),
]
FEW = ("--features", "identity", "--image-size", "0", "--epochs", "4", "--device", "cpu", "--jobs", "1")
METHODS = "aum,confident_learning"
Row = tuple[str, str, str]


def tiles(folder: Path, n: int = 180, classes: Sequence[str] = CLASSES, rate: float = 0.1, name: str = "{:03d}.png") -> list[Row]:
    """Noise in a colour of its own for each class, of which about ``rate`` have a wrong label: path, label and truth, one line each."""
    folder.mkdir(parents=True)
    rng, rows = np.random.default_rng(0), []
    for i in range(n):
        true = i % len(classes)
        pixels = rng.integers(0, 60, (8, 8, 3)).astype(np.uint8)
        pixels[..., true] += 140
        given = (true + rng.integers(1, len(classes))) % len(classes) if rng.random() < rate else true
        path = name.format(i)
        Image.fromarray(pixels).save(folder / path)
        rows.append((path, classes[given], classes[true]))
    return rows


def write(path: Path, rows: Sequence[Sequence[Any]], header: str = "path,label") -> Path:
    """A csv of these columns of the rows."""
    names = header.split(",")
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([names, *(row[: len(names)] for row in rows)])
    return path


def call(*words: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return code, out.getvalue(), err.getvalue()


def table(out: Path) -> list[dict[str, str]]:
    """labels.csv."""
    with (out / "labels.csv").open(newline="", encoding="utf-8-sig") as stream:
        return list(csv.DictReader(stream))


def figures(out: Path) -> dict[str, Any]:
    """clean.json."""
    found: dict[str, Any] = json.loads((out / "clean.json").read_text(encoding="utf-8"))
    return found


@dataclass(frozen=True)
class Given:
    """A finished answer: its folder, what went in, and what was printed."""

    path: Path
    rows: list[Row]
    out: Path
    printed: str
    notes: str
    root: Path

    @property
    def table(self) -> list[dict[str, str]]:
        return table(self.out)


Clean = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where decoded images are kept."""
    return tmp_path_factory.mktemp("data-root")


@pytest.fixture(scope="module")
def clean(root: Path) -> Clean:
    """Gives the command on few epochs of a linear classifier."""

    def given(path: Path, out: Path, *words: object, methods: str = METHODS) -> tuple[int, str, str]:
        return call("clean", path, "--out", out, "--methods", methods, *FEW, "--data-root", root, *words)

    return given


@pytest.fixture(scope="module")
def answer(clean: Clean, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Given:
    """One answer; most tests read it and none changes it."""
    base = tmp_path_factory.mktemp("answer")
    rows = tiles(base / "tiles")
    path = write(base / "tiles" / "labels.csv", rows)
    code, printed, notes = clean(path, base / "out")
    assert code == 0, notes
    return Given(path, rows, base / "out", printed, notes, root)


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    """A plugin file of methods that fail in their ways."""
    path = tmp_path / "toys.py"
    path.write_text(TOY, encoding="utf-8")
    return path


# ------------------------------------------------------------------------------------------------------- one answer


def test_all_that_was_promised_is_written(answer: Given) -> None:
    assert sorted(path.name for path in answer.out.iterdir()) == [
        *("clean.json", "corrected.csv", "labels.csv", "model", "report.html", "runs")
    ]
    assert sorted(path.name for path in (answer.out / "model").iterdir()) == ["README.md", "card.json", "weights.safetensors"]
    for name in ("labels.csv", "report.html", "clean.json", "model"):
        assert f"written: {answer.out / name}\n" in answer.notes
    assert not list(answer.out.rglob("*.tmp"))


def test_every_image_is_judged_once_by_its_own_label(answer: Given) -> None:
    found = answer.table
    assert list(found[0]) == COLUMNS
    assert sorted(int(row["index"]) for row in found) == list(range(len(answer.rows)))
    for row in found:
        path, given, _ = answer.rows[int(row["index"])]
        assert (row["path"], row["given"], row["label"]) == (path, given, given)
        assert row["suggested"] in CLASSES and row["state"] in ("easy", "hard", "noisy") and row["flagged"] in ("0", "1")
        assert all(0 <= float(row[name]) <= 1 for name in ("confidence", "wrong_probability", "score_aum", "score_confident_learning"))
    wrong = [float(row["wrong_probability"]) for row in found]
    assert wrong == sorted(wrong, reverse=True)
    assert [row["review"] for row in found] == [str(place) for place in range(1, len(found) + 1)]  # the budget is larger


def test_wrong_labels_come_first_and_their_class_is_suggested(answer: Given) -> None:
    wrong = {path for path, given, true in answer.rows if given != true}
    assert 10 <= len(wrong) <= 30
    first = [row["path"] for row in answer.table[: len(wrong)]]
    assert len(wrong & set(first)) >= 0.6 * len(wrong)  # by chance a tenth
    flagged = [row for row in answer.table if row["flagged"] == "1"]
    assert len(flagged) >= 5 and sum(row["path"] in wrong for row in flagged) >= 0.7 * len(flagged)
    truth = {path: true for path, _, true in answer.rows}
    right = [row["suggested"] == truth[row["path"]] for row in flagged]
    assert sum(right) >= 0.7 * len(right)


def test_what_is_printed_is_what_is_written(answer: Given) -> None:
    told = figures(answer.out)
    lines = answer.printed.splitlines()
    assert lines[0] == told["self_check"]["sentence"]
    assert re.fullmatch(r"On your data with \d+ % known flips injected, this found \d+ % \(.*\) at precision \d+ % \(.*\)\.", lines[0])
    rate = told["noise_rate"]
    low, value, high = (f"{100 * rate[name]:.1f}" for name in ("low", "value", "high"))
    assert lines[1] == f"About {value} % of 180 labels are wrong ({low} to {high} %), if they are wrong at random."
    expected = told["budget"]["expected_wrong"]
    assert lines[2].startswith(f"Of the {told['budget']['samples']} most suspicious about {expected['value']:.0f} are wrong")
    flagged = sum(row["flagged"] == "1" for row in answer.table)
    assert flagged == told["flagged"]["samples"] and lines[3] == f"{flagged} labels are flagged; 90 % of them should be wrong."
    page = (answer.out / "report.html").read_text(encoding="utf-8")
    assert f"It found about {round(100 * told['self_check']['found']['value'])} of every 100 of them" in page
    assert told["source"] == str(answer.path) and told["samples"] == 180 and told["classes"] == list(CLASSES)
    assert set(told["runs"]) == set(told["weights"]) == set(METHODS.split(",")) and told["left_out"] == {}


def test_a_second_call_trains_nothing_and_writes_the_same_bytes(answer: Given, clean: Clean) -> None:
    names = ("labels.csv", "clean.json", "report.html", "corrected.csv", "model/weights.safetensors", "model/card.json")
    before = {name: (answer.out / name).read_bytes() for name in names}
    code, printed, notes = clean(answer.path, answer.out)
    assert (code, printed) == (0, answer.printed)
    assert "methods asked twice: 4 done; nothing to run\n" in notes and "a model of the corrected labels: 1 done; nothing to run\n" in notes
    assert [name for name in names if (answer.out / name).read_bytes() != before[name]] == []


def test_budget_and_precision_change_the_answer_and_train_nothing(answer: Given, clean: Clean, tmp_path: Path) -> None:
    shutil.copytree(answer.out / "runs", tmp_path / "out" / "runs")
    code, printed, notes = clean(answer.path, tmp_path / "out", "--budget", 7, "--precision", 0.5, "--no-model", "--json")
    assert code == 0 and "4 done; nothing to run" in notes
    told = json.loads(printed)
    assert printed == (tmp_path / "out" / "clean.json").read_text(encoding="utf-8")  # nothing else is on stdout
    assert told["budget"]["samples"] == 7 and told["flagged"]["target"] == 0.5 and told["model"] is None
    assert told["flagged"]["samples"] >= figures(answer.out)["flagged"]["samples"]
    assert [row["review"] for row in table(tmp_path / "out")[:9]] == ["1", "2", "3", "4", "5", "6", "7", "", ""]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["clean.json", "labels.csv", "report.html", "runs"]


@pytest.mark.parametrize("name", ["corrected.csv", "labels.csv"])
def test_both_tables_are_label_files(answer: Given, tmp_path: Path, name: str) -> None:
    setting = f"folder:{answer.path}:label_file={answer.out / name}"
    words = ("--noise", "none", "--epochs", 1, "--device", "cpu", "--jobs", 1, "--no-tracking", "--data-root", answer.root)
    code, _, notes = call("run", "--methods", "ce", "--baseline", "none", "--datasets", setting, *words, "--runs", tmp_path / "runs")
    assert code == 0, notes
    corrected = list(csv.DictReader((answer.out / "corrected.csv").open(encoding="utf-8", newline="")))
    changed = {int(row["index"]) for row in corrected if row["label"] != answer.rows[int(row["index"])][1]}
    differ = {int(row["index"]) for row in answer.table if row["flagged"] == "1" and row["suggested"] != row["given"]}
    assert changed == differ and changed


def test_the_model_predicts(answer: Given) -> None:
    code, printed, _ = call("predict", answer.out / "model", answer.path, "--format", "json")
    assert code == 0
    found = {Path(row["path"]).name: row["class"] for row in json.loads(printed)}
    assert len(found) == len(answer.rows)
    assert np.mean([found[path] == true for path, _, true in answer.rows]) > 0.8
    accuracy = figures(answer.out)["model"]["accuracy"]
    assert 0.5 < accuracy <= 1


def test_no_answer_names_this_machine_in_what_is_passed_on(answer: Given) -> None:
    assert str(answer.path.parent) not in (answer.out / "model" / "card.json").read_text(encoding="utf-8")
    assert str(answer.path.parent) not in (answer.out / "labels.csv").read_text(encoding="utf-8")


# ----------------------------------------------------------------------------------------------------- other inputs


def test_a_folder_of_parts_with_classes(answer: Given, clean: Clean, tmp_path: Path) -> None:
    for i, (path, given, _) in enumerate(answer.rows):
        part = "train" if i < 120 else "val" if i < 150 else "test"
        (tmp_path / "tiles" / part / given).mkdir(parents=True, exist_ok=True)
        shutil.copy(answer.path.parent / path, tmp_path / "tiles" / part / given / path)
    code, _, notes = clean(tmp_path / "tiles", tmp_path / "out", "--no-model")
    assert code == 0, notes
    found = table(tmp_path / "out")
    assert figures(tmp_path / "out")["classes"] == list(CLASSES) and len(found) == 180
    assert all(row["path"].split("/")[1] == row["given"] for row in found)
    specs = [json.loads(path.read_text())["spec"] for path in (tmp_path / "out" / "runs").glob("*/result.json")]
    assert len(specs) == 4


def test_an_npz(answer: Given, clean: Clean, tmp_path: Path) -> None:
    images = np.stack([np.asarray(Image.open(answer.path.parent / path)) for path, *_ in answer.rows])
    np.savez(tmp_path / "tiles.npz", images=images, labels=np.array([CLASSES.index(given) for _, given, _ in answer.rows]))
    code, _, notes = clean(tmp_path / "tiles.npz", tmp_path / "out", "--no-model")
    assert code == 0, notes
    assert {row["path"] for row in table(tmp_path / "out")} == {f"tiles.npz[{i}]" for i in range(180)}
    assert "<img" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_patient_is_not_torn_apart(answer: Given, clean: Clean, tmp_path: Path) -> None:
    folder = answer.path.parent
    path = write(folder / "groups.csv", [(p, g, f"patient {i // 6}") for i, (p, g, _) in enumerate(answer.rows)], "path,label,group")
    code, _, notes = clean(path, tmp_path / "out", "--no-model")
    assert code == 0, notes
    result = json.loads(next((tmp_path / "out" / "runs").glob("*/result.json")).read_text())
    assert result["status"] == "done" and len(table(tmp_path / "out")) == 180


def test_of_a_set_with_a_reference_the_given_labels_are_judged(answer: Given, clean: Clean, tmp_path: Path) -> None:
    """Also in the test part, which the other commands score by the reference."""
    path = write(answer.path.parent / "reference.csv", answer.rows, "path,label,clean_label")
    code, _, notes = clean(path, tmp_path / "out", "--no-model")
    assert code == 0, notes
    found = table(tmp_path / "out")
    assert [(row["path"], row["given"], row["true"]) for row in found] == [answer.rows[int(row["index"])] for row in found]
    wrong = [row["given"] != row["true"] for row in found]
    assert np.mean(wrong[: sum(wrong)]) > 0.6
    specs = [json.loads(one.read_text())["spec"] for one in (tmp_path / "out" / "runs").glob("*/result.json")]
    assert sorted({spec["noise"]["name"] for spec in specs}) == ["human", "human+symmetric"]


def test_several_raters(answer: Given, clean: Clean, tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(1), []
    for path, _, true in answer.rows:
        said = [true if rng.random() > wrong else str(rng.choice(CLASSES)) for wrong in (0.05, 0.1, 0.7)]
        rows.append((path, *said[:2], said[2] if rng.random() < 0.8 else ""))
    path = write(answer.path.parent / "raters.csv", rows, "path,label_1,label_2,label_3")
    code, _, notes = clean(path, tmp_path / "out", "--no-model")
    assert code == 0, notes
    raters = {rater["name"]: rater for rater in figures(tmp_path / "out")["raters"]}
    assert raters["label_3"]["quality"] < min(raters["label_1"]["quality"], raters["label_2"]["quality"])
    assert "raters" in figures(tmp_path / "out")["weights"]
    row = table(tmp_path / "out")[0]
    assert {"score_raters", "rater_label_1", "rater_label_3", "rater_consensus", "rater_quality"} <= set(row)
    assert "Who labelled" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Who labelled" not in (answer.out / "report.html").read_text(encoding="utf-8")


def test_pixels_and_texture(answer: Given, root: Path, tmp_path: Path) -> None:
    words = ("--epochs", 2, "--device", "cpu", "--jobs", 1, "--data-root", root, "--methods", "aum", "--no-model", "--quiet")
    code, _, notes = call("clean", answer.path, "--out", tmp_path / "pixels", *words, "--image-size", 16)
    assert code == 0, notes
    told = figures(tmp_path / "pixels")["provenance"]
    assert told["network"].startswith("cnn_small, 2 epochs") and told["images"] == "180 at 16x16x3"
    code, _, notes = call("clean", answer.path, "--out", tmp_path / "texture", *words, "--features", "texture")
    assert code == 0, notes
    assert figures(tmp_path / "texture")["provenance"]["network"].startswith("linear, 2 epochs")


def test_names_that_are_formulas_or_markup(clean: Clean, tmp_path: Path) -> None:
    classes = ("=cmd|' /C calc'!A0", 'a,"b"', "@<img src=x onerror=alert(1)>")
    rows = tiles(tmp_path / "tiles", 60, classes, name="=1+{:02d},<b>é.png")
    code, _, notes = clean(write(tmp_path / "tiles" / "labels.csv", rows), tmp_path / "out")
    assert code == 0, notes
    with (tmp_path / "out" / "labels.csv").open(newline="", encoding="utf-8-sig") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "@", "+", "-"))]
    assert {row["path"] for row in table(tmp_path / "out")} == {f"'{path}" for path, *_ in rows}
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page and "<b>é" not in page and "&lt;img src=x onerror=alert(1)&gt;" in page
    code, printed, notes = call("predict", tmp_path / "out" / "model", tmp_path / "tiles" / "labels.csv", "--format", "json")
    assert code == 0 and {row["class"] for row in json.loads(printed)} <= set(classes), notes


def test_mixed_sizes_are_brought_to_one_or_refused_as_they_are(clean: Clean, tmp_path: Path) -> None:
    rows = tiles(tmp_path / "tiles", 60)
    Image.new("RGB", (9, 9)).save(tmp_path / "tiles" / rows[3][0])
    path = write(tmp_path / "tiles" / "labels.csv", rows)
    code, _, notes = clean(path, tmp_path / "out")
    assert code == 2 and "003.png is 9×9" in notes and notes.endswith("; add --image-size 64, say, to resize them\n")
    code, _, notes = clean(path, tmp_path / "out", "--image-size", 8, "--no-model", methods="aum")
    assert code == 0, notes


def test_blank_images_of_one_colour_each(clean: Clean, tmp_path: Path) -> None:
    """No picture has a print, so there is nothing to compare."""
    rows = tiles(tmp_path / "tiles", 30)
    for i, (path, *_) in enumerate(rows):
        Image.new("RGB", (8, 8), (i, 4 * i, 200)).save(tmp_path / "tiles" / path)
    code, _, notes = clean(write(tmp_path / "tiles" / "labels.csv", rows), tmp_path / "out", "--no-model", methods="aum")
    assert code == 0, notes
    assert len(table(tmp_path / "out")) == 30


# -------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--methods", "amu"), "unknown method 'amu'; did you mean 'aum'"),
        (("--methods", ""), "--methods is empty"),
        (("--methods", "aum:percentil=3"), "unknown parameter of aum 'percentil'; did you mean 'percentile'"),
        (("--methods", "seg_ce"), "method seg_ce is for segmentation and data set folder is for classification"),
        (("--methods", "mil_mean"), "method mil_mean is for bags"),
        (("--backbone", "resnet"), "unknown protocol.backbone 'resnet'; did you mean 'resnet34'"),
        (("--features", "identiti"), "unknown features 'identiti'; did you mean 'identity'"),
        (("--precision", 0), "the precision is 0; give a share above 0, at most 1"),
        (("--precision", 2), "the precision is 2"),
        (("--precision", "nan"), "the precision is nan"),
        (("--budget", 0), "'--budget'"),
        (("--image-size", 1), "images of 1 pixels a side show nothing; give an image size of 4 or more"),
        (("--image-size", -3), "'--image-size'"),
        (("--epochs", 0), "epochs"),
        (("--seed", -1), "'--seed'"),
        (("--jobs", 0), "'--jobs'"),
        (("--device", "tpu"), "--device tpu is not auto, cpu or cuda[:i]"),
    ],
)
def test_a_wrong_option_is_one_line_before_images_are_decoded(answer: Given, tmp_path: Path, words: tuple[object, ...], said: str) -> None:
    code, printed, notes = call("clean", answer.path, "--out", tmp_path / "out", "--data-root", tmp_path / "root", *words)
    assert (code, printed) == (2, "") and said in notes
    assert notes.splitlines()[-1].startswith("error: ") and "decoding" not in notes and "Traceback" not in notes
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rows", "header", "said"),
    [
        ([("{0}", "a")] * 30, "path,label", "holds only one class ('a'); at least two are needed"),
        ([("{0}", "ab")] * 5, "path,label", "has 5 samples; what is wrong is learnt from a tenth of the labels that is made wrong"),
        ([("{0}", "{1}")] * 30, "path,label", "has 30 samples of 30 classes"),
        ([("{0}",)] * 30, "path", "lacks the column label; its first line holds path"),
        ([], "path,label", "has no rows below its header"),
        ([("{1}.png", "ab")] * 30, "path,label", "cannot read the image"),
    ],
)
def test_a_table_that_cannot_be_judged(
    answer: Given, clean: Clean, tmp_path: Path, rows: list[tuple[str, ...]], header: str, said: str
) -> None:
    filled = [tuple(("ab"[i % 2] if cell == "ab" else cell.format(answer.rows[i][0], i)) for cell in row) for i, row in enumerate(rows)]
    path = write(answer.path.parent / f"{tmp_path.name}.csv", filled, header)
    code, printed, notes = clean(path, tmp_path / "out")
    errors = [line for line in notes.splitlines() if line.startswith("error: ")]
    assert (code, printed, len(errors)) == (2, "", 1) and said in errors[0] and path.parent.name in errors[0]
    assert not (tmp_path / "out").exists()


def test_one_sample_of_a_class_is_no_reason_to_stop(answer: Given, clean: Clean, tmp_path: Path) -> None:
    path = write(answer.path.parent / "one.csv", [(path, "b" if i == 7 else "a") for i, (path, *_) in enumerate(answer.rows)])
    code, _, notes = clean(path, tmp_path / "out", "--no-model")
    assert code == 0, notes
    assert len(table(tmp_path / "out")) == 180


@pytest.mark.parametrize("place", ["", "answer", "a/answer", "b"])
def test_the_answer_may_not_lie_among_the_images(answer: Given, clean: Clean, tmp_path: Path, place: str) -> None:
    """Its runs would be classes of the next call."""
    for i, (path, *_) in enumerate(answer.rows[:30]):
        (tmp_path / "tiles" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        shutil.copy(answer.path.parent / path, tmp_path / "tiles" / "ab"[i % 2] / path)
    before = sorted(tmp_path.rglob("*"))
    code, _, notes = clean(tmp_path / "tiles", tmp_path / "tiles" / place)
    assert code == 2 and notes.startswith("error: --out ") and notes.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "link").symlink_to(tmp_path / "tiles")
    assert clean(tmp_path / "tiles", tmp_path / "link" / "answer")[0] == 2


def test_foreign_files_are_left_alone(answer: Given, clean: Clean, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    code, _, notes = clean(answer.path, tmp_path)
    assert code == 2 and "holds notes.txt, which this command did not write; choose another folder" in notes
    code, _, notes = clean(answer.path, tmp_path / "notes.txt")
    assert code == 2 and "notes.txt is a file; give a folder" in notes
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    code, _, notes = clean(answer.out / "labels.csv", answer.out)
    assert code == 2 and "where it might be overwritten" in notes


def test_nothing_there(clean: Clean, tmp_path: Path) -> None:
    code, _, notes = clean(tmp_path / "none", tmp_path / "out")
    assert code == 2 and notes == (
        f"error: {tmp_path / 'none'} does not exist; give a folder of class folders, a csv with the columns path and label, or an npz\n"
    )
    assert not (tmp_path / "out").exists()


# ----------------------------------------------------------------------------------------------------------- faults


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
