"""What confident maps of pixels cost, against cleanlab's own functions on the same pixels; what the pixels of lowest quality cost,
against sorting them; and what the metrics of masks do."""

from __future__ import annotations

import resource

import numpy as np
import pytest
import torch

from benchmark.metrics.segmentation import segmentation
from benchmark.segmentation.confident import confident_maps
from benchmark.segmentation.losses import keep_pixels
from benchmark.segmentation.lowest import lowest_pixels
from tests.performance.measuring import measured

pytestmark = [pytest.mark.perf, pytest.mark.timeout(3600)]
IMAGES, SIZE = 247, 256


def pixels(classes: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A disc an image, shifted in a fifth of the given labels, and float32 probabilities without ties."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    labels = np.empty((n, 1, SIZE, SIZE), dtype=np.uint8)
    probabilities = np.empty((n, 1, classes, SIZE, SIZE), dtype=np.float32)
    for i in range(n):
        centre = rng.uniform(80, 170, 2)
        distance = np.hypot(rows - centre[0], columns - centre[1])
        true = np.clip((90 - distance) // (90 / (classes - 1)) + 1, 0, classes - 1).astype(np.uint8)
        labels[i, 0] = np.roll(true, 12, axis=1) if i % 5 == 0 else true
        logits = rng.normal(size=(classes, SIZE, SIZE)) + 3 * (np.arange(classes)[:, None, None] == true)
        p = np.exp(logits)
        probabilities[i, 0] = p / p.sum(axis=0)
    return labels, probabilities


@pytest.mark.parametrize(("classes", "n"), [(2, IMAGES), (4, 50)])
def test_confident_maps(classes, n, report):
    from cleanlab.filter import find_label_issues
    from cleanlab.segmentation.filter import find_label_issues as by_segmentation

    labels, probabilities = pixels(classes, n)
    size = (labels.nbytes + probabilities.nbytes) / 2**20
    ours, wall, used, memory = measured(lambda: confident_maps(labels, probabilities))
    flat, wide = labels.reshape(-1).astype(int), np.moveaxis(probabilities[:, 0], 1, -1).reshape(-1, classes)
    theirs, their_wall, their_used, their_memory = measured(lambda: find_label_issues(flat, wide, filter_by="both", n_jobs=1))
    given = labels[:, 0].astype(int)
    options = {"n_jobs": 1, "verbose": False, "batch_size": 10_000_000}
    _, module_wall, module_used, module_memory = measured(lambda: by_segmentation(given, probabilities[:, 0], **options))
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report(f"{n} × {SIZE}² pixels, {classes} classes, input {size:.0f} MB; wall seconds (processor seconds), memory on top of it:")
    report(f"  ours {wall:.1f} ({used:.1f}), {memory:.0f} MB")
    report(f"  cleanlab's filter {their_wall:.1f} ({their_used:.1f}), {their_memory:.0f} MB; ratio to ours {their_used / used:.1f}")
    report(f"  cleanlab's segmentation {module_wall:.1f} ({module_used:.1f}), {module_memory:.0f} MB; ratio {module_used / used:.1f}")
    report(f"  process at most {whole:.0f} MB")
    assert (ours.reshape(-1) != theirs).sum() <= 10  # ties of single precision


def test_lowest_pixels(report):
    labels = np.repeat(pixels(2, IMAGES)[0], 5, axis=1)
    quality = np.random.default_rng(0).random(labels.shape, dtype=np.float32)
    ours, wall, used, memory = measured(lambda: lowest_pixels(quality, labels, 0.05, 2))
    losses, given = torch.from_numpy(-quality), torch.from_numpy(labels)
    kept, by_sorting, sorting_used, sorting_memory = measured(lambda: keep_pixels(losses, given, 0.05))
    report(f"{IMAGES} × {SIZE}² pixels, 5 tasks, 2 classes; wall seconds (processor seconds), memory on top of the input:")
    report(f"  ours {wall:.1f} ({used:.1f}), {memory:.0f} MB")
    report(f"  by sorting {by_sorting:.1f} ({sorting_used:.1f}), {sorting_memory:.0f} MB; ratio to ours {sorting_used / used:.1f}")
    assert (ours == kept.numpy()).sum() <= 20  # ties, and counts in single precision; no void here


def test_metrics_of_masks(report):
    labels, _ = pixels(2, 50)
    true = np.repeat(labels, 3, axis=1)
    predicted = np.roll(true, 3, axis=2)
    values, wall, used, memory = measured(lambda: segmentation(predicted, true, ["a", "b", "c"]))
    assert values["hd95"] is not None and values["hd95"] > 0
    report(f"all metrics of 50 images of {SIZE}², 3 tasks: {wall:.1f} s ({used:.1f} of the processor), {memory:.0f} MB")
