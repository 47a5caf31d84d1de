"""Prior knowledge from training histories: easy samples, noisy ones, and how likely each in between is hard but right.

Source: Chen et al., Sample Prior Guided Robust Model Learning to Suppress Noisy Labels (PGDF), ECML PKDD 2023, arXiv 2112.01197,
and its released program.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.api import TrainingData
from benchmark.training.context import RunContext
from benchmark.training.history import SampleHistory
from benchmark.training.injection import inject
from benchmark.training.loop import train_cross_entropy

BATCH, EPOCHS, LEAST_STEPS, DECAY = 256, 13, 200, 0.99
"""The detector's batches and epochs, its least number of steps (13 epochs of a small set would be 13 steps), and what its
learning rate is multiplied by in every thirteenth of its steps."""


@dataclass(frozen=True)
class HistoryPrior:
    """What the histories say.

    Attributes:
        easy: (n,) bool, the samples of highest mean history.
        clean: (count, n) float32, the probability that a label is right by each detector: 1 for easy samples, 0 for the noisy ones.
    """

    easy: Tensor
    clean: Tensor


@dataclass(frozen=True)
class Ranks:
    """Positions by mean history: the lowest ⌊r/2 · m⌋ are noisy, the highest m − ⌊(1/2 + r/2) · m⌋ easy, the rest unsure."""

    noisy: Tensor
    unsure: Tensor
    easy: Tensor


def rank(means: Tensor, rate: float) -> Ranks:
    """Split (m,) mean histories at the noise rate r."""
    order = means.argsort(stable=True)
    low, high = int(len(means) * rate / 2 + 1e-9), int(len(means) * (0.5 + rate / 2) + 1e-9)
    return Ranks(order[:low], order[low:high], order[high:])


def history_prior(run: RunContext, data: TrainingData, rate: float, count: int = 2) -> HistoryPrior:
    """Train twice with cross-entropy, once on all labels and once on easy samples with wrong labels of our own; the second
    history teaches detectors, which judge the unsure samples by the first.

    Args:
        run: the run; its oracle knows the kind of injected noise, else it is taken for symmetric.
        data: the training data.
        rate: r.
        count: how many detectors, from different initial weights.
    """
    everything = torch.arange(data.n, device=run.device)
    history = _history(run, data, "history", everything, data.labels)
    ranks = rank(history.mean(), rate)
    easy = ranks.easy.sort().values
    injected = inject(run, data.labels[easy], rate, data.num_classes, "history")
    again = _history(run, data, "history-injected", easy, injected)
    pool = rank(again.mean()[easy], rate).unsure
    right = injected[pool] == data.labels[easy][pool]

    clean = torch.zeros(count, data.n, device=run.device)
    clean[:, ranks.easy] = 1.0
    for number in range(count):
        seed = int(run.rng("history", "detector", number).integers(2**62))
        clean[number, ranks.unsure] = detect(again.matrix(easy[pool]), right, history.matrix(ranks.unsure), seed)
    return HistoryPrior(torch.zeros_like(data.labels, dtype=torch.bool).index_fill(0, easy, True), clean)


def _history(run: RunContext, data: TrainingData, stage: str, indices: Tensor, labels: Tensor) -> SampleHistory:
    history = SampleHistory(data.n, run.protocol.epochs, run.device)
    train_cross_entropy(run, stage, indices, labels, history=history)
    return history


def detect(known: Tensor, right: Tensor, asked: Tensor, seed: int) -> Tensor:
    """(q,) probability that the labels behind some histories are right, from histories of which it is known.

    Three one-dimensional convolutions and a linear layer, Adadelta at a learning rate of 1. With one kind of answer only, that
    answer is given; without any, 1/2.

    Args:
        known: (m, T) histories.
        right: (m,) bool.
        asked: (q, T) histories.
        seed: of the initial weights and of the order.
    """
    if right.unique().numel() < 2:
        return torch.full((len(asked),), float(right[0]) if len(right) else 0.5, device=asked.device)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = _detector(known.shape[1]).to(known.device)
        steps = max(LEAST_STEPS, EPOCHS * math.ceil(len(known) / BATCH))
        optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)
        plan = torch.optim.lr_scheduler.StepLR(optimizer, max(1, steps // EPOCHS), DECAY)
        order = torch.cat([torch.randperm(len(known)) for _ in range(math.ceil(steps * BATCH / len(known)))]).to(known.device)
    answers = right.long()
    for step in range(steps):
        batch = order[step * BATCH : (step + 1) * BATCH][: len(known)]
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(network(known[batch].unsqueeze(1)), answers[batch]).backward()
        optimizer.step()
        plan.step()
    with torch.no_grad():
        return network(asked.unsqueeze(1)).softmax(dim=1)[:, 1]


def _detector(epochs: int) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in ((1, 16), (16, 32), (32, 32)):
        layers += [nn.Conv1d(inputs, outputs, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * epochs, 2))
