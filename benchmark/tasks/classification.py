"""One class a sample."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from benchmark.api import Arrays as ImageArrays
from benchmark.api import Dataset, Method, TrainingData
from benchmark.data.resize import resized
from benchmark.errors import BenchmarkError
from benchmark.prepare import PreparedData, check_arrays, prepare_classes
from benchmark.spec import RunSpec, TrainingProtocol
from benchmark.tasks.base import Arrays, Task, image_judgements, of_samples, truth_known
from benchmark.training.augment import Augmenter, FeatureScaler, make_augmenters
from benchmark.training.backbones import BaseNetwork, build_network
from benchmark.training.images import MappedImages, evaluated_together, place

if TYPE_CHECKING:
    from benchmark.registry import Registry
    from benchmark.training.context import RunContext

EVALUATION_BATCH = 512
EVALUATION_BYTES = 128 * 2**20
"""Forward passes without gradients take this many images at a time, or as many as fit into this memory as float32; of pixels on a
CPU as many as :func:`~benchmark.training.images.evaluated_together` says."""


class Classification(Task):
    """Labels (n,) int64 in [0, K); probabilities (n, K)."""

    name, headline = "classification", "accuracy"

    def checked(self, arrays: ImageArrays, dataset: Dataset, identity: str, data_root: Path) -> ImageArrays:
        """Checked by :func:`~benchmark.prepare.check_arrays`, resized where the set has not done so itself."""
        check_arrays(arrays, dataset.name)
        size = dataset.options.image_size
        if size and arrays.images.shape[1:3] != (size, size):
            arrays = replace(arrays, images=resized(arrays.images, size, identity, data_root))
        return arrays

    def prepare(self, spec: RunSpec, registry: Registry, data_root: Path, device: torch.device | None) -> PreparedData:
        """By :func:`~benchmark.prepare.prepare_classes`."""
        return prepare_classes(spec, registry, data_root, device)

    def training_data(self, prepared: PreparedData, device: torch.device) -> TrainingData:
        """Images on the device where they fit, and the noisy labels."""
        groups = prepared.arrays.groups
        return TrainingData(
            place(prepared.inputs["train"], device),
            torch.from_numpy(prepared.labels["train"].astype(np.int64)).to(device),
            len(prepared.arrays.classes),
            tuple(prepared.arrays.classes),
            groups=None if groups is None else torch.from_numpy(groups[prepared.indices["train"]].astype(np.int64)),
        )

    def describe(self, prepared: PreparedData) -> dict[str, Any]:
        """Sizes, classes and class counts."""
        counts = np.bincount(prepared.truth["train"], minlength=len(prepared.arrays.classes))
        sizes = {f"n_{part}": len(positions) for part, positions in prepared.indices.items()}
        shape = list(prepared.inputs["train"].shape[1:])
        return {**sizes, "classes": list(prepared.arrays.classes), "train_class_counts": counts.tolist(), "image_shape": shape}

    def augmenters(
        self, protocol: TrainingProtocol, declared: tuple[str, ...], images: Tensor | MappedImages
    ) -> tuple[Augmenter | FeatureScaler, Augmenter | FeatureScaler]:
        """Of images or of frozen features."""
        return make_augmenters(protocol.augmentation, declared, protocol.normalize, images)

    def network(self, protocol: TrainingProtocol, data: TrainingData, *, bf16: bool, **design: Any) -> BaseNetwork:
        """The protocol's backbone with a linear head."""
        return build_network(
            protocol.backbone,
            channels=int(data.images.shape[1]),
            size=int(min(data.images.shape[2:], default=1)),
            num_classes=data.num_classes,
            pretrained=protocol.pretrained,
            bf16=bf16,
            **design,
        )

    def evaluation_batch(self, data: TrainingData, device: torch.device) -> int:
        """See :data:`EVALUATION_BYTES`."""
        on_cpu = device.type == "cpu" and data.has_pixels
        most = evaluated_together(*data.images.shape[2:]) if on_cpu else EVALUATION_BATCH
        return max(2, min(most, EVALUATION_BYTES // (4 * math.prod(data.images.shape[1:]))))

    def score(self, probabilities: Tensor, labels: np.ndarray) -> float:
        """Accuracy."""
        return float((probabilities.argmax(dim=1).numpy() == labels).mean())

    def log_loss(self, probabilities: Tensor, labels: np.ndarray) -> float:
        """Cross-entropy, at most −log 1e-12."""
        given = probabilities.numpy()[np.arange(len(labels)), labels]
        return float(-np.log(given.clip(min=1e-12)).mean())

    def label_arrays(self, prepared: PreparedData) -> Arrays:
        """Labels of all parts; open-set marks and hardness where there are any."""
        arrays = truth_known(prepared) | {
            "test_labels": prepared.truth["test"],
            "val_labels": prepared.labels["val"],
            "val_true": prepared.truth["val"],
            "train_given": prepared.labels["train"],
            "train_true": prepared.truth["train"],
        }
        if "open_set_rate" in prepared.record:
            arrays["train_open_set"] = prepared.foreign["train"]
        if prepared.arrays.hardness is not None:
            arrays["train_hardness"] = prepared.arrays.hardness[prepared.indices["train"]]
        return arrays

    def judgements(self, method: Method, data: TrainingData, run: RunContext) -> Arrays:
        """``train_quality``, ``train_suspect`` and, of methods that correct, ``train_corrected``; each (n,)."""
        outputs = image_judgements(method, data)
        corrected = method.corrected_labels()
        if corrected is not None:
            outputs["train_corrected"] = of_samples(method, data, "corrected_labels", corrected).astype(np.int64)
            if outputs["train_corrected"].min() < -1 or outputs["train_corrected"].max() >= data.num_classes:
                raise BenchmarkError(f"{method.name}.corrected_labels() must lie in [-1, {data.num_classes})")
        return outputs

    def sample_table(self, prepared: PreparedData, predictions: Arrays, method: Method, run: RunContext) -> dict[str, Any]:
        """Labels, judgements, and what the final predictor says of each sample."""
        columns: dict[str, Any] = {"given": predictions["train_given"], "true": predictions["train_true"]}
        for name in ("quality", "suspect", "corrected", "hardness", "open_set"):
            if f"train_{name}" in predictions:
                columns[name] = predictions[f"train_{name}"]
        forecast = run.final_probabilities().float().cpu()
        confidence, suggested = forecast.max(dim=1)
        given = torch.from_numpy(predictions["train_given"]).view(-1, 1)
        columns |= {"suggested": suggested.numpy(), "confidence": confidence.numpy()}
        columns["given_probability"] = forecast.gather(1, given).squeeze(1).numpy()
        return columns


TASK = Classification()
