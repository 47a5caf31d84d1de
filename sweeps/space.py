"""What a search varies: the method's own hyperparameters, and of the protocol the learning rate and the weight decay.

A method's space comes from the ranges that its ``hp()`` fields declare; ``--search`` changes it, and whatever a command sets stays as it
is set. This module knows Optuna only where a dimension becomes one of its distributions.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from benchmark import params as hyper
from benchmark.errors import BenchmarkError, unknown_name
from benchmark.params import Range
from benchmark.spec import TrainingProtocol

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["PROTOCOL", "WEIGHT_DECAYS", "Dimension", "grid_points", "read_search", "rounded", "space_of"]

PROTOCOL = "protocol"
WEIGHT_DECAYS = (0.0, 1e-5, 1e-4, 1e-3, 1e-2)
LR_FACTOR = 10.0
"""The learning rate is searched from a tenth of the protocol's to ten times it."""
DIGITS = 4
"""Significant digits of a suggested number: a setting that people write down and repeat is the one that was run."""

_RANGE = re.compile(r"(?P<low>[^:\[\]]+?)\.\.(?P<high>[^:\[\]]+)(?P<tail>(:[^:]+)*)")


@dataclass(frozen=True)
class Dimension:
    """One hyperparameter of a search.

    Attributes:
        owner: the method's name, or ``protocol``.
        name: of the parameter.
        low, high: inclusive bounds of a number; None for choices.
        whole: whether it is a whole number.
        log: searched on a logarithmic scale.
        step: multiples of it only.
        choices: the values, where it is no range.
    """

    owner: str
    name: str
    low: float | None = None
    high: float | None = None
    whole: bool = False
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] | None = None

    @property
    def key(self) -> str:
        """``elr.beta``, as ``--set`` writes it."""
        return f"{self.owner}.{self.name}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable; part of a study's identity."""
        said = {name: value for name, value in dataclasses.asdict(self).items() if name not in ("owner", "name")}
        kept = {name: value for name, value in said.items() if value is not None and value is not False}  # 0.0 is a bound like others
        return {**kept, "choices": list(self.choices)} if self.choices is not None else kept

    def distribution(self) -> BaseDistribution:
        """The same for Optuna."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices is not None:
            return CategoricalDistribution(self.choices)
        assert self.low is not None
        assert self.high is not None
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def contains(self, value: Any) -> bool:
        """Whether a search can come to this value."""
        if self.choices is not None:
            return any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in self.choices)
        assert self.low is not None
        assert self.high is not None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return False
        if self.whole and value != int(value):
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < 1e-8

    def rounded(self, value: Any) -> Any:
        """A suggestion as it is run: a float of a range has four digits of what the range leaves open, and stays inside."""
        if self.choices is not None or self.whole:
            return value
        assert self.low is not None
        assert self.high is not None
        if self.step:
            return round(value, 10)
        largest = max(abs(self.low), abs(self.high))
        digits = DIGITS + max(0, math.floor(math.log10(largest / (self.high - self.low))))
        return min(max(rounded(float(value), digits), self.low), self.high)

    def nearest(self, value: Any) -> Any:
        """The value of the space that comes closest; of a word among numbers the middle, of a word among choices the first."""
        if self.contains(value):
            return value
        if self.choices is not None:
            numbers = [choice for choice in self.choices if isinstance(choice, (int, float)) and not isinstance(choice, bool)]
            if numbers and isinstance(value, (int, float)) and not isinstance(value, bool):
                return min(numbers, key=lambda choice: abs(choice - value))
            return self.choices[0]
        assert self.low is not None
        assert self.high is not None
        if isinstance(value, (str, bool)) or not isinstance(value, (int, float)):
            value = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        inside = min(max(value, self.low), self.high)
        if self.step:
            most = math.floor((self.high - self.low) / self.step + 1e-9)
            inside = round(self.low + min(round((inside - self.low) / self.step), most) * self.step, 10)
        return round(inside) if self.whole else float(inside)

    def values(self) -> tuple[Any, ...] | None:
        """All values in order, None of a range without steps."""
        if self.choices is not None:
            return self.choices
        assert self.low is not None
        assert self.high is not None
        step = self.step or (1 if self.whole and not self.log else None)
        if step is None:
            return None
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        return tuple(int(self.low + number * step) if self.whole else round(self.low + number * step, 10) for number in range(count))


def space_of(
    method: str,
    params: type,
    resolved: Mapping[str, Any],
    protocol: TrainingProtocol,
    fixed: Iterable[str],
    search: Mapping[str, Mapping[str, str]],
) -> tuple[Dimension, ...]:
    """The dimensions of a method's search.

    Args:
        method: its name.
        params: its ``Params``.
        resolved: the values of all its parameters in the setting that is tuned: its default.
        protocol: what all methods share; the same of it.
        fixed: keys that the command sets (``elr.beta``, ``protocol.lr``): they are not searched.
        search: owner → parameter → what ``--search`` says, for this method and the protocol.

    Raises:
        BenchmarkError: ``--search`` of a parameter that does not exist, that is set too, or with values that it cannot take.
    """
    fixed = set(fixed)
    found: dict[str, Dimension] = {}
    for owner, kind, values in ((method, params, resolved), (PROTOCOL, TrainingProtocol, vars(protocol))):
        declared, asked = hyper.ranges(kind), dict(search.get(owner, {}))
        for name in asked:
            if name not in declared:
                raise unknown_name(f"parameter of {owner} in --search", name, declared)
            if f"{owner}.{name}" in fixed:
                raise BenchmarkError(f"{owner}.{name} is set to one value and searched too; leave one of them out")
            if owner == PROTOCOL and name == "name":
                raise BenchmarkError("--search protocol.name: a protocol is chosen with --protocol, and its values are searched")
        for name, allowed in declared.items():
            if f"{owner}.{name}" in fixed:
                continue
            if name in asked:
                dimension: Dimension | None = _asked(owner, name, kind, values, asked[name])
            elif owner == PROTOCOL:
                dimension = _of_protocol(name, protocol)
            else:
                dimension = _declared(owner, name, allowed, get_type_hints(kind)[name], values.get(name))
            if dimension is not None:
                found[dimension.key] = dimension
    return tuple(found.values())


def _of_protocol(name: str, protocol: TrainingProtocol) -> Dimension | None:
    """The learning rate and the weight decay: what anybody would tune, and all that can be tuned of cross-entropy."""
    if name == "lr" and protocol.lr > 0:
        return Dimension(PROTOCOL, name, rounded(protocol.lr / LR_FACTOR), rounded(protocol.lr * LR_FACTOR), log=True)
    return Dimension(PROTOCOL, name, choices=WEIGHT_DECAYS) if name == "weight_decay" else None


def _declared(owner: str, name: str, allowed: Range, hint: Any, default: Any) -> Dimension | None:
    """What a method's own field offers; None where it is not to be tuned, has no ends, or its default is a word among numbers."""
    if not allowed.tune:
        return None
    bounds = allowed.search or (allowed.low, allowed.high)
    if _takes(hint, (int, float)) and None not in bounds:
        if isinstance(default, (int, float)) and not isinstance(default, bool):
            return Dimension(owner, name, *bounds, whole=not _takes(hint, (float,)), log=allowed.log, step=allowed.step)
        return None
    if allowed.choices is not None and len(allowed.choices) > 1:
        return Dimension(owner, name, choices=tuple(allowed.choices))
    return Dimension(owner, name, choices=(False, True)) if _takes(hint, (bool,)) else None


