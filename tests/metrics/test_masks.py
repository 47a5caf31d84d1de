"""The metrics of a run on masks from its arrays, computed by hand on two images."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.metrics import compute
from benchmark.metrics.masks import compute_masks, organ_names

VOID = 255


def image(rows: slice, columns: slice) -> np.ndarray:
    """(1, 4, 4): a box of ones."""
    mask = np.zeros((1, 4, 4), dtype=np.uint8)
    mask[0, rows, columns] = 1
    return mask


NOTHING = np.zeros((1, 4, 4), dtype=np.uint8)
BOX, SHIFTED = image(slice(0, 2), slice(0, 2)), image(slice(0, 2), slice(1, 3))
DOT = image(slice(3, 4), slice(3, 4))


def probabilities(masks: np.ndarray, confidence: float) -> np.ndarray:
    """(n, T, 2, H, W) float16 of which the most likely classes are the masks."""
    of_one = np.where(masks == 1, confidence, 1 - confidence)
    return np.stack([1 - of_one, of_one], axis=2).astype(np.float16)


def predictions() -> dict[str, np.ndarray]:
    truth = np.stack([BOX, NOTHING])
    given, true = np.stack([SHIFTED, BOX]), np.stack([BOX, BOX])
    flagged = np.zeros((2, 1, 4, 4), dtype=bool)
    flagged[0, 0, 0, [0, 2]] = True  # two of the four wrong pixels: one that the object lost, one that it gained
    flagged[1, 0, 0, 0] = flagged[1, 0, 3, 3] = True  # a right pixel of the object and one of the background
    quality = np.where(given != true, 0.1, 0.9)
    corrected = np.stack([BOX, BOX])
    corrected[1, 0, 0, 0] = 0
    return {
        "task": np.array("segmentation"),
        "tasks": np.array(["lung"]),
        "classes": np.array(["background", "organ"]),
        "test_labels": truth,
        "test_last_k": np.stack([np.stack([SHIFTED, NOTHING]), np.stack([BOX, DOT])]),
        "test_selected": probabilities(np.stack([BOX, BOX]), 0.75),
        "test_best": truth,
        "aux_ema": np.stack([SHIFTED, NOTHING]),
        "val_labels": np.stack([BOX, SHIFTED]),
        "val_true": np.stack([BOX, BOX]),
        "val_selected": probabilities(np.stack([BOX, BOX]), 0.6),
        "train_given": given,
        "train_true": true,
        "train_flagged": flagged,
        "train_ranked": np.arange(32),
        "train_ranked_quality": quality.reshape(-1).astype(np.float32),
        "train_quality": np.array([0.2, 0.9], dtype=np.float32),
        "train_suspect": np.array([True, False]),
        "train_corrected": corrected,
    }


def test_the_task_says_which_metrics_there_are() -> None:
    found = compute(predictions())
    assert found == compute_masks(predictions())
    groups = {"last", "last_k", "selected", "best", "aux/ema", "validation", "detection", "ranking", "correction"}
    assert set(found) == groups and "accuracy" not in found["last"]


def test_the_test_part_by_hand() -> None:
    found = compute_masks(predictions())
    first, last = 0.75, 0.5  # (1/2 + 1) / 2: two empty masks agree; (1 + 0) / 2: a dot where nothing is
    assert found["last"]["dice"] == found["last"]["dice/lung"] == last
    assert found["last_k"]["dice"] == (first + last) / 2
    assert (found["last"]["missed"], found["last_k"]["missed"], found["aux/ema"]["missed"]) == (1, 0.5, 0)
    assert found["last"]["hd95"] == 0  # the dot has no distance to nothing, and stands in no mean
    assert found["aux/ema"]["hd95"] == 0.5 and found["last_k"]["hd95"] == 0.25  # the shifted box is one pixel off, nothing is on nothing
    assert found["aux/ema"]["iou"] == pytest.approx((2 / 6 + 1) / 2)
    assert found["best"]["dice"] == 1.0
    assert found["selected"]["dice"] == 0.5
    assert found["selected"]["ece"] == pytest.approx(28 / 32 - 0.75)  # 4 of 32 pixels are wrong, all at 0.75
    assert "ece" not in found["best"]


def test_the_validation_part_is_scored_against_the_noisy_masks() -> None:
    assert compute_masks(predictions())["validation"] == {"dice": 0.75}


def test_the_training_part_by_hand() -> None:
    found = compute_masks(predictions())
    detection = found["detection"]
    assert (detection["precision"], detection["recall"], detection["f1"], detection["flagged"]) == (0.5, 0.5, 0.5, 4 / 32)
    assert detection["random_average_precision"] == 4 / 32 and detection["constant_f1"] == pytest.approx(2 / 9)
    assert detection["auroc"] == detection["average_precision"] == 1.0
    assert (detection["precision/lung/1"], detection["recall/lung/1"]) == (0.5, 0.5)  # (0, 2) gained; (1, 2) gained and not flagged
    assert (detection["precision/lung/0"], detection["recall/lung/0"]) == (0.5, 0.5)
    ranking = found["ranking"]
    assert (ranking["auroc"], ranking["average_precision"], ranking["random_average_precision"]) == (1.0, 1.0, 0.5)
    assert ranking["spearman"] == pytest.approx(1.0)
    correction = found["correction"]
    assert (correction["noise_before"], correction["noise_after"]) == (4 / 32, 1 / 32)
    assert (correction["dice_before"], correction["dice_after"]) == (0.75, pytest.approx((1 + 6 / 7) / 2))


def test_void_counts_nowhere() -> None:
    arrays = predictions()
    arrays["train_true"] = arrays["train_true"].copy()
    arrays["train_true"][0, 0, :, 0] = VOID  # two of the wrong pixels, one of them flagged
    found = compute_masks(arrays)
    assert found["correction"]["noise_before"] == 2 / 28 and found["detection"]["flagged"] == 3 / 28
    assert found["detection"]["recall"] == 0.5
    arrays["train_corrected"] = arrays["train_corrected"].copy()
    arrays["train_corrected"][1, 0, 0, 0] = VOID  # a pixel that the method gives up is not wrong
    found = compute_masks(arrays)["correction"]
    assert found["noise_after"] == 0 and found["dice_after"] == 1


def test_void_of_given_masks_is_no_error() -> None:
    arrays = predictions()
    arrays["train_true"], arrays["train_given"] = np.stack([BOX, BOX]), np.stack([BOX, BOX])
    arrays["train_given"][0, 0, 0, 0] = VOID  # where the truth is known
    found = compute_masks(arrays)
    assert found["correction"]["dice_before"] == 1 and found["correction"]["noise_before"] == 0
    assert found["ranking"]["random_average_precision"] is None  # no mask is wrong
    arrays["train_given"][0], arrays["train_given"][1, 0, 0, 0] = VOID, 0  # of the first nobody knows, the second has lost a pixel
    found = compute_masks(arrays)
    assert found["correction"]["dice_before"] == pytest.approx(6 / 7) and found["ranking"]["random_average_precision"] == 1
    arrays["train_given"][:] = arrays["val_labels"][:] = VOID
    found = compute_masks(arrays)
    assert found["correction"]["dice_before"] is None and found["validation"] == {"dice": None}


def test_without_the_truth_nothing_is_wrong_or_right() -> None:
    arrays = predictions()
    known = compute(arrays)
    arrays["truth_known"] = np.array(False)
    found = compute(arrays)
    assert {group: set(values) for group, values in found.items()} == {group: set(values) for group, values in known.items()}
    for group, values in found.items():
        if group in ("detection", "ranking", "correction"):
            told = {name: value for name, value in values.items() if value is not None}
            assert told == ({"flagged": 4 / 32} if group == "detection" else {})
        else:
            assert values == known[group]


def test_only_what_was_drawn_is_ranked() -> None:
    arrays = predictions()
    arrays["train_ranked"] = np.array([0, 1, 2])  # the first row of the first image: lost, right, gained
    arrays["train_ranked_quality"] = np.array([0.3, 0.2, 0.1], dtype=np.float32)
    detection = compute_masks(arrays)["detection"]
    assert detection["auroc"] == 0.5 and detection["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert detection["flagged"] == 4 / 32  # of all pixels still


@pytest.mark.parametrize(
    ("tasks", "classes", "names"),
    [
        (["lung", "heart"], ["background", "organ"], ["lung", "heart"]),
        (["map"], ["background", "lung", "heart"], ["lung", "heart"]),
        (["left", "right"], ["background", "lung", "lobe"], ["left lung", "left lobe", "right lung", "right lobe"]),
    ],
)
def test_every_object_has_a_name(tasks: list[str], classes: list[str], names: list[str]) -> None:
    assert organ_names(tasks, classes) == names


def test_several_classes_have_a_dice_each() -> None:
    truth = np.array([[[[0, 1], [2, 2]]], [[[0, 0], [2, 2]]]], dtype=np.uint8)
    seen = np.array([[[[0, 1], [2, 1]]], [[[1, 0], [2, 2]]]], dtype=np.uint8)
    arrays = {"tasks": np.array(["map"]), "classes": np.array(["background", "lung", "heart"]), "test_labels": truth, "test_best": seen}
    found = compute_masks(arrays)
    assert set(found) == {"best"}
    assert found["best"]["dice/lung"] == pytest.approx((2 / 3 + 0) / 2) and found["best"]["dice/heart"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["best"]["dice"] == pytest.approx(((2 / 3 + 2 / 3) / 2 + 1 / 2) / 2)
    assert (found["best"]["missed"], found["best"]["missed/lung"]) == (1, 1)


def test_a_mean_over_epochs_of_which_one_has_no_distance_is_none() -> None:
    arrays = predictions()
    arrays["test_labels"] = np.stack([BOX, BOX])
    arrays["test_last_k"] = np.stack([np.stack([NOTHING, NOTHING]), np.stack([BOX, BOX])])
    found = compute_masks(arrays)
    assert found["last"]["hd95"] == 0 and found["last_k"]["hd95"] is None and found["last_k"]["dice"] == 0.5


def test_arrays_without_names_are_refused() -> None:
    arrays = predictions()
    del arrays["tasks"], arrays["classes"]
    with pytest.raises(ValueError, match="masks without tasks and classes"):
        compute(arrays)
