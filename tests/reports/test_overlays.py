"""Masks over images: which pixel gets which colour, which images are chosen, and what stands around them."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark.errors import BenchmarkError
from reports import overlay_runs
from reports.overlay_page import Chapter, Part, page
from reports.overlay_runs import MaskData, MaskRun, choose, read_mask_run, training_strips
from reports.overlay_sheet import Key, Table, contact_sheet, legend
from reports.overlays import FALSE_ALARM, FLAGGED, HIT, MISSED, OBJECTS, Strip, Tile, judged, objects_of, outlined, plain, verdicts


def rgb(colour: str) -> list[int]:
    return [int(colour[start : start + 2], 16) for start in (1, 3, 5)]


def square(*boxes: tuple[int, int, int, int], side: int = 8) -> np.ndarray:
    """(T, side, side) uint8, one box (top, bottom, left, right) a task."""
    masks = np.zeros((len(boxes), side, side), dtype=np.uint8)
    for mask, (top, bottom, left, right) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = 1
    return masks


BLACK = np.zeros((8, 8, 1), dtype=np.uint8)


# ---------------------------------------------------------------------------------------------------------------- tiles


def test_small_images_are_enlarged_by_a_whole_factor_and_large_ones_shrunk() -> None:
    image = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    tile = plain(image, side=7)
    assert tile.shape == (4, 6, 3) and tile[:, :, 2].tolist() == [[0, 0, 1, 1, 2, 2]] * 2 + [[3, 3, 4, 4, 5, 5]] * 2
    assert plain(np.zeros((10, 20, 3), np.uint8), side=5).shape == (2, 5, 3)
    assert plain(np.full((1, 900, 1), 9, np.uint8), side=30).tolist() == [[[9, 9, 9]] * 30]
    assert plain(np.zeros((4, 4, 3), np.uint8), side=4).shape == (4, 4, 3)


def test_objects_are_those_of_the_tasks_in_order() -> None:
    labels = np.array([[[0, 1, 2]], [[2, 255, 1]]], dtype=np.uint8)
    assert objects_of(labels, 3).tolist() == [
        [[False, True, False]],
        [[False, False, True]],
        [[False, False, True]],
        [[True, False, False]],
    ]


def test_an_object_has_an_outline_and_a_faint_inside() -> None:
    tile = outlined(BLACK, square((1, 7, 1, 7)), 2, side=8)
    colour = rgb(OBJECTS[0])
    assert tile[0].max() == 0 and tile[1, 1].tolist() == colour and tile[2, 3].tolist() == colour  # two pixels wide
    assert tile[3, 3].tolist() == [round(0.28 * value) for value in colour]
    at_the_edge = outlined(BLACK, square((0, 8, 0, 4)), 2, side=8)
    assert at_the_edge[0, 0].max() < 100  # it goes on beyond the image
    assert at_the_edge[4, 3].tolist() == colour


def test_where_objects_overlap_only_outlines_are_drawn() -> None:
    tile = outlined(np.zeros((24, 24, 1), np.uint8), square((0, 24, 0, 16), (0, 24, 4, 24), side=24), 2, side=24)
    first, second = (rgb(colour) for colour in OBJECTS[:2])
    assert tile[9, 1].tolist() == [round(0.28 * value) for value in first]
    assert tile[9, 9].tolist() == [0, 0, 0]
    assert tile[9, 20].tolist() == [round(0.28 * value) for value in second]
    assert tile[9, 15].tolist() == first and tile[9, 4].tolist() == second


def test_outlines_on_each_other_alternate() -> None:
    tile = outlined(np.zeros((24, 24, 1), np.uint8), square((0, 24, 0, 12), (0, 24, 0, 12), side=24), 2, side=24)
    first, second = (rgb(colour) for colour in OBJECTS[:2])
    line = tile[:, 11].tolist()  # the diagonals through it begin at 11: dashes of five
    assert line == [first] * 4 + [second] * 5 + [first] * 5 + [second] * 5 + [first] * 5


def test_void_is_hatched_and_belongs_to_no_object() -> None:
    labels = np.full((1, 8, 8), 255, dtype=np.uint8)
    tile = outlined(BLACK, labels, 2, side=8)
    assert (tile[:, :, 0] > 0).tolist() == (np.add.outer(range(8), range(8)) % 6 < 2).tolist()
    assert tile[0, 0].tolist() == [88, 88, 88]  # 0.8 of the grey


def test_flagged_pixels_are_hits_false_alarms_or_missed() -> None:
    given = np.array([[[1, 1, 1, 1, 255, 1]]], dtype=np.uint8)
    true = np.array([[[0, 1, 0, 1, 0, 255]]], dtype=np.uint8)
    flagged = np.array([[[1, 1, 0, 0, 1, 1]]], dtype=bool)
    found = {colour: pixels.astype(int).tolist() for colour, pixels in verdicts(given, true, flagged).items()}
    assert found == {HIT: [[1, 0, 0, 0, 0, 0]], FALSE_ALARM: [[0, 1, 0, 0, 0, 0]], MISSED: [[0, 0, 1, 0, 0, 0]]}
    assert {colour: pixels.astype(int).tolist() for colour, pixels in verdicts(given, None, flagged).items()} == {
        FLAGGED: [[1, 1, 0, 0, 0, 1]]
    }


def test_of_several_tasks_a_pixel_shows_the_worst() -> None:
    given = np.array([[[1, 1, 1]], [[1, 1, 1]]], dtype=np.uint8)
    true = np.array([[[0, 0, 1]], [[1, 0, 1]]], dtype=np.uint8)
    flagged = np.array([[[1, 1, 0]], [[1, 0, 0]]], dtype=bool)  # a hit and a false alarm; a hit and one missed; nothing
    found = verdicts(given, true, flagged)
    assert [found[colour].astype(int).tolist() for colour in (HIT, FALSE_ALARM, MISSED)] == [[[0, 0, 0]], [[1, 0, 0]], [[0, 1, 0]]]


def test_the_map_of_flagged_pixels_is_a_faded_image_with_colours() -> None:
    given = square((2, 6, 2, 6))
    tile = judged(BLACK, given, given, np.zeros((1, 8, 8), dtype=bool), side=8)
    assert tile[0, 0].tolist() == [128, 128, 128] and tile[2, 2].tolist() == [38, 38, 38] and tile[3, 3].tolist() == [128, 128, 128]
    tile = judged(BLACK, given, given * 0, given == 1, side=8)
    assert tile[3, 3].tolist() == [round(127.5 + 0.85 * (value - 127.5)) for value in rgb(HIT)]


# ------------------------------------------------------------------------------------------------------ choice and words


def data(referenced: bool = True) -> MaskData:
    """Five training images of two organs and four test images."""
    true = np.stack([square((0, 4, 0, 4), (4, 8, 0, 8))] * 5)
    given = true.copy()
    given[0, 0] = 0
    images = {"train": np.zeros((5, 8, 8, 1), np.uint8), "test": np.zeros((4, 8, 8, 1), np.uint8)}
    index = {"train": np.array([8, 6, 4, 2, 0]), "test": np.array([1, 3, 5, 7])}
    paths = [f"folder/{n}.png" for n in range(8)] + ["folder/an image with a very long name.png"]
    return MaskData(images, index, paths, given, true, true[:4], ("heart", "lung"), ("background", "organ"), referenced)


def run(quality: list[float], folder: Path = Path("ab"), method: str = "seg", corrects: bool = False) -> MaskRun:
    predicted = data().test.copy()
    predicted[1] = 0
    predicted[3, 0] = 0
    return MaskRun(folder, folder.name, method, np.array(quality), predicted, corrects)


def test_the_worst_come_first_and_then_others_at_random() -> None:
    several = [run([0.9, 0.1, 0.2, 0.3, 0.4]), run([0.0, 0.3, 0.1, 0.5, np.nan])]
    assert several[0].ranks.tolist() == [5, 1, 2, 3, 4] and several[1].ranks.tolist() == [1, 3, 2, 4, 5]
    assert run([0.5, 0.5, 0.1, 0.5, 0.9]).ranks.tolist() == [3, 3, 1, 3, 5]
    found = choose(data(), several, worst=2, random=2, test=3)
    assert found.train[:2] == ((1, "worst 1"), (2, "worst 2"))
    assert [why for _, why in found.train[2:]] == ["at random"] * 2
    assert {row for row, _ in found.train[2:]} < {0, 3, 4}
    assert found.test[:2] == ((1, "lowest 1"), (3, "lowest 2")) and found.test[2][0] in (0, 2)
    assert choose(data(), several, worst=2, random=2, test=3) == found
    alone = choose(data(), several[1:], worst=0, random=5, test=0)
    drawn = [row for row, _ in alone.train]
    assert sorted(drawn) == [0, 1, 2, 3, 4] and alone.test == ()
    assert [row for row, _ in found.train[2:]] == [row for row in drawn if row not in (1, 2)][:2]  # the same ones for every method
    assert len(choose(data(), several, worst=9, random=9, test=9).train) == 5


def write(folder: Path, **changed: np.ndarray | None) -> Path:
    """A run's folder with what is read of it."""
    folder.mkdir(exist_ok=True)
    about, ids = data(), run([0]).test
    arrays: dict[str, np.ndarray | None] = {
        "train_given": about.given,
        "test_labels": about.test,
        "train_quality": np.linspace(0, 1, 5, dtype=np.float32),
        "test_selected": np.stack([ids == 0, ids == 1], axis=2).astype(np.float16),
        "train_flagged": about.given != about.true,
        **changed,
    }
    np.savez(folder / "predictions.npz", **{name: values for name, values in arrays.items() if values is not None})
    pq.write_table(pa.table({"index": about.index["train"]}), folder / "samples.parquet")
    return folder


