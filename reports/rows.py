"""One flat row a run, from its ``result.json``."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmark.errors import unknown_name
from benchmark.spec import TUNED, TrainingProtocol, canonical_json
from benchmark.tasks import TASKS

__all__ = ["Row", "flatten", "flatten_all", "identity_of", "select", "tell_apart"]

Row = dict[str, Any]
NAMES = ("dataset", "noise", "method")


def flatten(result: Mapping[str, Any], *, stale: bool | None = None) -> Row:
    """The flat row of one ``result.json``.

    Args:
        result: the content of the file; a key ``stale`` that a store has added is honoured.
        stale: whether the code has changed since; None takes what the result says, False if it says nothing.

    Returns:
        A dict with

        - ``task``; ``dataset``, ``noise``, ``method``, ``protocol``: short names for people; ``seed``, ``run_key``, ``status``
          (``done``, ``skipped``, ``diverged``), ``reason``, ``code_hash``;
        - ``<group>/<metric>`` (``selected/accuracy``, ``aux/ema/nll``, ``detection/f1``, …), a float or None;
        - ``cost/…``, ``epochs/…``, ``noise/…`` and ``diagnostics/…``: the numbers of those parts of the result;
        - the marks ``oracle`` (list of the truths used), ``stale`` (bool) and ``solvable`` (False where the true class is
          no longer the most likely given label, None where that is unknown);
        - ``host``: the hardware and the versions it ran with, ``commit``: that of this program, empty where unknown;
        - ``spec``: the whole specification, and ``identity``, one text each for what ``method`` and ``cell`` (data, noise
          and protocol) stand for. Short names are for reading: two sets of images may share one.
    """
    spec = dict(result["spec"])
    labels = spec.get("labels") or {}
    row: Row = {name: str(labels.get(name) or _full_label(spec[name])) for name in NAMES}
    row["task"] = str((result.get("data") or {}).get("task") or "classification")
    row["protocol"] = protocol_label(spec["protocol"], row["task"])
    row.update(seed=int(spec["seed"]), run_key=result.get("run_key"), status=result.get("status", "done"), reason=result.get("reason"))
    row["code_hash"] = result.get("code_hash")
    row["oracle"] = list(result.get("oracle") or [])
    row["tuned"] = str(labels.get(TUNED) or "")
    row["stale"] = bool(result.get("stale", False)) if stale is None else stale
    noise = result.get("noise") or {}
    row["solvable"] = noise.get("solvable")
    row["identity"] = identity_of(spec)
    row["spec"] = spec
    row["host"], row["commit"] = _host(result.get("host") or {}), str((result.get("host") or {}).get("git_commit") or "")
    for group, values in (result.get("metrics") or {}).items():
        row.update({f"{group}/{name}": _number(value) for name, value in values.items()})
    for part in ("cost", "epochs", "noise", "diagnostics"):
        numbers = {key: value for key, value in (result.get(part) or {}).items() if isinstance(value, (int, float))}
        row.update({f"{part}/{key}": value if isinstance(value, bool) else _number(value) for key, value in numbers.items()})
    return row


def flatten_all(results: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Flat rows of results whose short names tell them apart, see :func:`tell_apart`: a folder whose images have changed, say."""
    rows = [flatten(result) for result in results]
    tell_apart(rows)
    return rows


def identity_of(spec: Mapping[str, Any]) -> dict[str, str]:
    """One text each for what ``method`` and ``cell`` (data, noise and protocol) stand for."""
    shared = {key: value for key, value in spec["protocol"].items() if key != "name"}  # a renamed protocol is the same
    cell = {"dataset": spec["dataset"], "noise": spec["noise"], "protocol": shared}
    return {"method": canonical_json(spec["method"]), "cell": canonical_json(cell)}


