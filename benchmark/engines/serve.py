"""The worker's side of the local engine: JSON lines in, JSON lines out.

The parent writes ``{"options": {...}}`` once, then one ``{"run_key": ...}`` at a time. The worker answers
``{"event": "ready"}``, then for each run its events and at last ``{"event": "outcome", ...}``. The end of the input is the
order to leave, also in the middle of a run: then the parent is gone, and the run resumes from its checkpoint later.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import queue
import signal
import sys
import threading
from types import FrameType
from typing import Any, BinaryIO

from benchmark.engines.base import Execute, Outcome, WorkerOptions, default_execute, execute_safely

logger = logging.getLogger(__name__)


def serve(stdin: BinaryIO, stdout: BinaryIO, execute: Execute) -> None:
    """Run what the parent asks for until its input ends; see the module for the lines.

    If the input ends while a run is under way, the process (with its process group, where it leads one) ends at once.
    """
    requests: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    lock = threading.Lock()
    unanswered = 0

    def read() -> None:
        nonlocal unanswered
        try:
            for line in stdin:
                request = json.loads(line)
                with lock:
                    unanswered += 1
                requests.put(request)
        except ValueError:
            logger.exception("a request that is no JSON; no more are read")
        with lock:
            if unanswered:
                _end_process()
        requests.put(None)

    def answer(message: dict[str, Any]) -> None:
        """The last line for a request; it counts as answered before it is sent, as the parent may leave once it has it."""
        nonlocal unanswered
        with lock:
            unanswered -= 1
        send(message)

    def send(message: dict[str, Any]) -> None:
        rest = memoryview(json.dumps(message, default=_plain).encode() + b"\n")
        while rest:  # a raw stream may write less than it was given
            rest = rest[stdout.write(rest) :]
        stdout.flush()

    threading.Thread(target=read, name="requests", daemon=True).start()
    first = requests.get()
    if first is None:
        return
    options = WorkerOptions.from_dict(first["options"])
    answer({"event": "ready", "pid": os.getpid()})
    while (request := requests.get()) is not None:
        outcome: Outcome = execute_safely(execute, request["run_key"], options, send)
        answer({"event": "outcome", **dataclasses.asdict(outcome)})


def serve_stdio(execute: Execute | None = None) -> None:
    """:func:`serve` on this process's own streams, kept apart from what libraries print and read.

    Afterwards file descriptor 1 leads to stderr and 0 to nothing. SIGTERM becomes SystemExit, so that the lease is given
    back. Call it early: what was printed before it goes to the parent, who ignores lines that are no messages.
    """
    sys.stdout.flush()
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr  # same place now, and in the same order
    signal.signal(signal.SIGTERM, _leave)
    # Unbuffered: a thread that waits inside a buffered reader holds its lock, and a forked loader process would inherit it.
    with os.fdopen(requests, "rb", buffering=0) as stdin, os.fdopen(answers, "wb", buffering=0) as stdout:
        try:
            serve(stdin, stdout, execute or default_execute())
        except BrokenPipeError:
            _end_process()
        finally:
            logging.shutdown()


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _end_process() -> None:
    """End without clean-up: nobody is left to hear, and the run's folder bears a kill at any instant."""
    logger.error("the parent is gone; this worker ends")
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)  # loader processes too
    os._exit(1)


def _plain(value: Any) -> Any:
    """Numbers of numpy and torch as Python's; anything else as text: an odd event must not end a run."""
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value)