def test_strips_say_what_is_seen(tmp_path: Path) -> None:
    corrected = data().true.copy()
    corrected[:, 1] = 0
    found = read_mask_run(write(tmp_path / "k", train_corrected=corrected), "cl", data())
    assert found.corrects and found.quality.tolist() == [0, 0.25, 0.5, 0.75, 1] and np.array_equal(found.test, run([0]).test)
    (strip,) = training_strips(data(), [found], [(0, "worst 1")], side=8)
    assert [(tile.title, tile.method, tile.lines) for tile in strip.tiles] == [
        ("image", "", ("index 8 · worst 1", "…age with a very long name.png")),
        ("given", "", ("Dice 50.0 %", "12.5 % wrong")),  # 16 of 128 pixels
        ("flagged", "cl", ("rank 1 of 5", "12.5 % flagged")),
        ("corrected", "cl", ("Dice 50.0 %", "+0.0")),
        ("truth", "", ()),
    ]
    assert all(tile.pixels.shape == (8, 8, 3) for tile in strip.tiles)
    (strip,) = training_strips(data(referenced=False), [found], [(1, "at random")], side=8)
    assert [(tile.title, tile.lines) for tile in strip.tiles[1:]] == [
        ("given", ()),
        ("flagged", ("rank 2 of 5", "0.0 % flagged")),
        ("corrected", ()),
    ]
    void = data().given.copy()
    void[1, :, :4], void[2], corrected[2] = 255, 255, 0  # annotators have left open half of the second image, and all of the third
    undecided = dataclasses.replace(data(), given=void)
    unsure = read_mask_run(write(tmp_path / "v", train_given=void, train_corrected=corrected), "cl", undecided)
    half, nothing = training_strips(undecided, [unsure], [(1, "worst 1"), (2, "worst 2")], side=8)
    assert half.tiles[1].lines == ("Dice 100.0 %", "0.0 % wrong") and half.tiles[2].lines[1] == "0.0 % flagged"
    assert nothing.tiles[1].lines == ("Dice –", "0.0 % wrong") and nothing.tiles[3].lines == ("Dice 0.0 %", "–")
    first, second = overlay_runs.prediction_strips(data(), [found, found], [(1, "lowest 1"), (3, "at random")], side=8)
    assert [tile.lines for tile in first.tiles] == [("index 3 · lowest 1", "3.png"), ("Dice 0.0 %",), ("Dice 0.0 %",), ()]
    assert second.tiles[1].lines == ("Dice 50.0 %",)
    assert training_strips(data(), [found], []) == [] == overlay_runs.prediction_strips(data(), [found], [])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train_quality": None}, "predictions.npz lacks train_quality; run the cell again"),
        ({"train_quality": np.zeros(4)}, "predictions.npz: train_quality is float64 (4,), not (5,); run the cell again"),
        ({"test_selected": np.zeros((4, 8, 8))}, "test_selected is float64 (4, 8, 8), not (4, 2, 2, 8, 8); run the cell again"),
        (
            {"train_given": np.zeros((5, 2, 8, 8), np.uint8)},
            "the data of run k are other ones by now: their masks differ; run the cell again",
        ),
        (
            {"test_labels": np.zeros((4, 2, 8, 8), np.uint8)},
            "the data of run k are other ones by now: their masks differ; run the cell again",
        ),
        ({"train_quality": np.array([{}], dtype=object)}, "predictions.npz is corrupt (ValueError: "),
    ],
)
def test_files_that_do_not_fit(changed: dict[str, np.ndarray | None], message: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "k", **changed)
    with pytest.raises(BenchmarkError) as refused:
        read_mask_run(folder, "cl", data())
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    folder = write(tmp_path / "k", train_flagged=np.zeros((5, 8, 8)))
    found = read_mask_run(folder, "cl", data())
    with pytest.raises(BenchmarkError, match=r"train_flagged is float64 .5, 8, 8., not .5, 2, 8, 8.; run the cell again"):
        found.judgements(data(), np.array([0]))
    (folder / "samples.parquet").write_bytes(b"PAR1")
    with pytest.raises(BenchmarkError, match=r"samples\.parquet is corrupt"):
        read_mask_run(folder, "cl", data())
    (folder / "samples.parquet").unlink()
    with pytest.raises(BenchmarkError, match=r"samples\.parquet does not exist; run the cell again"):
        read_mask_run(folder, "cl", data())
    (folder / "predictions.npz").unlink()
    with pytest.raises(BenchmarkError, match=r"predictions\.npz does not exist; run the cell again"):
        read_mask_run(folder, "cl", data())


