"""Two folds by patient."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.errors import BenchmarkError
from benchmark.segmentation.folds import halves


@pytest.mark.parametrize(
    ("sizes", "difference"),
    [([1] * 10, 0), ([1] * 7, 1), ([3, 3, 2, 2, 2], 0), ([9, 1, 1], 7), ([5, 5], 0), ([4, 2], 2)],
)
def test_sizes_are_as_even_as_patients_allow(sizes, difference):
    groups = np.repeat(np.arange(len(sizes)) * 10, sizes)
    groups = np.random.default_rng(1).permutation(groups)
    for seed in range(20):
        folds = halves(groups, np.random.default_rng(seed))
        assert abs(int((folds == 0).sum()) - int((folds == 1).sum())) == difference
        assert all(np.ptp(folds[groups == group]) == 0 for group in np.unique(groups))


def test_the_generator_decides_and_nothing_else():
    groups = np.array(["b", "a", "c", "d", "a", "e"])
    splits = {tuple(halves(groups, np.random.default_rng(seed))) for seed in range(40)}
    assert len(splits) > 6
    np.testing.assert_array_equal(halves(groups, np.random.default_rng(5)), halves(groups, np.random.default_rng(5)))


@pytest.mark.parametrize(("groups", "found"), [([3], "found 1 image;"), ([3, 3, 3], "found 3 images of 1 patient;"), ([], "found 0 image")])
def test_one_patient_cannot_be_split(groups, found):
    with pytest.raises(BenchmarkError, match=found):
        halves(np.array(groups), np.random.default_rng(0))