def tell_apart(rows: Sequence[Row]) -> None:
    """Make short names and specifications one to one, in place.

    A specification that goes by several names (a default has changed since, a protocol was renamed) gets one of them: one that nothing
    else has, else the shortest. ``#`` and four digits of a hash are appended to the names that stand for several specifications.
    """
    for name in (*NAMES, "protocol"):
        meanings = [_meaning(row, name) for row in rows]
        called: dict[str, set[str]] = {}
        stands_for: dict[str, set[str]] = {}
        for row, meaning in zip(rows, meanings, strict=True):
            called.setdefault(meaning, set()).add(row[name])
            stands_for.setdefault(row[name], set()).add(meaning)
        chosen = {meaning: min(names, key=lambda text: (len(stands_for[text]) > 1, len(text), text)) for meaning, names in called.items()}
        shared = Counter(chosen.values())
        for row, meaning in zip(rows, meanings, strict=True):
            row[name] = chosen[meaning]
            if shared[chosen[meaning]] > 1:
                row[name] += f" #{hashlib.sha256(meaning.encode()).hexdigest()[:4]}"


def select(
    rows: Sequence[Row],
    *,
    methods: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    noise: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> list[Row]:
    """The rows that match every list; None matches all.

    A name matches a row by its short name (``hsa:chaoyang``) or by the plugin's name (``hsa`` matches all its settings).

    Raises:
        BenchmarkError: a name that no row has, or seeds of which no row has any, with those that exist.
    """
    kept = list(rows)
    for kind, wanted in (("method", methods), ("dataset", datasets), ("noise", noise), ("seed", seeds)):
        if wanted is None:
            continue
        asked = {str(value) for value in wanted}
        known = {alias for row in rows for alias in _aliases(row, kind)}
        unknown = sorted(asked - known)
        if kind == "seed" and (known & asked or not rows):
            unknown = []  # a seed whose runs failed has no rows; the comparison shows what it lacks
        for value in unknown:
            raise unknown_name(kind, value, known, "only what has results can be selected")
        kept = [row for row in kept if asked & _aliases(row, kind)]
    return kept


def protocol_label(protocol: Mapping[str, Any], task: str = "classification") -> str:
    """The protocol's name and what differs from the values that name stands for in a task, e.g. ``quick:epochs=2``."""
    name = str(protocol.get("name", "protocol"))
    known = {**vars(TrainingProtocol()), **(TASKS[task].protocols.get(name, {}) if task in TASKS else {}), "name": name}
    return ":".join([name] + [f"{key}={value}" for key, value in protocol.items() if known.get(key) != value])


def _aliases(row: Row, kind: str) -> set[str]:
    names = {str(row[kind])}
    if kind == "seed":
        return names
    spec = row["spec"]
    return names | {str(spec[kind]["name"]), str((spec.get("labels") or {}).get(kind) or row[kind])}


def _meaning(row: Row, name: str) -> str:
    spec = row["spec"][name]
    return canonical_json({key: value for key, value in spec.items() if key != "name"} if name == "protocol" else spec)


def _full_label(plugin: Mapping[str, Any]) -> str:
    """The plugin and all its parameters, where nobody has given it a short name."""
    return ":".join([str(plugin["name"])] + [f"{key}={value}" for key, value in (plugin.get("params") or {}).items()])


def _host(host: Mapping[str, Any]) -> str:
    """Device, threads, system and versions in one line; never the machine's name, which is its owner's business."""
    threads = host.get("threads")
    parts = [str(host[key]) for key in ("device",) if host.get(key)]
    parts += [f"{threads} thread{'s' if threads != 1 else ''} a run"] if threads else []
    parts += [str(host["platform"])] if host.get("platform") else []
    versions = {"benchmark": host.get("benchmark"), "Python": host.get("python"), **(host.get("versions") or {})}
    return ", ".join([*parts, *(f"{name} {version}" for name, version in versions.items() if version)])


def _number(value: Any) -> float | int | None:
    """None for anything that is not a finite number."""
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None
