"""Several networks in one pass against one after the other: the step alone, two networks of one run, and whole runs side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmark import worker
from benchmark.engines.base import WorkerOptions
from benchmark.grammar import parse_settings
from benchmark.registry import Registry
from benchmark.spec import expand, protocol
from benchmark.store import RunStore
from benchmark.training import joint_choice
from benchmark.training.backbones import Network, build_network
from benchmark.training.together import execute_together

pytestmark = [pytest.mark.perf, pytest.mark.usefixtures("one_thread")]

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
BOUND = 4.0
"""Eight seeds of cnn_small at 32 px on a GPU: least gain over eight runs in turn."""

SHAPES = {
    "cnn_small, 32 px": ("cnn_small", (3, 32, 32)),
    "cnn_small, 8 px": ("cnn_small", (1, 8, 8)),
    "linear, 512 features": ("linear", (512,)),
    "mlp, 512 features": ("mlp", (512,)),
}


def _networks(name: str, shape: tuple[int, ...], count: int) -> list[Network]:
    built = [build_network(name, channels=shape[0], size=shape[-1], num_classes=4, bf16=DEVICE.type == "cuda") for _ in range(count)]
    return [network.to(DEVICE) for network in built]


@pytest.mark.parametrize("seeds", [2, 4, 8, 16])
@pytest.mark.parametrize("what", SHAPES)
def test_step_of_several_seeds(what: str, seeds: int, report: Callable[[str], None]) -> None:
    name, shape = SHAPES[what]
    images = [torch.randn(32, *shape, device=DEVICE) for _ in range(seeds)]
    apart, together = joint_choice.compare(_networks(name, shape, seeds), images, rounds=9)
    bound = f" (≥ {BOUND} on a card)" if (what, seeds) == ("cnn_small, 32 px", 8) else ""
    took = f"{1000 * apart:.2f} ms in turn, {1000 * together:.2f} ms together"
    report(f"step of {seeds} × {what}, batch 32: {took}, {apart / together:.2f} ×{bound}")
    assert together > 0


@pytest.mark.parametrize("what", ["cnn_small, 32 px", "cnn_small, 8 px"])
def test_step_of_two_networks(what: str, report: Callable[[str], None]) -> None:
    name, shape = SHAPES[what]
    images = torch.randn(32, *shape, device=DEVICE)
    apart, together = joint_choice.compare(_networks(name, shape, 2), [images, images], rounds=15)
    report(
        f"two networks on the same batch, {what}: {1000 * apart:.2f} ms in turn, {1000 * together:.2f} ms in one, {apart / together:.2f} ×"
    )
    assert together > 0


@pytest.mark.parametrize(("method", "data"), [("ce", "digits"), ("coteaching", "digits"), ("ce", "tissue")])
def test_whole_runs(method: str, data: str, tmp_path: Path, report: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight runs from data to result, one process; CPU seconds on a CPU, which other processes do not change much."""
    clock = time.perf_counter if DEVICE.type == "cuda" else time.process_time

    def runs(name: str, answer: bool | None, group: bool) -> float:
        monkeypatch.setattr(joint_choice, "forced", answer)
        root = tmp_path / name
        specs = expand(
            Registry(),
            methods=parse_settings(method, what="method"),
            datasets=parse_settings(data, what="dataset"),
            noise=parse_settings("symmetric:0.2", what="noise"),
            seeds=range(8),
            protocol=protocol("quick", {"epochs": 3}),
            data_root=tmp_path,
        )
        keys, options = [RunStore(root).register(spec) for spec in specs], WorkerOptions(runs=root, device=DEVICE.type)
        started = clock()
        if group:
            outcomes = list(execute_together(worker.execute, keys, options, lambda event: None))
        else:
            outcomes = [worker.execute(key, options, lambda event: None) for key in keys]
        took = clock() - started
        assert {outcome.status for outcome in outcomes} == {"done"}
        found = [RunStore(root).result(key) or {} for key in keys]
        trained = sum(result["cost"]["train_seconds"] for result in found)
        stacked = max(result["cost"].get("stacked", 1) for result in found)
        report(f"8 seeds of {method} on {data}, {name}: {took:.2f} s, of which training {trained:.2f} s of wall time; joined: {stacked}")
        return took

    runs("warm-up", False, False)
    alone = runs("in turn", False, False)
    group = runs("in a group that joins nothing", False, True)
    chosen = runs("in a group that measures", None, True)
    joined = runs("in a group that joins all", True, True)
    report(f"in turn / in a group: {alone / group:.2f} without joining, {alone / chosen:.2f} as measured, {alone / joined:.2f} all joined")
    assert joined > 0
