"""The folder for annotators: what is in it, that texts in it do no harm, and when it is refused."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.errors import BenchmarkError
from benchmark.noise_file import read as read_label_file
from benchmark.prepare import content_digest
from benchmark.registry import Registry
from benchmark.relabel import export as module
from benchmark.relabel.export import WRITTEN, Exported, export
from benchmark.relabel.images import thumbnail
from benchmark.relabel.manifest import read_manifest

Finish = Callable[..., Any]
"""Makes a finished run; see conftest.py."""


def exported(toy: Any, out: Path, top: int = 5, **settings: object) -> Exported:
    return export(toy.run, toy.registry, toy.root / "cache", out, top, **settings)


def rows_of(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((out / "answers.csv").read_bytes().decode("utf-8-sig"), newline="")))


def pixels(data: bytes | Path) -> np.ndarray:
    return np.asarray(Image.open(data if isinstance(data, Path) else io.BytesIO(data)))


def test_arrays_are_exported_with_pictures_that_are_large_enough(finish: Finish, tmp_path: Path) -> None:
    toy = finish()
    done = exported(toy, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    train = toy.data.indices["train"][:5].tolist()  # suspects first, and then by quality, which rises with the row
    assert [int(row["index"]) for row in rows] == train
    assert (done.suspects, done.pictures) == (4, 5)
    assert {row["set"] for row in rows} == {done.manifest.set}
    assert [row["path"] for row in rows] == [f"images/{index}.png" for index in train]
    for row in rows:
        picture = pixels(tmp_path / "out" / row["path"])
        assert picture.shape == (128, 128) and set(picture.ravel().tolist()) == {int(row["index"])}  # 8 px, sixteenfold
        assert row["given"] == toy.given(int(row["index"])).replace("=normal", "'=normal")
        assert row["answer"] == row["annotator"] == row["note"] == ""
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == WRITTEN


def test_the_manifest_says_what_an_import_must_check(finish: Finish, tmp_path: Path) -> None:
    toy = finish()
    exported(toy, tmp_path / "out")
    found = read_manifest(tmp_path / "out")
    assert (found.run_key, found.seed, found.classes) == (toy.run.key, 0, list(toy.classes))
    assert found.content == content_digest(toy.data.arrays)
    assert re.fullmatch(r"s[0-9a-f]{12}", found.set)
    assert found.dataset["label"] == "toy" and found.noise["label"] == "symmetric:0.3"
    assert found.samples == [{"index": int(i), "path": "", "given": toy.given(int(i))} for i in toy.data.indices["train"][:5]]
    assert found.answers == hashlib.sha256((tmp_path / "out" / "answers.csv").read_bytes()).hexdigest()
    labels = read_label_file(tmp_path / "out" / "given.csv")
    assert labels.index.tolist() == sorted([*toy.data.indices["train"].tolist(), *toy.data.indices["val"].tolist()])
    assert list(labels.label) == [toy.given(int(index)) for index in labels.index]


def test_the_sets_name_changes_with_the_run_and_not_with_the_selection(finish: Finish, tmp_path: Path) -> None:
    toy, other = finish(), finish(noise="symmetric:0.2")
    names = [exported(toy, tmp_path / "a").manifest.set, exported(toy, tmp_path / "b", top=7).manifest.set]
    assert names[0] == names[1] != exported(other, tmp_path / "c").manifest.set


def test_the_gallery_stands_alone_and_class_names_are_text_in_it(finish: Finish, tmp_path: Path, read_page: Callable[[str], Any]) -> None:
    n = len(finish().run.samples["index"])
    toy = finish(suggested=np.full(n, 1), confidence=np.full(n, 0.944), given_probability=np.full(n, 0.03))
    exported(toy, tmp_path / "out")
    page = read_page((tmp_path / "out" / "gallery.html").read_text(encoding="utf-8"))
    tags = [tag for tag, _ in page.tags]
    assert tags.count("img") == tags.count("article") == 5 and "b" not in tags and page.links == []
    assert {picture.format for picture in page.pictures} == {"PNG"}  # small ones as they are
    index = toy.data.indices["train"][0]
    assert (np.asarray(page.pictures[0]) == index).all()
    alt = next(about["alt"] for tag, about in page.tags if tag == "img")
    assert alt == f"sample {index}, labelled {' '.join(toy.given(int(index)).split())}"
    assert f"{toy.classes[1]} · 94 %" in page.words
    assert any(f"'{toy.classes[1]}' 94 %" in text for text in page.words)


def test_a_large_image_has_a_small_picture() -> None:
    media, content = thumbnail(np.full((400, 200, 3), 7, dtype=np.uint8))
    assert media == "image/webp" and Image.open(io.BytesIO(content)).size == (80, 160)
    media, content = thumbnail(np.full((80, 40, 1), 7, dtype=np.uint8))
    assert media == "image/png" and (pixels(content) == 7).all()


def test_label_studio_gets_tasks_with_suggestions_and_an_interface(finish: Finish, tmp_path: Path) -> None:
    n = len(finish().run.samples["index"])
    toy = finish(suggested=np.full(n, 1), confidence=np.full(n, 0.25), given_probability=np.full(n, 0.2))
    exported(toy, tmp_path / "out", top=2)
    index = int(toy.data.indices["train"][0])
    first, _ = json.loads((tmp_path / "out" / "label-studio.json").read_text(encoding="utf-8"))
    row = rows_of(tmp_path / "out")[0]
    assert first["data"] == {
        "image": f"/data/local-files/?d=images/{index}.png",
        "set": row["set"],
        "index": index,
        "given": toy.given(index),
        "reason": row["reason"],
    }
    assert first["predictions"] == [
        {
            "model_version": f"ce {toy.run.key}",
            "score": 0.25,
            "result": [
                {
                    "id": f"suggestion-{index}",
                    "type": "choices",
                    "from_name": "label",
                    "to_name": "image",
                    "value": {"choices": [toy.classes[1]]},
                }
            ],
        }
    ]
    view = ET.parse(tmp_path / "out" / "label-studio.xml").getroot()
    assert [choice.get("value") for choice in view.iter("Choice")] == list(toy.classes)
    assert view.find("Choices").attrib == {"name": "label", "toName": "image", "choice": "single", "showInline": "true"}  # type: ignore[union-attr]
    told = (tmp_path / "out" / "README.txt").read_text(encoding="utf-8")
    assert f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={tmp_path / 'out'}\n" in told
    assert f"     {tmp_path / 'out' / 'images'}\n" in told


def test_a_run_that_kept_no_forecast_suggests_nothing(finish: Finish, tmp_path: Path) -> None:
    exported(finish(), tmp_path / "out")
    assert all(row["suggestion"] == row["confidence"] == "" for row in rows_of(tmp_path / "out"))
    assert all("predictions" not in task for task in json.loads((tmp_path / "out" / "label-studio.json").read_text()))


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """Twelve coloured images of two classes, one in three a TIFF, which browsers do not show."""
    for i in range(12):
        file = tmp_path / "tiles" / "ab"[i % 2] / f"{i:02}{'.tif' if i % 3 == 0 else '.png'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 150), (i, 2 * i, 3 * i)).save(file)
    return tmp_path / "tiles"


def test_image_files_are_named_and_shown_where_they_are(finish: Finish, tiles: Path, tmp_path: Path) -> None:
    toy = finish(data=f"folder:{tiles}:image_size=8")
    done = exported(toy, tmp_path / "out", top=99)
    rows = rows_of(tmp_path / "out")
    tasks = json.loads((tmp_path / "out" / "label-studio.json").read_text(encoding="utf-8"))
    assert done.pictures == sum(row["path"].endswith(".tif") for row in rows) > 0
    paths = toy.data.arrays.paths
    assert paths is not None
    for row, task in zip(rows, tasks, strict=True):
        assert Path(row["path"]) == tiles / paths[int(row["index"])]
        shown = tmp_path / task["data"]["image"].removeprefix("/data/local-files/?d=")
        assert shown == (tmp_path / "out" / "images" / f"{row['index']}.png" if row["path"].endswith(".tif") else Path(row["path"]))
        assert pixels(shown).shape == (150, 200, 3)  # at full size, whatever the network saw
    told = (tmp_path / "out" / "README.txt").read_text(encoding="utf-8")
    assert f"ROOT={tmp_path}\n" in told and f"     {tiles}\n" in told and f"     {tmp_path / 'out' / 'images'}\n" in told
    assert [sample["path"] for sample in done.manifest.samples] == [paths[int(row["index"])] for row in rows]


def test_an_image_file_that_broke_since_leaves_nothing_behind(finish: Finish, tiles: Path, tmp_path: Path) -> None:
    toy = finish(data=f"folder:{tiles}:image_size=8")
    paths = toy.data.arrays.paths
    assert paths is not None
    broken = next(tiles / paths[int(i)] for i in toy.data.indices["train"] if paths[int(i)].endswith(".tif"))
    times, size = broken.stat(), len(broken.read_bytes())
    broken.write_bytes(b"x" * size)  # as the identity sees it, the same file
    os.utime(broken, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(BenchmarkError, match=rf"image {re.escape(str(broken))} cannot be read: "):
        exported(toy, tmp_path / "out", top=99)
    assert not list(tmp_path.glob("out*"))


def test_names_that_are_no_text_are_refused(finish: Finish, tiles: Path) -> None:
    (tiles / "a" / "00.tif").rename(tiles / "a" / os.fsdecode(b"\xff.tif"))
    with pytest.raises(
        BenchmarkError, match=r"the name 'a/\\udcff\.tif' holds a line break, another control character or no UTF-8; rename it"
    ):
        finish(data=f"folder:{tiles}:image_size=8", seed=1)


def test_a_foreign_image_is_shown_as_the_run_saw_it(finish: Finish, tmp_path: Path) -> None:
    toy = finish(noise="open_set:digits:rate=0.4")
    exported(toy, tmp_path / "out", top=99)
    foreign = toy.data.foreign["train"]
    assert foreign.any()
    for row, index in enumerate(toy.data.indices["train"].tolist()):
        shown = pixels(tmp_path / "out" / "images" / f"{index}.png")[::16, ::16]
        assert np.array_equal(shown, toy.data.inputs["train"][row][:, :, 0])
        assert (set(shown.ravel().tolist()) != {index}) == foreign[row]


def test_features_are_shown_as_the_images_behind_them(finish: Finish, tmp_path: Path) -> None:
    toy = finish(data="toy:features=identity")
    exported(toy, tmp_path / "out", top=1)
    index = int(toy.data.indices["train"][0])
    assert set(pixels(tmp_path / "out" / "images" / f"{index}.png").ravel().tolist()) == {index}
    with pytest.raises(BenchmarkError, match="which nobody can look at; export a run on pixels"):
        exported(finish(data="toy:features=identity", noise="open_set:digits:rate=0.4"), tmp_path / "other")
    assert not list(tmp_path.glob("other*"))


def test_an_untouched_export_of_the_same_run_is_replaced(finish: Finish, tmp_path: Path) -> None:
    toy = finish()
    exported(toy, tmp_path / "out", top=2)
    exported(toy, tmp_path / "out", top=3)
    assert len(rows_of(tmp_path / "out")) == len(list((tmp_path / "out" / "images").iterdir())) == 3
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cache", "out", "plugins", "runs"] or not list(tmp_path.glob("*.tmp"))
    (tmp_path / "empty").mkdir()
    exported(toy, tmp_path / "empty", top=2)
    assert (tmp_path / "empty" / "export.json").is_file()


def test_a_folder_that_somebody_uses_is_left_alone(finish: Finish, tmp_path: Path) -> None:
    toy, other = finish(), finish(noise="symmetric:0.2")
    out = tmp_path / "out"
    exported(toy, out)

    def refused(message: str, run: Any = toy) -> None:
        before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        with pytest.raises(BenchmarkError, match=message) as raised:
            exported(run, out)
        assert len(str(raised.value).splitlines()) == 1
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
        assert not list(tmp_path.glob("*.tmp"))

    refused(rf"out holds an export of run {toy.run.key}, not of {other.run.key}; choose another --out", other)
    (out / "anna.csv").write_text("hers")
    refused(r"out holds anna\.csv, which no export wrote; choose another --out")
    (out / "anna.csv").unlink()
    with (out / "answers.csv").open("a", encoding="utf-8") as file:
        file.write("something\n")
    refused(r"answers\.csv has been changed since it was written; import it, or choose another --out")
    (out / "export.json").write_text("{}")
    refused(r"export\.json is not what relabel export wrote")
    (out / "export.json").unlink()
    refused(r"out holds README\.txt and no export; choose another --out")
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchmarkError, match=r"file is a file; choose another --out"):
        exported(toy, tmp_path / "file")


def test_a_kill_while_writing_leaves_no_half_export(finish: Finish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = finish()
    exported(toy, tmp_path / "out", top=2)

    def stop(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(module.gallery, "page", stop)
    with pytest.raises(KeyboardInterrupt):
        exported(toy, tmp_path / "out", top=4)
    assert len(rows_of(tmp_path / "out")) == 2 and not list(tmp_path.glob("*.tmp"))


def test_data_that_changed_since_the_run(finish: Finish, registry: Registry, tmp_path: Path) -> None:
    toy = finish()
    given = toy.run.samples["given"].copy()
    given[0] = (given[0] + 1) % 3
    with pytest.raises(BenchmarkError, match=r"are other ones by now: their training labels differ; run the cell again"):
        exported(finish(given=given), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_to_ask(finish: Finish, tmp_path: Path) -> None:
    toy = finish()
    train = toy.data.indices["train"].tolist()
    done = exported(toy, tmp_path / "out", top=99, answered=frozenset(train[:3]))
    assert [sample["index"] for sample in done.manifest.samples] == [*train[3:]]
    with pytest.raises(BenchmarkError, match="have been answered"):
        exported(toy, tmp_path / "other", answered=frozenset(train))


@pytest.mark.parametrize(
    ("data", "noise", "what"),
    [("toy:label_file={}", "human", "toy or its label_file"), ("toy", "file:{}", "what noise file reads")],
)
def test_a_run_on_labels_that_have_changed_since_cannot_be_shown(finish: Finish, tmp_path: Path, data: str, noise: str, what: str) -> None:
    """Planning again would not bring its data back, so that is not what the message says."""
    labels = tmp_path / "labels.csv"
    labels.write_text("index,label\n" + "".join(f"{index},{index % 2}\n" for index in range(40)))
    toy = finish(data.format(labels), noise.format(labels))
    assert exported(toy, tmp_path / "before").manifest.samples
    labels.write_text(labels.read_text().replace("3,1", "3,0"))
    words = f"^{what} has changed since run {toy.run.key}, so its data cannot be shown; give the command of the run again and export"
    with pytest.raises(BenchmarkError, match=words):
        exported(toy, tmp_path / "after")
    assert not (tmp_path / "after").exists()
