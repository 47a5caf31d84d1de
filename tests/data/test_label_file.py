"""The common option ``label_file``: whose labels are trained on, what stays the truth, and files that do not fit."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.errors import BenchmarkError
from benchmark.grammar import parse_settings
from benchmark.prepare import PreparedData, prepare
from benchmark.registry import Registry
from benchmark.resolve import open_dataset
from benchmark.spec import RunSpec, expand, protocol

PLUGIN = '''
"""A set."""
import numpy as np
from benchmark.api import Arrays, Dataset, dataset


@dataset("tinyset", version=1, access="ACCESS")
class Tiny(Dataset):
    """Sixty images of three classes."""

    def load(self, root):
        labels = np.arange(60) % 3
        images = np.repeat(labels.astype(np.uint8) * 80, 64).reshape(60, 8, 8, 1)
        return Arrays(images, labels, ("a", "b", "c"), **MORE)
'''
FLIPPED = "index,label\n0,b\n4,c\n59,0\n"
"""Of a, b and c; the first two differ from the set's own labels, and so does the last, which is given by its id."""


def registry(folder: Path, access: str = "embedded", more: str = "{}") -> Registry:
    folder.mkdir(exist_ok=True)
    (folder / "tinyset.py").write_text(PLUGIN.replace("ACCESS", access).replace("MORE", more))
    return Registry([folder])


def spec_of(registry: Registry, data: str, noise: str = "none", seed: int = 0) -> RunSpec:
    (spec,) = expand(
        registry,
        methods=parse_settings("ce", what="method"),
        datasets=parse_settings(data, what="dataset"),
        noise=parse_settings(noise, what="noise"),
        seeds=[seed],
        protocol=protocol("quick"),
        data_root=Path("unused"),
    )
    return spec


def prepared(registry: Registry, data: str, noise: str = "none") -> PreparedData:
    return prepare(spec_of(registry, data, noise), registry, Path("unused"))


def label_of(data: PreparedData, index: int, what: str = "labels") -> int:
    """The given (or true) label of a sample, wherever the split has put it."""
    for part, positions in data.indices.items():
        if index in positions:
            return int(getattr(data, what)[part][positions.tolist().index(index)])
    raise AssertionError(index)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(FLIPPED)
    return path


def test_of_a_set_whose_labels_are_the_truth_they_stay_the_truth(tmp_path: Path, file: Path) -> None:
    data = prepared(registry(tmp_path / "p"), f"tinyset:label_file={file}", "human")
    for index, own, given in ((0, 0, 1), (4, 1, 2), (59, 2, 0), (1, 1, 1)):
        in_test = index in data.indices["test"]
        assert label_of(data, index) == (own if in_test else given)
        assert label_of(data, index, "truth") == own
    wrong = sum(len(set(data.indices[part].tolist()) & {0, 4, 59}) for part in ("train", "val"))
    assert sum(int((data.labels[part] != data.truth[part]).sum()) for part in ("train", "val")) == wrong > 0


def test_a_reference_stays_the_truth(tmp_path: Path, file: Path) -> None:
    plugins = registry(
        tmp_path / "p", "folder", '{"clean_labels": (labels + 1) % 3, "split": (np.arange(60) % 20 == 9).astype(np.int8) * 2}'
    )
    data = prepared(plugins, f"tinyset:label_file={file}", "human")
    assert [label_of(data, index) for index in (0, 4, 1)] == [1, 2, 1]
    assert [label_of(data, index, "truth") for index in (0, 4, 1)] == [1, 2, 2]  # the reference, now met by index 0 and 4


def test_of_a_set_of_the_users_own_the_file_stands_in_for_the_truth(tmp_path: Path, file: Path) -> None:
    data = prepared(registry(tmp_path / "p", "folder"), f"tinyset:label_file={file}")
    for index, given in ((0, 1), (4, 2), (59, 0), (1, 1)):
        assert label_of(data, index) == label_of(data, index, "truth") == given
    assert data.record["realised_rate"] == 0.0


@pytest.mark.parametrize("access", ["embedded", "folder"])
def test_the_parts_and_the_content_are_the_same_with_any_file(tmp_path: Path, file: Path, access: str) -> None:
    plugins = registry(tmp_path / "p", access)
    plain, other = prepared(plugins, "tinyset"), prepared(plugins, f"tinyset:label_file={file}", "symmetric:0.3")
    assert all(np.array_equal(plain.indices[part], other.indices[part]) for part in ("train", "val", "test"))
    assert other.arrays is plain.arrays  # loaded once: images and what is computed from them are shared