def _takes(hint: Any, kinds: tuple[type, ...]) -> bool:
    return bool(set(get_args(hint) if get_origin(hint) is not None else (hint,)) & set(kinds))


# ---------------------------------------------------------------------------------------------------------------- words


def read_search(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    """``elr.beta=0.5..0.95`` or ``elr.beta=[0.5,0.7,0.9]`` as owner → parameter → text.

    Raises:
        BenchmarkError: not in that form, or a parameter twice.
    """
    found: dict[str, dict[str, str]] = {}
    for text in texts:
        target, equals, value = text.partition("=")
        owner, dot, key = (part.strip() for part in target.partition("."))
        if not (equals and dot and owner and key and value.strip()):
            raise BenchmarkError(f"--search '{text}': write method.parameter=LOW..HIGH (with :log or :step=S) or =[value,value]")
        if key in found.setdefault(owner, {}):
            raise BenchmarkError(f"--search '{text}': {owner}.{key} is given twice")
        found[owner][key] = value.strip()
    return found


def _asked(owner: str, name: str, kind: type, beside: Mapping[str, Any], text: str) -> Dimension:
    """The dimension that ``--search`` describes, every value checked against what the parameter may be."""
    what = f"--search {owner}.{name}={text}"
    if text.startswith("[") and text.endswith("]"):
        values = [_value(kind, beside, owner, name, part.strip().strip("'\"")) for part in text[1:-1].split(",")]
        if len({(type(value), value) for value in values}) < 2:
            raise BenchmarkError(f"{what}: a choice needs two different values; one is set with --set {owner}.{name}=value")
        return Dimension(owner, name, choices=tuple(dict.fromkeys(values)))
    match = _RANGE.fullmatch(text)
    if match is None:
        raise BenchmarkError(f"{what} is neither LOW..HIGH (with :log or :step=S) nor [value,value]")
    low, high = (_value(kind, beside, owner, name, match[end].strip()) for end in ("low", "high"))
    if any(isinstance(end, (str, bool)) or end is None for end in (low, high)):
        raise BenchmarkError(f"{what}: {name} is no number; write its values as [value,value]")
    log, step = _tail(match["tail"], what)
    whole = not _takes(get_type_hints(kind)[name], (float,))
    if not low < high:
        raise BenchmarkError(f"{what}: the range is empty; write the lower end first")
    if log and low <= 0:
        raise BenchmarkError(f"{what}: a logarithmic scale starts above 0")
    if log and step is not None:
        raise BenchmarkError(f"{what}: a logarithmic scale has no step; leave out :log or :step")
    if step is not None and (step > high - low or (whole and step != int(step))):
        raise BenchmarkError(f"{what}: a step of {step:g} does not fit into it")
    if step is not None:
        high = round(low + math.floor((high - low) / step + 1e-9) * step, 10)
    return Dimension(owner, name, low, high, whole=whole, log=log, step=step)


def _value(kind: type, beside: Mapping[str, Any], owner: str, name: str, text: str) -> Any:
    """One value as the parameter's type; ``beside`` are those of the others, with which it has to go together."""
    return getattr(hyper.resolve(kind, {**beside, name: text}, owner), name)


def _tail(text: str, what: str) -> tuple[bool, float | None]:
    log, step = False, None
    for part in filter(None, (piece.strip() for piece in text.split(":"))):
        key, _, value = part.partition("=")
        try:
            step = float(value) if key == "step" else step
        except ValueError:
            step = -1.0
        if part == "log":
            log = True
        elif key != "step" or step is None or not (math.isfinite(step) and step > 0):
            raise BenchmarkError(f"{what}: ':{part}' is neither :log nor :step=S with a number above 0")
    return log, step


# --------------------------------------------------------------------------------------------------------------- numbers


def rounded(value: float, digits: int = DIGITS) -> float:
    """A number with so many significant digits."""
    return float(f"{value:.{digits}g}")


def grid_points(space: Sequence[Dimension], limit: int) -> list[dict[str, Any]]:
    """Every point of a grid, the last dimension varying fastest.

    Raises:
        BenchmarkError: a dimension without steps, or more points than ``limit``.
    """
    axes = {dimension.key: dimension.values() for dimension in space}
    endless = [key for key, values in axes.items() if values is None]
    if endless:
        raise BenchmarkError(
            f"--sampler grid needs steps: write --search {endless[0]}=[value,value] or LOW..HIGH:step=S, or set it with --set"
            + (f" (also {', '.join(endless[1:6])})" if len(endless) > 1 else "")
        )
    size = math.prod(len(values or ()) for values in axes.values())
    if size > limit:
        raise BenchmarkError(f"the grid of {', '.join(axes)} has {size} points and --trials is {limit}; raise it, or search fewer values")
    return [dict(zip(axes, point, strict=True)) for point in itertools.product(*(values or () for values in axes.values()))]
