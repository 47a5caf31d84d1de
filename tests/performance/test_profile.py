"""What profiling costs a training epoch: nothing while it is off, some per cent while it is on. Processor time, rounds interleaved."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
import torch

from benchmark import profiling, worker
from benchmark.engines.base import WorkerOptions
from benchmark.grammar import parse_settings
from benchmark.profiling import recorder
from benchmark.profiling.stopwatch import Stopwatch
from benchmark.profiling.summary import mean_column, read_profile, rows_of
from benchmark.registry import Registry
from benchmark.spec import expand, protocol
from benchmark.store import RunStore
from benchmark.training.augment import Augmenter
from benchmark.training.context import RunContext
from benchmark.training.history import SampleHistory
from benchmark.training.loader import Loader
from benchmark.training.networks import Networks
from tests.performance.test_training_speed import data, ours

pytestmark = [pytest.mark.perf, pytest.mark.usefixtures("one_thread")]

TIMED = [
    (Augmenter, "draw"),
    (Augmenter, "__call__"),
    (SampleHistory, "record"),
    (Loader, "__iter__"),
    (RunContext, "_save"),
    (RunContext, "_resume"),
]


def _bare_step(self: Networks, loss: torch.Tensor, after_backward: Callable[[], None] | None = None) -> torch.Tensor:
    """``Networks.step`` without a word to the profile."""
    for optimizer in self.optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for optimizer in self.optimizers:
        optimizer.step()
    return loss.detach()


@contextmanager
def without_call_sites() -> Iterator[None]:
    """The code as it would be if nothing could be profiled."""
    patches = [mock.patch.object(owner, name, getattr(owner, name).__wrapped__) for owner, name in TIMED]
    patches += [mock.patch.object(Networks, "step", _bare_step)]
    patches += [mock.patch.object(profiling, name, lambda *a, **k: None) for name in ("step_done", "stage_begins", "stage_ends")]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def ratio_of(first: Callable[[], object], second: Callable[[], object], rounds: int) -> tuple[float, float]:
    """The median of first/second and the seconds of second, in processor time: others use this machine too."""
    ratios, seconds = [], []
    first(), second()
    for number in range(rounds):
        times = {}
        for function in (first, second) if number % 2 else (second, first):
            begun = time.process_time()
            function()
            times[function] = time.process_time() - begun
        ratios.append(times[first] / times[second])
        seconds.append(times[second])
    return statistics.median(ratios), statistics.median(seconds)


@pytest.mark.parametrize(("size", "n"), [(8, 2000), (32, 1000)])
def test_a_ce_epoch_with_the_profile_off_and_on(size: int, n: int, report, tmp_path: Path) -> None:
    training = data(n, size)
    epoch = ours("ce", training, "cnn_small", 32)
    with profiling.recording(True, tmp_path):
        watched = ours("ce", training, "cnn_small", 32)

    def bare() -> None:
        with without_call_sites():
            epoch()

    def profiled() -> None:
        with profiling.recording(True, tmp_path):
            watched()

    off, seconds = ratio_of(epoch, bare, rounds=15)
    on, _ = ratio_of(profiled, bare, rounds=9)
    figures = f"off {off:.3f}, on {on:.3f} of one that cannot be profiled ({seconds:.2f} s)"
    report(f"profile of a ce epoch, cnn_small, {size} px, batch 32: {figures}")
    assert seconds > 0


def test_the_calls_of_a_step_while_the_profile_is_off(report) -> None:
    """By themselves, because an epoch scatters by more than they take."""
    nothing = profiling.timed("history")(lambda: None)

    def step() -> None:
        for name in ("optimiser", "backward", "optimiser"):
            with profiling.part(name):
                pass
        nothing(), nothing()  # augmentation and history
        profiling.step_done(32)

    begun = time.process_time()
    for _ in range(20_000):
        step()
    seconds = time.process_time() - begun
    report(f"the calls of a step while nothing is profiled: {1e6 * seconds / 20_000:.2f} µs")
    assert seconds > 0


@pytest.mark.parametrize(("methods", "dataset"), [("ce,hsa", "digits"), ("ce", "tissue:n=2000")])
def test_where_the_time_of_a_run_goes(methods: str, dataset: str, report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of ``run --profile``, 20 epochs, by processor time; the second of two runs, so that everything is imported."""
    monkeypatch.setattr(recorder, "Stopwatch", functools.partial(Stopwatch, time.process_time))
    store, columns = RunStore(tmp_path / "runs"), []
    specs = expand(
        Registry(()),
        methods=parse_settings(methods, what="methods"),
        datasets=parse_settings(dataset, what="datasets"),
        noise=parse_settings("symmetric:0.2", what="noise"),
        seeds=[0],
        protocol=protocol("quick", {"epochs": 20}),
        data_root=tmp_path / "data",
    )
    for spec in specs:
        key, method = store.register(spec), spec.labels["method"]
        for _ in range(2):
            store.archive(key)
            options = WorkerOptions(store.root, device="cpu", data_root=tmp_path / "data", profile=True)
            assert worker.execute(key, options, lambda event: None).status == "done"
        profile = read_profile(store.folder(key))
        assert profile is not None
        parts = {part: seconds for part, seconds in profile["parts"].items() if part != "profiling"}
        columns.append(mean_column(method, [{"parts": parts}]))
        kept = 100 * (parts["evaluation"] + parts["checkpoint"]) / sum(parts.values())
        report(f"{method} on {dataset}: evaluation, logging and checkpoints {kept:.1f} % of the run")
    for row in [["", *(column.method for column in columns)], *rows_of(columns)]:
        report(" | ".join(f"{cell:20}" for cell in row))
    assert all(column.total > 0 for column in columns)
