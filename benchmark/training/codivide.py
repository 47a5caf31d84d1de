"""Two networks that divide the samples for each other into labelled and unlabelled ones: what DivideMix and PGDF share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.api import Batch, Method, TrainingData, hp
from benchmark.training.backbones import Network
from benchmark.training.context import RunContext
from benchmark.training.loop import method_predictor
from benchmark.training.losses import cross_entropy, entropy
from benchmark.training.mixmatch import (
    Part,
    class_prior,
    clean_posterior,
    linear_ramp,
    mixmatch_loss,
    paired,
    predict_views,
    refine,
    same_share_per_class,
    sharpen,
)
from benchmark.training.networks import Networks
from benchmark.training.noise_rate import noise_rate_hp
from benchmark.training.selection import capped_epochs

SHARE = 0.25
"""Most of the epochs that the warm-up may take, and the ramp after it: the published 10 and 16 are of 300."""

LOW_NOISE = 0.35
"""``lambda_u=auto``: below this rate 0, else 25. The paper has 0 at 20 % and 25 at 50 % and says nothing of what lies between."""

AUTO_WEIGHT = 25.0


@dataclass(frozen=True)
class CoDivideParams:
    """What both methods take; the defaults are those of DivideMix on CIFAR-10."""

    noise_rate: float | str = noise_rate_hp("what lambda_u=auto goes by")
    lambda_u: float | str = hp(
        "auto",
        0.0,
        1000.0,
        choices=("auto",),
        search=(0.0, 150.0),
        help="weight of the unlabelled loss; auto: 0 below a rate of 0.35, else 25",
    )
    p_threshold: float = hp(0.5, 0.0, 1.0, search=(0.3, 0.7), help="probability of being right above which a label is used")
    temperature: float = hp(0.5, 0.05, 1.0, search=(0.3, 1.0), help="sharpening of guessed and refined labels; 1: none")
    alpha: float = hp(4.0, 0.0, 100.0, search=(0.5, 8.0), help="of mixup's Beta distribution; 0: no mixup")
    warmup: int = hp(10, 1, 1000, search=(2, 20), help="epochs of cross-entropy before the first division, at most a quarter of all")
    rampup: int = hp(16, 1, 1000, search=(2, 20), help="epochs until the full lambda_u, at most a quarter of all")
    confidence_penalty: float = hp(0.0, 0.0, 10.0, search=(0.0, 1.0), help="negative entropy in the warm-up; 1 for asymmetric noise")
    prior: str = hp(
        "uniform", choices=("uniform", "labels", "none"), help="what the mean prediction is drawn to; not uniform if imbalanced"
    )
    average_losses: int = hp(1, 1, 50, search=(1, 5), help="epochs whose losses are averaged before the division; 5 at a rate of 0.9")
    strong: bool = hp(False, help="strong views to train on, weak ones to guess from; false: weak ones for both")
    guess_mode: str = hp("train", choices=("train", "eval"), help="batch norm and dropout of the taught network while it guesses")
    per_class: bool = hp(False, help="use the labels of the same share of each class")


class CoDivide(Method):
    """Warm-up, then in every epoch: each network is taught by MixMatch on the division that the other made.

    Subclasses override :meth:`divide`, :meth:`denoise` and :meth:`label_weights`.

    Attributes:
        clean: (2, n) probability that a label is right, by the division of each network.
        quality: (n,) mean of it over both networks and the last epochs.
        predicted: (n,) int64 class that both networks together prefer, after the last epoch.
    """

    Params = CoDivideParams
    networks = 2

    def setup(self, data: TrainingData, run: RunContext) -> None:
        """Plan the epochs, fix λ_u, make per-sample state."""
        p, epochs = self.params, run.protocol.epochs
        self.warmup = capped_epochs(p.warmup, epochs, SHARE)
        self.rampup = capped_epochs(p.rampup, epochs, SHARE)
        self.views = ("weak", "weak", "strong", "strong") if p.strong else ("weak", "weak")
        self.unlabelled_weight = float(p.lambda_u) if p.lambda_u != "auto" else self._auto_weight(run)
        self.prior = class_prior(p.prior, data.labels, data.num_classes)
        self.recent = torch.full((p.average_losses, 2, data.n), float("nan"), device=run.device)
        self.clean = torch.ones(2, data.n, device=run.device)
        self.quality = torch.zeros(data.n, device=run.device)
        self.divisions = 0
        self.predicted = data.labels.clone()
        self.labelled_share = 1.0

    def rate(self, run: RunContext) -> float:
        """The noise rate; asked for at most once."""
        if not hasattr(self, "used_rate"):
            self.used_rate = run.noise_rate(self.params.noise_rate)
        return self.used_rate

    def _auto_weight(self, run: RunContext) -> float:
        return 0.0 if self.rate(run) < LOW_NOISE else AUTO_WEIGHT

    def fit(self, data: TrainingData, run: RunContext) -> Networks:
        """One stage: the warm-up and what follows it have one learning-rate plan, as published."""
        networks = run.networks(2)
        for epoch in run.epochs("train", networks, state=self, predictor=method_predictor(self, networks)):
            if epoch < self.warmup:
                self._warm_up(run, networks)
            else:
                for taught in range(2):
                    self._teach(run, networks, taught, epoch)
            self._judge(run, networks, epoch)
        return networks

    # ------------------------------------------------------------------------------------- what subclasses change

    def divide(self, losses: Tensor, probabilities: Tensor, epoch: int) -> Tensor:
        """(2, n) probability that each label is right, by each network; for the epoch that follows.

        Args:
            losses: (2, n) losses of the given labels in [0, 1], averaged as ``average_losses`` says.
            probabilities: (2, n, K) predictions in evaluation mode.
            epoch: the 0-based epoch that is over.
        """
        return torch.stack([clean_posterior(each) for each in losses])

    def denoise(self, probabilities: Tensor, taught: int, epoch: int) -> Tensor:
        """(B, K) guesses as they are used; unchanged here."""
        return probabilities

    def label_weights(self, clean: Tensor, epoch: int) -> Tensor | None:
        """(B,) factors on the labelled loss; none here."""
        return None

    # ----------------------------------------------------------------------------------------------------- epochs

    def _warm_up(self, run: RunContext, networks: Networks) -> None:
        for batch in run.loader():
            losses = []
            for logits in networks.logits(batch.images):
                loss = cross_entropy(logits, batch.labels).mean()
                losses.append(loss - self.params.confidence_penalty * entropy(logits).mean() if self.params.confidence_penalty else loss)
            run.step(networks, losses, len(batch))

    def _teach(self, run: RunContext, networks: Networks, taught: int, epoch: int) -> None:
        """One pass over what the other network's division leaves labelled, the rest beside it."""
        clean = self.clean[1 - taught]
        mask = self.labelled(clean)
        labelled, unlabelled = torch.where(mask)[0], torch.where(~mask)[0]
        first = run.loader(labelled, views=self.views)
        second = run.loader(unlabelled, views=self.views) if len(unlabelled) else None
        networks[taught].train()
        networks[1 - taught].eval()
        for step, (batch, other) in enumerate(paired(first, second)):
            ramp = linear_ramp(epoch + step / len(first), self.warmup, self.rampup)
            known, guessed = self._parts(networks, taught, batch, other, clean, epoch)
            loss = mixmatch_loss(
                networks[taught],
                known,
                guessed,
                alpha=self.params.alpha,
                unlabelled_weight=self.unlabelled_weight * ramp,
                prior=self.prior,
            )
            run.step(networks, loss, len(batch) + (len(other) if other is not None else 0))  # two views, one of two networks

    def _parts(
        self, networks: Networks, taught: int, batch: Batch, other: Batch | None, clean: Tensor, epoch: int
    ) -> tuple[Part, Part | None]:
        """Refined targets of the labelled part (by the taught network) and guessed ones of the other (by both)."""
        seen = [] if other is None else other.views[:2]
        with _guessing(networks[taught], self.params.guess_mode):
            predicted = predict_views(networks[taught], batch.views[:2], seen)
        trust = clean[batch.indices]
        target = refine(batch.labels, trust, self.denoise(predicted[0], taught, epoch))
        known = Part(batch.views[-2:], sharpen(target, self.params.temperature), self.label_weights(trust, epoch))
        if other is None:
            return known, None
        guess = (predicted[1] + predict_views(networks[1 - taught], seen)[0]) / 2
        return known, Part(other.views[-2:], sharpen(self.denoise(guess, taught, epoch), self.params.temperature))

    def labelled(self, clean: Tensor) -> Tensor:
        """(n,) bool: whose labels are used. At least one batch, those most likely right: without any label nothing can be taught."""
        mask = clean > self.params.p_threshold
        if self.params.per_class:
            mask = same_share_per_class(mask, -clean, self.data.labels)
        if int(mask.sum()) < min(self.run.protocol.batch_size, len(clean)):
            best = clean.argsort(descending=True, stable=True)[: self.run.protocol.batch_size]
            mask = mask.index_fill(0, best, True)
        return mask

    @torch.no_grad()
    def _judge(self, run: RunContext, networks: Networks, epoch: int) -> None:
        """Losses of all samples in evaluation mode, the history, and the division for the next epoch."""
        networks.train(False)
        both = run.predict(lambda images: torch.stack([network(images) for network in networks], dim=1))
        log_p = both.float().log_softmax(dim=2).transpose(0, 1)  # (2, n, K)
        losses = -log_p.gather(2, self.data.labels.view(1, -1, 1).expand(2, -1, 1)).squeeze(2)
        run.history.record_probabilities(epoch, (-losses).exp().mean(dim=0))
        low, high = losses.amin(dim=1, keepdim=True), losses.amax(dim=1, keepdim=True)
        self.recent = torch.cat([self.recent[1:], ((losses - low) / (high - low).clamp(min=1e-9)).unsqueeze(0)])
        probabilities = log_p.exp()
        self.predicted = probabilities.mean(dim=0).argmax(dim=1)
        if epoch + 1 < self.warmup:
            return
        self.clean = self.divide(self.recent.nanmean(dim=0), probabilities, epoch)
        self.labelled_share = float(torch.stack([self.labelled(each) for each in self.clean]).float().mean())
        if epoch + 1 > run.protocol.epochs - run.protocol.last_k:
            self.quality = (self.quality * self.divisions + self.clean.mean(dim=0)) / (self.divisions + 1)
            self.divisions += 1

    # --------------------------------------------------------------------------------------------------- judgement

    def auxiliary_predictions(self, networks: Networks, images: Tensor) -> dict[str, Tensor]:
        """Each network alone."""
        return {f"network{i + 1}": network(images).softmax(dim=1) for i, network in enumerate(networks)}

    def label_quality(self) -> Tensor:
        """The probability of being right, mean over both divisions of the last epochs."""
        return self.quality

    def suspects(self) -> Tensor:
        """Labels that this mean does not trust."""
        return self.quality <= self.params.p_threshold

    def corrected_labels(self) -> Tensor:
        """What both networks predict where the label is not trusted."""
        return torch.where(self.suspects(), self.predicted, self.data.labels)

    def diagnostics(self) -> dict[str, float]:
        """The share of labels in use at the end, λ_u, and the noise rate where it was asked for."""
        found = {"labelled": self.labelled_share, "lambda_u": self.unlabelled_weight}
        return found | ({"noise_rate": self.used_rate} if hasattr(self, "used_rate") else {})


@contextmanager
def _guessing(network: Network, mode: str) -> Iterator[None]:
    """The mode in which a network guesses, and training mode afterwards."""
    network.train(mode == "train")
    yield
    network.train()
