"""A forward pass that several runs share, and the way of each run's gradients back through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.training.stacking import Stack


def shared_images(images: Sequence[Tensor]) -> list[Tensor]:
    """One tensor a block of networks on the same images, if all blocks are of one size; else ``images`` as they are."""
    starts = [i for i, one in enumerate(images) if i == 0 or one is not images[i - 1]]
    sizes = {after - start for start, after in zip(starts, [*starts[1:], len(images)], strict=True)}
    return [images[i] for i in starts] if len(sizes) == 1 else list(images)


class JointPass:
    """One forward pass of networks of several runs, each of which differentiates its own part when it likes.

    A run is given logits whose gradients stop at a door. While :func:`collecting`, they wait there for :func:`joint_backward`; else the
    door computes what is asked for at once, for its own network alone.
    """

    def __init__(self, stack: Stack, images: Sequence[Tensor]) -> None:
        self.output = stack(images)
        self.parameters = [[p for p in network.parameters() if p.requires_grad] for network in stack.networks]
        self.gradients: dict[int, Tensor] = {}

    def logits(self) -> list[Tensor]:
        """(B, K) of each network."""
        parts = self.output.detach().unbind()
        if not self.output.requires_grad:
            return list(parts)
        return [_Door.apply(self, i, part, *self.parameters[i]) for i, part in enumerate(parts)]

    def gradient(self) -> Tensor:
        """(M, B, K), zero for the networks that have sent none."""
        nothing = torch.zeros_like(self.output[0])
        return torch.stack([self.gradients.get(i, nothing) for i in range(len(self.parameters))])


class collecting:  # noqa: N801 - reads as a statement
    """While this is entered, gradients stop at the doors; its value is the list of passes whose doors were reached."""

    passes: ClassVar[list[JointPass] | None] = None  # one list for all threads: on a GPU a backward pass has threads of its own

    def __enter__(self) -> list[JointPass]:
        collecting.passes = []
        return collecting.passes

    def __exit__(self, *error: object) -> None:
        collecting.passes = None


class _Door(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, joint: JointPass, position: int, part: Tensor, *parameters: Tensor) -> Tensor:
        ctx.joint, ctx.position = joint, position
        return part.clone()  # a view could not be changed in place, as logits can

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        if torch.is_grad_enabled():
            raise BenchmarkError(
                "gradients of gradients do not pass through a joint pass; leave --stack-seeds out, and call each network by itself"
            )
        joint, position, gradient = ctx.joint, ctx.position, gradients[0]
        parameters = joint.parameters[position]
        if collecting.passes is not None:
            if not any(joint is one for one in collecting.passes):
                collecting.passes.append(joint)
            earlier = joint.gradients.get(position)
            joint.gradients[position] = gradient if earlier is None else earlier + gradient
            return (None, None, None, *(None for _ in parameters))
        whole = torch.zeros_like(joint.output)
        whole[position] = gradient
        found = torch.autograd.grad(joint.output, parameters, whole, retain_graph=True, allow_unused=True)
        return (None, None, None, *found)


def joint_backward(passes: Sequence[JointPass]) -> None:
    """Send the gradients that wait at the doors on to the parameters of the networks that they belong to, in one backward pass."""
    passes = [one for one in passes if one.gradients]  # another run's request may have sent them
    if not passes:
        return
    whole = all(len(one.gradients) == len(one.parameters) for one in passes)
    arrived = None if whole else [p for one in passes for i in one.gradients for p in one.parameters[i]]
    outputs, gradients = [one.output for one in passes], [one.gradient() for one in passes]
    for one in passes:
        one.gradients.clear()
    torch.autograd.backward(outputs, gradients, retain_graph=not whole, inputs=arrived)
