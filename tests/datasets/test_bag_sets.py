"""The sets of bags: synthetic slides, features in the layouts of others, folders of tiles."""

from __future__ import annotations

import importlib
import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.bags import feature_store
from benchmark.bags.arrays import BagArrays
from benchmark.bags.checks import check_bags
from benchmark.bags.mil_files import list_bags, load_bags
from benchmark.data.options import DataOptions
from benchmark.errors import BenchmarkError
from benchmark.registry import Registry

REGISTRY = Registry()
SLIDES, MIL, TILES = (REGISTRY.load("dataset", name) for name in ("tissue_slides", "mil", "tiles"))


def same(one: BagArrays, other: BagArrays) -> bool:
    """Whether all columns of two sets agree."""
    columns = ("tiles", "offsets", "labels", "split", "groups", "tile_labels", "positions")
    pairs = [(getattr(one, name), getattr(other, name)) for name in columns]
    arrays = all((a is None) == (b is None) and (a is None or np.array_equal(a, b)) for a, b in pairs)
    return arrays and tuple(one.names) == tuple(other.names) and one.classes == other.classes


# ---------------------------------------------------------------------------------------------------------------- slides


def test_slides_are_drawn_as_asked_for(tmp_path: Path) -> None:
    small = SLIDES.Params(n=12, tiles=20, witness_rate=0.1)
    found = SLIDES(small).load(tmp_path / "absent")
    check_bags(found, "tissue_slides")
    assert len(found) == 12 and found.labels.sum() == 6 and found.tiles.shape[1:] == (32, 32, 3)
    tumours = np.add.reduceat(found.tile_labels, found.offsets[:-1])
    assert (tumours[found.labels == 1] == np.maximum(np.rint(0.1 * np.diff(found.offsets)[found.labels == 1]), 1)).all()
    assert same(found, SLIDES(small).load(tmp_path))
    assert not (tmp_path / "absent").exists()
    smaller = SLIDES(small, DataOptions(image_size=16)).load(tmp_path)
    assert smaller.tiles.shape[1:] == (16, 16, 3) and np.array_equal(smaller.tile_labels, found.tile_labels)
    assert np.array_equal(smaller.positions, found.positions)
    other = SLIDES(SLIDES.Params(n=12, tiles=20, witness_rate=0.1, generator_seed=1)).load(tmp_path)
    assert not np.array_equal(other.labels, found.labels) or not np.array_equal(other.offsets, found.offsets)
    plain = SLIDES(SLIDES.Params(n=12, tiles=20, witness_rate=0.1, lookalikes=0.0)).load(tmp_path)
    assert np.array_equal(plain.tile_labels, found.tile_labels) and not np.array_equal(plain.tiles, found.tiles)


def test_a_new_draw_is_a_new_version() -> None:
    tissue = REGISTRY.load("dataset", "tissue").__module__
    assert SLIDES.manifest["version"] == importlib.import_module(f"{tissue}.bags").VERSION


def test_tiles_that_show_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="tissue_slides needs at least 2 slides with 2 tiles of 8 px"):
        SLIDES(None, DataOptions(image_size=7)).load(tmp_path)


# -------------------------------------------------------------------------------------------------------------- features


