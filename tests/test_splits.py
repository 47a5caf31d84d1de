from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from benchmark.errors import BenchmarkError
from benchmark.splits import split_indices


def split(labels: Any, groups: Any = None, given_split: Any = None, **options: Any) -> dict[str, np.ndarray]:
    settings_ = {"test_fraction": 0.25, "val_fraction": 0.2, "rng_names": ("data", 0), **options}
    arrays = [None if values is None else np.asarray(values) for values in (labels, groups, given_split)]
    return split_indices(arrays[0], arrays[1], arrays[2], **settings_)  # type: ignore[arg-type]


def check_partition(parts: dict[str, np.ndarray], n: int) -> None:
    assert list(parts) == ["train", "val", "test"]
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(n))
    for positions in parts.values():
        assert len(positions) and positions.dtype == np.int64 and (np.diff(positions) > 0).all()


def test_by_hand() -> None:
    labels = np.repeat([0, 1, 2], [40, 20, 20])
    parts = split(labels)
    check_partition(parts, 80)
    assert np.bincount(labels[parts["test"]]).tolist() == [10, 5, 5]
    assert np.bincount(labels[parts["val"]]).tolist() == [6, 3, 3]  # a fifth of the 30, 15 and 15 that do not test
    assert np.bincount(labels[parts["train"]]).tolist() == [24, 12, 12]


def test_depends_on_the_names_only() -> None:
    labels = np.arange(100) % 3
    first, again, other = split(labels), split(labels), split(labels, rng_names=("data", 1))
    assert all(np.array_equal(first[part], again[part]) for part in first)
    assert not np.array_equal(first["test"], other["test"])


@given(st.lists(st.integers(0, 5), min_size=3, max_size=80), st.floats(0.05, 0.9), st.floats(0.05, 0.9), st.integers(0, 9))
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.filter_too_much])
def test_always_a_stratified_partition(labels: list[int], test_fraction: float, val_fraction: float, seed: int) -> None:
    y = np.array(labels)
    counts = np.bincount(y, minlength=6)
    assume(_spare(counts, test_fraction))
    parts = split(y, test_fraction=test_fraction, val_fraction=val_fraction, rng_names=(seed,))
    check_partition(parts, len(y))
    assert set(y[parts["train"]]) == set(labels)
    tested = np.bincount(y[parts["test"]], minlength=6)
    assert (tested <= np.floor(test_fraction * counts) + 1).all()
    assert (tested >= np.minimum(np.floor(test_fraction * counts), counts - 1)).all()


def _spare(counts: np.ndarray, test_fraction: float) -> bool:
    """Whether the test part is sure to leave a class with two samples, one of them to validate."""
    return bool((counts - np.minimum(np.floor(test_fraction * counts) + 1, np.maximum(counts - 1, 0)) >= 2).any())


def test_tiny_classes_train_first() -> None:
    labels = np.array([0] * 40 + [1] + [2, 2])
    for seed in range(20):
        parts = split(labels, rng_names=(seed,), test_fraction=0.5, val_fraction=0.5)
        assert set(labels[parts["train"]]) == {0, 1, 2}
        assert 1 not in labels[np.concatenate([parts["val"], parts["test"]])]


@given(st.integers(4, 30), st.integers(1, 12), st.integers(2, 4), st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_groups_stay_whole(n_groups: int, group_size: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(rng.permutation(n_groups) * 7 - 3, group_size))
    labels = rng.integers(0, k, len(groups))
    try:
        parts = split(labels, groups, rng_names=(seed,))
    except BenchmarkError:
        assume(False)
    check_partition(parts, len(groups))
    members = [set(groups[positions]) for positions in parts.values()]
    assert not (members[0] & members[1] or members[0] & members[2] or members[1] & members[2])
    assert set(labels[parts["train"]]) == set(labels)


def test_groups_are_stratified_as_far_as_they_allow() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 40)
    labels = rng.integers(0, 4, 1600)
    for seed in range(5):
        parts = split(labels, groups, rng_names=(seed,))
        shares = np.bincount(labels[parts["test"]], minlength=4) / np.bincount(labels)
        assert np.allclose(shares, 0.25, atol=0.04)
        assert len(parts["test"]) / 1600 == pytest.approx(0.25, abs=0.03)
        assert len(parts["val"]) / (1600 - len(parts["test"])) == pytest.approx(0.2, abs=0.03)


def test_groups_drawn_differ_between_seeds() -> None:
    groups = np.repeat(np.arange(20), 10)
    labels = np.arange(200) % 2
    assert len({tuple(split(labels, groups, rng_names=(seed,))["test"]) for seed in range(6)}) > 3


def test_official_split_is_respected() -> None:
    labels, codes = np.arange(40) % 2, np.repeat([0, 1, 2], [20, 12, 8])
    parts = split(labels, given_split=codes)
    assert parts["train"].tolist() == list(range(20)) and parts["val"].tolist() == list(range(20, 32))
    assert parts["test"].tolist() == list(range(32, 40))


def test_missing_parts_are_carved_from_the_training_part() -> None:
    labels = np.arange(40) % 2
    parts = split(labels, given_split=np.repeat([0, 2], [30, 10]))
    assert parts["test"].tolist() == list(range(30, 40)) and len(parts["val"]) == 6
    parts = split(labels, given_split=np.repeat([0, 1], [32, 8]))
    assert parts["val"].tolist() == list(range(32, 40)) and len(parts["test"]) == 8
    check_partition(parts, 40)


def test_official_split_must_not_tear_groups() -> None:
    with pytest.raises(BenchmarkError, match="tears 1 of 3 groups apart"):
        split([0, 1, 0, 1], groups=[5, 5, 6, 7], given_split=[0, 2, 0, 0])


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0, 1, 2], {}, "the test part would be empty: 3 samples in 3 classes are too few"),
        ([0, 0, 1], {}, "the validation part would be empty: 2 samples in 2 classes are too few"),
        ([], {}, "the test part would be empty: 0 samples"),
        ([0, 1] * 9, {"groups": [0] * 18}, "the test part would be empty: 18 samples in 2 classes and 1 groups"),
        ([0, 1] * 9, {"groups": [0, 0, 1] * 6}, "the validation part would be empty"),
        ([0, 0, 1, 1], {"groups": [0, 0, 1, 1]}, "training keeps at least one group of each class"),
        ([0, 1] * 9, {"val_fraction": 0.0}, "the validation part is empty because val_fraction is 0"),
        ([0, 1] * 9, {"test_fraction": 0.0}, "the test part is empty because test_fraction is 0"),
        ([0, 1] * 9, {"given_split": [1, 2] * 9}, "the training part is empty"),
        ([0, 1] * 9, {"given_split": [0, 3] * 9}, "codes outside 0 to 2"),
    ],
)
def test_what_cannot_be_split(labels: list[int], options: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message) as caught:
        split(np.array(labels, dtype=np.int64), **options)
    assert "\n" not in str(caught.value)
