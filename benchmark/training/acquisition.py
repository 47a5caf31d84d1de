"""Which samples an annotator should look at next: acquisition strategies with one signature, and their class-balanced versions.

A strategy is a function of a :class:`Pool` of m candidates and a count that returns that many positions in the pool, the most
wanted first. Scores are sorted with equals in the order of the pool, so that a strategy without randomness repeats exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.training.vog import PIECE

DROPOUT_PASSES = 10
"""Masks of BALD."""
DROPOUT = 0.5
"""Share of features that a mask of BALD switches off."""


@dataclass(frozen=True)
class Pool:
    """What a strategy may look at: m candidates, seen by a network in evaluation mode without augmentation.

    Attributes:
        probabilities: (m, K) softmax of the current model.
        features: (m, D) before its last layer.
        head: that last layer.
        labels: (m,) int64 given labels.
        quality: (m,) scores of phase 1, higher = the given label is more likely right.
        generator: on the CPU; one for the whole run.
        committee: (C, m, K) softmax of several models, the current one among them; for ``disagreement``.
        vog: (m,) variance of gradients; for ``vog``.
        covered: (c, D) features of the samples whose labels are trusted already; for ``coreset``.
        answered: of the q samples that were paid for before: probabilities (q, K), given labels (q,) and answers (q,); for
            ``activelab``.
    """

    probabilities: Tensor
    features: Tensor
    head: nn.Linear
    labels: Tensor
    quality: Tensor
    generator: torch.Generator
    committee: Tensor | None = None
    vog: Tensor | None = None
    covered: Tensor | None = None
    answered: tuple[Tensor, Tensor, Tensor] | None = None

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def take(self, rows: Tensor) -> Pool:
        """The pool of some candidates, (r,) positions."""
        committee = None if self.committee is None else self.committee[:, rows]
        vog = None if self.vog is None else self.vog[rows]
        own = (self.probabilities[rows], self.features[rows], self.head, self.labels[rows], self.quality[rows], self.generator)
        return Pool(*own, committee, vog, self.covered, self.answered)


Strategy = Callable[[Pool, int], Tensor]


def random(pool: Pool, count: int) -> Tensor:
    """Any candidates, each as likely as another: the floor that every strategy has to beat."""
    return torch.randperm(len(pool), generator=pool.generator)[:count].to(pool.labels.device)


def entropy(pool: Pool, count: int) -> Tensor:
    """Highest entropy of the predicted probabilities."""
    return _highest(entropies(pool.probabilities), count)


def least_confidence(pool: Pool, count: int) -> Tensor:
    """Lowest probability of the most likely class."""
    return _highest(-pool.probabilities.amax(dim=1), count)


def margin(pool: Pool, count: int) -> Tensor:
    """Smallest gap between the two most likely classes."""
    if pool.probabilities.shape[1] < 2:
        return _highest(torch.zeros(len(pool), device=pool.labels.device), count)
    first, second = pool.probabilities.topk(2, dim=1).values.unbind(dim=1)
    return _highest(second - first, count)


@torch.no_grad()
def bald(pool: Pool, count: int) -> Tensor:
    """Highest mutual information between prediction and weights (Houlsby et al. 2011), by dropout before the last layer.

    Only the features are dropped: no batch-norm statistic and no other layer takes part.
    """
    kept = 1 - DROPOUT
    passes = []
    for _ in range(DROPOUT_PASSES):
        mask = torch.rand(pool.features.shape, generator=pool.generator).to(pool.features.device) < kept
        passes.append(pool.head(pool.features * mask / kept).softmax(dim=1))
    return _highest(mutual_information(torch.stack(passes)), count)


def coreset(pool: Pool, count: int) -> Tensor:
    """Greedy k-centre (Sener and Savarese 2018): always the candidate farthest from all that is trusted or was picked."""
    return k_centre(pool.features, count, pool.covered)


def label_quality(pool: Pool, count: int) -> Tensor:
    """Lowest label quality of phase 1: the labels that are most likely wrong."""
    return _highest(-pool.quality, count)


def vog(pool: Pool, count: int) -> Tensor:
    """Highest variance of gradients over the last epochs (Agarwal et al. 2022)."""
    assert pool.vog is not None
    return _highest(pool.vog, count)


def disagreement(pool: Pool, count: int) -> Tensor:
    """Query by committee: highest Jensen-Shannon divergence between the models' predictions (McCallum and Nigam 1998)."""
    assert pool.committee is not None
    return _highest(mutual_information(pool.committee), count)


