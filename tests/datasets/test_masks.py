"""A user's own images and masks: folders, archives, archives of several annotators, and every way in which they can be of no use."""

from __future__ import annotations

import os
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.data.options import DataOptions
from benchmark.errors import BenchmarkError
from benchmark.params import resolve
from benchmark.registry import Registry
from benchmark.segmentation.arrays import MaskArrays

MASKS = Registry().load("dataset", "masks")
ANNOTATORS = import_module(f"{MASKS.__module__}.annotators")
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 6, 5), dtype=np.uint8)
GOLD = np.zeros((4, 6, 5), dtype=bool)
GOLD[:, 2:4, 1:4] = True
DRAWN = np.stack([GOLD, np.roll(GOLD, 1, axis=1), np.roll(GOLD, 1, axis=2)], axis=1)
"""(4, 3, 6, 5): the first annotator is right, the others are a pixel off."""


def plugin(path: Path, image_size: int = 0, **params: Any) -> Any:
    return MASKS(resolve(MASKS.Params, {"path": str(path), **params}, "masks"), DataOptions(image_size=image_size))


def load(path: Path, image_size: int = 0, **params: Any) -> MaskArrays:
    arrays: MaskArrays = plugin(path, image_size, **params).load(Path("unused"))
    return arrays


def saved(folder: Path, **arrays: Any) -> Path:
    """An archive of IMAGES and other arrays; None leaves one out."""
    np.savez(folder / "set.npz", **{name: value for name, value in ({"images": IMAGES} | arrays).items() if value is not None})
    return folder / "set.npz"


