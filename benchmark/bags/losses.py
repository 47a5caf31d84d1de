"""Losses of bags, of pairs of bags, and of tiles' projections; all from logits, so that nothing saturates or overflows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.bags.networks import BagOutput
from benchmark.bags.segments import segment_max, segment_topk_mean
from benchmark.errors import unknown_name

SCORE_SPACES = ("logit", "prob")
EXCLUDED = -1e30
"""The logit of what does not stand in a denominator. Minus infinity would make NaN of the gradient where nothing stands in it."""


def bag_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over bags of binary cross-entropy.

    Args:
        logits: (n,).
        labels: (n,) 0 or 1 of any number format; a number between stands for a soft label.
    """
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


def two_stream_loss(
    output: BagOutput,
    offsets: Tensor,
    labels: Tensor,
    *,
    bag_share: float = 0.5,
    instance_share: float = 0.5,
    bag: Tensor | None = None,
) -> Tensor:
    """bag_share · BCE of the bags' logits + instance_share · BCE of their largest instance logits; what DSMIL is trained with.

    Args:
        output: of the network, n bags.
        offsets: (n + 1,).
        labels: (n,).
        bag_share, instance_share: the two weights.
        bag: (N,) the bag of each tile, if it is at hand.
    """
    loss = bag_share * bag_cross_entropy(output.bag_logits, labels)
    if instance_share:
        largest, _ = segment_max(output.instance_logits, offsets, bag)
        loss = loss + instance_share * bag_cross_entropy(largest, labels)
    return loss


def ranking_loss(
    instance_logits: Tensor,
    offsets: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    k: int = 10,
    margin: float = 1.0,
    score_space: str = "logit",
    bag: Tensor | None = None,
) -> Tensor:
    """The mean over pairs of bags of max(0, margin − mean top-K of the positive bag + mean top-K of the negative one).

    A bag of fewer than K tiles is averaged whole. In logits, which have no bound, the loss ends as soon as a pair is ``margin`` apart;
    of probabilities a margin of 1 asks for 1 and 0, and never ends.

    Args:
        instance_logits: (N,).
        offsets: (n + 1,).
        positive, negative: (p,) int64 bags, pair by pair; a bag may be in several. Without pairs the loss is 0.
        k: K.
        margin: between the two means.
        score_space: ``logit``, as released, or ``prob``, as the paper has it.
        bag: (N,) the bag of each tile, if it is at hand.

    Raises:
        BenchmarkError: an unknown score space, or k below 1.

    Source: HNM-WSI, MICCAI 2024, and its program, which stops at a bag of fewer than K tiles.
    """
    if score_space not in SCORE_SPACES:
        raise unknown_name("score space", score_space, SCORE_SPACES)
    scores = instance_logits.sigmoid() if score_space == "prob" else instance_logits
    top = segment_topk_mean(scores, offsets, k, bag)
    hinge = F.relu(margin - top[positive] + top[negative])
    return hinge.sum() / max(len(positive), 1)


def supervised_contrastive(
    projected: Tensor,
    labels: Tensor,
    *,
    temperature: float = 0.07,
    pairs_of: int | None = None,
    legacy_scale: bool = False,
) -> Tensor:
    """SupCon: the mean over anchors i of −1/|P_i| Σ_p log(e^{z_i·z_p/T} / Σ_{a≠i} e^{z_i·z_a/T}).

    P_i are the other rows of i's label. Only anchors that have any are averaged over, so that rows without a partner change nothing but
    the denominators; without any such anchor the loss is 0, with a gradient of 0.

    Args:
        projected: (m, d) z of unit length; two views of a tile are two rows.
        labels: (m,) of the rows.
        temperature: T.
        pairs_of: only rows of this label are anchors and partners; all rows stay in the denominators. None: every label.
        legacy_scale: divide by m in the place of the number of anchors with partners, as the released programs do: the gradient then
            shrinks with the share of such anchors, and the learning rate with it.

    Source: Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, L_out; ``pairs_of`` is ItS2CLR's (Liu et al., CVPR 2023).
        Their programs leave out the shift by the maximum, and e^{1/0.07} overflows half precision.
    """
    z = projected.float() if projected.dtype in (torch.bfloat16, torch.float16) else projected
    likeness = z @ z.T / temperature
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    partners = (labels.unsqueeze(1) == labels) & ~itself
    if pairs_of is not None:
        partners = partners & (labels == pairs_of)  # of the same label, so the anchors are too
    log_share = likeness - likeness.masked_fill(itself, EXCLUDED).logsumexp(dim=1, keepdim=True)
    number = partners.sum(dim=1)
    losses = -torch.where(partners, log_share, 0).sum(dim=1) / number.clamp(min=1)
    anchors = len(z) if legacy_scale else (number > 0).sum().clamp(min=1)
    return losses.sum() / anchors
