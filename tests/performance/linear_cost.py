"""One run on n drawn images in a process of its own: what it takes to start, an epoch, and memory.

``python -m tests.performance.linear_cost N METHOD EPOCHS FOLDER`` prints one line of JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

PLUGIN = '''
"""Images drawn piece by piece, so that drawing them takes no memory beside the images."""
from dataclasses import dataclass

import numpy as np

from benchmark.api import Arrays, Dataset, dataset, hp


@dataset("stripes", version=1)
class Stripes(Dataset):
    """Stripes in four directions under noise, 32 px, RGB."""

    @dataclass(frozen=True)
    class Params:
        """How many."""

        n: int = hp(1000, 8, 10_000_000, tune=False, help="images")

    augmentation = ("crop", "flip")

    def load(self, root):
        """Draw them."""
        n, rng = self.params.n, np.random.default_rng(0)
        labels = (np.arange(n) % 4).astype(np.int64)
        images = np.empty((n, 32, 32, 3), dtype=np.uint8)
        rows, columns = np.mgrid[:32, :32].astype(np.float32)
        for start in range(0, n, 1000):
            part = labels[start : start + 1000]
            angle = part[:, None, None] * np.float32(np.pi / 4)
            phase = rng.uniform(0, 6.28, (len(part), 1, 1)).astype(np.float32)
            waves = np.sin(0.8 * (rows * np.cos(angle) + columns * np.sin(angle)) + phase)
            pixels = 128 + 40 * waves[..., None] + rng.integers(-80, 81, (len(part), 32, 32, 3), dtype=np.int16)
            images[start : start + 1000] = pixels.clip(0, 255)
        return Arrays(images, labels, ("a", "b", "c", "d"))
'''


def main(n: int, method: str, epochs: int, folder: Path) -> dict[str, float]:
    """Train, and return seconds and MB.

    Returns:
        ``start``: processor seconds until the method begins (imports, drawing, placing the images); ``train``: median wall
        seconds of an epoch's training; ``epoch``: median processor seconds of an epoch with its evaluation, over all stages;
        ``whole``: processor seconds of all; ``peak_mb``: the most memory that was resident; ``trained``: samples a whole run trains on.
    """
    from statistics import median

    import torch

    from benchmark import worker
    from benchmark.engines.base import WorkerOptions
    from benchmark.grammar import parse_settings
    from benchmark.registry import Registry
    from benchmark.spec import expand, protocol
    from benchmark.store import RunStore
    from benchmark.training.context import RunContext

    plugin = folder / "stripes.py"
    plugin.write_text(PLUGIN, encoding="utf-8")
    (spec,) = expand(
        Registry([plugin]),
        methods=parse_settings(method, what="method"),
        datasets=parse_settings(f"stripes:n={n}", what="dataset"),
        noise=parse_settings("0.2", what="noise", number_means="symmetric"),
        seeds=[0],
        protocol=protocol("quick", {"epochs": epochs}),
        data_root=folder,
    )
    store, marks, begun = RunStore(folder / "runs"), [], []
    key = store.register(spec)

    def tick(event: dict[str, object]) -> None:
        if event["event"] == "epoch":
            marks.append(time.process_time())

    class Noted(RunContext):
        """Built when the data are in their place."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            begun.append(time.process_time())
            super().__init__(*arguments, **options)

    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # the first optimiser of a process imports much: a part of the start
    worker.RunContext = Noted  # type: ignore[misc]
    outcome = worker.execute(key, WorkerOptions(runs=folder / "runs", device="cpu", data_root=folder, plugins=(str(plugin),)), tick)
    assert outcome.status == "done", outcome.message
    lines = [json.loads(line) for line in (store.folder(key) / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [after - before for before, after in pairwise(marks)]
    return {
        "n": n,
        "start": begun[0],
        "train": median(line["seconds"] for line in lines),
        "epoch": median(steps),
        "whole": time.process_time(),
        "trained": sum(line["samples"] for line in lines),
        "peak_mb": _peak_mb(),
    }


def _peak_mb() -> float:
    """The most memory that was resident. Where Linux tells, of this program alone; what getrusage tells begins with its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))) + "\n")
