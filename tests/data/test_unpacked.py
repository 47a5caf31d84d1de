"""Images unpacked once into a file that runs map: built once, rebuilt when the source differs, never half, in little memory."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmark.data import array_file, unpacked
from benchmark.data.medmnist import MedMnistSet
from benchmark.data.options import DataOptions
from benchmark.data.unpacked import Contents, Unpacked, consecutive, open_unpacked
from benchmark.errors import BenchmarkError

ROOT = Path(__file__).resolve().parents[2]
IMAGES = np.arange(6 * 4 * 4 * 3, dtype=np.uint8).reshape(6, 4, 4, 3)
LABELS, SPLIT = np.array([0, 1, 2, 0, 1, 2]), np.array([0, 0, 0, 0, 1, 2], dtype=np.int8)
HASHES = {"a.npz": "sha256:1"}


def silent(text: str, done: int, total: int) -> None: ...


class Source:
    """Contents in pieces of two images, and how often they were asked for."""

    def __init__(self, images: np.ndarray = IMAGES) -> None:
        self.images, self.opened, self.read = images, 0, 0

    def __call__(self) -> Contents:
        self.opened += 1
        return Contents(self.images.shape, self.pieces(), LABELS[: len(self.images)], SPLIT[: len(self.images)])

    def pieces(self) -> Iterator[tuple[int, np.ndarray]]:
        self.read += 1
        for row in (2, 0, 4):  # in any order
            yield row, self.images[row : row + 2]


def build(folder: Path, source: Any = None, report: Any = silent, hashes: dict[str, str] = HASHES) -> Unpacked:
    return open_unpacked(folder, hashes, source or Source(), report)


def stores(folder: Path) -> list[str]:
    return sorted(child.name for child in (folder / "unpacked").iterdir() if child.name != ".lock")


def same(found: Unpacked, images: np.ndarray = IMAGES) -> bool:
    return bool(np.array_equal(found.images, images) and np.array_equal(found.labels, LABELS) and np.array_equal(found.split, SPLIT))


# ----------------------------------------------------------------------------------------------------- build and open


def test_images_are_unpacked_once(tmp_path: Path) -> None:
    source, told = Source(), []
    folder = tmp_path / "no" / "root"
    first = build(folder, source, lambda *progress: told.append(progress))
    again = build(folder, source, lambda *progress: told.append(progress))
    assert (source.opened, source.read) == (1, 1) and same(first) and same(again)
    assert told == [("unpacking a.npz", 2, 6), ("unpacking a.npz", 4, 6), ("unpacking a.npz", 6, 6)]
    assert isinstance(again.images, np.memmap) and again.images.dtype == np.uint8 and again.labels.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        again.images[0] = 1


def test_what_is_kept(tmp_path: Path) -> None:
    build(tmp_path)
    (name,) = stores(tmp_path)
    store = tmp_path / "unpacked" / name
    assert len(name) == 16 and int(name, 16) >= 0
    assert sorted(file.name for file in store.iterdir()) == ["images.npy", "labels.npz", "meta.json"]
    assert json.loads((store / "meta.json").read_text()) == {"version": 1, "files": HASHES, "shape": [6, 4, 4, 3]}
    assert np.array_equal(np.load(store / "images.npy"), IMAGES)  # any program can read it


def test_labels_that_come_with_the_images(tmp_path: Path) -> None:
    labels = np.full(6, -1)

    def pieces() -> Iterator[tuple[int, np.ndarray]]:
        for row in (4, 0, 2):
            labels[row : row + 2] = LABELS[row : row + 2]
            yield row, IMAGES[row : row + 2]

    assert same(build(tmp_path, lambda: Contents(IMAGES.shape, pieces(), labels, SPLIT)))


def test_views_and_empty_pieces(tmp_path: Path) -> None:
    planes = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)  # as CIFAR has them
    assert not planes.flags.c_contiguous
    chunks = consecutive([planes[:3], planes[:0], planes[3:]], (4, 4, 3))
    assert same(build(tmp_path, lambda: Contents(IMAGES.shape, chunks, LABELS, SPLIT)))


def test_consecutive_gives_grey_images_their_channel() -> None:
    found = list(consecutive([np.zeros((2, 4, 4)), np.ones((1, 4, 4))], (4, 4, 1)))
    assert [(row, images.shape) for row, images in found] == [(0, (2, 4, 4, 1)), (2, (1, 4, 4, 1))]


# ------------------------------------------------------------------------------------------------ changes of the source


def test_another_hash_or_version_takes_the_place_of_the_older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build(tmp_path)
    (before,) = stores(tmp_path)
    second = build(tmp_path, Source(IMAGES + 1), hashes={"a.npz": "sha256:2"})
    (after,) = stores(tmp_path)
    assert before != after and same(second, IMAGES + 1) and same(first)  # still mapped
    monkeypatch.setattr(unpacked, "UNPACKED_VERSION", 2)
    source = Source()
    build(tmp_path, source, hashes={"a.npz": "sha256:2"})
    assert source.read == 1 and stores(tmp_path) != [after] and len(stores(tmp_path)) == 1


def test_other_files_stay(tmp_path: Path) -> None:
    build(tmp_path)
    build(tmp_path, hashes={"b.npz": "sha256:1"})
    build(tmp_path, hashes={"a.npz": "sha256:1", "b.npz": "sha256:1"})
    assert len(stores(tmp_path)) == 3


# ------------------------------------------------------------------------------------------------------- broken builds


@pytest.mark.parametrize("file", ["images.npy", "labels.npz", "meta.json"])
@pytest.mark.parametrize("damage", ["cut", "half", "gone", "empty", "foreign"])
def test_a_damaged_store_is_built_again(tmp_path: Path, file: str, damage: str) -> None:
    build(tmp_path)
    path = tmp_path / "unpacked" / stores(tmp_path)[0] / file
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": content[:-2], "half": content[: len(content) // 2], "empty": b"", "foreign": b"[]"}[damage])
    source = Source()
    assert same(build(tmp_path, source)) and source.read == 1 and len(stores(tmp_path)) == 1


def test_labels_of_another_length_are_not_taken(tmp_path: Path) -> None:
    build(tmp_path)
    np.savez(tmp_path / "unpacked" / stores(tmp_path)[0] / "labels.npz", labels=LABELS[:5], split=SPLIT[:5])
    assert same(build(tmp_path))


@pytest.mark.parametrize("error", [BenchmarkError("a.npz is cut short"), KeyboardInterrupt("stop")])
def test_a_build_that_breaks_off_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def pieces() -> Iterator[tuple[int, np.ndarray]]:
        yield 0, IMAGES[:2]
        raise error

    with pytest.raises(type(error), match=str(error)):
        build(tmp_path, lambda: Contents(IMAGES.shape, pieces(), LABELS, SPLIT))
    assert stores(tmp_path) == []


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"there is no image in .*a\.npz; remove it, so that it is fetched again") as caught:
        build(tmp_path, lambda: Contents((0, 4, 4, 3), iter(()), LABELS[:0], SPLIT[:0]))
    assert str(tmp_path / "a.npz") in str(caught.value) and stores(tmp_path) == []


SCRIPT = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from benchmark.data.medmnist import MedMnistSet
from benchmark.data.options import DataOptions
from benchmark.data.unpacked import Contents, open_unpacked

images = np.arange(6 * 48, dtype=np.uint8).reshape(6, 4, 4, 3)

def contents():
    return Contents(images.shape, pieces(), np.array([0, 1, 2, 0, 1, 2]), np.array([0, 0, 0, 0, 1, 2], dtype=np.int8))

def pieces():
    for row in (0, 2, 4):
        print("piece", row, flush=True)
        time.sleep(0.2)
        yield row, images[row : row + 2]

def report(text, done, total):
    if sys.argv[2] == "die" and done == 4:
        os.kill(os.getpid(), signal.SIGKILL)

open_unpacked(Path(sys.argv[1]), {"a.npz": "sha256:1"}, contents, report)
"""


