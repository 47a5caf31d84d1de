import csv
import json
import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.bags import tiler
from benchmark.bags.slide_reader import SlideReader, edge_response
from benchmark.bags.tile_folder import load_tiles, tile_layout
from benchmark.bags.tiler import SlideFile, TiledSlide, Tiling, find_slides, tile_slides
from benchmark.errors import BenchmarkError

SIDE = 32
TISSUE = (slice(64, 128), slice(32, 192))
"""Rows and columns of the tissue on a slide of 256 × 320 pixels: at full size tiles (1..5, 2..3), at half size (0..2, 1)."""
KEPT = [(column, row) for row in (2, 3) for column in range(1, 6)]


def draw(shift: int = 0) -> np.ndarray:
    """Pink, grainy tissue on glass."""
    pixels = np.full((256, 320, 3), 244, dtype=np.uint8)
    grain = np.random.default_rng(shift).integers(-40, 40, pixels[TISSUE].shape)
    pixels[TISSUE] = np.clip(np.array([190, 80, 150]) + grain, 0, 255)
    return pixels


def write_slide(file: Path, pixels: np.ndarray, *, levels: int = 3, mpp: float | None = 0.5) -> Path:
    """A tiled pyramid in TIFF, each level half as large as the one before."""
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed; python -m pip install tifffile")
    file.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(file) as writer:
        for level in range(levels):
            step = 2**level
            height, width = pixels.shape[0] // step, pixels.shape[1] // step
            reduced = pixels.reshape(height, step, width, step, 3).mean(axis=(1, 3)).astype(np.uint8)
            resolution = {} if mpp is None else {"resolution": (1e4 / mpp / step,) * 2, "resolutionunit": "CENTIMETER"}
            writer.write(reduced, tile=(64, 64), photometric="rgb", subfiletype=int(level > 0), **resolution)
    return file


def needs_openslide() -> None:
    try:
        pytest.importorskip("openslide", reason="openslide is not installed; python -m pip install openslide-python openslide-bin")
    except OSError as error:
        pytest.skip(f"the library of OpenSlide is missing: {error}")


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    needs_openslide()
    for place, (part, name) in enumerate((("train", "a"), ("train", "b"), ("test", "c"))):
        write_slide(tmp_path / "slides" / part / f"{name}.tif", draw(place))
    return tmp_path / "slides"


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if not file.name.startswith(".")}


# -------------------------------------------------------------------------------------------------------------- reader


def test_tiles_of_the_finest_level_are_the_pixels(tmp_path: Path) -> None:
    needs_openslide()
    pixels = draw()
    with SlideReader(write_slide(tmp_path / "a.tif", pixels), SIDE) as slide:
        assert (slide.columns, slide.rows, slide.level, slide.downsample, slide.mpp) == (10, 8, 0, 1.0, 0.5)
        assert np.array_equal(np.asarray(slide.tile(3, 2)), pixels[64:96, 96:128])


@pytest.mark.parametrize(
    ("wish", "level", "downsample", "grid"),
    [
        ({"mpp": 1.0}, 1, 2.0, (5, 4)),
        ({"downsample": 2}, 1, 2.0, (5, 4)),
        ({"downsample": 1.99}, 1, 1.99, (5, 4)),
        ({"mpp": 2.0}, 2, 4.0, (2, 2)),
        ({"downsample": 3}, 1, 3.0, (3, 2)),
        ({"mpp": 0.49}, 0, 1.0, (10, 8)),
        ({}, 0, 1.0, (10, 8)),
    ],
)
def test_level_and_grid_for_a_resolution(tmp_path: Path, wish: dict, level: int, downsample: float, grid: tuple[int, int]) -> None:
    needs_openslide()
    with SlideReader(write_slide(tmp_path / "a.tif", draw()), SIDE, **wish) as slide:
        assert slide.level == level and slide.downsample == pytest.approx(downsample) and (slide.columns, slide.rows) == grid
        assert slide.mpp == pytest.approx(0.5 * downsample)
        assert slide.tile(0, 0).size == (SIDE, SIDE)


