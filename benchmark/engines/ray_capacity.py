"""How many runs a Ray cluster bears, and what to do when it bears none: Ray itself would wait for ever, in silence."""

from __future__ import annotations

import logging
import time
from typing import Any

from benchmark.errors import BenchmarkError

logger = logging.getLogger(__name__)

COUNT_EVERY_S = 5.0

STRANDED_S = 300.0
"""How long runs wait for a node when none is left that could take one."""


class Capacity:
    """Room for runs that take ``threads`` CPUs and ``gpus`` GPUs (a share of one, a whole number, or 0) each."""

    def __init__(self, threads: int, gpus: float) -> None:
        self.threads, self.gpus = threads, gpus
        self._room, self._counted = 0, float("-inf")
        self._stranded_since: float | None = None

    @property
    def needs(self) -> str:
        """Of one run, for people."""
        return f"{self.threads} CPUs (--threads) and {self.gpus:g} GPUs (--gpus-per-run)"

    def check(self, ray: Any) -> None:
        """Raise BenchmarkError if there is no node that could take a run."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(self.fit(node) for node in nodes):
            most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in ("CPU", "GPU")}
            raise BenchmarkError(
                f"no node of the Ray cluster can take a run: it needs {self.needs}, "
                f"and the largest has {most['CPU']:g} CPUs and {most['GPU']:g} GPUs"
            )

    def fit(self, node: dict[str, float]) -> int:
        """How many runs a node's resources bear."""
        runs = int(node.get("CPU", 0) // self.threads)
        if not self.gpus:
            return runs
        count = node.get("GPU", 0)
        return min(runs, int(count) * int(1 / self.gpus + 1e-9) if self.gpus <= 1 else int(count // self.gpus))

    def count(self, ray: Any) -> int:
        """How many runs the cluster bears now; nodes come and go."""
        if time.monotonic() - self._counted > COUNT_EVERY_S:
            self._room = sum(self.fit(node["Resources"]) for node in ray.nodes() if node["Alive"])
            self._counted = time.monotonic()
        return self._room

    def stranded(self, ray: Any) -> bool:
        """Whether no node could take a run for so long that waiting ends; a warning comes first."""
        if self.count(ray):
            self._stranded_since = None
        elif self._stranded_since is None:
            self._stranded_since = time.monotonic()
            logger.warning("no node of the Ray cluster can take a run any more, which needs %s; waiting for one", self.needs)
        return self._stranded_since is not None and time.monotonic() - self._stranded_since > STRANDED_S

    def why_stranded(self) -> str:
        """What to say of the runs then."""
        return f"no node of the Ray cluster could take it for {STRANDED_S / 60:g} minutes: it needs {self.needs}"
