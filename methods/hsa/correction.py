"""Stage 1: easy, hard and noisy samples from training histories, and the labels that follow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.training.context import RunContext
from benchmark.training.history import SampleHistory
from benchmark.training.injection import inject
from benchmark.training.loop import train_cross_entropy
from benchmark.training.selection import rank_within

from .detector import Detector, train_detector

EASY, HARD, NOISY, DROPPED = 0, 1, 2, 3
"""States of a sample after a round."""

SKIP_SHARE = 1 / 8
"""Share of the first epochs that the history mean leaves out: 10 of the published 80."""


@dataclass(frozen=True)
class Split:
    """Positions (into the working set) of easy samples and of those that are hard or noisy."""

    easy: Tensor
    unsure: Tensor


def split_easy(means: Tensor, share: float, groups: Tensor | None = None) -> Split:
    """Step 2: the ``share`` of samples with the lowest history mean are hard or noisy, the others easy.

    Args:
        means: (m,) mean probability of the given label.
        share: ρ = hard_ratio · noise rate; clipped to [0, 1].
        groups: (m,) int64 classes, to take this share of each; None takes it of all.
    """
    rank, size = rank_within(means, torch.zeros(len(means), dtype=torch.long, device=means.device) if groups is None else groups)
    unsure = rank < torch.round(max(0.0, share) * size.double())
    return Split(torch.where(~unsure)[0], torch.where(unsure)[0])


def highest_unsure(means: Tensor, unsure: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    """(num_groups,) the highest history mean among the unsure samples of each group; -1, which nothing reaches, where there are none."""
    nothing = torch.full((num_groups,), -1.0, device=means.device)
    return nothing.scatter_reduce(0, groups[unsure], means[unsure], "amax")


@dataclass(frozen=True)
class Verdict:
    """What stage 1 says of the unsure samples.

    Attributes:
        state: (u,) HARD, NOISY or DROPPED.
        labels: (u,) labels after correction.
    """

    state: Tensor
    labels: Tensor


def select(given: Tensor, predicted: Tensor, wrong: Tensor) -> Verdict:
    """Step 7: two witnesses, the detector and the correction network, must agree.

    A sample is dropped where the network confirms the label but the detector calls it wrong, or the network contradicts
    it but the detector calls it hard. The rest take the network's label: hard samples keep theirs, noisy ones change.

    Args:
        given: (u,) int64 labels.
        predicted: (u,) int64 classes that the correction network predicts.
        wrong: (u,) bool, the detector's answer.
    """
    changed = predicted != given
    state = torch.where(wrong, NOISY, HARD)
    state = torch.where(changed != wrong, DROPPED, state)
    return Verdict(state, predicted)


@dataclass
class Round:
    """The result of one round, over the working set of m samples.

    Attributes:
        history_mean: (m,) mean probability of the given label.
        state: (m,) EASY, HARD, NOISY or DROPPED.
        labels: (m,) labels after correction.
        wrong_probability: (m,) of the detector; 0 for easy samples.
        predicted_given: (m,) probability of the given label under the correction network; 1 for easy samples.
        detector: held-out scores of the detector.
    """

    history_mean: Tensor
    state: Tensor
    labels: Tensor
    wrong_probability: Tensor
    predicted_given: Tensor
    detector: dict[str, float]


def run_round(run: RunContext, indices: Tensor, labels: Tensor, rate: float, params, data, number: int) -> Round:
    """Steps 1 to 7 on a working set.

    Args:
        run: the run.
        indices: (m,) int64 training positions.
        labels: (m,) int64 current labels.
        rate: the noise rate of the working set.
        params: the method's hyperparameters.
        data: the training data.
        number: of the round, from 1; names its stages.
    """
    name = f"round{number}"
    epochs, lr_scale = run.protocol.epochs, params.detection_lr_ratio
    skip = int(SKIP_SHARE * epochs)
    history = SampleHistory(data.n, epochs, run.device)
    train_cross_entropy(run, f"{name}-history", indices, labels, history=history, lr_scale=lr_scale)
    means = history.mean(skip)[indices]
    groups = labels if params.per_class else torch.zeros_like(labels)
    split = split_easy(means, params.hard_ratio * rate if params.detect else rate, groups)
    easy, unsure = indices[split.easy], indices[split.unsure]

    if params.detect:
        limits = highest_unsure(means, split.unsure, groups, data.num_classes)
        detector = _self_supervised_detector(run, easy, labels[split.easy], rate, limits, params, data, name)
        wrong_probability = detector.wrong_probability(history.matrix(unsure))
    else:  # ablation: everything that is not easy is called wrong
        detector = Detector(None, 1.0, {})
        wrong_probability = torch.ones(len(unsure), device=run.device)
    wrong = wrong_probability > 0.5

    trusted = torch.cat([split.easy, split.unsure[~wrong]])
    corrector = train_cross_entropy(run, f"{name}-correction", indices[trusted], labels[trusted], lr_scale=lr_scale)
    probabilities = run.class_probabilities(corrector, unsure)
    given = labels[split.unsure]
    verdict = select(given, probabilities.argmax(dim=1), wrong)
    if not params.correct:  # ablation: what is called wrong is dropped
        verdict = Verdict(torch.where(wrong, DROPPED, HARD), given)

    result = Round(
        history_mean=means,
        state=torch.full_like(indices, EASY),
        labels=labels.clone(),
        wrong_probability=torch.zeros(len(indices), device=run.device),
        predicted_given=torch.ones(len(indices), device=run.device),
        detector=detector.quality,
    )
    result.state[split.unsure], result.labels[split.unsure] = verdict.state, verdict.labels
    result.wrong_probability[split.unsure] = wrong_probability
    result.predicted_given[split.unsure] = probabilities.gather(1, given.view(-1, 1)).squeeze(1)
    return result


def _self_supervised_detector(run, easy, labels, rate, limits, params, data, name) -> Detector:
    """Steps 3 and 4: wrong labels that we inject ourselves teach the detector what a wrong label's history looks like."""
    injected = inject(run, labels, rate, data.num_classes, name, params.inject)
    history = SampleHistory(data.n, run.protocol.epochs, run.device)
    train_cross_entropy(run, f"{name}-injected", easy, injected, history=history, lr_scale=params.detection_lr_ratio)
    wrong = injected != labels
    pool = torch.ones_like(wrong)
    if params.detector_pool == "hard_and_noisy":
        groups = injected if params.per_class else torch.zeros_like(injected)
        pool = history.mean(int(SKIP_SHARE * run.protocol.epochs))[easy] <= limits[groups]
    generator = run.generator(name, "detector")
    return train_detector(history.matrix(easy[pool]), wrong[pool], balance=params.detector_balance, generator=generator)
