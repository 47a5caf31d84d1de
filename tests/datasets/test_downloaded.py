"""The data sets that are downloaded, each from tiny files in its own format; nothing is fetched from the web."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import os
import struct
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch

from benchmark.api import SPLITS, Arrays, Samples
from benchmark.data.cifar_human import read_labels
from benchmark.data.downloaded import DownloadedSet
from benchmark.data.options import DataOptions
from benchmark.errors import BenchmarkError
from benchmark.noise_record import record
from benchmark.params import resolve
from benchmark.prepare import check_arrays
from benchmark.registry import Registry
from benchmark.training.names import AUGMENTATIONS

REGISTRY = Registry()
CIFAR = ("cifar10", "cifar100", "cifar10n", "cifar100n", "cifar10h")
MNIST = ("mnist", "fashion_mnist")
MEDMNIST = (
    "pathmnist",
    "dermamnist",
    "bloodmnist",
    "organcmnist",
    "octmnist",
    "pneumoniamnist",
    "breastmnist",
    "retinamnist",
    "tissuemnist",
)
ALL = (*CIFAR, *MNIST, *MEDMNIST)
UNHASHED = ("cifar100n", "cifar10h")
RGB = ("pathmnist", "dermamnist", "bloodmnist", "retinamnist")
TRAIN, TEST = 500, 20
"""Images of the tiny CIFAR archives: a multiple of five members, and 40.2 % of them is a whole number."""


def make(name: str, options: DataOptions | None = None, **params: Any) -> DownloadedSet:
    cls = REGISTRY.load("dataset", name)
    return cls(resolve(cls.Params, params, name), options)


def load(name: str, root: Path, **params: Any) -> Arrays:
    arrays = make(name, **params).load(root)
    check_arrays(arrays, name)
    return arrays


@dataclass(frozen=True)
class Tiny:
    """What a tiny file holds."""

    images: np.ndarray
    labels: np.ndarray
    split: np.ndarray


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a set's files below ``tmp_path`` and lets the set expect their hashes; the set itself is not changed."""

    def write(name: str) -> Tiny:
        if name in CIFAR:
            return write_cifar(name, tmp_path, monkeypatch)
        return write_mnist(name, tmp_path, monkeypatch) if name in MNIST else write_medmnist(name, tmp_path, monkeypatch)

    return write


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def expecting(remote: Any, content: bytes) -> Any:
    return dataclasses.replace(remote, hash="sha256:" + hashlib.sha256(content).hexdigest(), size_bytes=0)


