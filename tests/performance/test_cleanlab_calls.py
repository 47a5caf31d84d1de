"""What the harness adds to cleanlab's own calls, on as many probabilities as CIFAR has images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.registry import Registry
from benchmark.training import noise_rate
from tests.performance.measuring import measured

pytestmark = pytest.mark.perf

N, CLASSES, ROUNDS = 50_000, 10, 3


@pytest.fixture(scope="module")
def forecast() -> tuple[np.ndarray, np.ndarray]:
    """(n,) labels of which a fifth is wrong, and (n, K) float64 probabilities of a classifier that is right most of the time."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, CLASSES, N)
    given = np.where(rng.random(N) < 0.2, (true + rng.integers(1, CLASSES, N)) % CLASSES, true)
    logits = rng.normal(size=(N, CLASSES)) + 3 * np.eye(CLASSES)[true]
    weights = np.exp(logits)
    return given, weights / weights.sum(axis=1, keepdims=True)


def compared(work, reference):
    """Results of both, and a text of their best processor seconds and memory, in turn."""
    rounds = [(measured(work), measured(reference)) for _ in range(ROUNDS)]
    ours, theirs = (min(taken[i][2] for taken in rounds) for i in (0, 1))
    memory = [max(taken[i][3] for taken in rounds) for i in (0, 1)]
    text = f"{1000 * ours:.0f} ms of CPU and {memory[0]:.0f} MB, cleanlab's own {1000 * theirs:.0f} ms and {memory[1]:.0f} MB"
    return rounds[0][0][0], rounds[0][1][0], f"{text}, ratio {ours / theirs:.2f}"


@pytest.mark.parametrize("filter_by", ["prune_by_noise_rate", "both"])
def test_filter(filter_by, forecast, report):
    """confident_learning's verdict: labels that are wrong, from float32 probabilities as a network gives them."""
    from cleanlab.filter import find_label_issues

    detector = Registry().load("method", "confident_learning").__module__
    module = __import__("sys").modules[detector]
    given, exact = forecast
    single = torch.from_numpy(exact).float()

    def ours() -> np.ndarray:
        _, labels, compact = module.present_classes(given, single.double().numpy())
        return module.label_issues(labels, compact, filter_by)

    probabilities = single.double().numpy()
    mine, theirs, text = compared(ours, lambda: find_label_issues(given, probabilities, filter_by=filter_by, n_jobs=1))
    report(f"wrong labels among {N} × {CLASSES} probabilities, {filter_by}: {text}")
    assert (mine == theirs).all()


def test_joint(forecast, report, monkeypatch):
    """The rate of wrong labels that hsa, co-teaching and others are told, from probabilities that are there."""
    from cleanlab.count import num_label_issues

    given, probabilities = forecast
    single, labels = torch.from_numpy(probabilities).float(), torch.from_numpy(given)
    monkeypatch.setattr(noise_rate, "out_of_fold_probabilities", lambda *arguments, **options: single)
    exact = single.double().numpy()
    exact = exact / exact.sum(axis=1, keepdims=True)
    mine, theirs, text = compared(
        lambda: noise_rate.confident_joint(None, torch.arange(N), labels, CLASSES),
        lambda: num_label_issues(given, exact, estimation_method="off_diagonal"),
    )
    report(f"rate of wrong labels by the confident joint, {N} × {CLASSES}: {text}")
    assert mine == theirs / N
