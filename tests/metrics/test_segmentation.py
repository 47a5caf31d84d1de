"""Overlap, outlines, wrong pixels and their calibration, against numbers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmark.metrics import pixels
from benchmark.metrics.pixels import image_ranking, pixel_calibration, pixel_detection, pixel_detection_by_class
from benchmark.metrics.segmentation import segmentation, surfaces
from benchmark.segmentation.overlap import image_means, mean_dice, overlap


def masks(*boxes, size=12):
    """(n, 1, size, size): a filled rectangle (top, bottom, left, right) for each box, nothing for None."""
    stack = np.zeros((len(boxes), 1, size, size), dtype=np.uint8)
    for mask, box in zip(stack, boxes, strict=True):
        if box is not None:
            top, bottom, left, right = box
            mask[0, top:bottom, left:right] = 1
    return stack


def test_overlap_by_hand_and_of_empty_masks():
    true = masks((2, 6, 2, 6), None, (2, 6, 2, 6), None)
    predicted = masks((2, 6, 4, 8), None, None, (0, 1, 0, 1))
    values = overlap(predicted, true, 2)
    # 16 and 16 pixels, 8 shared; both empty; prediction empty; truth empty
    np.testing.assert_allclose(values["dice"][:, 0, 0], [0.5, 1, 0, 0])
    np.testing.assert_allclose(values["iou"][:, 0, 0], [8 / 24, 1, 0, 0])


def test_void_pixels_belong_to_no_object():
    true, predicted = masks((2, 6, 2, 6)), masks((2, 6, 4, 8))
    true[0, 0, :, 6:] = 255  # half of the prediction falls away: 8 pixels, all of them right
    assert overlap(predicted, true, 2)["dice"][0, 0, 0] == pytest.approx(2 * 8 / (16 + 8))
    true, predicted = predicted, true  # the same pixels are left out if it is the given mask that has the void
    assert overlap(predicted, true, 2)["dice"][0, 0, 0] == pytest.approx(2 * 8 / (16 + 8))
    assert overlap(predicted, true, 2)["iou"][0, 0, 0] == pytest.approx(8 / 16)


def test_a_mask_that_is_void_throughout_agrees_with_nothing():
    true = np.concatenate([np.concatenate([masks((2, 6, 2, 6), None)] * 2, axis=1), np.full((1, 2, 12, 12), 255, dtype=np.uint8)])
    true[0, 1] = 255
    predicted = np.zeros_like(true)
    dice = overlap(predicted, true, 2)["dice"]
    np.testing.assert_array_equal(dice[:, :, 0], [[0, np.nan], [1, 1], [np.nan, np.nan]])
    np.testing.assert_array_equal(np.isnan(overlap(predicted, true, 2)["iou"]), np.isnan(dice))
    np.testing.assert_array_equal(image_means(dice), [0, 1, np.nan])
    assert mean_dice(predicted, true, 2) == 0.5 and mean_dice(predicted[2:], true[2:], 2) is None
    found = segmentation(predicted, true, ("lung", "heart"))
    assert (found["dice"], found["dice/lung"], found["dice/heart"], found["surface_dice"], found["hd95"]) == (0.5, 0.5, 1, 0.5, 0)
    assert (found["missed"], found["missed/lung"], found["missed/heart"]) == (1, 1, 0)  # what nobody knows is not missed


def test_hausdorff_distance_of_shifted_rectangles():
    # one row of 10 pixels, and the same row 3 lower: every distance is 3
    true, predicted = masks((2, 3, 1, 11)), masks((5, 6, 1, 11))
    values = surfaces(predicted, true, 2, tolerance=2.0)
    assert values["hd95"][0, 0, 0] == 3
    assert values["surface_dice"][0, 0, 0] == 0
    assert surfaces(predicted, true, 2, tolerance=3.0)["surface_dice"][0, 0, 0] == 1
    # a pixel is half a millimetre high
    assert surfaces(predicted, true, 2, spacing=np.array([0.5, 2.0]))["hd95"][0, 0, 0] == 1.5
    assert surfaces(predicted, true, 2, spacing=np.array([[0.5, 2.0]]), tolerance=1.5)["surface_dice"][0, 0, 0] == 1


def test_percentile_and_surface_dice_by_hand():
    # truth: columns 0-9 of a row; prediction: columns 0-11. Prediction to truth: ten 0, then 1 and 2; truth to prediction: all 0
    true, predicted = masks((3, 4, 0, 10)), masks((3, 4, 0, 12))
    values = surfaces(predicted, true, 2, tolerance=1.0)
    assert values["hd95"][0, 0, 0] == pytest.approx(np.interp(0.95 * 11, range(12), [0] * 10 + [1, 2]))  # 1.45
    assert values["surface_dice"][0, 0, 0] == pytest.approx((10 + 11) / 22)


def test_only_the_outline_counts_and_the_edge_of_the_image_is_one():
    # 4×4 with outline of 12, inside it 2×2 whose 4 pixels are all outline: a corner is √2 from the nearest corner, a side pixel 1
    true, predicted = masks((0, 4, 0, 4)), masks((1, 3, 1, 3))
    assert surfaces(predicted, true, 2, tolerance=1.0)["surface_dice"][0, 0, 0] == pytest.approx((8 + 4) / 16)
    assert surfaces(predicted, true, 2)["hd95"][0, 0, 0] == pytest.approx(math.sqrt(2))


def test_one_empty_mask_is_missed_and_two_agree():
    true, predicted = masks((2, 6, 2, 6), None, None), masks(None, (0, 1, 0, 1), None)
    values = surfaces(predicted, true, 2)
    assert np.isnan(values["hd95"][:2]).all() and values["hd95"][2] == 0
    np.testing.assert_array_equal(values["surface_dice"][:, 0, 0], [0, 0, 1])


def test_means_are_of_images_first():
    # two tasks; image 0: Dice 1 and 0 (missed), image 1: 1 and 1
    true = np.concatenate([masks((2, 6, 2, 6), (2, 6, 2, 6)), masks((1, 3, 1, 3), (1, 3, 1, 3))], axis=1)
    predicted = true.copy()
    predicted[0, 0] = masks((2, 6, 5, 9))[0, 0]  # 4 of 16 shared, 3 columns off
    predicted[0, 1] = 0
    values = segmentation(predicted, true, ["lung", "heart"])
    assert values["dice/lung"] == pytest.approx((0.25 + 1) / 2)
    assert values["dice/heart"] == 0.5
    assert values["dice"] == pytest.approx(((0.25 + 0) / 2 + (1 + 1) / 2) / 2)
    assert (values["missed"], values["missed/lung"], values["missed/heart"]) == (1, 0, 1)
    # image 0 has one distance (3), image 1 two (0, 0): images count equally, not masks
    assert values["hd95"] == pytest.approx(1.5)
    assert values["hd95/heart"] == 0


def test_a_multi_class_map_and_no_distance_at_all():
    true = np.zeros((1, 1, 6, 6), dtype=np.uint8)
    true[0, 0, :3, :3], true[0, 0, 3:, 3:] = 1, 2
    predicted = np.where(true == 2, 0, true)
    values = segmentation(predicted, true, ["vessel", "tumour"], num_classes=3)
    assert (values["dice/vessel"], values["dice/tumour"], values["dice"]) == (1, 0, 0.5)
    assert values["hd95/tumour"] is None and values["hd95"] == 0
    nothing = segmentation(predicted[:0], true[:0], ["vessel", "tumour"], num_classes=3)
    assert nothing["dice"] is None and nothing["missed"] == 0


GIVEN = np.array([[1, 1, 0, 0, 0, 255]], dtype=np.uint8).reshape(1, 1, 1, 6)
TRUE = np.array([[0, 1, 1, 0, 0, 1]], dtype=np.uint8).reshape(1, 1, 1, 6)  # 0 and 2 are wrong, 5 is void
FLAGGED = np.array([[1, 1, 0, 1, 0, 1]], dtype=bool).reshape(1, 1, 1, 6)
QUALITY = np.array([[0.1, 0.2, 0.3, 0.6, 0.9, 0.0]]).reshape(1, 1, 1, 6)


def test_wrong_pixels_by_hand():
    values = pixel_detection(GIVEN, TRUE, FLAGGED, QUALITY)
    assert values["precision"] == pytest.approx(1 / 3)
    assert values["recall"] == 0.5
    assert values["f1"] == pytest.approx(2 / 5)
    assert values["flagged"] == 3 / 5
    assert values["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert values["auroc"] == pytest.approx(5 / 6)
    assert values["constant_f1"] == pytest.approx(2 * 0.4 / 1.4)
    assert values["random_average_precision"] == 0.4


def test_wrong_pixels_of_each_class():
    values = pixel_detection_by_class(GIVEN, TRUE, FLAGGED, ["lung"], 2)
    assert values == {"precision/lung/0": 0, "recall/lung/0": 0, "precision/lung/1": 0.5, "recall/lung/1": 1}
    assert pixel_detection_by_class(TRUE, TRUE, ~FLAGGED & False, ["lung"], 2)["recall/lung/1"] is None


def test_nothing_wrong_has_no_recall():
    values = pixel_detection(TRUE, TRUE, FLAGGED, QUALITY)
    assert values["recall"] is values["f1"] is values["average_precision"] is values["constant_f1"] is None
    assert values["precision"] == 0


def test_many_pixels_are_ranked_by_a_sample_that_is_always_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    true = np.zeros((4, 1, 50, 50), dtype=np.uint8)
    given = (rng.random(true.shape) < 0.2).astype(np.uint8)
    quality = rng.random(true.shape) - 0.5 * given
    exact = pixel_detection(given, true, given == 1, quality)
    monkeypatch.setattr(pixels, "RANKED_PIXELS", 5_000)
    first, again = (pixel_detection(given, true, given == 1, quality) for _ in range(2))
    assert first == again != exact
    assert first["average_precision"] == pytest.approx(exact["average_precision"], abs=0.03)
    assert first["f1"] == exact["f1"] == 1


def test_pixel_calibration_by_hand():
    true = np.array([0, 1, 1, 255], dtype=np.uint8).reshape(1, 1, 2, 2)
    p1 = np.array([0.1, 0.9, 0.3, 0.5]).reshape(1, 1, 2, 2)
    probabilities = np.stack([1 - p1, p1], axis=2).astype(np.float32)
    # confidence 0.9 twice and right twice, 0.7 once and wrong: (2 · 0.1 + 0.7) / 3
    assert pixel_calibration(true, probabilities)["ece"] == pytest.approx(0.9 / 3, abs=1e-6)
    assert pixel_calibration(true, probabilities.astype(np.float16))["ece"] == pytest.approx(0.3, abs=1e-3)
    probabilities[0, 0, 0, 0, 0] = np.nan
    assert pixel_calibration(true, probabilities)["ece"] is None
    assert pixel_calibration(np.full_like(true, 255), np.nan_to_num(probabilities))["ece"] is None


def test_ranking_of_images():
    dice = np.array([0.5, 0.99, 0.8, 1.0, np.nan])
    values = image_ranking(np.array([0.1, 0.4, 0.6, 0.9, 0.0]), dice)
    # wrong: 0 and 2; lowest quality first wrong, right, wrong, right
    assert values["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert values["auroc"] == pytest.approx(3 / 4)
    assert values["random_average_precision"] == 0.5
    # ranks of quality 1 2 3 4, of Dice 1 3 2 4: 1 − 6·(1+1) / (4·15)
    assert values["spearman"] == pytest.approx(0.8)
    assert image_ranking(np.zeros(5), dice)["spearman"] is None
    assert image_ranking(np.arange(5.0), dice, threshold=0.2)["auroc"] is None
    assert image_ranking(np.full(5, np.nan), dice)["auroc"] is None
