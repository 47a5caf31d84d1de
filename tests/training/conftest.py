"""A run on tiny data, without a worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.api import TrainingData
from benchmark.registry import Registry
from benchmark.spec import protocol
from benchmark.training.context import RunContext
from benchmark.training.oracle import Oracle

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _as_workers_train(one_thread: None) -> None:
    """Small tensors gain nothing from more threads, and the machine may be shared."""


def tiny(n: int, size: int, channels: int, classes: int) -> tuple[TrainingData, np.ndarray]:
    """Images of which a class is a brightness; every fourth label is wrong."""
    rng = np.random.default_rng(0)
    truth = np.arange(n) % classes
    level = 30 + 200 * truth / max(1, classes - 1)
    images = rng.normal(level[:, None, None, None], 15, (n, channels, size, size)).clip(0, 255).astype(np.uint8)
    given = np.where(np.arange(n) % 4 == 3, (truth + 1) % classes, truth)
    names = tuple("abcdefghij"[:classes])
    return TrainingData(torch.from_numpy(images), torch.from_numpy(given), classes, names), truth


@pytest.fixture
def context() -> Callable[..., RunContext]:
    """Builds a context: ``context(n=…, size=…, epochs=…, folder=…, …)``; anything else goes to the protocol."""

    def build(
        n: int = 24,
        size: int = 8,
        channels: int = 1,
        classes: int = 3,
        *,
        seed: int = 0,
        folder: Path | None = None,
        code: str = "",
        data: TrainingData | None = None,
        oracle: Oracle | None = None,
        **settings: Any,
    ) -> RunContext:
        made, truth = tiny(n, size, channels, classes)
        noise = Registry().load("noise", "none")()
        return RunContext(
            made if data is None else data,
            protocol("quick", {"epochs": 3, "batch_size": 8, "augmentation": "crop+flip", **settings}),
            seed=seed,
            device=CPU,
            oracle=oracle or Oracle(truth, noise, 0.25, classes, made.class_names),
            folder=folder,
            checkpoint_seconds=0.0,
            code=code,
        )

    return build
