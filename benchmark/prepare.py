"""From a spec to the data of one run: load, split, corrupt. The same for every method, so that comparisons are paired."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.api import Arrays, Dataset, Noise
from benchmark.errors import BenchmarkError
from benchmark.noise_record import record as record_noise
from benchmark.params import resolve
from benchmark.registry import Registry
from benchmark.seeds import numpy_generator
from benchmark.spec import RunSpec, canonical_json
from benchmark.splits import split_indices


@dataclass(frozen=True)
class PreparedData:
    """Data, splits and labels of one run.

    Attributes:
        dataset, noise: the plugin instances.
        arrays: the whole set.
        indices: part → positions in ``arrays``.
        labels: part → given labels; noisy for ``train`` and ``val``, true for ``test``.
        truth: part → true labels.
        record: what is saved of the draw of noise.
    """

    dataset: Dataset
    noise: Noise
    arrays: Arrays
    indices: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]
    record: dict[str, Any]


def prepare(spec: RunSpec, registry: Registry, data_root: Path) -> PreparedData:
    """Load the data of a spec, split them and draw the noise.

    Noise is drawn for the training and the validation part apart, each at the full rate, from generators that depend on
    data, noise and seed. The test part keeps its true labels.

    Raises:
        BenchmarkError: unusable data, a part that would be empty, or noise that the classes cannot bear.
    """
    dataset: Dataset = _instance(registry, "dataset", spec)
    noise: Noise = _instance(registry, "noise", spec)
    arrays = _load(dataset, canonical_json([spec.dataset.params, spec.dataset.fingerprint, str(data_root)]), data_root)
    truth = arrays.labels if arrays.clean_labels is None else arrays.clean_labels
    content = content_digest(arrays)
    indices = split_indices(
        truth,
        arrays.groups,
        arrays.split,
        test_fraction=spec.protocol.test_fraction,
        val_fraction=spec.protocol.val_fraction,
        rng_names=("split", *spec.data_names(content)),
    )
    true_labels = {part: truth[positions] for part, positions in indices.items()}
    labels = {"test": true_labels["test"]}
    for part in ("train", "val"):
        rng = numpy_generator("noise", part, *spec.noise_names(content))
        given = None if arrays.clean_labels is None else arrays.labels[indices[part]]
        labels[part] = noise.apply(
            true_labels[part], len(arrays.classes), rng, images=arrays.images[indices[part]], class_names=arrays.classes, given=given
        )
    record = record_noise(true_labels["train"], labels["train"], len(arrays.classes), noise.rate)
    record["val_rate"] = float(np.mean(labels["val"] != true_labels["val"]))
    return PreparedData(dataset, noise, arrays, indices, labels, true_labels, record)


_latest: dict[tuple[type, str], Arrays] = {}
"""The data set that was used last, by class and identity: a warm worker's next run mostly wants the same."""


def _load(dataset: Dataset, identity: str, data_root: Path) -> Arrays:
    known = (type(dataset), identity)
    if known not in _latest:
        _latest.clear()
        arrays = dataset.load(data_root)
        check_arrays(arrays, dataset.name)
        _latest[known] = arrays
    return _latest[known]


def content_digest(arrays: Arrays) -> str:
    """16 hex digits over true labels, given splits and groups: which samples these are, wherever they lie."""
    digest = hashlib.sha256()
    truth = arrays.labels if arrays.clean_labels is None else arrays.clean_labels
    for part in (truth, arrays.split, arrays.groups):
        digest.update(b"-" if part is None else np.ascontiguousarray(part, dtype="<i8").tobytes())
    return digest.hexdigest()[:16]


def check_arrays(arrays: Arrays, name: str) -> None:
    """Refuse arrays that break the contract of :class:`~benchmark.api.Arrays`, with one line that says how."""
    n, k = len(arrays.labels), len(arrays.classes)
    if arrays.images.dtype != np.uint8 or arrays.images.ndim != 4 or arrays.images.shape[3] not in (1, 3):
        raise BenchmarkError(f"data set {name}: images must be uint8 (n, H, W, 1 or 3), not {arrays.images.dtype} {arrays.images.shape}")
    if len(arrays.images) != n:
        raise BenchmarkError(f"data set {name}: {len(arrays.images)} images but {n} labels")
    if k < 2:
        raise BenchmarkError(f"data set {name} has {k} class; at least 2 are needed")
    for what, labels in (("labels", arrays.labels), ("clean_labels", arrays.clean_labels)):
        if labels is None:
            continue
        if labels.dtype != np.int64 or labels.ndim != 1:
            raise BenchmarkError(f"data set {name}: {what} must be int64 ({n},), not {labels.dtype} {labels.shape}")
        if len(labels) != n or labels.min(initial=0) < 0 or labels.max(initial=0) >= k:
            raise BenchmarkError(f"data set {name}: {what} must be {n} numbers in [0, {k})")
    for what in ("split", "groups", "hardness", "paths"):
        values = getattr(arrays, what)
        if values is not None and len(values) != n:
            raise BenchmarkError(f"data set {name}: {what} has {len(values)} entries for {n} images")


def _instance(registry: Registry, kind: str, spec: RunSpec) -> Any:
    plugin = getattr(spec, kind)
    cls = registry.load(kind, plugin.name)
    return cls(resolve(cls.Params, plugin.params, plugin.name))
