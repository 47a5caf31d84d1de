"""Metrics of forecasts, against numbers worked by hand, scikit-learn's and the bounds that always hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.metrics import calibration, classification, compute, test_metrics
from benchmark.metrics.calibration import SMALLEST_PROBABILITY

LABELS = np.array([0, 0, 1, 2])
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0.2, 0.5, 0.3]], dtype=np.float32)
# predicted: 0, 1, 1, 1; right: yes, no, yes, no


def test_classification_by_hand() -> None:
    values = classification(LABELS, PROBABILITIES)
    assert values["accuracy"] == 0.5
    assert values["balanced_accuracy"] == pytest.approx((1 / 2 + 1 + 0) / 3)  # recalls of 0, 1, 2
    assert values["worst_class_recall"] == 0.0
    # F1 of 0: TP 1, FN 1, FP 0 → 2/3; of 1: TP 1, FP 2 → 2/4; of 2: 0
    assert values["macro_f1"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    # class 0: .7 and .3 against .1 and .2 → 4/4; class 1: .8 against .2, .6, .5 → 3/3; class 2: .3 against .1 → 3/3
    assert values["auroc"] == pytest.approx(1.0)


def test_auroc_counts_ties_half() -> None:
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.2, 0.8]])
    # class 1: of the 4 pairs two are won and two are ties → 3/4; class 0 the same
    assert classification(labels, probabilities)["auroc"] == pytest.approx(0.75)


def test_macro_f1_counts_a_class_that_is_predicted_but_absent() -> None:
    values = classification(np.array([0, 0]), np.array([[0.9, 0.1], [0.1, 0.9]]))
    # F1 of 0: TP 1, FN 1 → 2/3; of 1: 0. Recall: only class 0 is present
    assert values["macro_f1"] == pytest.approx(1 / 3)
    assert values["balanced_accuracy"] == values["worst_class_recall"] == 0.5
    assert values["auroc"] is None


def test_a_class_that_the_test_part_lacks_changes_nothing() -> None:
    wider = np.concatenate([PROBABILITIES, np.zeros((4, 1), dtype=np.float32)], axis=1)
    assert test_metrics(LABELS, wider) == test_metrics(LABELS, PROBABILITIES)


def test_classification_agrees_with_sklearn() -> None:
    from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 400)
    probabilities = rng.dirichlet(np.ones(5), 400)
    predicted = probabilities.argmax(1)
    values = classification(labels, probabilities)
    assert values["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert values["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert values["auroc"] == pytest.approx(roc_auc_score(labels, probabilities, multi_class="ovr"))


def test_calibration_by_hand() -> None:
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.95, 0.05], [0.45, 0.55]])
    values = calibration(labels, probabilities)
    # bin of 0.95: three samples, two right: |2 − 2.85| / 4; bin of 0.55: |1 − 0.55| / 4
    assert values["ece"] == pytest.approx((0.85 + 0.45) / 4)
    assert values["nll"] == pytest.approx(-(2 * math.log(0.95) + math.log(0.05) + math.log(0.55)) / 4)


def test_bins_do_not_mix_over_and_under_confidence() -> None:
    labels = np.array([0, 1])
    # right with 0.6 (too modest by .4), wrong with 0.9 (too sure by .9): they do not cancel
    assert calibration(labels, np.array([[0.6, 0.4], [0.9, 0.1]]))["ece"] == pytest.approx((0.4 + 0.9) / 2)


def test_perfect_forecasts_have_no_negative_zero_and_impossible_ones_are_finite() -> None:
    sure = np.eye(2)
    perfect = calibration(np.array([0, 1]), sure)
    assert perfect == {"ece": 0.0, "nll": 0.0}
    assert math.copysign(1, perfect["nll"] or 0.0) == 1
    assert calibration(np.array([1, 0]), sure)["nll"] == pytest.approx(-math.log(SMALLEST_PROBABILITY))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_forecasts_that_are_not_finite_have_no_metrics(bad: float) -> None:
    broken = PROBABILITIES.copy()
    broken[1, 1] = bad
    assert set(test_metrics(LABELS, broken).values()) == {None}


def test_nothing_is_defined_on_an_empty_test_part() -> None:
    assert set(test_metrics(np.array([], dtype=np.int64), np.zeros((0, 3))).values()) == {None}


def test_compute_names_groups_as_the_design_does() -> None:
    wrong = PROBABILITIES[:, ::-1]
    groups = compute({"test_labels": LABELS, "test_last_k": np.stack([wrong, PROBABILITIES]), "test_selected": PROBABILITIES,
                      "test_best": PROBABILITIES, "aux_ema": wrong, "epochs_last_k": np.array([3, 4])})  # fmt: skip
    assert list(groups) == ["last", "last_k", "selected", "best", "aux/ema"]
    assert groups["last"] == groups["selected"] == groups["best"] == test_metrics(LABELS, PROBABILITIES)
    assert groups["aux/ema"] == test_metrics(LABELS, wrong)
    for name, mean in groups["last_k"].items():
        assert mean == pytest.approx((groups["aux/ema"][name] + groups["last"][name]) / 2)


def test_the_mean_of_the_last_epochs_is_undefined_when_one_of_them_is() -> None:
    groups = compute({"test_labels": LABELS, "test_last_k": np.stack([np.full_like(PROBABILITIES, np.nan), PROBABILITIES])})
    assert groups["last_k"]["accuracy"] is None
    assert groups["last"]["accuracy"] == 0.5
    assert compute({"test_labels": LABELS, "test_last_k": np.zeros((0, 4, 3))}) == {}


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(0, 12))
def test_values_are_none_or_in_range(data: st.DataObject, num_classes: int, n: int) -> None:
    labels = np.array(data.draw(st.lists(st.integers(0, num_classes - 1), min_size=n, max_size=n)), dtype=np.int64)
    number = st.one_of(st.floats(0, 1, width=32), st.sampled_from([0.0, 0.5, 1.0, math.nan]))
    rows = st.lists(number, min_size=num_classes, max_size=num_classes)
    probabilities = np.array(data.draw(st.lists(rows, min_size=n, max_size=n)), dtype=np.float32).reshape(n, num_classes)
    for name, value in test_metrics(labels, probabilities).items():
        assert value is None or (type(value) is float and 0 <= value <= (28 if name == "nll" else 1 + 1e-9)), (name, value)


def test_validation_is_scored_against_its_noisy_labels() -> None:
    forecasts = np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7]], dtype=np.float32)
    arrays = {"val_selected": forecasts, "val_labels": np.array([0, 1, 1]), "val_true": np.array([0, 0, 1])}
    groups = compute(arrays)
    assert set(groups) == {"validation"}
    assert groups["validation"]["accuracy"] == pytest.approx(2 / 3)  # all three would be right against the truth
    assert groups["validation"]["balanced_accuracy"] == pytest.approx(0.75)
    assert groups["validation"]["nll"] == pytest.approx(-np.log([0.8, 0.4, 0.7]).mean(), rel=1e-6)
