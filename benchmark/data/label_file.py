"""The common option ``label_file``: labels from a file in the place of the data set's own."""

from __future__ import annotations

import csv
import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.api import Arrays, Dataset
    from benchmark.noise_file import LabelFile

_log = logging.getLogger(__name__)

MARK = "-labels:"
"""Stands in a fingerprint between what tells the data from others and the digest of the file of labels."""

OF_THE_USER = ("folder", "file")
"""Kinds of access to a set whose labels are the user's: without a reference they are all that is known, not the truth."""


def fingerprint(dataset: Dataset) -> str:
    """What a run's identity holds of the file: 16 hex digits of the sha256 of its content.

    Raises:
        BenchmarkError: no such file, or it cannot be read.
    """
    path = _path(dataset)
    try:
        with path.open("rb") as file:
            return MARK + hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise BenchmarkError(f"{dataset.name}: {path} cannot be read: {error.strerror or error}") from error


def without(text: str | None) -> str | None:
    """A data set's fingerprint without the file of labels: the images, and what is computed from them, are the same."""
    return text if text is None else text.partition(MARK)[0]


def relabelled(dataset: Dataset, arrays: Arrays, content: str, planned: str | None) -> Arrays:
    """The same samples with the file's labels as the given ones; a sample that the file lacks keeps its own.

    The reference stays the truth. Where the set has none, its own labels become the reference, unless the set is of the user's
    own (access by folder or file): its labels may be as wrong as any, so the file's stand in for the truth.

    Args:
        dataset: whose option names the file.
        arrays: the whole set, as loaded.
        content: digest of ``arrays``; see :func:`benchmark.prepare.content_digest`.
        planned: the data set's fingerprint in the run's identity.

    Raises:
        BenchmarkError: the file is missing, unreadable or empty, has changed since the run was planned, is for other data, or has
            an index or a class that these lack.
    """
    from benchmark.noise_file import read

    path = _path(dataset)
    if not (planned or "").endswith(fingerprint(dataset)):
        raise BenchmarkError(f"label_file {path} has changed since this run was planned; give the command again")
    found = read(path)
    _check_samples(found, path, dataset.name, arrays, content)
    labels = arrays.labels.copy()
    labels[found.index] = found.ids(path, len(arrays.classes), arrays.classes)
    if arrays.clean_labels is None and not str(dataset.manifest.get("access", "")).startswith(OF_THE_USER):
        return replace(arrays, labels=labels, clean_labels=arrays.labels)
    return replace(arrays, labels=labels)


def _check_samples(found: LabelFile, path: Path, name: str, arrays: Arrays, content: str) -> None:
    """Refuse a file that is for other samples than these."""
    n = len(arrays.labels)
    if not len(found.index):
        raise BenchmarkError(f"{path} has no label; expected one line a sample below index,label")
    if found.content and found.content != content:
        raise BenchmarkError(f"{path} is for other data: its content is {found.content}, that of {name} is {content}")
    outside = found.index[(found.index < 0) | (found.index >= n)]
    if len(outside):
        raise BenchmarkError(f"{path} is for other data: it has index {outside[0]}, and {name} has {n} samples, 0 to {n - 1}")
    names = arrays.paths
    if names is None:
        return
    for index, written in _paths(path):
        if written not in (names[index], f"'{names[index]}"):  # the apostrophe keeps a spreadsheet from running a name
            raise BenchmarkError(
                f"{path} is for other data: it says that index {index} is {written}, in {name} it is {names[index]}; "
                "were files added or removed since?"
            )


def _paths(path: Path) -> list[tuple[int, str]]:
    """Index and file name of the lines of a .csv that give a name."""
    if path.suffix != ".csv":
        return []
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [{key.strip(): cell.strip() for key, cell in row.items()} for row in csv.DictReader(file)]
    return [(int(row["index"]), row["path"]) for row in rows if row.get("path")]


def _path(dataset: Dataset) -> Path:
    path = Path(dataset.options.label_file).expanduser()
    if not path.is_file():
        raise BenchmarkError(f"{dataset.name}: label_file {path} is no file; give the path of one, absolute or from the working directory")
    return path


def warn_if_unused(dataset: Dataset, arrays: Arrays, noise: tuple[str, ...]) -> None:
    """Tell a user whose noise starts from the reference that the file changes nothing.

    Args:
        dataset: whose option names the file.
        arrays: as :func:`relabelled` gives them.
        noise: the names of the noise models.
    """
    if arrays.clean_labels is not None and "human" not in noise:
        _log.warning(
            "%s has a reference, and noise %s starts from it: the labels of %s are not trained on; --noise human trains on them",
            *(dataset.name, "+".join(noise), dataset.options.label_file),
        )
