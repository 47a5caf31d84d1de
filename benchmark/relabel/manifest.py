"""What an export holds, so that answers can be checked against it: ``export.json`` and ``given.csv``."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import BenchmarkError

FILE, GIVEN = "export.json", "given.csv"
SCHEMA = 1
NEXT_STEP = "make it again with relabel export"


@dataclass(frozen=True)
class Manifest:
    """``export.json``.

    Attributes:
        set: name of what was exported; every line of an answer carries it. See :func:`set_name`.
        run_key: the run's.
        content: digest of the data set; see :func:`benchmark.prepare.content_digest`.
        dataset, noise: the run's settings, with all parameters.
        seed: the run's.
        classes: K names.
        created: UTC, ISO 8601.
        versions: of this program and of Python.
        answers: sha256 of ``answers.csv`` as it was written: another one says that somebody has begun to fill it in.
        given: sha256 of ``given.csv``.
        samples: for each exported sample ``index``, ``path`` (as in the data set, empty where there is none) and ``given``
            (class name).
    """

    set: str
    run_key: str
    content: str
    dataset: dict[str, Any]
    noise: dict[str, Any]
    seed: int
    classes: list[str]
    created: str
    versions: dict[str, str]
    answers: str
    given: str
    samples: list[dict[str, Any]]

    def to_bytes(self) -> bytes:
        """Indented JSON."""
        return (json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1, ensure_ascii=False) + "\n").encode()


def set_name(content: str, run_key: str, index: np.ndarray, labels: np.ndarray) -> str:
    """``s`` and 12 hex digits over data, run and labels. The letter keeps a spreadsheet from reading a number.

    Args:
        content: digest of the data set.
        run_key: the run's.
        index: (m,) positions in the data set of what trains and validates.
        labels: (m,) their given labels.
    """
    digest = hashlib.sha256(f"{content}|{run_key}|".encode())
    for values in (index, labels):
        digest.update(np.ascontiguousarray(values, dtype="<i8").tobytes())
    return f"s{digest.hexdigest()[:12]}"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an export.

    Raises:
        BenchmarkError: there is none, or it cannot be used.
    """
    path = folder / FILE
    try:
        values = json.loads(path.read_bytes())
        schema = values.pop("schema")
        found = Manifest(**values)
        for sample in found.samples:
            sample["index"], sample["path"], sample["given"]
        sound = isinstance(found.set, str) and all(type(sample["index"]) is int for sample in found.samples)
    except FileNotFoundError:
        raise BenchmarkError(f"{folder} holds no export: there is no {FILE} in it; make one with relabel export RUN --out DIR") from None
    except OSError as error:
        raise BenchmarkError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BenchmarkError(f"{path} is not what relabel export wrote: {type(error).__name__}: {error}; {NEXT_STEP}") from error
    if schema != SCHEMA or not sound:
        raise BenchmarkError(f"{path} is of schema {schema}; expected {SCHEMA}; {NEXT_STEP}")
    return found


@dataclass(frozen=True)
class Label:
    """The label of one sample: file name in the data set (empty where there is none) and class name."""

    path: str
    label: str


def labels_table(labels: Mapping[int, Label]) -> bytes:
    """A table of labels by index: ``index,path,label``, as ``--noise file:`` and the option ``label_file`` read it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("index", "path", "label"))
    writer.writerows((index, labels[index].path, labels[index].label) for index in sorted(labels))
    return text.getvalue().encode()


def read_labels(path: Path, classes: Sequence[str], digest: str | None = None) -> dict[int, Label]:
    """A table that :func:`labels_table` wrote.

    Args:
        path: the file.
        classes: the names that labels may be.
        digest: the sha256 that its content must have; None takes any.

    Raises:
        BenchmarkError: it cannot be read, is another one, or holds what is no index or no class.
    """
    try:
        content = path.read_bytes()
        if digest is not None and hashlib.sha256(content).hexdigest() != digest:
            raise BenchmarkError(f"{path} has changed since the export; {NEXT_STEP}")
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
        found = {int(row["index"]): Label(row["path"] or "", (row["label"] or "").strip()) for row in rows}
    except OSError as error:
        raise BenchmarkError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise BenchmarkError(f"{path} is no table of index,path,label: {type(error).__name__}: {error}") from error
    known = {name.strip() for name in classes}
    strange = next((index for index, row in found.items() if row.label not in known), None)
    if strange is not None:
        raise BenchmarkError(f"{path} gives index {strange} the label '{found[strange].label}'; expected one of {', '.join(classes)}")
    return found
