import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmark.data import array_file, store_writer
from benchmark.data.listing import Listing
from benchmark.data.store import open_images
from benchmark.errors import BenchmarkError

ROOT = Path(__file__).resolve().parents[2]


def silent(text: str, done: int, total: int) -> None: ...


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Ten grey 4×4 images of the values 0, 10, … 90."""
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(10):
        Image.new("L", (4, 4), 10 * number).save(folder / f"{number}.png")
    return folder


def listing(files: Path, variant: str = "") -> Listing:
    names = sorted(file.name for file in files.iterdir())
    return Listing(files, files, names, ["a"] * len(names), variant=variant)


def values(images: np.ndarray) -> list[int]:
    return images[:, 0, 0, 0].tolist()


def build(root: Path, files: Path, report=silent, variant: str = "", **settings: object) -> tuple[np.memmap, np.ndarray]:
    wanted = {"image_size": 0, "channels": "auto", "skip_bad": False, **settings}
    return open_images(root, listing(files, variant), report=report, **wanted)


def stores(root: Path) -> list[str]:
    return sorted(child.name for child in (root / "images").iterdir() if child.suffix != ".lock")


@pytest.fixture
def decoding(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are decoded, as it happens."""
    decoded: list[str] = []

    def read_pixels(file: str, *more: object) -> np.ndarray:
        decoded.append(Path(file).name)
        return real(file, *more)

    real = store_writer.read_pixels
    monkeypatch.setattr(store_writer, "read_pixels", read_pixels)
    return decoded


# ----------------------------------------------------------------------------------------------------- build and open


def test_images_are_decoded_once(tmp_path: Path, files: Path, decoding: list[str]) -> None:
    images, kept = build(tmp_path / "no" / "root", files)
    assert isinstance(images, np.memmap) and images.dtype == np.uint8 and images.shape == (10, 4, 4, 1)
    assert values(images) == list(range(0, 100, 10)) and kept.tolist() == list(range(10)) and kept.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 1
    again, _ = build(tmp_path / "no" / "root", files)
    assert len(decoding) == 10 and np.array_equal(images, again)


def test_what_a_store_keeps(tmp_path: Path, files: Path) -> None:
    build(tmp_path, files, image_size=2)
    (name,) = stores(tmp_path)
    assert len(name) == 16 and int(name, 16) >= 0
    assert sorted(file.name for file in (tmp_path / "images" / name).iterdir()) == ["images.npy", "meta.json"]
    meta = json.loads((tmp_path / "images" / name / "meta.json").read_text())
    assert meta["shape"] == [10, 2, 2, 1] and meta["source"] == str(files) and meta["left_out"] == [] and meta["pillow"]
    assert np.load(tmp_path / "images" / name / "images.npy").shape == (10, 2, 2, 1)


def test_progress_reaches_the_end(tmp_path: Path, files: Path) -> None:
    told: list[tuple[str, int, int]] = []
    build(tmp_path, files, report=lambda *state: told.append(state))
    assert told == [(f"reading headers in {files}", 10, 10), (f"decoding images in {files}", 10, 10)]


def test_pieces_lie_in_order(tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_writer, "MOST_IN_PIECE", 3)
    assert values(build(tmp_path, files)[0]) == list(range(0, 100, 10))
    monkeypatch.setattr(store_writer, "PIECE_BYTES", 1)  # less than an image
    assert values(build(tmp_path, files, image_size=3)[0]) == list(range(0, 100, 10))


def test_an_image_larger_than_the_budget_is_decoded_alone(tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_writer, "DECODING_PIXELS", 1)
    monkeypatch.setattr(store_writer, "MOST_IN_PIECE", 1)
    assert values(build(tmp_path, files)[0]) == list(range(0, 100, 10))


