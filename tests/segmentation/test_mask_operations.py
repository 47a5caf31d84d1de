import math

import numpy as np
import pytest

from benchmark.errors import BenchmarkError
from benchmark.segmentation.mask_operations import OPERATIONS, Radius, boundary, dilate, edge, elastic, erode, translate


def picture(*rows: str) -> np.ndarray:
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def disc(radius: float, size: int = 64, row: float | None = None) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size // 2
    return (y - (0 if row is None else row - size // 2)) ** 2 + x**2 <= radius**2


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def brute_force(mask: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Dilation and erosion from all pairs of pixels."""
    places = np.argwhere(np.ones_like(mask))
    near = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) <= radius
    flat = mask.reshape(-1)
    return (near & flat).any(axis=1).reshape(mask.shape), ~(near & ~flat).any(axis=1).reshape(mask.shape)


def test_a_pixel_dilates_to_a_euclidean_disc() -> None:
    mask = np.zeros((7, 7), dtype=bool)
    mask[3, 3] = True
    expected = picture(".......", "...#...", "..###..", ".#####.", "..###..", "...#...", ".......")
    assert np.array_equal(dilate(mask, 2), expected)
    assert np.array_equal(erode(dilate(mask, 2), 1), dilate(mask, 1))


@pytest.mark.parametrize("radius", [1, 1.5, 2, 3.7, 6])
def test_distance_maps_give_what_all_pairs_of_pixels_give(radius: float) -> None:
    for seed in range(4):
        mask = draw(seed).random((13, 11)) < (0.06 if seed % 2 else 0.9)
        mask[:, :3] = seed % 2 == 0  # touches the border
        larger, smaller = brute_force(mask, radius)
        assert np.array_equal(dilate(mask, radius), larger) and np.array_equal(erode(mask, radius), smaller)


def test_erosion_by_more_than_the_radius_empties() -> None:
    assert erode(disc(10), 9.9).any() and not erode(disc(10), 11).any()


def test_the_image_border_does_not_erode() -> None:
    mask = np.zeros((9, 9), dtype=bool)
    mask[:, :5] = True
    assert np.array_equal(erode(mask, 2), mask & (np.arange(9) < 3))
    assert erode(np.ones((5, 5), dtype=bool), 3).all()


def test_the_boundary_is_one_pixel_wide_and_inside() -> None:
    mask = picture("......", ".####.", ".####.", ".####.", "......")
    assert np.array_equal(boundary(mask), picture("......", ".####.", ".#..#.", ".####.", "......"))


def test_edge_noise_stays_near_the_boundary_and_works_both_ways() -> None:
    mask, reach = disc(20), 6
    noisy = edge(mask, reach, draw())
    changed = noisy != mask
    band = dilate(boundary(mask), reach - 1)
    assert changed.any() and not changed[~band].any()
    assert (noisy & ~mask).any() and (mask & ~noisy).any()


def test_later_discs_lie_over_earlier_ones() -> None:
    mask, rng = disc(12, 40), draw(5)
    rows, columns = np.nonzero(boundary(mask))
    kept = rng.random(len(rows)) < 0.5
    radii = rng.integers(0, 5, kept.sum())
    added = rng.random(kept.sum()) < 0.5
    expected, (y, x) = mask.copy(), np.mgrid[:40, :40]
    for row, column, radius, value in zip(rows[kept], columns[kept], radii, added, strict=True):
        expected[(y - row) ** 2 + (x - column) ** 2 <= radius**2] = value
    assert np.array_equal(edge(mask, 5, draw(5)), expected)


def test_translation_moves_and_fills_with_background() -> None:
    mask = disc(8)
    centres = np.array([np.argwhere(translate(mask, 12, draw(seed))).mean(axis=0) - 32 for seed in range(60)])
    distances = np.hypot(*centres.T)
    assert distances.max() <= 12 and distances.max() > 9 and distances.min() < 3
    assert (centres.min(axis=0) < -3).all() and (centres.max(axis=0) > 3).all()  # any direction
    assert np.array_equal(translate(mask, 0, draw()), mask)
    full = translate(np.ones((20, 20), dtype=bool), 15, draw(3))
    assert not full.all() and full.any()
    assert translate(np.ones((4, 4), dtype=bool), 500, draw()).sum() == 0  # out of the picture, without a crash


def test_elastic_deformation_bends_within_its_radius() -> None:
    mask = disc(20)
    for seed in range(5):
        noisy = elastic(mask, 5, draw(seed))
        assert (noisy != mask).any()
        assert not (noisy & ~dilate(mask, 6)).any() and not (erode(mask, 6) & ~noisy).any()  # 5, and the rounding to a pixel
    assert np.array_equal(elastic(mask, 0, draw()), mask)


@pytest.mark.parametrize("kind", OPERATIONS)
def test_no_operation_changes_its_input_or_fails_on_extremes(kind: str) -> None:
    for mask in (disc(9, 32), np.zeros((6, 5), dtype=bool), np.ones((5, 6), dtype=bool), np.ones((1, 1), dtype=bool)):
        before = mask.copy()
        for radius in (0, 0.4, 1, 3, 40):
            noisy = OPERATIONS[kind](mask, radius, draw())
            assert noisy.shape == mask.shape and noisy.dtype == bool and not np.shares_memory(noisy, mask)
            if radius == 0 or not mask.any():
                assert np.array_equal(noisy, mask)
        assert np.array_equal(mask, before)


def test_a_relative_radius_follows_the_object() -> None:
    assert Radius.parse("rel0.15").pixels(np.ones((20, 20), dtype=bool)) == pytest.approx(3)
    two = np.zeros((20, 20), dtype=bool)
    two[:6, :6] = two[10:16, 10:16] = True  # two objects of 36 pixels, not one of 72
    assert Radius.parse("rel0.5").pixels(two) == pytest.approx(3)
    two[19, 19] = True  # a stray pixel: (36² + 36² + 1) / 73
    assert Radius.parse("rel1").pixels(two) == 6  # √35.5 = 5.96
    assert Radius.parse("rel0.5").pixels(np.zeros((4, 4), dtype=bool)) == 0
    assert Radius.parse("10").pixels(np.ones((2, 2), dtype=bool)) == Radius.parse(10).pixels(np.ones((9, 9), dtype=bool)) == 10
    assert str(Radius.parse("rel0.15")) == "rel0.15" and str(Radius.parse(20)) == "20"


@pytest.mark.parametrize("text", ["", "x", "rel", "-1", "rel-0.1", "nan", "inf", math.inf])
def test_a_radius_that_is_none(text: str | float) -> None:
    with pytest.raises(BenchmarkError, match=r"a noise radius is a number of pixels \(10\) or a share of √area \(rel0.15\)"):
        Radius.parse(text)


def test_discs_larger_than_the_image_cost_no_more_than_those_of_its_size() -> None:
    mask = np.zeros((5, 7), dtype=bool)
    mask[1:4, 2:5] = True
    assert edge(mask, 1e9, np.random.default_rng(0)).shape == (5, 7)
