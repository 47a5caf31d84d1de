"""How a process keeps its memory between two steps."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys
from benchmark.training.devices import keep_freed_memory

class Use(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

library = ctypes.CDLL(None)
if not hasattr(library, "mallinfo2"):
    print("none 0 0")
    sys.exit()
library.mallinfo2.restype, library.malloc.restype, library.free.argtypes = Use, ctypes.c_void_p, [ctypes.c_void_p]
kept = sys.argv[1] == "keep" and keep_freed_memory()
before = library.mallinfo2()
block = library.malloc(24 * 2**20)
mapped = library.mallinfo2().hblkhd - before.hblkhd
library.free(block)
print(kept, mapped, library.mallinfo2().arena - before.arena)
"""


def use(word: str) -> tuple[str, int, int]:
    """Whether memory is kept; of a block of 24 MB, the bytes mapped for it alone, and those the process still has once it is freed."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM, word], capture_output=True, text=True, check=True)
    kept, mapped, left = ended.stdout.split()
    return kept, int(mapped), int(left)


def test_freed_memory_is_kept() -> None:
    """Without it a large block is mapped when it is asked for and given back when it is freed, with all its pages."""
    kept, mapped, left = use("keep")
    if kept == "none":
        pytest.skip("the C library is not glibc, or older than 2.33")
    assert kept == "True"
    assert mapped == 0
    assert left >= 20 * 2**20  # the heap had some room
    _, mapped, left = use("leave")
    assert mapped >= 24 * 2**20
    assert left < 2**20
