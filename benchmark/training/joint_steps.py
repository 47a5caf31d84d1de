"""One step for the optimisers of several networks, and the stacks and optimisers that are kept from step to step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmark.training.backbones import Network
from benchmark.training.optimizers import OPTIMIZERS
from benchmark.training.stacking import Stack


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name not in ("params", "foreach")}


def steppable(optimizers: Sequence[torch.optim.Optimizer]) -> bool:
    """Whether one step over the parameters of all is the same as a step of each."""
    first = optimizers[0]
    if type(first) not in OPTIMIZERS.values():
        return False
    wanted = [_settings(group) for group in first.param_groups]
    if any(isinstance(value, Tensor) for group in wanted for value in group.values()):
        return False
    if len({any(one.state.values()) for one in optimizers}) > 1:
        return False  # the first step of one, a later one of another: SGD has no momentum for some of the weights yet
    return all(
        type(one) is type(first) and [_settings(group) for group in one.param_groups] == wanted for one in optimizers[1:]
    ) and not any(one._optimizer_step_pre_hooks or one._optimizer_step_post_hooks for one in optimizers)


class JointOptimizer:
    """One step for several optimisers of one kind and setting; each keeps its own state, which this one only borrows."""

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self._members = list(optimizers)
        groups = []
        for i, group in enumerate(optimizers[0].param_groups):
            groups.append({**_settings(group), "params": [p for one in optimizers for p in one.param_groups[i]["params"]]})
        build: Callable[..., torch.optim.Optimizer] = type(optimizers[0])
        self._joint = build(groups)
        self._firsts = [(one, one.param_groups[0]["params"][0]) for one in optimizers]

    def step(self) -> None:
        """The step; settings and states are those that the members have now."""
        lent = [(self._joint.state.get(parameter), one.state.get(parameter)) for one, parameter in self._firsts]
        if any(mine is None or mine is not theirs for mine, theirs in lent):
            self._borrow()
        for mine, theirs in zip(self._joint.param_groups, self._members[0].param_groups, strict=True):
            mine.update(_settings(theirs))
        self._joint.step()

    def _borrow(self) -> None:
        """A member that was restored from a checkpoint, or whose state a method has cleared, has another than before."""
        for one in self._members:
            for group in one.param_groups:
                for parameter in group["params"]:
                    self._joint.state[parameter] = one.state[parameter]


class Stacks:
    """The latest stacks and joint optimisers, because building one takes longer than a pass."""

    limit = 8

    def __init__(self) -> None:
        self._stacks: dict[tuple[int, ...], Stack] = {}
        self._optimizers: dict[tuple[tuple[int, ...], ...], JointOptimizer] = {}

    def stack(self, networks: Sequence[Network]) -> Stack:
        """The stack of these networks."""
        key = tuple(map(id, networks))  # what is kept holds its networks, so that no other can have their ids
        if key not in self._stacks:
            self._stacks[key] = Stack(networks)
        return _latest(self._stacks, key, self.limit)

    def step(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """A step of all, in one where that is the same."""
        if len(optimizers) == 1 or not steppable(optimizers):
            for optimizer in optimizers:
                optimizer.step()
            return
        key = tuple((id(one), *(len(group["params"]) for group in one.param_groups)) for one in optimizers)
        if key not in self._optimizers:
            self._optimizers[key] = JointOptimizer(optimizers)
        _latest(self._optimizers, key, self.limit).step()


def _latest(kept: dict[Any, Any], key: Any, limit: int) -> Any:
    kept[key] = found = kept.pop(key)
    while len(kept) > limit:
        del kept[next(iter(kept))]
    return found
