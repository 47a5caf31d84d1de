"""SOP: frozen variables are cross-entropy, one step by hand, variables that grow for wrong labels only, SOP+."""

from __future__ import annotations

import importlib
import math
from types import SimpleNamespace

import pytest
import torch

from benchmark.conformance import FEATURES, tiny_run
from benchmark.params import resolve
from benchmark.registry import Registry

SOP = Registry().load("method", "sop")
CrossEntropy = Registry().load("method", "ce")
module = importlib.import_module(SOP.__module__)


def built(labels=(0, 1, 0), classes=2, epochs=1000, **changes):
    method = SOP(resolve(SOP.Params, changes, "sop"))
    method.data = SimpleNamespace(n=len(labels), num_classes=classes, labels=torch.tensor(labels))
    run = SimpleNamespace(
        device=torch.device("cpu"), generator=lambda name: torch.Generator().manual_seed(0), protocol=SimpleNamespace(epochs=epochs)
    )
    method.setup(method.data, run)
    return method


def step(method, logits, indices):
    batch = SimpleNamespace(images=None, labels=method.data.labels[indices], indices=torch.tensor(indices))
    loss = method.training_step(batch, [lambda _: logits], 0)
    loss.backward()
    method.after_backward(None, 0)
    return loss.item()


def test_variables_that_do_not_move_are_cross_entropy():
    assert torch.allclose(tiny_run(SOP, lr_u=0.0, lr_v=0.0).probabilities, tiny_run(CrossEntropy).probabilities, atol=1e-4)


def test_explained_predictions_by_hand():
    """p = (1/2, 1/4, 1/4), label 1, u² = 0.04, v² = (0.09, ·, 0.36): (0.41, 0.29, −0.11), the last clipped to 1e-4."""
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log()
    found = module.explain(logits, torch.tensor([1]), torch.tensor([0.2]), torch.tensor([[0.3, 9.0, 0.6]]))
    total = 0.41 + 0.29 + 1e-4
    assert found[0].tolist() == pytest.approx([0.41 / total, 0.29 / total, 1e-4 / total], rel=1e-5)


def test_the_residual_by_hand():
    """Predicted 0, label 1: (1 − v₀², u² − 1, −v₂²); predicted as labelled: (−v₀², u², −v₂²)."""
    u, v = torch.tensor([0.5]), torch.tensor([[0.5, 9.0, 0.1]])
    wrong = module.residual(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([1]), u, v)
    assert wrong.item() == pytest.approx(0.75**2 + 0.75**2 + 0.01**2)
    right = module.residual(torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([1]), u, v)
    assert right.item() == pytest.approx(0.25**2 + 0.25**2 + 0.01**2)


def test_each_sample_has_a_residual_and_an_explanation_of_its_own():
    generator = torch.Generator().manual_seed(0)
    logits, u, v = torch.randn(5, 3, generator=generator), torch.rand(5, generator=generator), torch.rand(5, 3, generator=generator)
    labels = torch.tensor([0, 1, 2, 0, 1])
    for function, shape in ((module.residual, (5,)), (module.explain, (5, 3))):
        together = function(logits, labels, u, v)
        assert together.shape == shape and together.unique(dim=0).shape[0] == 5
        assert torch.allclose(
            together, torch.cat([function(logits[i : i + 1], labels[i : i + 1], u[i : i + 1], v[i : i + 1]) for i in range(5)])
        )


