"""What ``clean`` refuses in one line, before anything is decoded, run or written; and what it does with odd images."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.cleaning import Clean, Given, call, table, write

pytestmark = pytest.mark.usefixtures("one_thread")


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
