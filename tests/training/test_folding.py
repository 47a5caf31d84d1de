"""The folded pass of an evaluation: the plain pass's numbers, today's weights, and out of the way where it does not fit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from benchmark.training.backbones import Network, build_network
from benchmark.training.folding import _TRUNKS, folded, folding


def trained(name: str, channels: int = 3, size: int = 32) -> Network:
    """A network whose batch norms have seen data and whose affine parts are not 1 and 0; in evaluation mode."""
    torch.manual_seed(0)
    network = build_network(name, channels=channels, size=size, num_classes=5)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
        for _ in range(2):
            network(torch.randn(8, channels, size, size) * 2 + 0.5)
    return network.eval()


@pytest.mark.parametrize(
    ("name", "channels", "size", "layers"),
    [("cnn_small", 3, 32, 3), ("cnn_small", 1, 9, 3), ("cnn9", 3, 28, 9), ("resnet18", 3, 16, 20), ("preact_resnet18", 1, 16, 8)],
)
def test_the_folded_pass_gives_the_plain_passs_logits(name, channels, size, layers):
    network, images = trained(name, channels, size), torch.randn(4, channels, size, size)
    with torch.no_grad():
        plain = network(images)
        with folding():
            found = network(images)
            assert len(_TRUNKS[network].layers) == layers
            assert torch.equal(network(images), found)
        assert torch.equal(network(images), plain)
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-5)


def test_every_evaluation_folds_the_weights_as_they_are_then():
    network, images = trained("cnn_small", 3, 8), torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        with folding():
            before = network(images)
        network.trunk[0].weight.mul_(-1)
        network.trunk[1].running_var.mul_(4)
        with folding():
            after = network(images)
        assert (before - after).abs().max() > 1e-2
        torch.testing.assert_close(after, network(images), rtol=1e-5, atol=1e-5)


def test_weights_that_are_swapped_in_are_folded_too():
    network, other, images = trained("cnn_small", 3, 8), trained("cnn_small", 3, 8), torch.randn(4, 3, 8, 8)
    with torch.no_grad(), folding():
        network(images)
        other.trunk[0].weight.add_(0.1)
        theirs = dict(other.named_parameters())
        torch.testing.assert_close(torch.func.functional_call(network, theirs, (images,)), other(images))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_training_gradients_stacks_and_other_precisions_take_the_plain_pass():
    network, images = trained("cnn_small", 3, 8), torch.randn(4, 3, 8, 8)
    with folding():
        assert folded(network, network.trunk, images) is network.trunk  # gradients
        with torch.no_grad():
            assert folded(network, network.trunk, images) is not network.trunk
            assert folded(network, network.trunk, images.double()) is network.trunk
            with torch.autocast("cpu", torch.bfloat16):
                assert folded(network, network.trunk, images) is network.trunk
            network.train()
            assert folded(network, network.trunk, images) is network.trunk
            network.eval()
            stacked = torch.vmap(lambda one: folded(network, network.trunk, one)(one))(images[None])
            torch.testing.assert_close(stacked[0], network.features(images), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        assert folded(network, network.trunk, images) is network.trunk  # nobody evaluates


def test_a_forward_pass_that_decides_by_what_it_sees_is_left_alone():
    class Deciding(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, images):
            return self.norm(self.conv(images)).mean(dim=(2, 3)) if images.sum() > 0 else torch.zeros(len(images), 4)

    network, hooked = Network(Deciding(), 4, 2).eval(), trained("cnn_small", 3, 8)
    seen = []
    hooked.trunk[1].register_forward_hook(lambda *given: seen.append(1))
    with torch.no_grad(), folding():
        assert network(torch.ones(2, 3, 8, 8)).shape == (2, 2)
        hooked(torch.ones(2, 3, 8, 8))
    assert seen


def test_a_batch_norm_that_adapts_to_its_batch_is_not_folded():
    network, images = trained("cnn_small", 3, 8), torch.randn(4, 3, 8, 8)
    with torch.no_grad(), folding():
        assert folded(network, network.trunk, images) is not network.trunk
        network.trunk[1].train()
        assert folded(network, network.trunk, images) is network.trunk
        network.eval()
        assert folded(network, network.trunk, images) is not network.trunk


def test_an_activation_that_falls_stays_behind_its_pooling():
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.LeakyReLU(-0.5), nn.Flatten())
    network, images = Network(trunk, 36, 2).eval(), torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        plain = network(images)
        with folding():
            torch.testing.assert_close(network(images), plain, rtol=1e-5, atol=1e-5)


def test_the_folded_pass_is_no_part_of_the_network():
    network = trained("cnn_small", 3, 8)
    names = list(network.state_dict())
    with torch.no_grad(), folding():
        network(torch.randn(2, 3, 8, 8))
    assert list(network.state_dict()) == names
    assert copy.deepcopy(network) not in _TRUNKS


def test_an_activation_behind_a_pooling_is_done_before_it():
    network = build_network("cnn_small", channels=3, size=16, num_classes=4).eval()
    with torch.no_grad(), folding():
        found = folded(network, network.trunk, torch.randn(2, 3, 16, 16))
    called = [type(found.get_submodule(str(node.target))).__name__ for node in found.graph.nodes if node.op == "call_module"]
    assert called == ["FoldedConvolution", "_Halving", "FoldedConvolution", "_Halving", "FoldedConvolution", "Flatten"]
