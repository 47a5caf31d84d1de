"""Confident learning on tiles: which tiles of a positive bag do not deserve its label; a classifier of tiles is trained on the rest."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

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
    cost=3.5,
)
class InstanceConfidentLearning(BagMethod):
    """Every tile inherits its bag's label; those that out-of-fold probabilities contradict are dropped or become negative."""

    pooling = "mean_pool"

    @dataclass(frozen=True)
    class Params:
        """How tiles are judged, and what becomes of them."""

        filter_by: str = hp("both", choices=FILTERS, help="which labels of tiles count as wrong, in cleanlab's names")
        then: str = hp("relabel", choices=("relabel", "drop"), help="what becomes of them: negatives, or left out")
        rounds: int = hp(3, 1, 100, search=(1, 5), help="how often tiles are judged, each time on what the last round has left")
        folds: int = hp(3, 2, 20, tune=False, help="of the cross-validation, at most as many as patients")
        epoch_share: float = hp(0.5, 0.01, 1.0, search=(0.2, 1.0), help="of the epochs, for each fold")
        classifier: str = hp("linear", choices=("linear", "mlp"), help="of frozen features: linear, or with a hidden layer before it")
        top: int = hp(3, 1, 10_000, search=(1, 10), help="a bag is the mean of so many tiles of the highest scores; 1: the highest")

    def design(self):
        """One logit a tile."""
        return {"pooling": self.pooling, "encoder": "projection" if self.params.classifier == "mlp" else ""}

    def setup(self, data, run):
        """Labels that tiles inherit; what is negative for certain is never doubted."""
        self.offsets = data.offsets.to(run.device)
        self.inherited = data.labels[bag_of_tile(self.offsets, data.tiles)]
        self.labels = self.inherited.clone()
        self.probabilities = torch.full((data.tiles,), 0.5, device=run.device)

    def fit(self, data: BagData, run: RunContext) -> Networks:
        """Judge, then train on the rest."""
        p, rounds = self.params, []
        names = data.groups.unique().numel() if data.groups is not None else data.n
        folds = min(p.folds, names)
        fold = bag_folds(data.labels, data.groups, folds, run.rng("folds")).to(run.device)[bag_of_tile(self.offsets, data.tiles)]
        kept = torch.ones(data.tiles, dtype=torch.bool, device=run.device)
        for number in range(p.rounds if folds > 1 else 0):
            self.probabilities = self.out_of_fold(f"round{number}", fold, folds, kept)
            rounds.append(self.probabilities)
            wrong = self.contradicted()
            self.labels = torch.where(wrong, 0, self.labels)
            if p.then == "drop":
                kept = kept & ~wrong
        self.rounds = torch.stack(rounds) if rounds else self.probabilities[None]
        self.kept = kept
        networks = run.networks(1, **self.design())
        self.train_on_tiles("train", networks, torch.where(kept)[0], run.protocol.epochs, final=True)
        return networks

    def out_of_fold(self, name, fold, folds, kept):
        """(N,) probabilities of tiles by classifiers that have seen no tile of their patient."""
        run = self.run
        probabilities = torch.empty(self.data.tiles, device=run.device)
        for k in range(folds):
            networks = run.networks(1, name=f"fold{k}", **self.design())
            inside, outside = torch.where((fold != k) & kept)[0], torch.where(fold == k)[0]
            self.train_on_tiles(f"{name}-fold{k}", networks, inside, max(1, int(self.params.epoch_share * run.protocol.epochs)))
            probabilities[outside] = run.predict(tile_logits(networks), outside).sigmoid().squeeze(1)
        return probabilities

    def contradicted(self) -> Tensor:
        """(N,) bool: positive tiles that cleanlab holds for wrong, but for the likeliest of each bag: one must be positive."""
        labels, device = self.labels.cpu().numpy(), self.labels.device
        if not 0 < labels.sum() < len(labels):
            return torch.zeros_like(self.labels, dtype=torch.bool)
        wrong = torch.from_numpy(tile_issues(labels, self.probabilities.double().cpu().numpy(), self.params.filter_by)).to(device)
        wrong &= self.labels == 1
        wrong[segment_max(self.probabilities, self.offsets)[1]] = False
        return wrong

    def train_on_tiles(self, stage, networks, rows, epochs, *, final=False):
        """Cross-entropy of single tiles, as many a batch as the protocol's bags have."""
        run, data = self.run, self.data
        size, generator = max(1, round(run.protocol.batch_size * data.tiles / data.n)), run.generator("tiles")
        for epoch in run.epochs(stage, networks, epochs=epochs, predictor=bag_predictor(self, networks) if final else None):
            for some in rows[torch.randperm(len(rows), generator=generator).to(run.device)].split(size):
                (tiles,) = run.views(some, generator)
                loss = bag_cross_entropy(tile_logits(networks)(tiles).squeeze(1), self.labels[some])
                run.step(networks, loss, round(len(some) * data.n / data.tiles))
            if final:
                networks.train(False)
                positive = self.bag_scores(run.predict(tile_logits(networks)).sigmoid().squeeze(1), self.offsets)
                run.history.record_probabilities(epoch, torch.where(data.labels == 1, positive, 1 - positive))

    def bag_scores(self, scores, offsets):
        """(n,) the mean of the highest scores of each bag."""
        return segment_topk_mean(scores, offsets, self.params.top)

    def predict_bags(self, networks, tiles, offsets):
        """(n,) scores of bags and (N,) of tiles."""
        scores = tile_logits(networks)(tiles).squeeze(1).sigmoid()
        return self.bag_scores(scores, offsets), scores

    def label_quality(self):
        """Where the bag stands among all by its out-of-fold score, if it is positive, and how far from the top, if it is not."""
        order = self.bag_scores(self.probabilities, self.offsets).argsort(stable=True).argsort().float()
        rank = (order + 1) / (len(order) + 1)
        return torch.where(self.data.labels == 1, rank, 1 - rank)

    def pseudo_labels(self):
        """The out-of-fold probabilities of each round."""
        return self.rounds, 0.5

    def diagnostics(self):
        """The share of the tiles of positive bags that lost their label."""
        positive = (self.inherited == 1).sum().clamp(min=1)
        return {"relabelled": float((self.labels != self.inherited).sum() / positive)}


def tile_logits(networks):
    """(B, 1) logits of normalised tiles."""
    model = network_of(networks)
    return lambda tiles: model.pooling.scores(model.features(tiles)).unsqueeze(1)


def tile_issues(labels: np.ndarray, probabilities: np.ndarray, filter_by: str) -> np.ndarray:
    """(N,) bool: cleanlab's answer for (N,) labels 0 and 1, both of which occur, and (N,) probabilities of 1.

    Raises:
        BenchmarkError: a probability is not a finite number; cleanlab would take it without a word.
    """
    from cleanlab.filter import find_label_issues

    if not np.isfinite(probabilities).all():
        raise BenchmarkError("mil_cl: a fold's network predicts NaN; try a lower protocol.lr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a class of one tile cannot be pruned is no news
        return find_label_issues(labels, np.stack([1 - probabilities, probabilities], axis=1), filter_by=filter_by, n_jobs=1)