def refused(path: Path, message: str, **params: Any) -> None:
    with pytest.raises(BenchmarkError, match=re.escape(message)) as raised:
        load(path, **params)
    assert "\n" not in str(raised.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for kind, pixels in (("images", IMAGES), ("masks", GOLD * np.uint8(255))):
        (tmp_path / kind).mkdir()
        for name, one in zip("abcd", pixels, strict=True):
            Image.fromarray(one).save(tmp_path / kind / f"{name}.png")
    return tmp_path


# -------------------------------------------------------------------------------------------------------------- folders


def test_a_folder(folder: Path) -> None:
    found = load(folder)
    assert np.array_equal(found.images[..., 0], IMAGES) and np.array_equal(found.labels[:, 0], GOLD)
    assert found.tasks == ("mask",) and found.paths == ("a", "b", "c", "d") and found.clean_labels is None and found.groups is None
    assert load(folder, 4).labels.shape == (4, 1, 4, 4)
    assert load(folder, classes="tissue+nucleus").classes == ("tissue", "nucleus")
    assert MASKS.task == "segmentation" and not MASKS.labels_are_truth


def test_a_folder_a_class_and_groups(folder: Path) -> None:
    (folder / "masks").rename(folder / "gland")
    (folder / "masks").mkdir()
    (folder / "gland").rename(folder / "masks/gland")
    (folder / "groups.csv").write_text("name,group\na,p2\nb,p2\nc,p1\nd,p3\n")
    found = load(folder)
    assert found.tasks == ("gland",) and found.groups is not None and found.groups.tolist() == [1, 1, 0, 2]


def test_parameters_of_archives_mean_nothing_for_a_folder(folder: Path) -> None:
    refused(folder, f"masks: given, draw is for .npz files, and {folder} is a folder; leave it out", given="crowd", draw=1)


def test_too_few_images_in_a_folder(folder: Path) -> None:
    for name in "bcd":
        (folder / f"images/{name}.png").unlink()
        (folder / f"masks/{name}.png").unlink()
    refused(folder, f"masks: {folder} holds 1 image; training, validation and test need one each at least")


# ------------------------------------------------------------------------------------------------------------- archives


def test_an_archive_with_everything(tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        images=np.stack([IMAGES] * 3, axis=-1),
        masks=np.stack([GOLD, ~GOLD], axis=1),
        tasks=np.array(["gland", "rest"]),
        classes=np.array(["out", "in"]),
        groups=np.array(["p9", "p9", "p2", "p5"]),
        split=np.array(["train", "train", "val", "test"]),
        paths=np.array(["a", "b", "c", "d"]),
        something=np.zeros(2),
    )
    found = load(path)
    assert found.images.shape == (4, 6, 5, 3) and found.labels.shape == (4, 2, 6, 5) and found.labels.dtype == np.uint8
    assert np.array_equal(found.labels[:, 1], ~GOLD) and found.tasks == ("gland", "rest") and found.classes == ("out", "in")
    assert found.groups is not None and found.groups.tolist() == [2, 2, 0, 1]
    assert found.split is not None and found.split.tolist() == [0, 0, 1, 2] and found.paths == ("a", "b", "c", "d")
    assert load(path, classes="background+object").classes == ("background", "object")


def test_masks_under_another_name_and_another_array_of_groups(tmp_path: Path) -> None:
    path = saved(tmp_path, gold=GOLD * np.uint8(255), slide=np.array([7, 7, 3, 3], dtype=np.uint8), groups=np.arange(4))
    found = load(path, key="gold", group="slide")
    assert np.array_equal(found.labels[:, 0], GOLD) and found.classes == ("background", "object")
    assert found.groups is not None and found.groups.dtype == np.int64 and found.groups.tolist() == [1, 1, 0, 0]


def test_class_ids_with_void(tmp_path: Path) -> None:
    ids = GOLD.astype(np.int32)
    ids[:, 3] *= 2
    ids[0, 0] = 255
    for classes, expected in (("", ("background", "class 1", "class 2")), ("a+b+c", ("a", "b", "c"))):
        found = load(saved(tmp_path, masks=ids), classes=classes)
        assert np.array_equal(found.labels[:, 0], ids) and found.classes == expected


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path, folder: Path) -> None:
    def fingerprint(path: Path) -> str:
        found: str = plugin(path).fingerprint(Path("unused"))
        return found

    path = saved(tmp_path, masks=GOLD)
    before = fingerprint(path)
    os.utime(path, (1, 1))
    assert fingerprint(path) == before and before.startswith("v1-")
    assert fingerprint(saved(tmp_path, masks=DRAWN[:, 1])) != before
    of_folder = fingerprint(folder)
    os.utime(folder / "masks/a.png", (1, 1))
    assert fingerprint(folder) != of_folder


def test_augmentation_is_the_users(tmp_path: Path) -> None:
    assert plugin(tmp_path).augmentation == ("flip",) and plugin(tmp_path, augment="none").augmentation == ()
    assert plugin(tmp_path, augment="rot90+color").augmentation == ("rot90", "color")
    with pytest.raises(BenchmarkError, match="unknown augmentation 'flp'; did you mean 'flip'"):
        plugin(tmp_path, augment="flp")


