"""Several people's labels in a csv: the columns ``label_1``, ``label_2`` and so on, and what most of them say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from benchmark.data.tables import Table
from benchmark.errors import BenchmarkError, unknown_name

RATER = re.compile(r"label_([1-9][0-9]{0,8})\Z")


def rater_columns(header: Sequence[str]) -> list[str]:
    """The columns of raters, by their numbers."""
    return sorted((name for name in header if RATER.match(name)), key=lambda name: int(name.removeprefix("label_")))


def labels_of_raters(table: Table) -> tuple[list[str], list[list[str]]]:
    """What each rater says, and the given labels that follow from it.

    Args:
        table: with two columns of raters or more; an empty cell is a sample that a rater did not label. ``label``, if the table has it, is
            the given label, whatever the raters say.

    Returns:
        given: n class names: ``label``, else the majority; of a tie, the choice of the rater with the lowest number.
        ratings: for each rater, in the order of :func:`rater_columns`, n class names or empty texts.

    Raises:
        BenchmarkError: one column of a rater only, one without any label, a sample without any label, or a rater's label that is no
            sample's given one.
    """
    names = rater_columns(table.header)
    if len(names) < 2:
        raise BenchmarkError(f"{table.file} has one column of a rater, {names[0]}; call it label, or add the others, label_1, label_2, …")
    ratings = [table.column(name, filled=False) for name in names]
    for name, column in zip(names, ratings, strict=True):
        if not any(column):
            raise BenchmarkError(f"{table.file}: {name} is empty in every row; take the column out")
    given = table.column("label") if "label" in table.header else [_majority(row) for row in zip(*ratings, strict=True)]
    for place, label in zip(table.places(), given, strict=True):
        if not label:
            raise BenchmarkError(f"{table.file}, {place}: {', '.join(names)} are all empty; a sample needs a label from one rater at least")
    classes = set(given)
    for name, column in zip(names, ratings, strict=True):
        strange = sorted(set(column) - classes - {""})
        if strange:
            place = list(table.places())[column.index(strange[0])]
            source = "any sample's label" if "label" in table.header else "what most say of any sample"
            next_step = f"it is not {source}; correct it, or leave the cell empty"
            raise unknown_name(f"{name} in {table.file}, {place}:", strange[0], classes, next_step)
    return given, ratings


def _majority(labels: Sequence[str]) -> str:
    """The most frequent label that is not empty, the first of those on a tie; empty where there is none."""
    counts = Counter(label for label in labels if label)
    return max(counts, key=lambda label: counts[label]) if counts else ""  # a Counter keeps the order of first sight, and max the first
