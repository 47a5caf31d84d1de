"""What a kind of labels has to say for itself, and what methods say of the images of any kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from benchmark.api import Dataset, Method, TrainingData
from benchmark.errors import BenchmarkError
from benchmark.spec import RunSpec, TrainingProtocol
from benchmark.training.images import place
from benchmark.training.loader import Loader, batch_bounds
from benchmark.training.mixture import lower_component

if TYPE_CHECKING:
    from benchmark.prepare import PreparedData
    from benchmark.registry import Registry
    from benchmark.training.augment import Augmenter, FeatureScaler
    from benchmark.training.backbones import BaseNetwork
    from benchmark.training.context import RunContext
    from benchmark.training.images import MappedImages

Arrays = dict[str, np.ndarray]
Forecasts = dict[str, Tensor]


class Task(ABC):
    """One kind of labels, from data to the arrays that metrics are computed from.

    Attributes:
        name: of :data:`benchmark.tasks.TASKS`.
        headline: the metric by which epochs are chosen; history.jsonl has it as ``val_<headline>`` and ``test_<headline>``.
        compress: whether predictions.npz is worth compressing.
    """

    name: str
    headline: str
    compress = False

    # ------------------------------------------------------------------------------------------------- data

    @abstractmethod
    def checked(self, arrays: Any, dataset: Dataset, identity: str, data_root: Path) -> Any:
        """A data set's arrays, if they keep the contract, at the size that its options ask for; else BenchmarkError."""

    @abstractmethod
    def prepare(self, spec: RunSpec, registry: Registry, data_root: Path, device: torch.device | None) -> PreparedData:
        """Load the data of a spec, split them and draw the noise; see :func:`benchmark.prepare.prepare`."""

    @abstractmethod
    def training_data(self, prepared: PreparedData, device: torch.device) -> TrainingData:
        """What the method sees of the prepared data."""

    def part(self, prepared: PreparedData, part: str, device: torch.device) -> Any:
        """What :meth:`evaluate` takes of the validation or test part; its images on the device, or by rows."""
        return place(prepared.inputs[part], device)

    def whole(self, data: TrainingData) -> Any:
        """What :meth:`evaluate` takes of all training data."""
        return data.images

    @abstractmethod
    def describe(self, prepared: PreparedData) -> dict[str, Any]:
        """``data`` of result.json."""

    # ---------------------------------------------------------------------------------------------- training

    @abstractmethod
    def augmenters(
        self, protocol: TrainingProtocol, declared: tuple[str, ...], images: Tensor | MappedImages
    ) -> tuple[Augmenter | FeatureScaler, Augmenter | FeatureScaler]:
        """The weak and the strong view; see :func:`benchmark.training.augment.make_augmenters`."""

    @abstractmethod
    def network(self, protocol: TrainingProtocol, data: TrainingData, *, bf16: bool, **design: Any) -> BaseNetwork:
        """A fresh network; draws its weights from torch's global generator. ``design`` is what the method says of it."""

    def loader(
        self,
        data: TrainingData,
        indices: Tensor,
        labels: Tensor,
        batch_size: int,
        augmenters: Sequence[Augmenter | FeatureScaler],
        generator: Callable[[], torch.Generator],
    ) -> Any:
        """Batches of some samples; see :class:`~benchmark.training.loader.Loader`."""
        return Loader(data.images, indices, labels, batch_size, augmenters, generator)

    @abstractmethod
    def evaluation_batch(self, data: TrainingData, device: torch.device) -> int:
        """How many images a forward pass without gradients takes."""

    # -------------------------------------------------------------------------------------------- evaluation

    def evaluate(
        self, part: Any, predictor: Callable[..., dict[str, Tensor]], augmenter: Augmenter | FeatureScaler, batch: int
    ) -> Forecasts:
        """What a predictor says of a part, without augmentation, by name: ``""`` is the main forecast; what begins with ``_`` is kept
        beside it (``_tiles`` of the selected epoch is ``test_selected_tiles`` in predictions.npz); others are auxiliary predictors."""
        bounds = batch_bounds(int(part.shape[0]), batch)
        parts = [predictor(augmenter(part[start:stop])) for start, stop in bounds]
        return {name: torch.cat([each[name] for each in parts]) for name in parts[0]}

    @abstractmethod
    def score(self, probabilities: Tensor, labels: np.ndarray) -> float:
        """The headline metric of CPU probabilities, in [0, 1]."""

    @abstractmethod
    def log_loss(self, probabilities: Tensor, labels: np.ndarray) -> float:
        """Mean −log of the probability of the label."""

    def kept(self, probabilities: Tensor, of: str) -> Tensor:
        """What is kept of the CPU probabilities of an epoch: ``of`` is ``last``, ``selected``, ``val``, ``best``, ``aux`` or ``round``."""
        return probabilities

    # ------------------------------------------------------------------------------------------------ result

    @abstractmethod
    def label_arrays(self, prepared: PreparedData) -> Arrays:
        """The labels among the arrays of predictions.npz."""

    @abstractmethod
    def judgements(self, method: Method, data: TrainingData, run: RunContext) -> Arrays:
        """What the method thinks of the given labels, among the arrays of predictions.npz; BenchmarkError if it breaks its contract."""

    @abstractmethod
    def sample_table(self, prepared: PreparedData, predictions: Arrays, method: Method, run: RunContext) -> dict[str, Any]:
        """Columns of samples.parquet, one row a training sample."""


def of_samples(method: Method, data: TrainingData, name: str, values: Tensor) -> np.ndarray:
    """A judgement as an array; BenchmarkError if it is not one number a sample."""
    if values.shape != (data.n,):
        raise BenchmarkError(f"{method.name}.{name}() must return ({data.n},), not {tuple(values.shape)}")
    array: np.ndarray = values.detach().cpu().numpy()
    return array


def truth_known(prepared: PreparedData) -> Arrays:
    """``truth_known``, False, among the arrays of predictions.npz where nobody knows the true training labels; else nothing."""
    return {} if prepared.knows_truth else {"truth_known": np.array(False)}


def image_judgements(method: Method, data: TrainingData, labelled: np.ndarray | None = None) -> Arrays:
    """``train_quality`` (n,) float32 and ``train_suspect`` (n,) bool, of methods of every task.

    Args:
        method: that has been trained.
        data: what on.
        labelled: (n,) bool, the samples that have a label, all by default. Nothing is wrong with the others, whatever the method says:
            they are no suspects, stand in no mixture, and their quality is 1, or just above the highest where that is not below 1.

    Raises:
        BenchmarkError: a judgement of another shape, or a quality that is not finite.
    """
    quality = of_samples(method, data, "label_quality", method.label_quality().float())
    labelled = np.ones(data.n, dtype=bool) if labelled is None else labelled
    if not np.isfinite(quality[labelled]).all():
        raise BenchmarkError(f"{method.name}.label_quality() must be finite")
    suspects, mask = method.suspects(), np.zeros(data.n, dtype=bool)
    found = lower_component(quality[labelled]) if suspects is None else of_samples(method, data, "suspects", suspects)[labelled]
    mask[labelled] = found
    if not labelled.all():
        highest = np.nextafter(quality[labelled].max(initial=0), np.float32(np.inf))
        quality = np.where(labelled, quality, np.maximum(highest, np.float32(1)))
    return {"train_quality": quality, "train_suspect": mask}