def test_archives_of_no_use(tmp_path: Path) -> None:
    path = saved(tmp_path, gold=GOLD)
    refused(path, f"unknown array in {path} 'gld'; did you mean 'gold'?; known: gold, images; give the name as key=NAME", key="gld")
    refused(path, "unknown array in", key="gold", group="set_id")
    refused(saved(tmp_path, images=None, image=IMAGES, masks=GOLD), "known: image, masks; its images must be called so")
    refused(saved(tmp_path, masks=GOLD[:, :5]), "has shape (4, 1, 5, 5) and the images (4, 6, 5, 1); expected (n, H, W) or (n, T, H, W)")
    refused(saved(tmp_path, masks=GOLD[:3]), "of 4 images of 6×5")
    refused(saved(tmp_path, masks=GOLD * 1.0), "is float64; expected bool or whole numbers")
    refused(saved(tmp_path, masks=GOLD * 300), "holds values from 0 to 300; class ids lie in [0, 255)")
    refused(saved(tmp_path, masks=GOLD * np.uint8(7)), "holds unexpected values: 0, 7; expected 0 and 255, or class ids from 0 to K-1")
    refused(saved(tmp_path, masks=GOLD * np.uint8(2)), "values: 0, 2; expected 0 and 255, or class ids from 0 to 1", classes="a+b")
    refused(saved(tmp_path, masks=GOLD & False), "shows no foreground anywhere: every pixel is background or void")
    two = np.stack([GOLD, GOLD & False], axis=1)
    refused(saved(tmp_path, masks=two, tasks=np.array(["a", "b"])), f"masks: masks of b in {path} shows no foreground")
    refused(saved(tmp_path, masks=two, tasks=np.array(["a"])), "names 1 tasks (a), and its masks have 2")
    refused(saved(tmp_path, images=IMAGES[:1], masks=GOLD[:1]), "holds 1 image; training, validation and test need one each")
    refused(saved(tmp_path, images=IMAGES * 1.0, masks=GOLD), "images in")
    refused(saved(tmp_path, masks=GOLD, split=np.array([0, 0, 9, 1])), "split in")
    refused(saved(tmp_path, masks=GOLD, paths=np.array(["a"])), "paths in")
    refused(saved(tmp_path, masks=GOLD, slide=np.zeros((4, 2))), "slide in", group="slide")


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    refused(tmp_path / "none.npz", f"masks: there is no {tmp_path / 'none.npz'}; write masks:PATH")
    with pytest.raises(BenchmarkError, match="masks needs a path: write masks:PATH"):
        MASKS().load(Path("unused"))
    whole = saved(tmp_path, masks=GOLD).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "cut.npz", "cut.npz cannot be read")
    with pytest.raises(BenchmarkError, match="is not a whole"):
        plugin(tmp_path / "cut.npz").fingerprint(Path("unused"))
    refused(saved(tmp_path, masks=np.array([None] * 4, dtype=object)), "Object arrays cannot be loaded when allow_pickle=False")


# ----------------------------------------------------------------------------------------------------- several annotators


def test_one_annotator_an_image_and_the_reference(tmp_path: Path) -> None:
    has = np.array([[True, False, False], [False, True, False], [False, False, True], [False, True, True]])
    path = saved(tmp_path, gold=GOLD, annotators=DRAWN, has_annotator=has)
    found = load(path, key="gold", given="annotators")
    assert found.clean_labels is not None and np.array_equal(found.clean_labels[:, 0], GOLD)
    assert np.array_equal(found.labels[:3, 0], DRAWN[[0, 1, 2], [0, 1, 2]])  # only one drew each of these
    last = {draw: load(path, key="gold", given="annotators", draw=draw).labels[3, 0].tobytes() for draw in range(20)}
    both = {DRAWN[3, rater].astype(np.uint8).tobytes() for rater in (1, 2)}
    assert set(last.values()) == both and last[0] == found.labels[3, 0].tobytes()


def test_availability_by_any_name_or_none(tmp_path: Path) -> None:
    only = np.array([[False, True, False]] * 4)
    for name, params in (("has_annotators", {}), ("drew", {"available": "drew"})):
        found = load(saved(tmp_path, gold=GOLD, annotators=DRAWN, **{name: only}), key="gold", given="annotators", **params)
        assert np.array_equal(found.labels[:, 0], DRAWN[:, 1])
    path = saved(tmp_path, gold=GOLD, annotators=DRAWN)
    seen = {load(path, key="gold", given="annotators", draw=draw).labels[0, 0].tobytes() for draw in range(20)}
    assert len(seen) == 3


def test_annotators_are_alike_likely() -> None:
    available = np.ones((3000, 4), dtype=bool)
    available[:, 2] = False
    counts = np.bincount(ANNOTATORS.draw_annotators(available, 0), minlength=4)
    assert counts[2] == 0 and np.abs(counts[[0, 1, 3]] - 1000).max() < 4.5 * np.sqrt(3000 * (1 / 3) * (2 / 3))


