"""What the semi-supervised methods promise, on 300 small images of digits of which 40 % are labelled wrong."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score

from benchmark.api import Samples, TrainingData
from benchmark.params import resolve
from benchmark.registry import Registry
from benchmark.spec import protocol
from benchmark.training.context import RunContext
from benchmark.training.oracle import Oracle

pytestmark = pytest.mark.usefixtures("one_thread")

RATE, TRAIN, TEST, EPOCHS = 0.4, 300, 400, 16


@functools.cache
def trained(name, seed):
    """Test accuracy after the last epoch, and the average precision of the ranking of wrong labels."""
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    images = torch.from_numpy((digits.images * 15.9).astype(np.uint8))[:, None]
    train, test = order[:TRAIN], order[TRAIN : TRAIN + TEST]
    noise = Registry().load("noise", "symmetric")
    noise = noise(resolve(noise.Params, {"rate": RATE}, "symmetric"))
    truth = digits.target[train].astype(np.int64)
    given = noise.apply(Samples(truth, 10), np.random.default_rng(seed))
    data = TrainingData(images[train], torch.from_numpy(given), 10, tuple("0123456789"))
    oracle = Oracle(truth, noise, RATE, 10, data.class_names)
    run = RunContext(data, protocol("quick", {"epochs": EPOCHS}), seed=seed, device=torch.device("cpu"), oracle=oracle)
    cls = Registry().load("method", name)
    method = cls(resolve(cls.Params, {}, name))
    method.run, method.data = run, data
    scores = []

    class Last:
        def after_epoch(self, line, predict, *, final=True):
            if predict is not None:
                scores.append(float((predict(images[test])[""].argmax(dim=1).numpy() == digits.target[test]).mean()))

        def state_dict(self):
            return {}

    run.observe(Last())
    method.setup(data, run)
    method.fit(data, run)
    return scores[-1], average_precision_score(given != truth, -method.label_quality().numpy())


OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("elr_plus", "ssr", "disc", "pgdf")]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["dividemix", *OTHERS])
def test_wrong_labels_are_not_learnt_by_heart_and_are_found(name, seed):
    accuracy, precision = trained(name, seed)
    assert accuracy > trained("ce", seed)[0] + 0.05
    assert precision > 0.9  # by chance 0.4