@pytest.mark.parametrize("levels", [1, 3])
def test_a_coarser_tile_shows_the_same_place(tmp_path: Path, levels: int) -> None:
    """With or without the level: the mean colours of its quarters are those of the pixels below."""
    needs_openslide()
    pixels = draw()
    with SlideReader(write_slide(tmp_path / "a.tif", pixels, levels=levels), SIDE, downsample=2) as slide:
        assert slide.level == min(levels - 1, 1)
        tile = np.asarray(slide.tile(1, 1)).astype(float)
    expected = pixels[64:128, 64:128].astype(float)
    for half in range(2):
        for side in range(2):
            found = tile[half * 16 : half * 16 + 16, side * 16 : side * 16 + 16].mean(axis=(0, 1))
            assert np.allclose(found, expected[half * 32 : half * 32 + 32, side * 32 : side * 32 + 32].mean(axis=(0, 1)), atol=2)


@pytest.mark.parametrize("levels", [1, 3])
def test_tissue_by_tile(tmp_path: Path, levels: int) -> None:
    needs_openslide()
    with SlideReader(write_slide(tmp_path / "a.tif", draw(), levels=levels), SIDE) as slide:
        assert np.allclose(slide.tissue(2, 15), [0, 1, 1, 1, 1, 1, 0, 0, 0, 0], atol=0.05)
        assert not slide.tissue(5, 15).any()


def test_edges_of_glass_and_tissue() -> None:
    """Pillow leaves the outermost pixels as they are: 4 * 31 of 1024 at 244 are what glass answers."""
    glass = Image.fromarray(np.full((SIDE, SIDE, 3), 244, dtype=np.uint8))
    assert edge_response(glass) == pytest.approx(244 * 124 / 1024)
    assert edge_response(Image.fromarray(draw()[64:96, 64:96])) > 60


@pytest.mark.parametrize(
    ("levels", "mpp", "wish", "message"),
    [
        (1, None, {"mpp": 1.0}, r"a\.tif does not say how many microns a pixel is; give a downsample instead of mpp"),
        (1, 0.5, {"mpp": 0.25}, r"a\.tif has 0\.5 microns a pixel, too coarse for 0\.25; ask for 0\.5 or more"),
        (1, 0.5, {"downsample": 9}, r"a\.tif is 320×256 pixels, smaller than one tile of 288; lower tile_size or the downsample"),
    ],
)
def test_resolutions_that_a_slide_lacks(tmp_path: Path, levels: int, mpp: float | None, wish: dict, message: str) -> None:
    needs_openslide()
    file = write_slide(tmp_path / "a.tif", draw(), levels=levels, mpp=mpp)
    with pytest.raises(BenchmarkError, match=message):
        SlideReader(file, SIDE, **wish)


def test_files_that_are_no_slides(tmp_path: Path) -> None:
    needs_openslide()
    with pytest.raises(BenchmarkError, match=r"there is no slide .*a\.svs"):
        SlideReader(tmp_path / "a.svs", SIDE)
    Image.fromarray(draw()).save(tmp_path / "a.png")
    with pytest.raises(BenchmarkError, match=r"a\.png cannot be read as a slide"):
        SlideReader(tmp_path / "a.png", SIDE)


