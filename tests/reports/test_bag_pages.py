"""Which slides and tiles of runs are drawn, and the page that they are on."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.errors import BenchmarkError
from reports.bag_chapters import chapter
from reports.bag_pages import Chapter, Part, Picture, page
from reports.bag_runs import BagRun, SlideData, choose_slides, inherited_precision, maps_of, negatives_of, read_bag_run, rounds_of
from reports.heatmaps import SlideScores

TEST_OFFSETS, TRAIN_OFFSETS = np.array([0, 2, 5, 6]), np.array([0, 2, 4, 7, 8])


def data(pixels: bool = True) -> SlideData:
    """Three test slides of 2, 3 and 1 tiles, four training slides of 2, 2, 3 and 1; a tile's pixels are its row (training: 100 more)."""

    def of(part: str, rows: np.ndarray) -> np.ndarray:
        return np.broadcast_to((rows + (100 if part == "train" else 0)).astype(np.uint8)[:, None, None, None], (len(rows), 4, 4, 3)).copy()

    return SlideData(
        {"train": ["a", "b", "c", "d"], "test": ["x", "y", "z"]},
        ("normal", "tumour"),
        np.array([0, 1, 0, 1]),
        np.array([0, 1, 1, 1]),
        np.array([1, 0, 1]),
        {"train": TRAIN_OFFSETS, "test": TEST_OFFSETS},
        of if pixels else None,
    )


def arrays() -> dict[str, np.ndarray]:
    return {
        "test_labels": np.array([1, 0, 1]),
        "test_offsets": TEST_OFFSETS,
        "test_selected": np.array([[0.6, 0.4], [0.7, 0.3], [0.1, 0.9]], dtype=np.float32),
        "test_selected_tiles": np.array([0.1, 0.8, 0.2, 0.3, 0.4, 0.9], dtype=np.float32),
        "test_positions": np.array([[0, 0], [1, 0], [0, 0], [1, 0], [2, 0], [5, 5]]),
        "test_tile_labels": np.array([0, 1, 0, 0, 0, 1], dtype=np.int8),
        "train_given": np.array([0, 1, 0, 1]),
        "train_true": np.array([0, 1, 1, 1]),
        "train_offsets": TRAIN_OFFSETS,
        "train_tiles": np.array([0.2, 0.6, 0.9, 0.8, 0.7, 0.1, 0.65, 0.99], dtype=np.float32),
        "train_tile_labels": np.array([0, 0, 1, 0, 1, 0, 0, 1], dtype=np.int8),
    }


def row(method: str = "mine", seed: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "run_key": f"{seed:016x}", "method": method, "seed": seed, "dataset": "slides", "noise": "none", "protocol": "quick",
        "identity": {"cell": "cell"}, "spec": {"method": {"name": method}}, **more,
    }  # fmt: skip


def write(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True)
    np.savez(folder / "predictions.npz", **{name: value for name, value in {**arrays(), **changes}.items() if value is not None})
    return folder


# ----------------------------------------------------------------------------------------------------------------- slides


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, []),
        (1, [3]),
        (2, [3, 0]),
        (4, [3, 1, 0, 2]),
        (6, [3, 4, 1, 0, 2]),  # two negatives are all there are
        (9, [3, 4, 1, 0, 2]),
    ],
)
def test_the_most_missed_to_the_surest_and_the_worst_false_alarms(count: int, expected: list[int]) -> None:
    assert choose_slides(np.array([0, 1, 0, 1, 1]), np.array([0.8, 0.9, 0.1, 0.2, 0.6]), count).tolist() == expected


def test_slides_of_one_class() -> None:
    assert choose_slides(np.zeros(3), np.array([0.1, 0.3, 0.2]), 2).tolist() == [1, 2]
    assert choose_slides(np.ones(3), np.array([0.1, 0.3, 0.2]), 2).tolist() == [0, 1]
    assert choose_slides(np.zeros(0), np.zeros(0), 2).tolist() == []


def test_maps_hold_the_chosen_slides_and_no_other_tile() -> None:
    found = maps_of(BagRun(row(), arrays()), data(), [2, 0])
    assert list(found.names) == ["z", "x"] and found.offsets.tolist() == [0, 1, 3] and found.classes == ("normal", "tumour")
    assert found.scores.tolist() == pytest.approx([0.9, 0.1, 0.8]) and found.tile_labels.tolist() == [1, 0, 1]
    assert found.positions.tolist() == [[5, 5], [0, 0], [1, 0]] and found.tiles[:, 0, 0, 0].tolist() == [5, 0, 1]
    assert found.labels.tolist() == [1, 1] and found.probabilities.tolist() == pytest.approx([0.9, 0.4])
    bare = {name: values for name, values in arrays().items() if name not in ("test_positions", "test_tile_labels")}
    found = maps_of(BagRun(row(), bare), data(pixels=False), [1])
    assert found.positions is None and found.tile_labels is None and found.tiles is None


