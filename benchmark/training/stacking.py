"""Joint passes of several networks of one architecture: their channels side by side, one kernel where there were several.

The activations of S networks are laid out as (B, S·C, H, W). A convolution becomes a grouped one, batch norm runs over S·C channels, a
linear layer becomes a batched product. Weights are joined from the networks' own parameters in every pass, so that gradients,
optimisers and checkpoints are each network's own.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from benchmark.profiling import watched_by_others
from benchmark.training.backbones import BaseNetwork, GlobalPool, Network

_BY_CHANNEL: tuple[type[nn.Module], ...] = (
    *(nn.ReLU, nn.LeakyReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.ELU, nn.Hardswish, nn.Tanh, nn.Sigmoid),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, GlobalPool, nn.Identity),
)
"""Layers without weights that treat every channel alike: they run on stacked channels as they are."""

_FUNCTIONS = (F.relu, torch.relu, F.leaky_relu, operator.add, operator.iadd, torch.add)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True)
class _Step:
    """One node of a trunk's graph: what runs (a layer's name, or a function) on which earlier values."""

    kind: str
    name: str
    target: Any
    inputs: tuple[Any, ...]
    options: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Architecture:
    """What two networks must have in common to run together.

    Attributes:
        steps: the trunk's graph.
        signature: text that is equal for equal graphs, layers and shapes of weights.
    """

    steps: tuple[_Step, ...]
    signature: str


class _Tracer(fx.Tracer):
    """Takes a layer of our own that runs on stacked channels as one step."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a layer is one step."""
        return isinstance(m, GlobalPool) or super().is_leaf_module(m, module_qualified_name)


_known: WeakKeyDictionary[nn.Module, Architecture | str] = WeakKeyDictionary()


def architecture(network: BaseNetwork) -> Architecture | str:
    """The graph of a network; or, as text, why it cannot be stacked. Traced once a network."""
    found = _known.get(network)
    if found is None:
        found = _known[network] = _architecture(network)
    return found


def _architecture(network: BaseNetwork) -> Architecture | str:
    if type(network) is not Network:
        return f"a {type(network).__name__} is no trunk with a linear head"
    if type(network.head) is not nn.Linear:
        return f"its head is a {type(network.head).__name__}"
    try:
        graph = _Tracer().trace(network.trunk)
    except Exception as error:  # whatever a model's forward makes of symbols
        return f"its trunk cannot be traced ({type(error).__name__})"
    layers = dict(network.trunk.named_modules())
    steps = []
    for node in graph.nodes:
        reason = _obstacle(node, layers)
        if reason:
            return reason
        inputs = tuple(_reference(value) for value in node.args)
        options = tuple((name, _reference(value)) for name, value in node.kwargs.items())
        steps.append(_Step(node.op, node.name, node.target, inputs, options))
    norms = [s.target for s in steps if s.kind == "call_module" and isinstance(layers[s.target], _NORMS)]
    if len(set(norms)) < len(norms):
        return "it uses a batch norm twice"  # whose statistics would move once
    shapes = [(name, tuple(p.shape), str(p.dtype)) for name, p in network.named_parameters()]
    layout = [f"{s.kind} {s.target if isinstance(s.target, str) else s.target.__name__} {s.inputs} {s.options}" for s in steps]
    used = [f"{type(layers[s.target]).__name__}({layers[s.target].extra_repr()})" for s in steps if s.kind == "call_module"]
    return Architecture(tuple(steps), repr((layout, used, shapes, network.bf16)))


@dataclass(frozen=True)
class _Value:
    """An earlier node's value, by name."""

    name: str


def _reference(value: Any) -> Any:
    return _Value(value.name) if isinstance(value, fx.Node) else value


def _obstacle(node: fx.Node, layers: dict[str, nn.Module]) -> str:
    """Why a node cannot run on stacked channels; empty if it can."""
    if any(isinstance(value, (list, tuple, dict)) for value in (*node.args, *node.kwargs.values())):
        return f"{node.name} takes a list"
    if node.op == "placeholder":
        return "" if node.prev.op == "root" else "its trunk takes more than images"
    if node.op == "output":
        return "" if isinstance(node.args[0], fx.Node) else "its trunk returns more than features"
    if node.op == "call_module":
        return _layer_obstacle(layers[str(node.target)])
    flattens = node.target is torch.flatten and (node.args[1:], node.kwargs) in (((1,), {}), ((), {"start_dim": 1}))
    if node.op == "call_function" and (flattens or node.target in _FUNCTIONS):
        return ""
    return f"{getattr(node.target, '__name__', node.target)} is not known to treat every channel alike"


