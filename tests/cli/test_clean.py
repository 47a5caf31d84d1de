"""``clean`` as people give it: one small answer of which much must hold, then other inputs and options."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reports.clean_page.summary import TOGETHER, UNEXPLAINED
from tests.cli.cleaning import CLASSES, METHODS, Clean, Given, call, figures, table, tiles, write

pytestmark = pytest.mark.usefixtures("one_thread")

COLUMNS = [
    *("index", "path", "given", "suggested", "confidence", "wrong_probability", "state", "flagged", "review", "rank"),
    *("score_aum", "score_confident_learning", "duplicate_of", "near_duplicate_of", "conflict", "leak", "label"),
]


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
    assert len(flagged) >= 3 and sum(row["path"] in wrong for row in flagged) >= 0.7 * len(flagged)
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
    code, printed, notes = clean(path, tmp_path / "out", "--no-model")
    assert code == 0, notes
    assert "% of 180 labels are wrong (" in printed and "if raters err on their own." in printed and TOGETHER in printed.splitlines()
    assert figures(tmp_path / "out")["self_check"]["kind"] == "raters"
    assert 0 < figures(tmp_path / "out")["noise_rate_by_answers"] < 0.3
    raters = {rater["name"]: rater for rater in figures(tmp_path / "out")["raters"]}
    assert raters["label_3"]["quality"] < min(raters["label_1"]["quality"], raters["label_2"]["quality"])
    assert "raters" in figures(tmp_path / "out")["weights"]
    row = table(tmp_path / "out")[0]
    assert {"score_raters", "rater_label_1", "rater_label_3", "rater_consensus", "rater_quality"} <= set(row)
    assert "Who labelled" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Who labelled" not in (answer.out / "report.html").read_text(encoding="utf-8")
    specs = [json.loads(one.read_text())["spec"] for one in (tmp_path / "out" / "runs").glob("*/result.json")]
    assert sorted({spec["noise"]["name"] for spec in specs}) == ["file", "none"]
    with (tmp_path / "out" / "check.csv").open(newline="", encoding="utf-8") as stream:
        changed = {row["index"]: row["label"] for row in csv.DictReader(stream)}
    given = {row["index"]: row["given"] for row in table(tmp_path / "out")}
    assert sum(changed[index] != given[index] for index in given) == 18
    before = {one: one.stat().st_mtime_ns for one in (tmp_path / "out" / "runs").glob("*/result.json")}
    assert clean(path, tmp_path / "out", "--no-model")[0] == 0
    assert {one: one.stat().st_mtime_ns for one in (tmp_path / "out" / "runs").glob("*/result.json")} == before  # the same flips


def test_raters_beside_labels_that_they_did_not_make(answer: Given, clean: Clean, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [(path, given, *(true if rng.random() > 0.1 else str(rng.choice(CLASSES)) for _ in "ab")) for path, given, true in answer.rows]
    path = write(answer.path.parent / "beside.csv", rows, "path,label,label_1,label_2")
    code, printed, notes = clean(path, tmp_path / "out", "--no-model")
    assert code == 0, notes
    assert UNEXPLAINED in printed.splitlines() and TOGETHER not in printed
    assert figures(tmp_path / "out")["self_check"]["kind"] == "symmetric" and "raters" in figures(tmp_path / "out")["weights"]
    assert not (tmp_path / "out" / "check.csv").exists()


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


def test_where_nothing_can_be_learnt_the_answer_says_so(answer: Given, clean: Clean, tmp_path: Path) -> None:
    """Labels that have nothing to do with the images."""
    rows, rng = tiles(tmp_path / "tiles", 90), np.random.default_rng(1)
    path = write(tmp_path / "tiles" / "labels.csv", [(name, rng.choice(CLASSES)) for name, *_ in rows])
    code, printed, notes = clean(path, tmp_path / "out", "--no-model")
    assert code == 0, notes
    assert printed.endswith(" for all one can tell: do not act on these numbers.\n") and "do not act" not in answer.printed
    page, before = ((out / "report.html").read_text() for out in (tmp_path / "out", answer.out))
    assert "do not act on the numbers of this page" in page and "do not act" not in before
    assert figures(tmp_path / "out")["self_check"]["by_chance"] and not figures(answer.out)["self_check"]["by_chance"]
