"""What a stranger gets wrong: names, values, folders and plugins, through the real command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

RUN = ("run", "--methods", "works", "--baseline", "none")
HSA = ("run", "--methods", "hsa", "--set")


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr; nothing may be on stdout."""
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1, printed.err
    return printed.err


# ------------------------------------------------------------------------------------------------ names, values


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "--methods", "hsa:chaoyng"), "error: unknown preset of hsa 'chaoyng'; did you mean 'chaoyang'"),
        (("run", "--methods", "hsa:hard_rato=3"), "error: unknown parameter of hsa 'hard_rato'; did you mean 'hard_ratio'"),
        ((*RUN, "--datasets", "digits:8"), "error: digits takes no argument, so 'digits:8' cannot be read"),
        ((*RUN, "--datasets", "digits:size=8"), "error: unknown parameter of digits 'size'; did you mean 'image_size'?"),
        ((*RUN, "--noise", "symmetric:rte=0.1"), "error: unknown parameter of symmetric 'rte'; did you mean 'rate'"),
        ((*RUN, "--set", "protocol.backbone=resnet1"), "error: unknown protocol.backbone 'resnet1'; did you mean 'resnet18'"),
        ((*RUN, "--set", "protocol.augmentation=crop+flop"), "error: unknown protocol.augmentation 'flop'; did you mean 'flip'"),
        ((*RUN, "--set", "protocol.backbne=cnn9"), "error: unknown parameter of protocol 'backbne'; did you mean 'backbone'"),
        ((*RUN, "--set", "works"), "error: --set 'works': write plugin.parameter=value"),
        ((*HSA, "hsa.hard_ratio=[1,two]"), "error: hsa.hard_ratio: 'two' is not a number"),
        ((*HSA, "hsa.hard_ratio=[1,900]"), "error: hsa.hard_ratio = 900.0 is outside [0.1, 5]"),
        ((*HSA, "hsa.hard_ratio=[1,2"), "error: hsa.hard_ratio: '[1,2' is not a number"),
        ((*RUN, "--epochs", "x"), "error: Invalid value for '--epochs'"),
        ((*RUN, "--epochs", "-1"), "error: protocol.epochs = -1 is outside"),
        ((*RUN, "--seeds", "x"), "error: --seeds 'x': 'x' is neither a seed nor a range"),
        ((*RUN, "--threads", "0"), "error: --threads 0 is not a number of CPU threads from 1 on, or auto"),
        ((*RUN, "--threads", "two"), "error: --threads two is not a number of CPU threads from 1 on, or auto"),
        ((*RUN, "--timeout", "nan"), "error: Invalid value for '--timeout'"),
        ((*RUN, "--noise", "-0.1"), "error: symmetric.rate = -0.1 is outside [0, 1)"),
        ((*RUN, "--noise", "1"), "error: symmetric.rate = 1.0 is outside [0, 1)"),
        ((*RUN, "--noise", "nan"), "error: unknown noise 'nan'"),
        ((*RUN, "--noise", "pairflip:nan"), "error: pairflip.rate: 'nan' is not a number"),
        (("show", "0123456789abcdef"), "error: runs folder runs does not exist"),
        (("show", "0123456789ABCDEF"), "error: unknown name '0123456789ABCDEF'"),
        (("rescore", "--runs", "nowhere"), "error: runs folder nowhere does not exist"),
        (("sync", "--runs", "nowhere"), "error: runs folder nowhere does not exist"),
        (("report", "--runs", "toys/toys.py"), "error: runs folder toys/toys.py is no folder"),
        (("worker", "0" * 16, "--runs", "nowhere"), f"error: no run {'0' * 16} in nowhere; check --runs DIR"),
        (("stat",), "error: No such command 'stat'. Did you mean 'status'?"),
    ],
)
def test_one_line_and_nothing_written(bench, tmp_path: Path, capsys, words: tuple[str, ...], message: str) -> None:
    assert bench(*words) == 2
    assert told(capsys).startswith(message)
    assert [path.name for path in tmp_path.iterdir()] == ["toys"]


@pytest.mark.parametrize(
    ("cards", "words", "message"),
    [
        (0, ("--gpus", "7"), "error: --gpus 7: this machine has 0 GPUs; see: python -m benchmark doctor"),
        (2, ("--gpus", "1,7"), "error: --gpus 1,7: there is no GPU 7, this machine has 0 to 1"),
        (1, ("--gpus", "0", "--device", "cpu"), "error: --gpus deals the runs over GPUs itself and --device cpu says otherwise"),
        (0, ("--device", "cuda"), "error: --device cuda: this machine has 0 GPUs; see: python -m benchmark doctor"),
        (1, ("--device", "cuda:3"), "error: --device cuda:3: this machine has 1 GPUs"),
    ],
)
def test_a_gpu_that_is_not_there_fails_no_cell(bench, tmp_path: Path, capsys, monkeypatch, cards, words, message) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    device = () if "--device" in words else ("--device", "auto")
    assert bench(*RUN, *device, *words, "--dry-run") == 0  # a plan may be looked at anywhere
    capsys.readouterr()
    assert bench(*RUN, *device, *words, "--quiet") == 2
    assert told(capsys).startswith(message)
    assert [path.name for path in tmp_path.iterdir()] == ["toys"]


