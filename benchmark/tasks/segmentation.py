"""A mask an image: T independent tasks of J classes at every pixel."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from benchmark.api import Dataset, Method, TrainingData
from benchmark.errors import BenchmarkError
from benchmark.prepare import PreparedData
from benchmark.seeds import numpy_generator
from benchmark.segmentation import VOID
from benchmark.segmentation.arrays import MaskArrays
from benchmark.segmentation.augment import JointAugmenter
from benchmark.segmentation.method import MaskMethod
from benchmark.segmentation.networks import build_segmentation_network
from benchmark.segmentation.overlap import image_means, mean_dice, overlap
from benchmark.segmentation.prepare import checked_masks, prepare_masks
from benchmark.spec import RunSpec, TrainingProtocol
from benchmark.tasks.base import Arrays, Task, image_judgements, truth_known
from benchmark.training.augment import Augmenter, FeatureScaler, normalization, parse_augmentation
from benchmark.training.backbones import BaseNetwork
from benchmark.training.images import MappedImages, place
from benchmark.training.loader import batch_bounds

if TYPE_CHECKING:
    from benchmark.registry import Registry
    from benchmark.training.context import RunContext

EVALUATION_BYTES = 128 * 2**20
ACTIVATIONS = 64
"""A forward pass without gradients takes as many images as fit into this memory, with this many float32 maps at full size an image."""

RANKED_PIXELS = 1_000_000
"""Pixels whose quality is stored: rank metrics look at no more."""


class Segmentation(Task):
    """Labels (n, T, H, W) uint8 in [0, J), 255 void; probabilities (n, T, J, H, W)."""

    name, headline, compress = "segmentation", "dice", True

    def checked(self, arrays: MaskArrays, dataset: Dataset, identity: str, data_root: Path) -> MaskArrays:
        """See :func:`~benchmark.segmentation.prepare.checked_masks`."""
        return checked_masks(arrays, dataset, identity, data_root)

    def prepare(self, spec: RunSpec, registry: Registry, data_root: Path, device: torch.device | None) -> PreparedData:
        """See :func:`~benchmark.segmentation.prepare.prepare_masks`."""
        return prepare_masks(spec, registry, data_root)

    def training_data(self, prepared: PreparedData, device: torch.device) -> TrainingData:
        """Images on the device where they fit, and the noisy masks."""
        arrays = prepared.arrays
        groups = None if arrays.groups is None else torch.from_numpy(arrays.groups[prepared.indices["train"]].astype(np.int64))
        labels = torch.from_numpy(prepared.labels["train"].copy()).to(device)  # what a method writes into them is its own
        return TrainingData(place(prepared.inputs["train"], device), labels, len(arrays.classes), arrays.classes, arrays.tasks, groups)

    def describe(self, prepared: PreparedData) -> dict[str, Any]:
        """Sizes, tasks, classes and the share of each task's foreground."""
        arrays = prepared.arrays
        sizes: dict[str, Any] = {f"n_{part}": len(positions) for part, positions in prepared.indices.items()}
        true = prepared.truth["train"]
        shares = [float(((true[:, t] > 0) & (true[:, t] != VOID)).mean()) for t in range(len(arrays.tasks))]
        sizes |= {"tasks": list(arrays.tasks), "classes": list(arrays.classes), "foreground": shares}
        return sizes | {"image_shape": list(prepared.inputs["train"].shape[1:])}

    def augmenters(
        self, protocol: TrainingProtocol, declared: tuple[str, ...], images: Tensor | MappedImages
    ) -> tuple[Augmenter | FeatureScaler, Augmenter | FeatureScaler]:
        """Images and masks are moved together."""
        names, sides = parse_augmentation(protocol.augmentation, declared), (int(images.shape[2]), int(images.shape[3]))
        scale, bias = normalization(protocol.normalize, images)
        return JointAugmenter(names, *sides, scale, bias), JointAugmenter(names | frozenset(declared), *sides, scale, bias, strong=True)

    def network(self, protocol: TrainingProtocol, data: TrainingData, *, bf16: bool, **design: Any) -> BaseNetwork:
        """One of :mod:`benchmark.segmentation.networks`, if it can train on the smallest batch."""
        network = build_segmentation_network(
            protocol.backbone,
            channels=int(data.images.shape[1]),
            tasks=len(data.tasks),
            classes=data.num_classes,
            size=int(min(data.images.shape[2:])),
            pretrained=protocol.pretrained,
            bf16=bf16,
            **design,
        )
        least = min(stop - start for start, stop in batch_bounds(data.n, protocol.batch_size))
        network.check_batches(least, int(data.images.shape[2]), int(data.images.shape[3]))
        return network

    def evaluation_batch(self, data: TrainingData, device: torch.device) -> int:
        """See :data:`ACTIVATIONS`."""
        return max(2, min(64, EVALUATION_BYTES // (4 * ACTIVATIONS * math.prod(data.images.shape[2:]))))

    def score(self, probabilities: Tensor, labels: np.ndarray) -> float:
        """Mean Dice of an image's objects, and then over the images; two empty masks agree, and a part that is void throughout has 1."""
        dice = mean_dice(probabilities.argmax(dim=2).to(torch.uint8).numpy(), labels, probabilities.shape[2])
        return 1.0 if dice is None else dice

    def log_loss(self, probabilities: Tensor, labels: np.ndarray) -> float:
        """Mean over the pixels that are not void, at most −log 1e-12."""
        given, known = of_given(probabilities, torch.from_numpy(labels))
        return float(-given[known].double().clamp(min=1e-12).log().mean())

    def kept(self, probabilities: Tensor, of: str) -> Tensor:
        """Half precision of the selected epoch, the most likely class (uint8) of all others."""
        return probabilities.half() if of in ("selected", "val") else probabilities.argmax(dim=2).to(torch.uint8)

    def label_arrays(self, prepared: PreparedData) -> Arrays:
        """Masks of all parts, and what their axes are called."""
        return truth_known(prepared) | {
            "task": np.array(self.name),
            "tasks": np.array(prepared.arrays.tasks),
            "classes": np.array(prepared.arrays.classes),
            "test_labels": prepared.truth["test"],
            "val_labels": prepared.labels["val"],
            "val_true": prepared.truth["val"],
            "train_given": prepared.labels["train"],
            "train_true": prepared.truth["train"],
        }

    def judgements(self, method: Method, data: TrainingData, run: RunContext) -> Arrays:
        """``train_quality`` and ``train_suspect`` (n,) of images; ``train_flagged`` (n, T, H, W) bool; ``train_ranked`` and
        ``train_ranked_quality`` (m,): positions in the flattened masks and the quality there, of at most :data:`RANKED_PIXELS`
        pixels; and, of methods that correct, ``train_corrected`` (n, T, H, W) uint8. An image without a labelled pixel is no suspect and
        has a quality above all others."""
        if not isinstance(method, MaskMethod):
            raise BenchmarkError(f"{method.name} is for masks and must be a benchmark.segmentation.method.MaskMethod")
        outputs = image_judgements(method, data, (data.labels != VOID).flatten(1).any(dim=1).cpu().numpy())
        quality, flagged, corrected = method.pixel_quality(), method.pixel_suspects(), method.corrected_labels()
        if quality is None or flagged is None:
            forecast = run.final_probabilities()
            if quality is None:
                quality = of_given(forecast, data.labels)[0]
            if flagged is None:
                flagged = (forecast.argmax(dim=2) != data.labels) & (data.labels != VOID)
        named = [("pixel_quality", quality), ("pixel_suspects", flagged)] + (
            [("corrected_labels", corrected)] if corrected is not None else []
        )
        for name, values in named:
            if values.shape != data.labels.shape:
                raise BenchmarkError(f"{method.name}.{name}() must return {tuple(data.labels.shape)}, not {tuple(values.shape)}")
        if not bool(torch.isfinite(quality).all()):
            raise BenchmarkError(f"{method.name}.pixel_quality() must be finite")
        if corrected is not None and not bool((((corrected >= 0) & (corrected < data.num_classes)) | (corrected == VOID)).all()):
            raise BenchmarkError(f"{method.name}.corrected_labels() must lie in [0, {data.num_classes}) or be {VOID}, which is void")
        outputs["train_flagged"] = flagged.bool().cpu().numpy()
        drawn = drawn_pixels(quality.numel())
        outputs |= {"train_ranked": drawn, "train_ranked_quality": quality.reshape(-1).cpu().numpy()[drawn].astype(np.float32)}
        if corrected is not None:
            outputs["train_corrected"] = corrected.to(torch.uint8).cpu().numpy()
        return outputs

    def sample_table(self, prepared: PreparedData, predictions: Arrays, method: Method, run: RunContext) -> dict[str, Any]:
        """Per image: its quality, whether its mask is a suspect, what share of its pixels is flagged and is wrong, its Dice; NaN
        where no pixel is compared, and the latter two where nobody knows the truth."""
        given, true, flagged = (predictions[f"train_{name}"] for name in ("given", "true", "flagged"))
        both = (given != VOID) & (true != VOID)
        known = both.reshape(len(true), -1).sum(axis=1)
        known = np.where(known > 0, known, np.nan)
        unknown = 0.0 if prepared.knows_truth else np.nan
        dice = overlap(given, true, len(prepared.arrays.classes))["dice"]
        columns: dict[str, Any] = {"quality": predictions["train_quality"], "suspect": predictions["train_suspect"]}
        columns["flagged_pixels"] = (flagged & both).reshape(len(true), -1).sum(axis=1) / known
        columns["wrong_pixels"] = ((given != true) & both).reshape(len(true), -1).sum(axis=1) / known + unknown
        columns["dice_of_given"] = image_means(dice) + unknown
        return columns


def of_given(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(n, T, H, W) probability of the given label, 1 where it is void, and (n, T, H, W) bool: where it is not."""
    known = labels != VOID
    given = probabilities.gather(2, torch.where(known, labels, 0).long().unsqueeze(2)).squeeze(2)
    return torch.where(known, given, 1.0), known


def drawn_pixels(count: int) -> np.ndarray:
    """(m,) int64 sorted positions among ``count`` pixels: all, or :data:`RANKED_PIXELS` of them, the same for every run of that size."""
    if count <= RANKED_PIXELS:
        return np.arange(count)
    return np.sort(numpy_generator("ranked pixels", count).choice(count, RANKED_PIXELS, replace=False, shuffle=False))


TASK = Segmentation()
