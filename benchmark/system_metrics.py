"""CPU, memory and GPU use while a run goes on, sampled by a thread."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from benchmark.files import append_line

MEGABYTE = 2**20
NVIDIA_SMI_S = 5.0
"""Seconds that nvidia-smi may take to answer."""


@dataclass(frozen=True)
class Gpu:
    """One GPU of this machine: its name, how busy it is in percent, its memory in MB; None where the driver does not tell."""

    name: str
    percent: float | None
    memory_mb: float | None
    memory_total_mb: float | None


def gpus() -> list[Gpu]:
    """The GPUs of this machine as ``nvidia-smi`` sees them, without torch and without a context on them; empty without a GPU."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=name,utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=NVIDIA_SMI_S, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return []
    lines = [[part.strip() for part in line.rsplit(",", 3)] for line in answer.splitlines()]
    return [Gpu(line[0], *map(_number, line[1:])) for line in lines if len(line) == 4]


def gpu_percent(uuid: str) -> float | None:
    """How busy one GPU is, all its processes together; None where ``nvidia-smi`` does not tell (no driver, a slice of a card)."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "-i", uuid, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=NVIDIA_SMI_S, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return _number(answer.strip())


def _number(text: str) -> float | None:
    """``12`` → 12.0; ``[N/A]``, of a GPU in slices (MIG), → None."""
    try:
        return float(text)
    except ValueError:
        return None


class SystemSampler:
    """A context that appends ``{"time", "cpu_percent", "memory_mb", …}`` lines to a file and remembers the peak.

    Args:
        path: system.jsonl.
        device: ``cpu`` or ``cuda…``; with a GPU its memory and, where the driver tells, its utilisation are added.
        interval: seconds between samples.
    """

    def __init__(self, path: Path, device: str, interval: float = 5.0) -> None:
        self._path, self._device, self._interval = path, device, interval
        self._process = psutil.Process()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="system-sampler", daemon=True)
        self.peak_memory_mb = 0.0
        self._busy: list[float] = []  # percent, of all samples
        self._asks_again = 0.0  # the moment from which nvidia-smi may be asked again

    def __enter__(self) -> SystemSampler:
        self._process.cpu_percent()  # the first call starts the clock
        if self._device.startswith("cuda"):
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
        self._sample_memory()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._sample_memory()

    def sample(self) -> dict[str, Any]:
        """Take one sample now."""
        memory = self._sample_memory()
        line: dict[str, Any] = {"time": time.time(), "cpu_percent": self._process.cpu_percent(), "memory_mb": round(memory, 1)}
        if self._device.startswith("cuda"):
            line |= self._gpu()
        return line

    def _sample_memory(self) -> float:
        """What the process holds now in MB, remembered if it is the most so far; at once, while nvidia-smi may take a second."""
        memory = self._process.memory_info().rss / MEGABYTE
        self.peak_memory_mb = max(self.peak_memory_mb, memory)
        return memory

    def gpu_peak_memory_mb(self) -> float | None:
        """Peak of the memory that torch allocated on the GPU since the start; None on a CPU."""
        if not self._device.startswith("cuda"):
            return None
        import torch

        return torch.cuda.max_memory_allocated(self._device) / MEGABYTE

    def _gpu(self) -> dict[str, Any]:
        import torch

        line: dict[str, Any] = {
            "gpu_memory_mb": round(torch.cuda.memory_allocated(self._device) / MEGABYTE, 1),
            "gpu_peak_memory_mb": round(torch.cuda.max_memory_allocated(self._device) / MEGABYTE, 1),
        }
        percent = self._gpu_percent()
        if percent is not None:
            line["gpu_percent"] = percent
            self._busy.append(percent)
        return line

    def gpu_use(self) -> dict[str, float | None]:
        """Mean and highest utilisation of the card in percent, other processes' included; None where nobody tells."""
        mean = sum(self._busy) / len(self._busy) if self._busy else None
        return {"gpu_percent_mean": mean, "gpu_percent_peak": max(self._busy, default=None)}

    def _gpu_percent(self) -> float | None:
        """From nvidia-ml-py where that is installed, else from nvidia-smi by the card's UUID: CUDA_VISIBLE_DEVICES hides and reorders."""
        import torch

        with contextlib.suppress(Exception):  # without nvidia-ml-py, or where the driver does not tell
            return float(torch.cuda.utilization(self._device))
        begun = time.monotonic()
        if begun < self._asks_again:
            return None
        percent = None
        with contextlib.suppress(RuntimeError, AssertionError, AttributeError):  # a card that is gone, or an older torch
            percent = gpu_percent(f"GPU-{torch.cuda.get_device_properties(self._device).uuid}")
        took = time.monotonic() - begun
        self._asks_again = float("inf") if percent is None else begun + 20 * took  # at most a twentieth of the time
        return percent

    def _loop(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                append_line(self._path, self.sample())
            except OSError:  # a full disk must not end the run here; the commit will tell
                return
