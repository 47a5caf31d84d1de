"""Files of labels: what ``noise export`` writes and ``--noise file:PATH`` reads, also made by other programs.

Two layouts. A ``.npz`` without pickles: ``index`` (m,) positions in the data set and ``label`` (m,) class ids, both
integers, with any of ``content`` (digest of the data set), ``classes`` (names in the order of the ids) and ``record`` (what
is known of the draw, a JSON text). A ``.csv`` with the columns ``index,label``, where a label is a class name or id.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import BenchmarkError, unknown_name
from benchmark.files import atomic_open


@dataclass(frozen=True)
class LabelFile:
    """What a file of labels holds.

    Attributes:
        index: (m,) int64 positions in the data set, each once.
        label: (m,) int64 ids, or m texts (of a csv: class names or ids).
        content: digest of the data set that the labels are for; empty where the file does not say.
        classes: names in the order of the ids; none where the file does not say.
        record: what the writer knew of the draw.
    """

    index: np.ndarray
    label: np.ndarray | tuple[str, ...]
    content: str = ""
    classes: tuple[str, ...] = ()
    record: dict[str, Any] | None = None

    def ids(self, where: Path, num_classes: int, class_names: Sequence[str]) -> np.ndarray:
        """(m,) int64 labels in [0, num_classes), in the order of the data set's classes.

        Raises:
            BenchmarkError: a label that is no class of the data set's.
        """
        if isinstance(self.label, tuple):
            named = {name.strip(): place for place, name in enumerate(class_names)}
            neutral = {f"'{name}": place for name, place in named.items()}  # as tables for spreadsheets write a name like "-"
            places = {str(place): place for place in range(num_classes)} | neutral | named
            unknown = next((text for text in self.label if text not in places), None)
            if unknown is not None:
                raise unknown_name(f"class in {where}", unknown, class_names or map(str, range(num_classes)))
            return np.array([places[text] for text in self.label], dtype=np.int64)
        outside = self.label[(self.label < 0) | (self.label >= num_classes)]
        if len(outside):
            raise BenchmarkError(f"{where}: label {outside[0]} is no class; expected ids in [0, {num_classes})")
        if not self.classes or not class_names or self.classes == tuple(class_names):
            return self.label
        if sorted(self.classes) != sorted(class_names):
            raise BenchmarkError(f"{where}: its classes are {_few(self.classes)}; expected those of the data, {_few(class_names)}")
        return np.array([list(class_names).index(name) for name in self.classes], dtype=np.int64)[self.label]


def write(
    path: Path, index: np.ndarray, labels: np.ndarray, content: str, class_names: Sequence[str], record: Mapping[str, Any] | None
) -> None:
    """Write labels, in one step: a ``.csv`` if the name says so (index and class name only), else a ``.npz``.

    Args:
        path: the file; one that is there is replaced.
        index: (m,) integers, positions in the data set.
        labels: (m,) integers in [0, K).
        content: digest of the data set; see :func:`benchmark.prepare.content_digest`.
        class_names: K names, or none.
        record: JSON-serialisable.

    Raises:
        BenchmarkError: the file cannot be written, or is neither .npz nor .csv.
    """
    if path.suffix not in (".npz", ".csv"):
        raise BenchmarkError(f"labels cannot be written to {path}: '{path.suffix}' is not known; expected .npz or .csv")
    try:
        with atomic_open(path) as stream:
            if path.suffix == ".npz":
                np.savez_compressed(
                    stream,
                    index=np.asarray(index, dtype=np.int64),
                    label=np.asarray(labels, dtype=np.int64),
                    content=np.array(content),
                    classes=np.array(list(class_names), dtype=np.str_),
                    record=np.array(json.dumps(record)),
                )
            else:
                text = io.StringIO(newline="")
                rows = csv.writer(text, lineterminator="\n")
                rows.writerow(("index", "label"))
                named = [class_names[label] if class_names else label for label in np.asarray(labels).tolist()]
                rows.writerows(zip(np.asarray(index).tolist(), named, strict=True))
                stream.write(text.getvalue().encode())
    except OSError as error:
        raise BenchmarkError(f"labels cannot be written to {path}: {error.strerror or error}; choose another place") from error


def read(path: Path) -> LabelFile:
    """Read a file of labels; what it says is checked as far as that needs no data set.

    Raises:
        BenchmarkError: no such file, another layout, or an index that is given twice.
    """
    found = _read_csv(path) if path.suffix == ".csv" else _read_npz(path)
    if len(found.index) != len(found.label):
        raise BenchmarkError(f"{path} has {len(found.index)} indices for {len(found.label)} labels")
    values, counts = np.unique(found.index, return_counts=True)
    if len(values) and counts.max() > 1:
        raise BenchmarkError(f"{path} gives index {values[counts.argmax()]} {counts.max()} times; expected each once")
    return found


def _read_npz(path: Path) -> LabelFile:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("index", "label", "content", "classes", "record") if name in archive.files}
            listed = ", ".join(sorted(archive.files)[:8]) or "nothing"
        record = json.loads(str(arrays["record"])) if "record" in arrays else None
    except Exception as error:  # what is no archive, or a broken one, can fail in any way, in zip, numpy or JSON
        problem = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise BenchmarkError(f"{path} cannot be read: {problem}; expected a .npz or .csv file of labels") from error
    for name in ("index", "label"):
        if name not in arrays:
            raise BenchmarkError(f"{path} holds {listed}; expected index and label (integers, one of each a sample)")
        if arrays[name].ndim != 1 or arrays[name].dtype.kind not in "iu":
            raise BenchmarkError(f"{path}: {name} is {arrays[name].dtype} {arrays[name].shape}; expected integers in one dimension")
    return LabelFile(
        arrays["index"].astype(np.int64),
        arrays["label"].astype(np.int64),
        str(arrays["content"]) if "content" in arrays else "",
        tuple(str(name) for name in np.atleast_1d(arrays["classes"])) if "classes" in arrays else (),
        record if isinstance(record, dict) else None,
    )


def _read_csv(path: Path) -> LabelFile:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problem = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise BenchmarkError(f"{path} cannot be read: {problem}; expected a .npz or .csv file of labels") from error
    if not {"index", "label"} <= set(header):
        raise BenchmarkError(f"{path} begins with {','.join(header)[:60] or 'nothing'}; expected the columns index,label")
    at_index, at_label = header.index("index"), header.index("label")
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise BenchmarkError(f"{path}, line {number}: {len(row)} cells; expected {len(header)}")
        if not (row[at_index].isascii() and row[at_index].isdigit() and len(row[at_index]) < 19):
            raise BenchmarkError(f"{path}, line {number}: index '{row[at_index][:40]}' is not a position in the data set")
    return LabelFile(np.array([int(row[at_index]) for row in rows], dtype=np.int64), tuple(row[at_label] for row in rows))


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
