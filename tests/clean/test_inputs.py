"""What people hand in: each thing is handled, or refused in one line that names the file."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.api import Arrays
from benchmark.clean.limits import refuse_unfit
from benchmark.data.options import DataOptions
from benchmark.errors import BenchmarkError
from benchmark.params import resolve
from benchmark.registry import Registry
from benchmark.splits import split_indices

FOLDER = Registry().load("dataset", "folder")


def dataset(path: Path, image_size: int = 0, **params: object):  # type: ignore[no-untyped-def]
    return FOLDER(resolve(FOLDER.Params, {"path": str(path), **params}, "folder"), DataOptions(image_size=image_size))


@pytest.fixture
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Arrays]:
    cache = tmp_path_factory.mktemp("cache")
    return lambda path, **more: dataset(path, **more).load(cache)


def paint(file: Path, value: int | tuple[int, ...] = 9, size: tuple[int, int] = (6, 6), mode: str = "L") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(file)
    return file


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for label, value in (("ant", 10), ("cat", 20)):
        for number in range(2):
            paint(tmp_path / "tree" / label / f"{number}.png", value + number)
    return tmp_path / "tree"


def refused(load: Callable[..., Arrays], path: Path, message: str, **more: object) -> None:
    with pytest.raises(BenchmarkError, match=message) as caught:
        load(path, **more)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


def png(width: int, height: int, depth: int, kind: int, rows: bytes) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# ---------------------------------------------------------------------------------------------------------- images


def test_transparent_palettes_and_deep_colour(tree: Path, load: Callable[..., Arrays]) -> None:
    palette = Image.new("P", (6, 6), 0)
    palette.putpalette([10, 20, 30] * 256)
    palette.save(tree / "ant" / "2.png", transparency=0)
    palette.save(tree / "ant" / "3.png", transparency=bytes([0, 128, 255]))
    (tree / "ant" / "4.png").write_bytes(png(6, 6, 16, 2, (b"\0" + b"\x46\xff" * 18) * 6))
    images = load(tree).images
    assert images[2:5, 0, 0].tolist() == [[10, 20, 30], [10, 20, 30], [70, 70, 70]]


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "the file is empty"), (b"<html>", "cannot identify image file"), (b"\x89PNG\r\n\x1a\n", "")]
)
def test_no_images(tree: Path, load: Callable[..., Arrays], content: bytes, reason: str) -> None:
    (tree / "ant" / "1.png").write_bytes(content)
    refused(load, tree, rf"cannot read the image .*ant/1\.png: .*{reason}.*skip_bad=true")
    assert load(tree, skip_bad=True).paths == ("ant/0.png", "cat/0.png", "cat/1.png")


def test_truncated_jpeg(tree: Path, load: Callable[..., Arrays], tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99, 3)).astype(np.uint8)).save(whole, "JPEG")
    (tree / "ant" / "2.jpg").write_bytes(whole.getvalue()[:-2000])
    refused(load, tree, r"ant/2\.jpg: image file is truncated", image_size=6)
    data = dataset(tree, image_size=6, skip_bad=True)
    assert len(data.load(tmp_path / "cache").images) == 4
    ((name, reason),) = data.left_out(tmp_path / "cache").items()
    assert name == "ant/2.jpg" and reason.startswith("image file is truncated")
    assert dataset(tree, image_size=5, skip_bad=True).left_out(tmp_path / "cache") == {}  # not read yet


def test_a_bomb_is_refused_and_a_large_image_is_not(tree: Path, load: Callable[..., Arrays], recwarn: pytest.WarningsRecorder) -> None:
    (tree / "ant" / "2.png").write_bytes(png(20_000, 20_000, 1, 0, b"\0"))
    refused(load, tree, r"ant/2\.png: Image size \(400000000 pixels\) exceeds limit.*skip_bad=true", image_size=6)
    (tree / "ant" / "2.png").write_bytes(png(10_000, 10_000, 1, 0, b"\0" * (1251 * 10_000)))
    assert load(tree, image_size=6).images.shape == (5, 6, 6, 1)
    assert not [warning for warning in recwarn if issubclass(warning.category, Image.DecompressionBombWarning)]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tree: Path, load: Callable[..., Arrays]) -> None:
    os.mkfifo(tree / "ant" / "2.png")
    refused(load, tree, r"ant/2\.png: it is no regular file")


# ----------------------------------------------------------------------------------------------------------- names


def test_names_of_any_script_and_length(tree: Path, load: Callable[..., Arrays]) -> None:
    paint(tree / "Krämer 癌" / "é😀\u202e.PNG")
    paint(tree / ("c" * 200) / ("x" * 200 + ".png"))
    paint(tree / "=cmd()" / " ,;.png")
    paint(tree / "ANT" / "deep" / "er" / "0.PNG")
    arrays = load(tree)
    assert arrays.classes == ("=cmd()", "ANT", "Krämer 癌", "ant", "cat", "c" * 200)
    assert {"Krämer 癌/é😀\u202e.PNG", "=cmd()/ ,;.png", "ANT/deep/er/0.PNG"} < set(arrays.paths or ())


@pytest.mark.parametrize(("name", "shown"), [(b"a\xff.png", r"a\\udcff"), (b"a\nb.png", r"a\\nb"), (b"a\x1b[31m.png", r"a\\x1b")])
def test_names_that_nothing_can_hold(tree: Path, load: Callable[..., Arrays], name: bytes, shown: str) -> None:
    try:
        (tree / "ant" / os.fsdecode(name)).write_bytes((tree / "ant" / "0.png").read_bytes())
    except OSError:
        pytest.skip("this file system has no such names")
    refused(load, tree, rf"tree: the name 'ant/{shown}.*rename it")


def test_hidden_and_foreign_files(tree: Path, load: Callable[..., Arrays], caplog: pytest.LogCaptureFixture) -> None:
    for name in (".DS_Store", "Thumbs.db", "._0.png", ".x.png", "notes.txt", "slide.svs", "x.svg"):
        (tree / "ant" / name).write_bytes(b"x")
    (tree / "__MACOSX" / "ant").mkdir(parents=True)
    (tree / "__MACOSX" / "ant" / "._0.png").write_bytes(b"x")
    paint(tree / ".git" / "0.png")
    paint(tree / "ant" / ".thumbs" / "0.png")
    paint(tree / "stray.png")
    assert load(tree).paths == ("ant/0.png", "ant/1.png", "cat/0.png", "cat/1.png")
    assert "1 images lie beside the class folders and are left out; the first: 'stray.png'" in caplog.text


@pytest.mark.parametrize("name", ["data.npz", "data.zip", "0.png"])
def test_a_file_in_the_place_of_a_folder(tmp_path: Path, load: Callable[..., Arrays], name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    refused(load, tmp_path / name, f"{name} is neither a folder nor a .csv file")


# ----------------------------------------------------------------------------------------------------------- links


def test_links_that_leave_the_folder(tree: Path, load: Callable[..., Arrays]) -> None:
    secret = paint(tree.parent / "out" / "secret.png")
    for link, target in ((tree / "ant" / "deep" / "l.png", secret), (tree / "dog", secret.parent)):
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(target)
        refused(load, tree, rf"{link.name} leads to .*out.*, outside .*tree, the folder that must hold all images")
        link.unlink()
    for part in ("train", "val"):
        for label in "ab":
            paint(tree.parent / "real" / part / label / "0.png")
    (tree.parent / "set").mkdir()
    for part in ("train", "val"):
        (tree.parent / "set" / part).symlink_to(tree.parent / "real" / part)
    refused(load, tree.parent / "set", "train/a leads to .*real/train/a, outside")
    (tree.parent / "elsewhere").symlink_to(tree)  # what the user names may itself be a link
    assert len(load(tree.parent / "elsewhere").images) == 4


def test_links_within_and_loops(tree: Path, load: Callable[..., Arrays], caplog: pytest.LogCaptureFixture) -> None:
    (tree / "ant" / "l.png").symlink_to(tree / "cat" / "0.png")
    (tree / "ant" / "loop").symlink_to(tree / "ant")
    assert load(tree).paths == ("ant/0.png", "ant/1.png", "ant/l.png", "cat/0.png", "cat/1.png")
    assert "loop is a link to a folder inside a class and is not followed" in caplog.text
    (tree / "dog").symlink_to(tree)
    refused(load, tree, r"dog is a link that leads back to .*tree, which holds it; remove the link")
    (tree / "dog").unlink()
    (tree / "ant" / "self.png").symlink_to(tree / "ant" / "self.png")
    refused(load, tree, r"ant/self\.png: .*symbolic links.*skip_bad=true")
    (tree / "ant" / "self.png").unlink()
    (tree / "ant" / "gone.png").symlink_to(tree / "ant" / "none.png")
    refused(load, tree, r"ant/gone\.png: .*No such file.*skip_bad=true")


# ------------------------------------------------------------------------------------------------------------- csv


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffpath;label\r\nant/0.png;x\r\ncat/0.png;y, z\r\n",
        'path\tlabel\n"ant/0.png"\tx\ncat/0.png\ty, z\n',
        'path,label\r"ant/0.png",x\rcat/0.png,"y, z"\r',
        'path;"label"\n\n;\n ant\\0.png ; x \ncat/0.png;"y, z"\n\n',
    ],
)
def test_tables_of_spreadsheets(tree: Path, load: Callable[..., Arrays], text: str) -> None:
    (tree / "list.csv").write_bytes(text.encode())
    arrays = load(tree / "list.csv")
    assert arrays.classes == ("x", "y, z") and arrays.paths == ("ant/0.png", "cat/0.png") and arrays.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path;label\nant/0.png;a,b;c\n", "line 2: 3 fields where the header has 2"),
        ("path,label\nant/0.png,x\nant/0.png,x\ncat/0.png,y\n", r"line 3: duplicate path 'ant/0\.png', first on line 2"),
        ('path,label\nant/0.png,"x\ny"\ncat/0.png,y\n', r"line 3: the name 'x\\ny' holds a line break"),
        (f"path,label\n{'q' * 5000}.png,x\ncat/0.png,y\n", r"line 2: 'q{80}' is no file: File name too long"),
        ("path,label\nround/0.png,x\ncat/0.png,y\n", r"line 2: 'round/0\.png' is no file: links that lead in a circle"),
        (f"path,label\nant/0.png,{'x' * 200_000}\n", "cannot be read as csv: field larger"),
        ("path,label\nant,x\ncat/0.png,y\n", "tree/ant: it is no regular file"),
        ("Path,Label\nant/0.png,x\n", "unknown column in .*'Path'; did you mean 'path'"),
    ],
)
def test_unusable_tables(tree: Path, load: Callable[..., Arrays], text: str, message: str) -> None:
    (tree / "round").symlink_to(tree / "round")
    (tree / "list.csv").write_bytes(text.encode())
    refused(load, tree / "list.csv", message)


@pytest.mark.parametrize("content", ["path,label\n".encode("utf-16"), b"PK\x03\x04\xff\xfe", b"path,label\nant/0.png,Kr\xe4mer\n"])
def test_tables_that_are_no_utf8(tree: Path, load: Callable[..., Arrays], content: bytes) -> None:
    (tree / "list.csv").write_bytes(content)
    refused(load, tree / "list.csv", "list.csv is not UTF-8.*save it as UTF-8")


def test_ten_thousand_classes_are_listed(tmp_path: Path) -> None:
    rows = "".join(f"{number}.png,class{number % 10_000}\n" for number in range(20_000))
    (tmp_path / "list.csv").write_text("path,label\n" + rows)
    assert len(dataset(tmp_path / "list.csv").listing(tmp_path).classes()) == 10_000


def test_too_many_classes_are_refused_before_anything_runs() -> None:
    refuse_unfit("x", np.zeros(20), 10, memory=10**9)
    with pytest.raises(BenchmarkError, match=r"x has 19 samples of 10 classes; .*at least 2 a class.*taken for labels"):
        refuse_unfit("x", np.zeros(19), 10)
    with pytest.raises(BenchmarkError, match=r"100000 samples of 10000 classes, .* about 28 GiB of memory and this machine has 16;"):
        refuse_unfit("x", np.zeros(100_000), 10_000, memory=16 * 2**30)
    refuse_unfit("x", np.zeros(100_000), 100, memory=16 * 2**30)
    with pytest.raises(
        BenchmarkError, match=r"x has 19 samples; what is wrong is learnt from a tenth of the labels .*, so give 20 or more"
    ):
        refuse_unfit("x", np.zeros(19), 2)


def test_a_class_with_one_image_is_trained_on_and_nothing_else(tree: Path, load: Callable[..., Arrays]) -> None:
    for number in range(2, 20):
        for label in ("ant", "cat"):
            paint(tree / label / f"{number}.png")
    paint(tree / "solo" / "0.png")
    arrays = load(tree)
    for seed in range(5):
        parts = split_indices(arrays.labels, None, None, test_fraction=0.1, val_fraction=0.1, rng_names=("x", seed))
        assert arrays.classes.index("solo") in arrays.labels[parts["train"]]
