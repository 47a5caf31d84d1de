"""hsa end to end on a folder of JPEG tiles, against the same method as a textbook writes it, and against the arithmetic alone.

``BENCHMARK_PERF_SCALE=0.1`` takes a tenth of the tiles, the fewest, for a quick look; what is printed says how many there were.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from benchmark.grammar import parse_settings
from benchmark.prepare import PreparedData, prepare
from benchmark.registry import Registry
from benchmark.resolve import open_dataset
from benchmark.spec import expand, protocol
from benchmark.training.backbones import build_network

pytestmark = [pytest.mark.perf, pytest.mark.timeout(7200)]

ROOT = Path(__file__).resolve().parents[2]
SCALE = float(os.environ.get("BENCHMARK_PERF_SCALE", "1"))
TILES, EPOCHS, BATCH, RATE = max(800, round(8000 * SCALE)), 24, 32, 0.2
LARGE_TILES, LARGE_EPOCHS = max(80, round(640 * SCALE)), 6
"""Tiles of 96 px and epochs, for what bfloat16 adds: nine times the arithmetic a tile."""
THREADS = (1, 2)
"""Of our runs on a CPU. The textbook's main process has as many as torch gives it, and two loader workers beside them."""
BOUNDS = {"cpu": 1.6, "cuda": 10.0}
BARE_BOUND = 1.10
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]),
]


def write_tiles(folder: Path, n: int, size: int) -> Path:
    """A folder of class folders with n drawn tissue tiles of four classes as JPEG files."""
    dataset, _ = open_dataset(Registry(), f"tissue:n={n}:image_size={size}", folder)
    drawn = dataset.load(folder)
    for name in drawn.classes:
        (folder / name).mkdir(parents=True)
    for number, (pixels, label) in enumerate(zip(drawn.images, drawn.labels, strict=True)):
        Image.fromarray(pixels).save(folder / drawn.classes[label] / f"{number:06d}.jpg", quality=92)
    return folder


def settings(device: str, **changes: Any) -> dict[str, Any]:
    """What both train with."""
    return {"epochs": EPOCHS, "batch_size": BATCH, **changes}


def prepared(tiles: Path, cache: Path, **changes: Any) -> PreparedData:
    """Splits and noisy labels as the harness draws them: the textbook is given the same."""
    registry = Registry()
    (spec,) = expand(
        registry,
        methods=parse_settings("hsa", what="method"),
        datasets=parse_settings(f"folder:{tiles}", what="dataset"),
        noise=parse_settings(f"symmetric:{RATE}", what="noise"),
        seeds=[0],
        protocol=protocol("quick", settings("cpu", **changes)),
        data_root=cache,
    )
    return prepare(spec, registry, cache)


class Timed:
    """A finished process: seconds of wall time, processor seconds of it and all its children, and its output."""

    def __init__(self, *arguments: object) -> None:
        before, started = _children(), time.perf_counter()
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        words = [sys.executable, "-m", *map(str, arguments)]
        finished = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        self.seconds, self.cpu = time.perf_counter() - started, _children() - before
        self.output = finished.stdout
        assert finished.returncode == 0, finished.stderr[-2000:]


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ours(tiles: Path, folder: Path, device: str, threads: int, **changes: Any) -> tuple[Timed, dict[str, Any], dict[str, dict[str, float]]]:
    """One run of hsa as a command, from the JPEG files on; its result, and samples and seconds by stage."""
    chosen = [word for name, value in settings(device, **changes).items() for word in ("--set", f"protocol.{name}={value}")]
    words = ["--methods", "hsa", "--baseline", "none", "--datasets", f"folder:{tiles}", "--noise", RATE, "--engine", "serial", "--quiet"]
    places = ["--runs", folder / "runs", "--data-root", folder / "cache", "--no-tracking", "--device", device, "--threads", threads]
    timed = Timed("benchmark", "run", *words, *places, *chosen)
    (path,) = (folder / "runs").glob("*/result.json")
    stages: dict[str, dict[str, float]] = {}
    for line in (path.parent / "history.jsonl").read_text(encoding="utf-8").splitlines():
        epoch = json.loads(line)
        stage = stages.setdefault(epoch["stage"].removeprefix("round1-"), {"samples": 0, "seconds": 0.0})
        stage["samples"] += epoch["samples"]
        stage["seconds"] += epoch["seconds"]
    return timed, json.loads(path.read_text(encoding="utf-8")), stages


