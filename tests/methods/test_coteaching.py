"""Co-teaching: its identity without forgetting, its selection by hand, its behaviour on wrong labels."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from benchmark.conformance import tiny_run
from benchmark.registry import Registry

Coteaching = Registry().load("method", "coteaching")
CrossEntropy = Registry().load("method", "ce")


def test_without_forgetting_it_is_two_networks_apart():
    """The first network then ends where plain cross-entropy ends: same initial weights, same batches."""
    pair, single = tiny_run(Coteaching, noise_rate=0.0), tiny_run(CrossEntropy)
    images = torch.randn(5, 3, 8, 8)
    with torch.no_grad():
        assert torch.allclose(pair.networks[0](images), single.networks[0](images), atol=1e-6)
        assert not torch.allclose(pair.networks[1](images), single.networks[0](images), atol=1e-3)


def test_each_network_learns_what_the_other_finds_easy():
    method = Coteaching()
    method.rate, method.gradual = 0.5, 1
    labels = torch.tensor([0, 0, 0, 0])
    first = torch.tensor([[4.0, 0.0], [3.0, 0.0], [0.0, 3.0], [0.0, 4.0]])
    second = first.flip(0)
    batch = SimpleNamespace(images=None, labels=labels)
    losses = method.training_step(batch, [lambda _: first, lambda _: second], epoch=0)
    ce = [F.cross_entropy(logits, labels, reduction="none") for logits in (first, second)]
    assert losses[0].item() == pytest.approx(ce[0][2:].mean().item())  # the second network's easy half is the last two
    assert losses[1].item() == pytest.approx(ce[1][:2].mean().item())


def test_the_mean_is_over_what_is_kept():
    """The released program divides the mean by k once more; a loss that shrinks with the batch is that bug."""
    method = Coteaching()
    method.rate, method.gradual = 0.5, 1
    for copies in (1, 10):
        logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]]).repeat(copies, 1)
        batch = SimpleNamespace(images=None, labels=torch.zeros(2 * copies, dtype=torch.long))
        losses = method.training_step(batch, [lambda _, z=logits: z] * 2, epoch=3)
        assert losses[0].item() == pytest.approx(F.cross_entropy(torch.tensor([[2.0, 0.0]]), torch.tensor([0])).item())


def test_flags_exactly_the_rate():
    method = tiny_run(Coteaching, noise_rate=0.25).method
    assert int(method.suspects().sum()) == 15
    flagged, kept = method.quality[method.suspects()], method.quality[~method.suspects()]
    assert flagged.max() <= kept.min()


@pytest.mark.parametrize("rate", ["estimate", "incv"])
def test_an_estimate_uses_no_truth(rate):
    result = tiny_run(Coteaching, noise_rate=rate)
    assert not result.run.oracle.used
    assert 0 <= result.method.rate <= 0.95
