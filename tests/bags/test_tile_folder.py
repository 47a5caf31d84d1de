import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.bags import tile_folder
from benchmark.bags.tile_folder import load_tiles, tile_layout
from benchmark.errors import BenchmarkError


def save(file: Path, value: int, size: tuple[int, int] = (6, 4)) -> Path:
    """A tile of one colour: red is the value, green 0, blue 255."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((*size[::-1], 3), dtype=np.uint8)
    pixels[:, :, 0], pixels[:, :, 2] = value, 255
    Image.fromarray(pixels).save(file, **({"quality": 95, "subsampling": 0} if file.suffix in (".jpeg", ".jpg") else {}))
    return file


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    for name, value in (("train/n1/10_0", 30), ("train/n1/2_0", 10), ("train/n1/2_1", 40), ("val/t1/0_0", 50), ("test/t2/3_4", 60)):
        save(tmp_path / f"{name}.png", value)
    (tmp_path / "labels.csv").write_text("slide,label\nt1,1\nn1,0\nt2,1\n")
    return tmp_path


def test_parts_order_positions_and_pixels(tiles: Path) -> None:
    found = load_tiles(tile_layout(tiles))
    assert found.names == ("t2", "n1", "t1") and found.labels.tolist() == [1, 0, 1] and found.split.tolist() == [2, 0, 1]
    assert found.offsets.tolist() == [0, 1, 4, 5] and found.positions.tolist() == [[3, 4], [2, 0], [10, 0], [2, 1], [0, 0]]
    assert found.tiles.shape == (5, 4, 6, 3) and found.tiles.dtype == np.uint8
    assert found.tiles[:, 0, 0].tolist() == [[value, 0, 255] for value in (60, 10, 30, 40, 50)]  # RGB, row by row
    assert found.tile_names[1:3] == ("train/n1/2_0.png", "train/n1/10_0.png") and found.tile_labels is None and found.groups is None


def test_folders_of_slides_without_parts(tiles: Path) -> None:
    for part, slide in (("train", "n1"), ("val", "t1"), ("test", "t2")):
        (tiles / part / slide).rename(tiles / slide)
        (tiles / part).rmdir()
    assert tile_layout(tiles).names == ("n1", "t1", "t2") and tile_layout(tiles).splits is None
    (tiles / "labels.csv").write_text("slide_id,label,split,case_id\nn1.svs,0,training,p1\nt1.svs,1,valid,p2\nt2.svs,1,testing,p3\n")
    found = load_tiles(tile_layout(tiles))
    assert found.split.tolist() == [0, 1, 2] and found.groups.tolist() == [0, 1, 2]


def test_labels_without_a_header(tiles: Path) -> None:
    (tiles / "labels.csv").write_text("t1,tumor\nn1,normal\nt2,tumor\n")
    assert tile_layout(tiles, "labels.csv").labels == (1, 0, 1)


def test_truth_in_the_name_and_endings_that_are_cut_off_whole(tmp_path: Path) -> None:
    """``"jpeg_slide/1_2_1.jpeg".strip(".jpeg")`` would eat into names."""
    save(tmp_path / "train/jpeg_gepj/1_2_1.jpeg", 10)
    save(tmp_path / "train/jpeg_gepj/-1_2_0.jpg", 20)
    save(tmp_path / "train/jpeg_gepj/5_2_-1.JPEG", 25)
    save(tmp_path / "train/n/0_0.jpeg", 30)
    (tmp_path / "labels.csv").write_text("slide,label\njpeg_gepj,1\nn,0\n")
    found = load_tiles(tile_layout(tmp_path))
    assert found.names == ("jpeg_gepj", "n") and found.positions.tolist() == [[-1, 2], [1, 2], [5, 2], [0, 0]]
    assert found.tile_labels.tolist() == [0, 1, -1, -1]


def test_image_size_makes_tiles_fit(tiles: Path) -> None:
    save(tiles / "val/t1/0_0.png", 50, (9, 9))
    with pytest.raises(
        BenchmarkError, match=r"tiles differ in size \(test/t2/3_4\.png is 6×4, val/t1/0_0\.png is 9×9 pixels\); set image_size"
    ):
        load_tiles(tile_layout(tiles))
    assert load_tiles(tile_layout(tiles), 3).tiles.shape == (5, 3, 3, 3)


def test_grey_files_become_rgb(tiles: Path) -> None:
    Image.fromarray(np.full((4, 6), 77, dtype=np.uint8)).save(tiles / "val/t1/0_0.png")
    assert load_tiles(tile_layout(tiles)).tiles[-1, 0, 0].tolist() == [77, 77, 77]


def test_decoded_once_into_a_cache(tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("cache")
    told: list[str] = []
    listing = tile_layout(tiles)
    found = load_tiles(listing, root=root, report=lambda text, done, total: told.append(text))
    again = load_tiles(listing, root=root)
    plain = load_tiles(listing)
    assert isinstance(found.tiles, np.memmap) and told
    assert np.array_equal(found.tiles, plain.tiles) and np.array_equal(again.tiles, plain.tiles)
    assert np.array_equal(found.positions, plain.positions) and found.tile_names == plain.tile_names


def test_archives_of_tiles(tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (tiles / "val/t1/0_0.png").unlink()
    archive = tiles / "val/t1/tiles.npz"
    pixels = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    np.savez(archive, tiles=pixels, positions=np.array([[1, 2], [3, 4]]), tile_labels=np.array([1, 0]))
    for root in (None, tmp_path_factory.mktemp("cache")):
        found = load_tiles(tile_layout(tiles), root=root)
        assert np.array_equal(found.tiles[-2:], pixels) and found.positions[-2:].tolist() == [[1, 2], [3, 4]]
        assert found.tile_labels.tolist() == [-1, -1, -1, -1, 1, 0] and found.tile_names is None
    with pytest.raises(BenchmarkError, match=r"tiles\.npz holds tiles of 6×4 pixels, which are kept as they are; leave image_size out"):
        load_tiles(tile_layout(tiles), 5)
    np.savez(archive, tiles=pixels[:, :, :, 0], positions=np.zeros((2, 2)))
    with pytest.raises(BenchmarkError, match=r"tiles\.npz holds tiles \(2, 4, 6\) uint8"):
        load_tiles(tile_layout(tiles))
    np.savez(archive, tiles=pixels[:0], positions=np.zeros((0, 2)))
    with pytest.raises(BenchmarkError, match=r"tiles\.npz holds no tiles"):
        load_tiles(tile_layout(tiles))
    np.savez(archive, tiles=pixels)
    with pytest.raises(BenchmarkError, match=r"tiles\.npz cannot be read: .*positions"):
        load_tiles(tile_layout(tiles))
    archive.write_bytes(b"broken")
    with pytest.raises(BenchmarkError, match=r"tiles\.npz cannot be read: it is no npz archive"):
        load_tiles(tile_layout(tiles))


def test_archives_are_unpacked_once(tiles: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path_factory.mktemp("cache")
    (tiles / "val/t1/0_0.png").unlink()
    archive = tiles / "val/t1/tiles.npz"
    pixels = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    np.savez_compressed(archive, tiles=pixels, positions=np.array([[1, 2], [3, 4]]), tile_labels=np.array([1, 0]))
    told: list[tuple[int, int]] = []
    plain = load_tiles(tile_layout(tiles))
    found = load_tiles(tile_layout(tiles), root=root, report=lambda text, done, total: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)] and len(list(root.glob("bags/*/meta.json"))) == 1
    with monkeypatch.context() as patch:
        patch.setattr(tile_folder, "_archive", lambda *_: pytest.fail("unpacked again"))
        patch.setattr(tile_folder, "_image", lambda *_: pytest.fail("decoded again"))
        again = load_tiles(tile_layout(tiles), root=root)
    for one in (found, again):
        assert isinstance(one.tiles, np.memmap) and not one.tiles.flags.writeable and np.array_equal(one.tiles, plain.tiles)
        assert np.array_equal(one.positions, plain.positions) and one.tile_labels.tolist() == plain.tile_labels.tolist()
        assert np.array_equal(one.offsets, plain.offsets) and one.labels.tolist() == plain.labels.tolist()
    np.savez(archive, tiles=pixels[:1] + 1, positions=np.array([[1, 2]]))
    changed = load_tiles(tile_layout(tiles), root=root)  # in place of the old one, which who has mapped it keeps
    assert np.array_equal(changed.tiles[-1], pixels[0] + 1) and changed.tile_labels is None and np.array_equal(again.tiles, plain.tiles)
    assert len(list(root.glob("bags/*/meta.json"))) == 1


def test_archives_that_do_not_fit_leave_nothing_behind(tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("cache")
    (tiles / "val/t1/0_0.png").unlink()
    archive = tiles / "val/t1/tiles.npz"
    np.savez(archive, tiles=np.zeros((1, 9, 9, 3), dtype=np.uint8), positions=np.zeros((1, 2), dtype=int))
    with pytest.raises(
        BenchmarkError, match=r"differ in size \(test/t2/3_4\.png is 6×4, val/t1/tiles\.npz is 9×9 pixels\); set image_size"
    ):
        load_tiles(tile_layout(tiles), root=root)
    archive.write_bytes(b"broken")
    with pytest.raises(BenchmarkError, match=r"tiles\.npz cannot be read: it is no npz archive"):
        load_tiles(tile_layout(tiles), root=root)
    assert [path.name for path in (root / "bags").iterdir() if path.name != ".lock"] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda base: save(base / "test/n1/0_0.png", 1), "slide 'n1' lies in test and in train; keep it in one"),
        (lambda base: (base / "train/n9").mkdir(), "no tiles of slide 'n9'; expected <split>/<slide>"),
        (lambda base: save(base / "train/n9/0_0.png", 1), r"labels are missing for 'n9'; add them to .*labels\.csv"),
        (
            lambda base: (base / "labels.csv").write_text("slide,label\nt1,1\nn1,0\nt2,1\nt3,1\n"),
            "labels 't3', of which there are no tiles",
        ),
        (lambda base: (base / "labels.csv").write_text("slide,label\nt1,1\nn1,0\nt2,2\n"), "labels must be 0 and 1, .*found 0, 1, 2"),
        (lambda base: (base / "labels.csv").write_text("slide,label\nt1,1\nn1,1\nt2,1\n"), "none of 3 slides is negative"),
        (lambda base: (base / "labels.csv").unlink(), "needs one csv with the columns slide_id and label; none is there"),
        (lambda base: (base / "labels.csv").write_text("slide,truth\nt1,1\n"), "none is there"),
        (lambda base: save(base / "train/n1/tile.png", 1), r"train/n1/tile\.png is not named as a tile; expected <x>_<y>\.jpeg"),
        (lambda base: save(base / "train/n1/1_2_3.png", 1), r"1_2_3\.png is not named as a tile"),
        (lambda base: save(base / "train/n1/1_2_1_1.png", 1), r"1_2_1_1\.png is not named as a tile"),
        (lambda base: save(base / "train/n1/2_0_0.png", 1), r"n1 holds two tiles at x 2, y 0: .*; keep one"),
        (lambda base: save(base / "train/n1/9_9_1.png", 1), "slide 'n1' is negative, but 1 of its tiles are labelled positive"),
        (lambda base: (base / "val/t1/0_0.png").write_bytes(b"no image"), r"val/t1/0_0\.png cannot be read: cannot identify image file"),
    ],
)
def test_what_does_not_fit_gives_one_line(tiles: Path, change, message: str) -> None:
    change(tiles)
    with pytest.raises(BenchmarkError, match=message) as raised:
        load_tiles(tile_layout(tiles))
    assert "\n" not in str(raised.value) and str(tiles) in str(raised.value)


def test_a_named_table_without_its_columns(tiles: Path) -> None:
    (tiles / "mine.csv").write_text("slide,truth\nt1,1\nn1,0\n")
    with pytest.raises(BenchmarkError, match=r"mine\.csv lacks the column label; its first line holds slide,truth"):
        tile_layout(tiles, "mine.csv")


def test_no_tiles_at_all(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="not laid out as expected: it should hold <split>/<slide>/<x>_<y>"):
        tile_layout(tmp_path)


def test_other_folders_are_ignored_aloud(tiles: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tiles / "thumbnails" / "x").mkdir(parents=True)
    (tiles / "train" / "n1" / "Thumbs.db").touch()
    (tiles / "train" / "n1" / ".hidden.png").touch()
    with caplog.at_level(logging.WARNING):
        assert len(tile_layout(tiles)) == 3
    assert "only test, train, val are read; ignored: thumbnails" in caplog.text


def test_links_out_of_the_folder_are_refused(tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = save(tmp_path_factory.mktemp("outside") / "7_7.png", 1)
    link = tiles / "train/n1/7_7.png"
    link.symlink_to(outside)
    with pytest.raises(BenchmarkError, match=r"n1/7_7\.png leads out of"):
        tile_layout(tiles)
    link.unlink()
    (tiles / "train/n2").symlink_to(outside.parent)
    with pytest.raises(BenchmarkError, match="train/n2 leads out of"):
        tile_layout(tiles)


def test_the_fingerprint_follows_files_and_labels(tiles: Path) -> None:
    first = tile_layout(tiles).fingerprint()
    assert tile_layout(tiles).fingerprint() == first
    (tiles / "labels.csv").write_text("slide,label\nt1,0\nn1,1\nt2,1\n")
    swapped = tile_layout(tiles).fingerprint()
    save(tiles / "val/t1/0_0.png", 51, (8, 8))
    assert len({first, swapped, tile_layout(tiles).fingerprint()}) == 3
