"""Label Studio: where it finds images, and what is read of its export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import BenchmarkError
from benchmark.relabel.label_studio import interface, places_of, read_export

OUT = Path("/srv/out/images")


@pytest.mark.parametrize(
    ("files", "root", "storages"),
    [
        (["/srv/out/images/1.png", "/srv/out/images/2.png"], "/srv/out", ["/srv/out/images"]),
        (["/data/tiles/a/1.png", "/data/tiles/b/2.png"], "/data", ["/data/tiles"]),
        (["/data/tiles/a/1.png"], "/data/tiles", ["/data/tiles/a"]),
        (["/data/tiles/a/1.png", "/srv/out/images/2.png"], "/", ["/data/tiles/a", "/srv/out/images"]),
        (["/data/a/1.png", "/more/b/2.png"], "/", ["/data", "/more"]),
    ],
)
def test_storages_lie_below_the_document_root(files: list[str], root: str, storages: list[str]) -> None:
    """Label Studio refuses a storage that is the document root itself."""
    places = places_of(list(map(Path, files)), OUT)
    assert str(places.document_root) == root and list(map(str, places.storages)) == storages
    for file in files:
        assert places.address(Path(file)) == f"/data/local-files/?d={file.removeprefix(root).lstrip('/')}"


def test_an_address_is_quoted() -> None:
    assert places_of([Path("/d/t/a b&c#ü.png")], OUT).address(Path("/d/t/a b&c#ü.png")) == "/data/local-files/?d=t/a%20b%26c%23%C3%BC.png"


def test_what_xml_cannot_hold_is_replaced() -> None:
    assert '<Choice value="a�b"/>' in interface(["a\x00b", "c"])


def task(choices: list[str] | None, **annotation: Any) -> dict[str, Any]:
    result = [] if choices is None else [{"type": "choices", "from_name": "label", "to_name": "image", "value": {"choices": choices}}]
    return {"id": 5, "data": {"index": 7, "set": "s1", "given": "a"}, "annotations": [{"result": result, **annotation}]}


def written(tmp_path: Path, content: Any) -> Path:
    (tmp_path / "export.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return tmp_path / "export.json"


def test_answers_of_people_are_read(tmp_path: Path) -> None:
    (found,) = read_export(written(tmp_path, [task(["b"], completed_by=3, created_at="2021-03-09T22:16:08.728353Z", was_cancelled=False)]))
    assert (found.where, found.choices, found.who, found.when) == ("export.json, task 5", ("b",), "user 3", "2021-03-09T22:16:08.728353Z")
    assert found.data == {"index": 7, "set": "s1", "given": "a"}
    (found,) = read_export(written(tmp_path, [task(["b"], completed_by={"id": 3, "email": "anna@example.org"}, updated_at="2022-01-01")]))
    assert (found.who, found.when) == ("anna@example.org", "2022-01-01")


def test_regions_of_other_kinds_are_left_out(tmp_path: Path) -> None:
    content = [task(["b"])]
    content[0]["annotations"][0]["result"].insert(0, {"type": "textarea", "value": {"text": ["hm"]}})
    assert read_export(written(tmp_path, content))[0].choices == ("b",)


@pytest.mark.parametrize("entry", [task(["b"], was_cancelled=True), task(None), {"data": {"index": 7}}, {"data": {}, "annotations": None}])
def test_what_is_skipped_or_empty_is_no_answer(tmp_path: Path, entry: dict[str, Any]) -> None:
    (found,) = read_export(written(tmp_path, [entry]))
    assert found.choices == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"export\.json is no JSON: "),
        ("\udcff", "no JSON"),
        ({"id": 1}, r"is no export of Label Studio: it is no list of tasks with data; give a project's export as JSON \(not JSON-MIN\)"),
        ([{"image": "x.png", "label": "b"}], "it is no list of tasks with data"),
        ([1], "it is no list of tasks with data"),
        ([{"data": {}, "annotations": [3]}], "is no export of Label Studio: AttributeError"),
        ([{"data": {}, "annotations": [{"result": [{"type": "choices"}]}]}], "is no export of Label Studio: KeyError"),
        ([{"data": {}, "annotations": 3}], "is no export of Label Studio: TypeError"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_what_is_no_export(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "export.json"
    if isinstance(content, str):
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    else:
        written(tmp_path, content)
    with pytest.raises(BenchmarkError, match=message) as raised:
        read_export(path)
    assert len(str(raised.value).splitlines()) == 1
