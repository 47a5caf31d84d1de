"""Learning rates, computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from benchmark.errors import BenchmarkError
from benchmark.spec import protocol
from benchmark.training.schedules import Schedule


def schedule(scale: float = 1.0, **settings: object) -> Schedule:
    return Schedule(protocol("quick", settings), scale)


def test_constant() -> None:
    plan = schedule(lr_schedule="constant", lr=0.3)
    assert [plan.lr(e, 10) for e in (0, 5, 9)] == [0.3] * 3
    assert plan.beta1(9, 10) == 0.9


def test_cosine_falls_to_zero() -> None:
    plan = schedule(lr_schedule="cosine", lr=0.2)
    assert [plan.lr(e, 8) for e in (0, 4, 8)] == pytest.approx([0.2, 0.1, 0.0])
    assert plan.lr(2, 8) == pytest.approx(0.2 * (1 + math.sqrt(0.5)) / 2)


def test_step_multiplies_by_a_tenth_at_each_share() -> None:
    plan = schedule(lr_schedule="step", lr=1.0, milestones="0.5+0.75")
    assert [plan.lr(e, 20) for e in (0, 9, 10, 14, 15, 19)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_linear_tail_is_the_published_plan() -> None:
    plan = schedule(lr_schedule="linear_tail", lr=1e-3, decay_start=0.375, tail_beta1=0.1)
    assert all(plan.lr(e, 80) == 1e-3 and plan.beta1(e, 80) == 0.9 for e in range(30))
    for epoch in range(30, 80):
        assert plan.lr(epoch, 80) == pytest.approx(1e-3 * (80 - epoch) / 50)
        assert plan.beta1(epoch, 80) == 0.1
    assert plan.lr(79, 80) == pytest.approx(2e-5)


def test_no_tail() -> None:
    plan = schedule(lr_schedule="linear_tail", decay_start=1.0)
    assert plan.lr(9, 10) == 1e-3 and plan.beta1(9, 10) == 0.9


@pytest.mark.parametrize(("share", "epochs", "first"), [(0.28, 25, 7), (0.07, 100, 7)])
def test_rounding_does_not_shift_a_milestone(share: float, epochs: int, first: int) -> None:
    assert share * epochs > first  # in floating point
    tail = schedule(lr_schedule="linear_tail", decay_start=share)
    assert [tail.beta1(e, epochs) for e in (first - 1, first)] == [0.9, 0.1]
    step = schedule(lr_schedule="step", lr=1.0, milestones=str(share))
    assert [step.lr(e, epochs) for e in (first - 1, first)] == pytest.approx([1.0, 0.1])


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_optimisers_are_set(name: str) -> None:
    weight = [torch.nn.Parameter(torch.zeros(1))]
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    optimizer = kinds[name](weight, lr=1.0)
    schedule(0.5, lr=1e-3, lr_schedule="linear_tail", decay_start=0.5).apply(optimizer, 8, 10)
    group = optimizer.param_groups[0]
    assert group["lr"] == pytest.approx(0.5 * 1e-3 * 2 / 5)
    assert name == "sgd" or group["betas"] == (0.1, 0.999)


def test_milestones_that_are_no_numbers() -> None:
    with pytest.raises(BenchmarkError, match=r"protocol: milestones 'half' is not shares joined by \+"):
        protocol("quick", {"milestones": "half"})