def test_hard_negatives_are_of_slides_that_are_labelled_negative() -> None:
    """Slides a and c: 0.2, 0.6 and 0.7, 0.1, 0.65; c is positive in truth, and so is its first tile."""
    found = negatives_of(BagRun(row(), arrays()), data(), 3, None)
    assert isinstance(found, SlideScores)
    assert (
        found.scores.tolist() == pytest.approx([0.6, 0.7, 0.65]) and list(found.names) == ["a", "c"] and found.offsets.tolist() == [0, 1, 3]
    )
    assert found.tiles[:, 0, 0, 0].tolist() == [101, 104, 106] and found.tile_labels.tolist() == [0, 1, 0]
    found = negatives_of(BagRun(row(), arrays()), data(), 3, 1)
    assert found is not None and found.scores.tolist() == pytest.approx([0.6, 0.7])
    assert negatives_of(BagRun(row(), arrays()), data(pixels=False), 3, 1) is None
    assert negatives_of(BagRun(row(), {**arrays(), "train_given": np.ones(4)}), data(), 3, 1) is None


# ----------------------------------------------------------------------------------------------------------------- rounds


def test_rounds_by_method_and_seed() -> None:
    first = {"pseudo/0/precision_positive_bags": 0.2, "pseudo/0/recall_positive_bags": 1.0}
    second = {"pseudo/1/precision_positive_bags": None, "pseudo/1/recall_positive_bags": 0.5}
    rows = [row("hnm", 1, **first, **second), row("plain"), row("hnm", 0, **first), row("its", 0, **first)]
    found = rounds_of(rows)
    assert list(found) == ["hnm", "its"]
    assert found["hnm"].precision == [[0.2], [0.2, None]] and found["hnm"].recall == [[1.0], [1.0, 0.5]]  # by seed
    assert rounds_of([row("plain")]) == {}


def test_what_the_label_of_the_slide_is_worth() -> None:
    rows = [row("a", 0, **{"noise/inherited_noise": 0.8}), row("b", 0, **{"noise/inherited_noise": 0.8})]
    assert inherited_precision(rows) == pytest.approx(0.2)
    assert inherited_precision([*rows, row("a", 1, **{"noise/inherited_noise": 0.6})]) == pytest.approx(0.3)  # a seed counts once
    assert inherited_precision([row()]) is None


# ------------------------------------------------------------------------------------------------------------------ files


def test_a_run_of_these_slides_is_read(tmp_path: Path) -> None:
    found = read_bag_run(write(tmp_path / "run"), row(), data())
    assert found.arrays["train_tiles"].tolist() == arrays()["train_tiles"].tolist() and found.row["method"] == "mine"
    hidden = write(tmp_path / "hidden", test_positions=None, test_tile_labels=None, train_tile_labels=None)
    assert "test_positions" not in read_bag_run(hidden, row(), data()).arrays


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_tiles": None}, "lacks train_tiles; run the cell again"),
        (
            {"test_labels": np.array([1, 1, 1])},
            "the slides of run run are other ones by now: their labels or tiles differ; run the cell again",
        ),
        ({"train_given": np.array([1, 1, 0, 1])}, "the slides of run run are other ones by now"),
        ({"test_offsets": np.array([0, 1, 5, 6])}, "the slides of run run are other ones by now"),
        ({"train_tiles": np.zeros(3)}, r"train_tiles is \(3,\), expected \(8,\); run the cell again"),
        ({"test_positions": np.zeros(6)}, r"test_positions is \(6,\), expected \(6, 2\); run the cell again"),
    ],
)
def test_a_run_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        read_bag_run(write(tmp_path / "run", **changes), row(), data())