def _layer_obstacle(layer: nn.Module) -> str:
    kind = type(layer)
    if kind in _BY_CHANNEL or kind is nn.Linear:
        return ""
    if isinstance(layer, (nn.Dropout, nn.Dropout2d)) and layer.p == 0:
        return ""
    if kind is nn.Conv2d and isinstance(layer, nn.Conv2d):
        return "" if layer.padding_mode == "zeros" else f"a convolution pads by {layer.padding_mode}"
    if kind is nn.Flatten and isinstance(layer, nn.Flatten):
        return "" if (layer.start_dim, layer.end_dim) == (1, -1) else "it flattens more than channels and pixels"
    if isinstance(layer, _NORMS) and kind in _NORMS:
        plain = layer.affine and layer.track_running_stats and layer.momentum is not None
        return "" if plain else "a batch norm keeps no running statistics"
    return f"it has a {kind.__name__} layer"


def joint_key(networks: Sequence[BaseNetwork], images: Tensor) -> tuple[Any, ...] | None:
    """Equal for passes that can be made as one, as they would be made now; None for those that have to be made alone."""
    if images.requires_grad or torch.is_autocast_enabled(images.device.type) or torch.is_inference_mode_enabled():
        return None
    functional = torch._C._functorch.peek_interpreter_stack() is not None  # inside of vmap or grad of torch.func
    parts: list[Any] = []
    for network in networks:
        found = architecture(network)
        if isinstance(found, str):
            return None
        layers = list(network.modules())
        if functional or network.micro_batch is not None or not all(map(_unwatched, layers)):
            return None  # memory is short, and a joint pass takes more; or a method looks into this network while it runs
        parts.append((found.signature, tuple(layer.training for layer in layers), next(network.parameters()).requires_grad))
    if len(set(parts)) > 1:
        return None
    return (parts[0], len(parts), tuple(images.shape), images.dtype, images.device, torch.is_grad_enabled())


def _unwatched(layer: nn.Module) -> bool:
    """Whether nobody sees a layer's passes, or the gradients of its own weights: hooks would be called in another run's turn, or twice."""
    if watched_by_others(layer) or layer._backward_hooks or layer._backward_pre_hooks:
        return False
    weights = [p for p in layer._parameters.values() if p is not None]
    return all(p.is_leaf and not p._backward_hooks and not p._post_accumulate_grad_hooks for p in weights)


