"""The JSRT radiographs, from a folder laid out like theirs with images of our own."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.data.options import DataOptions
from benchmark.errors import BenchmarkError
from benchmark.registry import Registry
from benchmark.segmentation.arrays import MaskArrays

JSRT = Registry().load("dataset", "jsrt")
GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)
ROWS = np.repeat(np.arange(8), 8).reshape(8, 8)
ORGANS = ("lung", "heart", "clavicle")


def load(path: Path | str, image_size: int = 0, root: Path = Path("unused")) -> MaskArrays:
    arrays: MaskArrays = JSRT(JSRT.Params(path=str(path)), DataOptions(image_size=image_size)).load(root)
    return arrays


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part, names in (("training", ("JPCLN002", "JPCLN001")), ("validation", ("JPCNN003",))):
        for name in names:
            for k, kind in enumerate(("images", *ORGANS)):
                file = tmp_path / f"jsrt/clean-data/{part}/{kind}/{name}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(GREY if kind == "images" else (k > ROWS) * np.uint8(255)).save(file)
    return tmp_path / "jsrt"


def test_three_organs_and_the_validation_folder_tests(folder: Path) -> None:
    found = load(folder)
    assert found.images.shape == (3, 8, 8, 1) and np.array_equal(found.images[0, :, :, 0], GREY)
    assert found.tasks == ORGANS and found.classes == ("background", "organ") and found.clean_labels is None
    assert found.labels.sum(axis=(2, 3)).tolist() == [[8, 16, 24]] * 3
    assert found.paths == ("JPCLN001", "JPCLN002", "JPCNN003") and found.split is not None and found.split.tolist() == [0, 0, 2]
    assert JSRT.task == "segmentation" and JSRT.manifest["access"] == "folder" and "flip" not in JSRT.augmentation


def test_at_another_size_masks_stay_masks(folder: Path) -> None:
    found = load(folder, 4)
    assert found.images.shape == (3, 4, 4, 1) and found.labels[0, 1].tolist() == [[1] * 4] + [[0] * 4] * 3  # 2 rows of 8 are one of 4
    assert set(np.unique(found.labels)) == {0, 1}


def test_the_folder_may_lie_below_the_data_root(folder: Path) -> None:
    assert np.array_equal(load("", root=folder.parent).labels, load(folder).labels)


def test_the_fingerprint_changes_with_any_mask(folder: Path) -> None:
    def fingerprint() -> str:
        found: str = JSRT(JSRT.Params(path=str(folder))).fingerprint(Path("unused"))
        return found

    before = fingerprint()
    assert fingerprint() == before and before.startswith("v1-")
    os.utime(folder / "clean-data/training/heart/JPCLN001.png", (1, 1))
    assert fingerprint() != before


def test_bad_input_gives_one_line(folder: Path, tmp_path: Path) -> None:
    def refused(path: Path, message: str) -> None:
        with pytest.raises(BenchmarkError, match=re.escape(message)) as raised:
            load(path)
        assert "\n" not in str(raised.value)

    refused(tmp_path / "none", f"{tmp_path / 'none'} does not exist; get the images from http://db.jsrt.or.jp/eng.php")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "file is no folder; get the images")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "empty is not laid out as expected: it should hold clean-data/{training,validation}")
    (folder / "clean-data/validation/lung/JPCNN003.png").unlink()
    refused(folder, "JPCNN003.png has no mask")


@pytest.mark.skipif("BENCHMARK_DATA" not in os.environ, reason="BENCHMARK_DATA names no folder of real sets")
def test_the_real_set() -> None:
    path = Path(os.environ["BENCHMARK_DATA"]) / "jsrt"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    found = load(path)
    assert found.images.shape == (247, 256, 256, 1) and found.split is not None and np.bincount(found.split).tolist() == [197, 0, 50]
    assert found.labels[found.split == 0].mean(axis=(0, 2, 3)) == pytest.approx([0.307, 0.090, 0.0197], abs=0.001)