def tar_gz(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def cifar_members(archive: Any) -> tuple[dict[str, bytes], Tiny]:
    """Records by hand: superclass (0) and class, then the red, green and blue plane."""
    classes = len(archive.classes)
    labels = np.arange(TRAIN + TEST) * 7 % classes
    images = np.random.default_rng(3).integers(0, 256, (TRAIN + TEST, 32, 32, 3)).astype(np.uint8)
    records = [
        bytes(archive.label_bytes - 1) + bytes([label]) + b"".join(image[:, :, channel].tobytes() for channel in range(3))
        for label, image in zip(labels.tolist(), images, strict=True)
    ]
    size = TRAIN // len(archive.train)
    members = {name: b"".join(records[i * size : (i + 1) * size]) for i, name in enumerate(archive.train)}
    members[archive.test[0]] = b"".join(records[TRAIN:])
    return members, Tiny(images, labels, np.repeat([0, 2], [TRAIN, TEST]))


def write_cifar(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    cls = REGISTRY.load("dataset", name)
    members, held = cifar_members(cls.archive)
    content = tar_gz({"cifar/readme.html": b"-", **members})
    put(root / "cifar" / cls.archive.remote.name, content)
    monkeypatch.setattr(cls, "archive", dataclasses.replace(cls.archive, remote=expecting(cls.archive.remote, content)))
    if name.endswith("n"):
        write_human(name, root, monkeypatch, human_labels(held.labels[:TRAIN], len(cls.archive.classes)))
    if name == "cifar10h":
        write_counts(root, answers(held.labels[TRAIN:]))
    return held


def human_labels(clean: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Each label set is wrong at its first images: 40.2 % in the ones that are used by default."""
    wrong = {"aggre_label": 45, "random_label1": 86, "random_label2": 91, "random_label3": 88, "worse_label": 201, "noisy_label": 201}
    return {"clean_label": clean, **{key: np.where(np.arange(len(clean)) < n, (clean + 1) % classes, clean) for key, n in wrong.items()}}


def write_human(name: str, root: Path, monkeypatch: pytest.MonkeyPatch, labels: Any, **save: Any) -> Path:
    cls = REGISTRY.load("dataset", name)
    stream = io.BytesIO()
    torch.save(labels, stream, **save)
    content = stream.getvalue()
    if cls.human.hash is not None:
        monkeypatch.setattr(cls, "human", expecting(cls.human, content))
    return put(root / "cifar" / cls.human.name, content)


def answers(labels: np.ndarray) -> np.ndarray:
    """(n, 10): 47 of 50 people agree with the label, three say the next class."""
    counts = np.zeros((len(labels), 10), dtype=np.int64)
    counts[np.arange(len(labels)), labels] = 47
    counts[np.arange(len(labels)), (labels + 1) % 10] = 3
    return counts


def write_counts(root: Path, counts: np.ndarray) -> Path:
    stream = io.BytesIO()
    np.save(stream, counts)
    return put(root / "cifar" / "cifar10h-counts.npy", stream.getvalue())


def idx_gz(values: np.ndarray) -> bytes:
    return gzip.compress(bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes())


def write_mnist(name: str, root: Path, monkeypatch: pytest.MonkeyPatch, **changes: np.ndarray) -> Tiny:
    cls = REGISTRY.load("dataset", name)
    images = np.random.default_rng(4).integers(0, 256, (7, 28, 28)).astype(np.uint8)
    labels = np.array([3, 9, 0, 1, 2, 8, 7], dtype=np.uint8)
    parts = {"train_images": images[:5], "test_images": images[5:], "train_labels": labels[:5], "test_labels": labels[5:]} | changes
    for kind in ("images", "labels"):
        contents = [idx_gz(parts[f"{part}_{kind}"]) for part in ("train", "test")]
        remotes = getattr(cls, kind)
        for remote, content in zip(remotes, contents, strict=True):
            put(root / cls.folder / remote.name, content)
        monkeypatch.setattr(cls, kind, tuple(expecting(remote, content) for remote, content in zip(remotes, contents, strict=True)))
    return Tiny(images[..., None], labels, np.repeat([0, 2], [5, 2]))


def write_medmnist(name: str, root: Path, monkeypatch: pytest.MonkeyPatch, size: int = 28, **changes: np.ndarray | None) -> Tiny:
    cls = REGISTRY.load("dataset", name)
    shape = (9, size, size, 3) if name in RGB else (9, size, size)
    images = np.random.default_rng(5).integers(0, 256, shape).astype(np.uint8)
    labels = (np.arange(9) % len(cls.classes)).astype(np.uint8)
    parts = {}
    for part, rows in (("train", slice(0, 5)), ("val", slice(5, 7)), ("test", slice(7, 9))):
        parts |= {f"{part}_images": images[rows], f"{part}_labels": labels[rows, None]}
    stream = io.BytesIO()
    np.savez_compressed(stream, **{key: value for key, value in (parts | changes).items() if value is not None})
    content = stream.getvalue()
    put(root / "medmnist" / (f"{name}.npz" if size == 28 else f"{name}_{size}.npz"), content)
    monkeypatch.setattr(cls, "md5", (hashlib.md5(content).hexdigest(),) * 4)
    return Tiny(images if images.ndim == 4 else images[..., None], labels, np.repeat([0, 1, 2], [5, 2, 2]))


# ------------------------------------------------------------------------------------------------------ every set


@pytest.mark.parametrize("name", ALL)
def test_each_set_from_tiny_files(name: str, tiny: Any, tmp_path: Path) -> None:
    held = tiny(name)
    arrays = load(name, tmp_path)
    truth = arrays.labels if arrays.clean_labels is None else arrays.clean_labels
    rows = slice(TRAIN, None) if name == "cifar10h" else slice(None)
    assert np.array_equal(arrays.images, held.images[rows]) and np.array_equal(truth, held.labels[rows])
    if name == "cifar10h":
        assert arrays.split is None
    else:
        assert arrays.split is not None and arrays.split.dtype == np.int8 and np.array_equal(arrays.split, held.split)
    assert len(arrays.classes) == len(set(arrays.classes)) == make(name).manifest["classes"]
    assert arrays.groups is None and arrays.paths is None and arrays.hardness is None
    assert (arrays.clean_labels is not None) == (name in ("cifar10n", "cifar100n", "cifar10h"))


@pytest.mark.parametrize("name", ALL)
def test_files_that_are_here_are_enough(name: str, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, told = make(name), []
    tiny(name)
    monkeypatch.setattr(requests, "get", lambda *_, **__: pytest.fail("nothing is to be fetched"))
    plugin = make(name)
    plugin.prepare(tmp_path, lambda *progress: told.append(progress))
    n = TRAIN + TEST if name in CIFAR else 7 if name in MNIST else 9
    first = plugin.remotes()[0].name
    assert {text for text, _, _ in told} == {f"unpacking {first}"} and {total for _, _, total in told} == {n} and told[-1][1] == n
    plugin.prepare(tmp_path, lambda *_: pytest.fail("nothing is left to be done"))
    if name in UNHASHED:
        assert (
            plugin.fingerprint(tmp_path)
            == f"v1-{hashlib.sha256((tmp_path / 'cifar' / plugin.remotes()[1].name).read_bytes()).hexdigest()[:16]}"
        )
    else:
        assert plugin.fingerprint(tmp_path / "not made") == "v1"


@pytest.mark.parametrize("name", ALL)
def test_without_a_network_each_says_what_to_put_where(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise requests.ConnectionError("[Errno -3] Temporary failure in name resolution\nand more")

    monkeypatch.setattr(requests, "get", offline)
    plugin = make(name)
    first = plugin.remotes()[0]
    with pytest.raises(BenchmarkError) as error:
        plugin.prepare(tmp_path / "new", lambda *_: None)
    assert "\n" not in str(error.value) and "no connection to" in str(error.value)
    assert f"download {first.url} by hand and put it at {tmp_path / 'new' / plugin.folder / first.name}" in str(error.value)
    if name in UNHASHED:
        with pytest.raises(BenchmarkError, match="no connection to"):
            plugin.fingerprint(tmp_path / "new")


@pytest.mark.parametrize("name", ALL)
def test_each_says_what_it_is(name: str) -> None:
    plugin = make(name)
    assert set(plugin.manifest) == {"version", "modality", "classes", "size", "access", "licence", "citation", "homepage"}
    assert plugin.manifest["access"].startswith("download, ") and set(plugin.augmentation) <= set(AUGMENTATIONS)
    assert all(remote.url.startswith("https://") and remote.homepage for remote in plugin.remotes())
    assert all(remote.hash for remote in plugin.remotes()) == (name not in UNHASHED)


def test_labels_survive_augmentation() -> None:
    """Digits, organs with a side, and hearts must not be mirrored."""
    for name in ("mnist", "organcmnist", "pneumoniamnist"):
        assert not {"flip", "rot90"} & set(make(name).augmentation)
    for name in CIFAR:
        assert make(name).augmentation == ("crop", "flip")
    for name in ("pathmnist", "bloodmnist", "dermamnist"):
        assert make(name).augmentation == ("flip", "rot90", "color")


def test_sets_on_the_same_images_share_the_archive() -> None:
    files = {name: make(name).remotes()[0] for name in ("cifar10", "cifar10n", "cifar10h")}
    assert len({(make(name).folder, remote.name, remote.hash) for name, remote in files.items()}) == 1


# ----------------------------------------------------------------------------------------------- unpacked images


@pytest.mark.parametrize("name", ALL)
def test_images_are_unpacked_once(name: str, tiny: Any, tmp_path: Path) -> None:
    tiny(name)
    plugin = make(name)
    first = plugin.load(tmp_path)
    folder = tmp_path / plugin.folder
    (unpacked,) = (folder / "unpacked").glob("*/images.npy")
    before = unpacked.stat().st_mtime_ns
    for remote in plugin.sources():
        (folder / remote.name).unlink()
    again = make(name).load(tmp_path)
    assert np.array_equal(first.images, again.images) and np.array_equal(first.labels, again.labels)
    assert unpacked.stat().st_mtime_ns == before
    if name != "cifar10h":  # which takes the test images alone
        assert isinstance(again.images, np.memmap) and Path(again.images.filename) == unpacked and not again.images.flags.writeable


def test_sets_on_the_same_images_share_them_unpacked(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = tiny("cifar10")
    plain = load("cifar10", tmp_path)
    write_human("cifar10n", tmp_path, monkeypatch, human_labels(held.labels[:TRAIN], 10))
    cls = REGISTRY.load("dataset", "cifar10n")
    monkeypatch.setattr(cls, "archive", REGISTRY.load("dataset", "cifar10").archive)
    human = load("cifar10n", tmp_path)
    assert human.images.filename == plain.images.filename  # type: ignore[attr-defined]
    assert len(list((tmp_path / "cifar" / "unpacked").glob("*/images.npy"))) == 1


def test_the_members_of_an_archive_may_stand_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.data.cifar.CHUNK_BYTES", 3 * 3073 + 1)  # three records at a time; 100 are no multiple
    cls = REGISTRY.load("dataset", "cifar10")
    members, held = cifar_members(cls.archive)
    content = tar_gz(dict(reversed(members.items())))
    put(tmp_path / "cifar" / cls.archive.remote.name, content)
    monkeypatch.setattr(cls, "archive", dataclasses.replace(cls.archive, remote=expecting(cls.archive.remote, content)))
    arrays = load("cifar10", tmp_path)
    assert np.array_equal(arrays.images, held.images) and np.array_equal(arrays.labels, held.labels)
    assert arrays.split is not None and np.array_equal(arrays.split, held.split)


def test_another_source_is_unpacked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_medmnist("bloodmnist", tmp_path, monkeypatch)
    load("bloodmnist", tmp_path)
    changed = np.zeros((5, 28, 28, 3), np.uint8)
    write_medmnist("bloodmnist", tmp_path, monkeypatch, train_images=changed)
    assert not load("bloodmnist", tmp_path).images[:5].any()
    assert len(list((tmp_path / "medmnist" / "unpacked").glob("*/images.npy"))) == 1  # the older one is gone


def test_each_size_is_unpacked_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (28, 64):
        held = write_medmnist("bloodmnist", tmp_path, monkeypatch, size)
        assert np.array_equal(make("bloodmnist", DataOptions(image_size=size)).load(tmp_path).images, held.images)
    assert len(list((tmp_path / "medmnist" / "unpacked").glob("*/images.npy"))) == 2


# ------------------------------------------------------------------------------------------------ CIFAR and MNIST


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cifar-10-batches-bin/data_batch_3.bin": None}, r"it has no cifar-10-batches-bin/data_batch_3\.bin"),
        ({"cifar-10-batches-bin/test_batch.bin": b"x" * 3074}, "has 3074 bytes, which is no whole number of records of 3073"),
        ({"cifar-10-batches-bin/test_batch.bin": b""}, "has 0 bytes"),
        ({"cifar-10-batches-bin/test_batch.bin": b"\x0a" + bytes(3072)}, "has the label 10 where there are 10 classes"),
    ],
)
def test_a_cifar_archive_that_is_another(
    change: dict[str, bytes | None], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = REGISTRY.load("dataset", "cifar10")
    members = cifar_members(cls.archive)[0] | change
    content = tar_gz({name: part for name, part in members.items() if part is not None})
    put(tmp_path / "cifar" / cls.archive.remote.name, content)
    monkeypatch.setattr(cls, "archive", dataclasses.replace(cls.archive, remote=expecting(cls.archive.remote, content)))
    with pytest.raises(BenchmarkError, match=reason) as error:
        load("cifar10", tmp_path)
    assert "\n" not in str(error.value) and "cifar-10-binary.tar.gz" in str(error.value)
    assert [file.name for file in (tmp_path / "cifar").rglob("unpacked/*") if file.name != ".lock"] == []


def test_cifar_100_has_the_fine_labels(tiny: Any, tmp_path: Path) -> None:
    arrays = (tiny("cifar100"), load("cifar100", tmp_path))[1]
    assert arrays.labels[:3].tolist() == [0, 7, 14] and arrays.classes[0] == "apple" and arrays.classes[99] == "worm"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"train_labels": np.zeros(4, np.uint8)}, r"holds \(5, 28, 28\) and train-labels-idx1-ubyte\.gz \(4,\)"),
        ({"test_images": np.zeros((2, 8, 8), np.uint8)}, r"training images are \(28, 28\), test images \(8, 8\)"),
        (
            {"train_images": np.zeros((0, 28, 28), np.uint8), "train_labels": np.zeros(0, np.uint8)}
            | {"test_images": np.zeros((0, 28, 28), np.uint8), "test_labels": np.zeros(0, np.uint8)},
            r"there is no image in .*train-images-idx3-ubyte\.gz; remove it, so that it is fetched again",
        ),
        ({"test_labels": np.array([3, 10], np.uint8)}, r"t10k-labels-idx1-ubyte\.gz has the label 10 of 10 classes"),
    ],
)
def test_mnist_files_that_do_not_fit(changes: dict[str, np.ndarray], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist("mnist", tmp_path, monkeypatch, **changes)
    with pytest.raises(BenchmarkError, match=reason):
        load("mnist", tmp_path)


# ------------------------------------------------------------------------------------------------------- MedMNIST


@pytest.mark.parametrize(
    ("asked", "size"), [(0, 28), (20, 28), (28, 28), (29, 64), (64, 64), (100, 128), (128, 128), (224, 224), (500, 224)]
)
def test_the_native_size_is_the_smallest_that_is_enough(asked: int, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = make("bloodmnist", DataOptions(image_size=asked))
    (remote,) = plugin.remotes()
    name = "bloodmnist.npz" if size == 28 else f"bloodmnist_{size}.npz"
    assert remote.name == name and remote.url == f"https://zenodo.org/records/10519652/files/{name}?download=1"
    assert remote.hash == f"md5:{plugin.md5[(28, 64, 128, 224).index(size)]}"
    held = write_medmnist("bloodmnist", tmp_path, monkeypatch, size)
    assert np.array_equal(make("bloodmnist", DataOptions(image_size=asked)).load(tmp_path).images, held.images)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"val_labels": None}, "cannot be read as a whole npz archive"),
        ({"train_labels": np.zeros((4, 1), np.uint8)}, r"holds \(4, 2, 2\) labels of \(1,\) for \(5, 2, 2\) images"),
        ({f"{part}_labels": np.zeros((n, 14), np.uint8) for part, n in zip(SPLITS, (5, 2, 2), strict=True)}, r"labels of \(14,\)"),
        ({"test_labels": np.array([[0], [2]], np.uint8)}, "has labels from 0 to 2 where there are 2 classes"),
        (
            {f"{part}_images": np.zeros((n, 64, 64), np.uint8) for part, n in zip(SPLITS, (5, 2, 2), strict=True)},
            r"uint8 images of \(64, 64\)",
        ),
        (
            {f"{part}_images": np.zeros((n, 28, 28)) for part, n in zip(SPLITS, (5, 2, 2), strict=True)},
            r"float64 images of \(28, 28\), not",
        ),
    ],
)
def test_a_medmnist_file_that_is_another(
    changes: dict[str, np.ndarray | None], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_medmnist("pneumoniamnist", tmp_path, monkeypatch, **changes)
    with pytest.raises(BenchmarkError, match=reason) as error:
        load("pneumoniamnist", tmp_path)
    assert "\n" not in str(error.value) and "pneumoniamnist.npz" in str(error.value)


# ------------------------------------------------------------------------------------------------- people's labels


@pytest.mark.parametrize(("labels", "wrong"), [("aggregate", 45), ("random1", 86), ("random2", 91), ("random3", 88), ("worse", 201)])
def test_cifar_10n_has_the_chosen_labels(labels: str, wrong: int, tiny: Any, tmp_path: Path) -> None:
    tiny("cifar10n")
    arrays = load("cifar10n", tmp_path, labels=labels)
    assert arrays.clean_labels is not None
    assert np.flatnonzero(arrays.labels != arrays.clean_labels).tolist() == list(range(wrong))
    assert make("cifar10n").params.labels == "worse" and make("cifar10n").argument == "labels"


@pytest.mark.parametrize(
    ("labels", "rate"), [("aggregate", 0.09), ("random1", 0.172), ("random2", 0.182), ("random3", 0.176), ("worse", 0.402)]
)
def test_the_rate_of_peoples_errors_is_recorded(labels: str, rate: float, tiny: Any, tmp_path: Path) -> None:
    """Wrong are 9.03, 17.23, 18.12, 17.64 and 40.21 % of the file's 50,000 labels; of the 500 here as near to that as can be."""
    tiny("cifar10n")
    arrays = load("cifar10n", tmp_path, labels=labels)
    assert arrays.clean_labels is not None and arrays.split is not None
    training = arrays.split == 0
    samples = Samples(arrays.clean_labels[training], 10, arrays.classes, given=arrays.labels[training])
    noisy = REGISTRY.load("noise", "human")().apply(samples, np.random.default_rng(0))
    recorded = record(samples.labels, noisy, 10, None)
    assert recorded["realised_rate"] == pytest.approx(rate) and recorded["nominal_rate"] is None


@pytest.mark.parametrize("save", [{}, {"_use_new_zipfile_serialization": False}])
def test_files_of_older_numpy_are_read(save: dict[str, Any], tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = tiny("cifar10n")
    path = write_human("cifar10n", tmp_path, monkeypatch, human_labels(held.labels[:TRAIN], 10), **save)
    if save:  # in the old format the pickle is the file; numpy 1 called its module otherwise
        content = path.read_bytes()
        assert b"cnumpy._core.multiarray\n" in content
        path.write_bytes(content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    assert int((read_labels(path)["worse_label"] != held.labels[:TRAIN]).sum()) == 201


def test_labels_in_another_order(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = human_labels(tiny("cifar10n").labels[:TRAIN], 10)
    labels["clean_label"] = np.roll(labels["clean_label"], 1)
    write_human("cifar10n", tmp_path, monkeypatch, labels)
    with pytest.raises(BenchmarkError, match=r"differs from the archive's labels at 500 of 500 images, first at number 0: .*another order"):
        load("cifar10n", tmp_path)


def test_labels_for_another_number_of_images(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = human_labels(tiny("cifar10n").labels[:TRAIN], 10)
    for short in (labels | {"worse_label": labels["worse_label"][:-1]}, {key: values[:-1] for key, values in labels.items()}):
        write_human("cifar10n", tmp_path, monkeypatch, short)
        with pytest.raises(BenchmarkError, match="has 499 labels for 500 training images"):
            load("cifar10n", tmp_path)


def test_a_label_set_that_is_not_there(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = human_labels(tiny("cifar10n").labels[:TRAIN], 10)
    labels["worst_label"] = labels.pop("worse_label")
    write_human("cifar10n", tmp_path, monkeypatch, labels)
    with pytest.raises(BenchmarkError, match=r"unknown label set of CIFAR-10_human\.pt 'worse_label'; did you mean 'worst_label'"):
        load("cifar10n", tmp_path)


@pytest.mark.parametrize("values", [np.full(TRAIN, 10), np.full(TRAIN, -1), np.full(TRAIN, 0.5)])
def test_labels_that_are_none(values: np.ndarray, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = human_labels(tiny("cifar10n").labels[:TRAIN], 10)
    write_human("cifar10n", tmp_path, monkeypatch, labels | {"worse_label": values})
    with pytest.raises(BenchmarkError, match=r"worse_label must be whole numbers in \[0, 10\)"):
        load("cifar10n", tmp_path)


class Evil:
    """Runs a command where it is unpickled without care."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch evil",)


@pytest.mark.parametrize("content", [{"clean_label": Evil()}, {"clean_label": Path("x")}, [1, 2], {1: np.zeros(3)}])
def test_a_file_with_anything_else_in_it(content: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(BenchmarkError, match=r"a\.pt holds (more than|no) arrays .*remove it, so that it is fetched again") as error:
        read_labels(tmp_path / "a.pt")
    assert "\n" not in str(error.value) and not (tmp_path / "evil").exists()


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_file_of_labels_that_is_cut_short(share: float, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"clean_label": np.arange(1000)}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BenchmarkError, match="is cut short, or was not written by torch; remove it") as error:
        read_labels(path)
    assert "\n" not in str(error.value)


def test_cifar_100n_must_have_the_published_rate(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = human_labels(tiny("cifar100n").labels[:TRAIN], 100)
    arrays = load("cifar100n", tmp_path)
    assert arrays.clean_labels is not None and int((arrays.labels != arrays.clean_labels).sum()) == 201
    for file in (tmp_path / "cifar").glob("CIFAR-100_human.pt*"):
        file.unlink()
    write_human("cifar100n", tmp_path, monkeypatch, labels | {"noisy_label": labels["aggre_label"]})
    with pytest.raises(BenchmarkError, match=r"has 9\.00% wrong labels where the paper states 40\.20%: it is another file"):
        load("cifar100n", tmp_path)


def test_a_file_without_a_known_hash_must_not_change(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = human_labels(tiny("cifar100n").labels[:TRAIN], 100)
    before = make("cifar100n").fingerprint(tmp_path)
    write_human("cifar100n", tmp_path, monkeypatch, labels | {"noisy_coarse_label": labels["clean_label"]})
    with pytest.raises(BenchmarkError, match=r"another file than expected.*remove it together with CIFAR-100_human\.pt\.verified"):
        load("cifar100n", tmp_path)
    (tmp_path / "cifar" / "CIFAR-100_human.pt.verified").unlink()
    assert make("cifar100n").fingerprint(tmp_path) != before


# ------------------------------------------------------------------------------------------------------ CIFAR-10H


def test_one_answer_of_many(tmp_path: Path, tiny: Any) -> None:
    labels = tiny("cifar10h").labels[TRAIN:]
    first, again, other = load("cifar10h", tmp_path), load("cifar10h", tmp_path), load("cifar10h", tmp_path, draw=1)
    assert np.array_equal(first.labels, again.labels) and not np.array_equal(first.labels, other.labels)
    assert set((first.labels - labels) % 10) <= {0, 1}  # only what someone said
    assert np.array_equal(load("cifar10h", tmp_path, labels="majority").labels, labels)


def test_answers_are_drawn_in_proportion() -> None:
    module = __import__("sys").modules[REGISTRY.load("dataset", "cifar10h").__module__]
    counts = np.tile([0, 30, 0, 10], (20_000, 1))
    drawn = module.one_answer(counts, np.random.default_rng(0))
    assert drawn.dtype == np.int64 and set(drawn.tolist()) == {1, 3}
    assert abs(float(np.mean(drawn == 3)) - 0.25) < 0.01  # three standard errors
    assert module.one_answer(np.array([[0, 0, 5], [1, 0, 0]]), np.random.default_rng(0)).tolist() == [2, 0]
    tied = module.majority(np.tile([4, 4, 3], (1000, 1)), np.random.default_rng(0))
    assert set(tied.tolist()) == {0, 1} and 0.4 < float(np.mean(tied)) < 0.6


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda counts: counts[:-1], r"holds \(19, 10\), not \(20, 10\) counts"),
        (lambda counts: counts / 50, "must hold how many people gave each answer"),
        (lambda counts: counts * (np.arange(20) > 0)[:, None], "at least one for each image"),
        (lambda counts: counts - 4, "whole numbers"),
        (lambda counts: np.roll(counts, 1, axis=0), r"of the answers are CIFAR-10's labels where .* images in another order"),
    ],
)
def test_counts_that_do_not_fit(change: Any, reason: str, tiny: Any, tmp_path: Path) -> None:
    write_counts(tmp_path, change(answers(tiny("cifar10h").labels[TRAIN:])))
    with pytest.raises(BenchmarkError, match=reason) as error:
        load("cifar10h", tmp_path)
    assert "\n" not in str(error.value)


# ------------------------------------------------------------------------------------------------------ real files


def test_the_published_rates_of_cifar_10n() -> None:
    """Wei et al. (2022), table 1: wrong labels of the training images."""
    cache = os.environ.get("BENCHMARK_CACHE")
    path = Path(cache or "") / "cifar" / "CIFAR-10_human.pt"
    if not cache or not path.is_file():
        pytest.skip("no CIFAR-10_human.pt in the folder cifar of BENCHMARK_CACHE")
    labels = read_labels(path)
    rates = {key: 100 * float(np.mean(values != labels["clean_label"])) for key, values in labels.items()}
    published = {"aggre_label": 9.03, "random_label1": 17.23, "random_label2": 18.12, "random_label3": 17.64, "worse_label": 40.21}
    assert {key: round(rates[key], 2) for key in published} == published
