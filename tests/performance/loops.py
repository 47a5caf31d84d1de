"""Training loops that the benchmarks of speed compare: a method through the harness, and the shortest loop on the same network."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from benchmark.api import TrainingData
from benchmark.registry import Registry
from benchmark.spec import protocol
from benchmark.training.augment import normalization
from benchmark.training.context import RunContext
from benchmark.training.networks import Networks
from benchmark.training.oracle import Oracle

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

Epoch = Callable[[], None]


def data(n: int, size: int = 32, device: torch.device = DEVICE) -> TrainingData:
    """Random RGB images of four classes."""
    images = torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, device=device)
    return TrainingData(images, torch.randint(0, 4, (n,), device=device), 4, ("a", "b", "c", "d"))


def context(training: TrainingData, backbone: str, batch_size: int, **changes: Any) -> RunContext:
    """A run without folder and observer: training alone."""
    noise = Registry().load("noise", "symmetric")()
    settings = protocol("quick", {"backbone": backbone, "batch_size": batch_size, "epochs": 1, **changes})
    oracle = Oracle(training.labels.cpu().numpy(), noise, 0.2, 4, training.class_names)
    return RunContext(training, settings, seed=0, device=training.labels.device, oracle=oracle)


def ours(name: str, training: TrainingData, backbone: str, batch_size: int, **changes: Any) -> Epoch:
    """One epoch of a method through the harness; run, networks and method are built beforehand, as once a run."""
    cls = Registry().load("method", name)
    run = context(training, backbone, batch_size, **changes)
    built = run.networks(cls.networks)
    method = cls()
    method.run, method.data = run, training
    method.setup(training, run)
    stages = itertools.count()

    def epoch() -> None:
        for number in run.epochs(f"train{next(stages)}", built):
            for batch in run.loader():
                run.step(built, method.training_step(batch, built, number), len(batch))
                run.history.record(number, batch.indices, batch.labels, built[0].last_logits)
        wait(training.labels.device)

    return epoch


def bare(training: TrainingData, backbone: str, batch_size: int) -> Epoch:
    """The shortest loop that shuffles, normalises and trains."""
    networks: Networks = context(training, backbone, batch_size).networks(1)
    network, optimizer = networks[0], networks.optimizers[0]
    scale, bias = (part.view(1, -1, 1, 1) for part in normalization("dataset", training.images))

    def epoch() -> None:
        network.train()
        order = torch.randperm(training.n, device=training.labels.device)
        for start in range(0, training.n, batch_size):
            picked = order[start : start + batch_size]
            images = training.images[picked].float() * scale + bias
            loss = F.cross_entropy(network(images), training.labels[picked])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        wait(training.labels.device)

    return epoch


def wait(device: torch.device = DEVICE) -> None:
    """Until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
