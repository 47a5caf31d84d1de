"""Which images belong to the set and what is said of them: read from folders or from a csv, without opening an image."""

from __future__ import annotations

import csv
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.api import SPLITS
from benchmark.errors import BenchmarkError, unknown_name

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
COLUMNS = ("path", "label", "split", "group", "clean_label")
REQUIRED = ("path", "label")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """n images by name, before any is opened.

    Attributes:
        base: the folder that names are relative to.
        names: n relative paths with ``/``.
        labels: n class names as given.
        splits, groups, clean_labels: n words each, None where the source does not have them.
    """

    base: Path
    names: Sequence[str]
    labels: Sequence[str]
    splits: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    clean_labels: Sequence[str] | None = None

    def keep(self, rows: Sequence[int]) -> Listing:
        """The same with only these rows."""

        def pick(column: Sequence[str] | None) -> list[str] | None:
            return None if column is None else [column[row] for row in rows]

        return replace(
            self,
            names=[self.names[row] for row in rows],
            labels=[self.labels[row] for row in rows],
            splits=pick(self.splits),
            groups=pick(self.groups),
            clean_labels=pick(self.clean_labels),
        )

    def classes(self, source: Path) -> tuple[str, ...]:
        """The sorted set of the given labels.

        Raises:
            BenchmarkError: fewer than two classes, or a clean label that is none of them.
        """
        classes = tuple(sorted(set(self.labels)))
        if len(classes) < 2:
            found = f"only one class ('{classes[0]}')" if classes else "no class"
            raise BenchmarkError(f"{source} holds {found}; at least two are needed")
        strange = sorted(set(self.clean_labels or ()) - set(classes))
        if strange:
            raise unknown_name(f"clean_label in {source}", strange[0], classes, "clean labels must occur among the labels")
        return classes


def list_images(path: Path) -> Listing:
    """List a folder of class folders or a csv file.

    Raises:
        BenchmarkError: the path is missing, empty, of another kind, or has columns, rows or names that cannot be used.
    """
    if path.is_dir():
        return _list_folder(path)
    if path.is_file() and path.suffix.lower() == ".csv":
        return _list_csv(path)
    if path.exists():
        raise BenchmarkError(f"{path} is neither a folder nor a .csv file")
    raise BenchmarkError(f"{path} does not exist; write folder:PATH with a folder of class folders or a csv file")


def fingerprint(path: Path, listing: Listing) -> str:
    """16 hex digits over the name, size and modification time of every image, and the csv's bytes; opens no image."""
    digest = hashlib.sha256()
    if path.is_file():
        digest.update(path.read_bytes())
    for name in listing.names:
        try:
            status = (listing.base / name).stat()
            state = f"{status.st_size} {status.st_mtime_ns}"
        except OSError:
            state = "missing"  # loading names it, or leaves it out where skip_bad is set
        digest.update(f"{name}\0{state}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


# ------------------------------------------------------------------------------------------------------------- folders


def _list_folder(path: Path) -> Listing:
    # A folder called "train" that holds folders is a part; one that holds images is a class.
    parts = [part for part in SPLITS if any(True for _ in _subfolders(path / part))]
    rows: list[tuple[str, str, str]] = []
    for part in parts or [""]:
        rows += [(name, label, part) for name, label in _class_images(path, path / part)]
    if not rows:
        raise BenchmarkError(f"{path} holds no images; expected {path}/<class>/*.png (or {', '.join(s[1:] for s in SUFFIXES[1:])})")
    if parts and "train" not in {part for _, _, part in rows}:
        raise BenchmarkError(f"{path} has {', '.join(parts)} but no images in train/<class>")
    others = [folder.name for folder in _subfolders(path) if folder.name not in parts] if parts else []
    if others:
        _log.warning("%s: only %s are read; ignored: %s", path, ", ".join(parts), ", ".join(others))
    names, labels, splits = zip(*rows, strict=True)
    return Listing(path, names, labels, splits if parts else None)


def _subfolders(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (child for child in sorted(path.iterdir()) if child.is_dir() and not child.name.startswith("."))


def _class_images(base: Path, path: Path) -> Iterator[tuple[str, str]]:
    for folder in _subfolders(path):
        found = []
        for parent, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            found += [Path(parent, name) for name in files if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
        if not found:
            _log.warning("%s holds no images and is left out", folder)
        yield from ((name, folder.name) for name in sorted(file.relative_to(base).as_posix() for file in found))


# ----------------------------------------------------------------------------------------------------------------- csv


def _list_csv(path: Path) -> Listing:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = [name.strip() for name in next(reader, [])]
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except UnicodeDecodeError as error:
        raise BenchmarkError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except csv.Error as error:
        raise BenchmarkError(f"{path} cannot be read as csv: {error}") from None
    _check_header(path, header)
    if not rows:
        raise BenchmarkError(f"{path} has no rows below its header")
    columns: dict[str, list[str]] = {name: [] for name in header}
    for line, row in rows:
        if len(row) != len(header):
            raise BenchmarkError(f"{path}, line {line}: {len(row)} fields where the header has {len(header)}")
        for name, cell in zip(header, row, strict=True):
            if not cell.strip():
                raise BenchmarkError(f"{path}, line {line}: {name} is empty")
            columns[name].append(cell.strip())
    strange = sorted(set(columns.get("split", ())) - set(SPLITS))
    if strange:
        raise unknown_name(f"split in {path}", strange[0], SPLITS)
    names = _relative_names(path, columns["path"], [line for line, _ in rows])
    return Listing(path.parent, names, columns["label"], *(columns.get(name) for name in COLUMNS[2:]))


def _check_header(path: Path, header: list[str]) -> None:
    for name in header:
        if name not in COLUMNS:
            raise unknown_name(f"column in {path}", name, COLUMNS, "path and label are required")
        if header.count(name) > 1:
            raise BenchmarkError(f"{path}: the column {name} occurs {header.count(name)} times")
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise BenchmarkError(
            f"{path} lacks the column {' and '.join(missing)}; its first line must name path,label[,split][,group][,clean_label]"
        )


def _relative_names(path: Path, written: list[str], lines: list[int]) -> list[str]:
    """Paths relative to the csv's folder; refuses what lies outside it, symbolic links followed, and repeats."""
    base = path.parent.resolve()
    inside: dict[Path, bool] = {}
    seen: dict[str, int] = {}
    for text, line in zip(written, lines, strict=True):
        # A csv from Windows has backslashes. Normalised by text, so that "a/../b" and "b" count as one file.
        joined = Path(os.path.normpath(base / text.replace("\\", "/")))
        folder = joined.parent
        if folder not in inside:
            inside[folder] = joined.is_relative_to(base) and folder.resolve().is_relative_to(base)
        if not inside[folder] or (joined.is_symlink() and not joined.resolve().is_relative_to(base)):
            raise BenchmarkError(f"{path}, line {line}: '{text}' lies outside {base}; put the csv in a folder that holds all images")
        name = joined.relative_to(base).as_posix()
        if name in seen:
            raise BenchmarkError(f"{path}, line {line}: duplicate path '{text}', first on line {seen[name]}")
        seen[name] = line
    return list(seen)
