"""What the metrics of bags cost on a data set as large as Camelyon16 at 5×."""

from __future__ import annotations

import time

import numpy as np
import pytest

from benchmark.metrics.bags import bag_metrics, instance_metrics, pseudo_label_quality, structural_noise, youden_threshold
from benchmark.metrics.froc import froc

pytestmark = pytest.mark.perf


def test_speed_of_270_slides_of_1000_tiles():
    rng = np.random.default_rng(0)
    n, m = 270, 1000
    offsets, bags = np.arange(n + 1) * m, rng.integers(0, 2, n)
    positions = np.stack(np.meshgrid(np.arange(40), np.arange(25), indexing="ij"), axis=-1).reshape(-1, 2)
    positions = np.tile(positions, (n, 1))
    truth = ((rng.random(n * m) < 0.05) & np.repeat(bags == 1, m)).astype(np.int8)
    scores = (rng.random(n * m) * 0.7 + 0.3 * truth).astype(np.float32)
    calls = {
        "bag_metrics": lambda: bag_metrics(bags, rng.random(n), 0.5),
        "youden_threshold": lambda: youden_threshold(bags, rng.random(n)),
        "instance_metrics": lambda: instance_metrics(truth, scores, bags, offsets, 0.5),
        "pseudo_label_quality": lambda: pseudo_label_quality(scores, truth, offsets, bags, 0.5),
        "structural_noise": lambda: structural_noise(bags, truth, offsets),
        "froc": lambda: froc(truth, scores, positions, offsets),
    }
    froc(truth[:m], scores[:m], positions[:m], offsets[:2])  # imports what it needs
    for name, call in calls.items():
        start = time.perf_counter()
        call()
        seconds = time.perf_counter() - start
        print(f"{name}: {1000 * seconds:.1f} ms")
        assert seconds < (3 if name == "froc" else 1), name
