"""Pools of tiles by hand, on training bags alone; the schedule's numbers; when pseudo labels change; batches without repetitions."""

from __future__ import annotations

import pytest
import torch

from benchmark.bags.pools import PseudoLabels, build_pools, draw_bag_pairs, draw_tile_batches, instance_labels, paced_share
from benchmark.errors import BenchmarkError, DivergedError

OFFSETS = torch.tensor([0, 4, 5, 9, 12])
LABELS = torch.tensor([1, 1, 0, 0])
SCORES = torch.tensor([0.9, 0.4, 0.3, 0.05, 0.35, 0.2, 0.8, 0.1, 0.6, 0.7, 0.0, 0.15])
ALL = torch.ones(4, dtype=torch.bool)


def pools(scores=SCORES, labels=LABELS, training=ALL, **options):
    built = build_pools(scores, OFFSETS, labels, training, **options)
    return {name: getattr(built, name).tolist() for name in ("pos_full", "pos_spl", "neg_clean", "neg_spl")}


def test_by_hand():
    # above 0.3 in the two positive bags: 0.9, 0.4 and 0.35; the third tile is at the threshold, not above it
    assert pools(positive_share=0.5, hard_share=0.5) == {
        "pos_full": [0, 1, 4],
        "pos_spl": [0, 1],  # 1 + ⌊0.5 · 2⌋
        "neg_clean": [5, 6, 8, 9],  # 1 + ⌊0.5 · 6⌋ of both negative bags together: 0.8, 0.7, 0.6, 0.2
        "neg_spl": [5, 6, 8, 9],
    }
    assert pools(hard_share=1.0)["neg_clean"] == list(range(5, 12))
    assert pools(hard_share=0.0)["neg_clean"] == [6]


def test_after_the_first_update():
    # of 0.3 and 0.05 the lower one joins; with a share of 0 too, and with a share of 1 both
    for share, added in ((0.5, [3]), (0.0, [3]), (1.0, [2, 3])):
        assert pools(hard_share=0.0, added_share=share)["neg_spl"] == [*added, 6]
        assert pools(hard_share=0.0, added_share=share)["neg_clean"] == [6]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_hard_negatives_are_an_exact_share(share):
    generator = torch.Generator().manual_seed(0)
    offsets = torch.arange(0, 2001, 100)
    labels = (torch.arange(20) < 10).long()
    scores = torch.randint(5, (2000,), generator=generator) / 5  # many equal ones: a cut at the quantile would take more
    built = build_pools(scores, offsets, labels, torch.ones(20, dtype=torch.bool), hard_share=share)
    hard = built.neg_clean
    assert len(hard) == share * 1000 and (hard >= 1000).all()
    left = torch.ones(2000, dtype=torch.bool)
    left[hard] = False
    assert scores[hard].min() >= scores[1000:][left[1000:]].max()


def test_only_training_bags():
    training = torch.tensor([True, False, True, False])
    taken = pools(training=training, hard_share=1.0, positive_share=1.0, added_share=1.0)
    assert taken == {"pos_full": [0, 1], "pos_spl": [0, 1], "neg_clean": [5, 6, 7, 8], "neg_spl": [2, 3, 5, 6, 7, 8]}
    # what the other bags hold changes no quantile, not even as nonsense
    for value in (0.0, 1.0, float("nan")):
        other = SCORES.clone()
        other[4] = other[9:] = value
        for shares in ({}, {"positive_share": 0.5, "hard_share": 0.4, "added_share": 0.3}):
            assert pools(other, training=training, **shares) == pools(training=training, **shares)


def test_one_label_alone():
    negative = pools(labels=torch.zeros(4, dtype=torch.int64), hard_share=0.5, added_share=0.5)
    assert negative["pos_full"] == negative["pos_spl"] == [] and len(negative["neg_clean"]) == 6  # 1 + ⌊0.5 · 11⌋
    assert negative["neg_spl"] == negative["neg_clean"]
    positive = pools(labels=torch.ones(4, dtype=torch.int64), added_share=0.0)
    assert positive["neg_clean"] == [] and positive["neg_spl"] == [10]
    nothing_confident = pools(scores=SCORES / 10)
    assert nothing_confident["pos_full"] == nothing_confident["pos_spl"] == []


