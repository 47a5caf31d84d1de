"""Answers of people into the labels: everything is checked first, and only then merged."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark.errors import BenchmarkError
from benchmark.relabel import label_studio, sheet
from benchmark.relabel.checking import Answer, Export, Problems, contradictions, matching
from benchmark.relabel.history import Change, alone, append, current_labels, read_history, write_labels
from benchmark.relabel.manifest import FILE as MANIFEST
from benchmark.relabel.manifest import GIVEN, Label, Manifest, read_labels, read_manifest

UNKNOWN = "unknown"
"""The annotator, where neither the file nor the user says who it was."""


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes:
        new: answers that were applied; of these ``changed`` gave another label, the others confirmed the one there was.
        changed: see ``new``.
        replaced: of the new ones, those that took the place of an earlier answer.
        already: answers that were applied before.
        unanswered: empty cells and skipped tasks.
        labels: how many labels the table holds.
        repaired: the table was put right although no answer was new.
        seed: of the run that was exported; at another seed other samples train.
    """

    new: int
    changed: int
    replaced: int
    already: int
    unanswered: int
    labels: int
    repaired: bool
    seed: int


def import_answers(
    files: Sequence[Path], export: Path, labels: Path, *, annotator: str = "", when: str = "", replacing: bool = False
) -> Imported:
    """Merge answers into a table of labels and its history.

    Args:
        files: filled copies of ``answers.csv`` and exports of Label Studio (``.json``).
        export: the folder of the export that was answered.
        labels: the table, ``.csv``; it and its history are made by the first import.
        annotator: who answered, where a file does not say.
        when: ISO 8601, where a file does not say; without an offset it is UTC. Empty: now.
        replacing: an answer may take the place of an earlier one; the history keeps both.

    Raises:
        RefusedError: answers that cannot be merged; nothing has been changed.
        BenchmarkError: the export, the table or its history cannot be used; nothing has been changed.
    """
    if labels.suffix != ".csv":
        raise BenchmarkError(f"--labels {labels}: the file's name must end in .csv")
    moment = parsed_time(when) if when else datetime.now(UTC).isoformat(timespec="seconds")
    manifest = read_manifest(export)
    given = read_labels(export / GIVEN, manifest.classes, manifest.given)
    problems = Problems()
    answers, unanswered = _gather(files, _asked_of(manifest, given, export), annotator or UNKNOWN, moment, problems)
    if not labels.parent.is_dir():
        raise BenchmarkError(f"--labels {labels}: there is no folder {labels.parent}")
    merge = Merge(labels, given, manifest, replacing)
    merge.plan(answers, problems)  # what is refused leaves not even a lock behind
    with alone(labels):
        changes, current, replaced, already = merge.plan(answers, Problems())
        append(labels, changes)
        merged = current | {change.index: Label(change.path, change.after) for change in changes}
        written = write_labels(labels, merged)
    changed = sum(change.before != change.after for change in changes)
    return Imported(len(changes), changed, replaced, already, unanswered, len(merged), written and not changes, manifest.seed)


@dataclass(frozen=True)
class Merge:
    """Into which labels answers go.

    Attributes:
        labels: the table.
        given: index → label of what the run trained and validated on.
        manifest: of the export that was answered.
        replacing: an answer may take the place of an earlier one.
    """

    labels: Path
    given: dict[int, Label]
    manifest: Manifest
    replacing: bool

    def plan(self, answers: Sequence[Answer], problems: Problems) -> tuple[list[Change], dict[int, Label], int, int]:
        """What the answers change, the labels before that, how many replace an earlier answer, and how many were applied before.

        Raises:
            RefusedError: there are problems, here or from before.
            BenchmarkError: the table or its history is of other data or labels, or cannot be read.
        """
        history = read_history(self.labels)
        if any(change.content != self.manifest.content for change in history):
            raise BenchmarkError(f"{self.labels} holds labels of other data than run {self.manifest.run_key} had; choose another --labels")
        current = current_labels(self.labels, self.given, history, self.manifest.classes)
        latest = {change.index: change for change in history}
        applied = {(change.index, change.after, change.sha256) for change in history}
        changes: list[Change] = []
        replaced = already = 0
        for answer in answers:
            index, label = int(answer.index), answer.labels[0]
            earlier = latest.get(index)
            if earlier is not None and (earlier.after == label or (index, label, answer.sha256) in applied):
                already += 1
            elif earlier is not None and not self.replacing:
                problems.add(
                    f"{answer.where}: index {index} is '{label}' here and '{earlier.after}' in the history "
                    f"({earlier.who}, {earlier.when[:10]}, {earlier.source}); --replace takes the new answers"
                )
            else:
                replaced += earlier is not None
                path, before = current[index].path, current[index].label
                where = (answer.set, self.manifest.content, answer.source, answer.sha256)
                changes.append(Change(index, path, before, label, answer.who, answer.when, *where))
        problems.refuse_any()
        return changes, current, replaced, already


