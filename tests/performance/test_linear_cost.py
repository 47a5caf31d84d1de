"""Does cost grow linearly? 1,000, 10,000 and 100,000 images of 32 px, each run in a process of its own.

``python -m tests.performance.linear_plot FIGURES.json docs/pictures`` draws the figures, which the test keeps where
``BENCHMARK_PERF_FIGURES`` says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.perf, pytest.mark.timeout(7200)]

ROOT = Path(__file__).resolve().parents[2]
SCALE = float(os.environ.get("BENCHMARK_PERF_SCALE", "1"))
SIZES = [max(100, round(n * SCALE)) for n in (1000, 10_000, 100_000)]
EPOCHS = 3
MEMORY_BOUND_MB = 1500


def figures(n: int, method: str, folder: Path) -> dict[str, float]:
    """Of one run; see :func:`tests.performance.linear_cost.main`."""
    folder.mkdir()
    words = ["-m", "tests.performance.linear_cost", str(n), method, str(EPOCHS), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    finished = subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
    found: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return found


def test_cross_entropy(report, tmp_path):
    rows = [figures(n, "ce", tmp_path / str(n)) for n in SIZES]
    for row in rows:
        each = f"{1e6 * row['train'] / (row['trained'] / EPOCHS):.0f} µs of training a sample"
        times = f"epoch {row['train']:.2f} s ({row['epoch']:.2f} s of CPU with its evaluation), {each}; start {row['start']:.1f} s of CPU"
        report(
            f"ce, cnn_small, {row['n']:.0f} images of 32 px: {times}; memory at most {row['peak_mb']:.0f} MB (100,000: < {MEMORY_BOUND_MB})"
        )
    first, last = rows[0], rows[-1]
    slope = (last["peak_mb"] - first["peak_mb"]) / (last["n"] - first["n"]) * 1024
    growth = last["epoch"] / last["n"] / (first["epoch"] / first["n"])
    report(f"  epoch of CPU an image, the most images over the fewest: {growth:.2f} ×; memory {slope:.1f} KB an image, which takes 3 KB")
    kept = os.environ.get("BENCHMARK_PERF_FIGURES")
    if kept:
        Path(kept).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    assert [row["n"] for row in rows] == SIZES


@pytest.mark.parametrize("method", ["hsa", "dividemix"])
def test_methods(method, report, tmp_path):
    """A mixture, a detector or a table of samples that grows faster than the samples would show here."""
    few, many = (figures(n, method, tmp_path / str(n)) for n in SIZES[:2])
    costs = [row["whole"] - row["start"] for row in (few, many)]
    each = [1e6 * cost / row["trained"] for cost, row in zip(costs, (few, many), strict=True)]
    times = f"{costs[0]:.1f} and {costs[1]:.1f} s of CPU after the start, {each[0]:.0f} and {each[1]:.0f} µs a trained sample"
    report(f"{method}, {few['n']:.0f} and {many['n']:.0f} images: {times}, {each[1] / each[0]:.2f} ×; {many['peak_mb']:.0f} MB")
    assert many["trained"] > few["trained"]
