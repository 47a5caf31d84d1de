"""The end of early learning, corrected labels and agreement across scales."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchmark.segmentation.adele import (
    at_scales,
    correct_labels,
    early_learning_ended,
    fit_curve,
    overlap_counts,
    scale_consistency,
    slope_change,
)


def curve(a, b, c, epochs):
    t = np.arange(1, epochs + 1)
    return a * (1 - np.exp(-(t**b) / c))


def test_overlap_by_hand():
    predicted = torch.tensor([0, 1, 1, 1]).view(1, 1, 1, 4)
    given = torch.tensor([0, 0, 1, 255]).view(1, 1, 1, 4)
    assert overlap_counts(predicted, given, 2).tolist() == [[[1, 2], [1, 2]]]
    twice = torch.cat([predicted, given], dim=1), torch.cat([given, given], dim=1)
    assert overlap_counts(*twice, 2).tolist() == [[[1, 2], [1, 2]], [[2, 2], [1, 1]]]


@pytest.mark.parametrize("exact", [(0.8, 0.7, 2.0), (0.95, 1.0, 4.0)])
def test_the_fit_recovers_a_curve(exact):
    assert fit_curve(curve(*exact, 20)) == pytest.approx(exact, rel=0.02)


def test_the_slope_changes_as_its_derivative_does():
    a, b, c = 0.8, 0.7, 2.0
    slope = [a * b / c * t ** (b - 1) * math.exp(-(t**b) / c) for t in (1, 6)]
    assert slope_change((a, b, c), 6) == pytest.approx((slope[0] - slope[1]) / slope[0])
    assert slope_change((a, b, c), 1) == 0
    assert slope_change((0.0, 1.0, 1.0), 9) == 0


def test_early_learning_ends_when_the_slope_is_gone():
    # b = 1: f'(t)/f'(1) = exp(−(t − 1)/c), below 0.1 after t = 1 + c·ln 10, 7.9 epochs at c = 3
    values = curve(0.9, 1.0, 3.0, 12)
    assert [early_learning_ended(values[:m]) for m in (7, 8)] == [False, True]
    assert not early_learning_ended(values[:8], threshold=0.99)
    # epochs in which the class is not predicted yet do not count
    late = np.concatenate([np.zeros(5), values])
    assert [early_learning_ended(late[:m]) for m in (12, 13)] == [False, True]


def test_no_curve_no_end():
    assert not early_learning_ended(np.array([0.1, 0.8, 0.8]))
    assert not early_learning_ended(np.zeros(10))
    assert not early_learning_ended(np.array([0.5, np.nan, 0.6, 0.7, 0.7]))
    assert fit_curve(np.array([])) is None


def one_hot(classes, confidence):
    """(1, 1, 3, 1, n) probabilities: each pixel's class with this confidence, the rest shared."""
    p = torch.full((1, 1, 3, 1, len(classes)), 0.0)
    for index, (k, sure) in enumerate(zip(classes, confidence, strict=True)):
        p[0, 0, :, 0, index] = (1 - sure) / 2
        p[0, 0, k, 0, index] = sure
    return p


def test_labels_are_corrected_where_the_prediction_is_sure():
    labels = torch.tensor([0, 0, 1, 1, 2, 0, 255], dtype=torch.uint8).view(1, 1, 1, 7)
    probabilities = one_hot([1, 1, 0, 2, 1, 2, 1], [0.9, 0.8, 0.9, 0.9, 0.9, 0.9, 0.9])
    kept = labels.clone()
    corrected = correct_labels(labels, probabilities, torch.tensor([[False, True, False]]))
    # 1: not above τ; 3: to a class still learning; 4: from one; 5: to one; 6: void
    assert corrected.flatten().tolist() == [1, 0, 0, 1, 2, 0, 255]
    assert corrected.dtype == labels.dtype and torch.equal(labels, kept)
    assert torch.equal(correct_labels(labels, probabilities, torch.zeros(1, 3, dtype=torch.bool)), labels)
    everything = correct_labels(labels, probabilities, torch.ones(1, 3, dtype=torch.bool), threshold=0.7)
    assert everything.flatten().tolist() == [1, 1, 0, 2, 1, 2, 255]


def test_a_class_that_the_mask_lacks_is_written_only_if_asked():
    labels = torch.zeros(2, 1, 1, 2, dtype=torch.uint8)
    labels[1, 0, 0, 1] = 1
    p1 = torch.full((2, 1, 1, 2), 0.9)
    probabilities, ended = torch.stack([1 - p1, p1], dim=2), torch.tensor([[False, True]])
    assert correct_labels(labels, probabilities, ended).flatten().tolist() == [0, 0, 1, 1]
    assert correct_labels(labels, probabilities, ended, present_only=False).flatten().tolist() == [1, 1, 1, 1]


def test_each_task_has_its_own_end():
    labels = torch.zeros(1, 2, 1, 2, dtype=torch.uint8)
    p1 = torch.full((1, 2, 1, 2), 0.95)
    probabilities, ended = torch.stack([1 - p1, p1], dim=2), torch.tensor([[False, True], [False, False]])
    assert correct_labels(labels, probabilities, ended, present_only=False).flatten().tolist() == [1, 1, 0, 0]


def test_scales_come_back_to_size():
    sizes = []

    def forward(images):
        sizes.append(tuple(images.shape[-2:]))
        return torch.stack([images, 2 * images], dim=2).expand(-1, 3, -1, -1, -1)

    images = torch.full((2, 1, 16, 40), 0.5)
    logits = at_scales(forward, images, scales=(0.7, 1.0, 1.5, 0.1))
    assert sizes == [(8, 32), (16, 40), (24, 64), (8, 8)]  # 40 · 1.5 = 60 lies between 56 and 64
    assert logits.shape == (4, 2, 3, 2, 16, 40)
    torch.testing.assert_close(logits[:, :, :, 1], torch.ones(4, 2, 3, 16, 40))


def test_agreement_across_scales_by_hand():
    p = torch.tensor([0.9, 0.7], dtype=torch.float64)  # of class 1, at two scales; q = .8
    logits = torch.stack([torch.log1p(-p), p.log()], dim=1).view(2, 1, 1, 2, 1, 1).expand(2, 1, 1, 2, 1, 2)
    labels = torch.tensor([1, 255]).view(1, 1, 1, 2)
    exact = [x * math.log(x / 0.8) + (1 - x) * math.log((1 - x) / 0.2) for x in (0.9, 0.7)]
    assert scale_consistency(logits, labels, threshold=0.79).item() == pytest.approx(sum(exact) / 2, rel=1e-4)
    assert scale_consistency(logits, labels, threshold=0.85).item() == 0
    assert scale_consistency(logits[:1].expand(3, -1, -1, -1, -1, -1), labels).item() == pytest.approx(0, abs=1e-6)
    assert scale_consistency(logits, torch.full_like(labels, 255)).item() == 0
