"""The two training loops that most methods need."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.api import Method, TrainingData
from benchmark.training.backbones import remembering
from benchmark.training.context import Predictor, RunContext
from benchmark.training.history import SampleHistory
from benchmark.training.networks import Networks


def method_predictor(method: Method, networks: Networks) -> Predictor:
    """What evaluates a method after each epoch: :meth:`Method.predict` under the name "" and its auxiliary predictors."""

    def predictor(images: Tensor) -> dict[str, Tensor]:
        with remembering(networks):
            return {"": method.predict(networks, images), **method.auxiliary_predictions(networks, images)}

    return predictor


def fit_single_stage(method: Method, data: TrainingData, run: RunContext) -> Networks:
    """Train a method that is one stage of :meth:`Method.training_step`, recording the training history."""
    networks = run.networks(method.networks)
    loader = run.loader()
    steps_itself = type(method).after_backward is not Method.after_backward
    for epoch in run.epochs("train", networks, state=method, predictor=method_predictor(method, networks)):
        for batch in loader:
            loss = method.training_step(batch, networks, epoch)
            after_backward = (lambda: method.after_backward(networks, epoch)) if steps_itself else None  # noqa: B023
            run.step(networks, loss, len(batch), after_backward=after_backward)
            if method.records_history:
                run.history.record(epoch, batch.indices, batch.labels, networks[0].last_logits)
        method.end_epoch(networks, epoch, run)
        if not method.records_history:
            record_evaluation(run, data, networks, epoch)
    return networks


def record_evaluation(run: RunContext, data: TrainingData, networks: Networks, epoch: int) -> None:
    """Record the history of one epoch from a pass over the training images without augmentation, in evaluation mode."""
    probabilities = run.class_probabilities(networks)
    if data.tasks:
        everything = torch.arange(data.n, device=probabilities.device)
        run.history.record(epoch, everything, data.labels, probabilities.clamp(min=1e-30).log())
    else:
        run.history.record_probabilities(epoch, given_label_probability(probabilities, data.labels))


def train_cross_entropy(
    run: RunContext,
    stage: str,
    indices: Tensor,
    labels: Tensor,
    *,
    history: SampleHistory | None = None,
    lr_scale: float = 1.0,
    epochs: int | None = None,
) -> Networks:
    """Train one fresh network with plain cross-entropy: a history, a teacher, a correction network.

    Args:
        run: the run.
        stage: name of the stage; also names the weights.
        indices: (m,) int64 training positions.
        labels: (m,) int64 labels to train on.
        history: records the training forward passes, by training position; checkpointed.
        lr_scale: factor on the protocol's learning rate.
        epochs: the protocol's number by default.

    Returns:
        The trained network; untrained where ``indices`` is empty.
    """
    networks = run.networks(1, name=stage, lr_scale=lr_scale)
    loader = run.loader(indices, labels)
    for epoch in run.epochs(stage, networks, state=history, epochs=epochs):
        for batch in loader:
            run.step(networks, F.cross_entropy(networks[0](batch.images), batch.labels), len(batch))
            if history is not None:
                history.record(epoch, batch.indices, batch.labels, networks[0].last_logits)
    return networks


def given_label_probability(probabilities: Tensor, labels: Tensor) -> Tensor:
    """(n,) probability of each given label from (n, K) probabilities."""
    return probabilities.gather(1, labels.view(-1, 1)).squeeze(1)
