"""T-Loss: the likelihood of a Student-t distribution over whole masks, whose tail is learnt with the network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from benchmark.api import hp, method
from benchmark.segmentation import VOID
from benchmark.segmentation.method import MaskMethod
from benchmark.training.networks import Networks


@method(
    "seg_t_loss",
    task="segmentation",
    paper="Gonzalez-Jimenez et al., Robust T-Loss for Medical Image Segmentation, MICCAI 2023, arXiv 2306.00753",
    year=2023,
    family="robust loss",
    needs=[],
    cost=1.0,
)
class TLoss(MaskMethod):
    """−log of a multivariate Student-t density of a mask's errors: masks with large errors pull less, and how much less is learnt."""

    @dataclass(frozen=True)
    class Params:
        """Where the tail starts from."""

        log_nu: float = hp(1.0, -10.0, 20.0, search=(-2.0, 4.0), help="log of the degrees of freedom at the start; large: squared error")

    def setup(self, data, run):
        """The degrees of freedom follow the protocol's optimiser and plan."""
        self.tail = Networks([_Tail(self.params.log_nu).to(run.device)], run.protocol)

    def training_step(self, batch, networks, epoch):
        """Mean over the masks that are not void throughout."""
        self.tail.set_epoch(epoch, self.run.protocol.epochs)
        losses = t_loss(networks[0](batch.images), batch.labels, self.tail[0].log_nu)
        known = (batch.labels != VOID).flatten(2).any(dim=2)
        return (losses * known).sum() / known.sum().clamp(min=1)

    def after_backward(self, networks, epoch):
        """The tail has gradients of the same loss."""
        for optimizer in self.tail.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def diagnostics(self):
        """``nu``: the degrees of freedom at the end."""
        return {"nu": float(self.tail[0].log_nu.detach().exp())}


def t_loss(logits, labels, log_nu):
    """(B, T) −log density of each mask's errors δ over its D pixels that are not void, divided by D; 0 without any.

    lgamma(ν/2) − lgamma((ν + D)/2) + D/2 · log(πν) + (ν + D)/2 · log(1 + Σ δ²/ν), with δ² = ½ Σ_j (p_j − y_j)² at a pixel, which is
    (p₁ − y)² for two classes.

    Args:
        logits: (B, T, J, H, W).
        labels: (B, T, H, W), 255 void.
        log_nu: scalar, log ν.
    """
    known = labels != VOID
    classes = torch.arange(logits.shape[2], device=labels.device).view(-1, 1, 1)
    errors = logits.float().softmax(dim=2) - (labels.unsqueeze(2) == classes).float()
    squared = 0.5 * (errors.square().sum(dim=2) * known).flatten(2).sum(dim=2)
    # the terms without a network in them are differences of large numbers
    nu, d = log_nu.double().exp(), known.flatten(2).sum(dim=2).double()
    density = torch.lgamma(nu / 2) - torch.lgamma((nu + d) / 2) + d / 2 * (math.log(math.pi) + log_nu.double())
    return ((density + (nu + d) / 2 * torch.log1p(squared.double() / nu)) / d.clamp(min=1)).float()


class _Tail(nn.Module):
    """log ν."""

    def __init__(self, log_nu: float) -> None:
        super().__init__()
        self.log_nu = nn.Parameter(torch.tensor(log_nu))
