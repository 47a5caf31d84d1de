"""``tile``: slides become tiles that a run can be given."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark.cli import main

TISSUE = (slice(32, 128), slice(32, 160))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCHMARK_CACHE", str(tmp_path / "cache"))


def write_slide(file: Path, seed: int = 0) -> Path:
    """Grainy pink on glass, 192 × 160 pixels of half a micron: 12 tiles of 32 pixels hold tissue."""
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed; python -m pip install tifffile")
    try:
        pytest.importorskip("openslide", reason="openslide is not installed; python -m pip install openslide-python openslide-bin")
    except OSError as error:
        pytest.skip(f"the library of OpenSlide is missing: {error}")
    pixels = np.full((160, 192, 3), 244, dtype=np.uint8)
    grain = np.random.default_rng(seed).integers(-40, 40, pixels[TISSUE].shape)
    pixels[TISSUE] = np.clip(np.array([190, 80, 150]) + grain, 0, 255)
    file.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(file) as writer:
        writer.write(pixels, tile=(64, 64), photometric="rgb", resolution=(2e4, 2e4), resolutionunit="CENTIMETER")
    return file


def told(capsys: pytest.CaptureFixture[str]) -> str:
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1, printed
    return printed.err


def test_slides_are_cut_and_can_be_trained_on(capsys) -> None:
    for part, names in (("train", "abcdef"), ("test", "gh")):
        for number, name in enumerate(names):
            write_slide(Path("slides") / part / f"{name}.tif", number)
    words = ("tile", "slides", "--out", "tiles", "--tile-size", "32", "--mpp", "0.5", "--threads", "2")
    assert main(words) == 0
    printed = capsys.readouterr()
    assert printed.out == "8 slides tiled: 96 tiles in tiles\n"
    assert printed.err.splitlines()[:2] == ["tiling slides …", "tiling slides: done"]
    assert "put a csv with the columns slide_id and label into tiles, then: --datasets tiles:tiles" in printed.err
    assert sorted(file.name for file in Path("tiles/train/a").glob("*.jpeg"))[:2] == ["1_1.jpeg", "1_2.jpeg"]
    assert main((*words, "--quiet", "--json")) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert printed.err == "" and len(found["slides"]) == 8 and all(row["resumed"] and row["kept"] == 12 for row in found["slides"])
    assert found["tiling"]["tile_size"] == 32 and found["slides"][0]["mpp"] == pytest.approx(0.5)
    Path("tiles/labels.csv").write_text(
        "slide_id,label\n" + "".join(f"{name}.tif,{number % 2}\n" for number, name in enumerate("abcdefgh"))
    )
    run = (
        "run",
        "--methods",
        "mil_mean",
        "--baseline",
        "none",
        "--datasets",
        "tiles:tiles",
        "--epochs",
        "1",
        "--device",
        "cpu",
        "--jobs",
        "1",
    )
    assert main((*run, "--no-tracking", "--quiet")) == 0
    assert "mil_mean" in capsys.readouterr().out


def test_one_slide_as_an_archive(capsys) -> None:
    write_slide(Path("biopsy.tif"))
    assert main(("tile", "biopsy.tif", "--out", "tiles", "--tile-size", "32", "--format", "npz", "--quiet")) == 0
    assert capsys.readouterr().out == "1 slide tiled: 12 tiles in tiles\n"
    with np.load("tiles/biopsy/tiles.npz") as archive:
        assert archive["tiles"].shape == (12, 32, 32, 3)


def test_a_slide_that_cannot_be_read_is_told_when_the_others_are_done(capsys) -> None:
    write_slide(Path("slides/a.tif"))
    Path("slides/b.tif").write_bytes(b"no slide")
    words = ("tile", "slides", "--out", "tiles", "--tile-size", "32", "--quiet")
    assert main(words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(
        "error: 1 of 2 slides cannot be tiled, the others are done; the first: slides/b.tif cannot be read as a slide"
    )
    assert Path("tiles/a").is_dir() and not Path("tiles/b").exists() and not list(Path("tiles").glob(".*.tmp"))
    Path("slides/b.tif").unlink()
    write_slide(Path("slides/b.tif"), 1)
    assert main(words) == 0
    assert capsys.readouterr().out == "2 slides tiled, 1 of them before: 24 tiles in tiles\n"


def test_a_slide_without_tissue_is_warned_of(capsys) -> None:
    write_slide(Path("slides/a.tif"))
    assert main(("tile", "slides", "--out", "tiles", "--tile-size", "32", "--threshold", "255", "--quiet")) == 0
    printed = capsys.readouterr()
    assert printed.out == "1 slide tiled: 0 tiles in tiles\n"
    assert printed.err.startswith("warning: slides/a.tif: no tile of 30 holds tissue; lower threshold or least_tissue\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere", "--out", "tiles"), "nowhere does not exist; give a folder of whole slides, or one slide"),
        (("empty", "--out", "tiles"), "empty holds no slides; expected .svs, .tif"),
        (("slides", "--out", "slides/a.tif"), "--out slides/a.tif is a file; give a folder"),
        (("slides", "--out", "tiles", "--tissue", "edge"), "unknown tissue filter 'edge'; did you mean 'edges'?"),
        (("slides", "--out", "tiles", "--format", "png"), "unknown format of tiles 'png'"),
        (
            ("slides", "--out", "tiles", "--mpp", "1", "--downsample", "2"),
            "mpp=1 and downsample=2 both say how large tissue appears; give one",
        ),
        (("slides", "--out", "tiles", "--tile-size", "0"), "tile_size=0 must be at least 1"),
        (("slides", "--out", "tiles", "--threshold", "nan"), "Invalid value for '--threshold'"),
        (("slides",), "Missing option '--out'"),
    ],
)
def test_one_line_and_nothing_written(capsys, words: tuple[str, ...], message: str) -> None:
    Path("empty").mkdir()
    write_slide(Path("slides/a.tif"))
    assert main(("tile", *words)) == 2
    assert told(capsys).startswith(f"error: {message}")
    assert not Path("tiles").exists()


def test_another_tiling_of_the_same_folder_is_refused(capsys) -> None:
    write_slide(Path("slides/a.tif"))
    assert main(("tile", "slides", "--out", "tiles", "--tile-size", "32", "--quiet")) == 0
    capsys.readouterr()
    assert main(("tile", "slides", "--out", "tiles", "--tile-size", "16", "--quiet")) == 2
    assert told(capsys).startswith(
        "error: tiles/a was tiled with tile_size=32, not 16; choose another folder for tiles, or remove that one"
    )


def test_without_openslide_the_command_says_how_to_get_it(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    write_slide(Path("slides/a.tif"))
    monkeypatch.setitem(sys.modules, "openslide", None)
    assert main(("tile", "slides", "--out", "tiles", "--quiet")) == 2
    assert told(capsys) == 'error: reading slides needs OpenSlide; install it: python -m pip install "noisy-label-benchmark[wsi]"\n'
    assert not Path("tiles").exists()
