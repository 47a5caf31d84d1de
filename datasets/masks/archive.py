"""Images and masks from a .npz file: which arrays, of which shapes and values, and how they are put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.data.npz_archive import as_images, as_split, one_an_image, read_arrays
from benchmark.errors import BenchmarkError, unknown_name
from benchmark.segmentation import VOID
from benchmark.segmentation.arrays import MaskArrays
from benchmark.segmentation.layouts import MOST_CLASSES, MOST_LISTED

from .annotators import draw_annotators, majority_vote

MAJORITY = "majority"
"""The reference that need be no array of the file: what most of an image's annotators say of a pixel."""

OPTIONAL = ("classes", "tasks", "groups", "split", "paths")
"""Arrays that are read where a file has them, beside those that are named."""


@dataclass(frozen=True)
class ArrayNames:
    """What the arrays are called; see the parameters of the data set."""

    key: str
    given: str = ""
    available: str = ""
    group: str = ""

    def wanted(self, path: Path, found: set[str]) -> Iterable[str]:
        """The arrays to read, of those in the file.

        Raises:
            BenchmarkError: one of those that are named is missing.
        """
        votes = self.key == MAJORITY and MAJORITY not in found
        if votes and not self.given:
            raise BenchmarkError("masks: key=majority is a vote of annotators; name the array of their masks: given=…")
        if self.key == self.given:
            raise BenchmarkError(f"masks: key and given are both {self.key}; key is the reference: another array, or majority")
        named = {"images": "images", "key": "" if votes else self.key}
        named |= {"given": self.given, "available": self.available, "group": self.group}
        for parameter, name in named.items():
            if name and name not in found:
                step = "its images must be called so" if name == parameter else f"give the name as {parameter}=NAME"
                step += ", or key=majority for the annotators' vote" if parameter == "key" and self.given else ""
                raise unknown_name(f"array in {path}", name, found, step)
        return {*named.values(), *OPTIONAL, self.availability(found)} & found

    def availability(self, found: Iterable[str]) -> str:
        """The array that tells who drew what; empty: all drew all."""
        likely = (f"has_{self.given}", f"has_{self.given.removesuffix('s')}") if self.given else ()
        return self.available or next((name for name in likely if name in found), "")


def read_masks(path: Path, names: ArrayNames, classes: tuple[str, ...] = (), draw: int = 0) -> MaskArrays:
    """Read an archive as the data set's docstring says.

    Args:
        path: the archive.
        names: what its arrays are called.
        classes: J names, the background first; none: the file's ``classes``, or as many as the masks show.
        draw: chooses the annotators.

    Raises:
        BenchmarkError: the archive is broken, or its arrays are missing, of another shape, or hold no class ids or no foreground, or
            an image has no annotator.
    """
    arrays = read_arrays(path, "masks", lambda found: names.wanted(path, found))
    images = as_images(arrays["images"], path, "masks")
    masks = {name: _as_masks(name, arrays[name], images.shape, path) for name in (names.key,) if name in arrays}
    available = None
    if names.given:
        masks[names.given] = _as_masks(names.given, arrays[names.given], images.shape, path, annotators=True)
        available = _available(names.availability(arrays), arrays, masks[names.given].shape[:2], path)
        masks[names.given] = np.where(available[:, :, None, None, None], masks[names.given], 0)
    counts = {name: values.shape[-3] for name, values in masks.items()}
    if len(set(counts.values())) > 1:
        raise BenchmarkError(f"masks: arrays in {path} differ in their tasks: {', '.join(f'{name} {T}' for name, T in counts.items())}")
    tasks = _task_names(arrays.get("tasks"), next(iter(counts.values())), path)
    classes = classes or (tuple(map(str, arrays["classes"].reshape(-1))) if "classes" in arrays else ())
    masks, classes = _class_ids(masks, classes, path)
    reference = masks.get(names.key)
    if available is not None:
        votes = masks[names.given]
        reference = majority_vote(votes, available, len(classes)) if reference is None else reference
        _check_foreground(names.given, votes, tasks, path)
    assert reference is not None
    _check_foreground(names.key, reference, tasks, path)
    chosen = None if available is None else votes[np.arange(len(images)), draw_annotators(available, draw)]
    own = {name: one_an_image(name, arrays[name], len(images), path, "masks") for name in ("split", "paths") if name in arrays}
    group = names.group or "groups"
    if group in arrays:
        own["groups"] = one_an_image(group, arrays[group], len(images), path, "masks")
    return MaskArrays(
        images,
        reference if chosen is None else chosen,
        tasks,
        classes,
        clean_labels=None if chosen is None else reference,
        split=as_split(own["split"], path, "masks") if "split" in own else None,
        groups=np.unique(own["groups"], return_inverse=True)[1].astype(np.int64) if "groups" in own else None,
        paths=tuple(map(str, own["paths"])) if "paths" in own else None,
    )


