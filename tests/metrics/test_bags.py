"""Bags and their tiles against numbers worked by hand, and against scikit-learn on random draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as oracle

from benchmark.errors import BenchmarkError
from benchmark.metrics.bags import bag_metrics, instance_metrics, pseudo_label_quality, structural_noise, youden_threshold
from benchmark.metrics.froc import FALSE_POSITIVES, froc
from benchmark.metrics.tile_grid import grid_cells

LABELS = np.array([0, 0, 0, 1, 1])
PROBABILITIES = np.array([0.1, 0.4, 0.8, 0.4, 0.9])


def test_bags_by_hand():
    values = bag_metrics(LABELS, PROBABILITIES, 0.4)
    # called positive: 1, 2, 3, 4; pairs of a positive and a negative: 0.4 against 0.1, 0.4 (half), 0.8; 0.9 against all
    assert values["auroc"] == pytest.approx((1 + 0.5 + 0 + 3) / 6)
    # steps from the top: 0.9 (1 of 1), 0.8, 0.4 (both, 2 of 4)
    assert values["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 4)
    assert values["accuracy"] == pytest.approx(3 / 5)
    assert values["balanced_accuracy"] == pytest.approx((1 + 1 / 3) / 2)
    assert (values["precision"], values["recall"]) == (0.5, 1)
    assert values["f1"] == pytest.approx(2 / 3)
    assert values["nll"] == pytest.approx(-np.mean([math.log(p) for p in (0.9, 0.6, 0.2, 0.4, 0.9)]))
    # likelier class: 0.9 right (two, one bin), 0.6 right and 0.6 wrong (one bin), 0.8 wrong
    assert values["ece"] == pytest.approx((abs(2 - 1.8) + abs(1 - 1.2) + 0.8) / 5)


def test_a_threshold_of_float64_is_not_rounded_to_the_scores():
    score = np.float32(0.3)
    above = float(score) + 1e-12  # the same number as float32
    assert bag_metrics(np.array([1]), np.array([score]), float(score))["recall"] == 1
    assert bag_metrics(np.array([1]), np.array([score]), above)["recall"] == 0


def test_bags_of_one_class_and_none():
    positives = bag_metrics(np.array([1, 1]), np.array([0.2, 0.9]), 0.5)
    assert positives["auroc"] is None and positives["average_precision"] == 1 and positives["balanced_accuracy"] == 0.5
    negatives = bag_metrics(np.array([0, 0]), np.array([0.2, 0.3]), 0.5)
    assert [negatives[name] for name in ("auroc", "average_precision", "precision", "recall", "f1")] == [None] * 5
    assert negatives["accuracy"] == negatives["balanced_accuracy"] == 1
    for labels, probabilities in ((LABELS[:0], PROBABILITIES[:0]), (LABELS, np.where(LABELS == 1, np.nan, 0.5))):
        values = bag_metrics(labels, probabilities, 0.5)
        assert len(values) == 9 and set(values.values()) == {None}


def test_youden_lies_between_the_bags_it_parts():
    assert youden_threshold(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.9])) == pytest.approx(0.4)
    # cuts: 0.85 → 1/2 + 1 − 1; 0.6 → 1/2 + 2/3 − 1; 0.25 → 1 + 1/3 − 1 (ties stand on one side of every cut)
    assert youden_threshold(LABELS, PROBABILITIES) == pytest.approx(0.85)


def test_youden_of_ties_is_near_a_half_and_then_low():
    # 0.8 and 0.35 both gain 1/2: the latter is nearer to 0.5
    assert youden_threshold(np.array([0, 1, 0, 1]), np.array([0.3, 0.4, 0.7, 0.9])) == pytest.approx(0.35)
    # 0.65 and 0.35 gain 1/2 at the same distance
    assert youden_threshold(np.array([0, 1, 0, 1]), np.array([0.2, 0.5, 0.5, 0.8])) == pytest.approx(0.35)


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [([1, 1], [0.2, 0.9]), ([0, 0], [0.2, 0.9]), ([0, 1], [0.7, 0.7]), ([0, 1], [0.9, 0.1]), ([0, 1], [0.1, np.nan]), ([], [])],
)
def test_youden_of_degenerate_validation_is_a_half(labels, probabilities):
    assert youden_threshold(np.array(labels, dtype=np.int64), np.array(probabilities, dtype=np.float64)) == 0.5


def test_youden_separates_neighbouring_floats():
    low = 0.5
    high = np.nextafter(low, 1)  # no number between them: the middle is one of the two
    cut = youden_threshold(np.array([0, 1]), np.array([low, high]))
    assert low < cut <= high


def random_case(seed: int):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 60)
    return labels, (rng.random(60) * 0.6 + 0.4 * labels).round(rng.integers(1, 4))  # rounded: many ties


@pytest.mark.parametrize("seed", range(8))
def test_bags_agree_with_scikit_learn(seed):
    labels, probabilities = random_case(seed)
    threshold = youden_threshold(labels, probabilities)
    called = probabilities >= threshold
    values = bag_metrics(labels, probabilities, threshold)
    assert values["auroc"] == pytest.approx(oracle.roc_auc_score(labels, probabilities))
    assert values["average_precision"] == pytest.approx(oracle.average_precision_score(labels, probabilities))
    assert values["accuracy"] == pytest.approx(oracle.accuracy_score(labels, called))
    assert values["balanced_accuracy"] == pytest.approx(oracle.balanced_accuracy_score(labels, called))
    assert values["precision"] == pytest.approx(oracle.precision_score(labels, called))
    assert values["recall"] == pytest.approx(oracle.recall_score(labels, called))
    assert values["f1"] == pytest.approx(oracle.f1_score(labels, called))
    assert values["nll"] == pytest.approx(oracle.log_loss(labels, probabilities.clip(1e-12, 1 - 1e-12)))
    false_positives, true_positives, _ = oracle.roc_curve(labels, probabilities)
    assert values["balanced_accuracy"] * 2 - 1 == pytest.approx((true_positives - false_positives).max())


# three bags: negative (2 tiles), positive (4, one of them unknown), positive without a known tile (1)
OFFSETS = np.array([0, 2, 6, 7])
BAGS = np.array([0, 1, 1])
TILES = np.array([0, 0, 1, 1, 0, -1, -1], dtype=np.int8)
SCORES = np.array([0.1, 0.7, 0.9, 0.3, 0.3, 1.0, 0.0])


def test_tiles_by_hand():
    values = instance_metrics(TILES, SCORES, BAGS, OFFSETS, 0.3)
    # positives 0.9, 0.3; negatives 0.1, 0.7, 0.3
    assert values["auroc"] == pytest.approx((3 + 1 + 0 + 0.5) / 6)
    assert values["average_precision"] == pytest.approx((1 + 2 / 4) / 2)
    assert values["random_average_precision"] == pytest.approx(2 / 5)
    assert values["f1"] == pytest.approx(2 * 2 / (4 + 2))
    assert values["oracle_best_f1"] == pytest.approx(2 / 3)  # at 0.9: 2·1 / (1 + 2); at 0.7: 1/2; at 0.3: 4/6
    # positives 0.9, 0.3; negative 0.3
    assert values["auroc_positive_bags"] == pytest.approx(1.5 / 2)
    assert values["average_precision_positive_bags"] == pytest.approx((1 + 2 / 3) / 2)
    assert values["random_average_precision_positive_bags"] == pytest.approx(2 / 3)
    assert values["f1_positive_bags"] == pytest.approx(2 * 2 / (3 + 2))
    assert values["oracle_best_f1_positive_bags"] == pytest.approx(4 / 5)


def test_tiles_that_are_unknown_or_of_one_class():
    every = instance_metrics(None, SCORES, BAGS, OFFSETS, 0.3)
    assert len(every) == 10 and set(every.values()) == {None}
    negative = instance_metrics(np.zeros(7, dtype=np.int8), SCORES, BAGS, OFFSETS, 0.3)
    assert set(negative.values()) == {None}
    positive = instance_metrics(np.where(TILES == 0, -1, TILES).astype(np.int8), SCORES, BAGS, OFFSETS, 0.5)
    assert positive["auroc"] is None and positive["average_precision"] == 1 and positive["f1"] == pytest.approx(2 / 3)


def test_a_nan_counts_only_where_the_tile_is_known():
    scores = SCORES.copy()
    scores[5] = np.nan
    assert instance_metrics(TILES, scores, BAGS, OFFSETS, 0.3) == instance_metrics(TILES, SCORES, BAGS, OFFSETS, 0.3)
    scores[0] = np.nan  # in a negative bag
    values = instance_metrics(TILES, scores, BAGS, OFFSETS, 0.3)
    assert [values[name] for name in ("auroc", "average_precision", "f1", "oracle_best_f1")] == [None] * 4
    assert values["f1_positive_bags"] == pytest.approx(4 / 5)


@pytest.mark.parametrize("seed", range(8))
def test_tiles_agree_with_scikit_learn(seed):
    labels, scores = random_case(seed)
    offsets = np.array([0, 20, 40, 60])
    values = instance_metrics(labels.astype(np.int8), scores, np.array([1, 0, 1]), offsets, 0.5)
    inside = np.r_[0:20, 40:60]
    for rows, suffix in ((np.arange(60), ""), (inside, "_positive_bags")):
        assert values[f"auroc{suffix}"] == pytest.approx(oracle.roc_auc_score(labels[rows], scores[rows]))
        assert values[f"average_precision{suffix}"] == pytest.approx(oracle.average_precision_score(labels[rows], scores[rows]))
        assert values[f"f1{suffix}"] == pytest.approx(oracle.f1_score(labels[rows], scores[rows] >= 0.5))
        best = max(oracle.f1_score(labels[rows], scores[rows] >= cut) for cut in np.unique(scores[rows]))
        assert values[f"oracle_best_f1{suffix}"] == pytest.approx(best)


def test_pseudo_labels_by_hand():
    values = pseudo_label_quality(SCORES, TILES, OFFSETS, BAGS, 0.3)
    # strictly above 0.3: 0.7 (wrong) and 0.9 (right); 1.0 is unknown
    assert (values["precision"], values["recall"], values["f1"]) == (0.5, 0.5, 0.5)
    assert (values["precision_positive_bags"], values["recall_positive_bags"]) == (1, 0.5)
    assert values["f1_positive_bags"] == pytest.approx(2 / 3)
    tiles = instance_metrics(TILES, SCORES, BAGS, OFFSETS, 0.3)
    for name in ("auroc", "average_precision", "auroc_positive_bags", "average_precision_positive_bags"):
        assert values[name] == tiles[name]


def test_pseudo_labels_none_of_which_is_positive():
    values = pseudo_label_quality(SCORES, TILES, OFFSETS, BAGS, 0.9)
    assert values["precision"] is None and values["recall"] == 0 and values["f1"] == 0
    assert set(pseudo_label_quality(SCORES, None, OFFSETS, BAGS, 0.3).values()) == {None}
    scores = np.where(TILES == 1, np.nan, SCORES)
    assert set(pseudo_label_quality(scores, TILES, OFFSETS, BAGS, 0.3).values()) == {None}


def test_structural_noise_by_hand():
    # positive bags: 1 of 4 known tiles positive (a fifth is unknown), 1 of 1, and one where nothing is known
    offsets, labels = np.array([0, 3, 8, 9, 10]), np.array([0, 1, 1, 1])
    tiles = np.array([0, 0, 0, 1, 0, 0, 0, -1, 1, -1], dtype=np.int8)
    values = structural_noise(labels, tiles, offsets)
    assert values["inherited_noise"] == pytest.approx(3 / 5)
    assert values["witness_rate"] == pytest.approx((1 / 4 + 1) / 2)
    # a negative bag that is labelled positive has no witness
    assert structural_noise(np.ones(4, dtype=np.int64), tiles, offsets)["witness_rate"] == pytest.approx((0 + 1 / 4 + 1) / 3)
    nothing = {"inherited_noise": None, "witness_rate": None}
    assert structural_noise(labels, None, offsets) == nothing
    assert structural_noise(np.zeros(4, dtype=np.int64), tiles, offsets) == nothing
    assert structural_noise(labels, np.full(10, -1, dtype=np.int8), offsets) == nothing


def slides(*maps):
    """Positions, offsets and the values of maps that are rows of a slide, None where there is no tile."""
    positions, values, offsets = [], [], [0]
    for rows in maps:
        cells = [((x, y), value) for y, row in enumerate(rows) for x, value in enumerate(row) if value is not None]
        positions += [place for place, _ in cells]
        values += [value for _, value in cells]
        offsets.append(len(values))
    return np.array(positions, dtype=np.int64), np.array(offsets), np.array(values)


# slide 0 has two lesions: two tiles that touch at a corner, and one at the right end of the first row; slide 1 has none
TRUTH = ([[1, 0, 0, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]], [[0, 0, 0, 0, 0]])
MAP = ([[5, 1, 1, 2, 3], [1, 8, 1, 1, 1], [1, 1, 1, 6, 1]], [[7, 1, 4, 1, 1]])


def test_froc_by_hand():
    positions, offsets, truth = slides(*TRUTH)
    scores = slides(*MAP)[2]
    values = froc(truth, scores, positions, offsets)
    # detections: 8 and 3 in lesions (5 has 8 beside it); outside 6, 7 and 4; the 1s are neighbours of one another and of more
    # in order: 8 (1 of 2 found), 7, 6, 4 (1.5 alarms a slide), 3 (both found)
    assert values["lesions"] == 2
    for rate, expected in zip(FALSE_POSITIVES, (0.5, 0.5, 0.5, 1, 1, 1), strict=True):
        assert values[f"sensitivity_at_{rate:g}"] == expected
    assert values["froc"] == pytest.approx(4.5 / 6)


def test_froc_is_linear_between_its_points():
    positions, offsets, truth = slides([[1, 0, 0, 0, 0]], [[0, 0, 0, 0, 0]])
    scores = slides([[3, 2, 1, 3, 1]], [[1, 3, 1, 2, 1]])[2]  # the lesion comes in one step with two alarms on two slides
    values = froc(truth, scores, positions, offsets)
    assert [values[f"sensitivity_at_{rate:g}"] for rate in FALSE_POSITIVES] == [0.25, 0.5, 1, 1, 1, 1]


def test_froc_knows_no_neighbours_beyond_edges_and_slides():
    # the end of a row and the start of the next, and of the next slide
    positions, offsets, truth = slides([[0, 0, 1], [1, 0, 0], [0, 0, 1]], [[1, 0, 0], [0, 0, 0], [0, 0, 0]])
    assert froc(truth, truth, positions, offsets)["lesions"] == 4
    # a gap without a tile parts a lesion
    positions, offsets, truth = slides([[1, None, 1, 0]])
    assert froc(truth, truth, positions, offsets)["lesions"] == 2


def test_froc_of_perfect_constant_and_smooth_scores():
    rng = np.random.default_rng(0)
    maps = (rng.random((6, 30, 30)) < 0.02).astype(int).tolist()
    positions, offsets, truth = slides(*maps)
    assert froc(truth, truth + 0.0, positions, offsets)["froc"] == 1
    assert froc(truth, np.zeros(truth.size), positions, offsets)["froc"] < 0.01
    ramp = positions[:, 0] + positions[:, 1] / 100  # one detection a slide, wherever the lesions are
    assert froc(truth, ramp, positions, offsets)["froc"] < 0.2


def test_froc_does_not_depend_on_units_order_or_the_scale_of_scores():
    rng = np.random.default_rng(1)
    truth, scores = (rng.random((4, 12, 12)) < 0.1).astype(int), rng.random((4, 12, 12)).round(2)
    positions, offsets, tiles = slides(*truth.tolist())
    scores = scores.reshape(-1)
    expected = froc(tiles, scores, positions, offsets)
    assert 0 < expected["froc"] < 1
    shift = np.repeat([[7, -3], [100, 0], [0, 5], [9, 9]], 144, axis=0)
    with np.errstate(divide="ignore"):
        logarithms = np.log(scores)
    assert np.isneginf(logarithms).any() and froc(tiles, logarithms, 224 * positions + shift, offsets) == expected
    assert froc(tiles, scores, positions * [224, 448], offsets, pitch=(224, 448)) == expected
    order = np.concatenate([start + rng.permutation(144) for start in offsets[:-1]])
    assert froc(tiles[order], scores[order], positions[order], offsets) == expected


def test_froc_leaves_out_unknown_tiles():
    positions, offsets, truth = slides([[1, -1, 0, 0]], [[-1, -1, -1, -1]])
    scores = slides([[2, 9, 1, 1]], [[9, 9, 9, 9]])[2]
    values = froc(truth, scores, positions, offsets)  # one slide; the 9 beside the lesion does not hide it
    assert values["sensitivity_at_0.25"] == 1 and values["lesions"] == 1
    assert froc(truth, np.where(truth < 0, np.nan, scores), positions, offsets) == values


def test_froc_of_tiles_at_one_place():
    positions, offsets = np.array([[0, 0], [0, 0], [1, 0], [5, 0]]), np.array([0, 4])
    values = froc(np.array([0, 1, 0, 0]), np.array([3.0, 1.0, 2.0, 2.5]), positions, offsets)
    assert values["lesions"] == 1 and values["sensitivity_at_0.25"] == 1


def test_froc_where_it_is_undefined():
    positions, offsets, truth = slides(*TRUTH)
    scores = slides(*MAP)[2]
    names = {"froc", "lesions", *(f"sensitivity_at_{rate:g}" for rate in FALSE_POSITIVES)}
    for case in ((None, scores, positions), (truth, scores, None), (truth, scores * np.nan, positions)):
        assert froc(*case, offsets) == dict.fromkeys(names)
    for nothing in (0, -1):
        assert froc(np.full_like(truth, nothing), scores, positions, offsets) == {**dict.fromkeys(names), "lesions": 0}


def test_cells_of_a_grid():
    positions = np.array([[10, 20], [70, 20], [10, 50], [1000, 0]])
    assert grid_cells(positions, np.array([0, 3, 4])).tolist() == [[0, 0], [2, 0], [0, 1], [0, 0]]  # 60, 30 → 30
    assert grid_cells(positions, np.array([0, 3, 4]), pitch=(60, 15)).tolist() == [[0, 0], [1, 0], [0, 2], [0, 0]]
    assert grid_cells(positions[:1], np.array([0, 1])).tolist() == [[0, 0]]
    with pytest.raises(BenchmarkError, match=r"span 9e\+18 × 2; expected x and y in tiles or pixels"):
        grid_cells(np.array([[0, 0], [9 * 10**18, 0]]), np.array([0, 2]))
