import os
from pathlib import Path

import numpy as np
import pytest

from benchmark.bags.classic import load_classic
from benchmark.errors import BenchmarkError

DATA = os.environ.get("BENCHMARK_DATA")


def write(folder: Path, text: str) -> Path:
    file = folder / "set.csv"
    file.write_text(text)
    return file


def test_rows_become_bags_in_the_order_of_their_ids(tmp_path: Path) -> None:
    found = load_classic(write(tmp_path, "1,7,0.5,-1\n0,2,1,2\n1,7,3,4\n0,2,5,6\n1,9,7,8\n"))
    assert found.names == ("2", "7", "9") and found.labels.tolist() == [0, 1, 1] and found.offsets.tolist() == [0, 2, 4, 5]
    assert found.tiles.dtype == np.float32 and found.tiles.tolist() == [[1, 2], [5, 6], [0.5, -1], [3, 4], [7, 8]]
    assert found.split is None and found.groups is None and found.tile_labels is None


@pytest.mark.skipif(not DATA, reason="BENCHMARK_DATA is not set")
@pytest.mark.parametrize(
    ("name", "bags", "instances", "features", "positive"), [("musk1", 92, 476, 166, 47), ("elephant", 200, 1391, 230, 100)]
)
def test_published_sizes(name: str, bags: int, instances: int, features: int, positive: int) -> None:
    found = load_classic(Path(DATA or "") / "mil" / f"{name}.csv")
    assert len(found) == bags and found.tiles.shape == (instances, features) and found.labels.sum() == positive


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,bag,f1\n1,1,2\n0,2,3\n", "line 1: 'label' is no number; expected label, bag id and features"),
        ("1,1,2\n0,2,x\n", "line 2: 'x' is no number"),
        ("1,1,2\n0,1,3\n", "line 2: bag 1 is labelled 0, and 1 before"),
        ("1,1,2\n-1,2,3\n", "line 2: label -1 is neither 0 nor 1"),
        ("1,1.5,2\n0,2,3\n", "labels and bag ids must be whole numbers"),
        ("1,,2\n0,2,3\n", "labels and bag ids must be whole numbers"),
        ("1,1\n0,2\n", "has 2 columns; expected label, bag id and features"),
        ("1,1,2\n0,2,\n", "features of slide '2' are NaN or infinite, first in its tile 0"),
        ("1,1,2\n1,2,3\n", r"none of 2 slides is negative"),
        ("1,1,2\n0,2,3,4\n", "cannot be read: .*; expected label, bag id"),
        ("", "cannot be read: .*; expected label, bag id"),
    ],
)
def test_what_is_no_such_set(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BenchmarkError, match=message) as raised:
        load_classic(write(tmp_path, text))
    assert str(tmp_path / "set.csv") in str(raised.value) and "\n" not in str(raised.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"there is no file .*fox\.csv"):
        load_classic(tmp_path / "fox.csv")