def textbook(data: PreparedData, tiles: Path, folder: Path, device: str, size: int) -> tuple[Timed, dict[str, Any]]:
    """The same data through the textbook's program."""
    assert data.arrays.paths is not None
    job: dict[str, Any] = {
        part: [
            (str(tiles / data.arrays.paths[position]), int(label))
            for position, label in zip(data.indices[part], data.labels[part], strict=True)
        ]
        for part in ("train", "val", "test")
    }
    job |= {"epochs": EPOCHS, "batch_size": BATCH, "rate": RATE, "lr": 1e-3, "size": size, "classes": len(data.arrays.classes)}
    job |= {"mean": [0.7, 0.5, 0.65], "std": [0.2, 0.2, 0.2], "seed": 0, "device": device}
    path = folder / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    timed = Timed("tests.performance.textbook", path)
    return timed, json.loads(timed.output)


class Bare:
    """Passes through the network on a ready tensor, in channels_last, on so many threads: what a sample takes of each kind of pass.

    Attributes:
        rounds: kind → (wall seconds, processor seconds) a sample of each round.
    """

    def __init__(self, device: str, threads: int, size: int = 32, n: int = 1024) -> None:
        self.device, self.threads = torch.device(device), threads
        network = build_network("cnn_small", channels=3, size=size, num_classes=4)
        self.network = torch.nn.Sequential(network.trunk, network.head).to(self.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3, foreach=True)
        images = torch.randn(n, 3, size, size, device=self.device).to(memory_format=torch.channels_last)
        self.batches = list(zip(images.split(BATCH), torch.randint(0, 4, (n,), device=self.device).split(BATCH), strict=True))
        self.larger, self.n = images.split(64 if device == "cpu" else 512), n
        self.rounds: dict[str, list[tuple[float, float]]] = {"training": [], "step": [], "teacher": [], "evaluation": []}

    def measure(self, rounds: int) -> None:
        """Take some more rounds; a first one warms up."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        self._once(False)
        for _ in range(rounds):
            self._once(True)
        torch.set_num_threads(before)

    def _once(self, counts: bool) -> None:
        for name, work in (("training", self._train), ("step", self._step), ("teacher", self._teach), ("evaluation", self._evaluate)):
            started, used = time.perf_counter(), time.process_time()
            work()
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            if counts:
                self.rounds[name].append(((time.perf_counter() - started) / self.n, (time.process_time() - used) / self.n))

    def _train(self, then: Callable[[], object] = lambda: None) -> None:
        self.network.train()
        for images, labels in self.batches:
            self.optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(self.network(images), labels).backward()
            then()

    def _step(self) -> None:
        self._train(self.optimizer.step)

    @torch.no_grad()
    def _teach(self) -> None:
        self.network.train()
        for images, _ in self.batches:
            self.network(images)

    @torch.no_grad()
    def _evaluate(self) -> None:
        self.network.eval()
        for images in self.larger:
            self.network(images)

    def cost(self, name: str, clock: int) -> float:
        """Median seconds a sample, of wall time (0) or of the processor (1)."""
        return statistics.median(values[clock] for values in self.rounds[name])

    def seconds(self, clock: int, trained: float, teacher: float = 0, evaluated: float = 0, *, step: bool = False) -> float:
        """What so many passes take."""
        training = self.cost("step" if step else "training", clock)
        return trained * training + teacher * self.cost("teacher", clock) + evaluated * self.cost("evaluation", clock)

    def __str__(self) -> str:
        parts = (f"{name} {1e6 * self.cost(name, 0):.0f} ({1e6 * self.cost(name, 1):.0f})" for name in self.rounds)
        return f"µs a sample (of CPU) on {self.threads} threads: {', '.join(parts)}"


@pytest.mark.parametrize("device", DEVICES)
def test_hsa_against_the_textbook(device, report, tmp_path):
    tiles = write_tiles(tmp_path / "tiles", TILES, 32)
    data = prepared(tiles, tmp_path / "apart")
    report(f"hsa on {TILES} JPEG tiles of 32 px, {EPOCHS} epochs, cnn_small, batch {BATCH}, {RATE:.0%} of the labels wrong, {device}:")
    bound, each = BOUNDS[device], THREADS if device == "cpu" else THREADS[:1]
    bare = {threads: Bare(device, threads) for threads in each}
    runs, starts = {}, {}
    for threads in each:
        bare[threads].measure(3)
        runs[threads] = ours(tiles, tmp_path / f"ours{threads}", device, threads)
        starts[threads] = ours(tiles, tmp_path / f"start{threads}", device, threads, epochs=1)[0]
        bare[threads].measure(3)
    timed, found = textbook(data, tiles, tmp_path, device, 32)
    theirs = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in found["seconds"].items())
    report(f"  textbook, {found['threads']} threads and 2 loader workers: {timed.seconds:.1f} s, {timed.cpu:.1f} s of CPU; {theirs}")
    report(f"    {found['counts']}, test accuracy {found['accuracy']['test']:.3f}")
    for threads, (mine, result, stages) in runs.items():
        trained, taught = sum(stage["samples"] for stage in stages.values()), stages["train"]["samples"]
        evaluated = 2 * EPOCHS * sum(len(data.indices[part]) for part in ("val", "test")) + len(data.indices["train"])
        evaluated += round(1.5 * RATE * len(data.indices["train"]))
        parts = ", ".join(f"{name} {stage['seconds']:.1f}" for name, stage in stages.items())
        accuracy = result["metrics"]["last"]["accuracy"]
        report(f"  ours, --threads {threads}: {mine.seconds:.1f} s, {mine.cpu:.1f} s of CPU; training {parts}")
        report(f"    trained {trained}, teacher {taught}, evaluated {evaluated}, test accuracy {accuracy:.3f}")
        report(f"    textbook over ours: {timed.seconds / mine.seconds:.2f} × (≥ {bound:g}), of CPU {timed.cpu / mine.cpu:.2f} ×")
        report(f"    bare passes, {bare[threads]}")
        for label, passes, step in (
            ("forward and backward of training alone", (trained,), False),
            ("these and the forward passes of teacher and evaluation", (trained, taught, evaluated), False),
            ("these and Adam's steps", (trained, taught, evaluated), True),
        ):
            wall, used = (bare[threads].seconds(clock, *passes, step=step) for clock in (0, 1))
            ratios = f"{mine.seconds / wall:.2f} × (≤ {BARE_BOUND:.2f}), of CPU {mine.cpu / used:.2f} ×"
            report(f"    over bare passes, {label}: {wall:.1f} s, {ratios}")
        more, share = starts[threads], (EPOCHS - 1) / EPOCHS  # a run of one epoch holds all that does not grow with the epochs
        ratios = [
            (getattr(mine, name) - getattr(more, name)) / (share * bare[threads].seconds(clock, trained, taught, evaluated, step=True))
            for clock, name in enumerate(("seconds", "cpu"))
        ]
        first = f"a run of one epoch: {more.seconds:.1f} s, {more.cpu:.1f} s of CPU"
        report(f"    {first}; the other epochs over the last of these: {ratios[0]:.2f} ×, of CPU {ratios[1]:.2f} ×")
        assert abs(trained / found["counts"]["trained"] - 1) < 0.05
        assert abs(taught / found["counts"]["teacher"] - 1) < 0.05
        assert abs(evaluated / found["counts"]["evaluated"] - 1) < 0.1
        assert accuracy > 0.4
        assert abs(accuracy - found["accuracy"]["test"]) < 0.1


@pytest.mark.parametrize("device", DEVICES)
def test_bfloat16_at_96_px(device, report, tmp_path):
    tiles = write_tiles(tmp_path / "tiles", LARGE_TILES, 96)
    took = {}
    for precision in ("fp32", "bf16"):
        took[precision] = ours(tiles, tmp_path / precision, device, 1, epochs=LARGE_EPOCHS, precision=precision)
    training = {name: sum(stage["seconds"] for stage in stages.values()) for name, (_, _, stages) in took.items()}
    figures = ", ".join(
        f"{name} {run.seconds:.1f} s ({run.cpu:.1f} s of CPU, training {training[name]:.1f} s)" for name, (run, _, _) in took.items()
    )
    report(f"hsa on {LARGE_TILES} JPEG tiles of 96 px, {LARGE_EPOCHS} epochs, {device}, 1 thread: {figures}")
    ratios = [getattr(took["fp32"][0], clock) / getattr(took["bf16"][0], clock) for clock in ("seconds", "cpu")]
    gain = training["fp32"] / training["bf16"]
    report(f"  float32 over bfloat16: {ratios[0]:.2f} ×, of CPU {ratios[1]:.2f} ×, of training's wall {gain:.2f} ×")
    assert all(result["status"] == "done" for _, result, _ in took.values())
