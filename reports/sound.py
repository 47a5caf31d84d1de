"""Whether a ``result.json`` is one that a report can read and show: it may come from someone else, or from another version."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from benchmark.spec import canonical_json
from benchmark.tasks import TASKS
from benchmark.tracking.command import masked
from reports.escape import one_line

__all__ = ["STATES", "problem_of", "without_secrets"]

STATES = ("done", "skipped", "diverged")
"""What a run can have come to."""

LARGEST = 1e100
"""Numbers beyond measure nothing, and their squares are no numbers any more."""
MOST_CHARACTERS = 120
"""Of a problem that is quoted."""

PARTS = ("metrics", "cost", "epochs", "noise", "diagnostics", "data", "host")
"""Parts of a result that are objects where they are there."""


def problem_of(result: Any) -> str | None:
    """Why a result cannot stand in a report, in one line; None where it can.

    Args:
        result: the content of a ``result.json``. What is missing beside the specification may be missing.
    """
    try:
        _check(result)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        said = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        return one_line(said.encode(errors="replace").decode()[:MOST_CHARACTERS])
    return None


def without_secrets(value: Any) -> Any:
    """The same JSON value with ``***`` for users and passwords in addresses: whoever reads a report need not reach the data."""
    if isinstance(value, str):
        return masked(value) if "://" in value else value
    if isinstance(value, Mapping):
        return {key: without_secrets(item) for key, item in value.items()}
    return [without_secrets(item) for item in value] if isinstance(value, (list, tuple)) else value


def _check(result: Any) -> None:
    _is("result", result, Mapping)
    spec = _is("spec", result["spec"], Mapping)
    for kind in ("method", "dataset", "noise"):
        plugin = _is(f"spec.{kind}", spec[kind], Mapping)
        for part in (plugin, *_is(f"spec.{kind}.parts", plugin.get("parts") or (), (list, tuple))):
            _is(f"spec.{kind}.name", _is(f"spec.{kind}", part, Mapping)["name"], str)
            _is(f"spec.{kind}.params", part.get("params") or {}, Mapping)
    _is("spec.protocol", spec["protocol"], Mapping)
    canonical_json(spec)  # it is hashed, so NaN has no place in it
    _is("spec.seed", spec["seed"], int)
    for name, label in _is("spec.labels", spec.get("labels") or {}, Mapping).items():
        _is(f"spec.labels.{name}", label or "", str)
    if result.get("status", "done") not in STATES:
        raise ValueError(f"its status is {result['status']!r:.40}, not {', '.join(STATES)}")
    for name in ("code_hash", "reason"):
        _is(name, result.get(name) or "", str)
    parts = {name: _is(name, result.get(name) or {}, Mapping) for name in PARTS}
    task = parts["data"].get("task") or "classification"
    if task not in TASKS:
        raise ValueError(f"its task is {task!r:.40}, which this version does not know")
    _is("host.versions", parts["host"].get("versions") or {}, Mapping)
    if parts["noise"].get("solvable") not in (True, False, None):
        raise TypeError("noise.solvable is neither true nor false")
    for truth in _is("oracle", result.get("oracle") or [], (list, tuple)):
        _is("oracle", truth, str)
    for name, values in parts["metrics"].items():
        _numbers(f"metrics.{name}", _is(f"metrics.{name}", values, Mapping))
    for name in ("cost", "epochs", "noise", "diagnostics"):
        _numbers(name, parts[name])
    _texts(result)


def _is(name: str, value: Any, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, int) and not -(2**63) <= value < 2**63):
        raise TypeError(f"{name} is {value!r:.40}")
    return value


def _numbers(name: str, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, (int, float)) and abs(value) > LARGEST and not (isinstance(value, float) and math.isinf(value)):
            raise ValueError(f"{name}.{key} is beyond {LARGEST:g}")


def _texts(value: Any) -> None:
    """Raise UnicodeEncodeError, a ValueError, for halves of characters, which JSON can hold and no file can."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _texts(key)
            _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _texts(item)
