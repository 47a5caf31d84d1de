"""Running targets and the early-learning term by hand."""

from __future__ import annotations

import math

import pytest
import torch

from benchmark.training.early_learning import early_learning, move_targets, sigmoid_ramp


def test_targets_of_a_batch_move_in_place() -> None:
    targets = torch.zeros(4, 2)
    targets[2] = torch.tensor([1.0, 0.0])
    now = move_targets(targets, torch.tensor([2, 0]), torch.tensor([[0.0, 1.0], [0.5, 0.5]]), 0.7)
    torch.testing.assert_close(now, torch.tensor([[0.7, 0.3], [0.15, 0.15]]))
    torch.testing.assert_close(targets, torch.tensor([[0.15, 0.15], [0.0, 0.0], [0.7, 0.3], [0.0, 0.0]]))


def test_the_term_by_hand() -> None:
    logits = torch.tensor([[0.8, 0.2], [0.5, 0.5]]).log()
    term = early_learning(logits, torch.tensor([[0.9, 0.1], [0.0, 0.0]]))
    torch.testing.assert_close(term, torch.tensor([math.log(1 - (0.72 + 0.02)), 0.0]))


def test_each_sample_has_a_term_of_its_own() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(5, 3, generator=generator), torch.rand(5, 3, generator=generator).softmax(dim=1)
    term = early_learning(logits, targets)
    assert term.shape == (5,) and term.unique().numel() == 5
    assert torch.allclose(term, torch.cat([early_learning(logits[i : i + 1], targets[i : i + 1]) for i in range(5)]))


def test_its_gradient_pulls_towards_the_target() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    early_learning(logits, torch.tensor([[0.9, 0.05, 0.05]])).sum().backward()
    assert logits.grad is not None and logits.grad[0, 0] < 0 < logits.grad[0, 1]


@pytest.mark.parametrize("scale", [0.0, 30.0, 1e4])
def test_it_is_finite_for_a_sure_prediction_of_a_sure_target(scale: float) -> None:
    logits = torch.tensor([[scale, 0.0]], requires_grad=True)
    term = early_learning(logits, torch.tensor([[1.0, 0.0]]))
    term.sum().backward()
    assert torch.isfinite(term).all() and logits.grad is not None and torch.isfinite(logits.grad).all()
    assert term.item() >= math.log(1e-4) - 1e-3


@pytest.mark.parametrize(
    ("step", "length", "ramp"), [(0, 10, math.exp(-5)), (5, 10, math.exp(-1.25)), (10, 10, 1.0), (99, 10, 1.0), (0, 0, 1.0)]
)
def test_ramp(step: float, length: float, ramp: float) -> None:
    assert sigmoid_ramp(step, length) == pytest.approx(ramp)
