"""Csv files that say which slides are positive: their columns, and which of two words means positive."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.api import SPLITS
from benchmark.bags.checks import check_names, check_paired
from benchmark.data.tables import Table, read_table
from benchmark.errors import BenchmarkError, unknown_name

SLIDE_COLUMNS = ("slide_id", "slide")
GROUP_COLUMNS = ("case_id", "group")
"""What the column of the slides, and of the patients they come from, may be called."""

NEGATIVE_WORDS = ("normal", "negative", "benign", "healthy", "control", "wildtype")
"""A class with one of these among the words of its name is the negative one."""

NEGATIONS = ("non", "not", "no", "ab", "un")
"""A name with one of these among its words is not plain: non-normal is the opposite of normal."""

SLIDE_SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".dcm")
"""What OpenSlide opens. Tables often name slides by their file."""

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""What parts are called in files → :data:`~benchmark.api.SPLITS`."""

CLASSES = ("negative", "positive")
MOST_VALUES = 6


@dataclass(frozen=True)
class SlideLabels:
    """Labels of n slides.

    Attributes:
        file: the table, for messages.
        slides: n unique slide ids.
        labels: n of 0 and 1.
        classes: the names of the two.
        splits: n of :data:`~benchmark.api.SPLITS`, or None.
        groups: n patients, or None.
    """

    file: Path
    slides: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, str] = CLASSES
    splits: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None

    def of(self, slides: Sequence[str], where: str) -> SlideLabels:
        """The same for these slides, in their order.

        Args:
            slides: unique ids of the slides that there are tiles of. The table may name them by their files (``a.svs``).
            where: what holds the tiles, for messages.

        Raises:
            BenchmarkError: a slide without a label, or a label without a slide.
        """
        present = set(slides)
        named = [slide if slide in present else without_suffix(slide, SLIDE_SUFFIXES) for slide in self.slides]
        check_names(named, str(self.file))
        check_paired(slides, named, where, str(self.file))
        place = {slide: row for row, slide in enumerate(named)}
        return self.rows([place[slide] for slide in slides])._called(slides)

    def rows(self, rows: Sequence[int]) -> SlideLabels:
        """The same with these rows, in this order."""
        return SlideLabels(
            self.file,
            tuple(self.slides[row] for row in rows),
            tuple(self.labels[row] for row in rows),
            self.classes,
            None if self.splits is None else tuple(self.splits[row] for row in rows),
            None if self.groups is None else tuple(self.groups[row] for row in rows),
        )

    def _called(self, slides: Sequence[str]) -> SlideLabels:
        return SlideLabels(self.file, tuple(slides), self.labels, self.classes, self.splits, self.groups)


def read_slide_labels(file: Path, positive: str = "") -> SlideLabels:
    """Read a table of slides.

    Args:
        file: a csv with the columns ``slide_id`` (or ``slide``) and ``label``, and any of ``case_id`` (or ``group``: patients) and
            ``split``; others are ignored. Without a header: slide and label.
        positive: which of two words means positive; needed only where that is not plain.

    Raises:
        BenchmarkError: the file cannot be read, lacks a column, is empty, names a slide twice, or has labels that are not two.
    """
    table = _with_header(read_table(file))
    slide = next((name for name in SLIDE_COLUMNS if name in table.header), SLIDE_COLUMNS[0])
    table.require((slide, "label"))
    if not table.rows:
        raise BenchmarkError(f"{file} names no slides: there are no rows below its header")
    group = next((name for name in GROUP_COLUMNS if name in table.header), None)
    slides = tuple(table.column(slide))
    splits = read_splits(table.column("split"), file) if "split" in table.header else None
    check_names(slides, str(file), splits)
    labels, classes = read_labels(table.column("label"), str(file), positive)
    return SlideLabels(file, slides, labels, classes, splits, tuple(table.column(group)) if group else None)


