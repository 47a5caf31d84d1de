"""The networks of one run, all on the same images: in one pass where that was measured faster."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from benchmark import clock
from benchmark.training.backbones import Network
from benchmark.training.joint_choice import worth_it
from benchmark.training.stacking import Stack, joint_key


def joint_logits(networks: Sequence[Network], images: Tensor) -> list[Tensor] | None:
    """(B, K) logits of each network; None where the networks had better be called one after the other, or must be.

    In a group of runs (:mod:`benchmark.training.together`) the networks of all runs are asked at once.
    """
    run = clock.member()
    if run is not None:
        joint: list[Tensor] | None = run.forward(networks, images)
        if joint is not None:
            return joint
    if joint_key(networks, images) is None or not worth_it(networks, [images] * len(networks)):
        return None
    return list(Stack(networks)([images]).unbind())
