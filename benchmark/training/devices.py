"""The device that a word of the command line means, and how a process keeps its memory."""

from __future__ import annotations

import ctypes
import functools

import torch

from benchmark.errors import BenchmarkError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""

KEPT_BYTES, LARGEST_KEPT = 256 * 2**20, 32 * 2**20
"""So much freed memory a process keeps, in blocks of up to so many bytes, which is the most that glibc allows."""


@functools.cache
def keep_freed_memory() -> bool:
    """Have this process keep what it frees for its next step, where the C library is glibc; whether it does.

    By default glibc gives the activations of a step back to the system, which hands them out again page by page, zeroed: 0.5 to
    6 of 30 seconds of a training on a CPU went there. It changes no number.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # another system or C library
        return False
    return bool(set_option(M_MMAP_THRESHOLD, LARGEST_KEPT) and set_option(M_TRIM_THRESHOLD, KEPT_BYTES))


def resolve_device(text: str) -> torch.device:
    """``auto``, ``cpu`` or ``cuda[:i]`` → a device; BenchmarkError where there is no such GPU."""
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(text)
    except RuntimeError:
        raise BenchmarkError(f"--device {text} is not auto, cpu or cuda[:i]") from None
    if device.type not in ("cpu", "cuda"):
        raise BenchmarkError(f"--device {text} is not auto, cpu or cuda[:i]")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BenchmarkError(f"--device {text}: this machine has {torch.cuda.device_count()} GPUs; see: python -m benchmark doctor")
    return device
