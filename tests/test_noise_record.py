import hashlib
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.api import Samples
from benchmark.noise_record import record
from benchmark.registry import Registry


def test_by_hand() -> None:
    true = np.array([0, 0, 0, 0, 1, 1, 3, 3])
    noisy = np.array([0, 0, 0, 1, 1, 3, 3, 3])
    result = record(true, noisy, 4, 0.2)
    assert (
        result
        == {
            "nominal_rate": 0.2,
            "realised_rate": 0.25,
            "per_class_rate": [0.25, 0.5, None, 0.0],
            "matrix": [[0.75, 0.25, 0, 0], [0, 0.5, 0, 0.5], [None] * 4, [0, 0, 0, 1]],
            "solvable": False,  # class 1 is labelled 3 as often as 1
            "label_hash": hashlib.sha256(struct.pack("<8q", *noisy)).hexdigest()[:16],
        }
    )
    json.dumps(result, allow_nan=False)


def test_solvable_needs_a_strict_majority_over_each_rival_only() -> None:
    true = np.zeros(5, dtype=np.int64)
    assert record(true, np.array([0, 0, 1, 2, 3]), 4, None)["solvable"]  # 40 % right, rivals 20 % each
    assert not record(true, np.array([0, 0, 1, 1, 3]), 4, None)["solvable"]
    assert record(true, true, 1, None)["solvable"]


@pytest.mark.parametrize(
    ("name", "rate", "classes", "solvable"),
    [
        *(("symmetric", 0.9, k, k > 10) for k in (7, 8, 9, 11)),  # the true label leads below (K − 1)/K: 0.857, 0.875, 0.889, 0.909
        ("symmetric", 0.85, 7, True),
        ("symmetric", 0.49, 2, True),
        ("symmetric", 0.5, 2, False),
        ("pairflip", 0.45, 9, True),
        ("pairflip", 0.5, 9, False),
        ("pairflip", 0.55, 9, False),
    ],
)
def test_noise_that_hides_the_true_class_is_flagged(name: str, rate: float, classes: int, solvable: bool) -> None:
    """T_ii > T_ij for all j ≠ i, as it was drawn; beyond that no method can be expected to find the true class."""
    cls = Registry().load("noise", name)
    true = np.repeat(np.arange(classes), 1000)
    noisy = cls(cls.Params(rate=rate)).apply(Samples(true, classes), np.random.default_rng(0))
    assert record(true, noisy, classes, rate)["solvable"] is solvable


def test_empty_and_without_rate() -> None:
    empty = np.empty(0, dtype=np.int64)
    result = record(empty, empty, 2, None)
    assert result["realised_rate"] is None and result["nominal_rate"] is None and result["per_class_rate"] == [None, None]


def test_hash_depends_on_values_not_on_type_or_layout() -> None:
    noisy = np.array([0, 1, 1, 0, 1, 0])
    wanted = record(noisy, noisy, 2, None)["label_hash"]
    assert record(noisy, noisy.astype(np.int16), 2, None)["label_hash"] == wanted
    assert record(noisy, np.repeat(noisy, 2)[::2], 2, None)["label_hash"] == wanted
    assert record(noisy, noisy[::-1], 2, None)["label_hash"] != wanted


def test_refuses_what_does_not_fit() -> None:
    labels = np.array([0, 1])
    with pytest.raises(ValueError, match="equally long"):
        record(labels, labels[:1], 2, None)
    with pytest.raises(ValueError, match=r"\[0, 2\)"):
        record(labels, np.array([0, 2]), 2, None)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_agrees_with_counting(pairs: list[tuple[int, int]]) -> None:
    true, noisy = (np.array(column) for column in zip(*pairs, strict=True))
    result = record(true, noisy, 5, None)
    assert result["realised_rate"] == pytest.approx(np.mean(true != noisy))
    for label in range(5):
        row = noisy[true == label]
        expected = [None] * 5 if not len(row) else [pytest.approx(np.mean(row == other)) for other in range(5)]
        assert result["matrix"][label] == expected
    json.dumps(result, allow_nan=False)
