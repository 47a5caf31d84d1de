"""The command that makes the runs behind a row again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.grammar import Setting
from benchmark.tasks import TASKS
from reports.hardness import protocol_words, ranges
from reports.rows import Row

__all__ = ["repeat_command"]


def repeat_command(rows: Sequence[Row], task: str) -> str:
    """``python -m benchmark run …`` for one method on one data set with one noise; empty without runs.

    Args:
        rows: of one method and condition, a seed each.
    """
    if not rows:
        return ""
    spec = rows[0]["spec"]
    words = ["python", "-m", "benchmark", "run"]
    for option, kind in (("--methods", "method"), ("--datasets", "dataset"), ("--noise", "noise")):
        words += [option, _setting(spec[kind], str((spec.get("labels") or {}).get(kind) or ""))]
    words += ["--seeds", ranges(sorted({row["seed"] for row in rows})), "--baseline", "none"]
    return shlex.join(words + protocol_words(spec["protocol"], task if task in TASKS else "classification"))


def _setting(plugin: Mapping[str, Any], label: str) -> str:
    """As on the command line: the short name, which leaves out defaults, or all parameters where that one could be misread."""
    parts = plugin.get("parts") or ()
    values = [value for part in (plugin, *parts) for value in (part.get("params") or {}).values()]
    plain = not any(re.search(r"[\\:,=+]", str(value)) for value in values)
    if label and plain and label.startswith(str(plugin["name"]).partition("+")[0]):
        return label
    return str(Setting("+".join(part["name"] for part in parts), parts=tuple(map(_whole, parts))) if parts else _whole(plugin))


def _whole(plugin: Mapping[str, Any]) -> Setting:
    params = {key: value for key, value in (plugin.get("params") or {}).items() if value is not None}
    return Setting(str(plugin["name"]), None, {key: str(value) for key, value in params.items()})
