"""CDR: only the parameters that matter for the labels are updated by gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmark.api import Method, hp, method
from benchmark.training.losses import cross_entropy
from benchmark.training.noise_rate import noise_rate_hp
from benchmark.training.selection import capped_epochs, forget_rate


@method(
    "cdr",
    paper="Xia et al., Robust Early-Learning: Hindering the Memorization of Noisy Labels, ICLR 2021, openreview.net/forum?id=Eql5b1_hTE4",
    year=2021,
    family="regularisation",
    needs=["noise_rate"],
    cost=1.1,
)
class CDR(Method):
    """In each step the share 1 − τ of weights of largest |weight · gradient| is critical; the others get no gradient."""

    @dataclass(frozen=True)
    class Params:
        """Hyperparameters of the paper."""

        noise_rate: float | str = noise_rate_hp("final share of weights without a gradient")
        num_gradual: int = hp(10, 1, 1000, search=(1, 20), help="epochs until that share is reached, at most a quarter of all")

    def setup(self, data, run):
        """Fix the noise rate and the ramp."""
        self.rate = run.noise_rate(self.params.noise_rate)
        self.gradual = capped_epochs(self.params.num_gradual, run.protocol.epochs, share=0.25)

    def training_step(self, batch, networks, epoch):
        """Mean cross-entropy of the batch."""
        return cross_entropy(networks[0](batch.images), batch.labels).mean()

    def after_backward(self, networks, epoch):
        """Mask the gradients of non-critical weights and shrink those of the others, both by 1 − τ."""
        mask_gradients(networks[0], 1 - forget_rate(epoch, self.rate, self.gradual))

    def diagnostics(self):
        """The noise rate that was used."""
        return {"noise_rate": self.rate}


@torch.no_grad()
def mask_gradients(module: torch.nn.Module, share: float) -> None:
    """Keep ``share`` times the gradient of the given share of weights, those of largest |weight · gradient|; zero the rest.

    Biases and the parameters of norms are not weights here: they keep their gradient, as in the released program.
    """
    weights = [p for p in module.parameters() if p.dim() >= 2 and p.grad is not None]
    if share >= 1 or not weights:
        return
    importance = [(p * p.grad).abs() for p in weights]
    every = torch.cat([values.reshape(-1) for values in importance])
    critical = max(1, int(share * len(every)))
    threshold = every.kthvalue(len(every) - critical + 1).values
    for p, values in zip(weights, importance, strict=True):
        p.grad.mul_(share * (values >= threshold))