# ------------------------------------------------------------------------------------------------------- sheet and page

STRANGE = "<b>$x_1$</b>\n" + "細胞 " + "a" * 300


def tables() -> list[Table]:
    rng = np.random.default_rng(0)
    tiles = [Tile("image", rng.integers(0, 256, (256, 200, 3), dtype=np.uint8), (STRANGE,))]
    tiles += [Tile(name, rng.integers(0, 256, (256, 256, 3), dtype=np.uint8), ("one", "two"), STRANGE) for name in ("flagged", "corrected")]
    return [Table(STRANGE, [Strip(tuple(tiles))] * 2), Table("nothing", [])]


def test_the_sheet_holds_the_tiles_pixel_by_pixel_and_is_the_same_each_time() -> None:
    from PIL import Image

    keys = legend([STRANGE, "heart"], referenced=True, void=True)
    content = contact_sheet(STRANGE, keys, tables())
    assert content == contact_sheet(STRANGE, keys, tables())
    sheet = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert sheet.shape[1] == 2 * 28 + 3 * 256 + 2 * 10
    for place, tile in enumerate(tables()[0].strips[0].tiles):
        x = 28 + place * 266
        column = sheet[:, x : x + tile.pixels.shape[1]]
        starts = [y for y in range(len(sheet) - 255) if np.array_equal(column[y], tile.pixels[0])]
        assert len(starts) == 2 and all(np.array_equal(column[y : y + 256], tile.pixels) for y in starts)
    assert (sheet[:, :20] == 255).all() and (sheet[:, -20:] == 255).all()  # nothing long runs over the margin
    assert contact_sheet("", [], [])  # not much, but an image


