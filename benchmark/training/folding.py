"""Forward passes that only evaluate: batch norm folded into the convolution before it, ReLU and pooling done on the way.

In evaluation mode batch norm is an affine map with fixed numbers, so ``norm(conv(x))`` is one convolution with other weights (Jacob et
al. 2018). On a CPU this saves several passes over the activations. Results differ from the plain pass by float rounding (1e-6 of the
logits); every evaluation of the harness takes the same way, so a run repeats bit for bit.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from benchmark.profiling import watched_by_others

logger = logging.getLogger(__name__)

_SCOPE: ContextVar[object | None] = ContextVar("folding", default=None)
_TRUNKS: WeakKeyDictionary[nn.Module, FoldedTrunk | None] = WeakKeyDictionary()


@contextmanager
def folding() -> Iterator[None]:
    """Networks in evaluation mode without gradients take their folded pass while this is open; weights must not be stepped meanwhile."""
    token = _SCOPE.set(object())
    try:
        yield
    finally:
        _SCOPE.reset(token)


def folded(network: nn.Module, trunk: nn.Module, images: Tensor) -> nn.Module:
    """The trunk that computes what ``trunk`` does for these images, faster where it can be had.

    Args:
        network: whose trunk it is; in evaluation mode, or it is given back as it is.
        trunk: (B, C, H, W) → (B, width).
        images: what it will be called with. Only (B, C, H, W) float32 on a CPU, outside autocast, is folded.
    """
    scope = _SCOPE.get()
    if scope is None or network.training or torch.is_grad_enabled() or images.ndim != 4:
        return trunk
    if images.device.type != "cpu" or images.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return trunk
    if torch._C._functorch.peek_interpreter_stack() is not None:  # stacked weights or images: oneDNN has no rule for them
        return trunk
    if network not in _TRUNKS:
        _TRUNKS[network] = _traced(trunk)
    found = _TRUNKS[network]
    if found is None or any(layer.adapts for layer in found.layers):
        return trunk
    found.refresh(scope)
    return found.graph


def _traced(trunk: nn.Module) -> FoldedTrunk | None:
    """None where nothing can be folded: no such layers, hooks that want to be called, a forward pass that decides by what it sees."""
    if any(watched_by_others(module) for module in trunk.modules()):
        return None
    try:
        made = FoldedTrunk(trunk)
    except Exception as error:  # whatever a foreign forward makes of a symbolic tensor
        logger.debug("a trunk is evaluated as it is: %s", error)
        return None
    return made if made.layers else None


class FoldedTrunk:
    """A trunk whose convolutions hold the batch norm after them; built once a network, its weights made anew in each evaluation.

    Attributes:
        graph: computes what the trunk does in evaluation mode.
        layers: the folded convolutions in it.
    """

    def __init__(self, trunk: nn.Module) -> None:
        self.graph = fx.symbolic_trace(trunk)
        self.layers: list[FoldedConvolution] = []
        self._folded_for: list[object] = []
        modules = dict(self.graph.named_modules())
        nodes = self.graph.graph
        for node in list(nodes.nodes):
            conv = _module(node, modules, nn.Conv2d)
            if conv is None or len(node.users) != 1 or not _foldable(conv):
                continue
            follower = next(iter(node.users))
            norm = _module(follower, modules, nn.BatchNorm2d)
            if norm is None or norm.running_mean is None or not norm.affine:
                continue
            last, activation = _activation(follower, modules)
            if activation[0] == "none":
                activation = _taken_from_behind_a_pool(follower, modules)
            layer = FoldedConvolution(conv, norm, activation)
            name = f"folded_{len(self.layers)}"
            self.graph.add_submodule(name, layer)
            with nodes.inserting_after(last):
                joined = nodes.call_module(name, tuple(node.args))
            last.replace_all_uses_with(joined)
            for old in dict.fromkeys((last, follower, node)):
                nodes.erase_node(old)
            self.layers.append(layer)
        for node in list(nodes.nodes):
            pool = _module(node, modules, nn.MaxPool2d)
            if pool is not None and _halves(pool):
                self.graph.add_submodule(f"halving_{node.name}", _Halving())
                with nodes.inserting_after(node):
                    node.replace_all_uses_with(nodes.call_module(f"halving_{node.name}", tuple(node.args)))
                nodes.erase_node(node)
        self.graph.recompile()

    def refresh(self, scope: object) -> None:
        """Fold the weights as they are now, once in each scope, and again where other tensors have taken their place."""
        wanted = [scope, *(layer.source() for layer in self.layers)]
        if len(wanted) != len(self._folded_for) or any(a is not b for a, b in zip(wanted, self._folded_for, strict=True)):
            for layer in self.layers:
                layer.refresh()
            self._folded_for = wanted


class FoldedConvolution(nn.Module):
    """A convolution, its batch norm and, if ``activation`` says so, its (leaky) ReLU in one pass; see :meth:`refresh`."""

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d, activation: tuple[str, tuple[float, ...]]) -> None:
        super().__init__()
        self._parts = (conv, norm)  # in a tuple: they stay the trunk's, and are no part of this module
        self._unary, self._scalars = activation[0], list(activation[1])
        self._padding: list[int] = [int(side) for side in conv.padding]
        self._stride, self._dilation = list(conv.stride), list(conv.dilation)
        self._groups = conv.groups
        self._weight = self._bias = torch.empty(0)

    @property
    def adapts(self) -> bool:
        """Whether the batch norm takes the statistics of its batch, in training mode by itself in a network that evaluates."""
        return self._parts[1].training

    def source(self) -> Tensor:
        """The convolution's own weights."""
        return self._parts[0].weight

    @torch.no_grad()
    def refresh(self) -> None:
        """Fold: weights times γ / √(σ² + ε), and the shift that is left over."""
        conv, norm = self._parts
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        before = mean if conv.bias is None else mean - conv.bias
        self._weight = (conv.weight * scale.view(-1, 1, 1, 1)).contiguous(memory_format=torch.channels_last)
        self._bias = norm.bias - before * scale

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H', W')."""
        padding, stride, dilation, groups = self._padding, self._stride, self._dilation, self._groups
        if torch.backends.mkldnn.is_available():
            found: Tensor = torch.ops.mkldnn._convolution_pointwise(
                images, self._weight, self._bias, padding, stride, dilation, groups, self._unary, self._scalars, ""
            )
            return found
        plain = F.conv2d(images, self._weight, self._bias, stride, padding, dilation, groups)
        if self._unary == "none":
            return plain
        return F.leaky_relu_(plain, self._scalars[0]) if self._scalars else F.relu_(plain)


class _Halving(nn.Module):
    """Max pooling of 2×2 as three maxima: the same numbers, without the positions that only a gradient needs."""

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2] // 2 * 2, images.shape[3] // 2 * 2
        rows = torch.maximum(images[:, :, 0:height:2, :width], images[:, :, 1:height:2, :width])
        return torch.maximum(rows[:, :, :, 0::2], rows[:, :, :, 1::2])


def _module(node: fx.Node, modules: dict[str, nn.Module], kind: type[Any]) -> Any:
    """The module that a node calls, if it is exactly of this kind and its only use is here."""
    found = modules.get(str(node.target)) if node.op == "call_module" else None
    return found if type(found) is kind else None


def _foldable(conv: nn.Conv2d) -> bool:
    """Zero padding in pixels."""
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def _activation(node: fx.Node, modules: dict[str, nn.Module]) -> tuple[fx.Node, tuple[str, tuple[float, ...]]]:
    """The (leaky) ReLU after a batch norm, if that is all that uses it, else the batch norm itself and ``none``."""
    follower = next(iter(node.users)) if len(node.users) == 1 else None
    if follower is None:
        return node, ("none", ())
    if _module(follower, modules, nn.ReLU) is not None:
        return follower, ("relu", ())
    if follower.op == "call_function" and follower.target in (F.relu, torch.relu):
        return follower, ("relu", ())
    leaky = _module(follower, modules, nn.LeakyReLU)
    return (follower, ("leaky_relu", (leaky.negative_slope,))) if leaky is not None else (node, ("none", ()))


def _taken_from_behind_a_pool(norm: fx.Node, modules: dict[str, nn.Module]) -> tuple[str, tuple[float, ...]]:
    """The (leaky) ReLU after a max pooling, which gives the same before it: it is taken out there, to be done on the way."""
    pool = next(iter(norm.users)) if len(norm.users) == 1 else None
    if pool is None or _module(pool, modules, nn.MaxPool2d) is None:
        return "none", ()
    last, activation = _activation(pool, modules)
    if any(slope < 0 for slope in activation[1]):  # it falls
        return "none", ()
    if last is not pool:
        last.replace_all_uses_with(pool)
        pool.graph.erase_node(last)
    return activation


def _halves(pool: nn.MaxPool2d) -> bool:
    """Whether it takes the largest of 2×2 pixels, and leaves out what is over."""
    twos = pool.kernel_size in (2, (2, 2)) and pool.stride in (2, (2, 2))
    return twos and pool.padding in (0, (0, 0)) and pool.dilation in (1, (1, 1)) and not pool.ceil_mode and not pool.return_indices
