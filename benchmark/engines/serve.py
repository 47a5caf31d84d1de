"""The worker's side of the local engine: JSON lines in, JSON lines out.

The parent writes ``{"options": {...}}`` once, then one ``{"run_keys": [...]}`` at a time: runs that are trained together, mostly one.
The worker answers ``{"event": "ready"}``, then sends for each run its events and at last ``{"event": "outcome", ...}``. The end of the
input is the order to leave, also in the middle of a run: then the parent is gone, and the run resumes from its checkpoint later.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, BinaryIO

from benchmark import profiling
from benchmark.engines.base import Execute, OnEvent, Outcome, WorkerOptions, default_execute, execute_safely

logger = logging.getLogger(__name__)


def serve(stdin: BinaryIO, stdout: BinaryIO, execute: Execute) -> None:
    """Run what the parent asks for until its input ends; see the module for the lines.

    If the input ends while a run is under way, the process (with its process group, where it leads one) ends at once.
    """
    requests: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    lock, sending = threading.Lock(), threading.Lock()
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
        with sending:  # a warning may come from another thread
            while rest:  # a raw stream may write less than it was given
                rest = rest[stdout.write(rest) :]
            stdout.flush()

    threading.Thread(target=read, name="requests", daemon=True).start()
    first = requests.get()
    if first is None:
        return
    options = WorkerOptions.from_dict(first["options"])
    if options.profile:
        profiling.ready_after(_age())
    answer({"event": "ready", "pid": os.getpid()})
    while (request := requests.get()) is not None:
        keys: list[str] = request["run_keys"]
        with _warnings_sent(keys[0], send):
            for left, outcome in zip(reversed(range(len(keys))), _outcomes(execute, keys, options, send), strict=True):
                last = {"event": "outcome", **dataclasses.asdict(outcome)}
                if left:
                    send(last)
        answer(last)


def _outcomes(execute: Execute, keys: Sequence[str], options: WorkerOptions, send: OnEvent) -> Iterator[Outcome]:
    if len(keys) == 1:
        yield execute_safely(execute, keys[0], options, send)
        return
    from benchmark.training.together import execute_together

    with contextlib.closing(execute_together(execute, keys, options, send)) as outcomes:  # type: ignore[type-var]
        yield from outcomes


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


class _Sender(logging.Handler):
    """Sends warnings as ``message`` events; exceptions are left to the outcome that they lead to."""

    def __init__(self, key: str, send: OnEvent) -> None:
        super().__init__(logging.WARNING)
        self._key, self._send = key, send

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record's text; a parent that is gone is no matter here."""
        if not record.exc_info:
            with contextlib.suppress(OSError):
                self._send({"event": "message", "run_key": self._key, "message": record.getMessage()})


@contextlib.contextmanager
def _warnings_sent(key: str, send: OnEvent) -> Iterator[None]:
    """What ``benchmark`` and its plugins warn of in a run reaches the person who started it."""
    logger_of_all, handler = logging.getLogger("benchmark"), _Sender(key, send)
    logger_of_all.addHandler(handler)
    try:
        yield
    finally:
        logger_of_all.removeHandler(handler)


def _age() -> float:
    """Seconds since this process was started."""
    import psutil

    return max(0.0, time.time() - psutil.Process().create_time())


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
