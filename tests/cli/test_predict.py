"""``predict``: every kind of input, every kind of output, and one line for what cannot be."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.clean import weights
from benchmark.clean.design import Design
from benchmark.cli import main

CLASSES = ("=cat", "dog", 'o"x,')


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three classes whose probabilities follow the brightness: no training needed."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    folder.mkdir()
    design = Design("cnn_small", 1, CLASSES, (8, 8, 1))
    torch.manual_seed(0)
    network = weights._network(design, bf16=False)
    tensors = {f"0.{name}": value for name, value in network.state_dict().items()}
    tensors |= {"scale": torch.full((1,), 1 / 64), "bias": torch.full((1,), -2.0)}
    data = weights.contents(tensors)
    (folder / "weights.safetensors").write_bytes(data)
    card = {"schema": 1, "model": design.to_dict(), "weights": {"sha256": hashlib.sha256(data).hexdigest()}}
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Four images, two of them deeper, one of them in colour, beside a hidden one and a text."""
    folder = tmp_path / "images"
    (folder / "deep" / "er").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.PNG", "deep/c.jpg", "deep/er/=d.png", ".hidden.png")):
        mode = "RGB" if number == 1 else "L"
        Image.new(mode, (9 + number, 8), (60 * number,) * 3 if mode == "RGB" else 60 * number).save(folder / name)
    (folder / "notes.txt").write_text("x")
    return folder


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def call(*words: object) -> int:
    return main(["predict", *map(str, words), "--device", "cpu"])


def test_a_folder_with_a_column_for_each_class(model: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(model, images) == 0
    found, heard = capsys.readouterr()
    table = rows(found)
    assert list(table[0]) == ["path", "class", "probability", "p_=cat", "p_dog", 'p_o"x,'] and heard == ""
    names = [Path(row["path"]).relative_to(images).as_posix() for row in table]
    assert names == ["a.png", "b.PNG", "deep/c.jpg", "deep/er/=d.png"]
    for row in table:
        values = [float(row[f"p_{name}"]) for name in CLASSES]
        assert sum(values) == pytest.approx(1, abs=1e-5) and float(row["probability"]) == max(values)
        assert row["class"].removeprefix("'") == CLASSES[int(np.argmax(values))]


def test_the_numbers_are_the_models(model: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmark.clean.model import load_model

    assert call(model.parent, images / "b.PNG", images / "a.png", "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    expected = load_model(model, device="cpu").predict([images / "b.PNG", images / "a.png"])
    assert [row["path"] for row in found] == [str(images / "b.PNG"), str(images / "a.png")]
    said = [[row["probabilities"][name] for name in CLASSES] for row in found]
    np.testing.assert_allclose(said, expected, rtol=0, atol=1e-6)


def test_no_cell_is_a_formula(
    model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(images / "deep" / "er")
    assert call(model, "=d.png") == 0
    (row,) = csv.reader(io.StringIO(capsys.readouterr().out.split("\n", 1)[1]))
    assert row[0] == "'=d.png" and not any(cell.startswith(("=", "@", "+")) for cell in row)


def test_the_likeliest_classes_only(model: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(model, images, "--top", 2) == 0
    table = rows(capsys.readouterr().out)
    assert list(table[0]) == ["path", "class", "probability", "class_2", "probability_2"]
    assert all(float(row["probability"]) >= float(row["probability_2"]) and row["class"] != row["class_2"] for row in table)
    assert call(model, images, "--top", 9, "--format", "json") == 0
    (first, *_) = json.loads(capsys.readouterr().out)
    values = list(first["probabilities"].values())
    assert len(values) == 3 and values == sorted(values, reverse=True) and first["probability"] == values[0]


def test_a_csv_names_files_beside_it(model: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (images / "list.csv").write_text("who,path\nme,deep/c.jpg\nme,a.png\n")
    assert call(model, images / "list.csv") == 0
    assert [row["path"] for row in rows(capsys.readouterr().out)] == [str(images / "deep/c.jpg"), str(images / "a.png")]


@pytest.mark.parametrize(("name", "first"), [("out.csv", "path,class"), ("out.json", "["), ("out.txt", "path,class")])
def test_a_file_is_written_in_the_format_of_its_name(
    model: Path, images: Path, tmp_path: Path, name: str, first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(model, images, "--out", tmp_path / name) == 0
    assert (tmp_path / name).read_text().startswith(first)
    found, heard = capsys.readouterr()
    assert found == "" and heard == f"4 forecasts in {tmp_path / name}\n"


def test_what_cannot_be_read_is_left_out_and_told(model: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    (images / "half.png").write_bytes((images / "a.png").read_bytes()[:40])
    assert call(model, images, images / "notes.txt") == 1
    found, heard = capsys.readouterr()
    assert len(rows(found)) == 4
    told = heard.splitlines()
    assert len(told) == 3 and all(line.startswith("left out: ") for line in told)
    assert {Path(line.split(": ")[1]).name for line in told} == {"broken.png", "half.png", "notes.txt"}


def test_a_name_that_is_no_utf8_is_written_as_it_can_be(model: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strange = images / b"\xff.png".decode("utf-8", "surrogateescape")
    try:
        strange.write_bytes((images / "a.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes no such name")
    assert call(model, images) == 0
    assert any("�.png" in row["path"] for row in rows(capsys.readouterr().out))


def test_bad_input_is_one_line(model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "no_path.csv").write_text("file\na.png\n")
    (tmp_path / "out.csv").write_text("path\n../x.png\n")
    (tmp_path / "none.csv").write_text("path\n")
    (tmp_path / "bad.png").write_text("x")
    for words, part in (
        ((model, tmp_path / "nowhere"), "does not exist; give images, folders or a csv"),
        ((model, tmp_path / "empty"), "holds no images (png, jpg"),
        ((model, tmp_path / "no_path.csv"), "lacks the column path; its first line holds file"),
        ((model, tmp_path / "out.csv"), "lies outside"),
        ((model, tmp_path / "none.csv"), "has no rows below its header"),
        ((model, tmp_path / "bad.png"), "none of the 1 images can be read; the first: "),
        ((tmp_path, images), "holds no card.json; give the folder of an exported model"),
        ((model, images, "--format", "xml"), "unknown --format 'xml'"),
        ((model, images, "--out", tmp_path), "is a folder; give a file"),
        ((model, images, "--out", tmp_path / "no" / "x.csv"), "there is no folder"),
        ((model, images, "--out", images / "a.png"), "is one of the images"),
        ((model, images, "--features", "texture"), "the model takes pixels, not features texture"),
        ((model, images, "--top", "-1"), "--top"),
        ((model,), "Missing argument"),
    ):
        before = (images / "a.png").read_bytes()
        assert call(*words) == 2, words
        found, heard = capsys.readouterr()
        assert found == "" and len(heard.splitlines()) == 1 and heard.startswith("error: ") and part in heard, heard
        assert (images / "a.png").read_bytes() == before
    assert main(["predict", str(model), str(images), "--device", "tpu"]) == 2
    assert "is not auto, cpu or cuda[:i]" in capsys.readouterr().err


def test_what_is_wrong_with_the_input_is_told_without_torch(model: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom benchmark.cli import main\ncode = main(sys.argv[1:])\n"
        "print(code, *[name for name in ('torch', 'numpy', 'pandas') if name in sys.modules])"
    )
    for words in (("--help",), (str(model), str(tmp_path / "nowhere")), (str(tmp_path), str(model / "card.json"))):
        done = subprocess.run([sys.executable, "-c", code, "predict", *words], capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.splitlines()[-1] in ("0", "2"), done.stdout