def test_the_majority_as_reference(tmp_path: Path) -> None:
    found = load(saved(tmp_path, crowd=DRAWN), key="majority", given="crowd")
    assert found.clean_labels is not None and np.array_equal(found.clean_labels[:, 0], DRAWN.sum(axis=1) >= 2)
    assert any(np.array_equal(found.labels[0, 0], drawn) for drawn in DRAWN[0])
    assert load(saved(tmp_path, majority=GOLD), key="majority").clean_labels is None  # an array may be called so


def test_votes_by_hand() -> None:
    votes = np.array([[[2, 1, 255, 0]], [[2, 0, 255, 1]], [[1, 255, 255, 1]], [[0, 0, 0, 0]]], dtype=np.uint8)[None, :, :, None]
    available = np.array([[True, True, True, False]])
    assert votes.shape == (1, 4, 1, 1, 4)
    assert ANNOTATORS.majority_vote(votes, available, 3)[0, 0, 0].tolist() == [2, 0, 255, 1]  # the second is a tie of 0 and 1


def test_annotators_of_no_use(tmp_path: Path) -> None:
    has = np.ones((4, 3), dtype=bool)
    has[1] = False
    both = {"key": "gold", "given": "annotators"}
    path = saved(tmp_path, gold=GOLD, annotators=DRAWN, has_annotator=has)
    refused(path, f"masks: image 1 has no annotator in has_annotator of {path}; leave it out of the file", **both)
    path = saved(tmp_path, gold=GOLD, annotators=DRAWN, has_annotator=has & False, paths=np.array(["a", "b", "c", "d"]))
    refused(path, "masks: image 0 (a) and 3 more have no annotator", **both)
    refused(saved(tmp_path, gold=GOLD, annotators=DRAWN, has_annotator=has[:, :2]), "is bool (4, 2); expected bool (4, 3)", **both)
    refused(saved(tmp_path, gold=GOLD, annotators=GOLD), "expected (n, R, H, W) or (n, R, T, H, W) of 4 images of 6×5", **both)
    path = saved(tmp_path, annotators=DRAWN)
    refused(path, "give the name as key=NAME, or key=majority for the annotators' vote", given="annotators")
    refused(path, "key=majority is a vote of annotators; name the array of their masks: given=…", key="majority")
    refused(path, "key and given are both annotators", key="annotators", given="annotators")
    refused(
        saved(tmp_path, gold=GOLD, annotators=DRAWN[:, :, None].repeat(2, axis=2)), "differ in their tasks: gold 1, annotators 2", **both
    )
    refused(saved(tmp_path, gold=GOLD, annotators=DRAWN & False), "annotators in", **both)
    refused(saved(tmp_path, gold=GOLD, annotators=DRAWN * np.uint8(9)), "masks: annotators in", **both)


@pytest.mark.skipif("BENCHMARK_DATA" not in os.environ, reason="BENCHMARK_DATA names no folder of real sets")
@pytest.mark.parametrize(
    ("name", "key", "given", "n", "dice"),
    [("bu_bil_experts128", "gold", "annotators", 151, 0.865), ("bu_bil_crowd64", "majority", "crowd", 154, 0.92)],
)
def test_real_annotators(name: str, key: str, given: str, n: int, dice: float) -> None:
    path = Path(os.environ["BENCHMARK_DATA"]) / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    found = load(path, key=key, given=given, group="set_id")
    assert len(found) == n and found.groups is not None and len(np.unique(found.groups)) == 3
    assert found.clean_labels is not None
    both = (found.labels & found.clean_labels).sum(axis=(1, 2, 3))
    assert np.mean(2 * both / (found.labels.sum(axis=(1, 2, 3)) + found.clean_labels.sum(axis=(1, 2, 3)))) == pytest.approx(dice, abs=0.02)
