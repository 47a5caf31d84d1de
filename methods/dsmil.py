"""DSMIL: the most positive tile of a bag is the query that its other tiles are compared with."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from benchmark.api import hp, method
from benchmark.bags.data import BagBatch
from benchmark.bags.losses import two_stream_loss
from benchmark.bags.method import BagMethod
from benchmark.bags.networks import BagOutput


@method(
    "dsmil",
    task="bags",
    paper="Li, Li and Eliceiri, Dual-stream Multiple Instance Learning Network (DSMIL), CVPR 2021, arXiv 2011.08939",
    year=2021,
    family="attention",
    needs=[],
    cost=1.1,
)
class DSMIL(BagMethod):
    """Half the cross-entropy of the bag's logit, half that of its largest tile's."""

    @dataclass(frozen=True)
    class Params:
        """The two streams."""

        bag_share: float = hp(0.5, 0.0, 1.0, help="weight of the bag stream; the rest is the largest tile's")
        light: bool = hp(False, help="the released program's smaller network of today, with the tiles' features as values")

    @property
    def pooling(self) -> str:  # type: ignore[override]
        """The network."""
        return "dsmil_light" if self.params.light else "dsmil"

    def bag_loss(self, output: BagOutput, batch: BagBatch) -> Tensor:
        """Both streams."""
        share = self.params.bag_share
        return two_stream_loss(output, batch.offsets, batch.labels, bag_share=share, instance_share=1 - share)
