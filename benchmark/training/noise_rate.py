"""How many labels are wrong? Estimates from out-of-fold predictions, for data whose noise rate nobody told."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.params import hp
from benchmark.training.loop import train_cross_entropy

if TYPE_CHECKING:
    from benchmark.api import TrainingData
    from benchmark.training.context import RunContext

SETTINGS = ("auto", "estimate", "incv", "oracle")
"""The words that a method's ``noise_rate`` parameter takes beside a number."""

FOLDS = 3
HIGHEST = 0.95
"""No estimate is above this: at a rate of 1 nothing would be left to train on."""


def noise_rate_hp(meaning: str) -> Any:
    """The ``noise_rate`` parameter that all methods which need one share: a number or one of :data:`SETTINGS`.

    Args:
        meaning: what the method does with it, for ``show``.
    """
    return hp("auto", 0.0, HIGHEST, choices=SETTINGS, tune=False, help=meaning)


def resolve_noise_rate(setting: float | str, data: TrainingData, run: RunContext) -> float:
    """See :meth:`RunContext.noise_rate`."""
    if isinstance(setting, (int, float)):
        return float(setting)
    if setting == "oracle" or (setting == "auto" and run.oracle.knows_rate):
        try:
            return run.oracle.noise_rate()
        except LookupError as error:
            raise BenchmarkError(f"noise_rate=oracle cannot be had: {error}; use noise_rate=estimate or a number") from None
    everything = torch.arange(data.n, device=run.device)
    if setting == "incv":
        return noisy_cross_validation(run, everything, data.labels, data.num_classes)
    return confident_joint(run, everything, data.labels, data.num_classes)


def out_of_fold_probabilities(
    run: RunContext, indices: Tensor, labels: Tensor, *, folds: int, name: str, epoch_share: float = 0.5
) -> Tensor:
    """(m, K) probabilities, each from a network that did not train on the sample.

    Args:
        run: the run.
        indices: (m,) int64 training positions.
        labels: (m,) int64 their labels.
        folds: number of folds, stratified by label.
        name: names the stages ``<name>-fold<i>``.
        epoch_share: share of the protocol's epochs; half of them ends before most wrong labels are learnt.
    """
    order = torch.from_numpy(run.rng(name, "folds").permutation(len(indices))).to(run.device)
    ranked = order[torch.argsort(labels[order], stable=True)]  # dealing out a list sorted by label stratifies
    fold = torch.empty_like(ranked)
    fold[ranked] = torch.arange(len(indices), device=run.device) % folds
    parts: list[tuple[Tensor, Tensor]] = []
    for k in range(folds):
        inside, outside = torch.where(fold != k)[0], torch.where(fold == k)[0]
        epochs = max(1, int(epoch_share * run.protocol.epochs))
        networks = train_cross_entropy(run, f"{name}-fold{k}", indices[inside], labels[inside], epochs=epochs)
        parts.append((outside, run.class_probabilities(networks, indices[outside])))
    probabilities = torch.empty(len(indices), parts[0][1].shape[1], device=run.device)
    for outside, predicted in parts:
        probabilities[outside] = predicted
    return probabilities


def confident_joint(run: RunContext, indices: Tensor, labels: Tensor, num_classes: int, *, name: str = "estimate") -> float:
    """The rate from cleanlab's off-diagonal confident joint (Northcutt et al. 2021) on out-of-fold probabilities.

    Classes that no label names are left out, because the confident joint is not defined for them.
    """
    from cleanlab.count import num_label_issues

    if len(indices) < FOLDS:
        return 0.0
    probabilities = out_of_fold_probabilities(run, indices, labels, folds=FOLDS, name=name).double().cpu().numpy()
    given = labels.cpu().numpy()
    present, compact = np.unique(given, return_inverse=True)
    if len(present) < 2:
        return 0.0
    probabilities = probabilities[:, present]
    probabilities /= probabilities.sum(axis=1, keepdims=True).clip(min=1e-12)
    issues = num_label_issues(compact, probabilities, estimation_method="off_diagonal")
    return min(HIGHEST, float(issues) / len(given))


def noisy_cross_validation(run: RunContext, indices: Tensor, labels: Tensor, num_classes: int, *, name: str = "incv") -> float:
    """The rate from the agreement of two halves (INCV, Chen et al. 2019), for symmetric noise; see :func:`rate_from_agreement`.

    It assumes networks that fit the wrong labels too; one that resists them gives too low an estimate.
    """
    if len(indices) < 2 or num_classes < 2:
        return 0.0
    predicted = out_of_fold_probabilities(run, indices, labels, folds=2, name=name, epoch_share=1.0).argmax(dim=1)
    return rate_from_agreement(float((predicted == labels).float().mean()), num_classes)


def rate_from_agreement(agreement: float, num_classes: int) -> float:
    """Solve (1 − r)² + r²/(K − 1) = agreement for the smaller root r, the accuracy on noisy labels that INCV expects of
    a network that fits noise of rate r; agreement below the minimum (1/K) gives its place, r = (K − 1)/K."""
    a = num_classes / (num_classes - 1)
    return min(HIGHEST, max(0.0, (1 - math.sqrt(max(0.0, 1 - a * (1 - agreement)))) / a))