def start(folder: Path, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, folder, how], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_killed_build_is_not_taken_for_whole(tmp_path: Path) -> None:
    dead = start(tmp_path, "die")
    dead.communicate()
    assert dead.returncode == -signal.SIGKILL
    (left,) = stores(tmp_path)
    assert left.endswith(".tmp")
    source = Source()
    assert same(build(tmp_path, source)) and source.read == 1
    (name,) = stores(tmp_path)
    assert name == left.removesuffix(".tmp")


def test_another_build_removes_what_a_dead_one_left(tmp_path: Path) -> None:
    start(tmp_path, "die").communicate()
    build(tmp_path, hashes={"b.npz": "sha256:1"})
    assert [name for name in stores(tmp_path) if name.endswith(".tmp")] == []


def test_two_processes_build_once(tmp_path: Path) -> None:
    both = [start(tmp_path, "live") for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(said) == ["", "piece 0\npiece 2\npiece 4\n"]
    source = Source()
    assert same(build(tmp_path, source)) and source.opened == 0


def test_two_threads_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.files.WAIT_SECONDS", 0.01)
    source, told, found = Source(), [], []

    def slow(text: str, done: int, total: int) -> None:
        told.append(text)
        time.sleep(0.05)

    builders = [threading.Thread(target=lambda: found.append(build(tmp_path, source, slow))) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert source.read == 1 and len(found) == 2 and all(same(each) for each in found)
    assert f"waiting for another process that unpacks into {tmp_path / 'unpacked'}" in told


# ------------------------------------------------------------------------------------------------------------- the disk


def test_a_disk_that_is_too_small_is_told_before_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_file.shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**20))
    source = Source()
    with pytest.raises(BenchmarkError, match=r"images need 0\.02 GiB in .*unpacked, where 0\.00 GiB are free; free some") as caught:
        build(tmp_path, lambda: Contents((20, 1000, 1000, 1), source.pieces(), LABELS, SPLIT))
    assert "\n" not in str(caught.value) and source.read == 0 and stores(tmp_path) == []


