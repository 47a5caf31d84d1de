"""SOP: wrong labels are explained by sparse variables of each sample's own, which gradient descent finds by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from benchmark.api import Method, hp, method
from benchmark.training.loop import method_predictor

SMALLEST = 1e-4
"""What explained predictions are clipped to from below, as in the released program."""

SPREAD = 1e-8
"""Standard deviation of the variables at the start: so small that only those which keep being pushed grow at all."""

PUBLISHED_EPOCHS = 120
"""The variables take one step an epoch and grow by a factor in each. In shorter runs the learning rates are raised as much as the
epochs are fewer, or the network would know the labels by heart before any variable has grown."""


@method(
    "sop",
    paper="Liu et al., Robust Training under Label Noise by Over-parameterization, ICML 2022, arXiv 2202.14026",
    year=2022,
    family="regularisation",
    needs=[],
    cost=1.0,
)
class SOP(Method):
    """The loss sees the prediction plus u² at the given label minus v² elsewhere; u and v belong to the sample, not the network."""

    presets: ClassVar = {
        "cifar10": {"lr_u": 10.0, "lr_v": 10.0},
        "cifar10_asymmetric": {"lr_u": 10.0, "lr_v": 100.0},
        "cifar100": {"lr_u": 1.0, "lr_v": 10.0},
        "cifar100_asymmetric": {"lr_u": 1.0, "lr_v": 100.0},
        "plus": {"ratio_consistency": 0.9, "ratio_balance": 0.1},
    }

    @dataclass(frozen=True)
    class Params:
        """Hyperparameters of the paper."""

        lr_u: float = hp(10.0, 0.0, 1000.0, search=(0.1, 100.0), log=True, help="learning rate of u over 120 epochs; higher in fewer")
        lr_v: float = hp(10.0, 0.0, 1000.0, search=(0.1, 100.0), log=True, help="learning rate of v, likewise; both 0 is cross-entropy")
        ratio_consistency: float = hp(0.0, 0.0, 10.0, tune=False, help="SOP+: weight of the agreement of two views of an image; 0.9")
        ratio_balance: float = hp(0.0, 0.0, 10.0, tune=False, help="SOP+: weight of the pull towards equally frequent classes; 0.1")

    def setup(self, data, run):
        """u and v start at next to nothing."""
        generator = run.generator("sop")
        self.u = (SPREAD * torch.randn(data.n, generator=generator)).to(run.device)
        self.v = (SPREAD * torch.randn(data.n, data.num_classes, generator=generator)).to(run.device)
        self.pace = max(1.0, PUBLISHED_EPOCHS / run.protocol.epochs)
        self.rows = self.u_rows = self.v_rows = None  # of the batch between its loss and its step

    def fit(self, data, run):
        """One stage; with a consistency term batches come in two views."""
        networks = run.networks(1)
        loader = run.loader(views=("weak", "strong") if self.params.ratio_consistency else ("weak",))
        for epoch in run.epochs("train", networks, state=self, predictor=method_predictor(self, networks)):
            for batch in loader:
                loss = self.training_step(batch, networks, epoch)
                run.step(networks, loss, len(batch) * len(batch.views), after_backward=self.step_noise)
                run.history.record(epoch, batch.indices, batch.labels, networks[0].last_logits)
        return networks

    def training_step(self, batch, networks, epoch):
        """The loss of the network and of the batch's rows of u and v."""
        strong = networks[0](batch.views[1]) if self.params.ratio_consistency else None
        logits = networks[0](batch.images)  # last, because the history is recorded from it
        self.rows = batch.indices
        self.u_rows, self.v_rows = self.u[batch.indices].requires_grad_(), self.v[batch.indices].requires_grad_()
        explained = explain(logits, batch.labels, self.u_rows, self.v_rows.detach())
        loss = -explained.gather(1, batch.labels.view(-1, 1)).log().mean() + residual(logits, batch.labels, self.u_rows, self.v_rows).mean()
        if strong is not None:
            agreement = F.kl_div(strong.log_softmax(dim=1), logits.detach().softmax(dim=1), reduction="batchmean")
            loss = loss + self.params.ratio_consistency * agreement
        if self.params.ratio_balance:
            loss = loss - self.params.ratio_balance * explained.mean(dim=0).clamp(min=SMALLEST).log().mean()
        return loss

    def step_noise(self):
        """One step of plain gradient descent for the batch's u and v, then back into [-1, 1]; other rows are not touched."""
        for all_rows, rows, lr in ((self.u, self.u_rows, self.params.lr_u), (self.v, self.v_rows, self.params.lr_v)):
            all_rows.index_copy_(0, self.rows, (rows.detach() - self.pace * lr * rows.grad).clamp(-1, 1))
        self.rows = self.u_rows = self.v_rows = None

    def after_backward(self, networks, epoch):
        """Step u and v with the network."""
        self.step_noise()

    def _beliefs(self):
        """(n, K): what is left of the given label, and what speaks for each other class."""
        given = F.one_hot(self.data.labels, self.data.num_classes).bool()
        return torch.where(given, 1 - self.u.square().view(-1, 1), self.v.square())

    def suspects(self):
        """Labels of which less is left than speaks for another class."""
        return self.corrected_labels() != self.data.labels

    def corrected_labels(self):
        """The class that most is left of."""
        return self._beliefs().argmax(dim=1)

    def sample_columns(self):
        """u², how much of the given label is explained as noise."""
        return {"noise": self.u.square()}


def explain(logits, labels, u, v):
    """(B, K) φ(p + u² − v²): u² counts at the label, v² elsewhere; φ clips from below and lets rows add up to 1."""
    given = F.one_hot(labels, logits.shape[1])
    shifted = logits.float().softmax(dim=1) + u.square().view(-1, 1) * given - v.square() * (1 - given)
    shifted = shifted.clamp(min=SMALLEST)
    return (shifted / shifted.sum(dim=1, keepdim=True)).clamp(min=SMALLEST)


def residual(logits, labels, u, v):
    """(B,) ‖h + u² − v² − y‖² with the predicted class h as one-hot: what v learns from, and u in the released program."""
    given = F.one_hot(labels, logits.shape[1])
    predicted = F.one_hot(logits.detach().argmax(dim=1), logits.shape[1])
    return (predicted + u.square().view(-1, 1) * given - v.square() * (1 - given) - given).square().sum(dim=1)