def test_unreadable_images_leave_no_gap(
    tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store_writer, "MOST_IN_PIECE", 3)
    (files / "0.png").write_bytes(b"no image")  # refused by its header
    for number in (2, 3, 9):  # only by its pixels
        (files / f"{number}.png").write_bytes((files / f"{number}.png").read_bytes()[:-25])
    for _ in range(2):  # built, and opened
        caplog.clear()
        images, kept = build(tmp_path, files, skip_bad=True)
        assert kept.tolist() == [1, 4, 5, 6, 7, 8] and values(images) == [10, 40, 50, 60, 70, 80]
        assert images.shape == (6, 4, 4, 1)
        assert "left out 4 unreadable of 10 images" in caplog.text and "first: 0.png" in caplog.text


def test_a_failing_disk_is_no_bad_image(tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> np.ndarray:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(store_writer, "read_pixels", fail)
    with pytest.raises(BenchmarkError, match=r"cannot read the image .*0\.png: .*Input/output error$"):
        build(tmp_path, files, skip_bad=True)
    assert stores(tmp_path) == []


# ------------------------------------------------------------------------------------------------- changes of the source


def test_a_changed_source_takes_the_place_of_the_older_store(tmp_path: Path, files: Path) -> None:
    first, _ = build(tmp_path, files)
    (before,) = stores(tmp_path)
    Image.new("L", (4, 4), 200).save(files / "0.png")
    os.utime(files / "0.png", ns=(1, 1))
    second, _ = build(tmp_path, files)
    (after,) = stores(tmp_path)
    assert before != after and values(second)[0] == 200
    assert values(first) == list(range(0, 100, 10))  # still mapped
    assert [file.name for file in (tmp_path / "images").glob("*.lock")] == [f"{after}.lock"]


def test_other_sources_settings_and_variants_stay(tmp_path: Path, files: Path) -> None:
    build(tmp_path, files)
    build(tmp_path, files, image_size=2)
    build(tmp_path, files, channels="3")
    other = tmp_path / "other"
    shutil.copytree(files, other)
    (other / "0.png").unlink()
    build(tmp_path, other)
    (files / "1.png").unlink()
    build(tmp_path, files, variant="fewer")
    assert len(stores(tmp_path)) == 5
    (files / "2.png").unlink()
    build(tmp_path, files)
    assert len(stores(tmp_path)) == 5  # in the place of the first


def test_a_source_that_changes_meanwhile(tmp_path: Path, files: Path) -> None:
    def change(text: str, done: int, total: int) -> None:
        os.utime(files / "0.png", ns=(1, 1))

    with pytest.raises(BenchmarkError, match=r"images in .* changed while they were read; run it again"):
        build(tmp_path, files, report=change)
    assert stores(tmp_path) == []


# ------------------------------------------------------------------------------------------------------- broken builds


@pytest.mark.parametrize("damage", ["cut", "no meta", "half meta", "foreign meta"])
def test_a_damaged_store_is_built_again(tmp_path: Path, files: Path, damage: str) -> None:
    build(tmp_path, files)
    store = tmp_path / "images" / stores(tmp_path)[0]
    if damage == "cut":
        (store / "images.npy").write_bytes((store / "images.npy").read_bytes()[:-1])
    elif damage == "no meta":
        (store / "meta.json").unlink()
    else:
        (store / "meta.json").write_text('{"shape": [10' if damage == "half meta" else "[]")
    assert values(build(tmp_path, files)[0]) == list(range(0, 100, 10))


BUILD = """
import os, signal, sys
from pathlib import Path
from benchmark.data import array_file, store_writer
from benchmark.data.listing import Listing
from benchmark.data.store import open_images

store_writer.MOST_IN_PIECE = 3
files = Path(sys.argv[2])
names = sorted(file.name for file in files.iterdir())

def report(text, done, total):
    if sys.argv[3] == "die" and "decoding" in text and done == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    print(text, flush=True)

open_images(Path(sys.argv[1]), Listing(files, files, names, names), image_size=0, channels="auto", skip_bad=False, report=report)
"""


def start(root: Path, files: Path, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", BUILD, root, files, how], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_killed_build_is_not_taken_for_whole(tmp_path: Path, files: Path) -> None:
    assert start(tmp_path, files, "die").wait() == -signal.SIGKILL
    (left,) = stores(tmp_path)
    assert left.endswith(".tmp")
    assert values(build(tmp_path, files)[0]) == list(range(0, 100, 10))
    assert len(stores(tmp_path)) == 1 and not stores(tmp_path)[0].endswith(".tmp")


def test_a_build_of_another_store_removes_what_dead_ones_left(tmp_path: Path, files: Path) -> None:
    assert start(tmp_path, files, "die").wait() == -signal.SIGKILL
    build(tmp_path, files, image_size=2)
    assert [name for name in stores(tmp_path) if name.endswith(".tmp")] == []


def test_what_a_living_build_writes_is_left_alone(tmp_path: Path, files: Path) -> None:
    waiting, go_on = threading.Event(), threading.Event()

    def hold(text: str, done: int, total: int) -> None:
        waiting.set()
        go_on.wait(20)

    other = threading.Thread(target=build, args=(tmp_path, files), kwargs={"report": hold})
    other.start()
    assert waiting.wait(20)
    build(tmp_path, files, image_size=2)
    go_on.set()
    other.join()
    assert len(stores(tmp_path)) == 2 and not any(name.endswith(".tmp") for name in stores(tmp_path))


def test_two_builders_build_once(tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch, decoding: list[str]) -> None:
    monkeypatch.setattr("benchmark.files.WAIT_SECONDS", 0.01)
    told: list[str] = []

    def slow(text: str, done: int, total: int) -> None:
        told.append(text)
        time.sleep(0.05)

    builders = [threading.Thread(target=build, args=(tmp_path, files), kwargs={"report": slow}) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert sorted(decoding) == sorted(file.name for file in files.iterdir())
    assert f"waiting for another process that decodes {files}" in told


def test_two_processes_build_once(tmp_path: Path, files: Path) -> None:
    processes = [start(tmp_path, files, "live") for _ in range(2)]
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted("decoding" in text for text in said) == [False, True]
    assert values(build(tmp_path, files)[0]) == list(range(0, 100, 10))


def test_an_interrupted_build_leaves_nothing(tmp_path: Path, files: Path) -> None:
    def interrupt(text: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, files, report=interrupt)
    assert stores(tmp_path) == []


# ------------------------------------------------------------------------------------------------------------- the disk


def test_a_disk_that_is_too_small_is_told_before_decoding(
    tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch, decoding: list[str]
) -> None:
    monkeypatch.setattr(array_file.shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**20))
    with pytest.raises(BenchmarkError, match=r"the images need 0\.02 GiB in .*images, where 0\.00 GiB are free; free some") as caught:
        build(tmp_path, files, image_size=900, channels="3")  # 10 × 900 × 900 × 3 bytes
    assert "\n" not in str(caught.value) and decoding == [] and stores(tmp_path) == []


def test_a_disk_that_fills_up(tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(array_file.os, "pwrite", full)
    with pytest.raises(BenchmarkError, match=r"the images need .* choose another --data-root, or a smaller image_size"):
        build(tmp_path, files)
    assert stores(tmp_path) == []


def test_partial_writes_are_completed(tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(array_file.os, "pwrite", lambda descriptor, data, offset: real(descriptor, data[:7], offset))
    assert values(build(tmp_path, files)[0]) == list(range(0, 100, 10))


def test_a_root_that_cannot_be_written(tmp_path: Path, files: Path) -> None:
    (tmp_path / "images").write_text("a file is in the way")
    with pytest.raises(BenchmarkError, match=r"cannot keep decoded images in .*images: .*; choose another --data-root"):
        build(tmp_path, files)


def test_mixed_sizes_are_refused_before_decoding(
    tmp_path: Path, files: Path, decoding: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    Image.new("L", (8, 4)).save(files / "3.png")
    with caplog.at_level(logging.WARNING), pytest.raises(BenchmarkError, match=r"0\.png is 4×4, 3\.png is 4×8; add image_size=64, say"):
        build(tmp_path, files)
    assert decoding == []