def test_a_disk_that_fills_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(array_file.os, "pwrite", full)
    with pytest.raises(BenchmarkError, match=r"images need .* choose another --data-root"):
        build(tmp_path)
    assert stores(tmp_path) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "unpacked").write_text("a file is in the way")
    with pytest.raises(BenchmarkError, match=r"cannot keep unpacked images in .*unpacked: .*; choose another --data-root") as caught:
        build(tmp_path)
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------------------------------------------- memory


class Big(MedMnistSet):
    """A set of the official layout whose file this test makes."""

    name, classes = "big", ("a", "b")


def test_unpacking_takes_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """300 MiB of images at 64 px; a quarter of them would be too much."""
    block = (np.arange(64 * 64 * 64 * 3) % 251).astype(np.uint8)
    path = tmp_path / "medmnist" / "big_64.npz"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for part, blocks in (("train", 380), ("val", 10), ("test", 10)):
            with archive.open(f"{part}_images.npy", "w", force_zip64=True) as member:
                header = {"descr": "|u1", "fortran_order": False, "shape": (64 * blocks, 64, 64, 3)}
                np.lib.format.write_array_header_1_0(member, header)
                for _ in range(blocks):
                    member.write(block.data)
            with archive.open(f"{part}_labels.npy", "w") as member:
                np.lib.format.write_array(member, np.zeros((64 * blocks, 1), np.uint8))
    monkeypatch.setattr(Big, "md5", (hashlib.md5(path.read_bytes()).hexdigest(),) * 4, raising=False)
    plugin = Big(options=DataOptions(image_size=64))
    tracemalloc.start()
    try:
        plugin.prepare(tmp_path, silent)
        images = plugin.load(tmp_path).images
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert images.nbytes == 300 * 2**20 and np.array_equal(images[-64:].ravel(), block)
    assert 2**20 < peak < images.nbytes / 4
