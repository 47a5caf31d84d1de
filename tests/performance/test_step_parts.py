"""What single changes to a training step on a CPU are worth, each against the step without it in the same run."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.training.backbones import Network, build_network
from benchmark.training.optimizers import OPTIMIZERS

pytestmark = [pytest.mark.perf, pytest.mark.usefixtures("one_thread")]

STEPS = 20


def as_drawn() -> Network:
    """cnn_small with the activation before the pooling, and torch's own layer for the last pooling."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 24), (24, 48), (48, 96)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(2)] if outputs < 96 else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return Network(nn.Sequential(*layers), 96, 4)


def steps(network: Network, images: Tensor, *, fused: bool):
    """A function that makes some training steps."""
    labels = torch.arange(len(images)) % 4
    kind = OPTIMIZERS["adam"] if fused else torch.optim.Adam
    optimizer = kind(network.parameters(), lr=1e-3, fused=fused, foreach=not fused)

    def run() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()

    return run


@pytest.mark.parametrize(("size", "batch"), [(8, 32), (32, 32), (32, 128)])
def test_a_step(size, batch, interleaved, report):
    images = torch.randn(batch, 3, size, size)
    for what, first, second in (
        ("fused optimiser", (cnn_small(size), True), (cnn_small(size), False)),
        ("pooling before the activation, dense last gradient", (cnn_small(size), True), (as_drawn(), True)),
    ):
        with_it, without, ratio = interleaved(*(steps(network, images, fused=fused) for network, fused in (first, second)), rounds=9)
        took = f"{1e3 * with_it / STEPS:.2f} ms, without {1e3 * without / STEPS:.2f}, {ratio:.3f} ×"
        report(f"step of cnn_small, {size} px, batch {batch}, {what}: {took}")
        assert with_it > 0


def cnn_small(size: int) -> Network:
    """As the protocol has it."""
    return build_network("cnn_small", channels=3, size=size, num_classes=4)


FREED = """
import resource, sys, torch
from benchmark.training.backbones import build_network
from benchmark.training.devices import keep_freed_memory
torch.set_num_threads(1)
kept = keep_freed_memory() if sys.argv[1] == "kept" else False
network, images = build_network("cnn_small", channels=3, size=32, num_classes=4), torch.randn(128, 3, 32, 32)
before = resource.getrusage(resource.RUSAGE_SELF)
for _ in range(200):
    network(images).logsumexp(dim=1).mean().backward()
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_minflt - before.ru_minflt, after.ru_stime - before.ru_stime, after.ru_utime - before.ru_utime)
"""

FIRST = """
import sys, time, psutil, torch
from benchmark.training.optimizers import OPTIMIZERS
weight = torch.nn.Parameter(torch.zeros(3))
memory, started = psutil.Process().memory_info().rss, time.process_time()
kind = OPTIMIZERS["adam"] if sys.argv[1] == "ours" else torch.optim.Adam
optimizer = kind([weight], fused=True)
weight.sum().backward()
optimizer.step()
print(time.process_time() - started, (psutil.Process().memory_info().rss - memory) / 2**20)
"""


def told(program: str, word: str) -> list[float]:
    """The numbers that a program prints, in a process of its own."""
    ended = subprocess.run([sys.executable, "-c", program, word], capture_output=True, text=True, check=True)
    return [float(part) for part in ended.stdout.split()]


def test_freed_memory(report):
    for word in ("left", "kept", "left", "kept"):
        faults, system, user = told(FREED, word)
        took = f"{faults:.0f} page faults, {system:.2f} s in the system, {user:.2f} s outside"
        report(f"200 steps of cnn_small, 32 px, batch 128, freed memory {word}: {took}")
    assert faults > 0


def test_the_first_optimiser_of_a_process(report):
    for word in ("torch", "ours"):
        seconds, megabytes = told(FIRST, word)
        report(f"first optimiser and step of a process, {word}: {seconds:.3f} s of CPU, {megabytes:.0f} MB")
    assert seconds > 0
