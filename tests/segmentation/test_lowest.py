"""The pixels of lowest quality: by hand, among equals, and the same as by sorting."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

from benchmark.segmentation import VOID
from benchmark.segmentation.losses import keep_pixels
from benchmark.segmentation.lowest import lowest_pixels


def test_each_class_loses_its_share() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, VOID], dtype=np.uint8).reshape(1, 1, 1, 7)
    quality = np.array([0.9, 0.5, 0.6, 0.7, 0.2, 0.1, 0.0], dtype=np.float32).reshape(1, 1, 1, 7)
    assert np.flatnonzero(lowest_pixels(quality, labels, 0.5, 2)).tolist() == [1, 2, 5]
    assert np.flatnonzero(lowest_pixels(quality, labels, 0.5)).tolist() == [1, 4, 5]
    assert np.flatnonzero(lowest_pixels(quality, labels, 0.26)).tolist() == [4, 5]  # ⌊0.74 · 6⌋ = 4 stay
    assert np.flatnonzero(lowest_pixels(quality, labels, 0.94, 2)).tolist() == [1, 2, 3, 5]  # one stays
    assert not lowest_pixels(quality, labels, 0.0, 2).any()


def test_among_equals_the_last() -> None:
    labels = np.zeros((2, 1, 2, 2), dtype=np.uint8)
    labels[0, 0, 0, 0] = VOID
    chosen = lowest_pixels(np.full(labels.shape, 0.5, dtype=np.float32), labels, 0.3, 2)
    assert np.flatnonzero(chosen).tolist() == [5, 6, 7]  # of 7 four stay


def test_nothing_but_void() -> None:
    labels = np.full((2, 1, 3, 3), VOID, dtype=np.uint8)
    assert not lowest_pixels(np.ones(labels.shape, dtype=np.float32), labels, 0.5).any()


@pytest.mark.parametrize("by_class", [True, False])
@pytest.mark.parametrize("levels", [7, 1 << 20])
def test_it_is_what_sorting_gives(by_class: bool, levels: int) -> None:
    """Seven levels have many ties."""
    rng = np.random.default_rng(0)
    labels = rng.choice(np.array([0, 1, 2, VOID], dtype=np.uint8), (5, 3, 12, 9), p=[0.6, 0.2, 0.1, 0.1])
    quality = (rng.integers(0, levels, labels.shape) / levels).astype(np.float32)
    for share in (0.0, 0.07, 0.5, 0.93):
        given = torch.from_numpy(labels)
        sorted_out = ~keep_pixels(-torch.from_numpy(quality), given, share, by_class) & (given != VOID)
        assert np.array_equal(lowest_pixels(quality, labels, share, 3 if by_class else None), sorted_out.numpy())


def test_memory_is_that_of_one_task() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((16, 5, 128, 128)) < 0.1).astype(np.uint8)
    quality = rng.random(labels.shape, dtype=np.float32)
    tracemalloc.start()
    lowest_pixels(quality, labels, 0.1, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - labels.size <= 11 * labels[:, 0].size
