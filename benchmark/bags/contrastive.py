"""Rounds of multiple-instance training and contrastive fine-tuning: what ItS2CLR and HNM-WSI have in common.

A network for bags is trained on the embeddings of all tiles, and its scores of tiles become their pseudo labels. By these, tiles are put
into pools, on which the encoder is fine-tuned with a supervised contrastive loss; then tiles are embedded again, and so on.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.api import TrainingData, hp
from benchmark.bags.data import BagBatch, BagData
from benchmark.bags.folds import held_out
from benchmark.bags.losses import bag_cross_entropy, supervised_contrastive, two_stream_loss
from benchmark.bags.method import BagMethod, bag_predictor, network_of
from benchmark.bags.model import BagModel
from benchmark.bags.networks import BagOutput
from benchmark.bags.pools import Pools, PseudoLabels, build_pools, draw_bag_pairs, draw_tile_batches, instance_labels, paced_share
from benchmark.bags.segments import bag_of_tile, bag_rows, segment_max
from benchmark.metrics.bags import bag_metrics, youden_threshold
from benchmark.training.context import RunContext
from benchmark.training.networks import Networks
from benchmark.training.selection import capped_epochs

GATES = ("loss", "f1", "auroc", "none")
INITIAL = ("mil", "bags")
STARTS = ("mil", "simclr", "none")
OPTIMISERS = ("protocol", "sgd")


@dataclass(frozen=True)
class RoundsParams:
    """What both methods take; names as in their programs."""

    threshold: float = hp(0.3, 0.0, 1.0, search=(0.1, 0.7), help="pseudo label above which a tile of a positive bag is positive")
    ro: float = hp(0.2, 0.0, 1.0, search=(0.05, 0.5), help="share of the positive tiles that are pulled together, at first")
    ro_neg: float = hp(0.2, 0.0, 1.0, search=(0.05, 0.5), help="share of a positive bag's low tiles among the negatives, at first")
    rT: float = hp(0.8, 0.0, 1.0, search=(0.2, 1.0), help="both shares at the end")  # noqa: N815 - the field's name
    warmup: int = hp(5, 0, 10_000, search=(0, 15), help="epochs before positives are pulled together; at most a quarter of all")
    posi_batch_ratio: float = hp(0.5, 0.01, 0.99, search=(0.1, 0.7), help="share of positives in a batch that pulls negatives together")
    posi_query_ratio: float = hp(0.05, 0.01, 0.99, search=(0.05, 0.5), help="share of positives in a batch that pulls positives together")
    finetune_share: float = hp(1.0, 0.0, 10.0, search=(0.2, 2.0), help="epochs of fine-tuning, of the protocol's epochs; 0: none")
    mil_every_n_epochs: int = hp(5, 1, 10_000, search=(1, 15), help="epochs of fine-tuning between two trainings on bags")
    batch: int = hp(256, 4, 65_536, tune=False, help="tiles in a batch of fine-tuning, each under two views")
    temperature: float = hp(0.07, 0.001, 10.0, search=(0.03, 0.5), log=True, help="of the contrastive loss")
    encoder_optimizer: str = hp("protocol", choices=OPTIMISERS, help="of fine-tuning; sgd: without momentum, weight decay 1e-4")
    encoder_lr: float = hp(1.0, 0.0, 1000.0, search=(0.1, 10.0), log=True, help="factor on the learning rate (of sgd: of 0.01)")
    bag_share: float = hp(0.5, 0.0, 1.0, help="weight of the bag stream in training on bags; the rest is the largest tile's")
    val_share: float = hp(0.2, 0.0, 0.9, tune=False, help="share of the training bags that pseudo labels are chosen on, by patient")
    gate: str = hp("loss", choices=GATES, help="what must not get worse on those bags if new pseudo labels are to replace the old")
    ema: float = hp(0.0, 0.0, 0.99, tune=False, help="share of the old in new pseudo labels")
    initial: str = hp("mil", choices=INITIAL, help="first pseudo labels: of the first training on bags, or the bags' labels for all tiles")
    start: str = hp("mil", choices=STARTS, help="encoder of pixels at the start: trained with the bags, by SimCLR, or random")
    legacy_scale: bool = hp(False, help="average over all rows of a batch, also those without a partner, as released")


class ContrastiveRounds(BagMethod):
    """The loop. A subclass says how many of the negatives take part, and what is added to the loss of a pair of bags.

    Stages: ``start`` (pixels only), then ``mil-<r>`` and ``finetune-<r>`` in turn, and ``train``, the last training on bags, which makes
    the predictor. A part of the training bags is held out by patient: they judge each round's pseudo labels, and their tiles are in no
    pool. Only ``train`` learns from them too, when nothing is left to choose.

    Attributes:
        hard_share: share of the tiles of negative bags that are fine-tuned on, those of the highest scores; 1 takes all.
    """

    Params: ClassVar[type] = RoundsParams
    data: BagData
    pooling = "dsmil"
    hard_share: float = 1.0

    def design(self) -> dict[str, Any]:
        """Frozen features get an encoder that can be fine-tuned, and begins by changing nothing."""
        return {"pooling": self.pooling, "encoder": "projection"}

    def supports(self, data: TrainingData) -> str | None:
        """Needs pairs of a positive and a negative bag."""
        return "all bags have one label, so there are no pairs of a positive and a negative bag" if len(data.labels.unique()) < 2 else None

    def setup(self, data: BagData, run: RunContext) -> None:  # type: ignore[override]
        """Hold bags out."""
        p = self.params
        share = 0.0 if p.gate == "none" else p.val_share
        self.fitting = ~held_out(data.labels, data.groups, share, run.rng("held out"))  # in host memory, as the offsets
        self.offsets = data.offsets.to(run.device)
        self.tuned_epochs = round(p.finetune_share * run.protocol.epochs)
        self.updates, self.rounds = 0, []  # type: ignore[var-annotated]

    # ------------------------------------------------------------------------------------------------ rounds

    def fit(self, data: BagData, run: RunContext) -> Networks:  # type: ignore[override]
        """All rounds."""
        tuner = self.started(data, run)
        every = min(self.params.mil_every_n_epochs, max(self.tuned_epochs, 1))
        for number, first in enumerate(range(0, self.tuned_epochs, every)):
            embeddings = self.embeddings(tuner)
            if not number and self.params.initial == "bags":
                labels = PseudoLabels(self.inherited(), float("-inf"), self.params.ema)
            else:
                scores, validation = self.scored(f"mil-{number}", embeddings)
                if number:
                    labels.offer(scores, validation)
                else:
                    labels = PseudoLabels(scores, validation, self.params.ema)
            self.rounds.append(labels.scores)
            self.updates = labels.updates
            self.tune(tuner, f"finetune-{number}", labels, first, min(every, self.tuned_epochs - first))
        embeddings, networks = self.embeddings(tuner), run.networks(1, **self.design())
        network_of(networks).encoder.load_state_dict(network_of(tuner).encoder.state_dict())
        self.train_on_bags("train", networks, embeddings, torch.arange(data.n), final=True)
        return networks

    def started(self, data: BagData, run: RunContext) -> Networks:
        """The encoder before the first round."""
        protocol, p = run.protocol, self.params
        networks = run.networks(1, name="encoder", **self.design())
        if data.has_pixels and p.start == "mil":
            loader = run.loader(torch.where(self.fitting)[0].to(run.device))
            for epoch in run.epochs("start", networks):
                for batch in loader:
                    run.step(networks, self.training_step(batch, networks, epoch), len(batch))
        elif data.has_pixels and p.start == "simclr":
            tiles = self.tiles_of(self.fitting)
            for _ in run.epochs("start", networks):
                for rows in draw_tile_batches(tiles, tiles, p.batch, 0.5, run.generator("tiles")).negative:
                    alone = torch.arange(2 * len(rows), device=run.device) % len(rows)
                    self.contrast(networks, rows, alone)
        if p.encoder_optimizer == "sgd":
            protocol = dataclasses.replace(protocol, optimizer="sgd", lr=0.01, momentum=0.0, weight_decay=1e-4)
        return Networks(list(networks), protocol, lr_scale=p.encoder_lr)

    def embeddings(self, tuner: Networks) -> Tensor:
        """(N, D) features of all training tiles, without augmentation."""
        tuner.train(False)
        return self.run.predict(network_of(tuner).features)

    def tiles_of(self, bags: Tensor) -> Tensor:
        """Rows of the tiles of the bags that a (n,) mask in host memory holds."""
        return bag_rows(self.data.offsets, torch.where(bags)[0])[0].to(self.run.device)

    def inherited(self) -> Tensor:
        """(N,) random numbers on the side of the threshold that the bag's label says: every tile inherits it, none ranks by merit."""
        threshold, positive = self.params.threshold, (self.data.labels == 1)[bag_of_tile(self.offsets, self.data.tiles)]
        drawn = torch.from_numpy(self.run.rng("inherited").random(self.data.tiles)).float().to(self.run.device)
        return torch.where(positive, 1 - drawn * (1 - threshold), drawn * threshold)

    def scored(self, stage: str, embeddings: Tensor) -> tuple[Tensor, float]:
        """(N,) scores of all tiles by fresh weights that were trained on the bags that are not held out, and what those say of them."""
        networks, fitting = self.run.networks(1, name=stage, **self.design()), self.fitting
        self.train_on_bags(stage, networks, embeddings, torch.where(fitting)[0])
        with torch.no_grad():
            output = network_of(networks).pool(embeddings, self.offsets)
        return output.instance_logits.double().sigmoid(), self.validation(output)

    def validation(self, output: BagOutput) -> float:
        """What the held-out bags say of a round, larger is better: minus the loss of both streams, or a measure of the bag stream alone, F1
        at the threshold of Youden that suits these bags best. Without such bags all rounds are equal, and each replaces the one before."""
        outside = torch.where(~self.fitting)[0].to(self.offsets.device)
        if not len(outside):
            return 0.0
        given, forecast, share = self.data.labels[outside], output.bag_logits[outside], self.params.bag_share
        if self.params.gate == "loss":
            largest, _ = segment_max(output.instance_logits, self.offsets)
            return -float(share * bag_cross_entropy(forecast, given) + (1 - share) * bag_cross_entropy(largest[outside], given))
        labels, probabilities = given.cpu().numpy(), forecast.sigmoid().cpu().numpy()
        value = bag_metrics(labels, probabilities, youden_threshold(labels, probabilities))[self.params.gate]
        return float("nan") if value is None else value

    # -------------------------------------------------------------------------------------- training on bags

    def train_on_bags(self, stage: str, networks: Networks, embeddings: Tensor, bags: Tensor, *, final: bool = False) -> None:
        """Train a network for bags on pairs of a positive and a negative bag, whose tiles have been embedded already.

        Args:
            stage: its name.
            networks: one, whose encoder is left as it is.
            embeddings: (N, D).
            bags: (m,) int64 in host memory.
            final: this is the predictor; its encoder is what ``embeddings`` come from.
        """
        run, labels, model = self.run, self.data.labels, network_of(networks)
        given, generator, size = labels.cpu()[bags], run.generator("pairs"), max(1, run.protocol.batch_size // 2)
        for epoch in run.epochs(stage, networks, predictor=bag_predictor(self, networks) if final else None):
            positive, negative = draw_bag_pairs(given, generator)
            for pair in zip(positive.split(size), negative.split(size), strict=True):
                chosen = bags[torch.cat(pair)]
                rows, offsets = (part.to(run.device, non_blocking=True) for part in bag_rows(self.data.offsets, chosen))
                chosen = chosen.to(run.device, non_blocking=True)
                output = model.pool(embeddings.index_select(0, rows), offsets)
                batch = BagBatch(rows, labels[chosen], chosen, offsets=offsets, rows=rows)
                run.step(networks, self.bag_loss(output, batch) + self.pair_loss(output, batch), len(chosen))
                if final:
                    run.history.record(epoch, chosen, batch.labels, model.last_logits)

    def bag_loss(self, output: BagOutput, batch: BagBatch) -> Tensor:
        """Both streams."""
        share = self.params.bag_share
        return two_stream_loss(output, batch.offsets, batch.labels, bag_share=share, instance_share=1 - share)

    def pair_loss(self, output: BagOutput, batch: BagBatch) -> Tensor | float:
        """What is added for pairs: the first half of the batch are positive bags, the second their partners."""
        return 0.0

    # ------------------------------------------------------------------------------------------- fine-tuning

    def tune(self, tuner: Networks, stage: str, labels: PseudoLabels, first: int, epochs: int) -> None:
        """Some epochs of fine-tuning; the learning rate and the pace go on from the rounds before.

        Args:
            tuner: holds the encoder.
            stage: its name.
            labels: pseudo labels.
            first: how many epochs were fine-tuned before.
            epochs: how many are.
        """
        run, p, total = self.run, self.params, self.tuned_epochs
        truth = instance_labels(labels.scores, self.offsets, self.data.labels, p.threshold)
        warmup = capped_epochs(p.warmup, total, share=0.25) if p.warmup else 0
        for epoch in run.epochs(stage, tuner, epochs=epochs):
            done = first + epoch
            tuner.set_epoch(done, total)
            pools, generator = self.pools(labels, done, warmup), run.generator("tiles")
            pulled = draw_tile_batches(pools.neg_clean, pools.pos_full, p.batch, p.posi_batch_ratio, generator)
            steps = [(0, torch.cat(pulled, dim=1))]
            if done >= warmup and len(pools.pos_spl):
                count = len(pulled.negative)
                query = draw_tile_batches(pools.neg_spl, pools.pos_spl, p.batch, p.posi_query_ratio, generator, batches=count)
                steps.append((1, torch.cat(query, dim=1)))
            for batch in zip(*(rows for _, rows in steps), strict=True):
                for (label, _), rows in zip(steps, batch, strict=True):
                    self.contrast(tuner, rows, truth[rows].repeat(2), pairs_of=label)

    def pools(self, labels: PseudoLabels, epoch: int, warmup: int) -> Pools:
        """The tiles of an epoch: what was paced at the end of the one before holds."""
        p, last = self.params, self.tuned_epochs
        shares = (paced_share(epoch - 1, first=start, last=p.rT, warmup=warmup, epochs=last) for start in (p.ro, p.ro_neg))
        positive, added = shares
        return build_pools(
            labels.scores,
            self.offsets,
            self.data.labels,
            self.fitting.to(self.run.device),
            threshold=p.threshold,
            positive_share=positive,
            hard_share=self.hard_share,
            added_share=None if not labels.updates else added if epoch > warmup else 0.0,
        )

    def contrast(self, networks: Networks, rows: Tensor, labels: Tensor, *, pairs_of: int | None = None) -> None:
        """One step on two views of some tiles.

        Args:
            networks: one.
            rows: (B,) tiles.
            labels: (2B,) of both views.
            pairs_of: the label whose rows are pulled together.
        """
        run, p = self.run, self.params
        views = torch.cat(run.views(rows, run.generator("views"), ("strong", "strong")))
        z = projected(network_of(networks), views)
        loss = supervised_contrastive(z, labels, temperature=p.temperature, pairs_of=pairs_of, legacy_scale=p.legacy_scale)
        run.step(networks, loss, round(2 * len(rows) * self.data.n / self.data.tiles))  # counted in bags of mean size

    # ---------------------------------------------------------------------------------------------- judgement

    def pseudo_labels(self) -> tuple[Tensor, float] | None:
        """The scores in use in each round of fine-tuning; refused ones are not among them."""
        return (torch.stack(self.rounds), self.params.threshold) if self.rounds else None

    def diagnostics(self) -> dict[str, float]:
        """Rounds of fine-tuning, how often their pseudo labels changed, and how many bags were held out."""
        return {"rounds": float(len(self.rounds)), "updates": float(self.updates), "held_out": float((~self.fitting).sum())}


def projected(model: BagModel, tiles: Tensor) -> Tensor:
    """(m, d) float32 unit vectors for the contrastive loss; the encoder in the run's precision, its head in float32."""
    head = model.encoder.head
    assert head is not None
    return F.normalize(head(model.features(tiles)), dim=1)
