"""Batches that do not fit into memory, in pieces: one piece's activations at a time, the gradient of the whole batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


@dataclass
class Pieces:
    """How a run cuts its batches.

    Attributes:
        size: samples in a piece; None: batches are not cut.
        least: what the networks built so far bear: 2 where batch norm needs a spread, else 1.
        refusal: why the networks built so far take no pieces; empty if they do.
    """

    size: int | None = None
    least: int = 1
    refusal: str = ""

    def apply(self, network: nn.Module) -> None:
        """Tell a new network (a :class:`~benchmark.training.backbones.BaseNetwork`), and note what it bears."""
        network.micro_batch = self.size  # type: ignore[assignment]
        if _norms(network):
            self.least = 2
        self.refusal = self.refusal or str(getattr(network, "refuses_pieces", ""))

    def of_evaluation(self, batch: int) -> int:
        """An evaluation batch, or a piece where that is smaller: without gradients it takes less memory than in training."""
        return batch if self.size is None else min(batch, self.size)


Output = TypeVar("Output", Tensor, tuple[Tensor, Tensor])


def in_pieces(network: nn.Module, forward: Callable[[Tensor], Output], images: Tensor, size: int | None) -> Output:
    """``forward(images)``, with gradients piece by piece where there are more than ``size`` images.

    Each piece is computed without keeping its activations, and once more in the backward pass, with the same random numbers
    (non-reentrant activation checkpointing, Chen et al. 2016). Without batch norm the result is that of the whole batch but for
    rounding. Batch norm in training mode sees one piece at a time ("ghost batch norm", Hoffer et al. 2017): its statistics are
    those of a piece, its running averages move once a piece, and the second computation does not move them.

    Args:
        network: whose batch norms are in ``forward``.
        forward: (B, …) → (B, …) or a pair of such, each row from its own images (and, through batch norm, those beside it).
        images: (B, …).
        size: of a piece; None: no pieces. They are of like size, of two images at least where there is batch norm in training mode,
            so that one may have an image more.
    """
    if size is None or len(images) <= size or not torch.is_grad_enabled():
        return forward(images)
    norms = _norms(network) if network.training else []
    count = -(-len(images) // size)
    if norms:
        count = max(1, min(count, len(images) // 2))

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return contextlib.nullcontext(), _still(norms)

    parts = [checkpoint(forward, piece, use_reentrant=False, context_fn=contexts) for piece in images.tensor_split(count)]
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    first, second = zip(*parts, strict=True)
    return torch.cat(first), torch.cat(second)


def _norms(network: nn.Module) -> list[_BatchNorm]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


@contextlib.contextmanager
def _still(norms: list[_BatchNorm]) -> Iterator[None]:
    """Running averages and counters stay as they are; the same tensors are saved as in the first computation."""
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    try:
        for norm in norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None
        yield
    finally:
        for norm, momentum, tracked in before:
            norm.momentum, norm.num_batches_tracked = momentum, tracked
