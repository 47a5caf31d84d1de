"""From a spec to the images and masks of one run: load, resize, split by patient, corrupt the masks."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.api import Dataset, Samples
from benchmark.data.resize import resized
from benchmark.data.rows import ImageRows
from benchmark.data.thinning import thin
from benchmark.errors import BenchmarkError
from benchmark.noise_record import record as record_noise
from benchmark.prepare import PreparedData, load
from benchmark.registry import Registry
from benchmark.resolve import instantiate_dataset, instantiate_noise, refuse_changed_noise
from benchmark.seeds import numpy_generator
from benchmark.segmentation import VOID
from benchmark.segmentation.arrays import MaskArrays
from benchmark.segmentation.checks import MOST_VALUES
from benchmark.segmentation.overlap import overlap
from benchmark.spec import RunSpec
from benchmark.splits import split_indices


def prepare_masks(spec: RunSpec, registry: Registry, data_root: Path) -> PreparedData:
    """Load the data of a spec, split them and draw the noise; see :func:`benchmark.prepare.prepare`.

    Raises:
        BenchmarkError: unusable data, a part that would be empty, or masks that cannot bear the noise.
    """
    dataset, noise = instantiate_dataset(registry, spec.dataset), instantiate_noise(registry, spec.noise)
    refuse_changed_noise(registry, spec.noise, noise, data_root)
    arrays: MaskArrays = load(dataset, spec.dataset, data_root)
    truth = arrays.labels if arrays.clean_labels is None else arrays.clean_labels
    content = _content(arrays, truth)
    indices = _split(spec, dataset, arrays, content)
    true = {part: truth[positions] for part, positions in indices.items()}
    labels = {"test": true["test"]}
    for part in ("train", "val"):
        names = spec.noise_names(content)
        samples = Samples(
            true[part],
            len(arrays.classes),
            arrays.classes,
            images=ImageRows(arrays.images, indices[part]),
            given=None if arrays.clean_labels is None else arrays.labels[indices[part]],
            positions=indices[part],
            content=content,
            names=names,
            tasks=arrays.tasks,
        )
        labels[part] = noise.apply(samples, numpy_generator("noise", part, *names))
        _check_noisy(labels[part], true[part], len(arrays.classes), noise.name)
    record = record_masks(true["train"], labels["train"], arrays.tasks, arrays.classes, noise.rate)
    record["val_rate"] = pixel_error_rate(true["val"], labels["val"])
    inputs = {part: ImageRows(arrays.images, positions) for part, positions in indices.items()}
    nothing = {part: np.zeros(len(positions), dtype=bool) for part, positions in indices.items()}
    return PreparedData(dataset, noise, arrays, inputs, indices, labels, true, nothing, record)


def checked_masks(arrays: MaskArrays, dataset: Dataset, identity: str, data_root: Path) -> MaskArrays:
    """The arrays, if they keep the contract of :class:`~benchmark.segmentation.arrays.MaskArrays`, at the size that the options ask for.

    Images are scaled as those of classification are, masks by the nearest pixel, both by their shorter side and cut to the centre.

    Raises:
        BenchmarkError: they do not; one line that says how.
    """
    _check(arrays, dataset.name)
    size = dataset.options.image_size
    if not size or arrays.images.shape[1:3] == (size, size):
        return arrays
    clean = None if arrays.clean_labels is None else resized_masks(arrays.clean_labels, size)
    images = resized(arrays.images, size, identity, data_root)
    return dataclasses.replace(arrays, images=images, labels=resized_masks(arrays.labels, size), clean_labels=clean)


def resized_masks(masks: np.ndarray, size: int) -> np.ndarray:
    """(n, T, size, size) uint8 from (n, T, H, W) class ids: each pixel takes the id nearest to its centre."""
    height, width = masks.shape[2:]
    step = min(height, width) / size
    places = [
        np.clip(((np.arange(size) + 0.5) * step + (side - size * step) / 2).astype(np.int64), 0, side - 1) for side in (height, width)
    ]
    return np.ascontiguousarray(masks[:, :, places[0][:, None], places[1][None, :]])


def pixel_error_rate(true: np.ndarray, given: np.ndarray) -> float | None:
    """Share of wrong pixels among those that are void in neither; None without any."""
    known = (true != VOID) & (given != VOID)
    total = int(np.count_nonzero(known))
    return int(np.count_nonzero((true != given) & known)) / total if total else None


def record_masks(
    true: np.ndarray, noisy: np.ndarray, tasks: tuple[str, ...], classes: tuple[str, ...], rate: float | None
) -> dict[str, Any]:
    """Describe how noisy masks differ from the true ones; the numbers that (alpha, beta) leave open.

    Args:
        true, noisy: (n, T, H, W) class ids, 255 void.
        tasks: T names.
        classes: J names.
        rate: what the noise model was asked for.

    Returns:
        What :func:`benchmark.noise_record.record` returns of the pixels (rates and matrix of all tasks together, ``solvable`` if in each
        task every class's pixels mostly carry their own label), and ``masks_changed`` (share of the images' masks), ``dice`` (mean of
        the changed masks' objects), ``emptied`` (masks of which an object is gone), and ``tasks``, the same four of each task. Of all
        of them only pixels are looked at that are void in neither mask.
    """
    J = len(classes)
    dice = overlap(noisy, true, J)["dice"]
    known = (true != VOID) & (noisy != VOID)
    present = np.stack([((true == j) & known).any(axis=(2, 3)) for j in range(1, J)], axis=-1)
    left = np.stack([((noisy == j) & known).any(axis=(2, 3)) for j in range(1, J)], axis=-1)
    changed = ((true != noisy) & known).any(axis=(2, 3))

    def numbers(rows: Any) -> dict[str, Any]:
        counted = changed[:, rows, None] & present[:, rows]
        return {
            "pixel_error_rate": pixel_error_rate(true[:, rows], noisy[:, rows]),
            "masks_changed": float(changed[:, rows].mean()),
            "dice": float(dice[:, rows][counted].mean()) if counted.any() else None,
            "emptied": int((present[:, rows] & ~left[:, rows]).any(axis=-1).sum()),
        }

    flat = [record_noise(true[:, t][known[:, t]], noisy[:, t][known[:, t]], J, rate) for t in range(len(tasks))]
    whole = record_noise(true[known], noisy[known], J, rate) | numbers(slice(None))
    del whole["pixel_error_rate"]  # it is realised_rate
    whole["solvable"] = all(part["solvable"] for part in flat)
    return whole | {"tasks": {task: numbers(slice(t, t + 1)) for t, task in enumerate(tasks)}}


def _content(arrays: MaskArrays, truth: np.ndarray) -> str:
    """16 hex digits over true masks, given splits and groups."""
    digest = hashlib.sha256(np.ascontiguousarray(truth).data)
    for part in (arrays.split, arrays.groups):
        digest.update(b"-" if part is None else np.ascontiguousarray(part, dtype="<i8").tobytes())
    return digest.hexdigest()[:16]


def _split(spec: RunSpec, dataset: Dataset, arrays: MaskArrays, content: str) -> dict[str, np.ndarray]:
    """The parts: whole patients, nothing to stratify by."""
    alike, names = np.zeros(len(arrays), dtype=np.int64), spec.data_names(content)

    def thinned(positions: np.ndarray, part: str) -> np.ndarray:
        rng = numpy_generator("thin", part, *names)
        ranking = np.zeros(1, dtype=np.int64)
        return thin(positions, alike, ranking, dataset.options, rng, class_names=("masks",), strict=part == "train")

    return split_indices(
        alike,
        arrays.groups,
        arrays.split,
        test_fraction=spec.protocol.test_fraction,
        val_fraction=spec.protocol.val_fraction,
        rng_names=("split", *names),
        thin=thinned if dataset.options.subset != 1 else None,
    )


def _check_noisy(noisy: np.ndarray, true: np.ndarray, J: int, name: str) -> None:
    if noisy.shape != true.shape or noisy.dtype != np.uint8 or unexpected_values(noisy, J):
        raise BenchmarkError(
            f"noise {name} must return {true.shape} uint8 class ids in [0, {J}) or {VOID}, not {noisy.dtype} {noisy.shape}"
        )


def unexpected_values(masks: np.ndarray, J: int) -> list[int]:
    """The values of masks that are neither a class in [0, J) nor void."""
    counts = np.bincount(masks.reshape(-1), minlength=VOID + 1)
    return (J + np.flatnonzero(counts[J:VOID])).tolist()


def _check(arrays: MaskArrays, name: str) -> None:
    if not isinstance(arrays, MaskArrays):
        raise BenchmarkError(f"data set {name} is for segmentation; its load() must return MaskArrays, not {type(arrays).__name__}")
    n, J = len(arrays.images), len(arrays.classes)
    images = arrays.images
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise BenchmarkError(f"data set {name}: images must be uint8 (n, H, W, 1 or 3), not {images.dtype} {images.shape}")
    if n < 3:
        raise BenchmarkError(f"data set {name} has {n} image{'s' * (n != 1)}; training, validation and test need one each at least")
    if J < 2 or not arrays.tasks:
        raise BenchmarkError(
            f"data set {name} has {len(arrays.tasks)} tasks of {J} classes; at least a background and an object are needed"
        )
    _refuse_twins(arrays, name)
    expected = (n, len(arrays.tasks), *images.shape[1:3])
    for what, masks in (("labels", arrays.labels), ("clean_labels", arrays.clean_labels)):
        if masks is None:
            continue
        if masks.dtype != np.uint8 or masks.shape != expected:
            raise BenchmarkError(
                f"data set {name}: {what} must be uint8 {expected}, as many and as large as the images; not {masks.dtype} {masks.shape}"
            )
        found = unexpected_values(masks, J)
        if found:
            listed = ", ".join(map(str, found[:MOST_VALUES])) + (", …" if len(found) > MOST_VALUES else "")
            raise BenchmarkError(f"data set {name}: {what} have unexpected values: {listed}; expected 0 to {J - 1}, or {VOID} for void")
        for t, task in enumerate(arrays.tasks):
            if not ((masks[:, t] > 0) & (masks[:, t] != VOID)).any():
                raise BenchmarkError(f"data set {name}: no foreground in any mask of {task}; check that these are masks, and their values")
    for what in ("split", "groups", "paths"):
        values = getattr(arrays, what)
        if values is not None and len(values) != n:
            raise BenchmarkError(f"data set {name}: {what} has {len(values)} entries for {n} images")


def _refuse_twins(arrays: MaskArrays, name: str) -> None:
    """Metrics are told apart by the names of tasks and classes."""
    for one, many, names in (("task", "tasks", arrays.tasks), ("class", "classes", arrays.classes)):
        twice = sorted({other for other in names if names.count(other) > 1})
        if twice:
            raise BenchmarkError(f"data set {name}: two {many} are called {twice[0]}; rename one {one}")
