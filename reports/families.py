"""Conditions whose noise differs in the rate alone, so that a metric can be drawn over the rate."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.spec import canonical_json
from reports.cells import Cell

__all__ = ["families"]


def families(cells: Sequence[Cell]) -> list[tuple[str, float | None]]:
    """(family, nominal rate) of each condition's noise.

    The family is the noise's short name without the rate, e.g. ``symmetric`` or ``symmetric:inclusive=True``; where one such name
    stands for several models (another version, another file), ``#`` and four digits of a hash are appended to it. The rate is what
    the noise model was asked for, whatever the parameter is called; 0 without noise, None where it was asked for none.
    """
    rates = [_rate(cell) for cell in cells]
    found = [_without_rate(cell.rows[0]["spec"]["noise"], _label(cell), rate) for cell, rate in zip(cells, rates, strict=True)]
    meanings: dict[str, set[str]] = {}
    for label, meaning in found:
        meanings.setdefault(label, set()).add(meaning)
    several = {label for label, each in meanings.items() if len(each) > 1}
    names = [f"{label} #{hashlib.sha256(meaning.encode()).hexdigest()[:4]}" if label in several else label for label, meaning in found]
    return list(zip(names, rates, strict=True))


def _rate(cell: Cell) -> float | None:
    recorded = [row["noise/nominal_rate"] for row in cell.rows if _is_number(row.get("noise/nominal_rate"))]
    noise = cell.rows[0]["spec"]["noise"]
    if recorded:
        return float(recorded[0])
    if noise["name"] == "none":
        return 0.0
    asked: Any = (noise.get("params") or {}).get("rate")
    return float(asked) if _is_number(asked) else None


def _label(cell: Cell) -> str:
    """The short name that the run was given, before :func:`reports.rows.flatten_all` has appended anything to it."""
    row = cell.rows[0]
    return str((row["spec"].get("labels") or {}).get("noise") or row["noise"])


def _without_rate(noise: Mapping[str, Any], label: str, rate: float | None) -> tuple[str, str]:
    """The label, and one text for what it stands for, both without the rate."""
    params = dict(noise.get("params") or {})
    asked = [key for key, value in params.items() if rate is not None and _is_number(value) and value == rate]
    name = "rate" if "rate" in params else next(iter(asked), None)
    if name is None or rate is None:
        return label, canonical_json(noise)
    del params[name]
    first, *parts = label.split(":")
    for place, part in enumerate(parts):
        # the plugin's argument stands first, without its name
        text = part.removeprefix(f"{name}=")
        if (place == 0 or text != part) and _same(text, rate):
            del parts[place]
            break
    return ":".join([first, *parts]), canonical_json({**noise, "params": params})


def _same(text: str, rate: float) -> bool:
    try:
        return float(text) == rate
    except ValueError:
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