def test_names_of_what_has_results(bench, capsys) -> None:
    assert bench(*RUN, "--quiet") == 0
    capsys.readouterr()
    for words, message in (
        (("--methods", "wroks"), "error: unknown method 'wroks'; did you mean 'works'"),
        (("--datasets", "toi"), "error: unknown dataset 'toi'; did you mean 'toy'"),
        (("--noise", "symetric"), "error: unknown noise 'symetric'; did you mean 'symmetric'"),
        (("--seeds", "99"), "error: unknown seed '99'; known: 0"),
        (("--baseline", "wroks"), "error: unknown --baseline 'wroks'; did you mean 'works'"),
        (("--rank-by", "accuracy"), "error: unknown metric 'accuracy'"),
        (("--format", "htm"), "error: unknown --format 'htm'; known: csv, json, latex, md, table"),
    ):
        assert bench("report", *words) == 2
        assert told(capsys).startswith(message)
    assert bench("report", "--baseline", "works") == 0


# ------------------------------------------------------------------------------------------------------- noise


def test_noise_that_no_method_can_see_through_runs_without_a_rank(bench, capsys) -> None:
    noise = ("--datasets", "digits", "--noise", "symmetric:0.95,pairflip:0.6,0.2")
    assert bench(*RUN, *noise, "--format", "json") == 0
    table = json.loads(capsys.readouterr().out)["tasks"]["classification"]["table"]
    assert {row["noise"]: (row["solvable"], row["rank"], row["n"]) for row in table} == {
        "symmetric:0.95": (False, None, 1),
        "pairflip:0.6": (False, None, 1),
        "symmetric:0.2": (True, 1, 1),
    }
    assert bench(*RUN, *noise) == 0
    assert capsys.readouterr().out.count("  unsolvable\n") == 2


def test_noise_on_protected_classes_fails_its_cells_only(bench, capsys) -> None:
    assert bench(*RUN, "--noise", "symmetric:0.2:protect=dark+bright,symmetric:0.2:protect=drak,0.2") == 1
    printed = capsys.readouterr()
    assert "symmetric: a rate above 0 needs at least 2 unprotected classes, but there is 0 of 2; log: " in printed.err
    assert "unknown class in symmetric.protect 'drak'; did you mean 'dark'?" in printed.err
    assert "1 done" not in printed.err and "done     works toy symmetric:0.2 seed 0" in printed.err
    assert "\n works   1" in printed.out


# ------------------------------------------------------------------------------------------------------ folder:


def paint(folder: Path, number: int = 8, side: int = 8, classes: str = "ab") -> Path:
    """Class folders of images, each class of its own brightness."""
    for value, label in enumerate(classes):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for index in range(number):
            Image.new("L", (side, side), 100 * value + index).save(folder / label / f"{index}.png")
    return folder


def listed(folder: Path, header: str = "path,label", more: str = "", rest: str = "") -> None:
    """Images and a csv ``list.csv`` of them."""
    rows = "".join(f"{label}/{index}.png,{label}{rest}\n" for label in "ab" for index in range(8))
    paint(folder).joinpath("list.csv").write_text(f"{header}\n{rows}{more}", encoding="utf-8")


def broken(folder: Path) -> Path:
    paint(folder).joinpath("b", "3.png").write_bytes(b"no image")
    return folder


@pytest.mark.parametrize(
    ("make", "where", "message"),
    [
        (lambda data: data.mkdir(), "data", "data holds no images; expected data/<class>/*.png"),
        (lambda data: paint(data, classes="a"), "data", "data holds only one class ('a'); at least two are needed"),
        (lambda data: None, "data", "data does not exist; write folder:PATH"),
        (listed, "data/lst.csv", "data/lst.csv does not exist"),
        (lambda data: listed(data, "path,lable"), "data/list.csv", "unknown column in data/list.csv 'lable'; did you mean 'label'"),
        (
            lambda data: listed(data, more="a/0.png,a\n"),
            "data/list.csv",
            "data/list.csv, line 18: duplicate path 'a/0.png', first on line 2",
        ),
        (
            lambda data: listed(data, "path,label,clean_label", rest=",A"),
            "data/list.csv",
            "unknown clean_label in data/list.csv 'A'; did you mean 'a'?",
        ),
        (lambda data: listed(data, more="../toys/toys.py,a\n"), "data/list.csv", "data/list.csv, line 18: '../toys/toys.py' lies outside"),
        (paint, "data:image_size=x", "folder.image_size: 'x' is not a whole number"),
        (paint, "data:size=8", "unknown parameter of folder 'size'; did you mean 'image_size'?"),
    ],
)
def test_a_folder_that_cannot_be_read_stops_the_command(bench, tmp_path: Path, capsys, make: Callable, where: str, message: str) -> None:
    make(tmp_path / "data")
    assert bench(*RUN, "--datasets", f"toy,folder:{where}") == 2
    assert told(capsys).startswith(f"error: {message}")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("make", "where", "message"),
    [
        (broken, "data", "cannot read the image data/b/3.png: cannot identify image file 'data/b/3.png'; add skip_bad=true"),
        (lambda data: listed(data, more="a/99.png,a\n"), "data/list.csv", "cannot read the image data/a/99.png: [Errno 2] No such file"),
        (lambda data: paint(paint(data) / "b", 1, 9, "z"), "data", "the images in data differ in size: a/0.png is 8×8, b/z/0.png is 9×9"),
    ],
)
def test_a_folder_that_cannot_be_decoded_stops_the_command_before_its_first_run(
    bench, tmp_path: Path, capsys, make: Callable, where: str, message: str
) -> None:
    make(tmp_path / "data")
    assert bench(*RUN, "--datasets", f"toy,folder:{where}", "--quiet") == 2
    assert told(capsys).startswith(f"error: {message}")
    assert not list((tmp_path / "runs").glob("*/result.json"))