def test_instance_labels():
    assert instance_labels(SCORES, OFFSETS, LABELS).tolist() == [1, 1, 0, 0, 1] + [0] * 7
    assert instance_labels(SCORES, OFFSETS, LABELS, 0.35).sum() == 2


def test_pool_refusals():
    with pytest.raises(BenchmarkError, match="no training bag"):
        pools(training=~ALL)
    with pytest.raises(BenchmarkError, match="threshold of pseudo labels lies between 0 and 1, not at 2"):
        pools(threshold=2.0)
    with pytest.raises(BenchmarkError, match="a share of tiles lies between 0 and 1"):
        pools(hard_share=5.0)
    broken = SCORES.clone()
    broken[2] = float("nan")
    with pytest.raises(DivergedError, match="not finite"):
        pools(broken)


# ------------------------------------------------------------------------------------------------ schedule, pseudo labels


@pytest.mark.parametrize(("epoch", "share"), [(0, 0.2), (4, 0.2), (5, 0.2), (24, 0.32), (50, 0.484), (99, 0.794)])
def test_schedule(epoch, share):
    assert paced_share(epoch, first=0.2, last=0.8, warmup=5, epochs=100) == pytest.approx(share, abs=5e-4)


def test_schedule_of_a_short_run():
    for epoch in range(6):
        assert paced_share(epoch, first=0.2, last=0.8, warmup=5, epochs=5) == 0.2
    assert paced_share(3, first=0.2, last=0.8, warmup=0, epochs=4) == pytest.approx(0.65)


def test_pseudo_labels_change_only_with_validation():
    first = torch.tensor([0.2, 0.8])
    labels = PseudoLabels(first, 0.5)
    first[:] = 9.0  # a copy was taken
    held = labels.scores
    assert not labels.offer(torch.tensor([0.0, 0.0]), 0.4) and labels.updates == 0
    assert not labels.offer(torch.tensor([0.0, 0.0]), float("nan"))
    assert torch.equal(labels.scores, torch.tensor([0.2, 0.8]))
    second = torch.tensor([0.4, 0.6])
    assert labels.offer(second, 0.5) and labels.updates == 1  # as good is good enough
    second[:] = 9.0
    assert torch.equal(labels.scores, torch.tensor([0.4, 0.6])) and labels.best == 0.5
    assert torch.equal(held, torch.tensor([0.2, 0.8]))
    assert labels.offer(first, 0.9) and not labels.offer(first, 0.8) and labels.best == 0.9


def test_moving_average():
    first = torch.tensor([0.0, 1.0])
    labels = PseudoLabels(first, float("nan"), keep=0.3)
    held = labels.scores
    assert labels.offer(torch.tensor([1.0, 0.0]), 0.1)
    torch.testing.assert_close(labels.scores, torch.tensor([0.7, 0.3]))
    assert not labels.offer(torch.tensor([1.0, 0.0]), 0.0)
    assert labels.offer(torch.tensor([1.0, 1.0]), 0.1)
    torch.testing.assert_close(labels.scores, torch.tensor([0.91, 0.79]))
    assert held.tolist() == first.tolist() == [0.0, 1.0]


def test_pseudo_labels_from_a_checkpoint():
    labels = PseudoLabels(torch.tensor([0.0, 1.0]), 0.1)
    labels.offer(torch.tensor([0.5, 0.5]), 0.7)
    resumed = PseudoLabels(torch.zeros(2), 0.0)
    resumed.load_state_dict(labels.state_dict())
    assert not resumed.offer(torch.zeros(2), 0.6) and resumed.updates == 1 and resumed.scores.tolist() == [0.5, 0.5]


