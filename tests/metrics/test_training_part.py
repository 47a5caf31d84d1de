"""Detection and correction of wrong labels, against numbers worked by hand and the bounds that always hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given as cases
from hypothesis import settings
from hypothesis import strategies as st

from benchmark.metrics import annotation, clean_kept, compute, correction, detection, rounds
from benchmark.metrics.detection import is_hard, lowest

TRUE = np.zeros(8, dtype=np.int64)
GIVEN = np.array([1, 1, 0, 0, 0, 0, 0, 0])  # the first two are wrong: r = 1/4
QUALITY = np.array([0.1, 0.6, 0.2, 0.7, 0.8, 0.9, 0.9, 1.0])
SUSPECT = np.array([1, 0, 1, 0, 1, 0, 0, 0], dtype=bool)


def test_detection_by_hand() -> None:
    values = detection(GIVEN, TRUE, QUALITY, SUSPECT)
    assert values["precision"] == pytest.approx(1 / 3)
    assert values["recall"] == 0.5
    assert values["f1"] == pytest.approx(2 * 1 / (3 + 2))
    assert values["flagged"] == 3 / 8
    # lowest first: wrong, right, wrong, … → AP = (1/1 + 2/3) / 2; of the 12 pairs one (0.6 against 0.2) is lost
    assert values["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert values["auroc"] == pytest.approx(11 / 12)
    assert values["constant_f1"] == pytest.approx(2 * 0.25 / 1.25)
    assert values["random_average_precision"] == 0.25
    assert "clean_hard_kept" not in values


def test_flagging_everything_has_the_constant_f1() -> None:
    values = detection(GIVEN, TRUE, QUALITY, np.ones(8, dtype=bool))
    assert values["f1"] == pytest.approx(values["constant_f1"])


def test_a_constant_quality_is_worth_what_chance_is_whatever_the_order() -> None:
    for given in (GIVEN, GIVEN[::-1]):
        values = detection(given, TRUE, np.full(8, 0.3), SUSPECT)
        assert values["auroc"] == 0.5
        assert values["average_precision"] == values["random_average_precision"] == 0.25


def test_clean_but_hard_samples() -> None:
    hardness = np.array([9.0, 0.0, 8.0, 7.0, 0.1, 0.2, 0.3, 0.4])
    # upper quartile by interpolation: sorted[5.25] = 7.0 + 0.25 · 1.0 = 7.25 …
    assert np.quantile(hardness, 0.75) == pytest.approx(7.25)
    # … so 0 and 2 are hard; 0 is wrong, and 2, the one that is clean, is flagged by the method and has the second lowest quality
    values = detection(GIVEN, TRUE, QUALITY, SUSPECT, hardness)
    assert values["clean_hard_kept"] == 0.0
    assert values["clean_hard_kept_at_rate"] == 0.0
    better = QUALITY.copy()
    better[2] = 0.65  # now the two wrong ones are the lowest
    assert detection(GIVEN, TRUE, better, SUSPECT, hardness)["clean_hard_kept_at_rate"] == 1.0


def test_equal_qualities_are_flagged_by_index() -> None:
    assert lowest(np.array([1.0, 0.5, 0.5, 0.5, 0.1]), 3).tolist() == [False, True, True, False, True]
    assert not lowest(np.ones(3), 0).any()


def test_unknown_hardness_is_not_hard() -> None:
    assert is_hard(np.array([np.nan, 1.0, 2.0, 3.0, 4.0])).tolist() == [False, False, False, False, True]
    assert not is_hard(np.full(3, np.nan)).any()
    assert detection(GIVEN, TRUE, QUALITY, SUSPECT, np.full(8, np.nan))["clean_hard_kept"] is None


def test_no_wrong_labels() -> None:
    values = detection(TRUE, TRUE, QUALITY, SUSPECT, np.arange(8.0))
    undefined = {"recall", "f1", "auroc", "average_precision", "constant_f1", "random_average_precision"}
    assert {name for name, value in values.items() if value is None} == undefined
    assert values["precision"] == 0.0
    assert values["clean_hard_kept_at_rate"] == 1.0  # none is to be flagged


def test_all_labels_wrong() -> None:
    values = detection(TRUE + 1, TRUE, QUALITY, SUSPECT, np.arange(8.0))
    assert values["auroc"] is None
    assert values["average_precision"] == values["precision"] == values["random_average_precision"] == 1.0
    assert values["clean_hard_kept"] is values["clean_hard_kept_at_rate"] is None


def test_nothing_flagged_and_quality_not_finite() -> None:
    values = detection(GIVEN, TRUE, QUALITY, np.zeros(8, dtype=bool))
    assert values["precision"] is None
    assert values["recall"] == values["f1"] == values["flagged"] == 0.0
    infinite = np.where(np.isin(QUALITY, (0.1, 1.0)), [-np.inf] * 7 + [np.inf], QUALITY)  # same order
    assert detection(GIVEN, TRUE, infinite, SUSPECT)["auroc"] == pytest.approx(11 / 12)
    assert detection(GIVEN, TRUE, np.where(QUALITY > 0.9, np.nan, QUALITY), SUSPECT, QUALITY)["auroc"] is None


def test_correction_by_hand() -> None:
    corrected = np.array([0, 1, 2, -1, 0, 0, 0, 0])  # one restored, one left, one spoilt, one dropped
    values = correction(GIVEN, TRUE, corrected)
    assert values == {"noise_before": 0.25, "noise_after": pytest.approx(2 / 7), "kept": 7 / 8, "recovery": 0.5}
    assert correction(GIVEN, TRUE, np.full(8, -1)) == {"noise_before": 0.25, "noise_after": None, "kept": 0.0, "recovery": 0.0}
    assert correction(TRUE, TRUE, TRUE)["recovery"] is None


def test_correction_is_absent_without_corrected_labels() -> None:
    arrays = {"train_given": GIVEN, "train_true": TRUE, "train_quality": QUALITY, "train_suspect": SUSPECT}
    assert list(compute(arrays)) == ["detection"]
    assert compute({**arrays, "train_corrected": TRUE})["correction"]["noise_after"] == 0.0
    assert "clean_hard_kept" in compute({**arrays, "train_hardness": QUALITY})["detection"]


@settings(max_examples=60, deadline=None)
@cases(st.data(), st.integers(0, 12))
def test_values_are_none_or_shares(data: st.DataObject, n: int) -> None:
    def draw(element: st.SearchStrategy, dtype: type) -> np.ndarray:
        return np.array(data.draw(st.lists(element, min_size=n, max_size=n)), dtype=dtype)

    given, true, corrected = draw(st.integers(0, 2), np.int64), draw(st.integers(0, 2), np.int64), draw(st.integers(-1, 2), np.int64)
    number = st.one_of(st.floats(width=32), st.sampled_from([0.0, 0.5, math.nan, math.inf, -math.inf]))
    arrays = {
        "train_given": given,
        "train_true": true,
        "train_quality": draw(number, np.float32),
        "train_suspect": draw(st.booleans(), np.bool_),
    }
    finite_hardness = draw(st.one_of(st.floats(0, 1, width=32), st.just(math.nan)), np.float32)
    groups = compute({**arrays, "train_corrected": corrected, "train_hardness": finite_hardness})
    for values in groups.values():
        for name, value in values.items():
            assert value is None or (type(value) is float and 0 <= value <= 1 + 1e-9), (name, value)


def test_clean_samples_kept_by_class() -> None:
    """Class 0: right are 0, 1 and 2, of which 2 is suspected; class 1: 3 is right and kept; class 2 has no right label."""
    true, given = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 0, 1, 0, 1])
    suspect = np.array([False, False, True, False, True, True])
    values = clean_kept(given, true, suspect, 3)
    assert values == {"0": pytest.approx(2 / 3), "1": 1.0, "2": None, "macro": pytest.approx(5 / 6), "worst": pytest.approx(2 / 3)}
    nothing = clean_kept(np.array([1]), np.array([0]), np.array([True]), 2)
    assert nothing == {"0": None, "1": None, "macro": None, "worst": None}


def test_what_labels_bought() -> None:
    """Three samples by two raters: the given labels of 7 and 9 were wrong, and one of six answers is."""
    rows = [(1, 7, 0, 0, 1, 1), (1, 8, 0, 2, 2, 2), (1, 7, 1, 0, 1, 1), (1, 8, 1, 2, 2, 2), (2, 9, 0, 1, 0, 2), (2, 9, 1, 1, 2, 2)]
    values = annotation(np.array(rows), 30)
    assert values == {"paid": 6.0, "share": 0.2, "found_wrong": pytest.approx(2 / 3), "annotator_wrong": pytest.approx(1 / 6)}
    assert annotation(np.zeros((0, 6), dtype=np.int64), 30) == {"paid": 0.0, "share": 0.0, "found_wrong": None, "annotator_wrong": None}


def test_rounds_have_their_own_metrics() -> None:
    labels = np.array([0, 1])
    forecasts = np.array([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
    groups = rounds(labels, forecasts, np.array([0, 5]), 50)
    assert list(groups) == ["round/0", "round/1"]
    assert groups["round/0"]["accuracy"] == 0.5 and groups["round/1"]["accuracy"] == 1.0
    assert groups["round/0"]["paid"] == 0.0 and groups["round/1"]["paid"] == 5.0 and groups["round/1"]["share"] == 0.1
