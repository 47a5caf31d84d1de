"""Cleanlab's segmentation module as a method: its flags and scores, and the three things that are done with them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cleanlab.segmentation.filter import find_label_issues
from cleanlab.segmentation.rank import get_label_quality_scores

from benchmark.api import TrainingData
from benchmark.conformance import tiny_run
from benchmark.conformance_data import tiny_masks
from benchmark.errors import BenchmarkError
from benchmark.params import resolve
from benchmark.registry import Registry
from benchmark.segmentation import VOID
from benchmark.training.mixture import lower_component

Cleanlab = Registry().load("method", "seg_cleanlab")
CrossEntropy = Registry().load("method", "seg_ce")


def predicted(monkeypatch, void=True):
    """Tiny masks, and probabilities of them that the teachers are made to give: near the truth, and of no network."""
    data, truth = tiny_masks()
    labels = data.labels.numpy().copy()
    if not void:
        labels[labels == VOID] = 0
    rng = np.random.default_rng(0)
    p = np.exp(rng.normal(size=(24, 1, 2, 16, 16)) + 3 * (np.arange(2)[:, None, None] == truth[:, :, None]))
    forecast = (p / p.sum(axis=2, keepdims=True)).astype(np.float32)
    monkeypatch.setattr("benchmark.segmentation.cross_prediction.cross_predict", lambda *_: forecast)
    return (TrainingData(data.images, torch.from_numpy(labels), 2, data.class_names, data.tasks), truth), forecast


def made(**params):
    return Cleanlab(resolve(Cleanlab.Params, params, "seg_cleanlab"))


def judged(labels, flagged, quality=None, **params):
    """A method that has judged (n, T, H, W) labels."""
    method = made(**params)
    method.flagged = flagged
    method.other = torch.where(flagged, 1 - labels, labels)
    method.mask_quality = torch.zeros(labels.shape[:2]) if quality is None else quality
    method.judged = torch.ones(labels.shape[1], dtype=torch.bool)
    data = TrainingData(torch.zeros(len(labels), 1, *labels.shape[2:], dtype=torch.uint8), labels, 2, ("a", "b"), ("t",) * labels.shape[1])
    return method, data


def test_flags_and_scores_are_cleanlabs(monkeypatch):
    case, forecast = predicted(monkeypatch, void=False)
    method = tiny_run(Cleanlab, masks=case).method
    given, options = case[0].labels[:, 0].numpy().astype(int), {"n_jobs": 1, "verbose": False}
    theirs = find_label_issues(given, forecast[:, 0], **options)
    assert 0.01 < theirs.mean() < 0.5
    np.testing.assert_array_equal(method.pixel_suspects()[:, 0].numpy(), theirs)
    np.testing.assert_allclose(method.label_quality().numpy(), get_label_quality_scores(given, forecast[:, 0], **options)[0], atol=1e-6)


def test_void_is_never_flagged_and_never_learnt(monkeypatch):
    case, _ = predicted(monkeypatch)
    for then in ("drop", "correct", "images"):
        result = tiny_run(Cleanlab, masks=case, then=then)
        void = case[0].labels == VOID
        assert not result.method.pixel_suspects()[void].any() and void.any()
        indices, lesson = result.method.companion(case[0])
        assert (lesson[void[indices]] == VOID).all()


def test_what_is_dropped_has_no_say():
    labels = torch.tensor([[0, 1, 1, 0]], dtype=torch.uint8).view(1, 1, 1, 4)
    flagged = torch.tensor([False, True, False, False]).view(1, 1, 1, 4)
    method, data = judged(labels, flagged)
    indices, lesson = method.companion(data)
    assert indices.tolist() == [0] and lesson.ravel().tolist() == [0, VOID, 1, 0]
    logits = torch.randn(1, 1, 2, 1, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    method.training_step(SimpleNamespace(images=None, labels=torch.cat([labels, lesson], dim=1)), [lambda _: logits], 0).backward()
    assert (logits.grad[..., 1] == 0).all() and (logits.grad[..., [0, 2, 3]] != 0).all()
    assert method.corrected_labels() is None and method.suspects() is None


def test_what_is_corrected_is_learnt_anew():
    labels = torch.tensor([[0, 1, 1, 0]], dtype=torch.uint8).view(1, 1, 1, 4)
    method, data = judged(labels, torch.tensor([True, True, False, False]).view(1, 1, 1, 4), then="correct")
    _, lesson = method.companion(data)
    assert lesson.ravel().tolist() == [1, 0, 1, 0] and torch.equal(method.corrected_labels(), lesson)
    logits = torch.tensor([0.2, 0.8]).log().view(1, 1, 2, 1, 1).expand(1, 1, 2, 1, 4)
    loss = method.training_step(SimpleNamespace(images=None, labels=torch.cat([labels, lesson], dim=1)), [lambda _: logits], 0)
    assert loss.item() == pytest.approx(-np.log([0.8, 0.2, 0.8, 0.2]).mean(), rel=1e-6)


def test_an_image_of_which_nothing_is_left_is_not_visited():
    labels = torch.zeros(3, 1, 1, 2, dtype=torch.uint8)
    flagged = torch.zeros(3, 1, 1, 2, dtype=torch.bool)
    flagged[1] = True
    method, data = judged(labels, flagged)
    assert method.companion(data)[0].tolist() == [0, 2]
    flagged[:] = True  # what trusts nothing leaves everything as it is
    indices, lesson = method.companion(data)
    assert indices.tolist() == [0, 1, 2] and torch.equal(lesson, labels)


def test_the_worst_masks_are_left_out_task_by_task():
    labels = torch.zeros(4, 2, 1, 1, dtype=torch.uint8)
    quality = torch.tensor([[0.1, 0.2], [0.9, 0.1], [0.2, 0.8], [0.8, 0.9]], dtype=torch.float64)
    method, data = judged(labels, torch.zeros_like(labels, dtype=torch.bool), quality, then="images", share=0.5)
    indices, lesson = method.companion(data)
    assert indices.tolist() == [1, 2, 3]  # both masks of image 0 are among the worse half
    assert lesson.flatten(1).tolist() == [[0, VOID], [VOID, 0], [0, 0]]
    assert method.suspects().tolist() == [True, True, True, False] and method.corrected_labels() is None
    method.judged = torch.tensor([True, False])
    assert method.worst_masks().tolist() == [[True, False], [False, False], [True, False], [False, False]]


def test_the_share_of_bad_masks_is_estimated():
    scores = np.r_[np.linspace(0.1, 0.15, 6), np.linspace(0.8, 0.9, 14)]
    labels = torch.zeros(20, 1, 1, 1, dtype=torch.uint8)
    method, data = judged(labels, labels.bool(), torch.from_numpy(scores).view(-1, 1), then="images")
    assert method.companion(data)[0].tolist() == list(range(6, 20))
    assert method.suspects().tolist() == lower_component(scores).tolist() == [True] * 6 + [False] * 14


def test_with_nothing_flagged_it_is_cross_entropy(monkeypatch):
    monkeypatch.setattr(Cleanlab, "flag", lambda self, labels, *_: np.zeros(labels.shape, dtype=bool))
    plain = tiny_run(CrossEntropy)
    for params in ({"then": "drop"}, {"then": "correct"}, {"then": "images", "share": 0.0}):
        assert torch.allclose(tiny_run(Cleanlab, **params).probabilities, plain.probabilities, atol=1e-6)


@pytest.mark.parametrize("then", ["drop", "correct", "images"])
def test_the_history_is_of_the_given_masks(monkeypatch, then):
    """In the first batch the network is the same whatever it learns from; so is what it sees of the given labels."""
    case, _ = predicted(monkeypatch)
    mine, plain = tiny_run(Cleanlab, masks=case, then=then, share=0.0), tiny_run(CrossEntropy, masks=case)
    first = torch.isclose(mine.run.history.values[0], plain.run.history.values[0], atol=1e-6)
    assert int(first.sum()) >= 8  # a batch


@pytest.mark.parametrize("share", ["1", "much"])
def test_a_share_is_a_number_below_one_or_estimated(share):
    with pytest.raises(BenchmarkError, match=r"seg_cleanlab\.share"):
        made(share=share)


def test_not_a_number_is_an_error_of_one_line(monkeypatch):
    forecast = np.full((24, 1, 2, 16, 16), np.nan, dtype=np.float32)
    monkeypatch.setattr("benchmark.segmentation.cross_prediction.cross_predict", lambda *_: forecast)
    with pytest.raises(BenchmarkError, match=r"^probabilities of task 'organ 0', image 0 are not finite; [^\n]*$"):
        tiny_run(Cleanlab)
