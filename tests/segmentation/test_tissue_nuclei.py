from importlib import import_module

import numpy as np
import pytest

from benchmark.errors import BenchmarkError
from benchmark.registry import Registry

TISSUE = Registry().load("dataset", "tissue")
tissue_nuclei = import_module(f"{TISSUE.__module__}.nuclei").tissue_nuclei


def test_tiles_masks_and_slides() -> None:
    found = tissue_nuclei(40, 32, 3)
    assert found.images.shape == (40, 32, 32, 3) and found.images.dtype == np.uint8
    assert found.labels.shape == (40, 1, 32, 32) and found.labels.dtype == np.uint8 and set(np.unique(found.labels)) == {0, 1}
    assert found.tasks == ("nuclei",) and np.bincount(found.groups).tolist() == [10] * 4
    assert 0.05 < found.labels.mean() < 0.5


def test_nuclei_are_bluer_and_darker_than_the_rest() -> None:
    found = tissue_nuclei(20, 48)
    inside = found.labels[:, 0] == 1
    assert found.images[inside].mean() < found.images[~inside].mean() - 20


def test_repeats_and_another_seed_differs() -> None:
    first, again, other = tissue_nuclei(8, 16), tissue_nuclei(8, 16), tissue_nuclei(8, 16, 1)
    assert np.array_equal(first.images, again.images) and np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.labels, other.labels)


@pytest.mark.parametrize(("n", "size", "slides"), [(3, 32, None), (8, 8, None), (8, 32, 9), (8, 32, 0)])
def test_nothing_to_draw(n: int, size: int, slides: int | None) -> None:
    with pytest.raises(BenchmarkError, match="tissue_nuclei needs at least 4 tiles of 16 px and no more slides than tiles"):
        tissue_nuclei(n, size, slides=slides)
