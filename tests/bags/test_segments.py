"""Operations within bags against a loop over bags, with numbers by hand and gradients; bags of one tile, of few, of equal values."""

from __future__ import annotations

import pytest
import torch

from benchmark.bags.segments import (
    bag_of_tile,
    bag_rows,
    segment_max,
    segment_mean,
    segment_softmax,
    segment_sum,
    segment_topk_mean,
    segment_weighted_sum,
    take_bags,
    top_count,
    top_fraction,
)
from benchmark.errors import BenchmarkError

OFFSETS = torch.tensor([0, 3, 4, 8])
VALUES = torch.tensor([1.0, 5.0, 5.0, -2.0, 0.0, 4.0, 3.0, 1.0])


def bags(values, offsets):
    """The bags one by one: what the operations must agree with."""
    return [values[a:b] for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]


def random_bags(n=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.randint(1, 9, (n,), generator=generator).cumsum(0)])
    total = int(offsets[-1])
    # few different values, so that ties are common
    return torch.randint(-3, 4, (total,), generator=generator).double(), offsets


def test_by_hand():
    assert bag_of_tile(OFFSETS, 8).tolist() == [0, 0, 0, 1, 2, 2, 2, 2]
    assert segment_sum(VALUES, OFFSETS).tolist() == [11, -2, 8]
    torch.testing.assert_close(segment_mean(VALUES, OFFSETS), torch.tensor([11 / 3, -2, 2]))
    highest, where = segment_max(VALUES, OFFSETS)
    assert highest.tolist() == [5, -2, 4]
    assert where.tolist() == [1, 3, 5]  # the first of the two fives
    assert segment_topk_mean(VALUES, OFFSETS, 2).tolist() == [5, -2, 3.5]
    assert segment_topk_mean(VALUES, OFFSETS, 1).tolist() == highest.tolist()
    torch.testing.assert_close(segment_topk_mean(VALUES, OFFSETS, 100), segment_mean(VALUES, OFFSETS))


def test_rows_of_several_numbers():
    rows = torch.stack([VALUES, 2 * VALUES], dim=1)
    assert segment_sum(rows, OFFSETS).tolist() == [[11, 22], [-2, -4], [8, 16]]
    torch.testing.assert_close(segment_mean(rows, OFFSETS)[:, 1], 2 * segment_mean(VALUES, OFFSETS))
    weights = torch.tensor([1.0, 0.0, 2.0, 3.0, 0.0, 0.0, 0.0, -1.0])
    assert segment_weighted_sum(rows, weights, OFFSETS).tolist() == [[11, 22], [-6, -12], [-1, -2]]


@pytest.mark.parametrize("seed", range(3))
def test_against_a_loop(seed):
    values, offsets = random_bags(seed=seed)
    parts = bags(values, offsets)
    bag = bag_of_tile(offsets, len(values))
    for given in (None, bag):
        torch.testing.assert_close(segment_sum(values, offsets, given), torch.stack([part.sum() for part in parts]))
        torch.testing.assert_close(segment_mean(values, offsets, given), torch.stack([part.mean() for part in parts]))
        torch.testing.assert_close(segment_softmax(values, offsets, given), torch.cat([part.softmax(0) for part in parts]))
        highest, where = segment_max(values, offsets, given)
        assert highest.tolist() == [part.max().item() for part in parts]
        # list.index is the first
        assert where.tolist() == [a + part.tolist().index(max(part)) for a, part in zip(offsets.tolist(), parts, strict=False)]
        expected = torch.stack([part.topk(min(3, len(part))).values.mean() for part in parts])
        torch.testing.assert_close(segment_topk_mean(values, offsets, 3, given), expected)


def test_gradients():
    offsets = torch.tensor([0, 3, 4, 7])
    values = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    rows = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    for work in (segment_sum, segment_mean, segment_softmax, lambda v, o: segment_max(v, o)[0], lambda v, o: segment_topk_mean(v, o, 2)):
        assert torch.autograd.gradcheck(lambda v, work=work: work(v, offsets), values)
    assert torch.autograd.gradcheck(lambda r, v: segment_weighted_sum(r, v, offsets), (rows, values))


