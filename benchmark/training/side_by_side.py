"""The networks of one run, all on the same images: on a GPU in one pass where that was measured faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from torch import Tensor

from benchmark import clock, profiling
from benchmark.training import joint_choice
from benchmark.training.backbones import BaseNetwork, Network
from benchmark.training.joint_pass import JointPass
from benchmark.training.stacking import Stack, joint_key


def logits_of(networks: Sequence[Callable[[Tensor], Tensor]], images: Tensor) -> list[Tensor]:
    """Float32 logits of every network for the same images, as each network gives them.

    In a group of runs (:mod:`benchmark.training.together`) the networks of all runs are asked at once.

    Args:
        networks: mostly :class:`~benchmark.training.networks.Networks`; whatever else can be called is called one after the other.
        images: normalised (B, C, H, W) images, or (B, D) features.
    """
    if len(networks) > 1 and all(isinstance(network, BaseNetwork) and not network.memo for network in networks):
        ours = cast(Sequence[Network], networks)
        joint = _joint(ours, images)
        if joint is not None:
            return [network.had(images, logits) for network, logits in zip(ours, joint, strict=True)]
    return [network(images) for network in networks]


def _joint(networks: Sequence[Network], images: Tensor) -> list[Tensor] | None:
    """None where the networks had better be called one after the other, or must be."""
    run = clock.member()
    if run is not None:
        joint: list[Tensor] | None = run.forward(networks, images)
        if joint is not None:
            return joint
    if joint_choice.forced is None and not images.is_cuda:
        return None  # no faster on a CPU (0.97 to 1.04), where a run that resumes must end with the same bits whatever a clock says
    if joint_key(networks, images) is None or not joint_choice.worth_it(networks, [images] * len(networks)):
        return None
    with profiling.part("forward"):
        return JointPass(Stack(networks), [images]).logits()
