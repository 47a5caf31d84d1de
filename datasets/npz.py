"""Your own arrays: a numpy archive in one of two layouts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.api import SPLITS, Arrays, Dataset, dataset, hp
from benchmark.data.npz_archive import as_images, as_split, checksum, one_an_image, read_arrays, words
from benchmark.errors import BenchmarkError

KNOWN = ("images", "labels", "clean_labels", "classes", "groups", "split", "hardness", "paths")
MEDMNIST = tuple(f"{part}_{what}" for part in SPLITS for what in ("images", "labels"))


@dataset(
    "npz", version=1, modality="your own", classes=0, size="as in the file", access="file", licence="as your data", citation="", homepage=""
)
class Npz(Dataset):
    """Images and labels from a .npz file, without pickles.

    Either ``images`` (n, H, W) or (n, H, W, 1 or 3) uint8 and ``labels`` (n,) integers in [0, K), with any of ``classes`` (K
    names), ``groups`` (n,) ids of patients or slides (never torn apart), ``split`` (n,) of 0 (train), 1 (val) and 2 (test), or those
    words, ``clean_labels`` (n,) a reference (then ``--noise human`` trains on ``labels``), ``hardness`` and ``paths``; or MedMNIST's
    layout: ``train_images``, ``train_labels`` and the same for ``val`` and ``test``. Other arrays are ignored.

    The identity of a run holds the checksums that the file keeps of its arrays, so a copy is the same data.
    """

    @dataclass(frozen=True)
    class Params:
        """Where the file is, what its classes are called, and how its images may be turned."""

        path: str = hp("", tune=False, help="the .npz file")
        classes: str = hp("", tune=False, help="class names joined by +, where the file has none")
        augment: str = hp(
            "flip", tune=False, help="what the auto augmentation of a protocol means: of crop, flip, rot90, color, joined by +"
        )

    labels_are_truth = False
    argument = "path"

    @property
    def augmentation(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the user's ``augment`` names."""
        return tuple(name for name in words(self.params.augment) if name != "none")

    def load(self, root: Path) -> Arrays:
        """Read the arrays; ``root`` is not used.

        Raises:
            BenchmarkError: no such file, not a whole .npz, an array is missing, of another kind or of another length.
        """
        path = self._path()

        def chosen(found: set[str]) -> Iterable[str]:
            if {"images", "labels"} <= found:
                return [name for name in KNOWN if name in found]
            if {"train_images", "train_labels"} <= found:
                return [name for name in MEDMNIST if name in found]
            listed = ", ".join(sorted(found)[:8]) or "nothing"
            raise BenchmarkError(f"npz: {path} holds {listed}; expected images and labels, or train_images, train_labels, …")

        arrays = read_arrays(path, "npz", chosen)
        if "images" not in arrays:
            arrays = _joined(arrays, path)
        return self._checked(arrays, path)

    def fingerprint(self, root: Path) -> str:
        """Changes with the content of any array; reads the archive's directory only.

        Raises:
            BenchmarkError: no such file, or not a whole .npz.
        """
        return f"{super().fingerprint(root)}-{checksum(self._path(), 'npz')}"

    def _path(self) -> Path:
        if not self.params.path:
            raise BenchmarkError("npz needs a file: write npz:PATH with a .npz file that holds images and labels")
        path = Path(self.params.path).expanduser()
        if not path.is_file():
            raise BenchmarkError(f"npz: there is no file {path}; write npz:PATH with a .npz file that holds images and labels")
        return path

    def _checked(self, arrays: dict[str, np.ndarray], path: Path) -> Arrays:
        images = as_images(arrays["images"], path, "npz")
        n = len(images)
        labels = _integers(arrays, "labels", n, path)
        clean = _integers(arrays, "clean_labels", n, path) if "clean_labels" in arrays else None
        classes = self._classes(arrays, max(int(labels.max(initial=0)), -1 if clean is None else int(clean.max(initial=0))) + 1, path)
        for name in ("groups", "split", "hardness", "paths"):
            if name in arrays:
                one_an_image(name, arrays[name], n, path, "npz")
        return Arrays(
            images,
            labels,
            classes,
            clean_labels=clean,
            split=as_split(arrays["split"], path, "npz") if "split" in arrays else None,
            groups=np.unique(arrays["groups"], return_inverse=True)[1].astype(np.int64) if "groups" in arrays else None,
            hardness=arrays["hardness"].astype(np.float32) if "hardness" in arrays else None,
            paths=tuple(map(str, arrays["paths"])) if "paths" in arrays else None,
        )

    def _classes(self, arrays: dict[str, np.ndarray], least: int, path: Path) -> tuple[str, ...]:
        named = words(self.params.classes)
        if not named and "classes" in arrays:
            named = tuple(map(str, arrays["classes"].reshape(-1)))
        if named and len(named) < least:
            raise BenchmarkError(f"npz: {path} has labels up to {least - 1} but {len(named)} class names ({', '.join(named)})")
        return named or tuple(map(str, range(least)))


def _joined(parts: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """MedMNIST's layout as one set with an official split."""
    images, labels, split = [], [], []
    for code, part in enumerate(SPLITS):
        if f"{part}_images" not in parts:
            continue
        if f"{part}_labels" not in parts:
            raise BenchmarkError(f"npz: {path} has {part}_images but no {part}_labels")
        images.append(np.atleast_1d(parts[f"{part}_images"]))
        labels.append(parts[f"{part}_labels"].reshape(-1))
        if len(images[-1]) != len(labels[-1]):
            raise BenchmarkError(f"npz: {path} has {len(images[-1])} {part}_images but {len(labels[-1])} {part}_labels")
        split.append(np.full(len(labels[-1]), code, dtype=np.int8))
    if len({part.shape[1:] for part in images}) > 1:
        raise BenchmarkError(
            f"npz: the parts of {path} have images of different shapes: {', '.join(str(part.shape[1:]) for part in images)}"
        )
    return {"images": np.concatenate(images), "labels": np.concatenate(labels), "split": np.concatenate(split)}


def _integers(arrays: dict[str, np.ndarray], name: str, n: int, path: Path) -> np.ndarray:
    """(n,) int64 labels."""
    values = arrays[name]
    if values.shape == (n, 1):
        values = values[:, 0]
    if values.shape != (n,) or values.dtype.kind not in "iu":
        raise BenchmarkError(f"npz: {name} in {path} are {values.dtype} {values.shape}; expected integers ({n},), one an image")
    if n and values.min() < 0:
        raise BenchmarkError(f"npz: {name} in {path} go down to {values.min()}; expected 0 to K - 1")
    return values.astype(np.int64)
