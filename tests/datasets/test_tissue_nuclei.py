"""The generator's own tests are in tests/segmentation; here is what the registry makes of it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from benchmark.data.options import DataOptions
from benchmark.errors import BenchmarkError
from benchmark.registry import Registry
from benchmark.segmentation.arrays import MaskArrays

NUCLEI = Registry().load("dataset", "tissue_nuclei")
GENERATOR = import_module(f"{NUCLEI.__module__}.nuclei")


def load(image_size: int = 0, **params: int) -> MaskArrays:
    arrays: MaskArrays = NUCLEI(NUCLEI.Params(**params), DataOptions(image_size=image_size)).load(Path("unused"))
    return arrays


def test_the_default_is_what_the_manifest_says() -> None:
    found = load()
    assert found.images.shape == (160, 64, 64, 3) and found.labels.shape == (160, 1, 64, 64)
    assert NUCLEI.manifest["size"].startswith("160 of 64×64 px") and NUCLEI.manifest["classes"] == len(found.classes)
    assert NUCLEI.task == "segmentation" and NUCLEI.labels_are_truth and found.clean_labels is None
    assert found.groups is not None and np.bincount(found.groups).tolist() == [10] * 16
    assert found.labels.mean() == pytest.approx(1 / 8, rel=0.15)


def test_it_stands_beside_tissue_in_one_package() -> None:
    tissue = Registry().load("dataset", "tissue")
    assert tissue.__module__ == NUCLEI.__module__ and tissue.task == "classification"


def test_parameters_reach_the_generator() -> None:
    found, expected = load(32, n=12, slides=3, generator_seed=2), GENERATOR.tissue_nuclei(12, 32, 2, slides=3)
    assert np.array_equal(found.images, expected.images) and np.array_equal(found.labels, expected.labels)
    assert np.array_equal(found.groups, np.repeat(np.arange(3), 4))


def test_image_size_renders_the_same_tissue() -> None:
    small, large = load(32, n=16), load(64, n=16)
    coarse = large.images.reshape(16, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    assert np.corrcoef(coarse.ravel(), small.images.ravel())[0, 1] > 0.9


def test_the_version_is_the_generators() -> None:
    assert NUCLEI.manifest["version"] == GENERATOR.VERSION and NUCLEI().fingerprint(Path("unused")) == f"v{GENERATOR.VERSION}"


@pytest.mark.parametrize(("image_size", "params"), [(8, {}), (0, {"n": 4})])
def test_tiles_that_are_too_small_and_more_slides_than_tiles(image_size: int, params: dict[str, int]) -> None:
    with pytest.raises(BenchmarkError, match="at least 4 tiles of 16 px and no more slides than tiles; not"):
        load(image_size, **params)