def test_one_step_by_hand():
    """p = (3/4, 1/4), label 1, u = v₀ = 0.1. v learns from the residual (1 − v²)² alone, u from −log and (1 − u²)²."""
    method = built(lr_u=0.01, lr_v=0.02)
    method.u[1], method.v[1] = 0.1, torch.tensor([0.1, 0.1])
    untouched = method.u[[0, 2]].clone()
    loss = step(method, torch.tensor([[0.75, 0.25]]).log().requires_grad_(), [1])
    first, second = 0.75 - 0.01, 0.25 + 0.01
    assert loss == pytest.approx(-math.log(second) + 2 * 0.99**2, rel=1e-5)
    slope_u = 0.2 * (-1 / second + 1 / (first + second)) - 4 * 0.1 * 0.99
    assert method.u[1].item() == pytest.approx(0.1 - 0.01 * slope_u, rel=1e-5)
    assert method.v[1].tolist() == pytest.approx([0.1 + 0.02 * 4 * 0.1 * 0.99, 0.1], rel=1e-5)  # nothing at the given label
    assert torch.equal(method.u[[0, 2]], untouched)


def test_variables_stay_within_one():
    method = built(lr_u=1000.0, lr_v=1000.0)
    method.u[1], method.v[1] = 0.9, torch.tensor([-0.9, 0.0])
    step(method, torch.tensor([[3.0, -3.0]], requires_grad=True), [1])
    assert method.u[1].item() == 1.0
    assert method.v[1, 0].item() == -1.0


@pytest.mark.parametrize("size", [50.0, 1e4])
def test_certain_predictions_give_finite_steps(size):
    method = built()
    logits = torch.tensor([[size, -size], [-size, size]], requires_grad=True)
    for _ in range(20):
        loss = step(method, logits, [0, 1])
    assert math.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(method.u).all()


def test_they_grow_where_label_and_prediction_differ():
    """From 1e-8: sample 0 is predicted as labelled, sample 1 is not."""
    method = built(lr_u=1.0, lr_v=1.0)
    logits = torch.tensor([[0.9, 0.1], [0.9, 0.1]]).log()
    for _ in range(40):
        step(method, logits.clone().requires_grad_(), [0, 1])
    assert method.u[1] ** 2 > 0.5
    assert method.v[1, 0] ** 2 > 0.5
    assert method.u[0] ** 2 < 1e-6
    assert method.suspects().tolist() == [False, True, False]
    assert method.corrected_labels().tolist() == [0, 0, 0]


def test_what_a_checkpoint_keeps():
    """u and v, and nothing of the batch that came last."""
    method = built()
    step(method, torch.zeros(1, 2, requires_grad=True), [1])
    values = method.state_dict()["values"]
    assert torch.equal(values["u"], method.u)
    assert torch.equal(values["v"], method.v)
    assert not any(isinstance(value, torch.Tensor) and value.requires_grad for value in values.values())


@pytest.mark.parametrize("size", [(8, 8), FEATURES])
def test_two_views_and_balance_train(size):
    plain, plus = (tiny_run(SOP, size=size, **changes) for changes in ({}, SOP.presets["plus"]))
    assert not torch.allclose(plain.probabilities, plus.probabilities, atol=1e-4)
    assert torch.isfinite(plus.run.history.values).all()  # the history is of the weak view
    assert plus.run.trained_samples == 2 * plain.run.trained_samples


def test_the_balance_term_by_hand():
    """Its pull is the mean of −log of the batch's mean explained prediction."""
    logits = torch.tensor([[0.75, 0.25]]).log()
    plain, pulled = (step(built(ratio_balance=ratio), logits.clone().requires_grad_(), [1]) for ratio in (0.0, 2.0))
    assert pulled - plain == pytest.approx(-(math.log(0.75) + math.log(0.25)), rel=1e-4)


@pytest.mark.parametrize(("epochs", "factor"), [(300, 1), (120, 1), (30, 4), (2, 60)])
def test_shorter_runs_take_longer_steps(epochs, factor):
    """The published learning rates are for 120 epochs, in each of which a variable takes one step."""
    moved = []
    for method in (built(epochs=epochs, lr_v=1e-3), built(lr_v=1e-3)):
        method.v[1, 0] = 0.1
        step(method, torch.tensor([[0.75, 0.25]]).log().requires_grad_(), [1])
        moved.append(method.v[1, 0].item() - 0.1)
    assert moved[0] == pytest.approx(factor * moved[1], rel=1e-3)
