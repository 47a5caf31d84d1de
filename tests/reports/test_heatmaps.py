"""Maps of slides: every tile at its place in its colour, names as plain text, and one clear line where there is nothing to draw."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from benchmark.errors import BenchmarkError
from reports.heatmaps import (
    LARGEST_GRID,
    MOSAIC,
    NO_GRID,
    NO_TILE,
    UNKNOWN,
    SlideScores,
    _coloured,
    _image,
    _mosaic,
    _rgb,
    draw,
    short_name,
    write_figure,
)
from reports.style import RC

# slide 0: three tiles in an L with 4 px distance, slide 1: two tiles side by side
SLIDES = SlideScores(
    offsets=np.array([0, 3, 5]),
    positions=np.array([[8, 8], [12, 12], [8, 12], [0, 0], [4, 0]]),
    scores=np.array([0.0, 0.25, 1.0, 0.5, np.nan]),
    names=("slide <b>$x^2$ & co", "second"),
    tile_labels=np.array([0, -1, 1, 0, 0], dtype=np.int8),
    tiles=np.arange(5, dtype=np.uint8)[:, None, None, None] * np.full((1, 4, 4, 3), 50, dtype=np.uint8),
    labels=np.array([1, 0]),
    probabilities=np.array([0.987, 0.1]),
)
CELLS = np.array([[0, 0], [1, 1], [0, 1]])


def colour(value: float) -> list[int]:
    return _coloured(np.array([value]))[0].tolist()


def test_tiles_stand_at_their_places() -> None:
    scores = _image(SLIDES, "instance score", slice(0, 3), CELLS)
    assert scores.tolist() == [[colour(0), _rgb(NO_TILE).tolist()], [colour(1), colour(0.25)]]
    truth = _image(SLIDES, "truth", slice(0, 3), CELLS)
    assert truth.tolist() == [[colour(0), _rgb(NO_TILE).tolist()], [colour(1), _rgb(UNKNOWN).tolist()]]
    unscored = _image(SLIDES, "instance score", slice(3, 5), np.array([[0, 0], [1, 0]]))
    assert unscored.tolist() == [[colour(0.5), _rgb(UNKNOWN).tolist()]]
    mosaic = _image(SLIDES, "tiles", slice(0, 3), CELLS)
    assert mosaic.shape == (8, 8, 3)
    blocks = mosaic.reshape(2, 4, 2, 4, 3)
    for row, column, value in ((0, 0, 0), (1, 1, 50), (1, 0, 100), (0, 1, _rgb(NO_TILE)[0])):
        assert (blocks[row, :, column] == value).all()


def test_the_ends_of_the_scale_and_what_is_on_none_differ() -> None:
    seen = {tuple(colour(0)), tuple(colour(1)), tuple(_rgb(NO_TILE)), tuple(_rgb(UNKNOWN))}
    assert len(seen) == 4
    lightness = _coloured(np.linspace(0, 1, 11)).astype(float) @ [0.299, 0.587, 0.114]
    assert (np.diff(lightness) > 0).all()


def test_large_tiles_are_shrunk_to_their_mean() -> None:
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 256, (300, 224, 200, 1), dtype=np.uint8)  # more than are read at once
    cells = np.stack(np.divmod(np.arange(300), 10)[::-1], axis=1)
    mosaic = _mosaic(tiles, slice(0, 300), cells, np.ones(300, dtype=bool))
    factor = 224 * 30 // MOSAIC
    side = (224 // factor, 200 // factor)
    assert mosaic.shape == (30 * side[0], 10 * side[1], 3) and MOSAIC <= mosaic.shape[0] < 2 * MOSAIC
    last = mosaic[-side[0] :, -side[1] :]
    assert last[0, 0, 0] == round(tiles[299, :factor, :factor].mean()) and (last[..., 0] == last[..., 2]).all()


def test_the_figure_names_what_it_shows(tmp_path: Path) -> None:
    paths = write_figure(SLIDES, tmp_path / "deep" / "folder", [1, 0])
    assert [path.name for path in paths] == ["heatmaps.svg", "heatmaps.png"]
    svg = paths[0].read_text()
    for text in ("slide &lt;b&gt;$x^2$ &amp; co · positive · p = 0.99", "second · negative · p = 0.10"):
        assert f">{text}<" in svg, text
    for text in ("tiles", "truth", "instance score", "positive tile", "negative tile", "unknown", "no tile", "0.00", "1.00"):
        assert f">{text}<" in svg, text
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write_figure(SLIDES, tmp_path / "deep" / "folder", [1, 0])] == before


def test_columns_are_what_is_known() -> None:
    bare = dataclasses.replace(SLIDES, tiles=np.zeros((5, 7), dtype=np.float32), tile_labels=None, labels=None, probabilities=None)
    with matplotlib.rc_context(RC):
        assert [ax.get_title(loc="left").strip() for ax in draw(SLIDES).axes[:3]] == ["tiles", "truth", "instance score"]
        figure = draw(bare, [0])
    assert [ax.get_title(loc="left").strip() for ax in figure.axes[:-1]] == ["instance score"]  # the last is the scale
    assert figure.axes[0].texts[0].get_text() == "slide <b>$x^2$ & co"


def test_wide_slides_get_low_rows() -> None:
    wide = dataclasses.replace(SLIDES, positions=np.array([[0, 0], [4, 0], [8, 0], [0, 0], [0, 4]]))
    with matplotlib.rc_context(RC):
        heights = [draw(wide, [slide]).get_figheight() for slide in (0, 1)]
    assert heights[1] - heights[0] == pytest.approx(2.2 * (1 - 1 / 3))


def test_short_names_keep_both_ends() -> None:
    assert short_name("normal_001", 10) == "normal_001"
    assert short_name("TCGA-44-7670-01A-TS1", 9) == "TCGA…-TS1"
    assert short_name("a\x1b[31m\nb", 20) == "a [31m b"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": None}, r"heat maps need the positions of the tiles, which this data set does not have"),
        ({"scores": np.array([0, 0.5, 1, 2.5, -3])}, r"heat maps need scores from 0 to 1; these go from -3 to 2\.5"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(change: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=message) as error:
        write_figure(dataclasses.replace(SLIDES, **change), tmp_path)
    assert "\n" not in str(error.value) and list(tmp_path.iterdir()) == []


def test_no_slide_and_a_pitch(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="at least one slide"):
        write_figure(SLIDES, tmp_path, [])
    jittered = dataclasses.replace(
        SLIDES, positions=SLIDES.positions * 5000 + [[0, 0], [1, 2], [3, 1], [0, 0], [1, 1]], pitch=(20_000, 20_000)
    )
    with matplotlib.rc_context(RC):
        image = draw(jittered, [0]).axes[2].images[0].get_array()
    assert image.shape == (2, 2, 3) and LARGEST_GRID < 20_000**2


def pieces(*starts: tuple[int, int], side: int = 10) -> np.ndarray:
    """Positions of square pieces of tissue, each cut at 224 pixels from a corner of its own."""
    block = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2) * 224
    return np.concatenate([block + start for start in starts])


def test_pieces_with_grids_of_their_own_share_a_map() -> None:
    positions = pieces((0, 0), (3781, 143))  # 3781 / 224 = 16.9 columns, 143 / 224 = 0.6 rows
    scores = np.linspace(0, 1, 200)
    slides = SlideScores(np.array([0, 200]), positions, scores, ["a"])
    with matplotlib.rc_context(RC):
        image = np.asarray(draw(slides).axes[0].images[0].get_array())
    assert image.shape == (11, 27, 3)
    assert image[0, 0].tolist() == colour(0) and image[1, 17].tolist() == colour(scores[100]) and image[10, 26].tolist() == colour(1)
    assert (image[:, 10:17] == _rgb(NO_TILE)).all()


def test_of_two_tiles_in_one_cell_the_higher_score_is_seen() -> None:
    cells = np.array([[0, 0], [0, 0], [1, 0], [1, 0], [1, 0]])
    slides = dataclasses.replace(
        SLIDES,
        offsets=np.array([0, 5]),
        scores=np.array([0.75, 0.25, np.nan, 0.5, 0.0]),
        tile_labels=np.array([0, 1, -1, -1, 0], dtype=np.int8),
    )
    assert _image(slides, "instance score", slice(0, 5), cells).tolist() == [[colour(0.75), colour(0.5)]]
    assert _image(slides, "truth", slice(0, 5), cells).tolist() == [[colour(1), colour(0)]]
    assert _image(slides, "tiles", slice(0, 5), cells)[0, ::4, 0].tolist() == [0, 150]  # tile 0 and tile 3


def test_a_slide_without_a_grid_is_noted_and_the_others_are_drawn(tmp_path: Path) -> None:
    positions = np.concatenate([pieces((0, 0)) // 224, pieces((0, 0)), [[5_000_000, 5_000_000]]])  # 22322 columns of 224 pixels
    slides = SlideScores(np.array([0, 100, 201]), positions, np.full(201, 0.5), ["good", "a\nb"])
    svg = write_figure(slides, tmp_path)[0].read_text()
    assert svg.count("<image") == 2 and f">{NO_GRID}<" in svg and ">a b<" in svg and ">good<" in svg  # one map, and the scale
    assert f">{NO_GRID}<" in write_figure(slides, tmp_path, [1])[0].read_text()
