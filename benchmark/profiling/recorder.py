"""The profile of one run: its stopwatch, its trace, and the files that they leave."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmark.files import atomic_write_text, remove_temporary
from benchmark.profiling.stopwatch import OUTSIDE, OWN, Stopwatch
from benchmark.profiling.summary import FOLDER, PROFILE, SCHEMA, TRACE
from benchmark.profiling.trace import Tracer

logger = logging.getLogger(__name__)


FIRST_STEP, LAST_STEP = 5, 15
"""Steps of the final stage that are traced; the first ones fill caches and choose algorithms."""

TRAINING = ("data", "augmentation", "forward", "backward", "optimiser", "method", "history")
"""Parts of a stage that the throughput counts."""

_BETWEEN = "outside stages"


class RunProfile:
    """Listens to one run in the thread that trains it.

    Args:
        folder: of the run.
        elapsed: seconds that the run has taken before.
        start_seconds: that the process took to be ready for it.
    """

    def __init__(self, folder: Path, *, elapsed: float = 0.0, start_seconds: float = 0.0) -> None:
        self.folder, self.thread = folder / FOLDER, threading.get_ident()
        self.watch = Stopwatch(elapsed=elapsed)
        if start_seconds:
            self.watch.add("start", start_seconds)
        self.tracer = Tracer()
        self.stages: dict[str, dict[str, Any]] = {}
        self._stage = OUTSIDE
        self._marks: list[Any] = []  # one a part that is open, for the trace
        self._steps: tuple[int, int] | None = None  # from and up to which of the final stage's steps is traced
        self._done = 0
        self._evaluation = "not yet"  # whether one was traced: "not yet", "next", "now", "done"

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """See :func:`benchmark.profiling.part`."""
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def enter(self, name: str) -> None:
        """Begin a part."""
        changes = self.watch.enter(name)
        if changes and name == "evaluation" and self._evaluation == "next":
            self._evaluation = "now"
            self._trace(True)
        mark = None
        if changes and self.tracer.running:
            mark = torch.profiler.record_function(name)
            mark.__enter__()
        self._marks.append(mark)

    def leave(self) -> None:
        """End the part that was begun last."""
        mark = self._marks.pop() if self._marks else None
        if mark is not None:
            mark.__exit__(None, None, None)
        ended = self.watch.current
        self.watch.leave()
        if ended == "evaluation" and self.watch.current != ended and self._evaluation == "now":
            self._evaluation = "done"
            self._trace(False)

    def on_device(self, device: torch.device) -> None:
        """Wait for a GPU before each reading of the clock."""
        self.tracer.device = device
        if device.type == "cuda":

            def clock() -> float:
                torch.cuda.synchronize(device)
                return time.perf_counter()

            self.watch.clock = clock

    def stage_begins(self, name: str, *, first: int, epochs: int, steps: int, final: bool) -> None:
        """See :func:`benchmark.profiling.stage_begins`."""
        self.watch.stage(name)
        self._stage = name
        self.stages[name] = {"epochs": epochs, "resumed": first, "samples": 0}
        if final and self._steps is None:
            self._steps = (FIRST_STEP, LAST_STEP) if steps > LAST_STEP else (0, max(1, steps))
            self._before_step()

    def stage_ends(self) -> None:
        """See :func:`benchmark.profiling.stage_ends`."""
        if self._steps is not None and self._evaluation == "not yet" and self.tracer.running:
            self._trace(False)
        self.watch.stage(OUTSIDE)
        self._stage = OUTSIDE

    def step_done(self, samples: int) -> None:
        """Count, and begin or end the trace where its steps do."""
        if self._stage in self.stages:
            self.stages[self._stage]["samples"] += samples
        if self._steps is not None and self._evaluation == "not yet":
            self._done += 1
            self._before_step()

    def _before_step(self) -> None:
        assert self._steps is not None
        first, behind = self._steps
        if self._done == first:
            self._trace(True)
        elif self._done == behind:
            self._trace(False)
            self._evaluation = "next"

    def _trace(self, begin: bool) -> None:
        """Begin or end a stretch of the trace; what that takes is no part of the run."""
        with self.part(OWN):
            if begin:
                self.tracer.start()
            else:
                self.tracer.stop()

    def write(self, facts: dict[str, Any]) -> None:
        """Write trace.json.gz and profile.json of a run that has trained; a disk that refuses them costs a warning.

        Args:
            facts: what else stands in profile.json.
        """
        if not self.stages:
            return
        try:
            with self.part(OWN):
                self.folder.mkdir(parents=True, exist_ok=True)
                remove_temporary(self.folder)
                traced = self.tracer.write(self.folder / TRACE)
            self.watch.charge()
            document = self._document(facts, traced)
            atomic_write_text(self.folder / PROFILE, json.dumps(document, indent=1) + "\n")
        except OSError as error:
            logger.warning("the profile cannot be written to %s: %s", self.folder, error.strerror or error)

    def close(self) -> None:
        """Let go of torch's profiler, however the run has ended."""
        self.tracer.abandon()

    def _document(self, facts: dict[str, Any], traced: bool) -> dict[str, Any]:
        parts = self.watch.totals()
        stages = []
        for name, seconds in self.watch.seconds.items():
            ordered = {part: seconds[part] for part in parts if seconds.get(part)}
            about = dict(self.stages.get(name, {}))
            training = sum(ordered.get(part, 0.0) for part in TRAINING)
            if about:
                about["samples_per_second"] = about["samples"] / training if training else None
            stages.append({"stage": name or _BETWEEN, **about, "seconds": sum(ordered.values()), "parts": ordered})
        of_stages = [stage for stage in stages if "samples" in stage]
        samples = sum(stage["samples"] for stage in of_stages)
        training = sum(stage["parts"].get(part, 0.0) for stage in of_stages for part in TRAINING)
        return {
            "schema": SCHEMA,
            **facts,
            "torch": str(torch.__version__),
            "cpu_threads": torch.get_num_threads(),
            "process_threads": threading.active_count(),
            "seconds": sum(parts.values()),
            "samples": samples,
            "samples_per_second": samples / training if training else None,
            "resumed_epochs": sum(stage["resumed"] for stage in of_stages),
            "trace": TRACE if traced else None,
            "parts": parts,
            "stages": stages,
        }
