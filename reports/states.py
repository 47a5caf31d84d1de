"""A state of a comparison: the runs of a folder as they are now, or those that a leaderboard has written down."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import BenchmarkError
from benchmark.spec import is_trial
from benchmark.tasks import TASKS
from reports.escape import one_line
from reports.rows import NAMES, Row, flatten_all, identity_of
from reports.sound import STATES, without_secrets

__all__ = ["read_state"]

LEADERBOARD = "leaderboard.json"
LARGEST = 512 * 2**20
"""Bytes of a leaderboard; one of 5,000 runs has some 50 million."""
DIGEST = re.compile(r" #[0-9a-f]{4}$")
"""What :func:`reports.rows.tell_apart` has appended; two states are told apart together."""


def read_state(path: Path) -> list[Row]:
    """The flat rows of a runs folder, of a ``leaderboard.json``, or of the folder that has one. Trials of searches are left out.

    Raises:
        BenchmarkError: there is no such path, no finished run in it, or a file that is no leaderboard.
    """
    if path.is_dir() and (path / LEADERBOARD).is_file():
        path = path / LEADERBOARD
    if path.is_dir():
        return _of_folder(path)
    if not path.is_file():
        what = "is neither a folder nor a file" if path.exists() else "does not exist"
        raise BenchmarkError(f"{path} {what}; give a runs folder or a {LEADERBOARD}")
    return _of_leaderboard(path)


def _of_folder(path: Path) -> list[Row]:
    from benchmark.store import RunStore

    store = RunStore(path)
    results = [result for result in store.rows() if not is_trial(result.get("spec")) or _is_named(store, result["run_key"])]
    if not results:
        raise BenchmarkError(f"no finished runs in {path}; give a runs folder or a {LEADERBOARD}")
    try:
        return flatten_all(map(without_secrets, results))  # as a leaderboard has them
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BenchmarkError(f"{path} holds a result.json that is none: {type(error).__name__}: {one_line(str(error))}") from None


def _is_named(store: Any, key: str) -> bool:
    """Whether a command has asked for a trial by name since: its spec.json is no trial's then."""
    try:
        return not is_trial(store.spec(key).to_dict())
    except BenchmarkError:
        return False


def _of_leaderboard(path: Path) -> list[Row]:
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise BenchmarkError(f"{path} has {size / 2**20:.0f} MiB and cannot be a {LEADERBOARD}; the most is {LARGEST // 2**20}")
        document = json.loads(path.read_bytes(), parse_constant=lambda _: None)
    except OSError as error:
        raise BenchmarkError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        reason = one_line(str(error)) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise BenchmarkError(f"{path} is not JSON ({reason}); give a runs folder or a {LEADERBOARD}") from None
    tasks = document.get("tasks") if isinstance(document, dict) else None
    if not isinstance(tasks, dict) or not all(isinstance(part, dict) and isinstance(part.get("runs"), list) for part in tasks.values()):
        raise BenchmarkError(f"{path} is no {LEADERBOARD}: it has no runs for each of its tasks; write one with report --out DIR")
    rows: list[Row] = []
    for task, part in tasks.items():
        for place, found in enumerate(part["runs"]):
            try:
                rows.append(_row(found, task))
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
                problem = one_line(f"{type(error).__name__}: {error}"[:120])
                raise BenchmarkError(f"{path} is no {LEADERBOARD}: run {place} of {one_line(task[:40])} is no run ({problem})") from None
    if not rows:
        raise BenchmarkError(f"no finished runs in {path}")
    return rows


def _row(found: Mapping[str, Any], task: str) -> Row:
    """The row as it was before it was written; ValueError, TypeError or KeyError for what is none."""
    spec = found["spec"]
    if task not in TASKS or found["status"] not in STATES:
        raise ValueError(f"task {task}, status {found['status']}")
    for kind in NAMES:
        if not isinstance(spec[kind]["name"], str) or not isinstance(spec[kind]["params"], dict):
            raise TypeError(f"spec.{kind}")
    texts = {name: DIGEST.sub("", _printable(found[name])) for name in (*NAMES, "protocol")}
    row: Row = {"task": task, **texts, "spec": spec, "identity": identity_of(spec), "seed": _checked(found["seed"], int)}
    row |= {"run_key": _checked(found["run_key"], str), "status": found["status"], "solvable": found.get("solvable")}
    row |= {"code_hash": found.get("code_hash"), "reason": found.get("reason"), "tuned": str(found.get("tuned") or "")}
    row |= {"stale": found.get("stale") is True, "oracle": [str(name) for name in found.get("oracle") or []]}
    return row | {key: _number(value) for key, value in found.items() if "/" in key}


def _checked(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r:.40} is no {kind.__name__}")
    return value


def _printable(value: Any) -> str:
    """A text without halves of characters, which JSON can hold and no file can."""
    return str(_checked(value, str)).encode(errors="replace").decode()


def _number(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, (int, float)):
        raise TypeError(f"{value!r:.40} is no number")
    return value if math.isfinite(value) else None
