"""Losses of pixels against numbers by hand; what is void, weighted, selected; labels are never changed."""

from __future__ import annotations

import math

import pytest
import torch

from benchmark.segmentation.losses import (
    batch_weights,
    generalized_cross_entropy,
    image_means,
    keep_images,
    keep_pixels,
    pixel_cross_entropy,
    pixel_mean,
    smoothed_cross_entropy,
    soft_dice,
    weighted_by_image,
)


def two(p1):
    """(1, 1, 2, 1, n) logits whose softmax gives class 1 these probabilities."""
    p = torch.tensor(p1, dtype=torch.float64)
    return torch.stack([torch.log1p(-p), p.log()]).view(1, 1, 2, 1, -1)


def row(values, dtype=torch.uint8):
    return torch.tensor(values, dtype=dtype).view(1, 1, 1, -1)


def test_cross_entropy_and_void():
    losses = pixel_cross_entropy(two([0.2, 0.2, 0.2]), row([0, 1, 255])).flatten()
    torch.testing.assert_close(losses, torch.tensor([-math.log(0.8), -math.log(0.2), 0.0]))


TRUTH_TABLE = {0.0: [0, 0, 1, 1], 0.8: [0, 0.8, 1, 0.2], 1.0: [0, 1, 1, 0]}
"""Target of class 1 for (label, flagged) = (0, 0), (0, 1), (1, 0), (1, 1)."""


@pytest.mark.parametrize("epsilon", [0.0, 0.8, 1.0])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_smoothing_truth_table(epsilon, dtype):
    labels, flagged = row([0, 0, 1, 1], dtype), row([0, 1, 0, 1], torch.bool)
    kept = labels.clone()
    logits = two([0.3, 0.3, 0.3, 0.3]).requires_grad_()
    losses = smoothed_cross_entropy(logits, labels, flagged, epsilon).flatten()
    expected = [-(1 - y) * math.log(0.7) - y * math.log(0.3) for y in TRUTH_TABLE[epsilon]]
    torch.testing.assert_close(losses, torch.tensor(expected))
    # the gradient of cross-entropy is p − target
    losses.sum().backward()
    torch.testing.assert_close(logits.grad[0, 0, 1, 0], 0.3 - torch.tensor(TRUTH_TABLE[epsilon], dtype=torch.float64))
    assert labels.dtype == dtype and torch.equal(labels, kept)


def test_smoothing_of_several_classes_and_void():
    logits = torch.tensor([0.5, 0.3, 0.2]).log().view(1, 1, 3, 1, 1).expand(1, 1, 3, 1, 2)
    losses = smoothed_cross_entropy(logits, row([0, 255]), row([1, 1]), 0.6).flatten()
    # target .4 .3 .3
    torch.testing.assert_close(losses, torch.tensor([-(0.4 * math.log(0.5) + 0.3 * math.log(0.3) + 0.3 * math.log(0.2)), 0.0]))


def test_a_confidently_wrong_pixel_keeps_its_gradient():
    logits = torch.tensor([60.0, -60.0]).view(1, 1, 2, 1, 1).requires_grad_()
    smoothed_cross_entropy(logits, row([1]), row([0]), 0.8).sum().backward()
    torch.testing.assert_close(logits.grad.flatten(), torch.tensor([1.0, -1.0]))


def test_generalized_cross_entropy():
    logits, labels = two([0.2, 0.2, 0.5]), row([0, 1, 255])
    torch.testing.assert_close(
        generalized_cross_entropy(logits, labels, 0.5).flatten(), torch.tensor([2 * (1 - math.sqrt(0.8)), 2 * (1 - math.sqrt(0.2)), 0.0])
    )
    torch.testing.assert_close(generalized_cross_entropy(logits, labels, 1).flatten(), torch.tensor([0.2, 0.8, 0.0]))
    torch.testing.assert_close(generalized_cross_entropy(logits, labels, 0), pixel_cross_entropy(logits, labels))


