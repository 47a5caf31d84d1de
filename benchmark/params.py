"""Hyperparameters: default, range, scale and help of each in one line, checked when a value is set.

A plugin declares them as a frozen dataclass::

    @dataclass(frozen=True)
    class Params:
        forget_rate: float = hp(0.2, 0.0, 0.9, help="share of samples left out of the loss")

Nothing here knows Optuna or a command line: sweeps read :func:`ranges`, the command line calls :func:`resolve`.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union, get_args, get_origin, get_type_hints

from benchmark.errors import BenchmarkError, unknown_name


@dataclass(frozen=True)
class NoParams:
    """The parameters of a plugin that has none."""


@dataclass(frozen=True)
class Range:
    """What values one hyperparameter may take, and which of them a search tries.

    Attributes:
        low, high: inclusive bounds of a numeric value; None where there is none.
        log: search on a logarithmic scale.
        step: search in multiples of this.
        choices: the allowed words (or, for a number, the only allowed numbers).
        search: the (low, high) that a sweep explores where it is narrower than what is allowed.
        tune: False keeps the parameter out of every sweep.
        help: one line for ``show``.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] | None = None
    search: tuple[float, float] | None = None
    tune: bool = True
    help: str = ""


def hp(
    default: Any,
    low: float | None = None,
    high: float | None = None,
    *,
    log: bool = False,
    step: float | None = None,
    choices: tuple[Any, ...] | None = None,
    search: tuple[float, float] | None = None,
    tune: bool = True,
    help: str = "",
) -> Any:
    """One hyperparameter of a ``Params`` dataclass; see :class:`Range` for the arguments.

    Raises:
        ValueError: the default, or an end of ``search``, lies outside what the range allows.
    """
    declared = Range(low, high, log, step, choices, search, tune, help)
    for role, value in (("default", default), *(("search bound", bound) for bound in search or ())):
        problem = _outside(value, declared)
        if problem:
            raise ValueError(f"{role} {value!r} {problem}")
    return field(default=default, metadata={"hp": declared})


def ranges(params_type: type) -> dict[str, Range]:
    """The range of every field of a ``Params`` dataclass, by name, in order."""
    return {f.name: f.metadata.get("hp", Range()) for f in dataclasses.fields(params_type)}


def defaults(params_type: type) -> dict[str, Any]:
    """The default of every field that has one, by name."""
    return {f.name: f.default for f in dataclasses.fields(params_type) if f.default is not dataclasses.MISSING}


def resolve(params_type: type, values: Mapping[str, Any], owner: str) -> Any:
    """Build ``params_type`` from partial values, each coerced to its field's type and checked against its range.

    Args:
        params_type: a frozen dataclass of :func:`hp` fields.
        values: the values to set; strings are read as the field's type, as they come from a command line.
        owner: the plugin's name, for messages.

    Raises:
        BenchmarkError: an unknown key, a value of the wrong type or outside its range, or a required one that is missing.
    """
    hints = get_type_hints(params_type)
    known = ranges(params_type)
    resolved: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise unknown_name(f"parameter of {owner}", key, known)
        try:
            resolved[key] = _coerce(value, hints[key])
        except ValueError:
            raise BenchmarkError(f"{owner}.{key}: {value!r} is not {_describe(hints[key], known[key])}") from None
        problem = _outside(resolved[key], known[key])
        if problem:
            raise BenchmarkError(f"{owner}.{key} = {resolved[key]!r} {problem}")
    missing = [key for key in known if key not in resolved and key not in defaults(params_type)]
    if missing:
        raise BenchmarkError(f"{owner} needs {', '.join(missing)}; write {owner}:{missing[0]}=value")
    try:
        return params_type(**resolved)
    except (TypeError, ValueError) as error:  # __post_init__ refuses the combination
        raise BenchmarkError(f"{owner}: {error}") from None


def _coerce(value: Any, hint: Any) -> Any:
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if type(value) in options and not isinstance(value, (str, float)):
        return value
    if value is None or isinstance(value, (list, tuple, set, dict)):  # their text would pass for a word
        raise ValueError
    text = str(value).strip()
    if type(None) in options and text.lower() == "none":
        return None
    if bool in options and text.lower() in ("true", "yes", "on", "false", "no", "off"):
        return text.lower() in ("true", "yes", "on")
    if isinstance(value, bool) and bool not in options:
        raise ValueError
    for kind in (int, float):
        if kind in options:
            try:
                number = kind(text)
            except ValueError:
                continue
            if isinstance(number, float) and not math.isfinite(number):
                raise ValueError  # also where words are allowed: "nan" is a number that went wrong
            return number + 0  # -0.0 becomes 0.0: equal values have equal keys
    if str in options:
        return text
    raise ValueError


def _outside(value: Any, allowed: Range) -> str | None:
    """None when the value is allowed, else the reason why not, to be read after the value."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(value, float) and not math.isfinite(value):
        return "is not finite"
    if is_number and (allowed.low is not None or allowed.high is not None):
        low = -math.inf if allowed.low is None else allowed.low
        high = math.inf if allowed.high is None else allowed.high
        return None if low <= value <= high else f"is outside [{low:g}, {high:g}]"
    if allowed.choices is not None and value not in allowed.choices and value is not None:
        return f"is not one of {', '.join(map(str, allowed.choices))}"
    return None


def _describe(hint: Any, allowed: Range) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", type(None): "none"}
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    described = " or ".join(names.get(option, str(option)) for option in options)
    return described if allowed.choices is None else f"{described} ({', '.join(map(str, allowed.choices))})"
