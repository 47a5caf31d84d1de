"""Rows of an array that are picked when they are asked for, and the device's side of them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.data import resize
from benchmark.data.rows import ImageRows, sampled_digest
from benchmark.training.images import MappedImages, free_memory, place, to_tensor
from benchmark.training.names import RUNS_PER_GPU

IMAGES = np.arange(6 * 2 * 4 * 3, dtype=np.uint8).reshape(6, 2, 4, 3)
CPU = torch.device("cpu")


def test_rows_are_those_of_the_positions() -> None:
    rows = ImageRows(IMAGES, np.array([5, 0, 3]))
    assert rows.shape == (3, 2, 4, 3) and len(rows) == 3
    assert np.array_equal(rows[:], IMAGES[[5, 0, 3]])
    assert np.array_equal(rows[np.array([2, 0])], IMAGES[[3, 5]])


def test_replaced_rows_stand_in_their_places_and_the_source_is_left_alone() -> None:
    foreign = np.full((2, 2, 4, 3), 255, dtype=np.uint8)
    foreign[1] = 7
    before = IMAGES.copy()
    rows = ImageRows(IMAGES, np.array([5, 0, 3]), (np.array([2, 0]), foreign))
    assert np.array_equal(rows[:], np.stack([foreign[1], IMAGES[0], foreign[0]]))
    assert np.array_equal(rows[1:], np.stack([IMAGES[0], foreign[0]]))
    assert np.array_equal(IMAGES, before)


def test_one_row_is_a_copy_too() -> None:
    before = IMAGES.copy()
    rows = ImageRows(IMAGES, np.array([5, 0, 3]), (np.array([2]), np.full((1, 2, 4, 3), 7, dtype=np.uint8)))
    assert np.array_equal(rows[1], IMAGES[0]) and (rows[2] == 7).all()
    rows[1][:] = 0
    assert np.array_equal(IMAGES, before)


def test_a_resized_file_is_only_taken_for_the_images_it_was_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resize, "LARGEST_IN_MEMORY", 0)
    first = np.array(resize.resized(IMAGES, 2, "set", tmp_path))
    assert resize.resized(IMAGES[:4], 2, "set", tmp_path).shape == (4, 2, 2, 3)
    assert not np.array_equal(resize.resized(255 - IMAGES, 2, "set", tmp_path), first)
    for path in tmp_path.glob("resized/*.npy"):
        path.write_bytes(path.read_bytes()[:100])
    assert np.array_equal(resize.resized(IMAGES, 2, "set", tmp_path), first)


def test_a_digest_follows_shape_and_content() -> None:
    more = np.arange(1000, dtype=np.uint8).reshape(1000, 1, 1, 1)
    arrays = [IMAGES, 255 - IMAGES, IMAGES[:5], IMAGES.reshape(6, 4, 2, 3), more, more[:999], IMAGES[:0]]
    assert len({sampled_digest(array) for array in arrays}) == len(arrays)


def test_what_fits_is_a_tensor_and_what_does_not_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """On any device but a CPU, where images always stay."""
    rows, device = ImageRows(IMAGES, np.array([5, 0, 3])), torch.device("meta")
    free = 3 * 24 * 4
    monkeypatch.setattr("benchmark.training.images.free_memory", lambda device: free)
    assert isinstance(place(rows, device), torch.Tensor)
    free -= 1
    assert isinstance(place(rows, device), MappedImages)
    whole, mapped = to_tensor(rows[:], CPU), place(rows, CPU)
    assert isinstance(mapped, MappedImages)
    assert mapped.shape == whole.shape == (3, 3, 2, 4) and len(mapped) == 3
    assert torch.equal(mapped[:], whole) and mapped[1:].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(mapped.index_select(0, torch.tensor([2, 2, 0])), whole[[2, 2, 0]])


def test_features_keep_their_order() -> None:
    features = np.arange(12, dtype=np.float32).reshape(4, 3)
    placed = place(ImageRows(features, np.array([3, 1])), CPU)
    assert placed[:].tolist() == [[9.0, 10.0, 11.0], [3.0, 4.0, 5.0]]


def test_free_memory_is_positive() -> None:
    assert free_memory(CPU) > 0


@pytest.mark.parametrize(("told", "part"), [(None, 800), ("4", 200), ("0", 800), ("many", 800)])
def test_runs_that_share_a_card_each_take_their_part(monkeypatch: pytest.MonkeyPatch, told: str | None, part: int) -> None:
    """All of them start at the same moment and find it empty."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (800, 1000))
    monkeypatch.delenv(RUNS_PER_GPU, raising=False)
    if told is not None:
        monkeypatch.setenv(RUNS_PER_GPU, told)
    assert free_memory(torch.device("cuda")) == part