def test_pseudo_label_refusals():
    with pytest.raises(BenchmarkError, match=r"lies in \[0, 1\), not at 1"):
        PseudoLabels(torch.zeros(2), 0.0, keep=1.0)
    with pytest.raises(BenchmarkError, match="3 pseudo labels for 2 tiles"):
        PseudoLabels(torch.zeros(2), 0.0).offer(torch.zeros(3), 1.0)


# ------------------------------------------------------------------------------------------------------------- batches


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_batches():
    negative, positive = torch.arange(100, 150), torch.arange(3, 10)
    batches = draw_tile_batches(negative, positive, 10, 0.2, generator())
    assert batches.negative.shape == (6, 8) and batches.positive.shape == (6, 2)  # 50 // 8 batches
    assert batches.negative.unique().numel() == 48  # one pass: no negative twice
    assert set(batches.positive.flatten().tolist()) <= set(positive.tolist())
    for row in batches.positive.tolist():
        assert len(set(row)) == 2
    assert batches.positive[:3].unique().numel() == 6  # no positive comes again before the pool is used up
    again = draw_tile_batches(negative, positive, 10, 0.2, generator())
    assert torch.equal(batches.negative, again.negative) and torch.equal(batches.positive, again.positive)
    other = draw_tile_batches(negative, positive, 10, 0.2, generator(1))
    assert not torch.equal(batches.negative, other.negative)


def test_every_tile_of_a_pool_has_the_same_chance():
    counts = torch.bincount(draw_tile_batches(torch.arange(7), torch.arange(7, 9), 4, 0.25, generator(), batches=7000).negative.flatten())
    assert counts.sum() == 21_000 and (counts - 3000).abs().max() < 150


def test_small_and_empty_pools():
    three, none = torch.arange(3), torch.tensor([], dtype=torch.int64)
    batches = draw_tile_batches(three, torch.tensor([7]), 10, 0.5, generator(), batches=4)
    assert batches.negative.sort(dim=1).values.tolist() == [[0, 1, 2]] * 4 and batches.positive.tolist() == [[7]] * 4
    batches = draw_tile_batches(three, none, 4, 0.5, generator())
    assert batches.negative.shape == (1, 2) and batches.positive.shape == (1, 0)
    batches = draw_tile_batches(none, three, 4, 0.5, generator())
    assert batches.negative.shape == (1, 0) and batches.positive.shape == (1, 2)
    # a share that rounds to none or all still leaves one of either
    assert draw_tile_batches(three, three, 3, 0.01, generator()).positive.shape[1] == 1
    assert draw_tile_batches(three, three, 3, 0.99, generator()).negative.shape[1] == 1


def test_batch_refusals():
    tiles, none = torch.arange(3), torch.tensor([], dtype=torch.int64)
    with pytest.raises(BenchmarkError, match="both pools of tiles are empty"):
        draw_tile_batches(none, none, 4, 0.5, generator())
    for size, ratio in ((1, 0.5), (4, 0.0), (4, 1.0)):
        with pytest.raises(BenchmarkError, match="has not both"):
            draw_tile_batches(tiles, tiles, size, ratio, generator())


def test_pairs_of_bags():
    labels = torch.tensor([1, 0, 0, 1, 0, 0, 0])
    positive, negative = draw_bag_pairs(labels, generator())
    assert len(positive) == 5 and sorted(negative.tolist()) == [1, 2, 4, 5, 6]
    assert sorted(torch.bincount(positive, minlength=4).tolist()) == [0, 0, 2, 3]
    assert (labels[positive] == 1).all() and (labels[negative] == 0).all()
    assert draw_bag_pairs(labels, generator(1))[1].tolist() != draw_bag_pairs(labels, generator(2))[1].tolist()
    for alone in (torch.zeros(3), torch.ones(3)):
        assert [len(members) for members in draw_bag_pairs(alone, generator())] == [0, 0]
