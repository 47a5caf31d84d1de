"""What a method is handed as ``run``: networks, loaders, epochs that checkpoint and resume, named generators, the oracle."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from benchmark import clock, profiling
from benchmark.api import Method, TrainingData
from benchmark.errors import BenchmarkError, DivergedError
from benchmark.files import share
from benchmark.seeds import derive_seed, numpy_generator, torch_generator
from benchmark.spec import TrainingProtocol, canonical_json
from benchmark.tasks import task_of
from benchmark.tasks.base import Task
from benchmark.training import checkpoint
from benchmark.training.augment import Augmenter, FeatureScaler
from benchmark.training.backbones import Network
from benchmark.training.checkpoint_writer import CheckpointWriter, wait_for
from benchmark.training.folding import folding
from benchmark.training.history import SampleHistory
from benchmark.training.loader import batch_bounds
from benchmark.training.micro_batch import Pieces
from benchmark.training.networks import Networks
from benchmark.training.oracle import Oracle
from benchmark.training.precision import uses_bf16

logger = logging.getLogger(__name__)

Predictor = Callable[[Tensor], dict[str, Tensor]]
"""Normalised (B, C, H, W) images → named (B, K) probabilities; the main predictor is called ``""``."""

Evaluator = Callable[[Any], dict[str, Tensor]]
"""uint8 images (or features, or what else the task evaluates) → named probabilities on the device."""


class Observer(Protocol):
    """The harness's side of a run: it sees the truth and the logs, the method does not."""

    def after_epoch(self, line: dict[str, Any], predict: Evaluator | None, *, final: bool = True) -> None:
        """Record one finished epoch; evaluate if ``predict`` is given. Only epochs of the final stage can be selected."""

    def after_round(self, paid: int, predict: Evaluator) -> None:
        """Record a point of the curve over labels paid for."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of the observer."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""


class Watcher(Protocol):
    """Looks on while another method's final stage trains; see :meth:`RunContext.phase`.

    Attributes:
        key: what its state depends on beside the networks; runs whose watchers differ in it share no phase.
    """

    key: str

    def after_epoch(self, networks: Networks, line: dict[str, Any]) -> None:
        """Look at the networks (in evaluation mode) after an epoch; ``line`` is that of the epoch in history.jsonl."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of the watcher."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""


@dataclass(frozen=True)
class _Phase:
    """A part of a run in which another method trains; the outermost has no name."""

    name: str = ""
    lr_scale: float = 1.0
    evaluate: bool = True
    watcher: Watcher | None = None
    shared: Path | None = None


