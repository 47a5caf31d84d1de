"""Augmentation, pixel by pixel, on images small enough to write down."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.training.augment import Augmenter, Draws, normalization, parse_augmentation


def augmenter(*names: str, height: int = 4, width: int = 4, channels: int = 1) -> Augmenter:
    return Augmenter(frozenset(names), height, width, torch.ones(channels), torch.zeros(channels))


def geometry(down: int = 0, right: int = 0, flip: int = 0, turns: int = 0) -> Draws:
    return Draws(torch.tensor([[down, right, flip, turns]]), None)


def numbered(height: int = 4, width: int = 4, channels: int = 1) -> Tensor:
    count = channels * height * width
    return torch.arange(count, dtype=torch.uint8).view(1, channels, height, width)


def test_a_flip_mirrors_left_and_right() -> None:
    image = torch.tensor([[[[1, 2, 3], [4, 5, 6]]]], dtype=torch.uint8)
    change = augmenter("flip", height=2, width=3)
    assert change(image, geometry(flip=1)).tolist() == [[[[3, 2, 1], [6, 5, 4]]]]
    assert change(image, geometry(flip=0)).tolist() == image.tolist()


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("channels", [1, 3])
def test_quarter_turns_are_those_of_rot90(turns: int, channels: int) -> None:
    image = numbered(channels=channels)
    turned = augmenter("rot90", channels=channels)(image, geometry(turns=turns))
    assert torch.equal(turned, torch.rot90(image, turns, dims=(2, 3)).float())


def test_a_half_turn_of_an_oblong_image() -> None:
    image = numbered(2, 5)
    turned = augmenter("rot90", height=2, width=5)(image, geometry(turns=2))
    assert torch.equal(turned, torch.rot90(image, 2, dims=(2, 3)).float())


def test_a_crop_shifts_and_mirrors_at_the_edge_without_repeating_it() -> None:
    row = torch.tensor([[[[10, 20, 30, 40]] * 4]], dtype=torch.uint8)
    change = augmenter("crop")
    assert change(row, geometry(right=1))[0, 0, 0].tolist() == [20, 30, 40, 30]
    assert change(row, geometry(right=-1))[0, 0, 0].tolist() == [20, 10, 20, 30]
    column = row.transpose(2, 3).contiguous()
    assert change(column, geometry(down=1))[0, 0, :, 0].tolist() == [20, 30, 40, 30]
    assert change(column, geometry(down=-1))[0, 0, :, 0].tolist() == [20, 10, 20, 30]


def test_all_moves_together_are_crop_then_flip_then_turn() -> None:
    image = numbered()
    shifted = augmenter("crop")(image, geometry(down=1, right=-1))
    expected = torch.rot90(shifted, 3, dims=(2, 3))
    # A flip after a turn of the target is a flip of the source before it, because turns are read backwards.
    flipped = torch.rot90(shifted.flip(3), 3, dims=(2, 3))
    every = augmenter("crop", "flip", "rot90")
    assert torch.equal(every(image, geometry(1, -1, 0, 3)), expected)
    assert torch.equal(every(image, geometry(1, -1, 1, 3)), flipped)


@pytest.mark.parametrize(("side", "most"), [(1, 0), (2, 1), (8, 1), (28, 3), (64, 8)])
def test_a_crop_moves_by_an_eighth_at_most_and_never_out_of_the_image(side: int, most: int) -> None:
    change = augmenter("crop", height=side, width=side)
    draws = change.draw(500, torch.Generator().manual_seed(0))
    assert draws.geometry is not None
    assert draws.geometry[:, :2].abs().max() == most
    images = torch.full((500, 1, side, side), 7, dtype=torch.uint8)
    assert (change(images, draws) == 7).all()


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ((2.0, 1.0, 1.0), [200, 40, 20]),  # brightness doubles
        ((1.0, 0.0, 1.0), [130 / 3] * 3),  # no contrast: the image's mean
        ((1.0, 1.0, 0.0), [0.299 * 100 + 0.587 * 20 + 0.114 * 10] * 3),  # no saturation: luma
        ((3.0, 1.0, 1.0), [255, 60, 30]),  # what exceeds white is white
        ((1.0, 1.0, 1.0), [100, 20, 10]),
    ],
)
def test_colour_factors(factors: tuple[float, ...], expected: list[float]) -> None:
    image = torch.tensor([100, 20, 10], dtype=torch.uint8).view(1, 3, 1, 1)
    change = augmenter("color", height=1, width=1, channels=3)
    assert change(image, Draws(None, torch.tensor([factors]))).flatten().tolist() == pytest.approx(expected, rel=1e-5)


def test_grey_images_have_no_saturation() -> None:
    image = torch.tensor([[[[100, 50]]]], dtype=torch.uint8)
    change = augmenter("color", height=1, width=2)
    assert change(image, Draws(None, torch.tensor([[1.0, 1.0, 0.3]]))).flatten().tolist() == pytest.approx([100, 50])


def test_colour_factors_stay_within_a_tenth() -> None:
    draws = augmenter("color", channels=3).draw(1000, torch.Generator().manual_seed(0))
    assert draws.color is not None and draws.geometry is None
    assert 0.9 <= draws.color.min() < 0.91 and 1.09 < draws.color.max() <= 1.1


@pytest.mark.parametrize("shape", [(6, 6), (4, 7), (7, 4)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_batch_split_gives_the_same_images(shape: tuple[int, int], channels: int) -> None:
    height, width = shape
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (23, channels, height, width), dtype=np.uint8))
    change = augmenter("crop", "flip", "rot90", "color", height=height, width=width, channels=channels)
    draws = change.draw(23, torch.Generator().manual_seed(1))
    whole = change(images, draws)
    assert whole.shape == images.shape
    for batch in (1, 4, 22):
        parts = [change(images[i : i + batch], draws[slice(i, i + batch)]) for i in range(0, 23, batch)]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-6, atol=1e-3)
    again = change.draw(23, torch.Generator().manual_seed(1))
    assert again.geometry is not None and draws.geometry is not None and torch.equal(again.geometry, draws.geometry)


def test_an_augmentation_that_is_off_draws_nothing_of_its_kind() -> None:
    draws = augmenter("crop").draw(50, torch.Generator().manual_seed(0))
    assert draws.geometry is not None and not draws.geometry[:, 2:].any()
    oblong = augmenter("rot90", height=4, width=6).draw(200, torch.Generator().manual_seed(0))
    assert oblong.geometry is not None and set(oblong.geometry[:, 3].tolist()) == {0, 2}
    assert augmenter().draw(5, torch.Generator()) == Draws(None, None)


def test_the_uint8_images_stay_as_they_are() -> None:
    images = numbered(channels=3)
    before = images.clone()
    augmenter("crop", "color", channels=3)(images, augmenter("crop", "color", channels=3).draw(1, torch.Generator()))
    assert torch.equal(images, before)


@pytest.mark.parametrize("channels", [1, 3])
def test_normalisation_modes_equal_numpy(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 200, (50, channels, 5, 7), dtype=np.uint8)
    unit = images / 255.0
    mean, std = unit.mean(axis=(0, 2, 3)), unit.std(axis=(0, 2, 3))
    imagenet = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    if channels == 1:
        imagenet = imagenet[0].mean(keepdims=True), imagenet[1].mean(keepdims=True)
    for mode, (m, s) in {"dataset": (mean, std), "imagenet": imagenet, "none": (np.zeros(channels), np.ones(channels))}.items():
        scale, bias = normalization(mode, torch.from_numpy(images))
        change = Augmenter(frozenset(), 5, 7, scale, bias)
        expected = (unit - m.reshape(1, -1, 1, 1)) / s.reshape(1, -1, 1, 1)
        np.testing.assert_allclose(change(torch.from_numpy(images)).numpy(), expected, atol=1e-5, err_msg=mode)


def test_images_of_one_value_do_not_divide_by_zero() -> None:
    scale, bias = normalization("dataset", torch.full((3, 1, 2, 2), 9, dtype=torch.uint8))
    assert torch.isfinite(scale).all() and torch.isfinite(bias).all()


def test_names_are_parsed() -> None:
    assert parse_augmentation("auto", ("crop",)) == {"crop"}
    assert parse_augmentation("none", ("crop",)) == frozenset()
    assert parse_augmentation("flip+rot90") == {"flip", "rot90"}
    with pytest.raises(BenchmarkError, match=r"unknown augmentation 'flop'; did you mean 'flip'"):
        parse_augmentation("flop")