def activelab(pool: Pool, count: int) -> Tensor:
    """Lowest score of cleanlab's ActiveLab (Goh and Mueller 2023): the given labels are one annotator, the paid answers another."""
    import contextlib
    import io
    import warnings

    import numpy as np
    from cleanlab.multiannotator import get_active_learning_scores

    given, probabilities = pool.labels.cpu().double()[:, None], pool.probabilities.double().cpu()
    if pool.answered is not None and len(pool.answered[0]):
        seen, before, answers = (part.cpu().double() for part in pool.answered)
        unknown = torch.full_like(given, float("nan"))
        given = torch.cat([torch.cat([given, unknown], dim=1), torch.stack([before, answers], dim=1)])
        probabilities = torch.cat([probabilities, seen])
    probabilities = probabilities / probabilities.sum(dim=1, keepdim=True)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():  # it remarks on classes that few answers name
        warnings.simplefilter("ignore")
        scores, _ = get_active_learning_scores(given.numpy(), probabilities.numpy())
    return _highest(-torch.from_numpy(np.asarray(scores)[: len(pool)]).to(pool.labels.device), count)


STRATEGIES: dict[str, Strategy] = {
    function.__name__: function
    for function in (random, entropy, least_confidence, margin, bald, coreset, label_quality, vog, disagreement, activelab)
}


def acquire(name: str, pool: Pool, count: int, *, balanced: bool = False) -> Tensor:
    """Pick candidates.

    Args:
        name: a key of :data:`STRATEGIES`.
        pool: m candidates.
        count: how many; all if there are fewer.
        balanced: the same number from every class that the model predicts, as far as there are that many, so that classes of
            which a strategy thinks little are asked about too.

    Returns:
        (min(count, m),) int64 positions in the pool, each once.
    """
    count = min(count, len(pool))
    strategy = STRATEGIES[name]
    if not balanced:
        return strategy(pool, count)
    predicted = pool.probabilities.argmax(dim=1)
    quotas = class_quotas(torch.bincount(predicted, minlength=pool.probabilities.shape[1]).tolist(), count)
    picked = []
    for label, quota in enumerate(quotas):
        if quota:
            rows = (predicted == label).nonzero().squeeze(1)
            picked.append(rows[strategy(pool.take(rows), quota)])
    return torch.cat(picked) if picked else torch.zeros(0, dtype=torch.int64, device=pool.labels.device)


def class_quotas(sizes: list[int], count: int) -> list[int]:
    """How many to take of each class: as even as the classes' sizes allow; what is left over goes to the rarest of them first."""
    quotas = [0] * len(sizes)
    left = min(count, sum(sizes))
    while left:
        open_classes = sorted((c for c, size in enumerate(sizes) if size > quotas[c]), key=lambda c: (sizes[c], c))
        share = min(left // len(open_classes), *(sizes[c] - quotas[c] for c in open_classes))
        for label in open_classes if share else open_classes[:left]:
            quotas[label] += max(1, share)
            left -= max(1, share)
    return quotas


def entropies(probabilities: Tensor) -> Tensor:
    """(…) entropy in nats of (…, K) probabilities; a probability of 0 adds nothing."""
    return -torch.special.xlogy(probabilities, probabilities).sum(dim=-1)


def mutual_information(probabilities: Tensor) -> Tensor:
    """(m,) H(mean_t p_t) − mean_t H(p_t) ≥ 0 of (T, m, K) probabilities of T models."""
    return entropies(probabilities.mean(dim=0)) - entropies(probabilities).mean(dim=0)


@torch.no_grad()
def k_centre(features: Tensor, count: int, covered: Tensor | None = None) -> Tensor:
    """Greedy k-centre: pick the point whose nearest centre is farthest, make it a centre, repeat.

    Costs O(n·D) a pick, beside O(n·c·D) once for the distances to the covered points, in pieces of bounded memory.

    Args:
        features: (n, D) float.
        count: how many, at most n.
        covered: (c, D) points that are centres already; without any the first pick is the point nearest to the mean.

    Returns:
        (count,) int64 in the order of picking.
    """
    origin = features.float().mean(dim=0)  # distances from products lose digits far from the origin
    features = features.float() - origin
    norms = features.square().sum(dim=1)
    nearest = features.new_full((len(features),), torch.inf)
    has_centres = covered is not None and len(covered) > 0
    if covered is not None and has_centres:
        nearest = _nearest(features, norms, covered.float() - origin)
    picks = torch.zeros(count, dtype=torch.int64, device=features.device)
    for step in range(count):
        pick = nearest.argmax() if step or has_centres else norms.argmin()
        picks[step] = pick
        nearest = torch.minimum(nearest, (norms + norms[pick] - features @ (2 * features[pick])).clamp_(min=0))
        nearest[pick] = -torch.inf
    return picks


def _nearest(features: Tensor, norms: Tensor, centres: Tensor) -> Tensor:
    """(n,) squared distance of each point to the nearest of (c, D) centres."""
    centre_norms = centres.square().sum(dim=1)
    step = max(1, PIECE // len(centres))
    parts = []
    for start in range(0, len(features), step):
        rows = slice(start, start + step)
        parts.append(torch.addmm(centre_norms[None], features[rows], centres.T, alpha=-2).amin(dim=1))
    return (torch.cat(parts) + norms).clamp_(min=0)


def _highest(scores: Tensor, count: int) -> Tensor:
    return scores.argsort(descending=True, stable=True)[:count]