def test_soft_dice():
    logits = two([0.5, 0.25, 0.75, 0.9])
    # void: .9 is not counted. p·g = .5 + .75, Σp = 1.5, Σg = 2
    torch.testing.assert_close(soft_dice(logits, row([1, 0, 1, 255])), torch.tensor([[1 - (2 * 1.25 + 1) / (1.5 + 2 + 1)]]))
    empty = torch.tensor([30.0, -30.0]).view(1, 1, 2, 1, 1).expand(1, 1, 2, 4, 4)
    assert soft_dice(empty, torch.zeros(1, 1, 4, 4)).item() == pytest.approx(0, abs=1e-6)


def test_soft_dice_means_the_foreground_classes():
    logits = torch.full((1, 1, 3, 1, 2), -30.0)
    logits[0, 0, 1] = 30.0  # class 1 on both pixels
    # class 1: 1 − (2·1 + 1)/(2 + 1 + 1), class 2: 1 − 1/(0 + 1 + 1)
    torch.testing.assert_close(soft_dice(logits, row([1, 2])), torch.tensor([[(0.25 + 0.5) / 2]]))


LOSSES = torch.tensor([[1.0, 2, 3, 9], [4, 5, 9, 9]]).view(2, 1, 1, 4)
LABELS = torch.tensor([[0, 1, 1, 255], [0, 1, 255, 255]], dtype=torch.uint8).view(2, 1, 1, 4)


def test_means_leave_void_out():
    assert pixel_mean(LOSSES, LABELS).item() == 3
    torch.testing.assert_close(image_means(LOSSES, LABELS), torch.tensor([2.0, 4.5]))
    weights = torch.tensor([3.0, 1.0]).view(2, 1, 1, 1)
    assert pixel_mean(LOSSES, LABELS, weights).item() == pytest.approx((3 * 6 + 9) / (9 + 2))
    mask = LOSSES > 2
    assert pixel_mean(LOSSES, LABELS, mask).item() == 4
    losses = LOSSES.clone().requires_grad_()
    nothing = pixel_mean(losses, torch.full_like(LABELS, 255))
    nothing.backward()
    assert nothing.item() == 0 and not losses.grad.any()


def test_image_weights_add_up_to_one_and_are_applied_once():
    weights = batch_weights(torch.tensor([0.3, -2.0, 5.0]))
    exact = [math.exp(2 * math.tanh(s)) for s in (0.3, -2.0, 5.0)]
    torch.testing.assert_close(weights, torch.tensor([w / sum(exact) for w in exact]))
    assert weights.sum().item() == pytest.approx(1)
    # neither a second softmax nor another division by B
    assert weighted_by_image(LOSSES, LABELS, torch.tensor([0.25, 0.75])).item() == pytest.approx(0.25 * 2 + 0.75 * 4.5)
    assert weighted_by_image(LOSSES, LABELS, batch_weights(torch.zeros(2))).item() == pytest.approx((2 + 4.5) / 2)
    perfect = torch.tensor([-40.0, 40.0]).view(1, 1, 2, 1, 1)
    labels = row([1])
    assert weighted_by_image(pixel_cross_entropy(perfect, labels), labels, batch_weights(torch.ones(1))).item() == pytest.approx(
        0, abs=1e-6
    )


def test_small_loss_pixels():
    losses = torch.tensor([1.0, 2, 3, 4, 10, 20, 0]).view(1, 1, 1, 7)
    labels = row([0, 0, 0, 0, 1, 1, 255])
    # within classes: 2 of the 4 and 1 of the 2; over all: 3 of the 6
    assert keep_pixels(losses, labels, 0.5).flatten().tolist() == [True, True, False, False, True, False, False]
    assert keep_pixels(losses, labels, 0.5, by_class=False).flatten().tolist() == [True] * 3 + [False] * 4
    assert keep_pixels(losses, labels, 0.0).sum() == 6
    # each task selects for itself
    both = torch.cat([losses, losses + 100], dim=1)
    kept = keep_pixels(both, labels.expand(1, 2, 1, 7), 0.5, by_class=False)
    assert torch.equal(kept[:, 0], kept[:, 1])


def test_small_loss_images():
    assert keep_images(LOSSES, LABELS, 0.5).tolist() == [True, False]
    assert keep_images(LOSSES, LABELS, 0.9).sum() == 1
