"""For commands that show runs side by side: which ones are meant, which belong together, and where the pictures may go."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.store import RunStore
    from reports.rows import Row

LOOK: dict[str, str] = {"classification": "relabel export", "segmentation": "gallery", "bags": "heatmaps"}
"""Task → the command that shows a run of it."""


@dataclass(frozen=True)
class Kind:
    """The runs that a command can show.

    Attributes:
        task: of these runs.
        on: what they were trained on, for messages.
        nothing: why there is nothing to see of others.
    """

    task: str
    on: str
    nothing: str


def names_of(text: str | None) -> list[str] | None:
    """The names in a list with commas; None: all."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def asked_for(store: RunStore, keys: Sequence[str], names: dict[str, Any], kind: Kind) -> list[Row]:
    """Rows of the finished runs that were named by their keys, or all of the kind; of these, those of the names.

    Raises:
        BenchmarkError: an unknown key or name, a run of another kind or one that is not done, or no run at all.
    """
    from reports.rows import flatten_all, select

    results = [_named(store, key, kind) for key in dict.fromkeys(map(store.find, keys))] if keys else list(store.rows())
    rows = [row for row in flatten_all(results) if row["task"] == kind.task and row["status"] == "done"]
    if not rows:
        raise BenchmarkError(f"no finished runs on {kind.on} in {store.root}; see: python -m benchmark status --runs {store.root}")
    rows = select(rows, **names)
    if not rows:
        raise BenchmarkError(f"no run on {kind.on} has all of these names at once; choose other --methods, --datasets or --noise")
    return rows


def _named(store: RunStore, key: str, kind: Kind) -> dict[str, Any]:
    """The result of a run that was asked for."""
    result = store.result(key)
    if result is None:
        raise BenchmarkError(f"run {key} has no result yet; see: python -m benchmark status --runs {store.root}")
    task = (result.get("data") or {}).get("task", "classification")
    if task != kind.task:
        instead = f"python -m benchmark {LOOK[task]} {key} --runs {store.root} --out DIR"
        raise BenchmarkError(f"run {key} is of {task}, not on {kind.on}, so {kind.nothing}; look at it with: {instead}")
    if result.get("status", "done") != "done":
        raise BenchmarkError(f"run {key} is {result['status']} ({result.get('reason')}), so there is nothing to show of it; name another")
    return result


def side_by_side(rows: Sequence[Row], *, every_seed: bool) -> list[list[Row]]:
    """Runs that saw the same data, noise, seed and parts, in groups sorted by these; of each data and noise the first seed, or all."""
    from benchmark.spec import canonical_json

    def cell(row: Row) -> str:
        return canonical_json([row["spec"]["dataset"], row["spec"]["noise"]])

    first: dict[str, int] = {}
    groups: dict[str, list[Row]] = {}
    for row in rows:
        first[cell(row)] = min(row["seed"], first.get(cell(row), row["seed"]))
    for row in rows:
        if every_seed or row["seed"] == first[cell(row)]:
            parts = [row["spec"]["protocol"][name] for name in ("test_fraction", "val_fraction")]  # of other parts, samples would differ
            groups.setdefault(canonical_json([cell(row), row["seed"], *parts]), []).append(row)
    return sorted(groups.values(), key=lambda group: (group[0]["dataset"], group[0]["noise"], group[0]["seed"]))


def check_free(out: Path, ours: re.Pattern[str]) -> None:
    """Refuse a folder that holds anything but what an earlier call of the command wrote.

    Args:
        out: the folder; it need not exist.
        ours: the names of all that the command writes.

    Raises:
        BenchmarkError: other files, a file of that name, or a place where nothing can be written.
    """
    if out.exists() and not out.is_dir():
        raise BenchmarkError(f"--out {out} is a file; give a folder")
    there = next(folder for folder in (out, *out.parents, Path()) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise BenchmarkError(f"--out {out}: nothing can be written to {there}; give another folder")
    others = sorted(entry.name for entry in out.iterdir() if not ours.fullmatch(entry.name)) if out.is_dir() else []
    if others:
        raise BenchmarkError(f"--out {out} holds {others[0]}, which this command did not write; choose another folder")
