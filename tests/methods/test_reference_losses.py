"""What the losses are for: they forget less than cross-entropy. On a small set in seconds, on digits as a slow test."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.api import Noise, TrainingData
from benchmark.cli import main
from benchmark.params import resolve
from benchmark.registry import Registry
from benchmark.spec import protocol
from benchmark.training.context import RunContext
from benchmark.training.oracle import Oracle

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES, WIDTH, TRAIN, TEST, RATE = 4, 30, 400, 2000, 0.4


class Curve:
    """The harness's side of a run: accuracy on the test samples after each epoch."""

    def __init__(self, features: torch.Tensor, labels: np.ndarray) -> None:
        self.features, self.labels, self.accuracies = features, labels, []

    def after_epoch(self, line, predict, *, final=True) -> None:
        if predict is not None:
            self.accuracies.append(float((predict(self.features)[""].argmax(dim=1).numpy() == self.labels).mean()))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state) -> None:
        """Nothing to restore."""


def clouds(seed: int) -> tuple[torch.Tensor, np.ndarray, torch.Tensor, np.ndarray]:
    """Four overlapping Gaussian clouds: training features and true labels, test features and labels."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(CLASSES, WIDTH))
    centres *= 3 / np.linalg.norm(centres, axis=1, keepdims=True)
    labels = np.arange(TRAIN + TEST) % CLASSES
    features = torch.from_numpy(centres[labels] + rng.normal(size=(len(labels), WIDTH))).float()
    return features[:TRAIN], labels[:TRAIN], features[TRAIN:], labels[TRAIN:]


def trained(name: str, changes: dict[str, Any], seed: int = 0) -> tuple[float, float]:
    """Last accuracy on right labels, and the average precision of the quality against the wrong labels, of a method at 40 % noise."""
    from sklearn.metrics import average_precision_score

    features, true, test_features, test_labels = clouds(seed)
    rng = np.random.default_rng(100 + seed)
    wrong = np.isin(np.arange(TRAIN), rng.permutation(TRAIN)[: int(RATE * TRAIN)])
    given = np.where(wrong, (true + rng.integers(1, CLASSES, TRAIN)) % CLASSES, true)
    data = TrainingData(features, torch.from_numpy(given), CLASSES, tuple("abcd"))
    settings = protocol("quick", {"backbone": "mlp"})
    oracle = Oracle(true, Noise(), RATE, CLASSES, data.class_names)
    run = RunContext(data, settings, seed=seed, device=torch.device("cpu"), oracle=oracle)
    cls = Registry().load("method", name)
    method = cls(resolve(cls.Params, changes, name))
    method.run, method.data, curve = run, data, Curve(test_features, test_labels)
    run.observe(curve)
    method.setup(data, run)
    method.fit(data, run)
    return curve.accuracies[-1], float(average_precision_score(wrong, -method.label_quality().numpy()))


@pytest.fixture(scope="module")
def cross_entropy() -> tuple[float, float]:
    return trained("ce", {})


EXPECTED = [
    ("gce", {}, 0.05),
    ("gce", {"truncate": 0.5}, 0.1),
    ("sce", {}, 0.08),
    ("nce_rce", {}, 0.08),
    ("nce_mae", {}, 0.08),
    ("elr", {}, 0.1),
    ("sop", {}, 0.1),
    ("forward", {"matrix": "oracle"}, 0.05),
    ("mixup", {"alpha": 8.0}, 0.02),
    ("bootstrapping", {}, 0.01),
    ("cdr", {}, 0.01),
]
"""Method, settings, and how much more accurate than cross-entropy it ends at least."""


@pytest.mark.parametrize(("name", "changes", "margin"), EXPECTED, ids=[":".join([name, *changes]) for name, changes, _ in EXPECTED])
def test_each_forgets_less_than_cross_entropy(
    name: str, changes: dict[str, Any], margin: float, cross_entropy: tuple[float, float]
) -> None:
    """Cross-entropy ends near 74 %, the clouds allow 91 %; the labels are ranked at least as well, too."""
    accuracy, precision = trained(name, changes)
    assert accuracy > cross_entropy[0] + margin
    assert precision > cross_entropy[1]


def test_cross_entropy_forgets(cross_entropy: tuple[float, float]) -> None:
    """Or the test above would show nothing."""
    assert cross_entropy[0] < 0.8


def last_and_best(folder: Path, dataset: str, methods: str) -> dict[str, np.ndarray]:
    """Trains at symmetric 0.4 with seeds 0 to 2; for each method its mean last and mean best test accuracy in percent."""
    common = ["--datasets", dataset, "--noise", "symmetric:0.4", "--seeds", "0-2", "--runs", str(folder), "--data-root", str(folder)]
    assert main(["run", "--methods", methods, *common, "--jobs", "1", "--no-tracking", "-q"]) == 0
    found: dict[str, list[tuple[float, float]]] = {}
    for path in sorted(folder.glob("*/result.json")):
        result = json.loads(path.read_text())
        params = result["spec"]["method"]["params"]
        name = result["spec"]["method"]["name"] + (":strong" if params.get("lambda_") == 7.0 else "")
        pair = (result["metrics"]["last"]["accuracy"], result["metrics"]["best"]["accuracy"])
        found.setdefault(name, []).append((100 * pair[0], 100 * pair[1]))
    assert all(len(pairs) == 3 for pairs in found.values())
    return {name: np.mean(pairs, axis=0) for name, pairs in found.items()}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_order_on_digits(tmp_path: Path) -> None:
    """Robust losses end above cross-entropy, which forgets; ELR hardly does (at the published weight of 3 the network still learns
    those wrong labels by heart whose true class it believes by less than a half; at 7 it learns next to none)."""
    found = last_and_best(tmp_path, "digits", "ce,gce,sce,nce_rce,nce_mae,elr,elr:lambda_=7,sop")
    for name in ("gce", "sce", "nce_rce", "nce_mae", "elr", "sop"):
        assert found[name][0] > found["ce"][0] + 3, found
    forgotten = {name: best - last for name, (last, best) in found.items()}
    assert forgotten["ce"] > 5, forgotten
    assert forgotten["elr"] < 4, forgotten
    assert forgotten["elr:strong"] < 2, forgotten


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif("BENCHMARK_DATA" not in os.environ, reason="BENCHMARK_DATA names no folder of real sets")
def test_what_is_forgotten_on_real_images(tmp_path: Path) -> None:
    """ELR forgets next to nothing at a published setting, a little at its default, cross-entropy much.

    On the nuclei, because their four classes leave the true class the most likely label at 40 % symmetric flips by far (60 against 13 %).
    Of the two classes of the chest X-rays 60 : 40 is left, and neither setting stays below 2 points there: docs/methods/elr.md.
    """
    path = Path(os.environ["BENCHMARK_DATA"]) / "crc_nuclei27.npz"
    found = last_and_best(tmp_path, f"npz:{path}:subset=2000", "ce,elr,elr:cifar100")
    forgotten = {name: best - last for name, (last, best) in found.items()}
    assert forgotten["ce"] > 5, forgotten
    assert forgotten["elr"] < 4, forgotten
    assert forgotten["elr:strong"] < 2, forgotten
