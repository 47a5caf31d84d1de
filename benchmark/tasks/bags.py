"""One label a bag of tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from benchmark.api import Dataset, Method, TrainingData
from benchmark.bags.arrays import BagArrays
from benchmark.bags.checks import check_bags
from benchmark.bags.data import BagData, BagLoader, BagPart, bag_bounds
from benchmark.bags.method import BagMethod
from benchmark.bags.model import build_bag_model, evaluation_tiles
from benchmark.bags.prepare import part_offsets, prepare_bags, tile_labels, tile_rows
from benchmark.errors import BenchmarkError
from benchmark.prepare import PreparedData
from benchmark.spec import RunSpec, TrainingProtocol
from benchmark.tasks.base import Arrays, Forecasts, Task, image_judgements, truth_known
from benchmark.training.augment import Augmenter, FeatureScaler, make_augmenters
from benchmark.training.backbones import BaseNetwork
from benchmark.training.images import MappedImages, place

if TYPE_CHECKING:
    from benchmark.registry import Registry
    from benchmark.training.context import RunContext


class Bags(Task):
    """Labels (n,) int64 of bags, 0 or 1; probabilities (n, 2), and beside them (N,) scores of the tiles."""

    name, headline, compress = "bags", "auroc", True

    def checked(self, arrays: BagArrays, dataset: Dataset, identity: str, data_root: Path) -> BagArrays:
        """Checked by :func:`~benchmark.bags.checks.check_bags`; a set makes tiles of ``image_size`` itself or refuses it."""
        check_bags(arrays, dataset.name)
        size = dataset.options.image_size
        if size and (arrays.tiles.ndim != 4 or arrays.tiles.shape[1:3] != (size, size)):
            raise BenchmarkError(f"data set {dataset.name} cannot make tiles of image_size={size}; leave it out")
        return arrays

    def prepare(self, spec: RunSpec, registry: Registry, data_root: Path, device: torch.device | None) -> PreparedData:
        """See :func:`~benchmark.bags.prepare.prepare_bags`."""
        return prepare_bags(spec, registry, data_root, device)

    def training_data(self, prepared: PreparedData, device: torch.device) -> BagData:
        """The training bags: tiles on the device where they fit, and the noisy labels."""
        arrays, bags = prepared.arrays, prepared.indices["train"]
        groups = None if arrays.groups is None else torch.from_numpy(arrays.groups[bags].astype(np.int64))
        return BagData(
            place(prepared.inputs["train"], device),
            torch.from_numpy(prepared.labels["train"]).to(device),
            2,
            tuple(arrays.classes),
            groups=groups,
            offsets=torch.from_numpy(part_offsets(arrays, bags)),
        )

    def part(self, prepared: PreparedData, part: str, device: torch.device) -> BagPart:
        """The bags of a part."""
        offsets = torch.from_numpy(part_offsets(prepared.arrays, prepared.indices[part]))
        return BagPart(place(prepared.inputs[part], device), offsets)

    def whole(self, data: TrainingData) -> BagPart:
        """All training bags."""
        assert isinstance(data, BagData)
        return BagPart(data.images, data.offsets)

    def describe(self, prepared: PreparedData) -> dict[str, Any]:
        """Sizes and class counts."""
        sizes: dict[str, Any] = {f"n_{part}": len(positions) for part, positions in prepared.indices.items()}
        sizes |= {f"tiles_{part}": len(rows) for part, rows in prepared.inputs.items()}
        counts = np.bincount(prepared.truth["train"], minlength=2).tolist()
        sizes |= {"classes": list(prepared.arrays.classes), "train_class_counts": counts}
        return sizes | {"image_shape": list(prepared.inputs["train"].shape[1:])}

    def augmenters(
        self, protocol: TrainingProtocol, declared: tuple[str, ...], images: Tensor | MappedImages
    ) -> tuple[Augmenter | FeatureScaler, Augmenter | FeatureScaler]:
        """Of tiles or of their features."""
        return make_augmenters(protocol.augmentation, declared, protocol.normalize, images)

    def network(self, protocol: TrainingProtocol, data: TrainingData, *, bf16: bool, **design: Any) -> BaseNetwork:
        """The protocol's encoder of tiles and the method's ``pooling``."""
        return build_bag_model(protocol.backbone, tuple(data.images.shape[1:]), bf16=bf16, **design)

    def loader(
        self,
        data: TrainingData,
        indices: Tensor,
        labels: Tensor,
        batch_size: int,
        augmenters: Sequence[Augmenter | FeatureScaler],
        generator: Callable[[], torch.Generator],
    ) -> BagLoader:
        """Batches of whole bags."""
        assert isinstance(data, BagData)
        return BagLoader(data, indices, labels, batch_size, augmenters, generator)

    def evaluation_batch(self, data: TrainingData, device: torch.device) -> int:
        """Tiles."""
        return evaluation_tiles(tuple(data.images.shape[1:]))

    def evaluate(
        self, part: BagPart, predictor: Callable[..., dict[str, Tensor]], augmenter: Augmenter | FeatureScaler, batch: int
    ) -> Forecasts:
        """Some whole bags at a time."""
        parts = []
        for first, behind in bag_bounds(part.offsets, batch):
            start, stop = int(part.offsets[first]), int(part.offsets[behind])
            tiles = augmenter(part.tiles[start:stop])
            parts.append(predictor(tiles, (part.offsets[first : behind + 1] - start).to(tiles.device)))
        return {name: torch.cat([each[name] for each in parts]) for name in parts[0]}

    def score(self, probabilities: Tensor, labels: np.ndarray) -> float:
        """Area under the ROC curve of the bags; 0.5 where they are of one class."""
        positive = labels == 1
        hits, misses = int(positive.sum()), int((~positive).sum())
        if not hits or not misses:
            return 0.5
        ranks = rankdata(probabilities[:, 1].numpy())
        return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))

    def log_loss(self, probabilities: Tensor, labels: np.ndarray) -> float:
        """Cross-entropy, at most −log 1e-12."""
        given = probabilities.numpy()[np.arange(len(labels)), labels]
        return float(-np.log(given.clip(min=1e-12)).mean())

    def label_arrays(self, prepared: PreparedData) -> Arrays:
        """Labels of all parts; where bags begin, and of the tiles what is known."""
        found = truth_known(prepared) | {
            "task": np.array(self.name),
            "test_labels": prepared.truth["test"],
            "val_labels": prepared.labels["val"],
            "val_true": prepared.truth["val"],
            "train_given": prepared.labels["train"],
            "train_true": prepared.truth["train"],
        }
        for part, bags in prepared.indices.items():
            found[f"{part}_offsets"] = part_offsets(prepared.arrays, bags)
            truth = tile_labels(prepared.arrays, bags)
            if truth is not None:
                found[f"{part}_tile_labels"] = truth
            if prepared.arrays.positions is not None:
                found[f"{part}_positions"] = prepared.arrays.positions[tile_rows(prepared.arrays, bags)]
        return found

    def judgements(self, method: Method, data: TrainingData, run: RunContext) -> Arrays:
        """``train_quality`` and ``train_suspect`` (n,) of the bags; ``train_tiles`` (N,) what the final predictor says of their tiles, and
        of methods that have them ``pseudo_scores`` (R, N) and ``pseudo_threshold`` of each round."""
        if not isinstance(method, BagMethod):
            raise BenchmarkError(f"{method.name} is for bags and must be a benchmark.bags.method.BagMethod")
        outputs = image_judgements(method, data)
        outputs["train_tiles"] = run.final_forecasts()["_tiles"].cpu().numpy()
        rounds = method.pseudo_labels()
        if rounds is not None:
            scores, threshold = rounds
            outputs |= {"pseudo_scores": scores.cpu().numpy(), "pseudo_threshold": np.array(threshold)}
        return outputs

    def sample_table(self, prepared: PreparedData, predictions: Arrays, method: Method, run: RunContext) -> dict[str, Any]:
        """Per bag: labels, judgements, how many tiles it has, and what the final predictor says of it."""
        columns: dict[str, Any] = {name: predictions[f"train_{name}"] for name in ("given", "true", "quality", "suspect")}
        columns["tiles"] = np.diff(predictions["train_offsets"])
        columns["positive_probability"] = run.final_probabilities()[:, 1].float().cpu().numpy()
        return columns


TASK = Bags()
