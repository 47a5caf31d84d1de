"""The current labels and how they came about: ``labels.csv``, and ``labels.history.jsonl`` beside it, which is the truth.

An answer counts once it is in the history. The table is made from the labels that the run was given and the history, so one
that is missing, old or changed by hand is put right by the next import.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmark.errors import BenchmarkError
from benchmark.files import append_line, atomic_write_bytes
from benchmark.relabel.manifest import Label, labels_table, read_labels

PATIENCE_S = 5.0
"""Seconds to wait for another import into the same file."""


@dataclass(frozen=True)
class Change:
    """One applied answer.

    Attributes:
        index: position in the data set.
        path: file name in the data set, empty where there is none.
        before, after: class names; the same where an annotator confirmed the label.
        who: the annotator.
        when: ISO 8601, with the offset from UTC.
        set: the export that was answered.
        content: digest of the data set.
        source: name of the file that brought it.
        sha256: of that file.
    """

    index: int
    path: str
    before: str
    after: str
    who: str
    when: str
    set: str
    content: str
    source: str
    sha256: str


def history_path(labels: Path) -> Path:
    """Where the history of a table of labels lies: ``labels.history.jsonl`` beside ``labels.csv``."""
    return labels.with_suffix(".history.jsonl")


def read_history(labels: Path) -> list[Change]:
    """All changes, oldest first; none where nothing was imported. A last line that a kill cut short does not count.

    Raises:
        BenchmarkError: another line cannot be read: nothing is merged into labels whose history is broken.
    """
    path = history_path(labels)
    try:
        *lines, _ = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BenchmarkError(f"{path} cannot be read: {error.strerror or error}") from error
    return [_change(path, number, line) for number, line in enumerate(lines, 1)]


def _change(path: Path, number: int, line: bytes) -> Change:
    try:
        values = json.loads(line)
        found = Change(**{name: values[name] for name in Change.__dataclass_fields__})
        sound = type(found.index) is int and all(type(value) is str for name, value in asdict(found).items() if name != "index")
    except (ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise BenchmarkError(f"{path}, line {number} is no change of a label; restore the file from a copy")
    return found


def answered(labels: Path) -> frozenset[int]:
    """The indices that have an answer in the history of a table of labels.

    Raises:
        BenchmarkError: the table has no history, or one that cannot be read.
    """
    if not history_path(labels).is_file():
        raise BenchmarkError(f"{labels} has no answers: there is no {history_path(labels).name} beside it; relabel import makes both")
    return frozenset(change.index for change in read_history(labels))


@contextlib.contextmanager
def alone(labels: Path) -> Iterator[None]:
    """One import at a time into a table of labels. The lock ends with the process that holds it.

    Raises:
        BenchmarkError: another one is at work, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(labels.with_name(f".{labels.name}.lock"))
    try:
        lock.acquire(timeout=PATIENCE_S)
    except Timeout:
        raise BenchmarkError(f"another import into {labels} is going on; give the command again when it is done") from None
    except OSError as error:
        raise BenchmarkError(f"{labels} cannot be written: {error.strerror or error}; choose another --labels") from error
    try:
        yield
    finally:
        lock.release()


def current_labels(labels: Path, given: Mapping[int, Label], history: Sequence[Change], classes: Sequence[str]) -> dict[int, Label]:
    """The labels as they are: those that the run was given, and of samples that it lacks those of the table, under the history.

    Args:
        labels: the table; need not exist.
        given: index → label of what the run trained and validated on.
        history: see :func:`read_history`.
        classes: K names.

    Raises:
        BenchmarkError: the table exists without a history or cannot be read, or its labels are not those that the run was given,
            before or after any of the changes.
    """
    found: dict[int, Label] = {}
    if labels.exists():
        if not history:
            raise BenchmarkError(f"{labels} exists, and no {history_path(labels).name} beside it; choose another --labels")
        found = read_labels(labels, classes)
    _check_given(labels, given, found, history)
    merged = found | dict(given)
    for change in history:
        merged[change.index] = Label(change.path, change.after)
    return merged


def _check_given(labels: Path, given: Mapping[int, Label], found: Mapping[int, Label], history: Sequence[Change]) -> None:
    """Refuse a table of other labels than the run's: a change to the one says nothing of the other."""
    known: dict[int, set[str]] = {}
    for change in history:
        known.setdefault(change.index, set()).update((change.before, change.after))
    for index, row in found.items():
        known.setdefault(index, {row.label})
    differing = [index for index, row in given.items() if index in known and row.label not in known[index]]
    if differing:
        first = min(differing)
        raise BenchmarkError(
            f"{labels} holds other labels than the run was given: {len(differing)} differ, index {first} first, "
            f"'{' or '.join(sorted(known[first]))}' where the run had '{given[first].label}'; choose another --labels"
        )


def append(labels: Path, changes: Sequence[Change]) -> None:
    """Add to the history, and wait until it is on the disk.

    Raises:
        BenchmarkError: it cannot be written. What is in it counts; the same import adds the rest.
    """
    path = history_path(labels)
    try:
        for change in changes:
            append_line(path, asdict(change))
        if changes:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    except OSError as error:
        raise BenchmarkError(f"{path} cannot be written: {error.strerror or error}; give the command again when it can") from error


def write_labels(labels: Path, merged: Mapping[int, Label]) -> bool:
    """Write the table in one step, unless it is as it should be; True if it was written.

    Raises:
        BenchmarkError: it cannot be written; the history holds all answers, and the next import writes it.
    """
    content = labels_table(merged)
    try:
        if labels.is_file() and labels.read_bytes() == content:
            return False
        atomic_write_bytes(labels, content)
    except OSError as error:
        raise BenchmarkError(f"{labels} cannot be written: {error.strerror or error}; give the command again when it can") from error
    return True