class RunContext:
    """The harness as a method sees it.

    Attributes:
        device: where tensors live.
        protocol: the shared training protocol.
        seed: the run's seed.
        history: the training history of the final stage, recorded for every method.
        oracle: the metered door to the truth.
        trained_samples: forward passes with a gradient step so far.

    Args:
        augmentation: what ``auto`` means for the data.
        folder: where checkpoints go; None keeps none.
        checkpoint_seconds: least time between two checkpoints of a stage; 0 writes one after every epoch and waits for the one before.
        code: hash of the code that determines the numbers; a checkpoint by other code is not resumed.
        shared: where finished phases lie that other runs may need too; None shares none.
        identity: text that two runs have in common if and only if the same phase comes out the same in both.
        task: the kind of labels: networks, augmentation. Classification by default.
        pieces: how batches are cut that do not fit into memory; not at all by default.
    """

    def __init__(
        self,
        data: TrainingData,
        protocol: TrainingProtocol,
        *,
        seed: int,
        device: torch.device,
        oracle: Oracle,
        augmentation: tuple[str, ...] = (),
        folder: Path | None = None,
        checkpoint_seconds: float = 10.0,
        code: str = "",
        shared: Path | None = None,
        identity: str = "",
        task: Task | None = None,
        pieces: Pieces | None = None,
    ) -> None:
        self._data, self.protocol, self.seed, self.device, self.oracle = data, protocol, seed, device, oracle
        self._augmenter: Augmenter | FeatureScaler
        self._strong: Augmenter | FeatureScaler
        self._task = task or task_of("classification")
        self._augmenter, self._strong = self._task.augmenters(protocol, augmentation, data.images)
        self._pieces = pieces or Pieces()
        self._evaluation_batch = self._pieces.of_evaluation(self._task.evaluation_batch(data, device))
        self._folder, self._checkpoint_seconds, self._code = folder, checkpoint_seconds, code
        self._writer = CheckpointWriter()
        self._shared, self._identity = shared, identity
        self._observer: Observer | None = None
        side = min((int(pixels) for pixels in data.images.shape[2:]), default=0)
        self._bf16 = uses_bf16(protocol.precision, device, backbone=protocol.backbone, side=side)
        self._stage, self._epoch, self._passes = "", 0, 0
        self._generators: dict[str, torch.Generator] = {}
        self._restored: dict[str, Tensor] = {}  # states of generators that the resumed run has not asked for yet
        self.history = SampleHistory(data.n, protocol.epochs, device)
        self.trained_samples = 0
        self.parameters = 0
        self._losses: Tensor = torch.zeros((), device=device)
        self._steps = 0
        self._begun: set[str] = set()
        self._phase = _Phase()
        self._final: Evaluator | None = None
        checkpoint.seed_generators(derive_seed("setup", seed))

    @property
    def precision(self) -> str:
        """Of the forward passes, ``bf16`` or ``fp32``: what the protocol asks for, or ``auto`` came to on this machine."""
        return "bf16" if self._bf16 else "fp32"

    def observe(self, observer: Observer) -> None:
        """Attach the harness's side: it is told of every epoch and saved with every checkpoint."""
        self._observer = observer

    def settle(self) -> None:
        """Wait until every checkpoint is on disk: before anything that needs them there, or gone, and at the end of the run.

        Raises:
            OSError: the last one could not be written.
        """
        self._writer.settle()

    # ----------------------------------------------------------------------------------------------- parts

    def networks(self, count: int = 1, *, name: str = "train", lr_scale: float = 1.0, **design: Any) -> Networks:
        """Fresh networks with optimisers; their weights depend on the seed, the name and their position alone.

        Args:
            count: how many.
            name: networks of another name start from other weights; every method's main networks are called ``train``.
            lr_scale: factor on the protocol's learning rate.
            **design: what the task lets a method choose of its networks (bags: ``pooling``); most have nothing.
        """
        modules = []
        for position in range(count):
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(derive_seed("weights", self.seed, name, position))
                network = self._task.network(self.protocol, self._data, bf16=self._bf16, **design)
            self._pieces.apply(network)
            modules.append(cast(Network, network.to(self.device)))
        profiling.watch(modules)
        with profiling.part("start"):  # what a process imports for its first optimiser
            built = Networks(modules, self.protocol, lr_scale=lr_scale * self._phase.lr_scale)
        self.parameters = max(self.parameters, built.parameter_count())
        return built

    def loader(self, indices: Tensor | None = None, labels: Tensor | None = None, *, views: Sequence[str] = ("weak",)) -> Any:
        """Shuffled, augmented batches; one iteration is one pass in an order that depends on seed, stage and epoch.

        Args:
            indices: (m,) int64 training positions, all by default.
            labels: (m,) int64 labels to train on, the given ones by default. Of masks, (m, …, H, W) uint8: whatever has a value a pixel
                (a map of suspects beside the classes, say) moves with the image.
            views: of ``weak`` (the protocol's augmentation) and ``strong`` (what the data set declares, more colour, a square
                blanked out), one for each tensor of ``Batch.views``; each draws for itself.
        """
        if indices is None:
            indices = torch.arange(self._data.n, device=self.device)
        if labels is None:
            labels = self._data.labels[indices]
        augmenters = [{"weak": self._augmenter, "strong": self._strong}[view] for view in views]
        return self._task.loader(self._data, indices, labels, self.protocol.batch_size, augmenters, self._pass_generator)

    @profiling.timed("data")
    def views(self, indices: Tensor, generator: torch.Generator, views: Sequence[str] = ("weak",)) -> tuple[Tensor, ...]:
        """Augmented, normalised images that a method picks itself, once under each of the views; see :meth:`loader`.

        Args:
            indices: (B,) int64 rows of the training images.
            generator: draws the augmentation; one of :meth:`generator`'s.
            views: of ``weak`` and ``strong``, in which order and how often.
        """
        picked, augmenters = self._data.images.index_select(0, indices), {"weak": self._augmenter, "strong": self._strong}
        return tuple(augmenters[view](picked, augmenters[view].draw(len(indices), generator).to(self.device)) for view in views)

    def generator(self, *names: Any) -> torch.Generator:
        """A CPU generator of these names, one object a name; its state is part of every checkpoint."""
        key = "/".join(map(str, names))
        if key not in self._generators:
            self._generators[key] = torch_generator("method", self.seed, *names)
            if key in self._restored:
                self._generators[key].set_state(self._restored.pop(key))
        return self._generators[key]

    def rng(self, *names: Any) -> np.random.Generator:
        """A fresh numpy generator of these names; asking again starts it anew, so a resumed run draws the same."""
        return numpy_generator("method", self.seed, *names)

    # ---------------------------------------------------------------------------------------------- epochs

    def epochs(
        self,
        stage: str,
        networks: Networks,
        *,
        epochs: int | None = None,
        state: Any = None,
        predictor: Predictor | None = None,
    ) -> Iterator[int]:
        """Yield the 0-based epochs of one training stage that are still to be done.

        Before each: learning rate, training mode, and the global generators seeded from seed, stage and epoch.
        After each: a history line, the evaluation (with a predictor), a checkpoint. After the last the networks are in
        evaluation mode. A stage that a killed run had finished yields nothing and leaves networks, state and generators
        as they were at its end.

        Args:
            stage: a name that is unique within the run.
            networks: they are checkpointed.
            epochs: how many, the protocol's number by default.
            state: anything with ``state_dict`` and ``load_state_dict``; checkpointed.
            predictor: evaluates after every epoch; given for the stage that makes the final predictor.

        Raises:
            DivergedError: the mean loss of an epoch is not finite.
            BenchmarkError: the run has had a stage of this name.
        """
        name = f"{self._phase.name}-{stage}" if self._phase.name else stage  # what is drawn depends on the stage's own name alone
        if name in self._begun:
            raise BenchmarkError(f"two training stages are called '{name}'; every stage of a run needs a name of its own")
        self._begun.add(name)
        watcher = self._phase.watcher if predictor is not None else None
        total = self.protocol.epochs if epochs is None else epochs
        if predictor is not None:
            self.history.make_room(total)
        first = self._resume(name, networks, state)
        saved = time.monotonic()
        steps = (total - first) * math.ceil(self._data.n / self.protocol.batch_size)
        final = predictor is not None and not self._phase.name
        profiling.stage_begins(name, first=first, epochs=total, steps=steps, final=final)
        for epoch in range(first, total):
            self._stage, self._epoch, self._passes = stage, epoch, 0
            checkpoint.seed_generators(derive_seed("forward", self.seed, stage, epoch))
            networks.set_epoch(epoch, total)
            networks.train()
            self._losses, self._steps = torch.zeros((), device=self.device), 0
            started, samples = clock.seconds(), self.trained_samples
            yield epoch
            loss = float(self._losses) / max(1, self._steps)  # the one sync of an epoch
            seconds = clock.seconds() - started
            if not math.isfinite(loss):
                raise DivergedError(f"the loss is {loss} in epoch {epoch + 1} of stage {name}; try a lower protocol.lr")
            line = {"stage": name, "epoch": epoch, "epochs": total, "loss": loss, "seconds": seconds}
            line["samples"] = self.trained_samples - samples
            if self._observer is not None:
                evaluator = self._evaluator(networks, predictor) if predictor and self._phase.evaluate else None
                self._observer.after_epoch(line, evaluator, final=not self._phase.name)
            if watcher is not None:
                networks.train(False)
                watcher.after_epoch(networks, line)
            last = epoch + 1 == total
            due = time.monotonic() - saved >= self._checkpoint_seconds and not (self._checkpoint_seconds and self._writer.busy)
            if last or due:
                self._save(name, networks, state, epoch + 1, finished=last)
                saved = time.monotonic()
        profiling.stage_ends()
        networks.train(False)
        self._stage, self._epoch, self._passes = stage, total, 0  # what follows draws the same, resumed or not
        if predictor is not None and not self._phase.name:
            self._final = self._evaluator(networks, predictor)

    @contextmanager
    def phase(
        self, name: str, trains: Method, *, lr_scale: float = 1.0, evaluate: bool = False, watcher: Watcher | None = None
    ) -> Iterator[None]:
        """A part of the run in which another method trains from beginning to end, as it would alone.

        What it draws is what it would draw alone: weights, batches, augmentation. Its stages are kept under names that begin with
        the phase's; it has a training history of its own, which is ``run.history`` until the phase ends; and none of its epochs can
        become the run's selected or last one. A phase with which a run begins is computed once for all runs of a runs folder that
        begin with it (strategies compared on the same data and seed): the others resume from its finished stages.

        Args:
            name: unique within the run.
            trains: the method, for what a shared phase depends on.
            lr_scale: factor on the learning rate of its networks.
            evaluate: evaluate its final stage on the validation and test part after each epoch, for history.jsonl and the watcher.
            watcher: looks at the networks after each epoch of its final stage; checkpointed.
        """
        shared = None
        if self._shared is not None and not self._begun and not self._generators and not self.oracle.used:
            trained = (trains.name, dataclasses.asdict(trains.params), trains.fingerprint())
            settings = (name, *trained, lr_scale, evaluate, "" if watcher is None else watcher.key)
            text = canonical_json([self._identity, self._code, *settings])
            shared = self._shared / hashlib.sha256(text.encode()).hexdigest()[:16]
        outer, history = self._phase, self.history
        self._phase = _Phase(name, lr_scale, evaluate, watcher, shared)
        self.history = SampleHistory(self._data.n, self.protocol.epochs, self.device)
        try:
            yield
        finally:
            self._phase, self.history = outer, history

    def end_round(self, networks: Networks, predictor: Predictor) -> None:
        """Evaluate now, as a point of the curve of accuracy over labels paid for; how many those are the oracle knows."""
        if self._observer is not None:
            self._observer.after_round(self.oracle.paid, self._evaluator(networks, predictor))

    def final_probabilities(self) -> Tensor:
        """(n, K) probabilities of the training images by the final stage's main predictor; raises as :meth:`final_forecasts`."""
        return self.final_forecasts()[""]

    def final_forecasts(self) -> dict[str, Tensor]:
        """What the final stage's predictors say of the training images after its last epoch, without augmentation, by name.

        Raises:
            BenchmarkError: no stage has ended that has a predictor.
        """
        if self._final is None:
            raise BenchmarkError("no stage with predictor= has ended; the last stage of a method must pass one to run.epochs()")
        return self._final(self._task.whole(self._data))

    def step(self, networks: Networks, loss: Any, samples: int = 0, *, after_backward: Callable[[], None] | None = None) -> None:
        """Differentiate a loss, step the optimisers and count: what every training loop calls once a batch.

        Args:
            networks: whose optimisers step.
            loss: a scalar, or one a network.
            samples: size of the batch, for the throughput.
            after_backward: called between the backward pass and the step.
        """
        self._losses += networks.step(loss, after_backward)
        self._steps += 1
        self.trained_samples += samples * len(networks)
        profiling.step_done(samples * len(networks))

    # ------------------------------------------------------------------------------------------ prediction

    @torch.no_grad()
    def predict(self, predictor: Callable[[Tensor], Tensor], indices: Tensor | None = None) -> Tensor:
        """(m, K) outputs for training images without augmentation; the networks called should be in evaluation mode.

        Args:
            predictor: normalised (B, C, H, W) images → (B, K).
            indices: (m,) int64 training positions, all by default.
        """
        if indices is None:
            indices = torch.arange(int(self._data.images.shape[0]), device=self.device)
        with folding():
            parts = [
                predictor(self._augmenter(self._data.images.index_select(0, indices[start:stop])))
                for start, stop in batch_bounds(int(indices.shape[0]), self._evaluation_batch)
            ]
        return torch.cat(parts) if parts else torch.zeros(0, self._data.num_classes, device=self.device)

    def class_probabilities(self, networks: Networks, indices: Tensor | None = None) -> Tensor:
        """(m, K) mean softmax over networks in evaluation mode, without augmentation, for training images; of masks (m, T, J, H, W)."""
        networks.train(False)
        axis = 2 if self._data.tasks else 1
        return self.predict(lambda images: torch.stack([net(images).softmax(dim=axis) for net in networks]).mean(dim=0), indices)

    def features(self, network: Network, indices: Tensor | None = None) -> Tensor:
        """(m, width) features of a network in evaluation mode, without augmentation, for training images."""
        network.eval()
        return self.predict(network.features, indices)

    def noise_rate(self, setting: float | str) -> float:
        """A method's noise-rate setting as a number in [0, 1).

        ``auto``: the injected rate where noise was injected (an oracle; marked), else ``estimate``. ``estimate``: the
        confident joint on out-of-fold predictions. ``incv``: noisy cross-validation. ``oracle``: the true rate, marked.
        """
        from benchmark.training.noise_rate import resolve_noise_rate

        return resolve_noise_rate(setting, self._data, self)

    # --------------------------------------------------------------------------------------------- private

    def _pass_generator(self) -> torch.Generator:
        self._passes += 1
        return torch_generator("batches", self.seed, self._stage, self._epoch, self._passes)

    def _evaluator(self, networks: Networks, predictor: Predictor) -> Evaluator:
        @torch.no_grad()
        def predict(part: Any) -> dict[str, Tensor]:
            networks.train(False)
            with folding():
                return self._task.evaluate(part, predictor, self._augmenter, self._evaluation_batch)

        return predict

    def _path(self, stage: str, finished: bool) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / "stages" / f"{stage}.pt" if finished else self._folder / "last.pt"

    @profiling.timed("checkpoint")
    def _save(self, stage: str, networks: Networks, state: Any, done: int, *, finished: bool) -> None:
        path = self._path(stage, finished)
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        payload = {
            "code": self._code,
            "stage": stage,
            "done": done,
            "networks": networks.state_dict(),
            "state": None if state is None else state.state_dict(),
            "history": self.history.state_dict(),
            "observer": None if self._observer is None else self._observer.state_dict(),
            "generators": checkpoint.generator_states(self.device, self._generators),
            "trained_samples": self.trained_samples,
            "oracle": self.oracle.state_dict(),
            "watcher": None if self._phase.watcher is None else self._phase.watcher.state_dict(),
        }
        shared = self._phase.shared / path.name if finished and self._phase.shared is not None else None
        self._writer.submit(path, payload, None if shared is None else lambda: share(path, shared))

    @profiling.timed("checkpoint")
    def _resume(self, stage: str, networks: Networks, state: Any) -> int:
        """Restore the latest checkpoint of a stage; returns the number of its epochs that are done."""
        shared = None if self._phase.shared is None else self._phase.shared / f"{stage}.pt"
        for path in (self._path(stage, finished=True), shared, self._path(stage, finished=False)):
            if path is not None:
                wait_for(path)
            payload = None if path is None else checkpoint.load(path, self.device)
            if payload is None or payload.get("stage") != stage:
                continue
            if payload["code"] != self._code:
                logger.info("stage %s: the checkpoint was made by other code; starting again", stage)
                continue
            networks.load_state_dict(payload["networks"])
            if state is not None:
                state.load_state_dict(payload["state"])
            self.history.load_state_dict(payload["history"])
            if self._observer is not None:
                self._observer.load_state_dict(payload["observer"])
            self._restored = checkpoint.restore_generators(payload["generators"], self.device, self._generators)
            self.trained_samples = int(payload["trained_samples"])
            self.oracle.load_state_dict(payload["oracle"])
            if self._phase.watcher is not None:
                self._phase.watcher.load_state_dict(payload["watcher"])
            own = self._path(stage, finished=True)
            if path is not None and path == shared and own is not None:
                share(path, own)  # what is shared goes when a command ends; a run that is killed then still has it
            logger.info("stage %s: resumed after %d epochs", stage, payload["done"])
            return int(payload["done"])
        return 0
