"""Helpers of the benchmarks: they print figures and ratios and assert only that the work was done."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.performance.measuring import interleaved

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Command:
    """One finished command: seconds of wall time, peak memory of its processes together in MB, exit status, output."""

    seconds: float
    peak_mb: float
    status: int
    output: str


@pytest.fixture
def command(tmp_path):
    """Runs ``python -m benchmark …`` as a whole process; looking at its memory costs it some time."""

    def run(*arguments: str | Path, memory: bool = False) -> Command:
        with (tmp_path / "output.txt").open("w+") as output:
            started = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmark", *map(str, arguments)], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
            )
            peak = 0.0
            while memory and process.poll() is None:
                peak = max(peak, _memory_mb(process.pid))
                time.sleep(0.1)
            process.wait()
            seconds = time.perf_counter() - started
            output.seek(0)
            return Command(seconds, peak, process.returncode, output.read())

    return run


def _memory_mb(pid: int) -> float:
    """Memory of a process and its children together; pages that they share count once (Linux's proportional set size)."""
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        used = [process.memory_full_info() for process in [parent, *parent.children(recursive=True)]]
        return sum(getattr(memory, "pss", memory.uss) for memory in used) / 2**20
    return 0.0


@pytest.fixture
def report(capsys):
    """Prints one line of figures past pytest's capture."""

    def show(text: str) -> None:
        with capsys.disabled():
            print(f"  {text}")

    return show


@pytest.fixture(name="interleaved")
def _interleaved():
    return interleaved
