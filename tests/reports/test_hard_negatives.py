"""The gallery of hard negatives: which tiles, in which order, of which slides."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex

from benchmark.errors import BenchmarkError
from reports.hard_negatives import FRAME, draw, hardest, write_figure
from reports.heatmaps import SlideScores
from reports.style import RC

LABELS = np.array([0, 1, 0, 0])
OFFSETS = np.array([0, 3, 5, 8, 9])
SCORES = np.array([0.9, 0.2, 0.8, 1.0, 0.99, 0.9, 0.1, np.nan, 0.3])
SLIDES = SlideScores(
    offsets=OFFSETS,
    positions=None,
    scores=SCORES,
    names=("normal <1>", "tumour", "normal\n2 with a very long name", "$3$"),
    tile_labels=np.array([0, 0, 1, 1, 0, -1, 0, 0, 0], dtype=np.int8),
    tiles=np.arange(9, dtype=np.uint8)[:, None, None, None] * np.full((1, 6, 6, 1), 20, dtype=np.uint8),
    labels=LABELS,
)


def test_hardest_first_and_only_of_negative_slides() -> None:
    # slide 1 is positive, tile 7 has no score, tiles 0 and 5 are equal
    assert hardest(SCORES, LABELS, OFFSETS).tolist() == [0, 5, 2, 8, 1, 6]
    assert hardest(SCORES, LABELS, OFFSETS, count=3).tolist() == [0, 5, 2]
    assert hardest(SCORES, LABELS, OFFSETS, of_slide=1).tolist() == [0, 5, 8]
    assert hardest(SCORES, LABELS, OFFSETS, of_slide=2).tolist() == [0, 5, 2, 8, 6]
    assert hardest(SCORES, np.ones(4, dtype=np.int64), OFFSETS).tolist() == []


def test_the_limit_of_a_slide_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(1, 30, 40))])
    labels, scores = rng.integers(0, 2, 40), rng.random(offsets[-1]).round(2)
    expected, of_slide = [], dict.fromkeys(range(40), 0)
    for tile in np.argsort(-scores, kind="stable").tolist():
        slide = int(np.searchsorted(offsets, tile, side="right")) - 1
        if labels[slide] == 0 and of_slide[slide] < 3:
            of_slide[slide] += 1
            expected.append(tile)
    assert hardest(scores, labels, offsets, 10**6, of_slide=3).tolist() == expected


def test_each_tile_says_whose_it_is() -> None:
    with matplotlib.rc_context(RC):
        figure = draw(SLIDES, count=4)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["1 · 0.900\nnormal <1>", "2 · 0.900\nnormal 2 …ong name", "3 · 0.800\nnormal <1>", "4 · 0.300\n$3$"]
    assert [int(ax.images[0].get_array()[0, 0, 0]) for ax in figure.axes] == [0, 100, 40, 160]
    assert all(ax.images[0].get_array().shape == (6, 6, 3) for ax in figure.axes)  # grey as three channels
    framed = [ax.spines["left"].get_visible() for ax in figure.axes]
    assert framed == [False, False, True, False]  # tile 2 is positive in truth
    assert to_hex(figure.axes[2].spines["left"].get_edgecolor()).upper() == FRAME.upper()


def test_the_files_are_the_same_each_time(tmp_path: Path) -> None:
    paths = write_figure(SLIDES, tmp_path, of_slide=1)
    assert [path.name for path in paths] == ["hard_negatives.svg", "hard_negatives.png"]
    svg = paths[0].read_text()
    assert ">normal &lt;1&gt;<" in svg and ">$3$<" in svg
    assert "at most 1 of a slide" in " ".join(svg.split()) and "In a frame" not in svg  # no framed tile among these
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write_figure(SLIDES, tmp_path, of_slide=1)] == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tiles": None}, "needs the pixels of the tiles; this data set holds features"),
        ({"tiles": np.zeros((9, 4), dtype=np.float32)}, "needs the pixels of the tiles; this data set holds features"),
        ({"labels": None}, "needs the labels of the slides"),
        ({"labels": np.ones(4, dtype=np.int64)}, "there is no hard negative: no tile of a slide that is labelled 'negative' has a score"),
        ({"scores": np.full(9, np.nan)}, "there is no hard negative"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(change: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=message):
        write_figure(dataclasses.replace(SLIDES, **change), tmp_path)
    assert list(tmp_path.iterdir()) == []
