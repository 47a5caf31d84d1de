"""What a method for bags is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmark.api import Method
from benchmark.bags.data import BagBatch, BagData
from benchmark.bags.losses import bag_cross_entropy
from benchmark.bags.model import BagModel
from benchmark.bags.networks import BagOutput
from benchmark.training.context import RunContext
from benchmark.training.networks import Networks


class BagMethod(Method):
    """A way to train on bags of tiles of which only the bags are labelled. As it stands: binary cross-entropy of the bags.

    ``data`` is a :class:`~benchmark.bags.data.BagData`: tiles of all bags in one table with offsets, labels (n,) 0 or 1. ``run.loader()``
    gives :class:`~benchmark.bags.data.BagBatch`; ``run.views(rows, generator, …)`` augmented tiles that the method picks itself;
    ``run.predict(network.features)`` the features of all tiles. Validation and test bags are the harness's: what a method wants to
    choose by itself it holds out of its training bags.

    Attributes:
        pooling: the network for bags, of :data:`benchmark.bags.networks.NETWORKS`.
    """

    pooling = "max_pool"

    def design(self) -> dict[str, Any]:
        """What ``run.networks`` is told of the networks."""
        return {"pooling": self.pooling}

    def bag_loss(self, output: BagOutput, batch: BagBatch) -> Tensor:
        """The loss of one batch of bags."""
        return bag_cross_entropy(output.bag_logits, batch.labels)

    def training_step(self, batch: BagBatch, networks: Networks, epoch: int) -> Tensor:  # type: ignore[override]
        """:meth:`bag_loss` of the first network."""
        return self.bag_loss(network_of(networks)(batch.images, batch.offsets), batch)

    def fit(self, data: BagData, run: RunContext) -> Networks:  # type: ignore[override]
        """One stage of :meth:`training_step`, recording the training history of the bags."""
        networks = run.networks(self.networks, **self.design())
        loader = run.loader()
        for epoch in run.epochs("train", networks, state=self, predictor=bag_predictor(self, networks)):
            for batch in loader:
                run.step(networks, self.training_step(batch, networks, epoch), len(batch))
                run.history.record(epoch, batch.indices, batch.labels, networks[0].last_logits)
            self.end_epoch(networks, epoch, run)
        return networks

    def pseudo_labels(self) -> tuple[Tensor, float] | None:
        """(R, N) scores that stood for labels of the training tiles in each round, and the threshold above which they are positive; None
        of methods that have none."""
        return None

    def predict_bags(self, networks: Networks, tiles: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """(n,) probabilities of the positive label and (N,) scores of the tiles in [0, 1]; the mean over the networks.

        Both are float64: in float32 all logits above 17 have the probability 1, and ties have no order.
        """
        outputs = [network_of(networks, i)(tiles, offsets) for i in range(len(networks))]
        bags = torch.stack([output.bag_logits.double().sigmoid() for output in outputs]).mean(dim=0)
        return bags, torch.stack([output.instance_logits.double().sigmoid() for output in outputs]).mean(dim=0)


def network_of(networks: Networks, position: int = 0) -> BagModel:
    """One of the networks as what it is here."""
    network = networks[position]
    assert isinstance(network, BagModel)
    return network


def bag_predictor(method: BagMethod, networks: Networks) -> Any:
    """What evaluates a method after each epoch: (n, 2) probabilities of bags under ``""``, (N,) scores of tiles under ``_tiles``."""

    def predictor(tiles: Tensor, offsets: Tensor) -> dict[str, Tensor]:
        bags, scores = method.predict_bags(networks, tiles, offsets)
        return {"": torch.stack([1 - bags, bags], dim=1), "_tiles": scores}

    return predictor
