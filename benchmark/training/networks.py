"""Networks with their optimisers: what a method calls and steps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, overload

import torch
from torch import Tensor

from benchmark import clock, profiling
from benchmark.spec import TrainingProtocol
from benchmark.training.backbones import Network
from benchmark.training.joint_pass import collecting, joint_backward
from benchmark.training.optimizers import OPTIMIZERS
from benchmark.training.schedules import Schedule
from benchmark.training.side_by_side import logits_of


class Networks(Sequence[Network]):
    """One or more networks, each with an optimiser of its own, on the protocol's learning-rate plan.

    Args:
        modules: the networks, on their device.
        protocol: optimiser, learning rate and schedule.
        lr_scale: factor on the protocol's learning rate (a method's own ratio between its stages).
    """

    def __init__(self, modules: Iterable[Network], protocol: TrainingProtocol, *, lr_scale: float = 1.0) -> None:
        self._modules = list(modules)
        self.schedule = Schedule(protocol, lr_scale)
        self.optimizers = [_optimizer(module, protocol, lr_scale) for module in self._modules]
        if (run := clock.member()) is not None:
            run.new_networks()

    @overload
    def __getitem__(self, index: int) -> Network: ...
    @overload
    def __getitem__(self, index: slice) -> list[Network]: ...
    def __getitem__(self, index: int | slice) -> Network | list[Network]:
        return self._modules[index]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Network]:
        return iter(self._modules)

    def logits(self, images: Tensor) -> list[Tensor]:
        """Float32 logits of every network for the same images, as each network gives them; in one pass where that was measured faster."""
        return logits_of(self._modules, images)

    def step(self, loss: Tensor | Sequence[Tensor], after_backward: Callable[[], None] | None = None) -> Tensor:
        """Backward pass and one step of every optimiser.

        Args:
            loss: one scalar, or one scalar a network (their sum is differentiated, which is the same as each alone as
                long as each depends on its own network only).
            after_backward: called before the step, when the gradients are there.

        Returns:
            The detached sum, still on the device.
        """
        total = loss if isinstance(loss, Tensor) else torch.stack(list(loss)).sum()
        run = clock.member()
        if run is not None:
            run.check()
        with profiling.part("optimiser"):
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
        with profiling.part("backward"):
            with collecting() as passes:
                total.backward()
            if run is None or run.alone:
                joint_backward(passes)
        if run is not None and passes and not run.alone:
            run.step(self.optimizers, passes, after_backward)
            return total.detach()
        if after_backward is not None:
            after_backward()
        with profiling.part("optimiser"):
            for optimizer in self.optimizers:
                optimizer.step()
        return total.detach()

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Set every optimiser's learning rate (and Adam's first beta) for a 0-based epoch."""
        if (run := clock.member()) is not None:
            run.new_epoch()
        for optimizer in self.optimizers:
            self.schedule.apply(optimizer, epoch, epochs)

    def train(self, mode: bool = True) -> None:
        """Training mode, or evaluation mode with ``mode=False``."""
        for module in self._modules:
            module.train(mode)

    def parameter_count(self) -> int:
        """Trainable parameters of all networks."""
        return sum(p.numel() for module in self._modules for p in module.parameters() if p.requires_grad)

    def state_dict(self) -> dict[str, Any]:
        """Weights, buffers and optimisers."""
        return {
            "networks": [module.state_dict() for module in self._modules],
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        for module, saved in zip(self._modules, state["networks"], strict=True):
            module.load_state_dict(saved)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)


class MovingAverage:
    """A second network that follows a first: exponential moving average of parameters, batch-norm statistics of its own.

    Args:
        network: the network to follow.
        momentum: m of ``average = m * average + (1 - m) * network``.

    Source: the mean teacher (Tarvainen and Valpola 2017), as HSA-NRL uses it: parameters only.
    """

    def __init__(self, network: Network, momentum: float) -> None:
        self.network = copy.deepcopy(network)
        self.network.requires_grad_(False)
        self.network.last_logits = None
        self.momentum = momentum

    @torch.no_grad()
    def update(self, network: Network) -> None:
        """One step towards ``network``."""
        mine: list[Tensor] = list(self.network.parameters())
        theirs: list[Tensor] = list(network.parameters())
        torch._foreach_lerp_(mine, theirs, 1 - self.momentum)

    def state_dict(self) -> dict[str, Any]:
        """Weights and buffers."""
        return self.network.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore weights and buffers."""
        self.network.load_state_dict(state)


def _optimizer(module: Network, protocol: TrainingProtocol, lr_scale: float) -> torch.optim.Optimizer:
    parameters = [p for p in module.parameters() if p.requires_grad]
    settings: dict[str, Any] = {"lr": protocol.lr * lr_scale, "weight_decay": protocol.weight_decay}
    settings |= {"momentum": protocol.momentum} if protocol.optimizer == "sgd" else {"betas": (protocol.momentum, 0.999)}
    return OPTIMIZERS[protocol.optimizer](parameters, **settings, fused=True)  # one pass over each weight
