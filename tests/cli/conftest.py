"""A throw-away benchmark: a tiny data set and methods that work, fail, diverge or decline."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.cli import main
from tests.cli.cleaning import answer, clean, root  # noqa: F401

TOY = '''
"""Toys."""
import numpy as np
import torch.nn.functional as F

from benchmark.api import Arrays, Dataset, Method, dataset, hp, method
from dataclasses import dataclass


@dataset("toy", version=1)
class Toy(Dataset):
    """Forty images of two classes."""

    def load(self, root):
        """Bright ones and dark ones."""
        labels = np.arange(40) % 2
        rng = np.random.default_rng(0)
        images = rng.integers(0, 100, (40, 8, 8, 1)) + 100 * labels[:, None, None, None]
        return Arrays(images.astype(np.uint8), labels.astype(np.int64), ("dark", "bright"))


class Base(Method):
    def training_step(self, batch, networks, epoch):
        return F.cross_entropy(networks[0](batch.images), batch.labels)


@method("works")
class Works(Base):
    """Trains."""

    @dataclass(frozen=True)
    class Params:
        strength: float = hp(1.0, 0.0, 2.0, help="of nothing")


@method("fails")
class Fails(Base):
    """Raises."""

    def training_step(self, batch, networks, epoch):
        raise RuntimeError("[bold]no[/bold] luck")


@method("diverges")
class Diverges(Base):
    """Loses its loss."""

    def training_step(self, batch, networks, epoch):
        return super().training_step(batch, networks, epoch) * float("nan")


@method("declines")
class Declines(Base):
    """Cannot run on anything."""

    def supports(self, data):
        return "it is too shy"


@method("stopped")
class Stopped(Base):
    """The user presses Ctrl-C."""

    def training_step(self, batch, networks, epoch):
        raise KeyboardInterrupt
'''


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    """A plugin file."""
    path = tmp_path / "toys" / "toys.py"
    path.parent.mkdir()
    path.write_text(TOY, encoding="utf-8")
    return path


@pytest.fixture
def bench(tmp_path: Path, toys: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs one command in this process, away from the checkout's own folders; returns its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCHMARK_PLUGINS", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def call(*words: str) -> int:
        if words[0] == "run":
            small = {"--datasets": "toy", "--epochs": "1", "--device": "cpu", "--jobs": "1"}
            unset = [part for option, value in small.items() if option not in words for part in (option, value)]
            words = ("run", *unset, "--no-tracking", "--plugin", str(toys), *words[1:])
        if words[0] == "noise":
            words = (*words, "--plugin", str(toys))
        return main(words)

    return call
