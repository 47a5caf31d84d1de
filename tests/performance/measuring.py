"""How the benchmarks take time and memory."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable

import psutil


def interleaved(first: Callable[[], object], second: Callable[[], object], rounds: int = 5) -> tuple[float, float, float]:
    """Median seconds of two functions called in turn, after one warm-up each, and the median of first/second by round.

    The order alternates, so that a drift of the machine's speed does not favour one.
    """
    first(), second()
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        for which in order:
            started = time.perf_counter()
            (first, second)[which]()
            times[which].append(time.perf_counter() - started)
    ratios = [a / b for a, b in zip(*times, strict=True)]
    return statistics.median(times[0]), statistics.median(times[1]), statistics.median(ratios)


def measured(work):
    """Result, seconds of wall time and of the processor, and what the process's memory grew by at most, in MB."""
    process, peak, over = psutil.Process(), [0], threading.Event()
    start = process.memory_info().rss

    def watch() -> None:
        while not over.wait(0.01):
            peak[0] = max(peak[0], process.memory_info().rss - start)

    watcher = threading.Thread(target=watch)
    watcher.start()
    wall, used = time.perf_counter(), time.process_time()
    try:
        result = work()
        wall, used = time.perf_counter() - wall, time.process_time() - used
    finally:
        over.set()
        watcher.join()
    return result, wall, used, peak[0] / 2**20
