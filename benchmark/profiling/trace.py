"""A trace of some steps and of one evaluation by torch.profiler, in the format of chrome://tracing and Perfetto."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmark.files import atomic_open

logger = logging.getLogger(__name__)


class Tracer:
    """Records stretches of a run, which become one time line. Whatever goes wrong in it costs the trace, never the run.

    Attributes:
        running: whether a stretch is being recorded.
        device: where the run computes.
    """

    def __init__(self) -> None:
        self.running = False
        self.device = torch.device("cpu")
        self._profiler: torch.autograd.profiler.profile | None = None
        self._document: dict[str, Any] = {}
        self._failed = False

    def start(self) -> None:
        """Begin a stretch."""
        if self._failed or self.running:
            return
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # its library writes to stderr past everything, with each stretch
        try:
            # what torch.profiler.profile works by, which imports the compiler first: 3 s
            device = "cuda" if self.device.type == "cuda" else None
            self._profiler = torch.autograd.profiler.profile(use_device=device, use_kineto=True, acc_events=True)
            self._profiler.__enter__()
            self.running = True
        except Exception as error:  # another profiler is at work, a driver without its library, …
            self._give_up(error)

    def stop(self) -> None:
        """End the stretch and keep its events."""
        if not self.running or self._profiler is None:
            return
        self.running = False
        try:
            self._profiler.__exit__(None, None, None)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "part.json"
                self._profiler.export_chrome_trace(str(path))
                part = json.loads(path.read_bytes())
            part.pop("traceName", None)  # the name of a file that is gone
            events = self._document.get("traceEvents", [])
            self._document = {**part, "traceEvents": [*events, *part["traceEvents"]]}  # one clock: their times go together
        except Exception as error:
            self._give_up(error)
        finally:
            self._profiler = None

    def abandon(self) -> None:
        """End the stretch, if one is being recorded, and keep nothing of it."""
        profiler, self._profiler, self.running = self._profiler, None, False
        if profiler is not None:
            with contextlib.suppress(Exception):
                profiler.__exit__(None, None, None)

    def write(self, path: Path) -> bool:
        """Write what was recorded, compressed; False if that is nothing."""
        self.stop()
        if not self._document:
            return False
        with atomic_open(path) as file, gzip.GzipFile(fileobj=file, mode="wb", compresslevel=5, mtime=0) as packed:
            packed.write(json.dumps(self._document).encode())
        return True

    def _give_up(self, error: Exception) -> None:
        self._failed, self.running, self._profiler = True, False, None
        logger.warning("no trace: torch.profiler says %s: %s", type(error).__name__, " ".join(str(error).split()))
