"""TOML files of questions."""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path

import pytest

from benchmark.cli import sweep as command
from benchmark.errors import BenchmarkError
from sweeps.presets import FOLDER, preset_files, read_preset

KNOWN = ("methods", "noise", "trials", "search", "sets", "fresh_seeds", "epochs")


def test_a_preset_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('question = "?"\nmethods = "ce"\ntrials = 4\nset = ["a.b=1"]\nsearch = []\nfresh-seeds = "9"\n', encoding="utf-8")
    assert read_preset(str(path), KNOWN) == {"methods": "ce", "trials": 4, "sets": ["a.b=1"], "search": [], "fresh_seeds": "9"}
    path.write_text("", encoding="utf-8")
    assert read_preset(str(path), KNOWN) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trials = 4\nmethod = 'ce'", "unknown option in mine.toml 'method'; did you mean 'methods'"),
        ("trials = '4'", "mine.toml: trials = '4' is not a whole number"),
        ("trials = 4.0", "mine.toml: trials = 4.0 is not a whole number"),
        ("trials = true", "mine.toml: trials = True is not a whole number"),
        ("methods = ['ce']", "mine.toml: methods = ['ce'] is not a text"),
        ("noise = 0.4", "mine.toml: noise = 0.4 is not a text"),
        ("search = 'a.b=1'", "mine.toml: search = 'a.b=1' is not a list of texts"),
        ("set = [1]", "mine.toml: set = [1] is not a list of texts"),
        ("[methods]\na = 1", "mine.toml: methods = {'a': 1} is not a text"),
        ("trials = ", "mine.toml is not TOML: "),
        ("a\n\n\nb", "mine.toml is not TOML: "),
    ],
)
def test_a_preset_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BenchmarkError) as caught:
        read_preset(str(path), KNOWN)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_no_such_preset(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="unknown preset 'quick_lok'; did you mean 'quick_look'"):
        read_preset("quick_lok", KNOWN)
    with pytest.raises(BenchmarkError, match=r"--preset .*none\.toml: No such file or directory"):
        read_preset(str(tmp_path / "none.toml"), KNOWN)
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(BenchmarkError, match=r"--preset .*folder\.toml: Is a directory"):
        read_preset(str(tmp_path / "folder.toml"), KNOWN)
    (tmp_path / "latin.toml").write_bytes(b'question = "\xe9"')
    with pytest.raises(BenchmarkError, match=r"latin\.toml is not TOML"):
        read_preset(str(tmp_path / "latin.toml"), KNOWN)


def test_the_presets_of_the_project() -> None:
    files = preset_files()
    assert list(files) == sorted(path.stem for path in FOLDER.iterdir())
    options = inspect.signature(command.sweep).parameters.keys()
    for name, path in files.items():
        found = read_preset(name, options)
        assert found["methods"] and found["trials"] > 1
        question = tomllib.loads(path.read_text(encoding="utf-8"))["question"]
        assert len(question) > 30 and "\n" not in question
