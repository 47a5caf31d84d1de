"""Variance of gradients: scores against autograd under every checkpoint, the epochs of the checkpoints, and its options."""

from __future__ import annotations

import importlib

import pytest
import torch
import torch.nn.functional as F

from benchmark import conformance
from benchmark.conformance import FEATURES, tiny_run
from benchmark.registry import Registry

VOG = Registry().load("method", "vog")
vog = importlib.import_module(VOG.__module__)


@pytest.mark.parametrize(
    ("epochs", "count", "stage", "expected"),
    [
        (30, 10, "early", set(range(10))),
        (30, 10, "late", set(range(20, 30))),
        (30, 4, "all", {0, 10, 19, 29}),
        (30, 2, "early", {0, 9}),
        (5, 100, "all", {0, 1, 2, 3, 4}),
        (2, 10, "early", {0, 1}),
        (2, 10, "late", {0, 1}),
        (3, 10, "early", {0, 1}),
        (3, 10, "late", {1, 2}),
        (1, 10, "early", {0}),
        (1, 10, "all", {0}),
    ],
)
def test_checkpoints_are_even_over_the_stage(epochs, count, stage, expected):
    assert vog.checkpoint_epochs(epochs, count, stage) == expected


def by_autograd(networks, image, label, of):
    """The definition for one sample: deviation over the checkpoints of each entry of its gradient, and the mean of that."""
    gradients = []
    for network in networks:
        if of == "pixels":
            pixels = image[None].clone().requires_grad_()
            network(pixels)[0, label].backward()
            gradients.append(pixels.grad[0].mean(dim=0).flatten())
        else:
            head = torch.nn.Linear(network.head.in_features, network.head.out_features)
            head.load_state_dict(network.head.state_dict())
            F.cross_entropy(head(network.features(image[None]).detach()), torch.tensor([label])).backward()
            gradients.append(torch.cat([head.bias.grad[label : label + 1], head.weight.grad[label]]))
    return torch.stack(gradients).std(dim=0, correction=0).mean()


@pytest.mark.parametrize("of", ["last_layer", "pixels"])
def test_scores_are_those_of_autograd(monkeypatch, of):
    taken = []
    original = vog.Snapshots.networks
    monkeypatch.setattr(vog.Snapshots, "networks", lambda self, network: taken.append(original(self, network)) or taken[-1])
    method = tiny_run(VOG, of=of, normalise=False, noise_rate=0.3).method
    (networks,) = taken
    assert len(networks) == 2 and not networks[0].training
    images = method.run._augmenter(method.data.images[:])
    for sample in (0, 17, 59):
        expected = by_autograd(networks, images[sample], int(method.data.labels[sample]), of)
        assert method.variance[sample].item() == pytest.approx(expected.item(), rel=1e-3)
    assert torch.equal(method.quality, -method.variance), "a high variance is a bad sign"
    method.run._evaluation_batch = 16  # in several batches each sample still has its own label
    scores, _ = method._scores(networks, method.data, method.run)
    assert torch.allclose(scores, method.variance, rtol=1e-3)
    with torch.no_grad():
        mean = torch.stack([network(images).softmax(dim=1) for network in networks]).mean(dim=0)
    assert torch.equal(method.suggested, mean.argmax(dim=1))


def test_a_network_that_does_not_change_has_no_variance():
    networks = tiny_run(VOG).networks
    snapshots = vog.Snapshots()
    for _ in range(3):
        snapshots.take(networks[0])
    method = tiny_run(VOG).method
    scores, _ = method._scores(snapshots.networks(networks[0]), method.data, method.run)
    assert float(scores.abs().max()) < 1e-6


def test_snapshots_are_copies():
    network = tiny_run(VOG).networks[0]
    snapshots = vog.Snapshots()
    snapshots.take(network)
    before = network.head.bias.detach().clone()
    with torch.no_grad():
        network.head.bias.add_(1.0)
    again = vog.Snapshots()
    again.load_state_dict(snapshots.state_dict())
    assert torch.equal(again.networks(network)[0].head.bias, before)


def test_scores_are_compared_within_classes():
    method = tiny_run(VOG, noise_rate=0.3).method
    for k in range(3):
        inside = method.quality[method.data.labels == k]
        assert inside.mean().item() == pytest.approx(0, abs=1e-5)
        assert inside.std(correction=0).item() == pytest.approx(1, abs=1e-4)


def test_a_stage_trains_no_longer_than_it_has_to():
    """And at the learning rate of the whole plan: epoch 1 of 10 has the rate of epoch 1 of 10, not that of the last of 2."""
    run = tiny_run(VOG).run
    networks = vog.Beginning(run.networks(1, name="again"), run.protocol)
    networks.planned = 10
    networks.set_epoch(1, 2)
    assert networks.optimizers[0].param_groups[0]["lr"] == run.protocol.lr
    networks.set_epoch(9, 10)
    assert networks.optimizers[0].param_groups[0]["lr"] < run.protocol.lr


def test_frozen_features_have_no_pixels():
    with pytest.raises(conformance._NotApplicableError, match="frozen features have no pixels; use of=last_layer"):
        tiny_run(VOG, channels=6, size=FEATURES, of="pixels")
    assert torch.isfinite(tiny_run(VOG, channels=6, size=FEATURES).method.label_quality()).all()


def test_flags_exactly_the_rate():
    assert int(tiny_run(VOG, noise_rate=0.25).method.suspects().sum()) == 15
