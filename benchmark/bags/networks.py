"""Networks for bags by name: tiles and offsets → a logit a bag, a logit a tile, and how much each tile counted.

``max_pool`` and ``mean_pool`` score tiles one by one; ``abmil`` is gated attention (Ilse et al. 2018); ``dsmil`` is the dual stream of
Li et al. (2021) as HNM-WSI and ItS2CLR train it (592,002 parameters at 512 features), ``dsmil_light`` as its authors release it today
(83,202). They take features; what makes features of tiles, and is fine-tuned between, is in :mod:`~benchmark.bags.encoders`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.bags.segments import bag_of_tile, segment_max, segment_mean, segment_softmax, segment_sum, segment_weighted_sum
from benchmark.errors import unknown_name

NETWORKS = ("max_pool", "mean_pool", "abmil", "dsmil", "dsmil_light")
ATTENTION_WIDTH = 128


class BagOutput(NamedTuple):
    """What a network says of n bags with N tiles; float32.

    Attributes:
        bag_logits: (n,), positive for the positive label.
        instance_logits: (N,): their sigmoid is the score of a tile, and its pseudo-label.
        attention: (N,), adding up to 1 within each bag; None where the network has none. It is no score of a tile: every bag has some.
    """

    bag_logits: Tensor
    instance_logits: Tensor
    attention: Tensor | None


class BagNetwork(nn.Module):
    """A network for bags of tiles.

    Args:
        features: D.
        bf16: multiply matrices in bfloat16; what is summed over a bag, and all logits, stay float32.
    """

    def __init__(self, features: int, bf16: bool = False) -> None:
        super().__init__()
        self.bf16 = bf16
        self.instance = nn.Linear(features, 1)

    def forward(self, tiles: Tensor, offsets: Tensor, bag: Tensor | None = None) -> BagOutput:
        """Logits of n bags at once.

        Args:
            tiles: (N, D) float32 features of the tiles of n bags, bag after bag; their order within a bag does not matter.
            offsets: (n + 1,) int64 from 0 to N.
            bag: (N,) the bag of each tile, if it is at hand.
        """
        return self.pooled(tiles, offsets, bag_of_tile(offsets, len(tiles)) if bag is None else bag)

    def pooled(self, tiles: Tensor, offsets: Tensor, bag: Tensor) -> BagOutput:
        """:meth:`forward` with the bag of each tile."""
        raise NotImplementedError

    def scores(self, tiles: Tensor) -> Tensor:
        """(N,) instance logits alone."""
        return self.instance(tiles).squeeze(1)

    def matrices(self, tiles: Tensor) -> torch.autocast:
        """The part of a pass that may run in bfloat16; :func:`full` takes what comes out of it."""
        return torch.autocast(tiles.device.type, torch.bfloat16, enabled=self.bf16)


def full(values: Tensor) -> Tensor:
    """The same in float32 if they are bfloat16: sums over a bag of thousands of tiles need its digits."""
    return values.float() if values.dtype == torch.bfloat16 else values


class MaxPool(BagNetwork):
    """A bag is its most positive tile."""

    def pooled(self, tiles: Tensor, offsets: Tensor, bag: Tensor) -> BagOutput:
        """The largest instance logit of each bag; ``attention`` is None."""
        instances = self.scores(tiles)
        return BagOutput(segment_max(instances, offsets, bag)[0], instances, None)


class MeanPool(BagNetwork):
    """A bag is the mean of its tiles."""

    def pooled(self, tiles: Tensor, offsets: Tensor, bag: Tensor) -> BagOutput:
        """The mean instance logit of each bag; ``attention`` is None."""
        instances = self.scores(tiles)
        return BagOutput(segment_mean(instances, offsets, bag), instances, None)


class GatedAttention(BagNetwork):
    """Attention-based MIL with a gate: u = ReLU(W h), a = softmax of wᵀ(tanh(V u) ⊙ σ(U u)), and one classifier for Σ a u and for tiles.

    Args:
        features: D; u has as many.
        attention_width: rows of V and U.
        bf16: as in :class:`BagNetwork`.

    Source: Ilse, Tomczak and Welling, Attention-based Deep Multiple Instance Learning, ICML 2018, equation 9. The classifier is affine
    and attention adds up to 1, so that what it says of Σ a u is Σ a times what it says of u.
    """

    def __init__(self, features: int, attention_width: int = ATTENTION_WIDTH, bf16: bool = False) -> None:
        super().__init__(features, bf16)
        self.embedding = nn.Linear(features, features)
        self.content = nn.Linear(features, attention_width)
        self.gate = nn.Linear(features, attention_width)
        self.attention = nn.Linear(attention_width, 1)

    def pooled(self, tiles: Tensor, offsets: Tensor, bag: Tensor) -> BagOutput:
        """Logits and attention of each bag."""
        with self.matrices(tiles):
            embedded = F.relu(self.embedding(tiles))
            content, gate = self.content(embedded), self.gate(embedded)
        attention = self.attention(torch.tanh(full(content)) * torch.sigmoid(full(gate))).squeeze(1)
        attention = segment_softmax(attention, offsets, bag)
        instances = super().scores(full(embedded))
        return BagOutput(segment_sum(attention * instances, offsets, bag), instances, attention)

    def scores(self, tiles: Tensor) -> Tensor:
        """(N,) instance logits alone."""
        with self.matrices(tiles):
            embedded = F.relu(self.embedding(tiles))
        return super().scores(full(embedded))


class DualStream(BagNetwork):
    """DSMIL: the most positive tile of a bag is the query that its other tiles are compared with.

    c = w·h + b for each tile, m = argmax c; q = tanh(…); a = softmax of q_j·q_m/√Q; the bag's logit is k·Σ a v + b.

    - ``dsmil``: u = ReLU(W h), q = tanh(W_q u), v = W_v u.
    - ``dsmil_light``: q = tanh(W_2 ReLU(W_1 h)), v = h.

    Args:
        features: D.
        attention_width: Q.
        light: ``dsmil_light``.
        bf16: as in :class:`BagNetwork`.

    Source: Li, Li and Eliceiri, Dual-stream Multiple Instance Learning Network, CVPR 2021; W and tanh are of the released programs.
    W_v is affine and attention adds up to 1, so that W_v Σ a u stands here for Σ a W_v u: one product a bag in the place of one a tile,
    which is half of what a training step costs. The programs' dropout before W_v, 0 in all of them, is left out for it.
    """

    def __init__(self, features: int, attention_width: int = ATTENTION_WIDTH, light: bool = False, bf16: bool = False) -> None:
        super().__init__(features, bf16)
        self.light = light
        hidden = attention_width if light else features
        self.embedding = nn.Linear(features, hidden)
        self.query = nn.Linear(hidden, attention_width)
        self.value = nn.Identity() if light else nn.Linear(features, features)
        self.bag = nn.Linear(features, 1)
        self.scale = attention_width**-0.5

    def pooled(self, tiles: Tensor, offsets: Tensor, bag: Tensor) -> BagOutput:
        """Logits and attention of each bag."""
        instances = self.scores(tiles)
        _, critical = segment_max(instances.detach(), offsets, bag)
        with self.matrices(tiles):
            embedded = F.relu(self.embedding(tiles))
            queries = self.query(embedded)
        queries = torch.tanh(full(queries))
        # index_select, not [bag]: its gradient is a sum by segments on all threads, that of indexing a loop on one
        likeness = (queries * queries[critical].index_select(0, bag)).sum(dim=1) * self.scale
        attention = segment_softmax(likeness, offsets, bag)
        values = tiles if self.light else full(embedded)
        bags = self.bag(self.value(segment_weighted_sum(values, attention, offsets))).squeeze(1)
        return BagOutput(bags, instances, attention)


def build_bag_network(name: str, features: int, *, attention_width: int = ATTENTION_WIDTH, bf16: bool = False) -> BagNetwork:
    """A fresh network; draws its weights from torch's global generator, so seed that first.

    Args:
        name: one of :data:`NETWORKS`.
        features: D.
        attention_width: of ``abmil`` and ``dsmil``.
        bf16: as in :class:`BagNetwork`.

    Raises:
        BenchmarkError: an unknown name.
    """
    if name == "max_pool":
        return MaxPool(features, bf16)
    if name == "mean_pool":
        return MeanPool(features, bf16)
    if name == "abmil":
        return GatedAttention(features, attention_width, bf16)
    if name in ("dsmil", "dsmil_light"):
        return DualStream(features, attention_width, light=name == "dsmil_light", bf16=bf16)
    raise unknown_name("network for bags", name, NETWORKS)
