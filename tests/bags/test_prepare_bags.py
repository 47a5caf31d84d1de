"""From a spec to the bags of one run: parts, tiles, and labels of which some are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.bags.prepare import part_offsets, tile_labels, tile_rows
from benchmark.data.texture import texture
from benchmark.errors import BenchmarkError
from benchmark.grammar import parse_settings
from benchmark.prepare import PreparedData, prepare
from benchmark.registry import Registry
from benchmark.spec import expand, protocol
from benchmark.tasks import task_of

PLUGIN = '''
"""Bags that tests can count."""
from dataclasses import dataclass

import numpy as np

from benchmark.api import Dataset, dataset, hp
from benchmark.bags.arrays import BagArrays


@dataset("counted", version=1, task="bags")
class Counted(Dataset):
    """40 bags of 1 to 4 tiles; tile t of bag i holds (i, t). The first tile of a positive bag is positive."""

    @dataclass(frozen=True)
    class Params:
        pixels: bool = hp(False)
        patients: int = hp(0, help="bags of one patient; 0: not known")
        truth: bool = hp(True)

    def load(self, root):
        counts = np.arange(40) % 4 + 1
        offsets = np.append(0, np.cumsum(counts))
        bag = np.repeat(np.arange(40), counts)
        tile = np.arange(len(bag)) - offsets[bag]
        labels = (np.arange(40) % 2 == 0).astype(np.int64)
        tiles = np.stack([bag, tile], axis=1).astype(np.float32)
        if self.params.pixels:
            rng = np.random.default_rng(0)
            tiles = rng.integers(0, 256, (len(bag), 16, 16, 3), dtype=np.uint8)
        return BagArrays(
            tiles,
            offsets,
            labels,
            tuple(f"slide {i}" for i in range(40)),
            groups=np.arange(40) // self.params.patients if self.params.patients else None,
            tile_labels=((tile == 0) & (labels[bag] == 1)).astype(np.int8) if self.params.truth else None,
            positions=np.stack([tile, 10 * bag], axis=1),
        )
'''


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    (tmp_path / "counted.py").write_text(PLUGIN, encoding="utf-8")
    return Registry([tmp_path])


def prepared(
    registry: Registry, root: Path, data: str = "counted", noise: str = "none", seed: int = 0, method: str = "mil_max"
) -> PreparedData:
    (spec,) = expand(
        registry,
        methods=parse_settings(method, what="method"),
        datasets=parse_settings(data, what="dataset"),
        noise=parse_settings(noise, what="noise", number_means="symmetric"),
        seeds=[seed],
        protocol=protocol("quick", {}, "bags"),
        data_root=root,
    )
    return prepare(spec, registry, root)


def test_parts_hold_whole_bags_of_whole_patients(registry: Registry, tmp_path: Path) -> None:
    data = prepared(registry, tmp_path, "counted:patients=2")
    assert sorted(np.concatenate(list(data.indices.values())).tolist()) == list(range(40))
    patients = [set((bags // 2).tolist()) for bags in data.indices.values()]
    assert all(patients) and not any(one & two for one in patients for two in patients if one is not two)
    for part, bags in data.indices.items():
        assert set(data.truth[part].tolist()) == {0, 1}
        assert np.array_equal(data.truth[part], data.arrays.labels[bags])
        assert len(data.inputs[part]) == (bags % 4 + 1).sum()


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_tiles_follow_their_bags(registry: Registry, tmp_path: Path, part: str) -> None:
    data = prepared(registry, tmp_path)
    bags, tiles, offsets = data.indices[part], data.inputs[part][:], part_offsets(data.arrays, data.indices[part])
    assert offsets.dtype == np.int64 and offsets[0] == 0 and offsets[-1] == len(tiles)
    for row, bag in enumerate(bags.tolist()):
        own = tiles[offsets[row] : offsets[row + 1]]
        assert own.tolist() == [[bag, tile] for tile in range(bag % 4 + 1)]


def test_rows_offsets_and_truth_of_some_bags(registry: Registry, tmp_path: Path) -> None:
    arrays = prepared(registry, tmp_path).arrays  # bags of 1, 2, 3, 4, 1, … tiles
    chosen = np.array([2, 0, 4])
    assert tile_rows(arrays, chosen).tolist() == [3, 4, 5, 0, 10]
    assert part_offsets(arrays, chosen).tolist() == [0, 3, 4, 5]
    assert tile_labels(arrays, chosen).tolist() == [1, 0, 0, 1, 1]
    assert tile_rows(arrays, np.array([], dtype=np.int64)).tolist() == [] and part_offsets(arrays, chosen[:0]).tolist() == [0]
    assert tile_labels(prepared(registry, tmp_path, "counted:truth=false").arrays, chosen) is None


def test_what_the_method_is_handed(registry: Registry, tmp_path: Path) -> None:
    data = prepared(registry, tmp_path, "counted:patients=2", "0.25")
    task = task_of("bags")
    seen = task.training_data(data, torch.device("cpu"))
    assert seen.images.shape == (len(data.inputs["train"]), 2) and seen.tiles == len(seen.images) and seen.n == len(data.indices["train"])
    assert seen.labels.tolist() == data.labels["train"].tolist() and seen.groups.tolist() == (data.indices["train"] // 2).tolist()
    assert seen.offsets.tolist() == part_offsets(data.arrays, data.indices["train"]).tolist()
    assert not hasattr(seen, "tile_labels") and not hasattr(seen, "positions")
    described = task.describe(data)
    assert (described["n_test"], described["tiles_test"]) == (len(data.truth["test"]), len(data.inputs["test"]))
    assert described["train_class_counts"] == np.bincount(data.truth["train"]).tolist()


@pytest.mark.parametrize("noise", ["symmetric:0.3", "pairflip:0.3"])
def test_noise_flips_labels_of_bags_and_nothing_else(registry: Registry, tmp_path: Path, noise: str) -> None:
    clean, data = prepared(registry, tmp_path), prepared(registry, tmp_path, noise=noise)
    for part in ("train", "val", "test"):
        assert np.array_equal(clean.indices[part], data.indices[part]) and np.array_equal(clean.inputs[part][:], data.inputs[part][:])
        wrong = (data.labels[part] != data.truth[part]).sum()
        assert wrong == (0 if part == "test" else round(0.3 * len(data.truth[part])))
    assert np.array_equal(clean.arrays.tile_labels, data.arrays.tile_labels)
    assert data.record["realised_rate"] == pytest.approx((data.labels["train"] != data.truth["train"]).mean())
    assert data.record["val_rate"] == pytest.approx((data.labels["val"] != data.truth["val"]).mean())
    other = prepared(registry, tmp_path, noise=noise, method="abmil")
    assert all(np.array_equal(data.labels[part], other.labels[part]) for part in data.labels)
    assert not np.array_equal(data.labels["train"], prepared(registry, tmp_path, noise=noise, seed=1).labels["train"])


def test_what_is_recorded_of_labels_that_tiles_inherit(registry: Registry, tmp_path: Path) -> None:
    """Bags of 1, 2, 3 and 4 tiles with one positive tile; positive ones have 1 or 3 tiles, so a half and two thirds are wrong."""
    clean = prepared(registry, tmp_path)
    bags = clean.indices["train"]
    counts = (bags % 4 + 1)[bags % 2 == 0]
    assert clean.record["inherited_noise"] == pytest.approx(1 - len(counts) / counts.sum())
    assert clean.record["witness_rate"] == pytest.approx((1 / counts).mean())
    data = prepared(registry, tmp_path, noise="0.25")
    flipped = data.labels["train"] == 1
    counts, right = (bags % 4 + 1)[flipped], data.truth["train"][flipped]
    assert data.record["inherited_noise"] == pytest.approx(1 - right.sum() / counts.sum())  # of the labels that are given
    assert data.record["witness_rate"] == pytest.approx((right / counts).mean())
    unknown = prepared(registry, tmp_path, "counted:truth=false").record
    assert unknown["inherited_noise"] is None and unknown["witness_rate"] is None


def test_texture_takes_the_place_of_pixels(registry: Registry, tmp_path: Path) -> None:
    data = prepared(registry, tmp_path, "counted:pixels=true:features=texture")
    pixels = prepared(registry, tmp_path, "counted:pixels=true")
    assert data.arrays.tiles.shape[1:] == (16, 16, 3) and pixels.inputs["test"].shape[1:] == (16, 16, 3)
    assert data.inputs["test"].shape == (len(pixels.inputs["test"]), 50)
    assert np.array_equal(data.inputs["test"][:], texture(pixels.inputs["test"][:]))
    assert list((tmp_path / "features").glob("*.npy"))  # made once


def test_features_of_features_are_refused(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"^data set counted holds features already; leave features=texture out$"):
        prepared(registry, tmp_path, "counted:features=texture")


@pytest.mark.parametrize(("option", "value"), [("imbalance", "10"), ("label_file", "labels.csv")])
def test_options_of_classes_are_refused(registry: Registry, tmp_path: Path, option: str, value: str) -> None:
    with pytest.raises(BenchmarkError, match=f"counted is a set for bags, where {option} means nothing; leave it out"):
        prepared(registry, tmp_path, f"counted:{option}={value}")


def test_a_size_that_the_set_cannot_make_is_refused(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="data set counted cannot make tiles of image_size=8; leave it out"):
        prepared(registry, tmp_path, "counted:pixels=true:image_size=8")


def test_fewer_bags_to_train_on_and_the_same_test(registry: Registry, tmp_path: Path) -> None:
    whole, half = prepared(registry, tmp_path), prepared(registry, tmp_path, "counted:subset=0.5")
    free = len(whole.indices["train"]) + len(whole.indices["val"])
    assert len(half.indices["train"]) + len(half.indices["val"]) == round(free / 2)
    assert set(half.truth["train"].tolist()) == {0, 1}


def test_noise_that_looks_at_images_is_refused(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "looking.py").write_text(
        '''
from benchmark.api import Noise, noise


@noise("looking", version=1, task="bags")
class Looking(Noise):
    """Needs pixels."""

    def apply(self, samples, rng):
        raise LookupError("images")
''',
        encoding="utf-8",
    )
    with pytest.raises(BenchmarkError, match=r"^noise looking needs more than labels of bags \(images\); use symmetric:0.1, say$"):
        prepared(Registry([tmp_path]), tmp_path, noise="looking")