def test_a_sheet_that_no_image_can_hold_is_refused() -> None:
    strips = tables()[0].strips[:1] * 250
    with pytest.raises(BenchmarkError, match=r"a sheet of 844 × [0-9,]+ pixels cannot be drawn .*; ask for fewer images or --methods"):
        contact_sheet("", [], [Table("", strips)])


def test_the_legend_says_no_more_than_is_known() -> None:
    labels = [key.label for key in legend(["heart"], referenced=True, void=True)]
    assert labels == ["heart", "flagged, and wrong", "flagged, but right", "wrong, not flagged", "outline of the given mask", "void"]
    labels = [key.label for key in legend(["heart"], referenced=False, void=False)]
    assert labels == ["heart", "flagged (whether it is wrong is not known)", "outline of the given mask"]


def test_the_page_has_the_tiles_and_names_are_text_in_it(read_page: Callable[[str], Any]) -> None:
    parts = (Part(name, [STRANGE], tables()) for name in ("cl", STRANGE))
    keys = legend([STRANGE], referenced=True, void=True)
    found = read_page(page(STRANGE, [STRANGE], [Chapter(STRANGE, keys, ["cl", STRANGE], parts)]))
    assert len(found.pictures) == 2 * 2 * 3 and found.links == ["#m1-1", "#m1-2"]
    assert [about["id"] for tag, about in found.tags if tag == "h3"] == ["m1-1", "m1-2"]
    assert sum(tag == "b" for tag, _ in found.tags) == len(found.pictures)  # those of the captions alone
    told = " ".join(STRANGE.split())
    assert told in found.words
    assert [about["alt"] for tag, about in found.tags if tag == "img"][:3] == [
        f"{name}, {told}" for name in ("image", "flagged", "corrected")
    ]
    assert found.pictures[0].size == (200, 256)


def test_a_swatch_is_as_the_pictures_are(read_page: Callable[[str], Any]) -> None:
    keys = [Key("heart", "#332288"), Key("outline", "#000000", outline=True), Key("void", "")]
    found = read_page(page("", [], [Chapter("", keys, [], [])]))
    styles = [about["style"] for tag, about in found.tags if tag == "i"]
    assert styles[0] == "background: #332288" and all("#fff" in style for style in styles[1:])  # black is seen on a dark page, too
