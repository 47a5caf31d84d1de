"""What a kind of labels has to say for itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from benchmark.api import Dataset, Method, TrainingData
from benchmark.spec import RunSpec, TrainingProtocol

if TYPE_CHECKING:
    from benchmark.prepare import PreparedData
    from benchmark.registry import Registry
    from benchmark.training.augment import Augmenter, FeatureScaler
    from benchmark.training.backbones import BaseNetwork
    from benchmark.training.context import RunContext
    from benchmark.training.images import MappedImages

Arrays = dict[str, np.ndarray]


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
    def network(self, protocol: TrainingProtocol, data: TrainingData, *, bf16: bool) -> BaseNetwork:
        """A fresh network; draws its weights from torch's global generator."""

    @abstractmethod
    def evaluation_batch(self, data: TrainingData, device: torch.device) -> int:
        """How many images a forward pass without gradients takes."""

    # -------------------------------------------------------------------------------------------- evaluation

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
