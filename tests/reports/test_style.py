"""Figures: names keep their colours, colours stay apart for everybody, and files do not change without a reason."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from reports.style import (
    FIXED,
    INK,
    MARKERS,
    METHODS,
    PALETTE,
    Look,
    bare_axes,
    colours,
    grid_of_axes,
    looks,
    markers,
    percent_axis,
    save,
)  # fmt: skip

# Machado, Oliveira, Fernandes (2009), severity 1; rows give the red, green and blue (linear) that such an eye sees
VISION = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    x, y, z = (np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in XYZ @ np.clip(rgb, 0, 1) / [0.95047, 1, 1.08883])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", VISION)
def test_colours_stay_apart_for_everybody(eye: str) -> None:
    seen = {colour: lab(np.array(VISION[eye]) @ linear(colour)) for colour in (*PALETTE, INK)}
    distances = {(a, b): float(np.linalg.norm(seen[a] - seen[b])) for a, b in itertools.combinations(seen, 2)}
    assert min(distances.values()) > 12, min(distances, key=distances.get)  # type: ignore[arg-type]


def test_lines_can_be_seen_on_white() -> None:
    contrast = [1.05 / ((XYZ @ linear(colour))[1] + 0.05) for colour in PALETTE]
    assert min(contrast) > 1.9 and sorted(contrast)[2] > 3  # two light hues; markers and width help them


def test_a_known_name_has_one_colour_everywhere() -> None:
    everything = colours(["random", *FIXED])
    assert everything["random"] == INK and len(set(everything.values())) == 10
    assert colours(["bald"]) == {"bald": everything["bald"]}
    assert colours(["zeta", "bald", "random"])["bald"] == everything["bald"]


def test_other_names_get_colours_of_their_own_while_there_are_some() -> None:
    names = [f"name {number}" for number in range(9)]
    found = colours(names)
    assert list(found) == names and sorted(found.values()) == sorted(PALETTE)
    assert colours(reversed(names)) == found
    assert len(set(colours([*names, "one more"]).values())) == 9  # repeats when none is left
    assert colours([]) == {}


def test_markers_follow_the_same_rule() -> None:
    found = markers(["random", *FIXED])
    assert found["random"] == "o" and [found[name] for name in FIXED] == list(MARKERS)


def test_every_method_of_the_project_has_a_look_of_its_own() -> None:
    folder = Path(__file__).parents[2] / "methods"
    plugins = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / f"{path.name}.py").exists()} - {"__init__"}
    assert plugins <= {name for task in METHODS for name in task}
    for task in METHODS:
        found = looks(task)
        assert len({(look.colour, look.marker) for look in found.values()}) == len(task)
        assert found[task[0]] == Look(INK, "o")
        first = list(found.values())[: 1 + len(PALETTE)]
        assert len({look.colour for look in first}) == len({look.marker for look in first}) == min(len(task), 10)
        assert all(looks([name, "a", "hsa:x=1", "ce"])[name] == look for name, look in found.items())  # whoever stands beside it


def test_settings_of_a_plugin_are_related() -> None:
    names = ["hsa:rounds=2", "hsa", "hsa:warmup=3 #1a2b", "hsa #ffff", "elr"]
    found = looks(reversed(names))
    assert list(found) == names[::-1] and found["hsa"] == looks(["hsa"])["hsa"]
    hsa = [found[name] for name in names[:4]]
    assert {(look.colour, look.marker) for look in hsa} == {(PALETTE[0], "s")}
    assert len({look.fill for look in hsa}) == 4 and [found["hsa"].fill, found["hsa"].dashes] == ["full", "-"]
    assert len(set(looks(f"hsa:rounds={number}" for number in range(24)).values())) == 24
    assert looks(["hsa:rounds=2"])["hsa:rounds=2"] == found["hsa"]


def test_unknown_methods_take_what_is_free() -> None:
    strangers = [f"stranger{number}" for number in range(40)]
    found = looks([*METHODS[0][:5], *strangers])
    assert len({(look.colour, look.marker) for look in found.values()}) == 45
    assert {look.colour for look in looks([*METHODS[0][:5], *strangers[:5]]).values()} == {
        INK,
        *PALETTE,
    }  # none twice while there are others
    assert looks([*strangers, *METHODS[0][:5]]) == found and looks([]) == {}
    assert looks(["<b>$x$</b>\n", ""])[""].colour in PALETTE


def draw():
    figure, axes = grid_of_axes(4, columns=3, legend=1.0)
    for axis in axes:
        axis.plot([0, 0.1], [0.5, 0.75], color=PALETTE[0])
        bare_axes(axis, title="$a_1$ · 50 %", x="labels paid", y="accuracy")
        percent_axis(axis.yaxis)
    return figure


def test_the_same_figure_is_the_same_file(tmp_path: Path) -> None:
    first, second = save(draw, tmp_path / "a", "x"), save(draw, tmp_path / "deep" / "b", "x")
    assert [path.name for path in first] == ["x.svg", "x.png"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    text = first[0].read_text()
    assert "$a_1$ · 50 %" in text and ">75 %<" in text
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["x.png", "x.svg"]


def test_panels_fill_rows() -> None:
    figure, axes = grid_of_axes(4, columns=3, size=(2, 1.5), legend=1)
    assert len(axes) == 4 and figure.get_size_inches().tolist() == [7, 3]
    assert grid_of_axes(1, size=(2, 1.5))[0].get_size_inches().tolist() == [2, 1.5]


def test_a_figure_that_cannot_be_drawn_leaves_nothing(tmp_path: Path) -> None:
    def broken():
        raise RuntimeError

    with pytest.raises(RuntimeError):
        save(broken, tmp_path, "x")
    assert list(tmp_path.iterdir()) == []
