"""What methods with two networks share, by hand; and that each of them withstands wrong labels better than cross-entropy."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.api import TrainingData
from benchmark.conformance import tiny_run
from benchmark.params import resolve
from benchmark.registry import Registry
from benchmark.spec import protocol
from benchmark.training.context import RunContext
from benchmark.training.loop import method_predictor
from benchmark.training.oracle import Oracle
from benchmark.training.two_networks import (
    SmallLossPair,
    SmallLossParams,
    cross_entropies,
    disagreement,
    exchanged,
    without_gradients,
)


def pair(rate: float = 0.5, gradual: int = 1, **params: Any) -> SmallLossPair:
    """One without training, for its arithmetic."""
    method = SmallLossPair(SmallLossParams(**params))
    method.rate, method.gradual = rate, gradual
    return method


class TestKeep:
    losses = torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0, 0.5])
    labels = torch.tensor([0, 0, 0, 0, 1, 1])

    def test_overall_and_within_classes(self) -> None:
        assert pair().keep(self.losses, self.labels, 0).tolist() == [False, True, False, True, False, True]
        assert pair(per_class=True).keep(self.losses, self.labels, 0).tolist() == [False, True, False, True, False, True]
        skewed = self.losses + torch.tensor([0, 0, 0, 0, 9, 9])
        assert pair().keep(skewed, self.labels, 0).tolist() == [False, True, True, True, False, False]
        assert pair(per_class=True).keep(skewed, self.labels, 0).tolist() == [False, True, False, True, False, True]

    def test_among_some_the_share_is_of_these(self) -> None:
        among = torch.tensor([True, False, True, False, True, True])
        assert pair().keep(self.losses, self.labels, 0, among).tolist() == [False, False, False, False, True, True]
        within = pair(per_class=True).keep(self.losses, self.labels, 0, among)
        assert within.tolist() == [False, False, True, False, False, True]

    def test_one_of_few_and_none_of_none(self) -> None:
        for each in (pair(0.9), pair(0.9, per_class=True)):
            only = torch.arange(6) == 2
            assert each.keep(self.losses, self.labels, 0, only).tolist() == only.tolist()
            assert not each.keep(self.losses, self.labels, 0, torch.zeros(6, dtype=torch.bool)).any()

    def test_the_share_ramps_up(self) -> None:
        method = pair(0.5, gradual=3)
        assert [int(method.keep(self.losses, self.labels, epoch).sum()) for epoch in range(4)] == [6, 4, 3, 3]


def test_the_cross_update_is_a_mean_over_what_the_peer_keeps() -> None:
    losses = torch.tensor([1.0, 2.0, 6.0], requires_grad=True), torch.tensor([10.0, 20.0, 60.0], requires_grad=True)
    kept = torch.tensor([True, True, False]), torch.tensor([False, True, True])
    first, second = exchanged(losses, kept)
    assert (first.item(), second.item()) == (4.0, 15.0)
    nothing = torch.zeros(3, dtype=torch.bool)
    assert [value.item() for value in exchanged(losses, (nothing, nothing))] == [0.0, 0.0]


def test_losses_are_one_a_sample() -> None:
    images, labels = torch.randn(5, 3), torch.tensor([0, 1, 0, 1, 0])
    networks: Any = [torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)]

    def of(rows: slice) -> Any:
        return cross_entropies(SimpleNamespace(images=images[rows], labels=labels[rows]), networks)  # type: ignore[arg-type]

    first, second, *losses = of(slice(None))
    assert [tuple(loss.shape) for loss in losses] == [(5,), (5,)]
    assert first.shape == second.shape == (5, 2)
    for position, loss in enumerate(losses):
        alone = torch.cat([of(slice(i, i + 1))[2 + position] for i in range(5)])
        assert loss.unique().numel() == 5 and torch.allclose(loss, alone, atol=1e-6)


def test_disagreement_is_of_classes() -> None:
    first = torch.tensor([[2.0, 1.0], [0.0, 9.0], [3.0, 0.0]])
    second = torch.tensor([[9.0, 0.0], [1.0, 0.0], [0.0, 0.1]])
    assert disagreement(first, second).tolist() == [False, True, True]


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, functools.partial(torch.optim.SGD, momentum=0.9, weight_decay=0.1)])
def test_without_gradients_nothing_moves(optimizer: Any) -> None:
    """With gradients of zero Adam goes on by its momentum, and weight decay shrinks the weights."""
    network = torch.nn.Linear(2, 2)
    steps = optimizer(network.parameters(), lr=0.1)
    for unless, moves in ((True, True), (False, False), (True, True)):
        steps.zero_grad()
        (network(torch.ones(1, 2)).square().sum() * float(unless)).backward()
        without_gradients([network], torch.tensor(unless))  # type: ignore[arg-type]
        before = network.weight.detach().clone()
        steps.step()
        assert torch.equal(network.weight, before) is not moves


@pytest.mark.parametrize("name", ["coteaching", "coteaching_plus", "jocor", "codis"])
def test_suspects_are_the_rate_of_all_or_of_each_class(name: str) -> None:
    cls = Registry().load("method", name)
    overall, within = (tiny_run(cls, noise_rate=0.25, per_class=per_class).method for per_class in (False, True))
    assert int(overall.suspects().sum()) == 15
    assert overall.quality[overall.suspects()].max() <= overall.quality[~overall.suspects()].min()
    sizes = torch.bincount(within.data.labels, minlength=3)
    assert torch.bincount(within.data.labels[within.suspects()], minlength=3).tolist() == [int(0.25 * size) for size in sizes]
    assert overall.diagnostics()["noise_rate"] == 0.25


# ---------------------------------------------------------------------------------------------- on wrong labels

CLASSES = ("a", "b", "c")


@functools.cache
def trained(name: str) -> tuple[float, float]:
    """Accuracy on clean samples of two networks, and the share of (right, wrong) pairs of labels that the quality tells apart.

    300 points of three overlapping clusters, two fifths of the labels wrong, and a network that can learn all of them by heart.
    """
    rng, n, rate = np.random.default_rng(0), 300, 0.4
    truth, centres = np.arange(n) % 3, rng.normal(size=(3, 20))
    points, test = (torch.from_numpy(centres[truth] + rng.normal(size=(n, 20))).float() for _ in range(2))
    given, wrong = truth.copy(), rng.choice(n, int(rate * n), replace=False)
    given[wrong] = (given[wrong] + rng.integers(1, 3, len(wrong))) % 3
    data = TrainingData(points, torch.from_numpy(given), 3, CLASSES)
    settings = protocol("quick", {"epochs": 25, "backbone": "mlp", "lr": 0.01})
    oracle = Oracle(truth, Registry().load("noise", "symmetric")(), rate, 3, CLASSES)
    run = RunContext(data, settings, seed=0, device=torch.device("cpu"), oracle=oracle)
    cls = Registry().load("method", name)
    method = cls(resolve(cls.Params, {}, name))
    method.run, method.data = run, data
    method.setup(data, run)
    networks = method.fit(data, run)
    networks.train(False)
    with torch.no_grad():
        right = method.predict(networks, run._augmenter(test)).argmax(dim=1) == torch.from_numpy(truth)
    quality, correct = method.label_quality(), torch.from_numpy(given == truth)
    pairs = quality[correct][:, None] > quality[~correct][None]
    return float(right.float().mean()), float(pairs.float().mean())


@pytest.mark.parametrize("name", ["decoupling", "coteaching", "coteaching_plus", "jocor", "codis", "coteaching_vog"])
def test_withstands_wrong_labels_better_than_cross_entropy(name: str) -> None:
    accuracy, told_apart = trained(name)
    plain_accuracy, plain_told_apart = trained("ce")
    assert plain_accuracy < 0.7, "the labels must be hard enough for plain cross-entropy"
    assert accuracy > plain_accuracy + 0.08
    assert told_apart > plain_told_apart + 0.04


def test_a_predictor_and_its_parts_share_the_passes(context) -> None:
    """Co-teaching reports the mean of two networks and each alone: two forward passes a batch, not four."""
    run = context()
    networks = run.networks(2)
    networks.train(False)
    calls = []
    for network in networks:
        network.trunk.register_forward_hook(lambda *_: calls.append(1))
    method = Registry().load("method", "coteaching")()
    images = torch.randn(5, 1, 8, 8)
    with torch.no_grad():
        shared = method_predictor(method, networks)(images)
        assert len(calls) == 2
        assert torch.equal(shared[""], method.predict(networks, images))
        assert torch.equal(shared["network2"], networks[1](images).softmax(dim=1))
        assert len(calls) == 5, "nothing is remembered afterwards"