def parsed_time(text: str) -> str:
    """A moment in ISO 8601 with its offset; without one it is UTC.

    Raises:
        BenchmarkError: it is none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BenchmarkError(f"'{text}' is no time; write 2025-01-31 or 2025-01-31T12:00:00+01:00") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


def _asked_of(manifest: Manifest, given: Mapping[int, Label], export: Path) -> Export:
    """What was asked, from a manifest that fits the labels beside it."""
    asked = {sample["index"]: str(sample["given"]).strip() for sample in manifest.samples}
    if any(index not in given or given[index].label != label for index, label in asked.items()):
        raise BenchmarkError(f"{export / MANIFEST} and {GIVEN} beside it are not of one export; make it again with relabel export")
    return Export(manifest.set, tuple(manifest.classes), asked)


def _gather(files: Sequence[Path], asked: Export, annotator: str, moment: str, problems: Problems) -> tuple[list[Answer], int]:
    """One answer a sample from all files, and how many were left empty."""
    answers: list[Answer] = []
    unanswered = 0
    for file in files:
        found, empty = _read(file, annotator, moment, problems)
        answers += matching(asked, found, file.name, problems)
        unanswered += empty
    return contradictions(answers, problems), unanswered


def _read(file: Path, annotator: str, moment: str, problems: Problems) -> tuple[list[Answer], int]:
    """The answers of a file, and how many were left empty; a file that cannot be used is a problem."""
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        answers, empty = _of_label_studio(file) if file.suffix.lower() == ".json" else _of_sheet(file)
    except OSError as error:
        problems.add(f"{file.name} cannot be read: {error.strerror or error}")
        return [], 0
    except BenchmarkError as error:
        problems.add(str(error))
        return [], 0
    if not answers:
        problems.add(f"{file.name} has no answer: {empty} are empty; expected a class in at least one")
    said = [replace(a, who=a.who or annotator, when=_time_or(a.when, moment), source=file.name, sha256=digest) for a in answers]
    return said, empty


def _of_sheet(file: Path) -> tuple[list[Answer], int]:
    rows = sheet.read(file)
    cells = [(row.line, row.cells) for row in rows if row.cells.get("answer")]
    answers = [
        Answer(f"{file.name}, line {line}", *_sample(found), labels=(found["answer"],), who=found.get("annotator", ""))
        for line, found in cells
    ]
    return answers, len(rows) - len(answers)


def _of_label_studio(file: Path) -> tuple[list[Answer], int]:
    found = label_studio.read_export(file)
    answers = [
        Answer(seen.where, *_sample(seen.data), labels=tuple(choice.strip() for choice in seen.choices), who=seen.who, when=seen.when)
        for seen in found
        if seen.choices
    ]
    return answers, len(found) - len(answers)


def _sample(cells: Mapping[str, Any]) -> tuple[str, str, str]:
    """Set, index and given label of what somebody answered, as text."""
    return str(cells.get("set", "")).strip(), str(cells.get("index", "")).strip(), str(cells.get("given", "")).strip()


def _time_or(text: str, moment: str) -> str:
    """The time that a file gives, if it is one."""
    try:
        return parsed_time(text) if text else moment
    except BenchmarkError:
        return moment
