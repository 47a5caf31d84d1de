"""Confident learning for masks: what is cross-entropy, the loss by hand, the map that travels with the image, what it finds."""

from __future__ import annotations

import importlib
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmark.api import TrainingData
from benchmark.conformance import tiny_run
from benchmark.conformance_data import tiny_masks
from benchmark.errors import BenchmarkError
from benchmark.registry import Registry
from benchmark.segmentation import VOID
from benchmark.segmentation.confident import METHODS, confident_maps
from benchmark.segmentation.quality import image_quality
from benchmark.spec import protocol
from benchmark.tasks import defaults_of, task_of
from benchmark.training.context import RunContext
from benchmark.training.oracle import Oracle

CrossEntropy = Registry().load("method", "seg_ce")
Correcting = Registry().load("method", "seg_cl")
Smoothing = Registry().load("method", "seg_cl_slsr")
module = importlib.import_module(Correcting.__module__)


def toy(seed=0, classes=2, n=6, tasks=1, size=12):
    """Labels of which a fifth is wrong, and probabilities that lean to the true ones."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, (n, tasks, size, size))
    given = np.where(rng.random(true.shape) < 0.2, rng.integers(0, classes, true.shape), true).astype(np.uint8)
    p = np.exp(rng.normal(size=(n, tasks, classes, size, size)) + 1.5 * (np.arange(classes)[:, None, None] == true[:, :, None]))
    return given, (p / p.sum(axis=2, keepdims=True)).astype(np.float32)


def test_epsilon_is_what_sets_the_two_apart():
    assert (Correcting().params.epsilon, Smoothing().params.epsilon) == (1.0, 0.8)
    assert {**vars(Correcting().params), "epsilon": 0.8} == vars(Smoothing().params)


def test_without_smoothing_the_student_is_cross_entropy():
    """Same initial weights, same batches."""
    student, plain = tiny_run(Correcting, epsilon=0.0), tiny_run(CrossEntropy)
    assert student.method.flagged.any()
    assert torch.allclose(student.probabilities, plain.probabilities, atol=1e-5)
    assert torch.allclose(student.run.history.values, plain.run.history.values, atol=1e-5)
    assert not torch.allclose(tiny_run(Correcting).probabilities, plain.probabilities, atol=1e-4)


def test_with_nothing_flagged_the_student_is_cross_entropy(monkeypatch):
    monkeypatch.setattr(module, "confident_maps", lambda labels, *_: np.zeros(labels.shape, dtype=bool))
    student = tiny_run(Correcting)
    assert torch.allclose(student.probabilities, tiny_run(CrossEntropy).probabilities, atol=1e-5)
    assert torch.equal(student.method.corrected_labels(), student.method.data.labels)


@pytest.mark.parametrize(("cls", "share"), [(Correcting, 1.0), (Smoothing, 0.8)])
def test_the_loss_by_hand(cls, share):
    """p1 = 0.9 everywhere; given 0 1 0 1 void, the third and fourth flagged."""
    logits = torch.tensor([0.1, 0.9]).log().view(1, 1, 2, 1, 1).expand(1, 1, 2, 1, 5)
    given, flagged = torch.tensor([0, 1, 0, 1, VOID]), torch.tensor([0, 0, 1, 1, 0])
    batch = SimpleNamespace(images=None, labels=torch.stack([given, flagged]).to(torch.uint8).view(1, 2, 1, 5))
    low, high = -math.log(0.1), -math.log(0.9)
    pixels = [low, high, (1 - share) * low + share * high, (1 - share) * high + share * low]
    assert cls().training_step(batch, [lambda _: logits], 0).item() == pytest.approx(sum(pixels) / 4, rel=1e-6)


def test_at_epsilon_1_missed_foreground_comes_back():
    """The released loss edits the labels twice in place, after which a flagged background label is background again."""
    wants = torch.zeros(1, 1, 2, 1, 1, requires_grad=True)
    batch = SimpleNamespace(images=None, labels=torch.tensor([0, 1], dtype=torch.uint8).view(1, 2, 1, 1))  # given 0, flagged
    Correcting().training_step(batch, [lambda _: wants], 0).backward()
    assert wants.grad[0, 0, 1].item() < 0 < wants.grad[0, 0, 0].item()  # descent raises the foreground's logit


@pytest.mark.parametrize("filter_by", METHODS)
def test_each_half_has_its_own_thresholds(filter_by):
    labels, probabilities = toy(classes=3)
    probabilities[3:] = (probabilities[3:] + 2) / (probabilities[3:] + 2).sum(axis=2, keepdims=True)  # the second teacher is unsure
    folds = np.array([0, 0, 0, 1, 1, 1])
    flagged = Correcting(Correcting.Params(filter_by=filter_by)).flag(labels, probabilities, folds, ("a",))
    parts = [confident_maps(labels[folds == f], probabilities[folds == f], method=filter_by) for f in (0, 1)]
    np.testing.assert_array_equal(flagged, np.concatenate(parts))
    assert all(0 < part.mean() < 0.5 for part in parts)


def test_judgements_come_out_of_sample(monkeypatch):
    data, truth = tiny_masks()
    rng = np.random.default_rng(0)
    first = rng.random((24, 1, 1, 16, 16), dtype=np.float32)
    forecast = np.concatenate([first, 1 - first], axis=2)
    monkeypatch.setattr("benchmark.segmentation.cross_prediction.cross_predict", lambda *_: forecast)
    method = tiny_run(Correcting, masks=(data, truth)).method
    labels = data.labels.numpy()
    np.testing.assert_allclose(method.label_quality().numpy(), image_quality(labels, forecast).mean(axis=1))
    given = np.where(labels == VOID, 1, np.where(labels == 1, forecast[:, :, 1], forecast[:, :, 0]))
    np.testing.assert_array_equal(method.pixel_quality().numpy(), given)
    flagged = method.pixel_suspects().numpy()
    np.testing.assert_array_equal(flagged, confident_maps(labels, forecast, method.folds.numpy()))
    np.testing.assert_array_equal(method.corrected_labels().numpy(), np.where(flagged, 1 - labels, labels))
    assert flagged.any() and not flagged[labels == VOID].any()


def test_not_a_number_is_an_error_of_one_line(monkeypatch):
    forecast = np.full((24, 1, 2, 16, 16), np.nan, dtype=np.float32)
    monkeypatch.setattr("benchmark.segmentation.cross_prediction.cross_predict", lambda *_: forecast)
    with pytest.raises(BenchmarkError, match=r"^probabilities of task 'organ 0', image 0 of fold \d are not finite; [^\n]*$"):
        tiny_run(Correcting)


def trained(cls, data, truth, seed=0, **settings):
    """The method after its run on some data, by the quick protocol."""
    values = {**defaults_of("segmentation").protocols["quick"], "batch_size": 4, **settings}
    oracle = Oracle(truth, None, None, 2, data.class_names)
    run = RunContext(data, protocol("quick", values), seed=seed, device=torch.device("cpu"), oracle=oracle, task=task_of("segmentation"))
    method = cls()
    method.run, method.data = run, data
    method.fit(data, run)
    return method


class _Watching(Correcting):
    """Looks at what its batches carry."""

    def companion(self, data):
        self.flagged = data.labels == 1
        self.moved = 0
        return super().companion(data)

    def training_step(self, batch, networks, epoch):
        given, flagged = batch.labels.chunk(2, dim=1)
        assert given.shape[1] == 2 and torch.equal(flagged.bool(), given == 1)
        self.moved += int((given != self.data.labels[batch.indices]).any())
        return super().training_step(batch, networks, epoch)


def test_the_map_moves_with_the_masks():
    """The tiny runs of the kit do not augment."""
    data, truth = tiny_masks(tasks=2)
    assert trained(_Watching, data, truth, epochs=1, augmentation="flip+rot90").moved > 0


def discs(n, size, seed, wrong):
    """Bright discs on a dark ground; in a share of the given masks the disc is too large by three pixels, or too small."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    distance = np.stack([np.hypot(rows - r, columns - c) for r, c in rng.uniform(0.35, 0.65, (n, 2)) * size])
    truth = (distance < size / 4).astype(np.uint8)[:, None]
    given = truth.copy()
    for i in rng.choice(n, round(wrong * n), replace=False):
        given[i, 0] = distance[i] < size / 4 + rng.choice([-3, 3])
    images = (60 + 90 * truth + rng.normal(0, 20, truth.shape)).clip(0, 255).astype(np.uint8)
    return TrainingData(torch.from_numpy(images), torch.from_numpy(given), 2, ("ground", "disc"), ("disc",)), truth


@pytest.mark.parametrize("seed", range(2))
def test_it_finds_and_corrects_wrong_pixels(seed):
    """Of seeds 0 to 4 the least precision is 0.82, and the largest share of wrong pixels that are left 0.6."""
    data, truth = discs(24, 16, seed, wrong=0.3)
    method = trained(Correcting, data, truth, seed, epochs=20)
    wrong, flagged = data.labels.numpy() != truth, method.pixel_suspects().numpy()
    assert wrong[flagged].mean() > 0.7
    assert (method.corrected_labels().numpy() != truth).mean() < 0.7 * wrong.mean()
    bad = wrong.any(axis=(1, 2, 3))
    assert method.label_quality().numpy()[bad].mean() < method.label_quality().numpy()[~bad].mean()
