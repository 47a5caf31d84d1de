"""Where images lie: files are mapped by all who use them, and what is read of them is what a copy would hold."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.data.rows import ImageRows
from benchmark.training import images as placing
from benchmark.training.augment import Augmenter
from benchmark.training.images import MappedImages, evaluated_together, free_memory, place, to_tensor

CPU = torch.device("cpu")


@pytest.fixture
def stored(tmp_path: Path):
    """Makes a file of images, mapped read-only."""

    def make(n: int = 20, height: int = 9, width: int = 12, channels: int = 3) -> np.memmap:
        rng = np.random.default_rng(0)
        np.save(tmp_path / "images.npy", rng.integers(0, 256, (n, height, width, channels), dtype=np.uint8))
        return np.load(tmp_path / "images.npy", mmap_mode="r", allow_pickle=False)

    return make


@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_is_mapped_and_gives_what_a_copy_holds(stored, channels):
    images, positions = stored(channels=channels), np.array([3, 19, 0, 7, 7])
    replaced = (np.array([1, 4]), np.full((2, 9, 12, channels), 200, np.uint8))
    for rows in (ImageRows(images, positions), ImageRows(images, positions, replaced)):
        placed, copy = place(rows, CPU), to_tensor(rows[:], CPU)
        assert isinstance(placed, MappedImages) and placed.at_hand
        assert placed.shape == copy.shape == (5, channels, 9, 12)
        assert torch.equal(placed[1:4], copy[1:4])
        picked = placed.index_select(0, torch.tensor([4, 0]))
        assert torch.equal(picked, copy[[4, 0]])
        assert picked.is_contiguous(memory_format=torch.channels_last)
    picked[:] = 0  # a batch is nobody else's
    assert torch.equal(placed.index_select(0, torch.tensor([4, 0])), copy[[4, 0]])


def test_images_in_memory_are_not_held_twice_and_features_are_a_tensor(stored):
    array = np.array(stored())
    in_memory = ImageRows(array, np.arange(4))
    assert in_memory.file is None
    placed = place(in_memory, CPU)
    assert isinstance(placed, MappedImages) and placed.at_hand
    array[2] = 77
    assert bool((placed.index_select(0, torch.tensor([2])) == 77).all())  # the rows are the data set's own
    features = place(ImageRows(np.eye(5, dtype=np.float32), np.array([4, 1])), CPU)
    assert isinstance(features, torch.Tensor) and features.tolist() == [[0, 0, 0, 0, 1], [0, 1, 0, 0, 0]]


@pytest.mark.parametrize("names", [(), ("crop",), ("crop", "flip", "rot90"), ("flip", "color")])
@pytest.mark.parametrize("strong", [False, True])
def test_both_orders_in_memory_are_augmented_to_the_same_numbers(stored, names, strong):
    images = stored(height=8, width=8)
    mapped, copy = place(ImageRows(images, np.arange(20)), CPU)[0:20], to_tensor(np.array(images), CPU)
    augmenter = Augmenter(frozenset(names), 8, 8, torch.tensor([0.01, 0.02, 0.03]), torch.tensor([-1.0, 0.5, 0.1]), strong=strong)
    draws = augmenter.draw(20, torch.Generator().manual_seed(1))
    assert torch.equal(augmenter(mapped, draws), augmenter(copy, draws))
    assert torch.equal(augmenter(mapped), augmenter(copy))
    assert torch.equal(augmenter(copy)[3, 1], copy[3, 1].float() * 0.02 + 0.5)
    assert torch.equal(mapped, copy)  # augmenting leaves the source alone


def test_a_file_that_is_too_large_is_read_by_a_thread_and_not_read_ahead(stored, monkeypatch):
    rows = ImageRows(stored(), np.arange(20))
    monkeypatch.setattr(placing, "free_memory", lambda device: 4000)
    monkeypatch.setattr(placing, "_read", {})
    placed = place(rows, CPU)
    assert isinstance(placed, MappedImages) and not placed.at_hand
    assert placing._read == {}


def test_a_small_part_of_a_file_is_read_row_by_row_unless_the_file_was_read_anyway(stored, monkeypatch):
    images = stored(n=100)
    monkeypatch.setattr(placing, "_read", {})
    few, most = ImageRows(images, np.array([7, 93])), ImageRows(images, np.arange(20))
    assert not place(few, CPU).at_hand and placing._read == {}
    assert place(most, CPU).at_hand and len(placing._read) == 1
    assert place(few, CPU).at_hand
    assert torch.equal(place(few, CPU)[0:2], to_tensor(few[:], CPU))


def test_what_a_group_has_read_of_files_is_free(tmp_path, monkeypatch):
    for name, text in (("max", "1000\n"), ("current", "900\n"), ("stat", "anon 300\ninactive_file 500\nactive_file 60\nfile 600\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    monkeypatch.setattr(placing, "GROUP", tmp_path)
    assert free_memory(CPU) == 660
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(CPU) > 1000


def test_a_part_is_no_private_copy(stored):
    images = stored(n=4000, height=32, width=32)
    placed = place(ImageRows(images, np.arange(4000)), CPU)
    assert isinstance(images._mmap, mmap.mmap)
    assert np.shares_memory(placed._rows._plain, images)  # type: ignore[union-attr]


@pytest.mark.parametrize(("side", "together"), [(8, 256), (16, 256), (32, 64), (96, 8), (224, 8)])
def test_larger_images_are_evaluated_fewer_at_a_time(side, together):
    assert evaluated_together(side, side) == together
