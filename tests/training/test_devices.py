"""How a process keeps its memory between two steps."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from benchmark.training.devices import keep_freed_memory
kept = sys.argv[1] == "keep" and keep_freed_memory()
torch.ones(2**21).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    blocks = [torch.ones(2**21) for _ in range(8)]
    del blocks
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(word: str) -> tuple[int, int]:
    ended = subprocess.run([sys.executable, "-c", PROGRAM, word], capture_output=True, text=True, check=True)
    kept, count = ended.stdout.split()
    return int(kept), int(count)


def test_freed_memory_is_used_again() -> None:
    """20 times 8 blocks of 8 MB: without it each is fetched from the system anew, page by page."""
    kept, few = faults("keep")
    if not kept:
        pytest.skip("the C library is not glibc")
    _, many = faults("leave")
    assert few < 20 * 8 * 8 * 2**20 // resource.getpagesize() / 8  # the first round touches a twentieth
    assert many > 2 * few
