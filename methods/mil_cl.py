"""Confident learning on tiles: which tiles of a positive bag do not deserve its label; a classifier of tiles is trained on the rest."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.api import hp, method
from benchmark.bags.data import BagData
from benchmark.bags.folds import bag_folds
from benchmark.bags.losses import bag_cross_entropy
from benchmark.bags.method import BagMethod, bag_predictor, network_of
from benchmark.bags.segments import bag_of_tile, segment_max, segment_topk_mean
from benchmark.errors import BenchmarkError
from benchmark.training.context import RunContext
from benchmark.training.networks import Networks

FILTERS = ("both", "confident_learning", "predicted_neq_given", "low_normalized_margin", "low_self_confidence")
"""``filter_by`` of cleanlab; of two classes ``prune_by_class`` and ``prune_by_noise_rate`` are ``both``."""


@method(
    "mil_cl",
    task="bags",
    paper="Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 70, 2021, arXiv 1911.00068",
    year=2021,
    family="detect and retrain",
    needs=[],
    cost=4.0,
)
class InstanceConfidentLearning(BagMethod):
    """Every tile inherits its bag's label; those that out-of-fold probabilities contradict are dropped or become negative."""

    pooling = "mean_pool"

    @dataclass(frozen=True)
    class Params:
        """How tiles are judged, and what becomes of them."""

        filter_by: str = hp("both", choices=FILTERS, help="which labels of tiles count as wrong, in cleanlab's names")
        then: str = hp("relabel", choices=("relabel", "drop"), help="what becomes of them: negatives, or left out")
        rounds: int = hp(3, 0, 100, search=(1, 5), help="how often tiles are judged, each time on what the last round has left; 0: never")
        folds: int = hp(3, 2, 20, tune=False, help="of the cross-validation, at most as many as patients")
        epoch_share: float = hp(0.5, 0.01, 1.0, search=(0.2, 1.0), help="of the epochs, for each fold")
        classifier: str = hp("linear", choices=("linear", "mlp"), help="of frozen features: linear, or with a hidden layer before it")
        top: int = hp(3, 1, 10_000, search=(1, 10), help="a bag is the mean of so many tiles of the highest scores; 1: the highest")

    def design(self) -> dict[str, Any]:
        """One logit a tile."""
        return {"pooling": self.pooling, "encoder": "projection" if self.params.classifier == "mlp" else ""}

    def setup(self, data: BagData, run: RunContext) -> None:  # type: ignore[override]
        """(N,) labels that tiles inherit, which of them are still trained on, and what is thought of them before any training: nothing."""
        self.offsets = data.offsets.to(run.device)
        self.inherited = data.labels[bag_of_tile(self.offsets, data.tiles)]
        self.labels = self.inherited.clone()
        self.kept = torch.ones(data.tiles, dtype=torch.bool, device=run.device)
        self.probabilities = torch.full((data.tiles,), 0.5, dtype=torch.float64, device=run.device)

    def fit(self, data: BagData, run: RunContext) -> Networks:  # type: ignore[override]
        """Judge the tiles round by round, then train on what is left of their labels.

        No tile is judged where a fold's training part would lack a label: all bags of one patient, or all positive ones.
        """
        p, rounds = self.params, []
        patients = data.n if data.groups is None else data.groups.unique().numel()
        folds = min(p.folds, patients)
        bag_fold = bag_folds(data.labels, data.groups, folds, run.rng("folds")).to(run.device)
        judges = all(data.labels[bag_fold != k].unique().numel() == 2 for k in range(folds))
        for number in range(p.rounds if judges else 0):
            self.probabilities = self.out_of_fold(f"round{number}", bag_fold[bag_of_tile(self.offsets, data.tiles)], folds)
            wrong = self.contradicted()
            self.labels = torch.where(wrong, 0, self.labels)
            if p.then == "drop":
                self.kept = self.kept & ~wrong
            rounds.append(self.standing())
        self.rounds = torch.stack(rounds or [self.standing()])
        networks = run.networks(1, **self.design())
        self.train_on_tiles("train", networks, torch.where(self.kept)[0], run.protocol.epochs, final=True)
        return networks

    def out_of_fold(self, name: str, fold: Tensor, folds: int) -> Tensor:
        """(N,) probabilities of tiles by classifiers that have seen no tile of their patient.

        Args:
            name: of the round; stages are called after it.
            fold: (N,) int64 the fold of each tile.
            folds: how many there are.
        """
        run, epochs = self.run, max(1, int(self.params.epoch_share * self.run.protocol.epochs))
        probabilities = torch.empty_like(self.probabilities)
        for k in range(folds):
            networks = run.networks(1, name=f"fold{k}", **self.design())
            inside, outside = torch.where((fold != k) & self.kept)[0], torch.where(fold == k)[0]
            self.train_on_tiles(f"{name}-fold{k}", networks, inside, epochs)
            probabilities[outside] = run.predict(tile_logits(networks), outside).double().sigmoid().squeeze(1)
        return probabilities

    def contradicted(self) -> Tensor:
        """(N,) bool: tiles that are still positive and that cleanlab holds for wrong, but for the likeliest of each bag, which stays.

        A bag that is positive has at least one positive tile. Of the tiles that were dropped before nothing is asked.

        Raises:
            BenchmarkError: as :func:`tile_issues`.
        """
        judged, positive = torch.where(self.kept)[0], self.labels == 1
        given, probabilities = self.labels[judged].cpu().numpy(), self.probabilities[judged].double().cpu().numpy()
        wrong = torch.zeros_like(self.kept)
        wrong[judged] = torch.from_numpy(tile_issues(given, probabilities, self.params.filter_by)).to(wrong.device)
        wrong &= positive
        wrong[segment_max(torch.where(positive, self.probabilities, -1.0), self.offsets)[1]] = False
        return wrong

    def standing(self) -> Tensor:
        """(N,) in [2/3, 1] for tiles that count as positive, in [0, 1/3] for the others; within either by out-of-fold probability."""
        return (2 * self.labels + self.probabilities) / 3

    def train_on_tiles(self, stage: str, networks: Networks, rows: Tensor, epochs: int, *, final: bool = False) -> None:
        """Cross-entropy of single tiles, on average as many a batch as the protocol's bags have.

        Args:
            stage: its name.
            networks: one network.
            rows: (m,) int64 tiles to train on, with ``self.labels``.
            epochs: how many.
            final: the run's last stage, which is evaluated and leaves a training history of the bags.
        """
        run, data, tiles_a_bag = self.run, self.data, len(self.labels) / self.data.n
        # The last stage draws from a generator of its own: what was judged before changes its labels, and nothing else.
        size, generator = max(1, round(run.protocol.batch_size * tiles_a_bag)), run.generator("train" if final else "folds")
        for epoch in run.epochs(stage, networks, epochs=epochs, predictor=bag_predictor(self, networks) if final else None):
            for some in rows[torch.randperm(len(rows), generator=generator).to(run.device, non_blocking=True)].split(size):
                (tiles,) = run.views(some, generator)
                loss = bag_cross_entropy(tile_logits(networks)(tiles).squeeze(1), self.labels[some])
                run.step(networks, loss, round(len(some) / tiles_a_bag))
            if final:
                networks.train(False)
                positive = self.bag_scores(run.predict(tile_logits(networks)).double().sigmoid().squeeze(1), self.offsets)
                run.history.record_probabilities(epoch, torch.where(data.labels == 1, positive, 1 - positive))

    def bag_scores(self, scores: Tensor, offsets: Tensor) -> Tensor:
        """(n,) the mean of the highest of each bag's (N,) scores; ``offsets`` (n + 1,) beside them."""
        return segment_topk_mean(scores, offsets, self.params.top)

    def predict_bags(self, networks: Networks, tiles: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """(n,) scores of bags and (N,) of tiles, in [0, 1]."""
        scores = tile_logits(networks)(tiles).squeeze(1).double().sigmoid()
        return self.bag_scores(scores, offsets), scores

    def label_quality(self) -> Tensor:
        """(n,) in (0, 1): where a bag stands among all by its out-of-fold score, if it is positive, and how far from the top, if not."""
        scores = self.bag_scores(self.probabilities, self.offsets)
        rising = scores.sort().values
        # the mean rank of equal scores: where no tile was judged, all bags are equally good
        rank = (torch.searchsorted(rising, scores) + torch.searchsorted(rising, scores, right=True) + 1) / 2
        rank = rank / (len(scores) + 1)
        return torch.where(self.data.labels == 1, rank, 1 - rank)

    def pseudo_labels(self) -> tuple[Tensor, float]:
        """(R, N) the labels of the tiles after each round as :meth:`standing` has them, and the threshold; the inherited ones if R = 0."""
        return self.rounds, 0.5

    def diagnostics(self) -> dict[str, float]:
        """The share of the tiles of positive bags that lost their label."""
        return {"contradicted": float((self.labels != self.inherited).sum() / (self.inherited == 1).sum().clamp(min=1))}


def tile_logits(networks: Networks) -> Callable[[Tensor], Tensor]:
    """What gives (B, 1) logits of normalised (B, …) tiles."""
    model = network_of(networks)
    return lambda tiles: model.pooling.scores(model.features(tiles)).unsqueeze(1)


def tile_issues(labels: np.ndarray, probabilities: np.ndarray, filter_by: str) -> np.ndarray:
    """(N,) bool: which labels cleanlab holds for wrong.

    Args:
        labels: (N,) int64, 0 or 1, both of which occur.
        probabilities: (N,) float64 of label 1, out of sample.
        filter_by: of :data:`FILTERS`.

    Raises:
        BenchmarkError: a probability is not a finite number; cleanlab would take it without a word.

    Source: Northcutt, Jiang and Chuang, JAIR 2021; ``cleanlab.filter.find_label_issues``.
    """
    from cleanlab.filter import find_label_issues

    if not np.isfinite(probabilities).all():
        raise BenchmarkError("mil_cl: a fold's network predicts NaN; try a lower protocol.lr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a class of one tile cannot be pruned is no news
        return find_label_issues(labels, np.stack([1 - probabilities, probabilities], axis=1), filter_by=filter_by, n_jobs=1)
