"""What a run does beside training: evaluation, logging and checkpoints of a quick run of 20 epochs, as shares of it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import pytest

from benchmark.engines.base import WorkerOptions
from benchmark.grammar import parse_settings
from benchmark.observer import RunObserver
from benchmark.registry import Registry
from benchmark.spec import expand, protocol
from benchmark.store import RunStore
from benchmark.training import checkpoint
from benchmark.training.context import RunContext

pytestmark = pytest.mark.perf

EPOCHS = 20

PLUGIN = '''
"""Pixels that are drawn in no time."""
import numpy as np

from benchmark.api import Arrays, Dataset, dataset


@dataset("drawn", version=1)
class Drawn(Dataset):
    """Two thousand RGB images of 32 px in four classes."""

    def load(self, root):
        rng = np.random.default_rng(0)
        labels = np.arange(2000) % 4
        images = rng.normal(60 + 40 * labels[:, None, None, None], 40, (2000, 32, 32, 3)).clip(0, 255).astype(np.uint8)
        return Arrays(images, labels, ("a", "b", "c", "d"))
'''


class Clock:
    """Processor and wall seconds of functions by name; of one inside another, each has what is its own."""

    def __init__(self) -> None:
        self.processor: dict[str, float] = {}
        self.wall: dict[str, float] = {}
        self._inner = [[0.0, 0.0]]

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, watched."""

        @functools.wraps(call)
        def watched(*arguments: Any, **options: Any) -> Any:
            self._inner.append([0.0, 0.0])
            started = time.process_time(), time.perf_counter()
            try:
                return call(*arguments, **options)
            finally:
                spent = time.process_time() - started[0], time.perf_counter() - started[1]
                inner = self._inner.pop()
                self.processor[name] = self.processor.get(name, 0.0) + spent[0] - inner[0]
                self.wall[name] = self.wall.get(name, 0.0) + spent[1] - inner[1]
                self._inner[-1] = [total + own for total, own in zip(self._inner[-1], spent, strict=True)]

        return watched


def run_once(folder, plugin, data: str, seed: int) -> Clock:
    """One run of ce through the worker, as a command would start it, on one thread."""
    from benchmark import worker

    store, clock = RunStore(folder), Clock()
    registry = Registry((str(plugin),))
    with pytest.MonkeyPatch.context() as patch:
        evaluator = RunContext._evaluator
        patch.setattr(RunContext, "_evaluator", lambda *given: clock.timed("evaluation", evaluator(*given)))
        patch.setattr(RunObserver, "after_epoch", clock.timed("logging", RunObserver.after_epoch))
        patch.setattr(checkpoint, "save", clock.timed("checkpoint", checkpoint.save))
        patch.setattr(RunContext, "epochs", _timed_epochs(clock, RunContext.epochs))
        settings = protocol("quick", {"epochs": EPOCHS})
        (spec,) = expand(
            registry,
            methods=parse_settings("ce", what="method"),
            datasets=parse_settings(data, what="dataset"),
            noise=parse_settings("symmetric:0.2", what="noise"),
            seeds=[seed],
            protocol=settings,
            data_root=folder / "data",
        )
        store.register(spec)
        options = WorkerOptions(folder, device="cpu", data_root=folder / "data", plugins=(str(plugin),))
        outcome = clock.timed("the rest", worker.execute)(spec.key(), options, lambda event: None)
    assert outcome.status == "done", outcome.message
    return clock


def _timed_epochs(clock: Clock, epochs: Callable[..., Any]) -> Callable[..., Any]:
    """The time between ``yield`` and the next call is the training."""

    def watched(*arguments: Any, **options: Any) -> Any:
        for epoch in epochs(*arguments, **options):
            started, inner = (time.process_time(), time.perf_counter()), clock._inner
            yield epoch
            spent = time.process_time() - started[0], time.perf_counter() - started[1]
            clock.processor["training"] = clock.processor.get("training", 0.0) + spent[0]
            clock.wall["training"] = clock.wall.get("training", 0.0) + spent[1]
            inner[-1] = [total + own for total, own in zip(inner[-1], spent, strict=True)]

    return watched


@pytest.mark.parametrize("data", ["digits", "drawn"])
def test_share_of_evaluation_logging_and_checkpoints(data, tmp_path, report):
    plugin = tmp_path / "drawn.py"
    plugin.write_text(PLUGIN)
    run_once(tmp_path / "warm", plugin, data, 0)
    best = min((run_once(tmp_path / str(seed), plugin, data, seed) for seed in (1, 2, 3)), key=lambda clock: sum(clock.processor.values()))
    for kind, seconds in (("processor", best.processor), ("wall", best.wall)):
        total = sum(seconds.values())
        parts = ", ".join(f"{name} {100 * seconds[name] / total:.1f} %" for name in seconds)
        beside = sum(seconds[name] for name in ("evaluation", "logging", "checkpoint"))
        report(f"{data}, ce, {EPOCHS} epochs, {kind} time {total:.2f} s: {parts}; beside the training {100 * beside / total:.1f} % (< 5 %)")
    assert best.processor["evaluation"] > 0
