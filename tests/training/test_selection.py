"""Small-loss selection and its ramp, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.training.detect import lowest_share
from benchmark.training.selection import capped_epochs, forget_rate, keep_count, keep_mask, masked_mean, rank_within, small_loss


def test_the_ramp_is_that_of_the_released_program() -> None:
    for rate, gradual, exponent in ((0.2, 10, 1.0), (0.45, 5, 0.5), (0.3, 2, 2.0)):
        released = np.full(20, rate)
        released[:gradual] = np.linspace(0, rate**exponent, gradual)
        assert [forget_rate(e, rate, gradual, exponent) for e in range(20)] == pytest.approx(released.tolist())


def test_values_of_the_ramp() -> None:
    assert [forget_rate(e, 0.2, 5) for e in range(7)] == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2, 0.2, 0.2])
    assert forget_rate(0, 0.2, 1) == 0.2


@pytest.mark.parametrize(
    ("batch", "forget", "kept"), [(10, 0.0, 10), (10, 0.3, 7), (10, 0.35, 6), (100, 0.29, 71), (3, 0.95, 1), (1, 0.5, 1)]
)
def test_keep_count(batch: int, forget: float, kept: int) -> None:
    assert keep_count(batch, forget) == kept


def test_small_loss_picks_the_smallest() -> None:
    losses = torch.tensor([0.9, 0.1, float("nan"), 0.5], requires_grad=True)
    picked = small_loss(losses, 0.5)
    assert sorted(picked.tolist()) == [1, 3]
    assert sorted(small_loss(losses, 0.0).tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("published", "epochs", "share", "cap"), [(10, 200, 0.25, 10), (10, 20, 0.25, 5), (10, 1, 0.25, 1), (50, 100, 0.29, 29)]
)
def test_published_epochs_are_capped(published: int, epochs: int, share: float, cap: int) -> None:
    assert capped_epochs(published, epochs, share) == cap


def test_keep_mask_over_all_is_small_loss() -> None:
    losses = torch.tensor([3.0, 1.0, 2.0, 0.5, 9.0])
    mask = keep_mask(losses, 0.4)
    assert sorted(mask.nonzero().squeeze(1).tolist()) == sorted(small_loss(losses, 0.4).tolist()) == [1, 2, 3]
    assert masked_mean(losses, mask).item() == pytest.approx(3.5 / 3)


def test_keep_mask_within_classes_gives_no_class_up() -> None:
    losses = torch.tensor([0.1, 0.2, 0.3, 0.4, 7.0, 9.0, 8.0, 5.0])
    labels = torch.tensor([0, 0, 0, 0, 2, 2, 2, 1])
    assert keep_mask(losses, 0.5).tolist() == [True] * 4 + [False] * 4
    # half of four, ⌊1.5⌋ = 1 of three, and the only one
    assert keep_mask(losses, 0.5, labels).tolist() == [True, True, False, False, True, False, False, True]
    assert keep_mask(losses, 0.0, labels).all()


def test_rank_within_groups() -> None:
    rank, size = rank_within(torch.tensor([3.0, 1.0, 2.0, 1.0, 0.0]), torch.tensor([1, 1, 0, 1, 0]))
    assert rank.tolist() == [2, 0, 1, 1, 0]
    assert size.tolist() == [3, 3, 2, 3, 2]


def test_no_samples_have_no_ranks() -> None:
    rank, size = rank_within(torch.empty(0), torch.empty(0, dtype=torch.long))
    assert rank.shape == size.shape == (0,)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_kept_and_what_is_flagged_go_by_one_rank(seed: int) -> None:
    """Against the definitions, one class at a time: the ⌊(1 − f) b⌋ of lowest loss, at least 1, and the ⌊r b⌋ of lowest quality."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 12, (80,), generator=generator).float()  # with ties, which go by position
    labels = torch.randint(0, 30, (80,), generator=generator)  # small classes, and some without samples
    kept, flagged = torch.zeros(80, dtype=torch.bool), torch.zeros(80, dtype=torch.bool)
    for k in labels.unique():
        members = torch.where(labels == k)[0]
        members = members[scores[members].argsort(stable=True)]
        kept[members[: max(1, int(0.7 * len(members) + 1e-6))]] = True
        flagged[members[: int(0.3 * len(members) + 1e-9)]] = True
    assert torch.equal(keep_mask(scores, 0.3, labels), kept)
    assert torch.equal(lowest_share(scores, 0.3, labels), flagged)


def test_nothing_kept_means_nothing_learned() -> None:
    losses = torch.ones(3, requires_grad=True)
    loss = masked_mean(losses, torch.zeros(3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and losses.grad is not None and losses.grad.tolist() == [0, 0, 0]
