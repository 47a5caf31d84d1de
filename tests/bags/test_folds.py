"""Bags that a method sets aside by itself: whole patients, both labels on both sides, or nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.bags.folds import bag_folds, held_out


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_share_of_either_label_is_held_out():
    labels = torch.tensor([1] * 20 + [0] * 30)
    out = held_out(labels, None, 0.2, rng())
    assert out.dtype == torch.bool and out.device.type == "cpu"
    assert int(out[:20].sum()) == 4 and int(out[20:].sum()) == 6
    assert torch.equal(out, held_out(labels, None, 0.2, rng())) and not torch.equal(out, held_out(labels, None, 0.2, rng(1)))


def test_patients_are_held_out_whole():
    labels, groups = torch.arange(60) % 2, torch.arange(60) // 4  # every patient has bags of both labels
    for seed in range(5):
        out = held_out(labels, groups, 0.2, rng(seed)).reshape(15, 4)
        assert torch.equal(out.all(dim=1), out.any(dim=1)) and int(out.all(dim=1).sum()) == 3


@pytest.mark.parametrize(
    ("labels", "groups", "share"),
    [
        ([1, 1, 0, 0], None, 0.0),
        ([1, 0, 0, 0], None, 0.5),  # the only positive bag is needed for training
        ([1, 1, 1, 1], None, 0.5),
        ([0, 0, 0, 0], None, 0.5),
        ([1, 0, 1, 0], [7, 7, 7, 7], 0.5),  # one patient
        ([1, 0], [0, 1], 0.5),
    ],
)
def test_nothing_is_held_out_where_a_side_would_lack_a_label(labels, groups, share):
    out = held_out(torch.tensor(labels), None if groups is None else torch.tensor(groups), share, rng())
    assert not out.any()


def test_at_least_one_bag_of_either_label_stays():
    out = held_out(torch.tensor([1, 1, 0, 0]), None, 0.9, rng())
    assert int(out[:2].sum()) == 1 and int(out[2:].sum()) == 1


def test_folds_are_even_and_have_as_many_positive_bags():
    labels = torch.tensor([1] * 9 + [0] * 12)
    fold = bag_folds(labels, None, 3, rng())
    assert fold.bincount().tolist() == [7, 7, 7] and fold[:9].bincount().tolist() == [3, 3, 3]
    assert not torch.equal(fold, bag_folds(labels, None, 3, rng(1)))


def test_no_patient_is_in_two_folds():
    groups = torch.arange(40) % 10
    fold = bag_folds(torch.arange(40) % 2, groups, 4, rng())
    assert all(len(fold[groups == patient].unique()) == 1 for patient in range(10)) and len(fold.unique()) == 4
