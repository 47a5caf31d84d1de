"""Confident maps against cleanlab's, against a count by hand, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from cleanlab.filter import find_label_issues

from benchmark.errors import BenchmarkError
from benchmark.segmentation.confident import METHODS, confident_maps


def toy(seed, classes=2, n=3, tasks=1, size=24, dtype=np.float64, rare=1.0):
    """Given labels of which a fifth is wrong, and probabilities that lean to the true ones: no ties."""
    rng = np.random.default_rng(seed)
    prior = np.array([1.0] + [rare] * (classes - 1))
    true = rng.choice(classes, size=(n, tasks, size, size), p=prior / prior.sum())
    wrong = rng.random(true.shape) < 0.2
    given = np.where(wrong, rng.integers(0, classes, true.shape), true).astype(np.uint8)
    logits = rng.normal(size=(n, tasks, classes, size, size)) + 1.5 * (np.arange(classes)[:, None, None] == true[:, :, None])
    p = np.exp(logits)
    return given, (p / p.sum(axis=2, keepdims=True)).astype(dtype)


def by_cleanlab(labels, probabilities, method):
    """One task, all pixels labelled."""
    flat = np.moveaxis(probabilities[:, 0], 1, -1).reshape(-1, probabilities.shape[2])
    return find_label_issues(labels.reshape(-1).astype(int), flat, filter_by=method, n_jobs=1).reshape(labels.shape)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("classes", [2, 4])
def test_the_maps_are_cleanlabs(classes, method):
    for seed, rare in ((0, 1.0), (1, 0.05)):
        labels, probabilities = toy(seed, classes, rare=rare)
        flagged = confident_maps(labels, probabilities, method=method)
        assert 0 < flagged.sum() < flagged.size / 2
        np.testing.assert_array_equal(flagged, by_cleanlab(labels, probabilities, method))


def test_single_precision_differs_from_cleanlab_in_ties_alone():
    labels, probabilities = toy(2, n=8, size=64, dtype=np.float32)
    ours, theirs = confident_maps(labels, probabilities), by_cleanlab(labels, probabilities, "both")
    own = np.where(labels == 1, probabilities[:, :, 1], probabilities[:, :, 0])
    for i in (0, 1):
        differs = (ours != theirs) & (labels == i)
        assert ours[labels == i].sum() == theirs[labels == i].sum()
        if differs.any():
            assert np.ptp(own[differs]) <= 2e-7


def test_with_two_classes_pruning_by_class_and_by_noise_rate_are_one():
    labels, probabilities = toy(3)
    first, *others = (by_cleanlab(labels, probabilities, method) for method in ("both", "prune_by_class", "prune_by_noise_rate"))
    assert all((first == other).all() for other in others)


def test_a_count_by_hand():
    # given 0: p1 = .9 .2 .1 .1 .1 .1, given 1: p1 = .9 .9 .8 .3
    labels = np.array([0] * 6 + [1] * 4, dtype=np.uint8).reshape(1, 1, 2, 5)
    p1 = np.array([0.9, 0.2, 0.1, 0.1, 0.1, 0.1, 0.9, 0.9, 0.8, 0.3]).reshape(1, 1, 2, 5)
    probabilities = np.stack([1 - p1, p1], axis=2)
    # thresholds: t0 = 4.5/6 = .75, t1 = 2.9/4 = .725; C = [[5, 1], [0, 3]] (.3 is sure of neither); Q = [[5, 1], [0, 4]]
    expected = np.zeros(10, dtype=bool)
    expected[0] = True
    np.testing.assert_array_equal(confident_maps(labels, probabilities).reshape(-1), expected)
    # the prediction contradicts one label more
    expected[9] = True
    np.testing.assert_array_equal(confident_maps(labels, probabilities, method="predicted_neq_given").reshape(-1), expected)


def test_tasks_and_folds_have_thresholds_of_their_own():
    labels, probabilities = toy(4, n=4, tasks=2)
    folds = np.array([1, 0, 1, 0])
    flagged = confident_maps(labels, probabilities, folds)
    for t in (0, 1):
        for fold in (0, 1):
            part = folds == fold
            np.testing.assert_array_equal(flagged[part][:, [t]], confident_maps(labels[part][:, [t]], probabilities[part][:, [t]]))
    assert (flagged != confident_maps(labels, probabilities)).any()


@pytest.mark.parametrize("classes", [2, 3])
def test_void_pixels_take_no_part(classes):
    labels, probabilities = toy(5, classes)
    without = confident_maps(labels[:, :, :12], probabilities[:, :, :, :12])
    labels[:, :, 12:] = 255
    probabilities[:, :, :, 12:] = 1 / classes
    flagged = confident_maps(labels, probabilities)
    np.testing.assert_array_equal(flagged[:, :, :12], without)
    assert not flagged[:, :, 12:].any()


def test_the_input_is_left_alone_and_half_precision_is_taken():
    labels, probabilities = toy(6)
    kept = labels.copy(), probabilities.copy()
    whole = confident_maps(labels, probabilities)
    np.testing.assert_array_equal(labels, kept[0])
    np.testing.assert_array_equal(probabilities, kept[1])
    rounded = confident_maps(labels, probabilities.astype(np.float16))
    assert (rounded != whole).mean() < 0.01


def test_a_class_without_confident_pixel_keeps_one():
    # every pixel of class 1 is predicted 0: C[1,1] is floored at 1, as cleanlab does
    labels = np.array([0] * 30 + [1] * 6, dtype=np.uint8).reshape(1, 1, 6, 6)
    p1 = np.linspace(0.01, 0.2, 36).reshape(1, 1, 6, 6)
    p1[labels == 1] = np.linspace(0.001, 0.0011, 6)
    probabilities = np.stack([1 - p1, p1], axis=2)
    flagged = confident_maps(labels, probabilities)
    np.testing.assert_array_equal(flagged, by_cleanlab(labels, probabilities, "both"))
    assert flagged.any()


def refused(match, labels, probabilities, **more):
    with pytest.raises(BenchmarkError, match=match) as caught:
        confident_maps(labels, probabilities, tasks=["clavicle"], **more)
    assert "\n" not in str(caught.value)


def test_what_is_refused():
    labels, probabilities = toy(7)
    for value in (np.nan, np.inf):
        bad = probabilities.copy()
        bad[1, 0, 0, 3, 3] = value
        refused("task 'clavicle', image 1 are not finite", labels, bad)
    refused("outside \\[0, 1\\]; apply a softmax", labels, probabilities * 3)
    refused("add up to 0.5", labels, probabilities / 2)
    odd = labels.copy()
    odd[0, 0, 0, :3] = 7, 3, 254
    refused("unexpected values: 3, 7, 254; expected 0 to 1, or 255", odd, probabilities)
    odd = labels.astype(np.int64)
    odd[0, 0, 0, :2] = -1, 300
    refused("unexpected values: -1, 300;", odd, probabilities)
    refused("are float64; expected whole class ids", labels.astype(float), probabilities)
    refused("task 'clavicle' has no foreground in any of its 3 given masks", labels * 0, probabilities)
    refused("has only pixels of class 1", labels * 0 + 1, probabilities)
    refused("has no labelled pixel", labels * 0 + 255, probabilities)
    refused("expected \\(n, T, H, W\\)", labels[:, :, :5], probabilities)
    refused("unknown way to flag pixels 'bot'; did you mean 'both'", labels, probabilities, method="bot")
    with pytest.raises(BenchmarkError, match="2 names of tasks for 1"):
        confident_maps(labels, probabilities, tasks=["lung", "heart"])
    empty = labels.copy()
    empty[0] = 0
    refused("task 'clavicle' of fold 1 has no foreground", empty, probabilities, folds=np.array([1, 0, 0]))
