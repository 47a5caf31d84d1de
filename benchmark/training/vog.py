"""Variance of gradients (VOG): how much a sample's gradient changes from checkpoint to checkpoint.

The original (Agarwal, D'souza and Hooker, Estimating Example Difficulty using Variance of Gradients, CVPR 2022) looks at the
gradient of the label's logit with respect to the pixels; Khanal et al. (MICCAI 2024) at the gradient of the cross-entropy with
respect to the last layer. Both take, for every entry of the gradient, the deviation over the checkpoints, and the mean of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from benchmark.training.backbones import Network
    from benchmark.training.context import RunContext

PIECE = 2**24
"""Entries of gradients in memory at once."""

_LARGEST_HALF = torch.finfo(torch.float16).max


def last_layer_gradients(features: Tensor, logits: Tensor, labels: Tensor, *, all_activations: bool = False) -> Tensor:
    """Each sample's gradient of its own cross-entropy with respect to bias and weights of the last layer, in closed form.

    With p = softmax(logits) the row of class k is (p_k − [k = y]) · (1, h). No batch size enters: a gradient of the mean over a
    batch would be smaller in a larger batch.

    Args:
        features: (B, D) features h before the last layer.
        logits: (B, K).
        labels: (B,) int64 given labels y.
        all_activations: every row instead of the label's alone.

    Returns:
        (B, 1 + D) float32, bias first; (B, K, 1 + D) with ``all_activations``.
    """
    return residuals(logits, labels, all_activations=all_activations)[..., None] * (
        with_bias(features)[:, None] if all_activations else with_bias(features)
    )


def residuals(logits: Tensor, labels: Tensor, *, all_activations: bool = False) -> Tensor:
    """(B,) p_y − 1, or (B, K) p_k − [k = y] with ``all_activations``: what the cross-entropy sends back into the logits.

    Exact where p_y rounds to 1.
    """
    log_p = logits.float().log_softmax(dim=1)
    given = torch.expm1(log_p.gather(1, labels.view(-1, 1)))
    return log_p.exp().scatter(1, labels.view(-1, 1), given) if all_activations else given.squeeze(1)


def with_bias(features: Tensor) -> Tensor:
    """(B, 1 + D) float32: a one, for the bias, and the features."""
    features = features.float()
    return torch.cat([features.new_ones(len(features), 1), features], dim=1)


@contextmanager
def last_layer_inputs(networks: Iterable[Network]) -> Iterator[list[Tensor]]:
    """What the networks' last layers are given while the context lasts, so that a pass that is made anyway shows its features.

    The passes are the same, bit for bit, as without.

    Args:
        networks: in any mode.

    Yields:
        a list that takes the (B, D) features of each forward pass, detached, in the order of the passes.
    """
    seen: list[Tensor] = []
    hooks = [network.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach())) for network in networks]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def pixel_gradients(network: Network, images: Tensor, labels: Tensor) -> Tensor:
    """Each sample's gradient of its label's logit with respect to its pixels, as the original VOG takes it.

    In evaluation mode, whatever mode the network is in (and is left in): with batch statistics a sample's gradient would depend on
    its batch mates, and the pass would change them. No gradient of the weights is computed or touched.

    Args:
        network: images → (B, K) logits.
        images: (B, C, H, W) normalised images, or (B, D) frozen features.
        labels: (B,) int64.

    Returns:
        (B, H·W) float32, the mean over the channels; (B, D) of frozen features.
    """
    training = network.training
    network.eval()
    try:
        with torch.enable_grad():
            inputs = images.detach().requires_grad_()
            given = network(inputs).gather(1, labels.view(-1, 1)).sum()
            (gradients,) = torch.autograd.grad(given, inputs)
    finally:
        network.train(training)
    return (gradients.mean(dim=1) if gradients.ndim == 4 else gradients).flatten(start_dim=1).float()


def all_pixel_gradients(run: RunContext, network: Network, labels: Tensor, *, into: RunningVariance | None = None) -> Tensor:
    """:func:`pixel_gradients` of all training images, without augmentation.

    Args:
        run: the run.
        network: any of its networks.
        labels: (n,) int64 labels of all training samples.
        into: takes the gradients, batch by batch, as one more checkpoint; nothing else is then kept in memory.

    Returns:
        (n, H·W) float32; (n, 0) with ``into``.
    """
    start = 0

    def visit(images: Tensor) -> Tensor:
        nonlocal start
        rows = slice(start, start + len(images))
        start = rows.stop
        gradients = pixel_gradients(network, images, labels[rows])
        if into is None:
            return gradients
        into.update(gradients, rows)
        return gradients[:, :0]

    return run.predict(visit)


def class_normalised(scores: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """(n,) z-scores within the classes of the given labels: (score − mean_c)/deviation_c, with the population's deviation.

    Makes scores of classes comparable that are hard and easy as a whole. A class of one sample, or of equal scores, gets zeros.

    Args:
        scores: (n,).
        labels: (n,) int64 in [0, num_classes).
        num_classes: K.
    """
    count = torch.bincount(labels, minlength=num_classes).clamp(min=1)
    values = scores.double()
    zeros = values.new_zeros(num_classes)
    centred = values - (zeros.index_add(0, labels, values) / count)[labels]
    deviation = (zeros.index_add(0, labels, centred.square()) / count).sqrt()[labels]
    level = 1e-12 + 1e-9 * values.abs()  # equal scores: what is left is rounding
    return torch.where(deviation > level, centred / deviation.clamp(min=1e-300), 0.0).float()


class RunningVariance:
    """The variance of each sample's gradient over any number of checkpoints, from running moments (Welford 1962).

    Args:
        n: number of samples.
        width: entries of a gradient.
        device: where it lives.

    Attributes:
        count: (n,) int64 checkpoints seen.
        mean: (n, width) float32.
        squares: (n, width) float32, the sum of squared deviations from the mean.
    """

    def __init__(self, n: int, width: int, device: torch.device) -> None:
        self.count = torch.zeros(n, dtype=torch.int64, device=device)
        self.mean = torch.zeros(n, width, device=device)
        self.squares = torch.zeros(n, width, device=device)

    @torch.no_grad()
    def update(self, values: Tensor, rows: Tensor | slice = slice(None)) -> None:
        """Add one checkpoint.

        Args:
            values: (m, width) gradients.
            rows: which m samples they belong to, each at most once; all by default.
        """
        self.count[rows] += 1
        before = values - self.mean[rows]
        self.mean[rows] += before / self.count[rows, None]
        self.squares[rows] += before * (values - self.mean[rows])

    def variance(self) -> Tensor:
        """(n, width) population variance; 0 for samples that were seen less than twice."""
        return self.squares.clamp(min=0) / self.count[:, None].clamp(min=1)

    def score(self) -> Tensor:
        """(n,) VOG: the mean over the entries of the deviation over the checkpoints."""
        return self.variance().sqrt().mean(dim=1)

    def state_dict(self) -> dict[str, Any]:
        """The moments, for a checkpoint."""
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the moments."""
        for name in ("count", "mean", "squares"):
            setattr(self, name, state[name].to(self.count.device).clone())


