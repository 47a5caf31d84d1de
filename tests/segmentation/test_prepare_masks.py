"""From a spec to masks: what is split how, what stays true, what is recorded of the noise, and which arrays are refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.api import Dataset
from benchmark.data.options import DataOptions
from benchmark.errors import BenchmarkError
from benchmark.grammar import parse_settings
from benchmark.prepare import PreparedData, prepare
from benchmark.registry import Registry
from benchmark.segmentation.arrays import MaskArrays
from benchmark.segmentation.prepare import checked_masks, pixel_error_rate, record_masks, resized_masks
from benchmark.spec import expand, protocol

VOID = 255

PLUGIN = '''
"""Masks."""
from dataclasses import dataclass

import numpy as np

from benchmark.api import Dataset, Noise, dataset, hp, noise
from benchmark.segmentation.arrays import MaskArrays


@dataset("boxes", task="segmentation", version=1)
class Boxes(Dataset):
    """24 images of 8 patients; image i is as bright as its number and has a box of its own."""

    @dataclass(frozen=True)
    class Params:
        given: bool = hp(False, tune=False, help="annotators have drawn the first row too, and left the last undecided")

    def load(self, root):
        images = np.repeat(np.arange(24, dtype=np.uint8), 64).reshape(24, 8, 8, 1)
        clean = np.zeros((24, 2, 8, 8), dtype=np.uint8)
        for i in range(24):
            clean[i, 0, 2:4, i % 6 : i % 6 + 2] = 1
            clean[i, 1, 6] = 1
        given = clean.copy()
        given[:, 0, 0], given[:, :, 7] = 1, 255
        labels, reference = (given, clean) if self.params.given else (clean, None)
        names = [f"{i}.png" for i in range(24)]
        return MaskArrays(images, labels, ("box", "row"), ("background", "organ"), reference, groups=np.arange(24) // 3, paths=names)


@noise("missing", task="segmentation", version=1)
class Missing(Noise):
    """The first task's objects are gone from half of the masks; what else it does wrong."""

    @dataclass(frozen=True)
    class Params:
        how: str = hp("", tune=False, help="what goes wrong")

    argument = "how"

    def apply(self, samples, rng):
        assert samples.tasks == ("box", "row") and len(samples.images) == len(samples.labels) == len(samples.positions)
        assert samples.class_names == ("background", "organ") and samples.num_classes == 2
        assert [samples.images[i][0, 0, 0] for i in range(len(samples.labels))] == samples.positions.tolist()
        noisy = samples.labels.copy()
        noisy[rng.permutation(len(noisy))[: len(noisy) // 2], 0] = 0
        return {"dtype": noisy.astype(np.int64), "class": noisy * 3, "one task": noisy[:, :1]}.get(self.params.how, noisy)
'''


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    (tmp_path / "boxes.py").write_text(PLUGIN)
    return Registry([tmp_path / "boxes.py"])


def prepared(registry: Registry, data: str = "boxes", noise: str = "missing", seed: int = 0, **settings: Any) -> PreparedData:
    (spec,) = expand(
        registry,
        methods=parse_settings("seg_ce", what="method"),
        datasets=parse_settings(data, what="dataset"),
        noise=parse_settings(noise, what="noise"),
        seeds=[seed],
        protocol=protocol("quick", settings, "segmentation"),
        data_root=Path("unused"),
    )
    return prepare(spec, registry, Path("unused"))


# ------------------------------------------------------------------------------------------------------- the parts


def test_no_patient_is_in_two_parts_and_everything_is_in_one(registry: Registry) -> None:
    found = prepared(registry)
    assert sorted(np.concatenate(list(found.indices.values()))) == list(range(24))
    patients = [set(positions // 3) for positions in found.indices.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 8
    for part, positions in found.indices.items():
        assert [found.inputs[part][row][0, 0, 0] for row in range(len(positions))] == positions.tolist()
        assert found.truth[part].shape == (len(positions), 2, 8, 8) and found.labels[part].dtype == np.uint8


def test_test_masks_are_true_and_validation_masks_are_noisy(registry: Registry) -> None:
    found = prepared(registry)
    n, v = (len(found.indices[part]) for part in ("train", "val"))
    np.testing.assert_array_equal(found.labels["test"], found.truth["test"])
    for part, count in (("train", n), ("val", v)):
        gone = (found.labels[part] != found.truth[part]).any(axis=(2, 3))
        assert gone.sum(axis=0).tolist() == [count // 2, 0]
    assert found.record["val_rate"] == 4 * (v // 2) / (v * 2 * 64)  # each box has four pixels
    assert found.record["realised_rate"] == 4 * (n // 2) / (n * 2 * 64)
    assert found.record["tasks"]["box"] == {
        "pixel_error_rate": 4 * (n // 2) / (n * 64),
        "masks_changed": (n // 2) / n,
        "dice": 0.0,
        "emptied": n // 2,
    }
    assert found.record["tasks"]["row"]["emptied"] == 0 and found.record["tasks"]["row"]["dice"] is None
    assert found.wrong.sum() == n // 2 and not found.foreign["train"].any()


def test_the_test_part_is_the_same_whatever_the_noise_and_the_subset(registry: Registry) -> None:
    usual = prepared(registry)
    for other in (prepared(registry, noise="none"), prepared(registry, data="boxes:subset=0.5")):
        np.testing.assert_array_equal(usual.indices["test"], other.indices["test"])
        np.testing.assert_array_equal(usual.truth["test"], other.truth["test"])
    assert not np.array_equal(usual.indices["test"], prepared(registry, seed=1).indices["test"])


def test_the_same_spec_gives_the_same_draw(registry: Registry) -> None:
    one, two, other = prepared(registry), prepared(registry), prepared(registry, seed=1)
    assert one.record == two.record
    np.testing.assert_array_equal(one.labels["train"], two.labels["train"])
    assert one.record["label_hash"] != other.record["label_hash"]


@pytest.mark.parametrize(("subset", "left"), [("0.5", 9), ("6", 6)])
def test_a_subset_of_what_trains_and_validates(registry: Registry, subset: str, left: int) -> None:
    found = prepared(registry, data=f"boxes:subset={subset}")
    assert len(prepared(registry).indices["test"]) == len(found.indices["test"]) == 6
    assert len(found.indices["train"]) + len(found.indices["val"]) == left


def test_images_and_masks_at_another_size(registry: Registry) -> None:
    found = prepared(registry, data="boxes:image_size=4")
    assert found.arrays.images.shape == (24, 4, 4, 1) and found.arrays.labels.shape == (24, 2, 4, 4)
    assert found.inputs["train"][0].shape == (4, 4, 1)
    assert set(np.unique(found.arrays.labels)) == {0, 1}


def test_people_s_masks_are_human_noise_and_the_reference_is_the_truth(registry: Registry) -> None:
    found = prepared(registry, data="boxes:given=true", noise="human")
    assert found.truth["train"].max() == 1 and (found.truth["train"][:, 0, 0] == 0).all()
    assert (found.labels["train"][:, 0, 0] == 1).all() and (found.labels["train"][:, :, 7] == VOID).all()
    assert found.wrong.all()
    # 8 of the 64 pixels of each image are wrong in the first task, and 8 undecided in both
    assert found.record["tasks"]["box"]["pixel_error_rate"] == 8 / 56 and found.record["tasks"]["row"]["pixel_error_rate"] == 0
    assert found.record["realised_rate"] == 8 / 112
    clean = prepared(registry, data="boxes:given=true", noise="none")
    np.testing.assert_array_equal(clean.labels["train"], clean.truth["train"])
    np.testing.assert_array_equal(clean.indices["test"], found.indices["test"])


@pytest.mark.parametrize(
    ("data", "noise", "message"),
    [
        ("boxes:features=identity", "missing", r"^boxes is a set for segmentation, where features means nothing; leave it out$"),
        ("boxes:imbalance=2", "missing", "boxes is a set for segmentation, where imbalance means nothing"),
        ("boxes:label_file=x.csv", "missing", "boxes is a set for segmentation, where label_file means nothing"),
        ("boxes:imbalance=2:imbalance_profile=step", "missing", "where imbalance, imbalance_profile means nothing"),
        ("boxes:subset=19", "missing", "subset=19 is more than the 18 samples that train and validate; lower it"),
        ("boxes", "human", "human noise needs a data set with reference labels beside the given ones"),
        ("boxes", "missing:dtype", r"noise missing must return \(\d+, 2, 8, 8\) uint8 class ids in \[0, 2\) or 255, not int64"),
        ("boxes", "missing:class", r"noise missing must return \(\d+, 2, 8, 8\) uint8 class ids"),
        ("boxes", "missing:one task", r"not uint8 \(\d+, 1, 8, 8\)"),
    ],
)
def test_what_cannot_be_prepared_is_one_line(registry: Registry, data: str, noise: str, message: str) -> None:
    with pytest.raises(BenchmarkError, match=message) as told:
        prepared(registry, data=data, noise=noise)
    assert "\n" not in str(told.value)


# ----------------------------------------------------------------------------------------------------- the record


def test_a_record_by_hand() -> None:
    true = np.zeros((2, 2, 4, 4), dtype=np.uint8)
    true[:, 0, 0:2, 0:2] = 1
    true[0, 1, 3] = 1
    true[1, 1, 0, 0] = VOID
    noisy = true.copy()
    noisy[0, 0] = np.roll(true[0, 0], 1, axis=1)  # two pixels lost and two gained: Dice 2·2 / (4 + 4)
    noisy[0, 1] = 0  # gone
    found = record_masks(true, noisy, ("a", "b"), ("background", "organ"), None)
    assert found["tasks"] == {
        "a": {"pixel_error_rate": 4 / 32, "masks_changed": 0.5, "dice": 0.5, "emptied": 0},
        "b": {"pixel_error_rate": 4 / 31, "masks_changed": 0.5, "dice": 0.0, "emptied": 1},
    }
    assert (found["realised_rate"], found["masks_changed"], found["dice"], found["emptied"]) == (8 / 63, 0.5, 0.25, 1)
    assert found["matrix"] == [[49 / 51, 2 / 51], [0.5, 0.5]] and found["per_class_rate"] == [2 / 51, 0.5]
    assert found["nominal_rate"] is None and found["solvable"] is False  # nothing is left of b
    noisy[0, 1] = true[0, 1]
    found = record_masks(true, noisy, ("a", "b"), ("background", "organ"), 0.5)
    assert found["solvable"] is True and found["nominal_rate"] == 0.5 and found["tasks"]["b"]["dice"] is None


def test_a_record_of_several_classes() -> None:
    true = np.array([[[[1, 1], [2, 2]]], [[[0, 0], [2, 2]]]], dtype=np.uint8)
    noisy = np.array([[[[1, 0], [0, 0]]], [[[0, 0], [2, 2]]]], dtype=np.uint8)
    found = record_masks(true, noisy, ("map",), ("background", "lung", "heart"), None)
    assert found["emptied"] == 1 and found["dice"] == pytest.approx((2 / 3 + 0) / 2)  # of the two objects of the changed mask
    assert found["realised_rate"] == 3 / 8 and found["per_class_rate"] == [0.0, 0.5, 0.5]
    assert found["solvable"] is False  # half of the heart's pixels are background


def test_void_in_either_mask_is_no_error() -> None:
    true = np.array([[[[1, VOID], [0, 0]]]], dtype=np.uint8)
    given = np.array([[[[0, 1], [VOID, 0]]]], dtype=np.uint8)
    assert pixel_error_rate(true, given) == 1 / 2
    assert record_masks(true, given, ("a",), ("background", "organ"), None)["realised_rate"] == 1 / 2
    whole = np.array([[[[1, 1], [0, 0]]]] * 3, dtype=np.uint8)
    unsure = whole.copy()
    unsure[0, 0, 0], unsure[1, 0, 0, 0], unsure[2] = VOID, VOID, VOID  # the object, half of it, everything
    found = record_masks(whole, unsure, ("a",), ("background", "organ"), None)
    assert (found["realised_rate"], found["masks_changed"], found["dice"], found["emptied"]) == (0.0, 0.0, None, 0)
    unsure[1, 0, 1, 0] = 1  # beside a void pixel one that is wrong: Dice 2·1 / (1 + 2)
    found = record_masks(whole, unsure, ("a",), ("background", "organ"), None)
    assert (found["masks_changed"], found["dice"], found["emptied"]) == (1 / 3, pytest.approx(2 / 3), 0)
    assert pixel_error_rate(np.full((1, 1, 2, 2), VOID, dtype=np.uint8), given) is None


# ------------------------------------------------------------------------------------------------------- the arrays


def test_masks_are_resized_to_the_nearest_pixel() -> None:
    masks = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    assert resized_masks(masks, 2).tolist() == [[[[5, 7], [13, 15]]]]
    assert resized_masks(masks, 4).tolist() == masks.tolist()
    assert resized_masks(masks[..., :2, :2], 4)[0, 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [4, 4, 5, 5], [4, 4, 5, 5]]
    oblong = np.arange(8, dtype=np.uint8).reshape(1, 1, 2, 4)
    assert resized_masks(oblong, 2).tolist() == [[[[1, 2], [5, 6]]]]  # the centre is cut out


def test_an_oblong_image_and_its_mask_keep_to_each_other() -> None:
    images = np.zeros((4, 8, 16, 1), dtype=np.uint8)
    images[:, 2:6, 6:10] = 200
    masks = (images[None, ..., 0] > 100).astype(np.uint8).transpose(1, 0, 2, 3)
    plugin = Named(options=DataOptions(image_size=4))
    found = checked_masks(MaskArrays(images, masks, ("a",), ("b", "o"), clean_labels=masks), plugin, "x", Path("unused"))
    assert found.images.shape == (4, 4, 4, 1) and found.clean_labels is not None
    np.testing.assert_array_equal(found.labels[:, 0], found.images[..., 0] > 100)
    np.testing.assert_array_equal(found.clean_labels, found.labels)


def arrays(**changes: Any) -> MaskArrays:
    images = np.zeros((4, 6, 6, 1), dtype=np.uint8)
    masks = np.zeros((4, 2, 6, 6), dtype=np.uint8)
    masks[:, :, 2:4, 2:4] = 1
    return dataclasses.replace(MaskArrays(images, masks, ("lung", "heart"), ("background", "organ")), **changes)


def with_values(*values: int) -> np.ndarray:
    masks = arrays().labels.copy()
    masks.reshape(-1)[: len(values)] = values
    return masks


def only_first(masks: np.ndarray) -> np.ndarray:
    masks[:, 1] = 0
    return masks


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((4, 6, 6, 1))}, r"images must be uint8 (n, H, W, 1 or 3), not float64 (4, 6, 6, 1)"),
        ({"images": np.zeros((4, 6, 6), dtype=np.uint8)}, "images must be uint8 (n, H, W, 1 or 3), not uint8 (4, 6, 6)"),
        ({"images": np.zeros((4, 6, 6, 2), dtype=np.uint8)}, "images must be uint8 (n, H, W, 1 or 3), not uint8 (4, 6, 6, 2)"),
        ({"images": np.zeros((1, 6, 6, 1), dtype=np.uint8)}, "has 1 image; training, validation and test need one each at least"),
        ({"images": np.zeros((2, 6, 6, 1), dtype=np.uint8)}, "has 2 images; training, validation and test need one each at least"),
        ({"images": np.zeros((4, 6, 8, 1), dtype=np.uint8)}, "labels must be uint8 (4, 2, 6, 8), as many and as large as the images"),
        ({"images": np.zeros((5, 6, 6, 1), dtype=np.uint8)}, "labels must be uint8 (5, 2, 6, 6), as many and as large as the images"),
        ({"labels": arrays().labels[:, 0]}, "labels must be uint8 (4, 2, 6, 6), as many and as large as the images; not uint8 (4, 6, 6)"),
        ({"labels": arrays().labels.astype(np.int64)}, "labels must be uint8 (4, 2, 6, 6), as many and as large as the images; not int64"),
        ({"clean_labels": arrays().labels[:3]}, "clean_labels must be uint8 (4, 2, 6, 6), as many and as large as the images"),
        ({"labels": with_values(7, 128, 7)}, "labels have unexpected values: 7, 128; expected 0 to 1, or 255 for void"),
        ({"labels": with_values(*range(2, 14))}, "labels have unexpected values: 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, …; expected 0 to 1"),
        ({"clean_labels": with_values(254)}, "clean_labels have unexpected values: 254; expected 0 to 1, or 255 for void"),
        ({"labels": only_first(arrays().labels)}, "no foreground in any mask of heart; check that these are masks, and their values"),
        ({"labels": np.full((4, 2, 6, 6), VOID, dtype=np.uint8)}, "no foreground in any mask of lung"),
        ({"classes": ("background",)}, "has 2 tasks of 1 classes; at least a background and an object are needed"),
        ({"tasks": ()}, "has 0 tasks of 2 classes; at least a background and an object are needed"),
        ({"tasks": ("lung", "lung")}, "two tasks are called lung; rename one task"),
        ({"classes": ("a", "a")}, "two classes are called a; rename one class"),
        ({"groups": np.arange(3)}, "groups has 3 entries for 4 images"),
        ({"split": np.zeros(5, dtype=np.int8)}, "split has 5 entries for 4 images"),
        ({"paths": ["a.png"]}, "paths has 1 entries for 4 images"),
    ],
)
def test_arrays_that_break_the_contract_are_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchmarkError) as told:
        checked_masks(arrays(**changes), NAMED, "x", Path("unused"))
    assert message in str(told.value) and "\n" not in str(told.value) and str(told.value).startswith("data set mine")


def test_sound_arrays_pass_as_they_are() -> None:
    sound = arrays(labels=with_values(VOID, VOID))
    assert checked_masks(sound, NAMED, "x", Path("unused")) is sound


def test_other_arrays_than_masks_are_refused() -> None:
    from benchmark.api import Arrays

    wrong: Any = Arrays(np.zeros((4, 6, 6, 1), dtype=np.uint8), np.zeros(4, dtype=np.int64), ("a",))
    with pytest.raises(BenchmarkError, match=r"^data set mine is for segmentation; its load\(\) must return MaskArrays, not Arrays$"):
        checked_masks(wrong, NAMED, "x", Path("unused"))


class Named(Dataset):
    """For messages."""

    name = "mine"


NAMED = Named()
