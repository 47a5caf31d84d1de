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
            return inner(self, closure)

    return type(cls.__name__, (cls,), {**plain, "step": step, "__doc__": cls.__doc__})


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": _uncompiled(torch.optim.Adam),
    "adamw": _uncompiled(torch.optim.AdamW),
    "sgd": _uncompiled(torch.optim.SGD),
}
"""By the names of ``protocol.optimizer``."""
