"""Where the seconds of a run go: ``run --profile``.

A run's code says what it is doing (``with part("backward"):``, ``@timed("history")``); a stopwatch listens only while a run is
profiled, one at a time in a process and in the thread that trains. Otherwise these calls do nothing: no clock is read, no network
has a hook, no device is waited for. Nothing here changes a number of a run, whether it is profiled or not.
"""

from benchmark.profiling.active import (
    batches,
    enter_forward,
    leave_forward,
    on_device,
    part,
    ready_after,
    recording,
    stage_begins,
    stage_ends,
    step_done,
    timed,
    turn_to,
    watch,
    watched_by_others,
    write,
)
from benchmark.profiling.stopwatch import PARTS, Stopwatch

__all__ = [
    "PARTS",
    "Stopwatch",
    "batches",
    "enter_forward",
    "leave_forward",
    "on_device",
    "part",
    "ready_after",
    "recording",
    "stage_begins",
    "stage_ends",
    "step_done",
    "timed",
    "turn_to",
    "watch",
    "watched_by_others",
    "write",
]