def test_the_maximum_sends_its_gradient_to_the_first():
    values = VALUES.clone().requires_grad_()
    segment_max(values, OFFSETS)[0].sum().backward()
    assert values.grad.tolist() == [0, 1, 0, 1, 0, 1, 0, 0]


def test_softmax_of_huge_values():
    values = torch.tensor([1e30, 1e30, -1e4, -1e4, -3e38])
    assert segment_softmax(values, torch.tensor([0, 2, 5])).tolist() == [0.5, 0.5, 0.5, 0.5, 0.0]
    assert segment_softmax(torch.tensor([7.0]), torch.tensor([0, 1])).tolist() == [1.0]


def test_nan_stays_in_its_bag():
    values = torch.tensor([1.0, float("nan"), 2.0, 3.0])
    highest, where = segment_max(values, torch.tensor([0, 2, 4]))
    assert highest[0].isnan() and highest[1] == 3 and where.tolist() == [1, 3]
    weights = segment_softmax(values, torch.tensor([0, 2, 4]))
    assert weights[:2].isnan().all() and not weights[2:].isnan().any()


def test_minus_infinity_in_a_bag():
    highest, where = segment_max(torch.tensor([-torch.inf, -torch.inf, 1.0]), torch.tensor([0, 2, 3]))
    assert highest.tolist() == [-torch.inf, 1.0] and where.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("tiles", "share", "count"), [(1000, 0.05, 50), (10, 0.2, 2), (100, 0.29, 29), (7, 0.0, 1), (7, 1.0, 7), (1, 0.5, 1), (0, 0.5, 0)]
)
def test_top_fraction_is_exact(tiles, share, count):
    assert top_count(tiles, share) == count
    scores = torch.randperm(tiles, generator=torch.Generator().manual_seed(0))
    kept = top_fraction(scores, share)
    assert kept.sum() == count
    assert sorted(scores[kept].tolist()) == list(range(tiles - count, tiles))


def test_top_fraction_is_what_lies_above_the_quantile():
    for tiles in range(1, 60):
        scores = torch.randperm(tiles, generator=torch.Generator().manual_seed(tiles)).double()
        for share in (0.05, 0.2, 0.5, 0.8):
            assert torch.equal(top_fraction(scores, share), scores >= scores.quantile(1 - share) - 1e-9)


def test_top_fraction_of_equal_scores():
    assert top_fraction(torch.ones(10), 0.3).tolist() == [True] * 3 + [False] * 7
    # a cut at the quantile would take all four
    assert top_fraction(torch.tensor([0.9, 0.5, 0.5, 0.5, 0.5, 0.1]), 0.5).tolist() == [True, True, True, False, False, False]


def test_take_bags():
    rows, offsets = bag_rows(OFFSETS, torch.tensor([2, 0]))
    assert rows.tolist() == [4, 5, 6, 7, 0, 1, 2] and offsets.tolist() == [0, 4, 7]
    tiles, offsets = take_bags(VALUES, OFFSETS, torch.tensor([1, 1]))
    assert tiles.tolist() == [-2, -2] and offsets.tolist() == [0, 1, 2]
    pixels = torch.arange(8 * 12, dtype=torch.uint8).view(8, 2, 2, 3)
    tiles, offsets = take_bags(pixels, OFFSETS, torch.tensor([1, 0]))
    assert tiles.dtype == torch.uint8 and torch.equal(tiles, pixels[[3, 0, 1, 2]]) and offsets.tolist() == [0, 1, 4]
    everything, offsets = take_bags(VALUES, OFFSETS, torch.arange(3))
    assert torch.equal(everything, VALUES) and torch.equal(offsets, OFFSETS)
    tiles, offsets = take_bags(VALUES, OFFSETS, torch.tensor([], dtype=torch.int64))
    assert len(tiles) == 0 and offsets.tolist() == [0]


def test_refusals():
    with pytest.raises(BenchmarkError, match="mean of the top 0 tiles"):
        segment_topk_mean(VALUES, OFFSETS, 0)
    for share in (-0.1, 1.5, float("nan")):
        with pytest.raises(BenchmarkError, match="between 0 and 1"):
            top_fraction(VALUES, share)
