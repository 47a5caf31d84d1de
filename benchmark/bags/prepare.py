"""From a spec to the bags of one run: load, split by patient, flip labels of bags."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.api import Samples
from benchmark.bags.arrays import BagArrays
from benchmark.data.rows import ImageRows
from benchmark.data.thinning import rank_classes, thin
from benchmark.errors import BenchmarkError
from benchmark.metrics.bags import structural_noise
from benchmark.noise_record import record as record_noise
from benchmark.prepare import PreparedData, content_digest, features_of, load
from benchmark.registry import Registry
from benchmark.resolve import instantiate_dataset, instantiate_noise, refuse_changed_noise
from benchmark.seeds import numpy_generator
from benchmark.spec import RunSpec
from benchmark.splits import split_indices

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)


def prepare_bags(spec: RunSpec, registry: Registry, data_root: Path, device: torch.device | None = None) -> PreparedData:
    """Load the data of a spec, split them and draw the noise; see :func:`benchmark.prepare.prepare`.

    Labels of bags are what noise flips. What is wrong with the labels that tiles inherit is measured and recorded.

    Raises:
        BenchmarkError: unusable data, a part that would be empty, or noise that needs more than labels.
    """
    dataset, noise = instantiate_dataset(registry, spec.dataset), instantiate_noise(registry, spec.noise)
    refuse_changed_noise(registry, spec.noise, noise, data_root)
    arrays: BagArrays = load(dataset, spec.dataset, data_root)
    tiles = features_of(dataset, spec.dataset, arrays, data_root, device) if dataset.options.features else arrays.tiles
    content = content_digest(arrays)
    names, options = spec.data_names(content), dataset.options

    def thinned(positions: np.ndarray, part: str) -> np.ndarray:
        rng = numpy_generator("thin", part, *names)
        ranking = rank_classes(arrays.labels, 2)
        return thin(positions, arrays.labels, ranking, options, rng, class_names=arrays.classes, strict=part == "train")

    indices = split_indices(
        arrays.labels,
        arrays.groups,
        arrays.split,
        test_fraction=spec.protocol.test_fraction,
        val_fraction=spec.protocol.val_fraction,
        rng_names=("split", *names),
        thin=thinned if options.subset != 1 else None,
    )
    truth = {part: arrays.labels[positions] for part, positions in indices.items()}
    labels = {"test": truth["test"]}
    for part in ("train", "val"):
        drawn_by = spec.noise_names(content)
        samples = Samples(truth[part], 2, arrays.classes, positions=indices[part], content=content, names=drawn_by)
        try:
            labels[part] = noise.apply(samples, numpy_generator("noise", part, *drawn_by)).astype(np.int64)
        except LookupError as error:
            raise BenchmarkError(f"noise {noise.name} needs more than labels of bags ({error}); use symmetric:0.1, say") from error
        if labels[part].shape != truth[part].shape or not np.isin(labels[part], (0, 1)).all():
            raise BenchmarkError(f"noise {noise.name} must return {len(truth[part])} labels of 0 or 1")
    _warn_of_one_label(labels, dataset.name)
    record = record_noise(truth["train"], labels["train"], 2, noise.rate)
    record["val_rate"] = float(np.mean(labels["val"] != truth["val"]))
    inputs = {part: ImageRows(tiles, tile_rows(arrays, positions)) for part, positions in indices.items()}
    record |= structural_noise(labels["train"], tile_labels(arrays, indices["train"]), part_offsets(arrays, indices["train"]))
    nothing = {part: np.zeros(len(positions), dtype=bool) for part, positions in indices.items()}
    return PreparedData(dataset, noise, arrays, inputs, indices, labels, truth, nothing, record)


def _warn_of_one_label(labels: Mapping[str, np.ndarray], name: str) -> None:
    """Say what cannot be measured where a part has slides of one label only."""
    lost = {"val": "no epoch is better by AUROC, so that the loss chooses, and the threshold stays 0.5", "test": "there is no AUROC"}
    for part, what in lost.items():
        if len(np.unique(labels[part])) < 2:
            _log.warning("%s: all %d slides of the %s part have one label: %s", name, len(labels[part]), part, what)


def tile_rows(arrays: BagArrays, bags: np.ndarray) -> np.ndarray:
    """(M,) int64: the tiles of some bags, in their order."""
    sizes = np.diff(arrays.offsets)[bags]
    starts = np.repeat(arrays.offsets[:-1][bags] - np.append(0, np.cumsum(sizes)[:-1]), sizes)
    return starts + np.arange(int(sizes.sum()))


def part_offsets(arrays: BagArrays, bags: np.ndarray) -> np.ndarray:
    """(b + 1,) int64: where each of some bags begins among their tiles."""
    return np.append(0, np.cumsum(np.diff(arrays.offsets)[bags]))


def tile_labels(arrays: BagArrays, bags: np.ndarray) -> np.ndarray | None:
    """(M,) truth of the tiles of some bags; None: unknown."""
    return None if arrays.tile_labels is None else arrays.tile_labels[tile_rows(arrays, bags)]