class WindowedVariance:
    """The variance of each sample's gradient over the last few checkpoints, each gradient an outer product factor ⊗ vector.

    A window that moves has to forget its oldest checkpoint, so it keeps them all; but of the last layer's gradient (p − y) ⊗ (1, h)
    only the two factors, K times less than the gradients themselves: 5 checkpoints of 10,000 samples with 512 features take 51 MB.

    Args:
        window: J, how many checkpoints.

    Attributes:
        pushed: checkpoints that are complete.
        vectors: (J, n, D) float16; None before the first.
        factors: (J, n) or (J, n, R) float32; None before the first.
    """

    def __init__(self, window: int) -> None:
        self.window, self.pushed = window, 0
        self.vectors: Tensor | None = None
        self.factors: Tensor | None = None

    def push(self, vectors: Tensor, factors: Tensor) -> None:
        """Add one checkpoint of all samples; the oldest falls out of a full window.

        Args:
            vectors: (n, D); what is beyond the range of float16 counts as its end.
            factors: (n,) or (n, R).
        """
        self.write(len(vectors), slice(None), vectors, factors)
        self.complete()

    @torch.no_grad()
    def write(self, n: int, rows: Tensor | slice, vectors: Tensor, factors: Tensor) -> None:
        """Put some samples of the coming checkpoint in place of the oldest; :meth:`complete` it when every sample has been written.

        Args:
            n: number of all samples.
            rows: which m samples.
            vectors: (m, D); what is beyond the range of float16 counts as its end.
            factors: (m,) or (m, R).
        """
        if self.vectors is None or self.factors is None:
            self.vectors = vectors.new_zeros(self.window, n, *vectors.shape[1:], dtype=torch.float16)
            self.factors = factors.new_zeros(self.window, n, *factors.shape[1:], dtype=torch.float32)
        place = self.pushed % self.window
        self.vectors[place, rows] = vectors.clamp(-_LARGEST_HALF, _LARGEST_HALF).half()
        self.factors[place, rows] = factors.float()

    def complete(self) -> None:
        """The checkpoint that was written counts from now on."""
        self.pushed += 1

    @torch.no_grad()
    def score(self) -> Tensor | None:
        """(n,) VOG over the window, the mean of the R·D deviations; None with fewer than two checkpoints."""
        filled = min(self.pushed, self.window)
        if self.vectors is None or self.factors is None or filled < 2:
            return None
        factors = self.factors.view(*self.factors.shape[:2], -1)
        step = max(1, PIECE // (filled * factors.shape[2] * self.vectors.shape[2]))
        parts = []
        for start in range(0, self.vectors.shape[1], step):
            rows = slice(start, start + step)
            products = factors[:filled, rows, :, None] * self.vectors[:filled, rows, None].float()
            parts.append(products.std(dim=0, correction=0).mean(dim=(1, 2)))
        return torch.cat(parts)

    def state_dict(self) -> dict[str, Any]:
        """The window, for a checkpoint."""
        return {"pushed": self.pushed, "vectors": self.vectors, "factors": self.factors}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the window; its tensors stay on the device that they were loaded to."""
        self.pushed = int(state["pushed"])
        self.vectors, self.factors = (None if state[name] is None else state[name].clone() for name in ("vectors", "factors"))