def test_data_that_cannot_be_split_are_refused_before_the_first_run(bench, tmp_path: Path, capsys) -> None:
    paint(tmp_path / "data", 1)
    for datasets in ("folder:data", "folder:data,toy"):
        assert bench(*RUN, "--datasets", datasets, "--quiet") == 2
        assert told(capsys).startswith("error: folder:data: the test part would be empty: 2 samples in 2 classes are too few")
        assert not list(tmp_path.glob("runs/*/log.txt"))


def test_bad_images_left_out_are_told_once(bench, tmp_path: Path, capsys) -> None:
    broken(tmp_path / "data")
    assert bench(*RUN, "--datasets", "folder:data", "--skip-bad", "--seeds", "0-1", "--noise", "none") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert lines == ["warning: left out 1 unreadable of 16 images in data; the first: b/3.png (cannot identify image file 'data/b/3.png')"]


def test_an_image_that_was_mended_is_tried_again(bench, tmp_path: Path, capsys) -> None:
    broken(tmp_path / "data")
    assert bench(*RUN, "--datasets", "folder:data", "--quiet") == 2
    paint(tmp_path / "data")
    assert bench(*RUN, "--datasets", "folder:data", "--quiet") == 0


# ------------------------------------------------------------------------------------------------------ plugins


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[[str, str], str]:
    """Writes a plugin file; returns its path."""

    def write(name: str, text: str) -> str:
        path = tmp_path / "toys" / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


METHOD = '''
from benchmark.api import Method, method
import torch.nn.functional as F
{before}

@method("{name}")
class Mine(Method):
    """Mine."""

    def training_step(self, batch, networks, epoch):
        print("in training")
        return F.cross_entropy(networks[0](batch.images), batch.labels)
'''


def test_a_plugin_that_does_not_parse_stops_only_who_asks_for_it(bench, plugin, capsys) -> None:
    path = plugin("mine", "def (")
    assert bench("run", "--methods", "mine,works", "--plugin", path) == 2
    assert told(capsys).startswith("error: method 'mine' is broken: SyntaxError: invalid syntax (mine.py, line 1)")
    assert bench(*RUN, "--plugin", path, "--quiet") == 0


def test_a_plugin_with_a_name_that_is_taken(bench, plugin, capsys) -> None:
    path = plugin("mine", METHOD.format(name="hsa", before=""))
    assert bench(*RUN, "--plugin", path) == 2
    line = told(capsys)
    assert line.startswith("error: two methods are called 'hsa': ")
    assert "methods/hsa/__init__.py:" in line and f"{path}:" in line and "rename one" in line


@pytest.mark.parametrize("before", ["raise RuntimeError('not\\nnow')", "import sys; sys.exit(5)"])
def test_a_plugin_that_fails_at_import(bench, plugin, tmp_path: Path, capsys, before: str) -> None:
    path = plugin("mine", METHOD.format(name="mine", before=before))
    assert bench("run", "--methods", "mine,works", "--plugin", path) == 2
    assert told(capsys).startswith(f"error: method 'mine' ({path}:")
    assert not (tmp_path / "runs").exists()


def test_what_a_plugin_prints_is_no_result(bench, plugin, capsys) -> None:
    path = plugin("mine", METHOD.format(name="mine", before="print('at import')"))
    assert bench("run", "--methods", "mine", "--baseline", "none", "--plugin", path, "--format", "json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["tasks"]["classification"]["runs"][0]["method"] == "mine"
    assert "at import\n" in printed.err and "in training\n" in printed.err
    for number, words in enumerate((("show",), ("list", "methods", "--check"))):
        path = plugin(f"other{number}", METHOD.format(name=f"other{number}", before="print('at import')"))
        assert bench(words[0], *(words[1:] or (f"other{number}",)), "--plugin", path, "--json") == 0
        printed = capsys.readouterr()
        json.loads(printed.out)
        assert printed.err == "at import\n"
