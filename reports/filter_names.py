"""What the names in a filter mean in a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmark.data.options import DEFAULTS as DATA_DEFAULTS
from reports.rows import Row

__all__ = ["ANY", "KINDS", "NUMBER", "TEXT", "TRUTH", "TYPES", "Value", "options_of", "values_of"]

Value = Any

KINDS = ("dataset", "noise", "method", "protocol")
TEXT, NUMBER, TRUTH, ANY = "text", "a number", "true or false", "a value"
TYPES = {
    **dict.fromkeys((*KINDS, "task", "backbone", "status"), TEXT),
    **dict.fromkeys(("seed", "epochs", "rate"), NUMBER),
    **dict.fromkeys(("oracle", "stale", "tuned", "solvable"), TRUTH),
}
"""Name → what it holds; results are numbers, and a parameter may hold anything."""


def values_of(row: Row, name: str) -> Sequence[Value]:
    """All that a name means in a row; None where it is missing."""
    spec = row["spec"]
    kind, dot, option = name.partition(".")
    if dot:
        return [options[option] for options in _parts(row, kind) if option in options]
    if name in KINDS:
        return (row[name], spec[name].get("name"), (spec.get("labels") or {}).get(name))
    if name in MEANT:
        return (MEANT[name](row),)
    value = row.get(name)
    return (float(value) if "/" in name and isinstance(value, bool) else value,)


def _rate(row: Row) -> float | None:
    noise = row["spec"]["noise"]
    if noise["name"] == "none":
        return 0.0
    value = row.get("noise/nominal_rate", (noise.get("params") or {}).get("rate"))
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


MEANT: dict[str, Callable[[Row], Value]] = {
    "rate": _rate,
    "backbone": lambda row: row["spec"]["protocol"].get("backbone"),
    "epochs": lambda row: row["spec"]["protocol"].get("epochs"),
    "oracle": lambda row: bool(row.get("oracle")),
    "stale": lambda row: bool(row.get("stale")),
    "tuned": lambda row: bool(row.get("tuned")),
}
"""Name → what it means in a row, where that is not what the row has under the name."""


def _parts(row: Row, kind: str) -> list[Mapping[str, Value]]:
    """The parameters of a kind; of joined noise models there are several, and of data also the options that are as they were."""
    spec = row["spec"][kind]
    if kind == "protocol":
        return [spec]
    if kind == "dataset":
        return [DATA_DEFAULTS | dict(spec.get("params") or {})]
    return [part.get("params") or {} for part in spec.get("parts") or [spec]]


def options_of(row: Row, kind: str) -> set[str]:
    """The parameters and options that a row's data, noise, method or protocol has."""
    return {option for options in _parts(row, kind) for option in options}