def write_slides(folder: Path, widths: dict[str, int] | None = None, *, placed: bool = True, truth: bool = True) -> Path:
    """Ten slides of 2 to 5 tiles as npz, half of them tumours, and a csv of labels, parts and patients."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["slide_id,label,split,case_id"]
    for i in range(10):
        name, n = f"s{i}", 2 + i % 4
        columns = {"features": np.arange(n * 4, dtype=np.float32).reshape(n, 4)[:, : (widths or {}).get(name, 4)] + i}
        if placed:
            columns["coords"] = np.stack([np.arange(n), np.full(n, i)], axis=1)
        if truth and i % 2:
            columns["tile_labels"] = np.arange(n) % 2
        np.savez(folder / f"{name}.npz", **columns)
        rows.append(f"{name},{'tumor' if i % 2 else 'normal'},{'test' if i >= 8 else 'train'},p{i}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def mil(path: Path, **params: str) -> BagArrays:
    return MIL(MIL.Params(path=str(path), **params)).load(path.parent / "root")


def stores(path: Path) -> list[Path]:
    return sorted(file for file in (path.parent / "root" / "bags").iterdir() if not file.name.startswith("."))


def test_features_are_joined_once_and_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_slides(tmp_path / "data")
    told: list[tuple[int, int]] = []
    data = MIL(MIL.Params(path=str(path)))
    data.prepare(tmp_path / "root", lambda text, done, total: told.append((done, total)))
    assert told[0] == (0, 10) and told[-1] == (10, 10) and len(stores(path)) == 1
    monkeypatch.setattr(feature_store, "read_slide", lambda file: pytest.fail("read again"))
    found = data.load(tmp_path / "root")
    assert isinstance(found.tiles, np.memmap) and not found.tiles.flags.writeable
    assert same(found, load_bags(list_bags(path)))
    assert found.split.tolist() == [0] * 8 + [2] * 2 and found.classes == ("normal", "tumor") and len(set(found.groups.tolist())) == 10
    assert found.tile_labels[:2].tolist() == [-1, -1] and found.tile_labels[2:5].tolist() == [0, 1, 0]


def test_other_labels_are_another_identity_and_need_no_other_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_slides(tmp_path / "data")
    before, fingerprint = mil(path), MIL(MIL.Params(path=str(path))).fingerprint(tmp_path)
    text = (path / "labels.csv").read_text()
    (path / "labels.csv").write_text(text.replace("s0,normal", "s0,tumor"))
    monkeypatch.setattr(feature_store, "read_slide", lambda file: pytest.fail("read again"))
    after = mil(path)
    assert after.labels[0] == 1 != before.labels[0] and np.array_equal(after.tiles, before.tiles)
    assert MIL(MIL.Params(path=str(path))).fingerprint(tmp_path) != fingerprint


def test_a_changed_file_takes_the_place_of_the_old_copy(tmp_path: Path) -> None:
    path = write_slides(tmp_path / "data")
    old, fingerprint = mil(path), MIL(MIL.Params(path=str(path))).fingerprint(tmp_path)
    (first,) = stores(path)
    np.savez(path / "s0.npz", features=np.full((3, 4), 7, dtype=np.float32))
    os.utime(path / "s0.npz", ns=(1, 1))
    new = mil(path)
    assert new.tiles[:3].tolist() == [[7] * 4] * 3 and new.positions is None and len(new.tiles) == len(old.tiles) + 1
    assert len(stores(path)) == 1 and stores(path) != [first]
    assert MIL(MIL.Params(path=str(path))).fingerprint(tmp_path) != fingerprint
    assert old.tiles[0].tolist() == [0, 1, 2, 3]  # who has mapped the old one keeps it


def test_parts_of_a_folder_have_copies_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "data" / "pt_files").mkdir(parents=True)
    import torch

    for i in range(6):
        torch.save(torch.full((2, 3), float(i)), tmp_path / "data" / "pt_files" / f"s{i}.pt")
    (tmp_path / "data" / "set.csv").write_text("case_id,slide_id,label\n" + "".join(f"p{i},s{i},{i % 2}\n" for i in range(6)))
    for fold, left_out in enumerate((5, 4)):
        kept = [i for i in range(6) if i != left_out]
        rows = [f"s{i},," for i in kept[:3]]
        rows[0], rows[1] = f"s{kept[0]},s{kept[3]},s{kept[4]}", f"s{kept[1]},,"
        (tmp_path / "data" / f"splits_{fold}.csv").write_text("train,val,test\n" + "\n".join(rows) + "\n")
    first, second = (mil(tmp_path / "data", splits=f"splits_{fold}.csv") for fold in range(2))
    assert len(stores(tmp_path / "data")) == 2 and "s5" not in first.names and "s4" not in second.names
    assert [first.tiles[2 * row, 0] for row in range(5)] == [float(name[1]) for name in first.names]


@pytest.mark.parametrize("spoil", ["tiles.npy", "bags.npz", "meta.json"])
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_half_a_copy_is_made_again(tmp_path: Path, spoil: str, how: str) -> None:
    path = write_slides(tmp_path / "data")
    expected = load_bags(list_bags(path))
    mil(path)
    file = stores(path)[0] / spoil
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (file.parent.parent / "dead.0a1b.tmp").mkdir()  # of a process that was killed
    assert same(mil(path), expected) and len(stores(path)) == 1


def test_what_cannot_be_joined_leaves_nothing_behind(tmp_path: Path) -> None:
    path = write_slides(tmp_path / "data", {"s3": 3})
    with pytest.raises(
        BenchmarkError, match=r"tiles of slide 's3' have 3 features where 9 of 10 slides have 4; extract all with one network$"
    ):
        mil(path)
    (write_slides(path) / "s6.npz").write_bytes(b"PK broken")
    with pytest.raises(BenchmarkError, match=r"s6\.npz cannot be read: it is no npz archive$"):
        mil(path)
    np.savez(path / "s6.npz", features=np.full((2, 4), np.nan, dtype=np.float32))
    with pytest.raises(BenchmarkError, match="features of slide 's6' are NaN or infinite, first in its tile 0; extract that slide again"):
        mil(path)
    assert stores(path) == []


def test_positions_that_one_slide_lacks_are_left_out_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_slides(tmp_path / "data")
    np.savez(path / "s2.npz", features=np.zeros((4, 4), dtype=np.float32))
    with caplog.at_level(logging.WARNING):
        assert mil(path).positions is None
    assert "positions are left out, because slide 's2' has none" in caplog.text


def test_a_classic_csv_is_told_from_an_index(tmp_path: Path) -> None:
    (tmp_path / "musk.csv").write_text("1,1,0.5,2\n1,1,1.5,3\n0,2,2.5,4\n0,3,3.5,5\n")
    found = mil(tmp_path / "musk.csv")
    assert found.labels.tolist() == [1, 0, 0] and found.offsets.tolist() == [0, 2, 3, 4] and found.tiles.shape == (4, 2)
    assert same(found, mil(tmp_path / "musk.csv", layout="classic"))
    fingerprint = MIL(MIL.Params(path=str(tmp_path / "musk.csv"))).fingerprint(tmp_path)
    (tmp_path / "musk.csv").write_text("1,1,0.5,2\n0,2,2.5,4\n")
    assert MIL(MIL.Params(path=str(tmp_path / "musk.csv"))).fingerprint(tmp_path) != fingerprint
    base = tmp_path / "c16"
    for slide, folder in (("n1", "0-normal"), ("t1", "1-tumor")):
        (base / folder).mkdir(parents=True)
        (base / folder / f"{slide}.csv").write_text("0,1\n0.5,1.5\n")
    (base / "c16.csv").write_text("0,label\nc16/0-normal/n1.csv,0\nc16/1-tumor/t1.csv,1\n")
    assert same(mil(base / "c16.csv"), mil(base)) and mil(base).names == ("n1", "t1")


@pytest.mark.parametrize("name", ["musk1", "elephant"])
def test_classic_sets(name: str) -> None:
    folder = os.environ.get("BENCHMARK_DATA")
    if not folder or not (Path(folder) / "mil" / f"{name}.csv").is_file():
        pytest.skip("BENCHMARK_DATA names no folder with mil/*.csv")
    found = MIL(MIL.Params(path=str(Path(folder) / "mil" / f"{name}.csv"))).load(Path("unused"))
    assert (len(found), len(found.tiles)) == {"musk1": (92, 476), "elephant": (200, 1391)}[name]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", r"^mil needs a path: write mil:PATH with a folder with h5_files"),
        ("nowhere", r"^nowhere does not exist; write mil:PATH with a folder"),
    ],
)
def test_a_path_is_needed(path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for ask in (lambda data: data.load(tmp_path), lambda data: data.fingerprint(tmp_path)):
        with pytest.raises(BenchmarkError, match=message):
            ask(MIL(MIL.Params(path=path)))


def test_features_have_no_size(tmp_path: Path) -> None:
    path = write_slides(tmp_path / "data")
    with pytest.raises(BenchmarkError, match=r"^mil holds features, which have no image_size=16; leave it out$"):
        MIL(MIL.Params(path=str(path)), DataOptions(image_size=16)).prepare(tmp_path, lambda *words: None)


def test_a_root_that_cannot_be_written(tmp_path: Path) -> None:
    path = write_slides(tmp_path / "data")
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchmarkError, match=r"^cannot keep features in .*; choose another --data-root$"):
        MIL(MIL.Params(path=str(path))).load(tmp_path / "file")


# ----------------------------------------------------------------------------------------------------------------- tiles


def write_tiles(folder: Path, side: int = 8) -> Path:
    for i in range(4):
        for column in range(2 + i % 2):
            file = folder / f"s{i}" / f"{column}_0.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (side, side), (40 * i, 10 * column, 0)).save(file)
    (folder / "labels.csv").write_text("slide_id,label\n" + "".join(f"s{i},{i % 2}\n" for i in range(4)))
    return folder


def test_tiles_are_decoded_once(tmp_path: Path) -> None:
    path = write_tiles(tmp_path / "data")
    data = TILES(TILES.Params(path=str(path)))
    told: list[tuple[int, int]] = []
    data.prepare(tmp_path / "root", lambda text, done, total: told.append((done, total)))
    assert told[-1] == (10, 10)
    found = data.load(tmp_path / "root")
    assert isinstance(found.tiles, np.memmap) and found.tiles.shape == (10, 8, 8, 3) and found.offsets.tolist() == [0, 2, 5, 7, 10]
    assert found.tiles[4, 0, 0].tolist() == [40, 20, 0] and found.positions[4].tolist() == [2, 0] and found.tile_names[4] == "s1/2_0.png"
    half = TILES(TILES.Params(path=str(path)), DataOptions(image_size=4)).load(tmp_path / "root")
    assert half.tiles.shape == (10, 4, 4, 3)
    assert len(list((tmp_path / "root" / "images").glob("*/meta.json"))) == 2


def test_what_tiles_are_and_how_they_may_be_turned(tmp_path: Path) -> None:
    path = write_tiles(tmp_path / "data")
    assert TILES().augmentation == ("flip", "rot90", "color") and TILES(TILES.Params(augment="none")).augmentation == ()
    assert TILES(TILES.Params(augment="flip + rot90")).augmentation == ("flip", "rot90") and not TILES.labels_are_truth
    data = TILES(TILES.Params(path=str(path)))
    before = data.fingerprint(tmp_path)
    os.utime(path / "s0" / "0_0.png", ns=(1, 1))
    assert data.fingerprint(tmp_path) != before


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", r"^tiles needs a path: write tiles:PATH with a folder that holds <split>/<slide>/<x>_<y>\.jpeg and a csv of labels$"),
        ("nowhere", "^nowhere does not exist; write tiles:PATH"),
        ("file", "^file is no folder; write tiles:PATH"),
    ],
)
def test_a_folder_is_needed(path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchmarkError, match=message):
        TILES(TILES.Params(path=path)).fingerprint(tmp_path)


def test_the_copy_says_where_it_comes_from(tmp_path: Path) -> None:
    path = write_slides(tmp_path / "data")
    mil(path)
    meta = json.loads((stores(path)[0] / "meta.json").read_text())
    assert meta["source"] == str(path.resolve()) and meta["shape"] == [33, 4]
