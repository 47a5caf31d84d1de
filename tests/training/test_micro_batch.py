"""Batches in pieces: the whole batch's gradient without batch norm, ghost batch norm with it, and nothing counted twice."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.api import TrainingData
from benchmark.bags.model import build_bag_model
from benchmark.conformance import tiny_run
from benchmark.registry import Registry
from benchmark.segmentation.networks import build_segmentation_network
from benchmark.training.backbones import Network, build_network
from benchmark.training.context import RunContext
from benchmark.training.micro_batch import Pieces, in_pieces
from benchmark.training.networks import Networks


def small(name: str = "cnn_small", seed: int = 0, **settings: Any) -> Network:
    torch.manual_seed(seed)
    return build_network(name, channels=settings.pop("channels", 1), size=8, num_classes=3, **settings)


def gradients(network: nn.Module, loss: Tensor) -> list[Tensor]:
    network.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in network.parameters() if p.grad is not None]


def sizes_seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    seen: list[int] = []
    forward = Network._features
    monkeypatch.setattr(Network, "_features", lambda self, images: (seen.append(len(images)), forward(self, images))[1])
    return seen


@pytest.mark.parametrize(("name", "shape"), [("mlp", (10, 6)), ("linear", (10, 6))])
def test_without_batch_norm_it_is_the_whole_batch(name: str, shape: tuple[int, ...]) -> None:
    network, images, labels = small(name, channels=6), torch.randn(*shape), torch.arange(10) % 3
    whole = gradients(network, F.cross_entropy(network(images), labels))
    logits = network(images)
    network.micro_batch = 3
    torch.testing.assert_close(network(images), logits, rtol=1e-6, atol=1e-6)
    for one, other in zip(gradients(network, F.cross_entropy(network(images), labels)), whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_with_batch_norm_it_is_ghost_batch_norm() -> None:
    """Against the loop written out: one forward pass a piece, one backward pass; weights, averages and counters are the same."""
    network, images, labels = small(), torch.randn(11, 1, 8, 8), torch.arange(11) % 3
    bare = copy.deepcopy(network)
    network.micro_batch = 4
    found = gradients(network, F.cross_entropy(network(images), labels))
    loss = F.cross_entropy(torch.cat([bare(images[:4]), bare(images[4:8]), bare(images[8:])]), labels)
    for one, other in zip(found, gradients(bare, loss), strict=True):
        torch.testing.assert_close(one, other)
    assert network.state_dict().keys() == bare.state_dict().keys()
    for key, value in bare.state_dict().items():
        assert torch.equal(network.state_dict()[key], value), key
    assert int(network.state_dict()["trunk.1.num_batches_tracked"]) == 3
    assert all(part.momentum == 0.1 for part in network.modules() if isinstance(part, nn.BatchNorm2d))
    assert network.last_logits is not None and network.last_logits.shape == (11, 3)


def test_pieces_are_of_like_size_and_leave_no_single_image_to_batch_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = sizes_seen(monkeypatch)
    for size, batch, expected in ((4, 9, [3, 3, 3]), (8, 9, [5, 4]), (2, 5, [3, 2]), (1, 5, [3, 2]), (1, 3, [3]), (9, 9, [9])):
        network = small()
        network.micro_batch = size
        seen.clear()
        network(torch.randn(batch, 1, 8, 8))
        assert seen == expected
    plain = small("mlp", channels=6)
    plain.micro_batch = 1
    seen.clear()
    plain(torch.randn(3, 6))
    assert seen == [1, 1, 1]


def test_without_gradients_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    network, seen = small(), sizes_seen(monkeypatch)
    network.micro_batch = 2
    with torch.no_grad():
        network(torch.randn(6, 1, 8, 8))
    network.eval()
    images = torch.randn(6, 1, 8, 8)
    with torch.no_grad():
        whole = network(images)
    torch.testing.assert_close(network(images), whole)  # batch norm's averages are the same for each piece
    assert seen == [6, 6, 2, 2, 2]


def test_dropout_draws_the_same_again() -> None:
    """The second computation has the random numbers of the first, or the gradient would be that of another function."""
    layers = nn.Sequential(nn.Linear(6, 50), nn.Dropout(0.5))
    images = torch.randn(8, 6)
    torch.manual_seed(3)
    found = in_pieces(layers, layers, images, 4)
    after = torch.rand(())
    kept = [p.clone() for p in gradients(layers, found.sum())]
    torch.manual_seed(3)
    plain = torch.cat([layers(images[:4]), layers(images[4:])])
    assert torch.equal(torch.rand(()), after) and torch.equal(found, plain)
    for one, other in zip(kept, gradients(layers, plain.sum()), strict=True):
        torch.testing.assert_close(one, other)


def test_memory_holds_one_piece() -> None:
    """Activations that are kept for the backward pass, counted by autograd's own hook."""
    kept: list[int] = []

    def held(micro_batch: int | None) -> int:
        network = small()
        network.micro_batch = micro_batch
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t.numel()), t)[1], lambda t: t):
            network(torch.randn(32, 1, 8, 8))
        return sum(kept)

    assert held(4) < held(None) / 10


