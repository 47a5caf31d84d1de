"""The command that gets a row of a table again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from reports.rows import full_label, protocol_label

__all__ = ["repeat_command", "seed_list"]


def repeat_command(spec: Mapping[str, Any], seeds: Sequence[int], task: str = "classification") -> str:
    """The ``run`` of one method under one condition, for a shell; ``--runs`` and ``--plugin`` are the reader's.

    Args:
        spec: of any of its runs, as a mapping. seeds: all of them.
    """
    labels = spec.get("labels") or {}
    words = ["python", "-m", "benchmark", "run"] + ([] if task == "classification" else ["--task", task])
    for kind, option in (("method", "--methods"), ("dataset", "--datasets"), ("noise", "--noise")):
        words += [option, str(labels.get(kind) or full_label(spec[kind]))]
    name, *changed = protocol_label(spec["protocol"], task).split(":")
    words += ["--seeds", seed_list(seeds), "--protocol", name, "--baseline", "none"]
    return shlex.join(words + [word for change in changed for word in ("--set", f"protocol.{change}")])


def seed_list(seeds: Sequence[int]) -> str:
    """Seeds as ``--seeds`` reads them: ``0-4``, ``0,2,5-7``."""
    parts: list[list[int]] = []
    for seed in sorted(seeds):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1][1:] = [seed]
        else:
            parts.append([seed])
    return ",".join("-".join(map(str, part)) for part in parts)
