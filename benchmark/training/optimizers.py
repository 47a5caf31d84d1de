"""torch's optimisers without what they do for torch.compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_METHODS = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
"""Each imports the compiler when it is first called."""


def _uncompiled(cls: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """The same optimiser, whose numbers are the same.

    torch wraps these methods for ``torch.compile``, and the wrappers import the compiler: 3 s of processor time in each worker
    process, more than a short run trains. What they wrap is used here as it is. A version of torch that wraps nothing is
    left alone.
    """
    plain = {name: getattr(getattr(cls, name), "__wrapped__", getattr(cls, name)) for name in _METHODS}
    inner = getattr(cls.step, "__wrapped__", cls.step)

    def step(self: torch.optim.Optimizer, closure: Any = None) -> Any:
        with torch.no_grad():
            for group in self.param_groups:
                if group.get("fused"):
                    _complete(self, group)
            return inner(self, closure)

    return type(cls.__name__, (cls,), {**plain, "step": step, "__doc__": cls.__doc__})


def _complete(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> None:
    """What a fused step takes for granted: gradients that lie in memory as their weights do, and momenta of all weights or of none.

    torch's own backward pass sees to the first; a gradient that a method has put there may lie otherwise, and on a CPU its numbers
    would go to other weights without a word. A weight whose first gradient comes later than the others' begins with a momentum of 0,
    which makes the same step as none.
    """
    moving = [weight for weight in group["params"] if weight.grad is not None]
    for weight in moving:
        if weight.grad.stride() != weight.stride():
            weight.grad = torch.empty_like(weight).copy_(weight.grad)
    if group.get("momentum"):
        still = [weight for weight in moving if optimizer.state[weight].get("momentum_buffer") is None]
        for weight in still if len(still) < len(moving) else ():
            optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": _uncompiled(torch.optim.Adam),
    "adamw": _uncompiled(torch.optim.AdamW),
    "sgd": _uncompiled(torch.optim.SGD),
}
"""By the names of ``protocol.optimizer``."""