def test_masks_pass_in_pieces() -> None:
    torch.manual_seed(0)
    network = build_segmentation_network("vnet_small", channels=1, tasks=2, classes=2)
    bare, images = copy.deepcopy(network), torch.randn(5, 1, 18, 18)
    network.micro_batch = 2
    found = gradients(network, network(images).square().mean())
    loss = torch.cat([bare(images[:3]), bare(images[3:])]).square().mean()
    for one, other in zip(found, gradients(bare, loss), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    assert network.with_features(images)[1].shape == (5, network.width)


def test_what_a_run_notes_of_its_networks() -> None:
    pieces = Pieces(4)
    pieces.apply(small("mlp", channels=6))
    assert (pieces.least, pieces.refusal) == (1, "")
    network = small()
    pieces.apply(network)
    assert network.micro_batch == 4 and (pieces.least, pieces.refusal) == (2, "")
    pieces.apply(build_bag_model("auto", (6,), "abmil"))
    assert pieces.refusal.startswith("a batch of bags is not cut")
    assert pieces.of_evaluation(512) == 4 and pieces.of_evaluation(3) == 3 and Pieces().of_evaluation(512) == 512


@pytest.mark.parametrize("name", ["ce", "coteaching"])
def test_methods_see_the_whole_batch(context: Callable[..., RunContext], name: str) -> None:
    """Features and a linear network: the run in pieces ends as the run in whole batches, co-teaching's selection included."""
    torch.manual_seed(0)
    features, labels = torch.randn(24, 6), torch.arange(24) % 3
    ends = []
    for size in (None, 3):
        data = TrainingData(features, labels, 3, ("a", "b", "c"))
        run = context(data=data, backbone="mlp", augmentation="none")
        run._pieces = Pieces(size)
        cls = Registry().load("method", name)
        method = cls()
        method.run, method.data = run, data
        method.setup(data, run)
        networks: Networks = method.fit(data, run)
        ends.append([*(p for net in networks for p in net.parameters()), method.label_quality(), run.history.values.nan_to_num(-1)])
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_checkpoint_of_whole_batches_is_gone_on_from(context: Callable[..., RunContext], tmp_path: Path) -> None:
    run = context(folder=tmp_path)
    networks = run.networks()
    for epoch in run.epochs("train", networks):
        for batch in run.loader():
            run.step(networks, F.cross_entropy(networks[0](batch.images), batch.labels), len(batch))
        if epoch == 1:
            break
    again = context(folder=tmp_path)
    again._pieces = Pieces(2)
    assert next(again.epochs("train", again.networks())) == 1


def test_every_kind_of_method_goes_on_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Augmented pairs, mixed labels, a teacher, gradients of the last layer: none of them looks into a forward pass."""
    init = RunContext.__init__

    def cut(self: RunContext, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs, pieces=Pieces(4))

    monkeypatch.setattr(RunContext, "__init__", cut)
    for name in ("hsa", "mixup", "elr", "vog", "seg_ce"):
        assert torch.isfinite(tiny_run(Registry().load("method", name)).probabilities).all()
