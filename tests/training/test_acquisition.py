"""Acquisition strategies: what they prefer, in hand-made pools."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.training.acquisition import (
    STRATEGIES,
    Pool,
    acquire,
    class_quotas,
    entropies,
    k_centre,
    mutual_information,
)

SURE, TORN, THREE_WAY = (0.98, 0.01, 0.01), (0.49, 0.49, 0.02), (0.4, 0.3, 0.3)


def pool(probabilities, *, features=None, **more) -> Pool:
    p = torch.tensor(probabilities, dtype=torch.float32)
    m = len(p)
    given = {"labels": torch.zeros(m, dtype=torch.int64), "quality": torch.arange(m, dtype=torch.float32)} | more
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(m, 4, generator=torch.Generator().manual_seed(1)) if features is None else torch.tensor(features)
    return Pool(p, drawn, nn.Linear(drawn.shape[1], p.shape[1]), generator=generator, **given)


def test_entropy_margin_and_least_confidence_differ_where_they_should() -> None:
    three = pool([SURE, TORN, THREE_WAY])
    assert acquire("entropy", three, 3).tolist() == [2, 1, 0]
    assert acquire("margin", three, 3).tolist() == [1, 2, 0]
    assert acquire("least_confidence", three, 3).tolist() == [2, 1, 0]


def test_entropy_is_not_negative_and_bears_a_certain_class() -> None:
    values = entropies(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    assert values.tolist() == pytest.approx([0.0, math.log(2)])


def test_label_quality_asks_about_the_worst_label_first() -> None:
    assert acquire("label_quality", pool([SURE] * 3, quality=torch.tensor([0.5, 0.1, 0.9])), 2).tolist() == [1, 0]


def test_vog_asks_about_the_highest_variance_first() -> None:
    assert acquire("vog", pool([SURE] * 3, vog=torch.tensor([0.5, 0.1, 0.9])), 2).tolist() == [2, 0]


def test_the_committee_disagrees_where_its_members_are_sure_of_different_classes() -> None:
    committee = torch.tensor([[[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]], [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]])
    assert mutual_information(committee).tolist() == pytest.approx([math.log(2), 0.0, 0.0])
    assert acquire("disagreement", pool([(0.5, 0.5)] * 3, committee=committee), 1).tolist() == [0]


def test_bald_is_zero_where_no_feature_matters_and_never_nan() -> None:
    """A sample without features is the same under every mask; a head that is all but certain has probabilities of 0."""
    made = pool([SURE] * 4, features=[[0.0, 0.0], [40.0, -40.0], [1.0, 1.0], [0.0, 0.0]])
    with torch.no_grad():
        made.head.weight.copy_(torch.tensor([[30.0, 0.0], [0.0, 30.0], [0.0, 0.0]]))
        made.head.bias.zero_()
    picks = acquire("bald", made, 4).tolist()
    assert sorted(picks) == [0, 1, 2, 3] and set(picks[2:]) == {0, 3}


def test_random_draws_anew_from_one_generator() -> None:
    made = pool([SURE] * 50)
    first, second = acquire("random", made, 10), acquire("random", made, 10)
    assert len(set(first.tolist())) == 10 and first.tolist() != second.tolist()


def test_k_centre_on_a_line() -> None:
    """0, 1, 2, 10, covered at 0: the farthest is 10, then 2 (2 from 0), then 1."""
    line = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    assert k_centre(line, 4, torch.tensor([[0.0]])).tolist() == [3, 2, 1, 0]


def test_k_centre_without_centres_begins_near_the_mean() -> None:
    assert k_centre(torch.tensor([[0.0], [4.0], [5.0], [9.0]]), 3).tolist()[0] in (1, 2)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_k_centre_agrees_with_the_definition(offset: float) -> None:
    """Also far from the origin, where distances from products of float32 numbers lose their digits."""
    rng = np.random.default_rng(0)
    points, covered = rng.normal(offset, size=(40, 5)), rng.normal(offset, size=(3, 5))
    centres, expected = [*covered], []
    for _ in range(10):
        distance = np.min([np.square(points - centre).sum(axis=1) for centre in centres], axis=0)
        distance[expected] = -1
        expected.append(int(distance.argmax()))
        centres.append(points[expected[-1]])
    assert k_centre(torch.from_numpy(points), 10, torch.from_numpy(covered)).tolist() == expected


def test_activelab_asks_first_where_the_model_doubts_the_given_label() -> None:
    doubtful = pool([(0.9, 0.1), (0.05, 0.95), (0.6, 0.4)])
    assert acquire("activelab", doubtful, 3).tolist() == [1, 2, 0]


def test_activelab_takes_what_annotators_said_before() -> None:
    """Half of the given labels were contradicted: what they say counts less, and the sample of which the model knows least comes first."""
    p = torch.tensor([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.1, 0.9]])
    answered = (p, torch.tensor([0, 1, 0, 0]), torch.tensor([0, 1, 1, 1]))
    assert acquire("activelab", pool([(0.9, 0.1), (0.05, 0.95), (0.6, 0.4)], answered=answered), 3)[0] == 2


def test_quotas_are_as_even_as_the_classes_allow() -> None:
    assert class_quotas([10, 10, 10], 6) == [2, 2, 2]
    assert class_quotas([100, 1, 3], 9) == [5, 1, 3]
    assert class_quotas([5, 0, 2], 2) == [1, 0, 1]
    assert class_quotas([5, 4, 2], 1) == [0, 0, 1]
    assert class_quotas([2, 2], 9) == [2, 2] and class_quotas([0, 0], 3) == [0, 0]


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@pytest.mark.parametrize("balanced", [False, True])
def test_every_strategy_picks_as_many_as_asked_each_once(name: str, balanced: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    p = torch.rand(30, 3, generator=generator).softmax(dim=1)
    more = {"vog": torch.rand(30, generator=generator), "committee": torch.stack([p, p.flip(1)]), "covered": torch.randn(4, 4)}
    made = pool(p.tolist(), **more)
    picks = acquire(name, made, 12, balanced=balanced).tolist()
    assert len(picks) == len(set(picks)) == 12 and set(picks) <= set(range(30))
    assert sorted(acquire(name, made, 99, balanced=balanced).tolist()) == list(range(30))


def test_balanced_picks_come_from_every_predicted_class() -> None:
    p = [SURE] * 20 + [(0.1, 0.8, 0.1), (0.1, 0.1, 0.8), (0.2, 0.3, 0.5)]
    picked = torch.tensor(p)[acquire("label_quality", pool(p), 6, balanced=True)].argmax(dim=1)
    assert torch.bincount(picked).tolist() == [3, 1, 2]