def _as_masks(name: str, values: np.ndarray, shape: tuple[int, ...], path: Path, *, annotators: bool = False) -> np.ndarray:
    """(n, T, H, W) uint8 values as they are stored; of annotators (n, R, T, H, W).

    Args:
        name: for messages.
        values: the array.
        shape: (n, H, W, C) of the images.
        path: for messages.
        annotators: whether there is an axis of annotators.
    """
    ahead = 2 if annotators else 1
    if values.ndim == ahead + 2:
        values = np.expand_dims(values, ahead)
    if values.ndim != ahead + 3 or values.shape[0] != shape[0] or values.shape[-2:] != shape[1:3] or 0 in values.shape:
        axes = "n, R" if annotators else "n"
        raise BenchmarkError(
            f"masks: {name} in {path} has shape {values.shape} and the images {shape}; expected ({axes}, H, W) or ({axes}, T, H, W) of "
            f"{shape[0]} images of {shape[1]}×{shape[2]}"
        )
    if values.dtype.kind not in "bui":
        raise BenchmarkError(f"masks: {name} in {path} is {values.dtype}; expected bool or whole numbers")
    if values.dtype.kind == "i" or values.dtype.itemsize > 1:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > VOID:
            raise BenchmarkError(f"masks: {name} in {path} holds values from {low} to {high}; class ids lie in [0, {VOID})")
    return values.astype(np.uint8)


def _available(name: str, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...], path: Path) -> np.ndarray:
    """(n, R) bool: who drew which image."""
    if not name:
        return np.ones(shape, dtype=bool)
    values = arrays[name]
    if values.shape != shape or values.dtype.kind not in "bui":
        raise BenchmarkError(
            f"masks: {name} in {path} is {values.dtype} {values.shape}; expected bool {shape}, one row an image and one column an annotator"
        )
    without = np.flatnonzero(~values.astype(bool).any(axis=1))
    if len(without):
        called = f" ({arrays['paths'][without[0]]})" if "paths" in arrays and arrays["paths"].shape == shape[:1] else ""
        more = f" and {len(without) - 1} more have" if len(without) > 1 else " has"
        raise BenchmarkError(f"masks: image {without[0]}{called}{more} no annotator in {name} of {path}; leave it out of the file")
    return values.astype(bool)


def _task_names(values: np.ndarray | None, count: int, path: Path) -> tuple[str, ...]:
    names = () if values is None else tuple(map(str, values.reshape(-1)))
    if names and len(names) != count:
        raise BenchmarkError(f"masks: {path} names {len(names)} tasks ({', '.join(names)}), and its masks have {count}")
    return names or (("mask",) if count == 1 else tuple(f"task {t}" for t in range(count)))


def _class_ids(masks: dict[str, np.ndarray], classes: tuple[str, ...], path: Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The masks as class ids, and the names of the classes: 0 and 255 are background and object unless more classes are named."""
    seen = {name: _values(stored) for name, stored in masks.items()}
    ids_of = dict(masks)
    for name, stored in masks.items():
        if seen[name] <= {0, VOID} and len(classes) in (0, 2):
            ids_of[name], seen[name] = (stored == VOID).astype(np.uint8), {0, 1}
    ids = sorted(set().union(*seen.values()) - {VOID})
    count = len(classes) or max(2, ids[-1] + 1 if ids else 0)
    strange = {j for j in ids if j >= count}
    if not classes and (count > MOST_CLASSES or ids not in (list(range(count)), list(range(1, count)))):
        strange = set(ids[-1:])  # without names, ids that leave some out are grey values
    for name, values in seen.items():
        if values & strange:
            listed = ", ".join(map(str, sorted(values)[:MOST_LISTED])) + (f" … ({len(values)} values)" if len(values) > MOST_LISTED else "")
            raise BenchmarkError(
                f"masks: {name} in {path} holds unexpected values: {listed}; expected 0 and 255, or class ids from 0 to "
                f"{count - 1 if classes else 'K-1'} with 255 for void"
            )
    return ids_of, classes or (("background", "object") if count == 2 else ("background", *(f"class {j}" for j in range(1, count))))


def _values(masks: np.ndarray) -> set[int]:
    """The values that occur; image by image, so that nothing larger than the masks is made."""
    return set(np.flatnonzero(sum(np.bincount(row.reshape(-1), minlength=VOID + 1) for row in masks)).tolist())


def _check_foreground(name: str, masks: np.ndarray, tasks: tuple[str, ...], path: Path) -> None:
    """``masks``: (…, T, H, W) class ids."""
    for t, task in enumerate(tasks):
        if not ((masks[..., t, :, :] > 0) & (masks[..., t, :, :] != VOID)).any():
            of = f" of {task}" if len(tasks) > 1 else ""
            raise BenchmarkError(f"masks: {name}{of} in {path} shows no foreground anywhere: every pixel is background or void")
