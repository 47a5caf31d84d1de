"""Answers of ``clean`` for the tests of the command: small images, the call, what it has written, and one finished answer."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.cli import main

CLASSES = ("normal", "serrated", "tumour")
FEW = ("--features", "identity", "--image-size", "0", "--epochs", "4", "--device", "cpu", "--jobs", "1")
METHODS = "aum,confident_learning"
Row = tuple[str, str, str]


def tiles(folder: Path, n: int = 180, classes: Sequence[str] = CLASSES, rate: float = 0.1, name: str = "{:03d}.png") -> list[Row]:
    """Noise in a colour of its own for each class, of which about ``rate`` have a wrong label: path, label and truth, one line each."""
    folder.mkdir(parents=True)
    rng, rows = np.random.default_rng(0), []
    for i in range(n):
        true = i % len(classes)
        pixels = rng.integers(0, 60, (8, 8, 3)).astype(np.uint8)
        pixels[..., true] += 140
        given = (true + rng.integers(1, len(classes))) % len(classes) if rng.random() < rate else true
        path = name.format(i)
        Image.fromarray(pixels).save(folder / path)
        rows.append((path, classes[given], classes[true]))
    return rows


def write(path: Path, rows: Sequence[Sequence[Any]], header: str = "path,label") -> Path:
    """A csv of these columns of the rows."""
    names = header.split(",")
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([names, *(row[: len(names)] for row in rows)])
    return path


def call(*words: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return code, out.getvalue(), err.getvalue()


def table(out: Path) -> list[dict[str, str]]:
    """labels.csv."""
    with (out / "labels.csv").open(newline="", encoding="utf-8-sig") as stream:
        return list(csv.DictReader(stream))


def figures(out: Path) -> dict[str, Any]:
    """clean.json."""
    found: dict[str, Any] = json.loads((out / "clean.json").read_text(encoding="utf-8"))
    return found


@dataclass(frozen=True)
class Given:
    """A finished answer: its folder, what went in, and what was printed."""

    path: Path
    rows: list[Row]
    out: Path
    printed: str
    notes: str
    root: Path

    @property
    def table(self) -> list[dict[str, str]]:
        return table(self.out)


Clean = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where decoded images are kept."""
    return tmp_path_factory.mktemp("data-root")


@pytest.fixture(scope="module")
def clean(root: Path) -> Clean:
    """Gives the command on few epochs of a linear classifier."""

    def given(path: Path, out: Path, *words: object, methods: str = METHODS) -> tuple[int, str, str]:
        return call("clean", path, "--out", out, "--methods", methods, *FEW, "--data-root", root, *words)

    return given


@pytest.fixture(scope="module")
def answer(clean: Clean, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Given:
    """One answer; most tests read it and none changes it."""
    base = tmp_path_factory.mktemp("answer")
    rows = tiles(base / "tiles")
    path = write(base / "tiles" / "labels.csv", rows)
    code, printed, notes = clean(path, base / "out")
    assert code == 0, notes
    return Given(path, rows, base / "out", printed, notes, root)
