"""Forward hooks of the networks of a profiled run; they return nothing, so no number depends on them."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from benchmark.profiling.active import enter_forward, leave_forward

_CONTAINERS = (nn.ModuleList, nn.ModuleDict)


def add_hooks(network: nn.Module) -> None:
    """Count what a network and its parts compute.

    A method may call ``network.features(x)``, or the trunk and the head one by one, and no hook of the network itself would see it:
    its children have hooks too. A part inside a part of the same name costs no reading of the clock.
    """
    for module in (network, *_called(network)):
        module.register_forward_pre_hook(enter_forward)
        module.register_forward_hook(leave_forward, always_call=True)


def _called(module: nn.Module) -> Iterator[nn.Module]:
    """The children; in the place of lists, which nobody calls, what is in them."""
    for child in module.children():
        if isinstance(child, _CONTAINERS):
            yield from _called(child)
        else:
            yield child