class Stack:
    """Several networks that :func:`joint_key` finds alike, as one.

    Args:
        networks: M networks of one architecture.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        found = architecture(networks[0])
        assert not isinstance(found, str), found
        self.networks, self._steps, self._size = list(networks), found.steps, len(networks)
        self._layers = {s.target: [net.trunk.get_submodule(s.target) for net in networks] for s in found.steps if s.kind == "call_module"}

    def __call__(self, images: Sequence[Tensor]) -> Tensor:
        """(M, B, K) float32 logits.

        Args:
            images: normalised (B, C, H, W) or (B, D), one tensor for each of M / len(images) networks that follow each other.
        """
        joined = images[0] if len(images) == 1 else torch.cat(list(images), dim=1)
        if joined.ndim == 4:
            joined = joined.contiguous(memory_format=torch.channels_last)
        with torch.autocast(joined.device.type, torch.bfloat16, enabled=self.networks[0].bf16):
            features = self._run(joined, len(images)).float()
        return _linear(self._each(features), [network.head for network in self.networks])

    def _run(self, joined: Tensor, inputs: int) -> Tensor:
        """(B, M·width) features of (B, inputs·C, …) images."""
        values: dict[str, Tensor] = {}
        moved: list[_Moved] = []
        unspread = ""  # the name of a value that several networks still share
        for step in self._steps:
            if step.kind == "placeholder":
                values[step.name] = joined
                unspread = step.name if inputs < self._size else ""
                continue
            shared = bool(unspread) and _Value(unspread) in step.inputs
            if shared and step.kind == "call_module" and isinstance(layer := self._layers[step.target][0], nn.Conv2d) and layer.groups == 1:
                values[step.name] = _convolution(values[unspread], self._layers[step.target], inputs)
                continue
            if shared:
                values[unspread] = _spread(values[unspread], inputs, self._size)
                unspread = ""
            given = [values[value.name] if isinstance(value, _Value) else value for value in step.inputs]
            if step.kind == "output":
                _move(moved)  # now, as a pass that fails is made again by each network
                result: Tensor = given[0]
                return result
            options = {name: values[value.name] if isinstance(value, _Value) else value for name, value in step.options}
            called = step.kind == "call_module"
            values[step.name] = self._layer(step.target, given[0], moved) if called else step.target(*given, **options)
        raise AssertionError("a graph without output")

    def _layer(self, name: str, x: Tensor, moved: list[_Moved]) -> Tensor:
        layers = self._layers[name]
        if isinstance(layers[0], nn.Conv2d):
            return _convolution(x, layers, self._size * layers[0].groups)
        if isinstance(layers[0], _NORMS):
            return _batch_norm(x, layers, moved)
        if isinstance(layers[0], nn.Linear):
            outputs = _linear(self._each(x), layers)
            return outputs.transpose(0, 1).reshape(x.shape[0], -1)
        result: Tensor = layers[0](x)
        return result

    def _each(self, x: Tensor) -> Tensor:
        """(B, M·D) as (M, B, D)."""
        return x.reshape(x.shape[0], self._size, -1).transpose(0, 1)


def _spread(x: Tensor, inputs: int, size: int) -> Tensor:
    """(B, inputs·C, …) as (B, size·C, …), each input repeated for the networks that share it."""
    parts = x.unflatten(1, (inputs, -1)).unsqueeze(2)
    return parts.expand(-1, -1, size // inputs, *parts.shape[3:]).flatten(1, 3)


def _joined(layers: Sequence[Any], name: str) -> Tensor | None:
    return None if getattr(layers[0], name) is None else torch.cat([getattr(layer, name) for layer in layers])


def _convolution(x: Tensor, layers: Sequence[Any], groups: int) -> Tensor:
    weight, first = torch.cat([layer.weight for layer in layers]), layers[0]
    return F.conv2d(x, weight, _joined(layers, "bias"), first.stride, first.padding, first.dilation, groups)


def _linear(x: Tensor, layers: Sequence[Any]) -> Tensor:
    """(M, B, O) of (M, B, D)."""
    weight = torch.stack([layer.weight for layer in layers]).transpose(1, 2)
    if layers[0].bias is None:
        return torch.bmm(x, weight)
    return torch.baddbmm(torch.stack([layer.bias for layer in layers]).unsqueeze(1), x, weight)


_Moved = tuple[Sequence[Any], Tensor, Tensor]
"""Batch norms, and their running means and variances as they are to be, (S·C,) each."""


def _batch_norm(x: Tensor, layers: Sequence[Any], moved: list[_Moved]) -> Tensor:
    first, training = layers[0], layers[0].training
    mean, variance = torch.cat([layer.running_mean for layer in layers]), torch.cat([layer.running_var for layer in layers])
    normed = F.batch_norm(x, mean, variance, _joined(layers, "weight"), _joined(layers, "bias"), training, first.momentum, first.eps)
    if training:
        moved.append((layers, mean, variance))
    return normed


@torch.no_grad()
def _move(moved: Sequence[_Moved]) -> None:
    """Give batch norms the statistics of the pass that they were part of."""
    if not moved:
        return
    old = [t for layers, _, _ in moved for name in ("running_mean", "running_var") for t in (getattr(layer, name) for layer in layers)]
    new = [t for layers, *both in moved for joined in both for t in joined.split(layers[0].num_features)]
    torch._foreach_copy_(old, new)
    torch._foreach_add_([layer.num_batches_tracked for layers, _, _ in moved for layer in layers], 1)
