"""T-Loss: the density against scipy's, its limit, how masks with large errors pull, void, the tail that is learnt and kept."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_t

from benchmark.conformance import tiny_run
from benchmark.conformance_data import tiny_masks
from benchmark.registry import Registry
from benchmark.segmentation import VOID

TLoss = Registry().load("method", "seg_t_loss")
t_loss = importlib.import_module(TLoss.__module__).t_loss


def logits_of(p):
    """(B, 1, 2, 1, W) logits that give class 1 the probabilities p, B rows of W."""
    p = torch.tensor(p)
    return torch.stack([1 - p, p], dim=1).log().unsqueeze(1).unsqueeze(3)


def labels_of(rows):
    return torch.tensor(rows, dtype=torch.uint8).unsqueeze(1).unsqueeze(2)


@pytest.mark.parametrize("log_nu", [-2.0, 1.0, 4.0])
def test_it_is_a_student_t_density(log_nu):
    p, labels = [[0.9, 0.2, 0.6, 0.5, 0.1], [0.3, 0.3, 0.3, 0.9, 0.9]], [[1, 0, 0, 1, 1], [0, 1, VOID, 1, VOID]]
    losses = t_loss(logits_of(p), labels_of(labels), torch.tensor(log_nu)).view(-1)
    for loss, row, given in zip(losses.tolist(), p, labels, strict=True):
        errors = [a - b for a, b in zip(row, given, strict=True) if b != VOID]
        density = multivariate_t(np.zeros(len(errors)), np.eye(len(errors)), df=math.exp(log_nu)).logpdf(errors)
        assert loss == pytest.approx(-density / len(errors), rel=1e-5)


def test_with_many_degrees_of_freedom_it_is_the_squared_error():
    losses = t_loss(logits_of([[0.9, 0.2]]), labels_of([[1, 0]]), torch.tensor(20.0))
    assert losses.item() == pytest.approx((0.01 + 0.04) / 4 + math.log(2 * math.pi) / 2, abs=1e-5)


def test_a_mask_with_large_errors_pulls_less():
    """The gradient with respect to an error δ is (ν + D)/D · δ/(ν + Σ δ²)."""
    p, nu = [[0.9, 0.2, 0.1], [0.2, 0.9, 0.1]], 2.0
    logits, labels = logits_of(p).requires_grad_(), labels_of([[1, 0, 0]] * 2)
    (gradient,) = torch.autograd.grad(t_loss(logits, labels, torch.tensor(math.log(nu))).sum(), logits)
    p = torch.tensor(p)
    errors = p - torch.tensor([1.0, 0, 0])
    expected = (nu + 3) / 3 * errors / (nu + errors.square().sum(dim=1, keepdim=True)) * p * (1 - p)
    torch.testing.assert_close(gradient[:, 0, 1, 0], expected)


def test_several_classes_share_an_error():
    """With two classes both errors are the same one; a third without probability changes nothing."""
    two, labels = logits_of([[0.9, 0.2]]), labels_of([[1, 0]])
    three = torch.cat([two, torch.full((1, 1, 1, 1, 2), -100.0)], dim=2)
    log_nu = torch.tensor(1.0)
    torch.testing.assert_close(t_loss(three, labels, log_nu), t_loss(two, labels, log_nu))


def test_large_masks_keep_their_digits():
    """The terms without a network in them are of the order of D log D and nearly cancel."""
    logits = torch.zeros(1, 1, 2, 512, 512, requires_grad=True)
    log_nu = torch.tensor(1.0, requires_grad=True)
    loss = t_loss(logits, torch.zeros(1, 1, 512, 512, dtype=torch.uint8), log_nu)
    d, nu = 512**2, math.e
    exact = math.lgamma(nu / 2) - math.lgamma((nu + d) / 2) + d / 2 * math.log(math.pi * nu) + (nu + d) / 2 * math.log1p(d / 4 / nu)
    assert loss.item() == pytest.approx(exact / d, rel=1e-6)
    loss.backward()
    assert torch.isfinite(logits.grad).all() and math.isfinite(log_nu.grad.item())


def test_void_throughout_costs_and_pulls_nothing():
    logits = logits_of([[0.9, 0.2]]).requires_grad_()
    loss = t_loss(logits, labels_of([[VOID, VOID]]), torch.tensor(1.0))
    loss.sum().backward()
    assert loss.item() == pytest.approx(0, abs=1e-6) and not logits.grad.any()


def test_the_tail_is_learnt():
    result = tiny_run(TLoss)
    assert result.method.diagnostics()["nu"] != pytest.approx(math.e, rel=1e-4)
    again = tiny_run(TLoss, log_nu=3.0)
    assert abs(math.log(again.method.diagnostics()["nu"]) - 3) < 1
    assert torch.isfinite(tiny_run(TLoss, masks=tiny_masks(tasks=2, classes=3)).probabilities).all()


@pytest.mark.parametrize("after", [1, 3])
def test_a_killed_run_ends_the_same(train_masks, discs, tmp_path, after):
    case = discs(n=10)
    whole = train_masks(TLoss, case, epochs=4)
    assert train_masks(TLoss, case, epochs=4, folder=tmp_path, kill_after=after) is None
    resumed = train_masks(TLoss, case, epochs=4, folder=tmp_path)
    assert torch.equal(resumed.probabilities, whole.probabilities)
    assert resumed.method.diagnostics() == whole.method.diagnostics()
