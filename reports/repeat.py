"""The command that makes the runs behind a row again."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError
from benchmark.grammar import Setting
from benchmark.spec import TrainingProtocol
from benchmark.tasks import TASKS

if TYPE_CHECKING:
    from benchmark.registry import Registry

__all__ = ["protocol_words", "ranges", "repeat_command"]


def repeat_command(spec: Mapping[str, Any], seeds: Sequence[int], task: str) -> str:
    """``python -m benchmark run …`` for one method on one data set with one noise, for a shell; empty without seeds.

    Args:
        spec: of any of the runs, as a mapping. seeds: of all of them. ``--runs`` and ``--plugin`` are the reader's.
    """
    if not seeds:
        return ""
    words = ["python", "-m", "benchmark", "run"]
    for option, kind in (("--methods", "method"), ("--datasets", "dataset"), ("--noise", "noise")):
        words += [option, _setting(kind, spec[kind], str((spec.get("labels") or {}).get(kind) or ""))]
    words += ["--seeds", ranges(sorted(seeds)), "--baseline", "none"]
    return shlex.join(words + protocol_words(spec["protocol"], task if task in TASKS else "classification"))


def protocol_words(protocol: Mapping[str, Any], task: str = "classification") -> list[str]:
    """The options that lead to these values: ``--protocol``, ``--epochs`` and ``--set``, where they differ from the defaults."""
    protocols = TASKS[task].protocols
    name = protocol.get("name") if protocol.get("name") in protocols else "quick"
    known = {**asdict(TrainingProtocol()), **protocols[str(name)], "name": protocol.get("name")}
    words = ["--protocol", str(name)] if name != "quick" else []
    for key, value in protocol.items():
        if known.get(key) != value:
            words += ["--epochs", str(value)] if key == "epochs" else ["--set", f"protocol.{key}={value}"]
    return words


def ranges(seeds: Sequence[int]) -> str:
    """``0-4,7`` for sorted seeds."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)


def _setting(kind: str, plugin: Mapping[str, Any], label: str) -> str:
    """As on the command line: the short name, which leaves out defaults, or all parameters where that one could be misread."""
    parts = plugin.get("parts") or ()
    values = [value for part in (plugin, *parts) for value in (part.get("params") or {}).values()]
    plain = not any(re.search(r"[\\:,=+]", str(value)) for value in values)
    if label and plain and label.startswith(str(plugin["name"]).partition("+")[0]):
        return _of_today(kind, plugin) or label
    return str(Setting("+".join(part["name"] for part in parts), parts=tuple(map(_whole, parts))) if parts else _whole(plugin))


def _of_today(kind: str, plugin: Mapping[str, Any]) -> str:
    """The short name by the defaults of now: those that the run's label left out may have changed. Empty where the plugin is not here."""
    from benchmark.resolve import label
    from benchmark.spec import PluginSpec

    try:
        return label(_registry(), kind, PluginSpec.from_dict(plugin))
    except (BenchmarkError, KeyError, TypeError, ValueError):
        return ""


@functools.cache
def _registry() -> Registry:
    from benchmark.registry import Registry

    return Registry()


def _whole(plugin: Mapping[str, Any]) -> Setting:
    params = {key: value for key, value in (plugin.get("params") or {}).items() if value is not None}
    return Setting(str(plugin["name"]), None, {key: str(value) for key, value in params.items()})
