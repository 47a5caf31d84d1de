"""Losses of bags against numbers by hand; pairs of bags together against one by one; SupCon against a loop over anchors."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from benchmark.bags.losses import bag_cross_entropy, ranking_loss, supervised_contrastive, two_stream_loss
from benchmark.bags.networks import BagOutput
from benchmark.errors import BenchmarkError

OFFSETS = torch.tensor([0, 3, 4, 6])


def test_bag_cross_entropy():
    logits = torch.tensor([math.log(3), math.log(3)])  # p = 3/4
    assert bag_cross_entropy(logits, torch.tensor([1, 0])).item() == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)
    # the gradient of a surely wrong bag is whole
    sure = torch.tensor([-200.0], requires_grad=True)
    bag_cross_entropy(sure, torch.tensor([1])).backward()
    assert sure.grad.item() == -1


def test_two_streams():
    instances = torch.tensor([0.0, math.log(3), -1.0, -math.log(3), -5.0, 0.0], requires_grad=True)
    output = BagOutput(torch.zeros(3, requires_grad=True), instances, None)
    labels = torch.tensor([1, 0, 0])
    loss = two_stream_loss(output, OFFSETS, labels, bag_share=0.5, instance_share=0.25)
    assert loss.item() == pytest.approx(0.5 * math.log(2) + 0.25 * (2 * math.log(4 / 3) + math.log(2)) / 3)
    loss.backward()
    assert instances.grad.nonzero().flatten().tolist() == [1, 3, 5]  # the largest of each bag
    assert output.bag_logits.grad.tolist() == pytest.approx([-0.25 / 3, 0.25 / 3, 0.25 / 3])
    only = two_stream_loss(output, OFFSETS, labels, instance_share=0.0, bag_share=1.0)
    assert only.item() == pytest.approx(math.log(2))


def test_ranking_by_hand():
    logits = torch.tensor([2.0, 1.0, -4.0, 0.5, 3.0, -3.0], requires_grad=True)
    positive, negative = torch.tensor([0]), torch.tensor([1])
    # mean top 2: 1.5 and, of the one tile, 0.5; so exactly a margin of 1 apart
    assert ranking_loss(logits, OFFSETS, positive, negative, k=2).item() == 0
    assert ranking_loss(logits, OFFSETS, positive, negative, k=2, margin=1.5).item() == pytest.approx(0.5)
    # K = 10 > 3 tiles: −1/3 and 0.5
    assert ranking_loss(logits, OFFSETS, positive, negative).item() == pytest.approx(1 + 1 / 3 + 0.5)
    # two pairs, one of them met: (0 + 1 − 0 + 1.5)/2
    loss = ranking_loss(logits, OFFSETS, torch.tensor([0, 2]), torch.tensor([1, 0]), k=2)
    assert loss.item() == pytest.approx((0 + 1 - 0 + 1.5) / 2)
    loss.backward()
    assert logits.grad.tolist() == pytest.approx([0.25, 0.25, 0, 0, -0.25, -0.25])


def test_ranking_of_probabilities_never_ends():
    logits = torch.tensor([20.0, -20.0, -20.0, 0.0, -3.0, -3.0], requires_grad=True)
    first, last = torch.tensor([0]), torch.tensor([2])
    assert ranking_loss(logits, OFFSETS, first, last, k=1).item() == 0
    loss = ranking_loss(logits, OFFSETS, first, last, k=1, score_space="prob")
    assert loss.item() == pytest.approx(1 - 1 + 1 / (1 + math.exp(3)), abs=1e-6)
    loss.backward()
    assert logits.grad[4] > 0


def test_ranking_of_many_pairs_is_the_mean_of_each():
    generator = torch.Generator().manual_seed(0)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.randint(1, 15, (20,), generator=generator).cumsum(0)])
    logits = torch.randn(int(offsets[-1]), generator=generator)
    positive, negative = torch.randint(20, (2, 30), generator=generator)
    alone = []
    for i, j in zip(positive.tolist(), negative.tolist(), strict=True):
        bags = [logits[offsets[b] : offsets[b + 1]] for b in (i, j)]
        top = [bag.topk(min(4, len(bag))).values.mean() for bag in bags]
        alone.append(max(0.0, (1 - top[0] + top[1]).item()))
    assert ranking_loss(logits, offsets, positive, negative, k=4).item() == pytest.approx(sum(alone) / 30, rel=1e-5)


def test_ranking_without_pairs():
    logits = torch.zeros(6, requires_grad=True)
    none = torch.tensor([], dtype=torch.int64)
    loss = ranking_loss(logits, OFFSETS, none, none)
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_ranking_refusals():
    with pytest.raises(BenchmarkError, match="unknown score space 'probs'; did you mean 'prob'"):
        ranking_loss(torch.zeros(6), OFFSETS, torch.tensor([0]), torch.tensor([1]), score_space="probs")
    with pytest.raises(BenchmarkError, match="top 0 tiles"):
        ranking_loss(torch.zeros(6), OFFSETS, torch.tensor([0]), torch.tensor([1]), k=0)


# -------------------------------------------------------------------------------------------------------------- SupCon


def naive(z, labels, temperature, pairs_of=None):
    """The losses of the anchors that have partners, anchor by anchor."""
    losses = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        partners = [p for p in others if labels[p] == labels[i] and pairs_of in (None, int(labels[i]))]
        if partners:
            below = sum(math.exp(z[i] @ z[a] / temperature) for a in others)
            losses.append(-sum(math.log(math.exp(z[i] @ z[p] / temperature) / below) for p in partners) / len(partners))
    return losses


def units(rows, seed=0):
    return F.normalize(torch.randn(rows, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_contrastive_by_hand():
    # two equal rows and one at right angles; T = 1: −log(e/(e + 1)) for each of the two
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    labels = torch.tensor([1, 1, 0])
    expected = math.log(1 + math.exp(-1))
    assert supervised_contrastive(z, labels, temperature=1.0).item() == pytest.approx(expected)
    assert supervised_contrastive(z, labels, temperature=1.0, legacy_scale=True).item() == pytest.approx(expected * 2 / 3)
    assert supervised_contrastive(z, labels, temperature=1.0, pairs_of=1).item() == pytest.approx(expected)


@pytest.mark.parametrize("pairs_of", [None, 0, 1])
def test_contrastive_against_a_loop(pairs_of):
    z, labels = units(9), torch.tensor([0, 0, 1, 0, 1, 1, 0, 2, 0])
    losses = naive(z, labels, 0.3, pairs_of)
    options = {"temperature": 0.3, "pairs_of": pairs_of}
    assert supervised_contrastive(z, labels, **options).item() == pytest.approx(sum(losses) / len(losses))
    assert supervised_contrastive(z, labels, **options, legacy_scale=True).item() == pytest.approx(sum(losses) / 9)
    leaf = z.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: supervised_contrastive(rows, labels, **options), leaf)


def crowd(unpaired):
    """Ten rows of label 1 near each other, and others of label 0 on the far side, which weigh e^(−2/0.07) in their denominators."""
    near = F.normalize(torch.eye(4, dtype=torch.float64)[:1] + 0.1 * units(10), dim=1)
    far = -torch.eye(4, dtype=torch.float64)[:1].expand(unpaired, -1)
    return torch.cat([near, far]), torch.cat([torch.ones(10), torch.zeros(unpaired)])


def test_anchors_without_partners_change_no_average():
    few = supervised_contrastive(*crowd(0)).item()
    assert supervised_contrastive(*crowd(14), pairs_of=1).item() == pytest.approx(few)
    # the released scale: the share of anchors that have partners
    assert supervised_contrastive(*crowd(15), pairs_of=1, legacy_scale=True).item() == pytest.approx(few * 10 / 25)


def test_gradient_does_not_depend_on_the_share_of_anchors():
    def norm(unpaired, legacy):
        z, labels = crowd(unpaired)
        z = z.clone().requires_grad_()
        supervised_contrastive(z, labels, pairs_of=1, legacy_scale=legacy).backward()
        return z.grad.norm().item()

    assert norm(190, False) == pytest.approx(norm(10, False))
    assert norm(190, True) == pytest.approx(norm(10, False) * 0.05)


@pytest.mark.parametrize("labels", [[0, 1, 2], [1, 1, 1]])
def test_no_anchor_at_all(labels):
    z = units(3).requires_grad_()
    loss = supervised_contrastive(z, torch.tensor(labels), pairs_of=0)
    loss.backward()
    assert loss.item() == 0 and not z.grad.any()


def test_one_row_and_none():
    for rows in (0, 1):
        assert supervised_contrastive(units(rows), torch.zeros(rows)).item() == 0


def test_half_precision_and_small_temperatures():
    z, labels = units(16).half(), torch.arange(16) % 2
    loss = supervised_contrastive(z, labels, temperature=0.001)
    assert loss.dtype == torch.float32 and loss.isfinite()
    exact = supervised_contrastive(units(16), labels)
    assert supervised_contrastive(z, labels).item() == pytest.approx(exact.item(), rel=0.02)
