"""Tiles on several grids: which are neighbours, and what that does to lesions and detections."""

from __future__ import annotations

import time

import numpy as np
import pytest

from benchmark.errors import BenchmarkError
from benchmark.metrics.froc import froc
from benchmark.metrics.tile_grid import distinct, grid_cells, neighbours, scaled, tile_pitch


def block(columns: int, rows: int, pitch: int = 1, start: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Positions of a full grid, row by row."""
    return np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2) * pitch + start


def slides(*parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions and offsets of slides."""
    return np.concatenate(parts), np.append(0, np.cumsum([len(part) for part in parts]))


def pairs(positions: np.ndarray, offsets: np.ndarray) -> set[tuple[int, int]]:
    bag = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return {(min(pair), max(pair)) for pair in zip(*(ends.tolist() for ends in neighbours(bag, scaled(positions, offsets))), strict=True)}


# --------------------------------------------------------------------------------------------------------------- pitch


def test_a_slide_of_pieces_with_grids_of_their_own_has_one_pitch() -> None:
    positions, offsets = slides(np.concatenate([block(10, 10, 224), block(10, 10, 224, (3781, 143))]))
    assert tile_pitch(positions, offsets).tolist() == [224]
    cells = grid_cells(positions, offsets)
    assert cells.max(axis=0).tolist() == [26, 10] and np.array_equal(cells[:100], block(10, 10))
    assert np.array_equal(cells[100:], block(10, 10, start=(17, 1)))


def test_slides_of_other_magnification_have_a_pitch_of_their_own() -> None:
    positions, offsets = slides(block(5, 5, 224), block(5, 5, 448), block(4, 4, 512))
    assert tile_pitch(positions, offsets).tolist() == [224, 448, 512]
    assert np.array_equal(grid_cells(positions, offsets), np.concatenate([block(5, 5), block(5, 5), block(4, 4)]))


def test_few_tiles_take_the_pitch_of_the_other_slides() -> None:
    alone, apart, close = np.array([[7, 9]]), np.array([[0, 0], [1120, 0]]), np.array([[0, 0], [112, 112]])
    positions, offsets = slides(block(5, 5, 224), alone, apart, close)
    assert tile_pitch(positions, offsets).tolist() == [224, 224, 224, 112]  # never more than the tiles' own distance
    assert grid_cells(positions, offsets)[25:].tolist() == [[0, 0], [0, 0], [5, 0], [0, 0], [1, 1]]
    assert {pair for pair in pairs(positions, offsets) if pair[1] >= 25} == {(28, 29)}


def test_a_slide_of_one_tile_and_tiles_at_one_place() -> None:
    assert tile_pitch(np.array([[7, 9]]), np.array([0, 1])).tolist() == [1]
    assert tile_pitch(np.array([[7, 9], [7, 9]]), np.array([0, 2])).tolist() == [1]
    assert froc(np.array([1]), np.array([0.5]), np.array([[7, 9]]), np.array([0, 1]))["froc"] == 1


def test_sparse_tiles_and_tiles_on_no_grid() -> None:
    rng = np.random.default_rng(0)
    sparse = block(60, 60)[rng.random(3600) < 0.1] * 224
    jittered = block(30, 30, 224) + rng.integers(-30, 31, (900, 2))
    pitch = tile_pitch(*slides(sparse, jittered))
    assert pitch[0] == 224 and 150 < pitch[1] <= 224


def test_the_positions_of_a_slide_that_are_no_coordinates() -> None:
    with pytest.raises(BenchmarkError, match=r"span 9e\+18 × 2; expected x and y in tiles or pixels"):
        tile_pitch(np.array([[0, 0], [9 * 10**18, 0]]), np.array([0, 2]))


# ---------------------------------------------------------------------------------------------------------- neighbours


def test_neighbours_are_less_than_one_and_a_half_pitches_apart() -> None:
    row = block(6, 1, 10)  # tiles 0 to 5
    others = np.array([[14, 14], [15, 25], [65, 0]])  # 14: beside 0, 1 and 2; (15, 25) only beside (14, 14); 65 is 15 from the last
    positions, offsets = slides(np.concatenate([row, others]))
    expected = {(n, n + 1) for n in range(5)} | {(0, 6), (1, 6), (2, 6), (6, 7)}
    assert tile_pitch(positions, offsets).tolist() == [10] and pairs(positions, offsets) == expected


def test_tiles_of_two_slides_are_no_neighbours() -> None:
    positions, offsets = slides(block(2, 2), block(2, 2))
    square = {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}
    assert pairs(positions, offsets) == square | {(a + 4, b + 4) for a, b in square}
    assert all(ends.size == 0 for ends in neighbours(np.zeros(0, dtype=np.int64), np.zeros((0, 2))))


def test_distinct_tiles() -> None:
    bag, places = np.array([1, 0, 1, 1]), np.array([[5, 0], [5, 0], [5, 0], [4, 1]])
    found = distinct(bag, places)
    assert found[0].tolist() == [0, 1, 1] and found[1].tolist() == [[5, 0], [5, 0], [4, 1]] and found[2].tolist() == [1, 0, 1, 2]


# ---------------------------------------------------------------------------------------------------------------- froc


def lesions_in(positions: np.ndarray, offsets: np.ndarray, *groups: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Truth, and scores that are highest in the middle of each lesion and fall from there."""
    truth = np.zeros(len(positions), dtype=np.int8)
    for group in groups:
        truth[group] = 1
    centres = [positions[group].mean(axis=0) for group in groups]
    bag = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    scores = np.full(len(positions), -np.inf)
    for group, centre in zip(groups, centres, strict=True):
        same = bag == bag[group[0]]
        scores[same] = np.maximum(scores[same], -np.abs(positions[same] - centre).sum(axis=1))
    return truth, scores


def test_froc_of_pieces_with_grids_of_their_own() -> None:
    square = [11, 12, 21, 22]
    positions, offsets = slides(np.concatenate([block(10, 10, 224), block(10, 10, 224, (3781, 143))]), block(10, 10, 448))
    truth, scores = lesions_in(positions, offsets, square, [number + 100 for number in square], [number + 200 for number in square])
    values = froc(truth, scores, positions, offsets)
    assert values["lesions"] == 3 and values["froc"] == 1


def test_froc_of_mixed_pitch_is_that_of_cells() -> None:
    rng = np.random.default_rng(2)
    positions, offsets = slides(block(12, 12, 224, (5, 7)), block(12, 12, 448), block(12, 12, 300, (1, 0)))
    truth, scores = (rng.random(432) < 0.1).astype(int), rng.random(432)
    assert froc(truth, scores, positions, offsets) == froc(truth, scores, np.tile(block(12, 12), (3, 1)), offsets)


def test_equal_neighbours_are_one_detection() -> None:
    positions, offsets = slides(block(7, 1), block(2, 1))
    truth = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0])
    # a plateau on the lesion, found once; one of three tiles outside it, an alarm once; and one that a higher tile is beside
    scores = np.array([5, 5, 5, 1, 7, 7, 7, 2, 3.0])
    values = froc(truth, scores, positions, offsets)  # 7: 0.5 alarms a slide; 5: found; 3: 1 alarm a slide
    assert [values[f"sensitivity_at_{rate}"] for rate in ("0.25", "0.5", "1", "8")] == [0, 1, 1, 1]


def test_a_plateau_is_where_its_centre_is() -> None:
    positions, offsets = slides(block(7, 1))
    for lesion, found in ((3, 1), (2, 0), (0, 0)):
        truth = (np.arange(7) == lesion).astype(int)
        assert froc(truth, np.ones(7), positions, offsets)["sensitivity_at_8"] == found  # a constant score is one guess a piece of tissue


@pytest.mark.parametrize("kind", ["grid", "equal", "scattered"])
def test_froc_of_100_000_tiles_takes_seconds(kind: str) -> None:
    rng = np.random.default_rng(0)
    positions = rng.integers(0, 70_000, (100_000, 2)) if kind == "scattered" else block(400, 250, 224)
    scores = np.zeros(100_000) if kind == "equal" else rng.random(100_000)
    start = time.perf_counter()
    values = froc((rng.random(100_000) < 0.05).astype(np.int8), scores, positions, np.array([0, 100_000]))
    assert values["lesions"] > 100 and time.perf_counter() - start < 10
