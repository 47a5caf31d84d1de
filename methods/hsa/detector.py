"""The EHN detector: an MLP that reads a training history and tells a hard clean label from a wrong one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.training.optimizers import OPTIMIZERS

HIDDEN = 200
LEARNING_RATE = 0.02
STEPS = 500
HELD_OUT = 0.2


@dataclass(frozen=True)
class Detector:
    """A trained detector.

    Attributes:
        network: (m, T) histories → (m, 2) logits of (clean but hard, wrong); None if the pool had one kind only.
        constant: what is said of everything where there is no network.
        quality: held-out precision, recall and AUROC for wrong labels, and the size of the pool.
    """

    network: nn.Module | None
    constant: float
    quality: dict[str, float]

    @torch.no_grad()
    def wrong_probability(self, histories: Tensor) -> Tensor:
        """(m,) probability that the label is wrong, from (m, T) histories."""
        if self.network is None or len(histories) == 0:
            return torch.full((len(histories),), self.constant, device=histories.device)
        return self.network(histories).softmax(dim=1)[:, 1]


def train_detector(histories: Tensor, wrong: Tensor, *, balance: bool, generator: torch.Generator) -> Detector:
    """Fit the detector on samples whose answer is known, full-batch SGD, and score it on a held-out fifth.

    Args:
        histories: (m, T) in [0, 1].
        wrong: (m,) bool, True = the label was injected.
        balance: weight the two answers equally, whatever their shares.
        generator: a CPU generator for the held-out part and the initial weights.
    """
    answers = wrong.long()
    share = float(answers.float().mean()) if len(answers) else 1.0
    order = torch.randperm(len(answers), generator=generator).to(histories.device)
    held_out, kept = order[: int(HELD_OUT * len(order))], order[int(HELD_OUT * len(order)) :]
    if len(kept) == 0 or answers[kept].unique().numel() < 2:
        return Detector(None, float(round(share)), {"pool": float(len(answers)), "pool_wrong_share": share})
    network = _mlp(histories.shape[1], generator).to(histories.device)
    counts = torch.bincount(answers[kept], minlength=2).float()
    weights = counts.sum() / (2 * counts) if balance else None
    optimizer = OPTIMIZERS["sgd"](network.parameters(), lr=LEARNING_RATE)
    x, y = histories[kept], answers[kept]
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(network(x), y, weight=weights).backward()
        optimizer.step()
    network.eval()
    detector = Detector(network, float(round(share)), {})
    quality = {"pool": float(len(answers)), "pool_wrong_share": share}
    quality |= _scores(detector.wrong_probability(histories[held_out]), answers[held_out])
    return Detector(network, detector.constant, quality)


def _mlp(inputs: int, generator: torch.Generator) -> nn.Module:
    layers = (nn.Linear(inputs, HIDDEN), nn.Linear(HIDDEN, 2))
    with torch.no_grad():
        for layer in layers:  # torch's default initialisation, from a generator of our own
            bound = layer.in_features**-0.5
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.uniform_(-bound, bound, generator=generator)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1])


def _scores(probability: Tensor, answers: Tensor) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    said, true = probability > 0.5, answers == 1
    hits = float((said & true).sum())
    scores = {}
    if said.any():
        scores["precision"] = hits / float(said.sum())
    if true.any():
        scores["recall"] = hits / float(true.sum())
    if true.any() and not true.all():
        scores["auroc"] = float(roc_auc_score(true.cpu().numpy(), probability.cpu().numpy()))
    return scores
