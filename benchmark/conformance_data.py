"""The tiny data that the contract kit tries plugins on: classes told apart by brightness, discs with their masks, odd labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from benchmark.api import Noise, Samples, TrainingData
from benchmark.seeds import numpy_generator
from benchmark.segmentation import VOID

FEATURES = (1, 1)
"""The size of tiny data that stands for frozen features."""

IMAGES = 24
"""How many tiny images with masks there are."""

WRONG = 0.3
"""Share of the given labels, or of each task's given masks, that are wrong."""

MaskCase = tuple[TrainingData, np.ndarray]
"""What :func:`tiny_masks` returns."""


class TinyNoise(Noise):
    """Symmetric noise, without a dependence on the registry."""

    @dataclass(frozen=True)
    class Params:
        """The rate."""

        rate: float = WRONG

    name = "tiny"

    def apply(self, samples: Samples, rng: np.random.Generator) -> np.ndarray:
        """(n,) int64, ``round(rate · n)`` of them another class."""
        noisy = samples.labels.copy()
        chosen = rng.choice(len(noisy), size=round(self.params.rate * len(noisy)), replace=False)
        noisy[chosen] = (noisy[chosen] + rng.integers(1, samples.num_classes, size=len(chosen))) % samples.num_classes
        return noisy


class TinyMaskNoise(Noise):
    """Of each task, :data:`WRONG` of the masks lie a quarter of the width too far to the right; void stays where it is."""

    name = "tiny_masks"

    def apply(self, samples: Samples, rng: np.random.Generator) -> np.ndarray:
        """(n, T, H, W) uint8."""
        masks = samples.labels
        moved = np.roll(masks, masks.shape[3] // 4, axis=3)
        noisy = masks.copy()
        for task in range(masks.shape[1]):
            chosen = rng.choice(len(masks), size=round(WRONG * len(masks)), replace=False)
            noisy[chosen, task] = moved[chosen, task]
        noisy[noisy == VOID] = 0  # void that was moved along
        noisy[masks == VOID] = VOID
        return noisy


def tiny_data(labels: np.ndarray | None = None, channels: int = 3, size: tuple[int, int] = (8, 8)) -> tuple[TrainingData, np.ndarray]:
    """60 images of three classes, told apart by brightness, and their true labels; 30 % of the given labels are wrong.

    A size of (1, 1) stands for frozen features, as many as there are channels.
    """
    rng = numpy_generator("conformance", "images")
    truth = np.arange(60) % 3
    images = rng.normal(60 + 60 * truth[:, None, None, None], 25, size=(60, channels, *size)).clip(0, 255).astype(np.uint8)
    given = TinyNoise(TinyNoise.Params()).apply(Samples(truth, 3), numpy_generator("conformance", "noise")) if labels is None else labels
    if size == FEATURES:
        values = torch.from_numpy(images[:, :, 0, 0]).float()
        return TrainingData(values, torch.from_numpy(given.astype(np.int64)), 3, ("a", "b", "c")), truth
    return TrainingData(torch.from_numpy(images), torch.from_numpy(given.astype(np.int64)), 3, ("a", "b", "c")), truth


def tiny_masks(
    labels: np.ndarray | None = None,
    channels: int = 3,
    size: tuple[int, int] = (16, 16),
    *,
    tasks: int = 1,
    classes: int = 2,
    groups: np.ndarray | None = None,
) -> MaskCase:
    """24 images of discs, each task's and class's of its own brightness, and their true masks; :class:`TinyMaskNoise` is on the given ones.

    Discs of different tasks overlap. A corner of the first image is void.

    Args:
        labels: (n, T, H, W) uint8 given masks in place of those.
        channels: C of the images.
        size: H and W.
        tasks: T.
        classes: J.
        groups: (n,) int64 ids of patients; None: every image is its own.

    Returns:
        The training data and (n, T, H, W) uint8 true masks.
    """
    rng = numpy_generator("conformance", "masks", tasks, classes, *size)
    truth = discs(IMAGES, tasks, classes, size, rng)
    brightness = sum(40 * (t * (classes - 1) + truth[:, t].astype(np.float64)) * (truth[:, t] > 0) for t in range(tasks))
    noise = rng.normal(50, 15, (IMAGES, channels, *size))
    images = (noise + np.asarray(brightness)[:, None]).clip(0, 255).astype(np.uint8)
    truth[0, :, :4, :4] = VOID
    names = ("background", *"abcdefgh"[: classes - 1])
    if labels is None:
        labels = TinyMaskNoise().apply(Samples(truth, classes, names), numpy_generator("conformance", "mask noise"))
    patients = None if groups is None else torch.from_numpy(groups.astype(np.int64))
    organs = tuple(f"organ {t}" for t in range(tasks))
    return TrainingData(torch.from_numpy(images), torch.from_numpy(labels), classes, names, organs, patients), truth


def odd_masks() -> dict[str, tuple[MaskCase, bool]]:
    """What is odd about the masks → the data, and whether a method has to train on them: it may refuse the others in one line."""
    _, truth = tiny_masks()
    empty, void = truth.copy(), truth.copy()
    empty[::3], void[5] = 0, VOID
    return {
        "no noise": (tiny_masks(truth), True),
        "empty masks in some images": (tiny_masks(empty), True),
        "all void in one image": (tiny_masks(void), True),
        "one group of images": (tiny_masks(groups=np.zeros(IMAGES)), False),
        "masks of one class only": (tiny_masks(np.zeros_like(truth)), False),
    }


def class_samples(names: tuple[str, ...]) -> Samples:
    """3000 samples of classes with these names, all alike frequent: random images, and a posterior that knows the class."""
    rng, k = numpy_generator("conformance", "samples"), len(names)
    labels = np.arange(3000, dtype=np.int64) % k
    posterior = rng.dirichlet(np.ones(k), 3000) + np.eye(k)[labels]
    return Samples(
        labels,
        k,
        names,
        images=rng.integers(0, 256, (3000, 4, 4, 3), dtype=np.uint8),
        given=labels[::-1].copy(),
        positions=np.arange(3000, dtype=np.int64),
        names=("conformance",),
        posterior=lambda: posterior / posterior.sum(axis=1, keepdims=True),
    )


def mask_samples(tasks: int, classes: int) -> Samples:
    """40 images of discs, one of them without an object, one all void and one with a void corner; given masks that are moved."""
    rng = numpy_generator("conformance", "mask samples", tasks, classes)
    labels = discs(40, tasks, classes, (32, 24), rng)
    labels[3], labels[4], labels[5, :, :6, :6] = 0, VOID, VOID
    names = ("background", *"abcdefgh"[: classes - 1])
    return Samples(
        labels,
        classes,
        names,
        images=rng.integers(0, 256, (40, 32, 24, 1), dtype=np.uint8),
        given=TinyMaskNoise().apply(Samples(labels, classes), rng),
        positions=np.arange(40, dtype=np.int64),
        content="conformance",
        names=("conformance",),
        tasks=tuple(f"organ {t}" for t in range(tasks)),
    )


def discs(n: int, tasks: int, classes: int, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """(n, T, H, W) uint8: a disc of each class 1 … J − 1 somewhere near the middle, the higher class above."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    masks = np.zeros((n, tasks, *size), dtype=np.uint8)
    for j in range(1, classes):
        row, column = (rng.uniform(0.3, 0.7, (n, tasks, 1, 1)) * side for side in size)
        masks[np.hypot(rows - row, columns - column) < 0.22 * min(size)] = j
    return masks
