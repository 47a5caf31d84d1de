"""Precision and recall over rounds: means of the same seeds at every point, and names as plain text."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest

from benchmark.errors import BenchmarkError
from reports.rounds_figure import Rounds, draw, mean_and_sd, write_figure
from reports.style import RC

TWO = Rounds(precision=[[0.2, 0.4, 0.6], [0.4, 0.8, 1.0]], recall=[[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]])
ONE = Rounds(precision=[[None, 0.9]], recall=[[0.0, 0.1]])


def test_means_and_deviations_by_hand() -> None:
    mean, sd = mean_and_sd(TWO.precision)
    np.testing.assert_allclose(mean, [0.3, 0.6, 0.8])
    np.testing.assert_allclose(sd, np.array([0.2, 0.4, 0.4]) / np.sqrt(2))  # n − 1
    mean, sd = mean_and_sd([[0.5, 0.7]])
    assert mean.tolist() == [0.5, 0.7] and sd.tolist() == [0, 0]


def test_a_round_that_a_seed_lacks_is_a_gap() -> None:
    mean, sd = mean_and_sd([[0.2, None, 0.4, 0.5], [0.4, 0.1, 0.6]])
    np.testing.assert_allclose(mean, [0.3, np.nan, 0.5, np.nan])
    np.testing.assert_array_equal(np.isnan(sd), [False, True, False, True])
    assert mean_and_sd([])[0].shape == (0,)


def test_panels_lines_and_bands() -> None:
    with matplotlib.rc_context(RC):
        figure = draw({"hnm": TWO, "max": ONE}, inherited=0.25)
    precision, recall = figure.axes
    guide, hnm, single = precision.lines
    assert set(guide.get_ydata()) == {0.25} and set(recall.lines[0].get_ydata()) == {1.0}
    np.testing.assert_allclose(hnm.get_ydata(), [0.3, 0.6, 0.8])
    np.testing.assert_allclose(single.get_ydata(), [np.nan, 0.9])
    assert hnm.get_xdata().tolist() == [0, 1, 2]
    assert hnm.get_color() == recall.lines[1].get_color() != single.get_color()
    (band,) = precision.collections  # of two seeds, not of one
    spread = 0.4 / np.sqrt(2)
    np.testing.assert_allclose(band.get_datalim(precision.transData).intervaly, [0.3 - 0.2 / np.sqrt(2), min(0.8 + spread, 1)])
    caption = " ".join(figure.get_supxlabel().split())
    assert caption == "Lines: means over seeds (n = 1 to 2); bands: ± 1 sample sd. Gaps: rounds in which some seed has no value."


def test_one_seed_and_one_round() -> None:
    with matplotlib.rc_context(RC):
        figure = draw({"hnm": Rounds([[0.5]], [[0.3]])})
    low, high = figure.axes[0].get_xlim()
    assert [tick for tick in figure.axes[0].get_xticks() if low <= tick <= high] == [0]
    assert figure.get_supxlabel() == "Lines: means over seeds (n = 1)." and len(figure.axes[0].lines) == 1


def test_names_are_plain_text_and_files_the_same(tmp_path: Path) -> None:
    methods = {"_a<b>$x$": TWO, "its2clr": ONE}
    paths = write_figure(methods, tmp_path, inherited=0.2)
    assert [path.name for path in paths] == ["rounds.svg", "rounds.png"]
    svg = paths[0].read_text()
    for text in (
        "_a&lt;b&gt;$x$",
        "its2clr",
        "label of the slide",
        "precision of the pseudo labels",
        "recall of the pseudo labels",
        "round",
    ):
        assert f">{text}<" in svg, text
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write_figure(methods, tmp_path, inherited=0.2)] == before


def test_methods_beyond_the_palette_are_told_apart() -> None:
    with matplotlib.rc_context(RC):
        figure = draw({f"method{number}": TWO for number in range(12)})
    looks = {(line.get_color(), line.get_marker(), str(line._dash_pattern)) for line in figure.axes[0].lines}
    assert len(looks) == 12


@pytest.mark.parametrize("methods", [{}, {"hnm": Rounds([], [])}, {"hnm": Rounds([[]], [[]])}])
def test_nothing_to_draw_is_one_line(methods: dict, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="no method has finished a round"):
        write_figure(methods, tmp_path)
    assert list(tmp_path.iterdir()) == []
