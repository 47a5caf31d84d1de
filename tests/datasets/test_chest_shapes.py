"""The generator's own tests are in tests/segmentation; here is what the registry makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark.data.options import DataOptions
from benchmark.errors import BenchmarkError
from benchmark.registry import Registry
from benchmark.segmentation.arrays import MaskArrays
from benchmark.segmentation.chest_shapes import VERSION, chest_shapes

CHEST = Registry().load("dataset", "chest_shapes")


def load(image_size: int = 0, **params: int) -> MaskArrays:
    arrays: MaskArrays = CHEST(CHEST.Params(**params), DataOptions(image_size=image_size)).load(Path("unused"))
    return arrays


def test_the_default_is_what_the_manifest_says() -> None:
    found = load()
    assert found.images.shape == (120, 64, 64, 1) and found.labels.shape == (120, 3, 64, 64)
    assert CHEST.manifest["size"].startswith("120 of 64×64 px") and CHEST.manifest["classes"] == len(found.classes)
    assert CHEST.task == "segmentation" and CHEST.labels_are_truth and found.clean_labels is None
    assert found.groups is not None and len(np.unique(found.groups)) == 100  # 20 patients have two images


def test_parameters_reach_the_generator() -> None:
    found, expected = load(32, n=7, generator_seed=3), chest_shapes(7, 32, 3)
    assert np.array_equal(found.images, expected.images) and np.array_equal(found.labels, expected.labels)


def test_image_size_renders_the_same_patients() -> None:
    small, large = load(32, n=8), load(64, n=8)
    assert large.images.shape == (8, 64, 64, 1) and np.array_equal(small.groups, large.groups)
    halved = large.labels.reshape(8, 3, 32, 2, 32, 2).mean(axis=(3, 5)) > 0.5
    assert (halved != small.labels).mean() < 0.02


def test_never_flipped_because_the_heart_is_on_the_left() -> None:
    assert not {"flip", "rot90"} & set(CHEST.augmentation)
    heart = load(n=20).labels[:, 1]
    assert heart[:, :, 32:].sum() > 1.5 * heart[:, :, :32].sum()  # the patient's left is the right of the image


def test_the_version_is_the_generators() -> None:
    assert CHEST.manifest["version"] == VERSION and CHEST().fingerprint(Path("unused")) == f"v{VERSION}"


def test_images_that_are_too_small() -> None:
    with pytest.raises(BenchmarkError, match="chest_shapes needs at least 1 image of 16 px, not 120 of 8 px"):
        load(8)