def test_files_that_are_gone_or_broken(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"predictions\.npz does not exist; run the cell again"):
        read_bag_run(tmp_path, row(), data())
    (tmp_path / "predictions.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(BenchmarkError, match=r"predictions\.npz is corrupt \(.*\); run the cell again"):
        read_bag_run(tmp_path, row(), data())


# ------------------------------------------------------------------------------------------------------------------- page


def test_the_page_has_its_pictures_and_foreign_names_are_text_in_it(tmp_path: Path, read_page: Callable[[str], Any]) -> None:
    Image.new("RGB", (300, 20), (255, 0, 0)).save(tmp_path / "map.png")
    evil = "<script>alert(1)</script>\n'\" onload=x"
    part = Part(evil, [evil], [Picture(tmp_path / "map.png", evil, "what is seen")])
    found = read_page(page(evil, [evil], [Chapter(evil, [evil], [], [part])]))
    assert found.links == ["#m1-1"] and found.words.count(" ".join(evil.split())) == 9  # title, h1, h2, link, h3, caption, three notes
    ((_, picture),) = (each for each in found.tags if each[0] == "img")
    assert (picture["alt"], picture["width"], picture["height"]) == ("what is seen", "150", "10")
    assert found.pictures[0].size == (300, 20) and found.pictures[0].getpixel((150, 10))[0] > 240
    ((_, scrolled),) = (about for about in found.tags if about[1].get("role") == "region")
    assert scrolled["tabindex"] == "0" and scrolled["aria-label"] == " ".join(evil.split())


def test_a_figure_that_is_too_tall_for_webp(tmp_path: Path, read_page: Callable[[str], Any]) -> None:
    """Of 33 slides and more."""
    Image.new("RGB", (10, 16_400)).save(tmp_path / "tall.png")
    found = read_page(page("", [], [Chapter("", [], [Picture(tmp_path / "tall.png", "maps", "seen")], [])]))
    assert found.pictures[0].format == "PNG" and found.pictures[0].size == (10, 16_400)


def test_a_chapter_draws_what_it_can_and_says_what_it_cannot(tmp_path: Path) -> None:
    rounds = {"pseudo/0/precision_positive_bags": 0.2, "pseudo/0/recall_positive_bags": 1.0, "noise/inherited_noise": 0.8}
    run = BagRun(row(**rounds, **{"selected/auroc": 0.9}), arrays())
    found = chapter([run], [run.row], data(), tmp_path, "rounds-1", slides=3, negatives=4, run_folder=tmp_path.joinpath)
    assert found.title == "slides · none · seed 0" and [picture.file.name for picture in found.pictures] == ["rounds.png"]
    assert found.notes[0].startswith("3 test slides, 2 of them tumour; 4 training slides, where 80.0 % of the tiles that have the label")
    (part,) = found.parts
    assert part.method == "mine" and part.notes == [f"run {0:016x}, quick · AUROC of test slides 90.0 %"]
    assert sorted(file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.png")) == [
        f"{0:016x}/hard_negatives.png", f"{0:016x}/heatmaps.png", "rounds-1/rounds.png",
    ]  # fmt: skip
    bare = BagRun(row("other", 1), {name: values for name, values in arrays().items() if name != "test_positions"})
    found = chapter([bare], [bare.row], data(pixels=False), tmp_path, "rounds-2", slides=3, negatives=4, run_folder=tmp_path.joinpath)
    assert not found.pictures and not found.parts[0].pictures
    assert [re.sub(":.*", "", line) for line in found.parts[0].notes[1:]] == ["no maps", "no hard negatives"]
    found = chapter([run], [], data(), tmp_path, "rounds-3", slides=0, negatives=0, run_folder=tmp_path.joinpath)
    assert not found.parts[0].pictures and len(found.parts[0].notes) == 1


def test_a_chapter_shows_what_fewer_negatives_save(tmp_path: Path, read_page: Callable[[str], Any]) -> None:
    """Beside the rounds; of all seeds of the cell, and of no other cell."""
    rows = []
    for seed, (share, cell) in enumerate(((0.1, "cell"), (1.0, "cell"), (0.5, "other"))):
        spec = {"method": {"name": "hnm", "params": {"neg_ratio": share}}}
        rows.append(row("<b>hnm", seed, spec=spec, identity={"cell": cell}, **{"instances/auroc": 0.9}))
        folder = tmp_path / "runs" / rows[-1]["run_key"]
        folder.mkdir(parents=True)
        (folder / "history.jsonl").write_text(f'{{"stage": "finetune-0", "seconds": {2 * share}}}\n')
    found = chapter(
        [BagRun(rows[0], arrays())], rows, data(), tmp_path / "out", "rounds-1", slides=0, negatives=0,
        run_folder=(tmp_path / "runs").joinpath,
    )  # fmt: skip
    (picture,) = found.pictures
    assert picture.file == tmp_path / "out/rounds-1/tuning_cost.png" and picture.file.with_suffix(".svg").exists()
    assert picture.seen.endswith(". <b>hnm: 0.2 s and AUROC 90.0 % at 0.1, 2 s and AUROC 90.0 % at 1")
    shown = read_page(page("", [], [found]))
    assert [about["alt"] for name, about in shown.tags if name == "img"] == [picture.seen]
