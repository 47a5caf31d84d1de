"""The parent's side of one worker process: its life, and JSON lines to and fro."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


class WorkerEnded(Exception):  # noqa: N818 - an event that the slot handles
    """The worker process is over and everything it said has been read. ``str()`` gives the signal or the exit code."""

    def __init__(self, code: int) -> None:
        number = -code if code < 0 else code - 128 if code > 128 else 0
        name = signal.Signals(number).name if number in set(signal.Signals) else None
        super().__init__(name or f"exit code {code}")
        self.by_signal = name is not None


class WorkerProcess:
    """One worker in a process group of its own, so that a terminal's Ctrl-C reaches only the parent, who decides.

    Args:
        command: starts it.
        environment: all of it.
        log: file to which its stderr is appended.

    Raises OSError if it cannot be started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=dict(environment),
                bufsize=0,
                process_group=0,
            )
            stderr.write(f"--- worker {self._process.pid} started {datetime.now(UTC).isoformat(timespec='seconds')}\n".encode())
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout, selectors.EVENT_READ)
        self.ready = False  # kept by its user: whether it has said so
        self._over = False
        self._buffer = b""
        self._messages: deque[dict[str, Any]] = deque()

    def alive(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one line. A worker that is gone shows at the next :meth:`receive`."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(json.dumps(message).encode() + b"\n")

    def receive(self, deadline: float | None) -> dict[str, Any] | None:
        """The next message; None once ``time.monotonic()`` is past ``deadline``. Raises WorkerEnded at the end."""
        while not self._messages:
            left = 0.5 if deadline is None else min(0.5, deadline - time.monotonic())
            if self._selector.select(max(0.0, left)):
                chunk = os.read(self._stdout.fileno(), 65_536)
                if not chunk:
                    self._end()
                self._feed(chunk)
            elif self._process.poll() is not None:  # a loader process that outlives it may keep the pipe open
                self._end()
            elif deadline is not None and left <= 0:
                return None
        return self._messages.popleft()

    def signal(self, number: int) -> None:
        """Send a signal to the worker itself, not to its loader processes: those it has to end itself."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def wait(self, seconds: float) -> None:
        """Wait for the end; subprocess.TimeoutExpired if it does not come."""
        self._process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL the process and all that it started, and reap it."""
        if not self._over:  # later the number might be another group's
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._over = True

    def terminate(self, grace: float) -> None:
        """SIGTERM, then SIGKILL after ``grace`` seconds. What it wrote can still be received."""
        self.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        self.kill()

    def end_input(self) -> None:
        """Tell an idle worker to leave."""
        with contextlib.suppress(OSError):
            self._stdin.close()

    def close(self, grace: float) -> None:
        """Let an idle worker leave by the end of its input; free what it holds here."""
        self.end_input()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        self.kill()
        self._selector.close()
        self._stdout.close()

    def _feed(self, chunk: bytes) -> None:
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                message = None
            if isinstance(message, dict):
                self._messages.append(message)
            elif line.strip():
                logger.debug("worker %d wrote a line that is no message: %r", self._process.pid, line[:200])

    def _end(self) -> None:
        """Reap the process and raise WorkerEnded."""
        try:
            code = self._process.wait(5.0)  # the pipe closes a moment before the process is over
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        self.kill()
        raise WorkerEnded(code)