def read_labels(words: Sequence[str], where: str, positive: str = "") -> tuple[tuple[int, ...], tuple[str, str]]:
    """Labels as 0 and 1, and what the two are called.

    Args:
        words: n labels as written: 0 and 1, or two words.
        where: what they come from, for messages.
        positive: the word that means positive. Without it, the negative one is that which :func:`plainly_negative` finds.

    Raises:
        BenchmarkError: more or fewer than two labels, or no way to tell which is which.
    """
    found = sorted(set(words))
    if set(found) <= {"0", "1"} and not positive:
        return tuple(int(word) for word in words), CLASSES
    if len(found) != 2:
        more = ", …" if len(found) > MOST_VALUES else ""
        raise BenchmarkError(
            f"{where}: labels must be 0 and 1, or two words of which one means positive; found {', '.join(found[:MOST_VALUES])}{more}"
        )
    if not positive:
        negative = plainly_negative(found)
        if negative is None:
            raise BenchmarkError(f"{where}: labels are {found[0]} and {found[1]}; say which one is positive: positive={found[1]}")
        positive = next(word for word in found if word != negative)
    elif positive not in found:
        raise unknown_name("positive label", positive, found, f"labels stand in {where}")
    return tuple(int(word == positive) for word in words), (next(word for word in found if word != positive), positive)


def plainly_negative(names: Sequence[str]) -> str | None:
    """Which of these names is the negative class: the one that says normal, negative, benign … as a word of its own.

    None where that is none or several, or where any name has a negation: abnormal has no such word, and non-normal is no normal.
    """
    words = {name: re.findall(r"[^\W\d_]+", name.lower()) for name in names}
    if any(word in NEGATIONS for found in words.values() for word in found):
        return None
    negative = [name for name, found in words.items() if any(word in NEGATIVE_WORDS for word in found)]
    return negative[0] if len(negative) == 1 else None


def read_splits(words: Iterable[str], file: Path) -> tuple[str, ...]:
    """Names of parts as the harness calls them.

    Raises:
        BenchmarkError: a name that is none.
    """
    splits = []
    for word in words:
        if word.lower() not in SPLIT_NAMES:
            raise unknown_name(f"split in {file}", word, SPLITS)
        splits.append(SPLIT_NAMES[word.lower()])
    return tuple(splits)


def find_labels(folder: Path, given: str = "") -> Path:
    """The table of labels: a given file, or the one csv in a folder that has columns of slides and labels.

    Args:
        folder: where the set lies.
        given: a path, absolute or relative to ``folder``; empty: look for it.

    Raises:
        BenchmarkError: there is none, or more than one.
    """
    if given:
        file = folder / Path(given).expanduser()
        if not file.is_file():
            raise BenchmarkError(f"there is no table of labels {file}")
        return file
    found = [file for file in sorted(folder.glob("*.csv")) if not file.name.startswith((".", "splits")) and _labels_slides(file)]
    if len(found) != 1:
        names = f"{', '.join(file.name for file in found)}: give one of them as" if found else "none is there; add one, or give"
        raise BenchmarkError(f"{folder} needs one csv with the columns slide_id and label; {names} labels=FILE")
    return found[0]


def without_suffix(name: str, suffixes: Sequence[str]) -> str:
    """A name without its ending, if that is one of these: ids of TCGA hold dots that are no endings."""
    path = Path(name)
    return path.name.removesuffix(path.suffix) if path.suffix.lower() in suffixes else name


def _labels_slides(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as stream:
            header = [name.strip().strip('"') for name in stream.readline(4096).split(",")]
    except OSError:
        return False
    return "label" in header and any(name in header for name in SLIDE_COLUMNS)


def _with_header(table: Table) -> Table:
    """A table of two columns whose first line is a row like all others gets the header that it lacks."""
    if "label" in table.header or len(table.header) != 2 or table.header[1] not in {row[1] for _, row in table.rows}:
        return table
    return Table(table.file, [SLIDE_COLUMNS[0], "label"], [(1, table.header), *table.rows])
