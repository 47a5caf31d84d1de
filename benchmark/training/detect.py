"""Methods in two steps: judge every label, then train afresh on what the judgement leaves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.api import Method, TrainingData, hp
from benchmark.training.context import RunContext
from benchmark.training.loop import method_predictor
from benchmark.training.networks import Networks
from benchmark.training.noise_rate import noise_rate_hp
from benchmark.training.selection import rank_within

THEN = ("drop", "relabel", "weight")


@dataclass(frozen=True)
class Verdict:
    """What a detector thinks of n labels.

    Attributes:
        quality: (n,) float32 finite scores, higher = the given label is more likely right.
        wrong: (n,) bool, True = held for wrong.
        suggested: (n,) int64, the label that the detector would give instead (the given one where it has no other); None if
            it can only tell right from wrong.
        weights: (n,) float32 ≥ 0 for ``then=weight``; None lets the harness take the rank of the quality.
    """

    quality: Tensor
    wrong: Tensor
    suggested: Tensor | None = None
    weights: Tensor | None = None


@dataclass(frozen=True)
class VerdictParams:
    """What every detector takes, also one that decides without a noise rate."""

    then: str = hp("drop", choices=THEN, help="wrong labels: drop them, relabel them, or weight every sample by the detector's trust")


@dataclass(frozen=True)
class DetectorParams(VerdictParams):
    """What a detector takes that ranks and holds a share of the labels for wrong; subclass it for more."""

    noise_rate: float | str = noise_rate_hp("share of labels held for wrong, where the detector only ranks")
    per_class: bool = hp(False, help="hold this share of every class for wrong, instead of the worst labels overall")


class Detector(Method):
    """A method that judges labels and trains a fresh network on the result. Subclasses define :meth:`detect`.

    The final stage is called ``train``; stages of the detection need other names. Detection may train as much as it
    likes: stages are checkpointed, and what lies between them is recomputed on resume.
    """

    Params = VerdictParams

    def detect(self, data: TrainingData, run: RunContext) -> Verdict:
        """Judge every given label."""
        raise NotImplementedError

    def lowest(self, quality: Tensor) -> Tensor:
        """(n,) bool: :func:`lowest_share` by ``noise_rate`` and ``per_class``; the rate goes to the diagnostics."""
        self.rate = self.run.noise_rate(self.params.noise_rate)
        return lowest_share(quality, self.rate, self.data.labels if self.params.per_class else None)

    def fit(self, data: TrainingData, run: RunContext) -> Networks:
        """Detect, then train on what is left with cross-entropy."""
        verdict = self.detect(data, run)
        self.quality, self.wrong, self.suggested = verdict.quality.float(), verdict.wrong, verdict.suggested
        self.labels, weights = data.labels.clone(), torch.ones(data.n, device=run.device)
        if self.params.then == "relabel" and verdict.suggested is not None:
            self.labels = torch.where(verdict.wrong, verdict.suggested, data.labels)
            kept = torch.ones_like(verdict.wrong)
        elif self.params.then == "weight":
            weights = trust(verdict)
            kept = weights > 0
        else:
            kept = ~verdict.wrong
        if int(kept.sum()) < 2:  # a detector that trusts nothing leaves nothing to train on, and batch norm needs two samples
            kept, weights = torch.ones_like(kept), torch.ones_like(weights)
        self.kept = kept
        return self._train(torch.where(kept)[0], weights, data, run)

    def _train(self, indices: Tensor, weights: Tensor, data: TrainingData, run: RunContext) -> Networks:
        networks = run.networks(1)
        loader = run.loader(indices, self.labels[indices])
        weights = weights / weights[indices].mean()
        for epoch in run.epochs("train", networks, state=self, predictor=method_predictor(self, networks)):
            for batch in loader:
                losses = F.cross_entropy(networks[0](batch.images), batch.labels, reduction="none")
                run.step(networks, (losses * weights[batch.indices]).mean(), len(batch))
                run.history.record(epoch, batch.indices, data.labels[batch.indices], networks[0].last_logits)
        return networks

    def label_quality(self) -> Tensor:
        """The detector's score."""
        return self.quality

    def suspects(self) -> Tensor:
        """The labels that it holds for wrong."""
        return self.wrong

    def corrected_labels(self) -> Tensor | None:
        """New labels under ``then=relabel``, -1 for what was dropped; None under ``then=weight``, which changes no label."""
        return None if self.params.then == "weight" else torch.where(self.kept, self.labels, -1)

    def sample_columns(self) -> dict[str, Tensor]:
        """The label that the detector would give, for every sample and whatever became of it."""
        return {} if self.suggested is None else {"suggested": self.suggested}

    def diagnostics(self) -> dict[str, float]:
        """The share of labels held for wrong, and the noise rate where one was used."""
        found = {"flagged": float(self.wrong.float().mean())}
        return found | ({"noise_rate": self.rate} if hasattr(self, "rate") else {})


class StageTensors:
    """Tensors that a stage of the detection fills while it trains: ``run.epochs(…, state=tensors)`` keeps them with its checkpoints.

    Args:
        **tensors: by name, as they are before the first epoch; change them in place.
    """

    def __init__(self, **tensors: Tensor) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def state_dict(self) -> dict[str, Any]:
        """The tensors, for a checkpoint."""
        return dict(self._tensors)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them in place."""
        for name, tensor in self._tensors.items():
            tensor.copy_(state[name])


def lowest_share(quality: Tensor, rate: float, labels: Tensor | None = None) -> Tensor:
    """(n,) bool: the ⌊rate · n⌋ samples of lowest quality, overall or, with labels, the ⌊rate · b⌋ lowest of each class.

    A share of all labels may take a rare class whole, because its labels look worst; within classes some of each stay.

    Args:
        quality: (n,) scores; equal ones go by index.
        rate: in [0, 1).
        labels: (n,) int64 classes to choose within.
    """
    if labels is None:
        chosen = torch.zeros_like(quality, dtype=torch.bool)
        chosen[quality.argsort(stable=True)[: math.floor(rate * len(quality) + 1e-9)]] = True
        return chosen
    rank, size = rank_within(quality, labels)
    return rank < torch.floor(rate * size.double() + 1e-9)


def trust(verdict: Verdict) -> Tensor:
    """(n,) weights: the detector's own, or the rank of the quality over n, from 1/n (worst) to 1; equals share their mean rank."""
    if verdict.weights is not None:
        return verdict.weights.float()
    _, group, counts = torch.unique(verdict.quality, return_inverse=True, return_counts=True)
    last = counts.cumsum(0)
    ranks = (last + last - counts + 1).double() / 2
    return (ranks[group] / len(group)).float()
