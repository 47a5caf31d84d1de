from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from benchmark.registry import Registry


def test_the_bundled_digits_are_stretched_to_8_bits(tmp_path: Path) -> None:
    digits = Registry().load("dataset", "digits")()
    arrays = digits.load(tmp_path / "not made")
    assert arrays.images.shape == (1797, 8, 8, 1) and arrays.images.dtype == np.uint8
    assert arrays.labels.dtype == np.int64 and arrays.classes == tuple("0123456789")
    original = load_digits()
    assert np.array_equal(arrays.labels, original.target)
    assert np.abs(arrays.images[..., 0] / 255 * 16 - original.images).max() < 0.04  # half a grey level
    assert arrays.images.min() == 0 and arrays.images.max() == 255
    assert arrays.clean_labels is None and arrays.split is None and arrays.groups is None
    assert not (tmp_path / "not made").exists()
    assert digits.fingerprint(tmp_path) == "v1"
