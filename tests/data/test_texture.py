"""Descriptors of images whose colours and textures can be worked by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.data.features import embed, fingerprint
from benchmark.data.texture import CHUNK, texture
from benchmark.errors import BenchmarkError

NAMES = [
    *(f"{what} {colour}" for what in ("mean", "deviation", "q10", "q50", "q90") for colour in "rgb"),
    *(f"{what} {size}" for size in ("full", "half") for what in (*(f"pattern {k}" for k in range(10)), "edge mean", "edge sd", "edge q90")),
    "spread mean", "spread q90", *(f"dark {k}" for k in (0.5, 1.0, 1.5)), *(f"like {lag}" for lag in (1, 2, 4)), "red minus blue",
]  # fmt: skip


def described(image: np.ndarray) -> dict[str, float]:
    (row,) = texture(image[None])
    return dict(zip(NAMES, row.tolist(), strict=True))


def density(value: int) -> float:
    return -math.log((value + 1) / 256)


def test_one_colour() -> None:
    image = np.empty((16, 16, 3), dtype=np.uint8)
    image[:] = (255, 127, 0)
    found = described(image)
    for place, value in zip("rgb", (255, 127, 0), strict=True):
        for what in ("mean", "q10", "q50", "q90"):
            assert found[f"{what} {place}"] == pytest.approx(density(value), abs=1e-5)
        assert found[f"deviation {place}"] == pytest.approx(0, abs=1e-5)
    assert found["mean r"] == pytest.approx(0, abs=1e-6) and found["mean b"] == pytest.approx(math.log(256), rel=1e-5)
    assert found["red minus blue"] == pytest.approx(-math.log(256), rel=1e-5)
    for size in ("full", "half"):
        assert found[f"pattern 8 {size}"] == 1  # no neighbour is darker or lighter: all eight count
        assert sum(found[f"pattern {k} {size}"] for k in range(10)) == pytest.approx(1)
        assert found[f"edge mean {size}"] == found[f"edge q90 {size}"] == 0
    assert found["spread mean"] == pytest.approx(0, abs=1e-3)


def test_rounding_is_no_texture() -> None:
    images = np.empty((200, 16, 16, 3), dtype=np.uint8)
    images[:] = np.random.default_rng(0).integers(0, 256, (200, 1, 1, 3))
    found = texture(images)
    textured = ("edge", "spread", "dark", "like", *(f"pattern {k} " for k in (0, 1, 2, 3, 4, 5, 6, 7, 9)))
    columns = [place for place, name in enumerate(NAMES) if name.startswith(textured)]
    assert len(columns) == 2 * (3 + 9) + 2 + 3 + 3 and not found[:, columns].any()  # exactly


def test_a_checkerboard() -> None:
    """Fields of one pixel, 255 and 0: densities 0 and log 256, half of the pixels each."""
    image = np.where((np.indices((16, 16)).sum(axis=0) % 2)[..., None] == 0, 255, 0).astype(np.uint8).repeat(3, axis=2)
    found, top = described(image), math.log(256)
    assert found["mean g"] == pytest.approx(top / 2, rel=1e-5) and found["deviation g"] == pytest.approx(top / 2, rel=1e-5)
    assert (found["q10 g"], found["q90 g"]) == (pytest.approx(0, abs=1e-6), pytest.approx(top))
    # a light pixel has eight neighbours that are no lighter in density; a dark one four equal ones in the corners, in four runs
    assert found["pattern 8 full"] == pytest.approx(0.5) and found["pattern 9 full"] == pytest.approx(0.5)
    # inside, the central difference spans two fields of the same colour; at a border it spans one
    assert found["edge mean full"] == pytest.approx(top * (4 * math.sqrt(2) + 4 * 14) / 256, rel=1e-5)
    # 5 × 5 pixels hold 13 of one colour and 12 of the other
    assert found["spread mean"] == pytest.approx(top * math.sqrt(13 * 12) / 25, rel=1e-4)
    assert found["dark 0.5"] == 0.5 and found["dark 1.5"] == 0
    assert (found["like 1"], found["like 2"], found["like 4"]) == (pytest.approx(-1), pytest.approx(1), pytest.approx(1))
    assert found["pattern 8 half"] == 1 and found["edge mean half"] == pytest.approx(0, abs=1e-5)  # 2 × 2 pixels are all alike
    assert found["red minus blue"] == pytest.approx(0, abs=1e-5)


def test_half_light_half_dark() -> None:
    image = np.full((16, 16, 3), 255, dtype=np.uint8)
    image[:, 8:] = 0
    found, top = described(image), math.log(256)
    # the step is half as steep in the two columns at the border, and nothing elsewhere
    assert found["edge mean full"] == pytest.approx(top / 2 * 2 / 16) and found["edge mean half"] == pytest.approx(top / 2 * 2 / 8)
    assert found["dark 0.5"] == 0.5
    # at lag d, d of 16 − d pairs of columns differ: (16 − d − 2 d) / (16 − d); down the columns all are alike
    for lag in (1, 2, 4):
        across = (16 - lag - 2 * lag) / (16 - lag)
        assert found[f"like {lag}"] == pytest.approx((across + 1) / 2, rel=1e-5)


def test_grey_counts_as_three_equal_colours() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (5, 12, 17, 1), dtype=np.uint8)
    assert np.array_equal(texture(grey), texture(grey.repeat(3, axis=3)))


def test_shape_type_and_no_image() -> None:
    found = texture(np.zeros((3, 8, 9, 3), dtype=np.uint8))
    assert found.shape == (3, len(NAMES)) == (3, 50) and found.dtype == np.float32
    assert texture(np.zeros((0, 8, 8, 3), dtype=np.uint8)).shape == (0, 50)
    assert np.isfinite(texture(np.zeros((1, 8, 8, 3), dtype=np.uint8))).all()  # nothing but black


def test_turned_and_mirrored_tissue_is_the_same_tissue() -> None:
    images = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    expected = texture(images)
    for turned in (images[:, :, ::-1], images[:, ::-1], np.rot90(images, axes=(1, 2))):
        assert np.allclose(texture(turned), expected, atol=1e-4)


def test_images_are_described_one_by_one() -> None:
    """The same whatever else is in the piece, or in the file."""
    images = np.random.default_rng(2).integers(0, 256, (CHUNK + 3, 8, 8, 3), dtype=np.uint8)
    whole = texture(images)
    assert np.array_equal(whole, texture(images)) and np.array_equal(whole[CHUNK:], texture(images[CHUNK:]))
    assert np.allclose(whole[7:8], texture(images[7:8]), atol=1e-5)


def test_as_features_of_a_data_set(tmp_path: Path) -> None:
    images = np.random.default_rng(3).integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
    told: list[tuple[int, int]] = []
    found = embed("texture", images, "these", tmp_path, torch.device("cpu"), lambda text, done, total: told.append((done, total)))
    assert np.array_equal(found, texture(images)) and told[-1] == (6, 6)
    again = embed("texture", images, "these", tmp_path, torch.device("cpu"), lambda *words: pytest.fail("computed twice"))
    assert np.array_equal(found, again)
    assert fingerprint("texture").startswith("texture-")


def test_images_that_are_too_small_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"^features=texture needs images of at least 8 px, these have 7$"):
        embed("texture", np.zeros((2, 9, 7, 3), dtype=np.uint8), "small", tmp_path, torch.device("cpu"))
    assert not list(tmp_path.rglob("*.npy"))


def test_a_name_that_is_nearly_texture(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"unknown features 'textures'; did you mean 'texture'\?"):
        fingerprint("textures")