def test_only_the_content_of_the_file_and_its_place_are_in_the_identity(tmp_path: Path, file: Path) -> None:
    plugins = registry(tmp_path / "p")
    plain, one = spec_of(plugins, "tinyset"), spec_of(plugins, f"tinyset:label_file={file}")
    assert "label_file" not in plain.dataset.params and plain.dataset.fingerprint == "v1"
    assert one.dataset.params == {"label_file": str(file)}
    file.write_text(FLIPPED.replace("0,b", "0,c"))
    two = spec_of(plugins, f"tinyset:label_file={file}")
    assert len({plain.key(), one.key(), two.key()}) == 3
    file.write_text(FLIPPED)
    assert spec_of(plugins, f"tinyset:label_file={file}").key() == one.key()


def test_a_file_that_changes_after_the_plan_is_refused(tmp_path: Path, file: Path) -> None:
    plugins = registry(tmp_path / "p")
    spec = spec_of(plugins, f"tinyset:label_file={file}", "human")
    prepare(spec, plugins, Path("unused"))
    file.write_text(FLIPPED.replace("0,b", "0,c"))
    with pytest.raises(BenchmarkError, match=r"labels\.csv has changed since this run was planned; give the command again"):
        prepare(spec, plugins, Path("unused"))


def test_noise_that_starts_from_the_reference_is_told(tmp_path: Path, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    plugins = registry(tmp_path / "p")
    with caplog.at_level(logging.WARNING, logger="benchmark"):
        prepared(plugins, f"tinyset:label_file={file}", "human")
        assert not caplog.messages
        prepared(plugins, f"tinyset:label_file={file}", "symmetric:0.2")
    assert len(caplog.messages) == 1 and "labels.csv are not trained on; --noise human trains on them" in caplog.messages[0]


def test_an_exported_draw_is_taken_for_its_own_data_only(tmp_path: Path) -> None:
    from benchmark.noise_file import write
    from benchmark.prepare import content_digest

    plugins = registry(tmp_path / "p")
    plain = prepared(plugins, "tinyset")
    content, index = content_digest(plain.arrays), int(plain.indices["train"][0])
    write(tmp_path / "draw.npz", np.array([index]), np.array([(index + 1) % 3]), content, ("a", "b", "c"), None)
    data = prepared(plugins, f"tinyset:label_file={tmp_path / 'draw.npz'}", "human")
    assert (label_of(data, index), label_of(data, index, "truth")) == ((index + 1) % 3, index % 3)
    write(tmp_path / "draw.npz", np.array([0]), np.array([2]), "0" * 16, ("a", "b", "c"), None)
    with pytest.raises(BenchmarkError, match=rf"is for other data: its content is {'0' * 16}, that of tinyset is {content}"):
        prepared(plugins, f"tinyset:label_file={tmp_path / 'draw.npz'}", "human")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"tinyset: label_file .*labels\.csv is no file; give the path of one"),
        ("index,label\n60,a\n", r"it has index 60, and tinyset has 60 samples, 0 to 59"),
        ("index,label\n", r"has no label; expected one line a sample below index,label"),
        ("index,label\n0,d\n", r"unknown class in .*labels\.csv 'd'; .*known: a, b, c"),
        ("index,label\n0,a\n0,b\n", "gives index 0 2 times"),
        ("name,label\n0,a\n", "expected the columns index,label"),
        ("index,path,label\n0,0.png,a\n3,4.png,a\n", r"index 3 is 4\.png, in tinyset it is 3\.png; were files added or removed since\?"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, file: Path, text: str | None, message: str) -> None:
    plugins = registry(tmp_path / "p", more='{"paths": [f"{i}.png" for i in range(60)]}')
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    with pytest.raises(BenchmarkError, match=message) as raised:
        prepared(plugins, f"tinyset:label_file={file}", "human")
    assert len(str(raised.value).splitlines()) == 1


def test_a_source_of_images_takes_no_file_of_labels(tmp_path: Path, file: Path) -> None:
    with pytest.raises(BenchmarkError, match="label_file would change nothing"):
        open_dataset(registry(tmp_path / "p"), f"tinyset:label_file={file}", Path("unused"))


def test_built_in_sets_leave_the_name_free() -> None:
    every: dict[str, Any] = {entry.name: Registry().load("dataset", entry.name) for entry in Registry().entries("dataset")}
    assert not [name for name, cls in every.items() if "label_file" in cls.Params.__dataclass_fields__]


def test_names_that_a_spreadsheet_would_run_are_read_from_a_table_that_made_them_neutral(tmp_path: Path) -> None:
    named = registry(tmp_path / "plugins", more='{"paths": [f"={i}.png" for i in range(60)]}')
    file = tmp_path / "labels.csv"
    file.write_text("index,path,given,label\n0,'=0.png,a,'b\n4,=4.png,b,c\n")
    data = prepared(named, f"tinyset:label_file={file}", "human")
    assert [label_of(data, index) for index in (0, 4, 6)] == [1, 2, 0]
