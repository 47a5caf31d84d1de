"""Masks that a test trains on for as many epochs as it needs; the contract kit's tiny runs have two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.api import TrainingData
from benchmark.conformance import TinyRun
from benchmark.params import resolve
from benchmark.spec import protocol
from benchmark.tasks import defaults_of, task_of
from benchmark.training.context import RunContext
from benchmark.training.oracle import Oracle


class Killed(Exception):
    """Ends a run between two epochs."""


class _Killer:
    def __init__(self, after: int | None) -> None:
        self.left = after

    def after_epoch(self, line: dict[str, Any], predict: Any, *, final: bool = True) -> None:
        if self.left is not None:
            if self.left == 0:
                raise Killed
            self.left -= 1

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


@pytest.fixture
def train_masks() -> Callable[..., TinyRun | None]:
    """``train_masks(cls, (data, truth), seed=…, epochs=…, folder=…, parameter=value)``: a run by the quick protocol, of batches of 8.

    With ``kill_after`` it ends before that 0-based epoch is over, and there is nothing to return.
    """

    def train(cls, case, *, seed=0, epochs=2, folder: Path | None = None, kill_after=None, batch_size=8, augmentation="none", **params):
        data, truth = case
        quick = dict(defaults_of("segmentation").protocols["quick"])
        torch.seed()
        run = RunContext(
            data,
            protocol("quick", {**quick, "epochs": epochs, "batch_size": batch_size, "augmentation": augmentation}),
            seed=seed,
            device=torch.device("cpu"),
            oracle=Oracle(truth, None, None, data.num_classes, data.class_names),
            folder=folder,
            checkpoint_seconds=0.0,
            task=task_of("segmentation"),
        )
        run.observe(_Killer(kill_after))
        method = cls(resolve(cls.Params, params, cls.name))
        method.run, method.data = run, data
        method.setup(data, run)
        try:
            networks = method.fit(data, run)
        except Killed:
            return None
        networks.train(False)
        probabilities = run.predict(lambda images: method.predict(networks, images))
        return TinyRun(data, method, run, networks, probabilities, {"label_quality": method.label_quality()})

    return train


@pytest.fixture
def discs() -> Callable[..., tuple[TrainingData, np.ndarray]]:
    """``discs(n, size, seed, wrong)``: bright discs on a dark ground, a share of whose masks is too large, too small or elsewhere."""

    def make(n=24, size=16, seed=0, wrong=0.4, change=3.0, misplaced=False):
        rng = np.random.default_rng(seed)
        rows, columns = np.mgrid[:size, :size]
        distance = np.stack([np.hypot(rows - r, columns - c) for r, c in rng.uniform(0.35, 0.65, (n, 2)) * size])
        truth = (distance < size / 4).astype(np.uint8)[:, None]
        given = truth.copy()
        for i in rng.choice(n, round(wrong * n), replace=False):
            given[i, 0] = distance[rng.integers(n)] < size / 4 if misplaced else distance[i] < size / 4 + rng.choice([-change, change])
        images = (60 + 90 * truth + rng.normal(0, 20, truth.shape)).clip(0, 255).astype(np.uint8)
        return TrainingData(torch.from_numpy(images), torch.from_numpy(given), 2, ("ground", "disc"), ("disc",)), truth

    return make