def test_without_openslide_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openslide", None)
    message = r'reading slides needs OpenSlide; install it: python -m pip install "noisy-label-benchmark\[wsi\]"$'
    with pytest.raises(BenchmarkError, match=message):
        tile_slides([SlideFile(tmp_path / "a.svs", "a")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --------------------------------------------------------------------------------------------------------------- tiler


def test_slides_become_a_folder_of_tiles(slides: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = tile_slides(find_slides(slides), out, Tiling(SIDE, quality=95))
    assert rows[0] == TiledSlide("c", "test", 10, 8, 10, 1.0, 0.5) and [row.slide for row in rows] == ["c", "a", "b"]
    assert names(out / "train" / "a") == {f"{x}_{y}.jpeg" for x, y in KEPT}
    with (out / "tiling.csv").open() as file:
        table = list(csv.DictReader(file))
    assert table[1] == {"slide": "a", "split": "train", "columns": "10", "rows": "8", "kept": "10", "downsample": "1.0", "mpp": "0.5"}
    (out / "labels.csv").write_text("slide,label\na,1\nb,0\nc,0\n")
    found = load_tiles(tile_layout(out))
    assert found.names == ("c", "a", "b") and found.positions.tolist() == [list(place) for place in KEPT] * 3
    read, drawn = (np.asarray(Image.fromarray(tile).convert("L")).astype(int) for tile in (found.tiles[10], draw(0)[64:96, 32:64]))
    assert np.abs(read - drawn).mean() < 5  # JPEG keeps brightness, and halves the resolution of colours


def test_npz_is_lossless(slides: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    tile_slides(find_slides(slides), out, Tiling(SIDE, format="npz"), workers=3)
    (out / "labels.csv").write_text("slide,label\na,1\nb,0\nc,0\n")
    found = load_tiles(tile_layout(out))
    assert found.positions.tolist() == [list(place) for place in KEPT] * 3
    for tile, (column, row) in zip(found.tiles[10:20], KEPT, strict=True):
        assert np.array_equal(tile, draw(0)[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE])


@pytest.mark.parametrize(("tissue", "kept"), [("edges", 10), ("none", 80), ("saturation", 10)])
def test_filters(slides: Path, tmp_path: Path, tissue: str, kept: int) -> None:
    rows = tile_slides(find_slides(slides)[:1], tmp_path / "out", Tiling(SIDE, tissue=tissue, threshold=45 if tissue == "edges" else 15))
    assert [row.kept for row in rows] == [kept]


def test_at_half_the_resolution(slides: Path, tmp_path: Path) -> None:
    """Of tiles (0..2, 1) the first is half glass."""
    tile_slides(find_slides(slides)[:1], tmp_path / "out", Tiling(SIDE, mpp=1.0))
    assert names(tmp_path / "out/test/c") == {"0_1.jpeg", "1_1.jpeg", "2_1.jpeg"}
    tile_slides(find_slides(slides)[:1], tmp_path / "most", Tiling(SIDE, mpp=1.0, least_tissue=0.75))
    assert names(tmp_path / "most/test/c") == {"1_1.jpeg", "2_1.jpeg"}


def test_a_killed_run_goes_on(slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, todo = tmp_path / "out", find_slides(slides)
    tile = SlideReader.tile

    def killed(self: SlideReader, column: int, row: int) -> Image.Image:
        if self.file.name == "a.tif" and row == 3:
            raise KeyboardInterrupt
        return tile(self, column, row)

    monkeypatch.setattr(SlideReader, "tile", killed)
    with pytest.raises(KeyboardInterrupt):
        tile_slides(todo, out, Tiling(SIDE))
    assert {path.name for path in (out / "train").iterdir()} == set()  # nothing half written
    monkeypatch.setattr(SlideReader, "tile", tile)
    leftover = out / "train" / ".a.12ab34cd.tmp"  # of a run that could not even clean up
    leftover.mkdir()
    (leftover / "1_2.jpeg").touch()
    before = (out / "test/c/1_2.jpeg").stat().st_mtime_ns
    rows = tile_slides(todo, out, Tiling(SIDE))
    assert [(row.slide, row.resumed, row.kept) for row in rows] == [("c", True, 10), ("a", False, 10), ("b", False, 10)]
    assert not leftover.exists() and (out / "test/c/1_2.jpeg").stat().st_mtime_ns == before
    assert all(row.resumed for row in tile_slides(todo, out, Tiling(SIDE)))


def test_a_slide_that_changed_is_tiled_again(slides: Path, tmp_path: Path) -> None:
    out, one = tmp_path / "out", find_slides(slides)[:1]
    tile_slides(one, out, Tiling(SIDE))
    pixels = draw()
    pixels[160:] = pixels[64]
    write_slide(one[0].file, pixels, levels=2)
    assert [(row.resumed, row.kept) for row in tile_slides(one, out, Tiling(SIDE))] == [(False, 25)]
    assert len(names(out / "test/c")) == 25


def test_a_replaced_slide_of_the_same_size_is_tiled_again(slides: Path, tmp_path: Path) -> None:
    out, one = tmp_path / "out", find_slides(slides)[:1]
    tile_slides(one, out, Tiling(SIDE))
    assert tile_slides(one, out, Tiling(SIDE))[0].resumed
    before, size = one[0].file.stat(), (out / "test/c/1_2.jpeg").stat().st_size
    pixels = draw()
    pixels[TISSUE] = (190, 80, 150)
    write_slide(one[0].file, pixels)
    os.utime(one[0].file, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    assert one[0].file.stat().st_size == before.st_size
    assert not tile_slides(one, out, Tiling(SIDE))[0].resumed and (out / "test/c/1_2.jpeg").stat().st_size < size


def test_notes_without_a_time_go_by_the_size(slides: Path, tmp_path: Path) -> None:
    out, one = tmp_path / "out", find_slides(slides)[:1]
    tile_slides(one, out, Tiling(SIDE))
    note = json.loads((out / "test/c/.tiling.json").read_text())
    assert note.pop("mtime_ns") == one[0].file.stat().st_mtime_ns
    (out / "test/c/.tiling.json").write_text(json.dumps(note))
    assert tile_slides(one, out, Tiling(SIDE))[0].resumed
    one[0].file.unlink()  # tiles outlive their slides
    assert tile_slides(one, out, Tiling(SIDE))[0].resumed


def test_a_slide_that_is_gone_is_told_at_the_end(tmp_path: Path) -> None:
    needs_openslide()
    with pytest.raises(BenchmarkError, match=r"1 of 1 slides cannot be tiled.*gone\.tif cannot be read: No such file"):
        tile_slides([SlideFile(tmp_path / "gone.tif", "gone")], tmp_path / "out")


def test_broken_slides_are_told_after_the_others_are_done(slides: Path, tmp_path: Path) -> None:
    (slides / "train/a.tif").write_bytes(b"no slide")
    out = tmp_path / "out"
    with pytest.raises(BenchmarkError, match=r"1 of 3 slides cannot be tiled, the others are done; the first: .*a\.tif cannot be read"):
        tile_slides(find_slides(slides), out, Tiling(SIDE))
    assert names(out / "train") == {"b"} and names(out / "test") == {"c"} and {path.name for path in (out / "train").iterdir()} == {"b"}
    write_slide(slides / "train/a.tif", draw())
    assert [row.resumed for row in tile_slides(find_slides(slides), out, Tiling(SIDE))] == [True, False, True]


def test_a_slide_that_breaks_off_leaves_nothing(slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SlideReader, "tile", lambda self, column, row: self._region(0, 0, 99, -1, -1))
    with pytest.raises(BenchmarkError, match=r"1 of 1 slides cannot be tiled.*c\.tif cannot be read at x 0, y 0"):
        tile_slides(find_slides(slides)[:1], tmp_path / "out", Tiling(SIDE))
    assert list((tmp_path / "out/test").iterdir()) == []


def test_no_tissue_gives_an_empty_slide_and_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    needs_openslide()
    write_slide(tmp_path / "slides/a.tif", np.full((256, 320, 3), 244, dtype=np.uint8))
    out = tmp_path / "out"
    with caplog.at_level(logging.WARNING):
        assert tile_slides(find_slides(tmp_path / "slides"), out, Tiling(SIDE))[0].kept == 0
    assert "no tile of 80 holds tissue; lower threshold or least_tissue" in caplog.text
    (out / "labels.csv").write_text("slide,label\na,1\n")
    with pytest.raises(BenchmarkError, match="no tiles of slide 'a'"):
        tile_layout(out)


def test_another_tiling_of_the_same_folder_is_refused(slides: Path, tmp_path: Path) -> None:
    out, one = tmp_path / "out", find_slides(slides)[:1]
    tile_slides(one, out, Tiling(SIDE))
    with pytest.raises(BenchmarkError, match=r"test/c was tiled with quality=70, not 90; choose another folder for tiles"):
        tile_slides(one, out, Tiling(SIDE, quality=90))
    (out / "test/c/.tiling.json").write_text(json.dumps({"tiling": {}}))
    with pytest.raises(BenchmarkError, match=r"test/c was not written by this tiler"):
        tile_slides(one, out, Tiling(SIDE))


def test_two_runs_do_not_write_to_one_folder(slides: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    out = tmp_path / "out"
    out.mkdir()
    with FileLock(out / tiler.LOCK), pytest.raises(BenchmarkError, match="another run writes tiles to"):
        tile_slides(find_slides(slides), out, Tiling(SIDE))


def test_a_folder_that_cannot_be_written(slides: Path, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(BenchmarkError, match=r"cannot write tiles to .*out: File exists"):
        tile_slides(find_slides(slides), tmp_path / "out", Tiling(SIDE))


def test_progress(slides: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    tile_slides(find_slides(slides), tmp_path / "out", Tiling(SIDE), report=lambda *what: told.append(what))
    assert told == [("tiling c", 0, 3), ("tiling a", 1, 3), ("tiling b", 2, 3)]


# ------------------------------------------------------------------------------------------------------- finding, options


def test_slides_are_found_by_part_or_flat(tmp_path: Path) -> None:
    for name in ("x.svs", "TCGA-1.uuid.svs", "notes.txt", ".hidden.svs"):
        (tmp_path / name).touch()
    assert [(one.slide, one.split) for one in find_slides(tmp_path)] == [("TCGA-1.uuid", ""), ("x", "")]
    for part in ("train", "validation"):
        (tmp_path / part).mkdir()
        (tmp_path / part / f"{part}.ndpi").touch()
    assert [(one.slide, one.split) for one in find_slides(tmp_path)] == [("train", "train"), ("validation", "validation")]
    (tmp_path / "validation/train.svs").touch()
    with pytest.raises(BenchmarkError, match="slide 'train' lies in train and in validation"):
        find_slides(tmp_path)
    with pytest.raises(BenchmarkError, match=r"nothing holds no slides; expected \.svs, \.tif"):
        find_slides(tmp_path / "nothing")


def test_names_stay_inside_the_folder(tmp_path: Path) -> None:
    needs_openslide()
    for one in (SlideFile(tmp_path / "a.tif", "../a"), SlideFile(tmp_path / "a.tif", "a", "/tmp")):
        with pytest.raises(BenchmarkError, match="would be written outside"):
            tile_slides([one], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tissue": "edge"}, "unknown tissue filter 'edge'; did you mean 'edges'"),
        ({"format": "jpg"}, "unknown format of tiles 'jpg'; did you mean 'jpeg'"),
        ({"mpp": 1.0, "downsample": 2.0}, "mpp=1 and downsample=2 both say how large tissue appears; give one"),
        ({"mpp": 0.0}, r"mpp=0\.0 must be above 0"),
        ({"downsample": 0.5}, r"downsample=0\.5 at least 1"),
        ({"tile_size": 0}, "tile_size=0 must be at least 1"),
        ({"least_tissue": 2.0}, "least_tissue=2 in"),
        ({"quality": 0}, r"quality=0 in \[1, 100\]"),
    ],
)
def test_options_that_cannot_be(options: dict, message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        Tiling(**options)
