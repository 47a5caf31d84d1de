"""Steps of one and of several networks, and the moving average."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from benchmark.training.context import RunContext
from benchmark.training.networks import MovingAverage, Networks

IMAGES = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def losses(networks: Networks) -> list[torch.Tensor]:
    return [(i + 1) * F.cross_entropy(network(IMAGES), LABELS) for i, network in enumerate(networks)]


def gradients(networks: Networks) -> list[torch.Tensor]:
    return [p.grad for network in networks for p in network.parameters() if p.grad is not None]


def weights(networks: Networks) -> list[torch.Tensor]:
    return [p.detach() for network in networks for p in network.parameters()]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_a_list_of_losses_is_a_backward_pass_each(context: Callable[..., RunContext], optimizer: str) -> None:
    run = context(optimizer=optimizer, weight_decay=0.01)
    joint, summed, apart = (run.networks(2) for _ in range(3))
    for _ in range(3):
        total = joint.step(losses(joint))
        summed.step(torch.stack(losses(summed)).sum())
        for loss, step in zip(losses(apart), apart.optimizers, strict=True):
            step.zero_grad()
            loss.backward()
            step.step()
    assert not total.requires_grad and total.shape == ()
    for one, two, three in zip(gradients(joint), gradients(summed), gradients(apart), strict=True):
        assert torch.equal(one, three) and torch.equal(one, two)
    for one, three in zip(weights(joint), weights(apart), strict=True):
        assert torch.equal(one, three)


def test_gradients_do_not_add_up_over_steps(context: Callable[..., RunContext]) -> None:
    networks = context(lr=0.0, optimizer="sgd").networks(1)
    networks.train(False)
    networks.step(losses(networks))
    first = [g.clone() for g in gradients(networks)]
    networks.step(losses(networks))
    assert all(torch.equal(a, b) for a, b in zip(first, gradients(networks), strict=True))


def test_learning_rates_follow_the_epoch_and_the_scale(context: Callable[..., RunContext]) -> None:
    networks = context(lr=0.4, lr_schedule="cosine").networks(2, lr_scale=0.5)
    networks.set_epoch(1, 2)
    assert [o.param_groups[0]["lr"] for o in networks.optimizers] == pytest.approx([0.1, 0.1])


def test_a_state_dict_restores_weights_and_momenta(context: Callable[..., RunContext]) -> None:
    run = context()
    one, two = run.networks(2), run.networks(2, name="other")
    one.step(losses(one))
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    for networks in (one, two):
        networks.step(losses(networks))
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(two), strict=True))


def test_sequence_and_parameter_count(context: Callable[..., RunContext]) -> None:
    networks = context().networks(3)
    assert len(networks) == 3 and list(networks) == [networks[0], networks[1], networks[2]] and networks[1:] == [networks[1], networks[2]]
    one = sum(p.numel() for p in networks[0].parameters())
    assert networks.parameter_count() == 3 * one
    networks[0].requires_grad_(False)
    assert networks.parameter_count() == 2 * one


def test_the_moving_average_is_m_times_old_plus_the_rest_of_new(context: Callable[..., RunContext]) -> None:
    networks = context().networks(2)
    average = MovingAverage(networks[0], 0.9)
    start = [p.clone() for p in average.network.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(start, networks[0].parameters(), strict=True))
    networks[1](IMAGES)  # moves the batch-norm statistics, which are not averaged
    average.update(networks[1])
    for mine, old, new in zip(average.network.parameters(), start, networks[1].parameters(), strict=True):
        torch.testing.assert_close(mine.data, 0.9 * old + 0.1 * new.detach())
        assert not mine.requires_grad
    kept, moved = dict(average.network.named_buffers()), dict(networks[1].named_buffers())
    assert all(not torch.equal(kept[name], moved[name]) for name in kept if name.endswith("running_mean"))
    other = MovingAverage(networks[1], 0.5)
    other.load_state_dict(average.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(other.network.parameters(), average.network.parameters(), strict=True))
