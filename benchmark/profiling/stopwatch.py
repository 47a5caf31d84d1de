"""A stopwatch of exclusive times: a part that begins inside another one stops that one's clock, so that all parts add up."""

from __future__ import annotations

import time
from collections.abc import Callable

PARTS: dict[str, str] = {
    "start": "the interpreter and its imports, where this run was the process's first; the first optimiser has some of its own",
    "preparation": "the data: loading, splitting, noise, moving them to the device",
    "data": "order and gathering of the batches",
    "augmentation": "draws, changes and normalisation of the batches",
    "forward": "forward passes of training and of the method's own looks at its images",
    "backward": "gradients",
    "optimiser": "clearing gradients and the optimisers' steps",
    "method": "what is left of training: loss, selection, detectors, averages, the end of an epoch",
    "history": "recording the training history",
    "evaluation": "validation and test after each epoch, scores, the line in history.jsonl",
    "checkpoint": "saving and restoring checkpoints",
    "commit": "the final judgements, the metrics and the files of the result",
    "tracking": "the MLflow mirror, in a thread of the driver",
    "profiling": "the trace, which no run has that is not profiled",
    "other": "the rest: lease, hash of the code, log",
}
"""Part of a run → what it is; in the order of the table."""

OPAQUE = frozenset({"start", "preparation", "evaluation", "checkpoint", "commit", "profiling"})
"""Parts that keep the time of what begins inside them: a forward pass of an evaluation is evaluation."""

OWN = "profiling"
"""What profiling itself costs beside reading the clock; it is taken out of every part."""

REST = "other"
OUTSIDE = ""
"""The stage of what belongs to none."""


class Stopwatch:
    """Seconds by stage and part; their sum is the time between the first and the latest reading of the clock.

    Args:
        clock: seconds that never go back; while a GPU is profiled it waits for the GPU first.
        elapsed: seconds before now that count too, as :data:`REST`.

    Attributes:
        seconds: stage (:data:`OUTSIDE` for none) → part → seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter, elapsed: float = 0.0) -> None:
        self.clock = clock
        self.seconds: dict[str, dict[str, float]] = {}
        self._parts = [REST]
        self._stage = OUTSIDE
        self._since = clock() - elapsed

    @property
    def current(self) -> str:
        """The part whose clock runs."""
        return self._parts[-1]

    def enter(self, part: str) -> bool:
        """Begin a part inside the current one; returns whether that changed whose clock runs."""
        outer = self._parts[-1]
        inner = outer if outer in OPAQUE and part != OWN else part
        changes = inner != outer
        if changes:
            self.charge()
        self._parts.append(inner)
        return changes

    def leave(self) -> None:
        """End the part that was entered last; the one around it goes on."""
        if len(self._parts) > 1:
            if self._parts[-1] != self._parts[-2]:
                self.charge()
            self._parts.pop()

    def turn_to(self, part: str) -> None:
        """From now on, what is inside no other part is this one."""
        self.charge()
        self._parts[0] = part

    def stage(self, name: str) -> None:
        """From now on all seconds are this stage's."""
        self.charge()
        self._stage = name

    def add(self, part: str, seconds: float) -> None:
        """Seconds that were measured elsewhere."""
        parts = self.seconds.setdefault(self._stage, {})
        parts[part] = parts.get(part, 0.0) + seconds

    def charge(self) -> None:
        """Read the clock and give the seconds since the last reading to the current part."""
        now = self.clock()
        self.add(self._parts[-1], now - self._since)
        self._since = now

    def totals(self) -> dict[str, float]:
        """Part → seconds over all stages, in the order of :data:`PARTS`; those that occurred."""
        found = {part: sum(parts.get(part, 0.0) for parts in self.seconds.values()) for part in PARTS}
        return {part: seconds for part, seconds in found.items() if seconds}
