"""Optimisers: the numbers of torch's own, without its compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from benchmark.training.optimizers import OPTIMIZERS

SETTINGS = {
    "adam": {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.1},
    "adamw": {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.1},
    "sgd": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
}
THEIRS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


def trained(kind: type[torch.optim.Optimizer], settings: dict[str, object]) -> torch.Tensor:
    """A weight after five steps on x², saved and restored after the second."""
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
    optimizer = kind([weight], **settings, fused=True)
    for step in range(5):
        optimizer.zero_grad(set_to_none=True)
        weight.square().sum().backward()
        optimizer.step()
        if step == 1:
            saved = optimizer.state_dict()
            optimizer = kind([weight], **settings, fused=True)
            optimizer.load_state_dict(saved)
    return weight.detach()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_numbers_are_those_of_torch(name: str) -> None:
    ours, theirs = trained(OPTIMIZERS[name], SETTINGS[name]), trained(THEIRS[name], SETTINGS[name])
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, torch.tensor([1.0, -2.0, 3.0]))


def test_a_step_of_sgd_by_hand() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = OPTIMIZERS["sgd"]([weight], lr=0.1, momentum=0.9, fused=True)
    for expected in (1 - 0.1 * 2, 0.8 - 0.1 * (0.9 * 2 + 1.6)):
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
        assert float(weight.detach()) == pytest.approx(expected)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_gradient_that_lies_otherwise_in_memory_goes_to_its_own_weights(name: str) -> None:
    """As a method may put one there, say a part of a long vector; the fused step reads memory from end to end."""
    found = []
    for kind, fused in ((OPTIMIZERS[name], True), (THEIRS[name], False)):
        weight = torch.nn.Parameter(torch.zeros(2, 3, 2, 2).contiguous(memory_format=torch.channels_last))
        optimizer = kind([weight], **SETTINGS[name], fused=fused)
        for _ in range(2):
            weight.grad = (7 * torch.arange(24.0) % 5 - 2).view(2, 3, 2, 2)
            optimizer.step()
        found.append(weight.detach())
    torch.testing.assert_close(*found)


def test_a_weight_may_have_its_first_gradient_later_than_the_others() -> None:
    found = []
    for kind, fused in ((OPTIMIZERS["sgd"], True), (torch.optim.SGD, False)):
        first, later = (torch.nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
        optimizer = kind([first, later], **SETTINGS["sgd"], fused=fused)
        for step in range(4):
            optimizer.zero_grad()
            (first.square().sum() + (later.square().sum() if step else 0)).backward()
            optimizer.step()
        found.append(torch.stack([first.detach(), later.detach()]))
    torch.testing.assert_close(*found)
    assert not torch.equal(found[0][0], found[0][1])


def test_training_does_not_import_the_compiler() -> None:
    """It takes three seconds of every worker process, more than a short run trains."""
    program = """
import sys, torch
from benchmark.spec import protocol
from benchmark.training.backbones import build_network
from benchmark.training.networks import Networks
networks = Networks([build_network("cnn_small", channels=3, size=8, num_classes=3)], protocol("quick"))
networks.step(networks[0](torch.randn(4, 3, 8, 8)).logsumexp(dim=1).mean())
networks.load_state_dict(networks.state_dict())
print("torch._dynamo" in sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"
