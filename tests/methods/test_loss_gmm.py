"""A mixture over losses: two groups by hand, what it does where there is only one, and where the losses come from."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from benchmark.conformance import tiny_run
from benchmark.params import resolve
from benchmark.registry import Registry
from benchmark.training.loop import given_label_probability

LossMixture = Registry().load("method", "loss_gmm")
SPREAD = torch.linspace(-0.05, 0.05, 10)


def wrong(losses, labels=None, **params):
    method = LossMixture(resolve(LossMixture.Params, params, "loss_gmm"))
    return method._right(losses, torch.zeros(len(losses), dtype=torch.long) if labels is None else labels) < 0.5


def test_the_group_of_high_loss_is_wrong():
    assert wrong(torch.cat([0.2 + SPREAD, 3 + SPREAD, 0.1 + SPREAD])).tolist() == [False] * 10 + [True] * 10 + [False] * 10


@pytest.mark.parametrize("losses", [torch.full((30,), 0.7), torch.tensor([1.3]), torch.empty(0)])
@pytest.mark.parametrize("per_class", [False, True])
def test_losses_that_are_all_alike_accuse_nobody(losses, per_class):
    assert not wrong(losses, per_class=per_class).any()


def test_a_few_losses_beyond_all_others_do_not_hide_the_wrong_labels():
    """Means given to the mixture beforehand, the least and the largest loss, found the tail instead of the second group."""
    generator = torch.Generator().manual_seed(0)
    right, high = 0.3 + 0.15 * torch.rand(700, generator=generator), 1.8 + 0.5 * torch.randn(300, generator=generator)
    losses = torch.cat([right, high, torch.tensor([7.0, 8.0])])
    found = wrong(losses)
    assert not found[:700].any() and float(found[700:].float().mean()) > 0.97


def test_a_hard_class_is_judged_by_itself():
    """Class 1 is hard to learn as a whole; within it only the losses around 6 stand out."""
    losses = torch.cat([0.2 + SPREAD, 0.2 + SPREAD, 3 + SPREAD, 3 + SPREAD, 6 + SPREAD[:5]])
    labels = torch.tensor([0] * 20 + [1] * 25)
    assert wrong(losses, labels)[labels == 1].all()
    within = wrong(losses, labels, per_class=True)
    assert within[40:].all() and not within[20:40].any()


def test_a_rare_class_is_judged_with_all():
    """By itself it would lose the worse of any two samples."""
    losses = torch.cat([0.2 + SPREAD, 3 + SPREAD, torch.tensor([0.15, 0.25, 0.21, 2.9])])
    labels = torch.tensor([0] * 20 + [4, 4, 4, 7])
    assert wrong(losses, labels, per_class=True)[20:].tolist() == [False, False, False, True]


def test_losses_are_the_warmed_up_networks():
    """One epoch of warm-up, at most half of two; quality is minus the loss of its network in evaluation mode."""
    result = tiny_run(LossMixture)
    run, labels = result.run, result.method.data.labels
    assert run._observer.epochs == 1 + 2
    run._begun.clear()
    networks, loader = run.networks(1, name="warmup"), run.loader()
    for _ in run.epochs("warmup", networks, epochs=1):
        for batch in loader:
            run.step(networks, F.cross_entropy(networks[0](batch.images), batch.labels), len(batch))
    probabilities = run.class_probabilities(networks)
    assert torch.allclose(result.method.quality, given_label_probability(probabilities, labels).log(), atol=1e-5)
    assert torch.equal(result.method.wrong, result.method.right < 0.5)
    assert torch.equal(result.method.suggested, probabilities.argmax(dim=1))


def test_weights_are_the_posterior():
    method = tiny_run(LossMixture, then="weight").method
    assert ((method.right >= 0) & (method.right <= 1)).all() and "right_posterior" in method.sample_columns()


def test_needs_no_noise_rate():
    result = tiny_run(LossMixture)
    assert not result.run.oracle.used["noise_rate"] and "noise_rate" not in LossMixture.manifest["needs"]
