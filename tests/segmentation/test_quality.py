"""Scores of pixels and masks: cleanlab's on one task without void, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from cleanlab.segmentation.rank import get_label_quality_scores

from benchmark.errors import BenchmarkError
from benchmark.segmentation.quality import cleanlab_segmentation, image_quality, lowest_masks, mean_over_tasks, pixel_quality


def toy(n=3, tasks=1, classes=2, size=16):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, (n, tasks, size, size)).astype(np.uint8)
    logits = rng.normal(size=(n, tasks, classes, size, size)) + (np.arange(classes)[:, None, None] == labels[:, :, None])
    p = np.exp(logits)
    return labels, (p / p.sum(axis=2, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("classes", [2, 4])
def test_scores_are_cleanlabs(classes):
    labels, probabilities = toy(classes=classes)
    images, pixels = get_label_quality_scores(labels[:, 0].astype(int), probabilities[:, 0], n_jobs=1, verbose=False)
    np.testing.assert_allclose(image_quality(labels, probabilities)[:, 0], images, rtol=1e-12)
    np.testing.assert_array_equal(pixel_quality(labels, probabilities)[:, 0], pixels.astype(np.float32))


def test_softmin_by_hand_and_void():
    labels = np.array([0, 1, 255, 1], dtype=np.uint8).reshape(1, 1, 2, 2)
    p1 = np.array([0.25, 0.5, 0.0, 1.0], dtype=np.float32).reshape(1, 1, 2, 2)
    probabilities = np.stack([1 - p1, p1], axis=2)
    np.testing.assert_array_equal(pixel_quality(labels, probabilities).reshape(-1), [0.75, 0.5, 1, 1])
    weights = [math.exp(-s / 0.5) for s in (0.75, 0.5, 1.0)]
    expected = (0.75 * weights[0] + 0.5 * weights[1] + 1.0 * weights[2]) / sum(weights)
    assert image_quality(labels, probabilities, temperature=0.5)[0, 0] == pytest.approx(expected)
    labels[...] = 255
    assert np.isnan(image_quality(labels, probabilities)[0, 0])


def test_a_mask_that_is_void_throughout_stands_in_no_mean_and_no_share():
    nan = float("nan")
    quality = torch.tensor([[0.2, nan], [0.4, 0.8], [nan, nan], [0.6, 0.7]], dtype=torch.float64)
    assert mean_over_tasks(quality).tolist() == pytest.approx([0.2, 0.6, 1.0, 0.65])
    half = lowest_masks(quality, 0.5)  # one of three, one of two
    assert half.tolist() == [[True, False], [False, False], [False, False], [False, True]]
    many = torch.full((21, 2), nan, dtype=torch.float64)
    many[:20, 0] = torch.cat([torch.linspace(0.1, 0.15, 6), torch.linspace(0.8, 0.9, 14)])
    assert lowest_masks(many, None)[:, 0].tolist() == [True] * 6 + [False] * 15 and not lowest_masks(many, None)[:, 1].any()


def test_cleanlabs_module_runs_task_by_task():
    labels, probabilities = toy(tasks=2)
    flagged, scores = cleanlab_segmentation(labels, probabilities)
    np.testing.assert_allclose(scores, image_quality(labels, probabilities), rtol=1e-12)
    alone, _ = cleanlab_segmentation(labels[:, 1:], probabilities[:, 1:])
    np.testing.assert_array_equal(flagged[:, 1:], alone)
    assert 0 < flagged.sum() < flagged.size / 2


def test_cleanlabs_module_with_void_is_the_same_without_those_pixels():
    labels, probabilities = toy()
    top, _ = cleanlab_segmentation(labels[:, :, :8], probabilities[:, :, :, :8])
    labels[:, :, 8:] = 255
    flagged, scores = cleanlab_segmentation(labels, probabilities)
    np.testing.assert_array_equal(flagged[:, :, :8], top)
    assert not flagged[:, :, 8:].any()
    np.testing.assert_array_equal(scores, image_quality(labels, probabilities))


def test_cleanlabs_module_is_never_given_a_nan():
    labels, probabilities = toy()
    probabilities[0, 0, 0, 0, 0] = np.nan
    with pytest.raises(BenchmarkError, match="not finite"):
        cleanlab_segmentation(labels, probabilities)
