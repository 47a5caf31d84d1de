"""Which of two words means positive: the plain cases, and those that are asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.bags.label_table import plainly_negative, read_labels
from benchmark.errors import BenchmarkError
from benchmark.registry import Registry


@pytest.mark.parametrize(
    ("negative", "positive"),
    [
        ("normal", "tumor"),
        ("normal_tissue", "tumor_tissue"),
        ("0-normal", "1-tumor"),
        ("1-normal", "0-tumor"),
        ("HER2 Negative", "HER2 Positive"),
        ("normal", "abnormal"),
        ("Benign", "malignant"),
        ("normal2", "carcinoma"),
    ],
)
def test_a_word_of_its_own_says_negative(negative: str, positive: str) -> None:
    expected = ((0, 1, 0), (negative, positive))
    assert read_labels([negative, positive, negative], "labels.csv") == expected
    assert read_labels([negative, positive, negative], "labels.csv", positive) == expected


@pytest.mark.parametrize(
    "words",
    [
        ("abnormal", "clear"),
        ("non_tumor", "tumor"),
        ("tumor", "ok"),
        ("non-normal", "clear"),
        ("not normal", "normal"),
        ("ab-normal", "clear"),
        ("uncontrolled", "stable"),
        ("benign", "normal"),
        ("LUAD", "LUSC"),
    ],
)
def test_what_is_not_plain_is_asked_for(words: tuple[str, str]) -> None:
    first, second = sorted(words)
    with pytest.raises(BenchmarkError) as raised:
        read_labels(words, "labels.csv")
    assert str(raised.value) == f"labels.csv: labels are {first} and {second}; say which one is positive: positive={second}"
    assert plainly_negative(words) is None
    assert read_labels(words, "labels.csv", words[0]) == ((1, 0), (words[1], words[0]))


@pytest.mark.parametrize("name", ["tiles", "mil"])
def test_data_sets_take_the_positive_word(name: str, tmp_path: Path) -> None:
    for slide in ("a", "b"):
        if name == "tiles":
            (tmp_path / slide).mkdir()
            Image.new("RGB", (8, 8)).save(tmp_path / slide / "0_0.png")
        else:
            np.savez(tmp_path / f"{slide}.npz", features=np.zeros((1, 2), dtype=np.float32))
    (tmp_path / "labels.csv").write_text("slide_id,label\na,abnormal\nb,clear\n")
    kind = Registry().load("dataset", name)
    with pytest.raises(BenchmarkError, match="labels are abnormal and clear; say which one is positive: positive=clear"):
        kind(kind.Params(path=str(tmp_path))).load(tmp_path / "cache")
    found = kind(kind.Params(path=str(tmp_path), positive="abnormal")).load(tmp_path / "cache")
    assert found.labels.tolist() == [1, 0] and found.classes == ("clear", "abnormal")
