from dataclasses import replace

import numpy as np
import pytest

from benchmark.bags.arrays import BagArrays
from benchmark.bags.checks import check_bags, check_finite, check_names, check_paired, check_widths
from benchmark.errors import BenchmarkError

GOOD = BagArrays(
    np.arange(12, dtype=np.float32).reshape(6, 2),
    np.array([0, 2, 3, 6]),
    np.array([0, 1, 1]),
    ("a", "b", "c"),
    split=np.array([0, 1, 2], dtype=np.int8),
    groups=np.array([5, 6, 7]),
    tile_labels=np.array([0, 0, 1, -1, 1, 0], dtype=np.int8),
    positions=np.zeros((6, 2), dtype=np.int64),
    tile_names=tuple("uvwxyz"),
)


def filled(value: float) -> np.ndarray:
    tiles = GOOD.tiles.copy()
    tiles[4, 1] = value
    return tiles


def test_what_is_right_passes() -> None:
    check_bags(GOOD, "set")
    check_bags(replace(GOOD, tiles=np.zeros((6, 4, 5, 3), dtype=np.uint8), split=None, groups=None, tile_labels=None), "set")


def test_groups_may_hold_several_slides_of_one_part() -> None:
    check_bags(replace(GOOD, split=np.array([0, 2, 2]), groups=np.array([1, 2, 2])), "set")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"offsets": np.array([0, 2, 2, 6])}, "set: no tiles of slide 'b'; leave such slides out"),
        ({"offsets": np.array([0, 4, 3, 6])}, "set: offsets fall from 4 to 3 at slide 'b'; tiles must be sorted by slide"),
        ({"offsets": np.array([0, 2, 3, 5])}, "tiles without a slide: offsets go from 0 to 5, but there are 6 tiles; expected 0 to 6"),
        ({"offsets": np.array([1, 2, 3, 6])}, "tiles without a slide: offsets go from 1 to 6"),
        ({"offsets": np.array([0, 2, 6])}, r"offsets have shape \(3,\); expected \(4,\) for 3 slides with 6 tiles"),
        ({"offsets": np.array([0.0, 2, 3, 6])}, "offsets are float64; expected whole numbers"),
        ({"labels": np.array([0, 2, 1])}, r"slide 'b' has label 2; expected 0 \(negative\) or 1 \(positive\)"),
        ({"labels": np.array([0, 1])}, r"labels have shape \(2,\); expected \(3,\)"),
        ({"labels": np.array([1, 1, 1])}, r"none of 3 slides is negative \(label 0\); at least one slide of each class is needed"),
        ({"labels": np.array([0, 0, 0]), "tile_labels": None}, r"none of 3 slides is positive \(label 1\)"),
        ({"classes": ("a", "b", "c")}, r"3 class names \(a, b, c\); bags have two classes"),
        ({"names": ("a", "b", "a")}, "slide 'a' lies in train and in test; keep it in one"),
        ({"names": ("a", "b", "a"), "split": None}, "slide 'a' occurs twice; slide ids must be unique"),
        ({"names": ("a", "b", "a"), "split": np.array([0, 1, 0])}, "slide 'a' occurs twice"),
        ({"names": ()}, "set holds no slides"),
        ({"split": np.array([0, 3, 2])}, r"slide 'b' is in part 3; expected 0 \(train\), 1 \(val\) or 2 \(test\)"),
        ({"groups": np.array([5, 6, 5])}, "slides 'a' and 'c' are of one patient, but the first lies in train and the second in test"),
        ({"tiles": filled(np.nan)}, "features of slide 'c' are NaN or infinite, first in its tile 1"),
        ({"tiles": filled(np.inf)}, "features of slide 'c' are NaN or infinite"),
        ({"tiles": GOOD.tiles.astype(np.float64)}, r"tiles are \(6, 2\) float64; expected features \(N, D\) float32 or pixels"),
        ({"tiles": np.zeros((6, 4, 4, 2), dtype=np.uint8)}, r"tiles are \(6, 4, 4, 2\) uint8"),
        ({"tiles": np.zeros((6, 0), dtype=np.float32)}, r"tiles are \(6, 0\) float32"),
        ({"tile_labels": np.array([0, 1, 1, -1, 1, 0])}, "slide 'a' is negative, but 1 of its tiles are labelled positive"),
        ({"tile_labels": np.array([0, 0, 3, -1, 1, 0])}, "a tile of slide 'b' has label 3; expected 0, 1, or -1"),
        ({"tile_labels": np.array([0, 0, 1])}, r"tile_labels have shape \(3,\); expected \(6,\)"),
        ({"positions": np.zeros((6, 3), dtype=np.int64)}, r"positions have shape \(6, 3\); expected \(6, 2\)"),
        ({"tile_names": ("u",)}, "1 tile names for 6 tiles"),
    ],
)
def test_each_refusal_is_one_line(changed: dict, message: str) -> None:
    with pytest.raises(BenchmarkError, match=message) as raised:
        check_bags(replace(GOOD, **changed), "set")
    assert "\n" not in str(raised.value) and str(raised.value).startswith("set")


def test_slides_and_labels_that_do_not_pair() -> None:
    check_paired("abc", "cab", "there", "labels.csv")
    with pytest.raises(BenchmarkError, match=r"there: labels are missing for 'a', 'b', 'c' and 2 more; add them to labels\.csv"):
        check_paired("abcde", "", "there", "labels.csv")
    with pytest.raises(BenchmarkError, match=r"labels\.csv labels 'd', of which there are no tiles in there"):
        check_paired("abc", "abcd", "there", "labels.csv")


def test_the_odd_width_is_named() -> None:
    check_widths({"a": 4, "b": 4}, "there")
    with pytest.raises(BenchmarkError, match="there: tiles of slide 'b' have 3 features where 2 of 3 slides have 4"):
        check_widths({"a": 4, "b": 3, "c": 4}, "there")


def test_finite_by_slide() -> None:
    check_finite(GOOD.tiles, "a", "there")
    with pytest.raises(BenchmarkError, match="there: features of slide 'a' are NaN or infinite, first in its tile 4"):
        check_finite(filled(-np.inf), "a", "there")


def test_names_in_two_parts_by_word() -> None:
    check_names(("a", "b"), "there", ("train", "test"))
    with pytest.raises(BenchmarkError, match="there: slide 'a' lies in val and in train"):
        check_names(("a", "b", "a"), "there", ("val", "test", "train"))
