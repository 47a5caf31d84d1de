"""All groups of a run on bags, from arrays that are small enough to count."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.metrics import compute
from benchmark.metrics.bag_runs import compute_bags


def forecast(*positive: float) -> np.ndarray:
    """(n, 2) float32."""
    p = np.array(positive, dtype=np.float32)
    return np.stack([1 - p, p], axis=1)


def run() -> dict[str, np.ndarray]:
    """Three test bags of two tiles on a row, two validation bags, four training bags of two tiles, two rounds."""
    return {
        "task": np.array("bags"),
        "test_labels": np.array([0, 1, 1]),
        "val_labels": np.array([0, 1]),
        "val_true": np.array([1, 1]),
        "val_selected": forecast(0.2, 0.6),
        "test_selected": forecast(0.45, 0.42, 0.8),
        "test_last_k": np.stack([forecast(0.6, 0.4, 0.9), forecast(0.1, 0.7, 0.9)]),
        "test_best": forecast(0.1, 0.7, 0.9),
        "test_offsets": np.array([0, 2, 4, 6]),
        "test_selected_tiles": np.array([0.3, 0.1, 0.2, 0.9, 0.8, 0.05], dtype=np.float32),
        "test_tile_labels": np.array([0, 0, 0, 1, 1, 0], dtype=np.int8),
        "test_positions": np.array([[0, 0], [1, 0], [0, 0], [1, 0], [0, 0], [1, 0]]),
        "train_given": np.array([1, 0, 1, 0]),
        "train_true": np.array([1, 0, 0, 0]),
        "train_quality": np.array([0.9, 0.8, 0.1, 0.7], dtype=np.float32),
        "train_suspect": np.array([False, True, True, False]),
        "train_offsets": np.array([0, 2, 4, 6, 8]),
        "train_tile_labels": np.array([1, 0, 0, 0, 0, 0, 0, 0], dtype=np.int8),
        "pseudo_scores": np.array([[0.9, 0.4, 0.5, 0.1, 0.6, 0.2, 0.1, 0.1], [0.9, 0.1, 0.1, 0.1, 0.2, 0.2, 0.1, 0.1]], dtype=np.float16),
        "pseudo_threshold": np.array(0.3),
    }


def test_the_threshold_comes_from_noisy_validation_bags_and_is_used_on_the_selected_epoch_alone() -> None:
    groups = compute_bags(run())
    assert groups["selected"]["threshold"] == pytest.approx(0.4)  # half way between 0.2 and 0.6
    assert groups["selected"]["accuracy"] == pytest.approx(2 / 3)  # 0.45, 0.42 and 0.8 are called positive
    assert groups["selected"]["recall"] == 1 and groups["selected"]["auroc"] == pytest.approx(1 / 2)
    assert groups["validation"]["accuracy"] == 1 and "threshold" not in groups["validation"]  # against the noisy labels
    assert groups["best"]["accuracy"] == 1 and "threshold" not in groups["best"]


def test_epochs_at_a_half() -> None:
    groups = compute_bags(run())
    assert groups["last"]["accuracy"] == 1 and groups["last"]["auroc"] == 1  # the last of them
    assert groups["last_k"]["accuracy"] == pytest.approx((1 / 3 + 1) / 2) and groups["last_k"]["auroc"] == pytest.approx((1 / 2 + 1) / 2)


def test_tiles_of_the_selected_epoch() -> None:
    groups = compute_bags(run())
    assert groups["instances"]["auroc"] == 1 and groups["instances"]["f1"] == 1  # 0.9 and 0.8 above all others
    assert groups["instances"]["random_average_precision"] == pytest.approx(2 / 6)
    assert groups["instances"]["random_average_precision_positive_bags"] == pytest.approx(2 / 4)
    assert groups["lesions"]["lesions"] == 2 and groups["lesions"]["sensitivity_at_0.25"] == 1


def test_pseudo_labels_round_by_round_against_the_truth() -> None:
    groups = compute_bags(run())
    assert sorted(name for name in groups if name.startswith("pseudo/")) == ["pseudo/0", "pseudo/1"]
    # above 0.3: tiles 0, 1, 2 and 4, of which only the first is positive
    assert groups["pseudo/0"]["precision"] == pytest.approx(1 / 4) and groups["pseudo/0"]["recall"] == 1
    # in bags that are labelled positive (the first and, wrongly, the third): tiles 0, 1 and 4
    assert groups["pseudo/0"]["precision_positive_bags"] == pytest.approx(1 / 3)
    assert groups["pseudo/1"]["precision"] == groups["pseudo/1"]["recall"] == 1


def test_wrong_labels_of_bags() -> None:
    detection = compute_bags(run())["detection"]
    assert (detection["precision"], detection["recall"]) == (0.5, 1) and detection["average_precision"] == 1
    assert detection["flagged"] == 0.5


@pytest.mark.parametrize(
    ("absent", "groups"),
    [
        (("pseudo_scores",), ("pseudo/0", "pseudo/1")),
        (("test_selected_tiles",), ("instances", "lesions")),
        (("val_selected",), ("validation",)),
        (("test_last_k",), ("last", "last_k")),
        (("train_true",), ("detection",)),
    ],
)
def test_a_group_whose_arrays_are_absent_is_absent(absent: tuple[str, ...], groups: tuple[str, ...]) -> None:
    everything = compute_bags(run())
    found = compute_bags({name: values for name, values in run().items() if name not in absent})
    assert set(everything) - set(found) == set(groups)


def test_without_validation_the_threshold_is_a_half() -> None:
    selected = compute_bags({name: values for name, values in run().items() if name != "val_selected"})["selected"]
    assert selected["threshold"] == 0.5 and selected["accuracy"] == pytest.approx(2 / 3) and selected["recall"] == 0.5


def test_tiles_of_which_nothing_is_known_are_undefined_and_not_wrong() -> None:
    hidden = ("test_tile_labels", "test_positions", "train_tile_labels")
    groups = compute_bags({name: values for name, values in run().items() if name not in hidden})
    assert set(groups["instances"].values()) == {None} and set(groups["lesions"].values()) == {None}
    assert groups["pseudo/0"]["precision_positive_bags"] is None
    assert groups["selected"]["auroc"] == pytest.approx(1 / 2)
    placeless = compute_bags({name: values for name, values in run().items() if name != "test_positions"})
    assert placeless["instances"]["auroc"] == 1 and placeless["lesions"]["froc"] is None


def test_the_task_says_which_metrics() -> None:
    assert compute(run()) == compute_bags(run())
    assert "macro_f1" not in compute(run())["selected"]


def test_pseudo_labels_at_the_threshold_and_near_one_keep_their_order() -> None:
    """Half precision makes positives of scores at 0.3, and single precision one step of all that is nearly sure."""
    logits = np.array([-0.8473, -0.8473, 20.0, 25.0, 30.0, 18.0, -5.0, -6.0])
    scores = 1 / (1 + np.exp(-logits))  # the first two are 0.29999
    assert float(np.float16(scores[0])) > 0.3 > scores[0] and np.float32(scores[3]) == np.float32(scores[4]) == 1
    changed = run() | {"pseudo_scores": scores[None], "train_tile_labels": np.array([0, 0, 0, 1, 1, 0, 0, 0], dtype=np.int8)}
    found = compute_bags(changed)["pseudo/0"]
    assert found["auroc"] == 1 and found["precision"] == pytest.approx(2 / 4)  # four are above 0.3, the two at it are not


def test_tiles_of_a_network_that_is_very_sure() -> None:
    logits = np.array([30.0, 20.0, 25.0, 18.0, 19.0, -20.0])
    sure, plain = (compute_bags(run() | {"test_selected_tiles": scores}) for scores in (1 / (1 + np.exp(-logits)), logits))
    for name in ("auroc", "average_precision", "oracle_best_f1"):
        assert sure["instances"][name] == plain["instances"][name]
    assert sure["lesions"] == plain["lesions"]
