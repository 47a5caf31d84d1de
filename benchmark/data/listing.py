"""Which images belong to a set and what is said of them, before any is opened."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.errors import BenchmarkError, unknown_name

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Listing:
    """n images by name.

    Attributes:
        source: the folder or file that the user named, for messages and as the owner of a cache.
        base: the folder that names are relative to.
        names: n relative paths with ``/``.
        labels: n class names as given.
        splits: n of ``train``, ``val`` and ``test``; None where the source does not say.
        groups: n names of patients or slides, None likewise.
        clean_labels: n class names that are the reference, None likewise.
        order: the class names in the set's own order; empty: the sorted set of the labels.
        variant: tells apart the listings that one source gives under different parameters and that name different images.
    """

    source: Path
    base: Path
    names: Sequence[str]
    labels: Sequence[str]
    splits: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    clean_labels: Sequence[str] | None = None
    order: tuple[str, ...] = ()
    variant: str = ""

    def __len__(self) -> int:
        return len(self.names)

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

    def classes(self) -> tuple[str, ...]:
        """The class names, in order.

        Raises:
            BenchmarkError: fewer than two classes, a class of the fixed order that has no image, or a clean label that is
                none of the labels.
        """
        classes = self.order or tuple(sorted(set(self.labels)))
        if len(classes) < 2:
            found = f"only one class ('{classes[0]}')" if classes else "no class"
            raise BenchmarkError(f"{self.source} holds {found}; at least two are needed")
        present = set(self.labels)
        absent = [name for name in classes if name not in present]
        if absent:
            raise BenchmarkError(f"{self.source} holds no image labelled '{absent[0]}'; the classes are {', '.join(classes)}")
        strange = sorted(set(self.clean_labels or ()) - set(classes))
        if strange:
            raise unknown_name(f"clean_label in {self.source}", strange[0], classes, "clean labels must occur among the labels")
        return classes

    def fingerprint(self) -> str:
        """16 hex digits over the name, size and modification time of every file; opens no image.

        What is said of the images is not in it (:meth:`annotation_fingerprint`), nor is the place where they lie.
        """
        digest = hashlib.sha256()
        base = str(self.base)
        for name in self.names:
            try:
                status = os.stat(f"{base}/{name}")  # noqa: PTH116 - a Path for each of a million files takes longer than its stat
                state = f"{status.st_size} {status.st_mtime_ns}"
            except OSError:
                state = "missing"  # opening names it, or leaves it out where skip_bad is set
            digest.update(f"{name}\0{state}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()[:16]

    def annotation_fingerprint(self) -> str:
        """16 hex digits over labels, splits, groups, clean labels and the order of the classes."""
        digest = hashlib.sha256()
        for column in (self.labels, self.splits, self.groups, self.clean_labels, self.order):
            text = "-" if column is None else "\n".join(column)
            digest.update(f"{text}\0".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()[:16]


def names_inside(file: Path, base: Path, written: Iterable[tuple[str, str]]) -> list[str]:
    """Paths that a list gives, relative to ``base``; refuses what lies outside it, symbolic links followed, and repeats.

    Args:
        file: the list, for messages.
        base: the folder that relative paths start from and that none may leave.
        written: for each path the place where it stands in the list (``line 3``) and its text.

    Raises:
        BenchmarkError: a path that leaves ``base``, or one that stands there twice.
    """
    resolved = base.resolve()
    inside: dict[str, bool] = {}
    seen: dict[str, str] = {}
    for place, text in written:
        if "\0" in text:
            raise BenchmarkError(f"{file}, {place}: {text!r} is no file name")
        # A list from Windows has backslashes. Normalised by text, so that "a/../b" and "b" count as one file.
        joined = Path(os.path.normpath(resolved / text.replace("\\", "/")))
        folder = str(joined.parent)
        try:
            if folder not in inside:
                inside[folder] = joined.is_relative_to(resolved) and joined.parent.resolve().is_relative_to(resolved)
            outside = not inside[folder] or (joined.is_symlink() and not joined.resolve().is_relative_to(resolved))
        except (OSError, RuntimeError) as error:  # a name that no file can have, or links that lead in a circle
            reason = getattr(error, "strerror", None) or "links that lead in a circle"
            raise BenchmarkError(f"{file}, {place}: '{text[:80]}' is no file: {reason}") from None
        if outside:
            raise BenchmarkError(f"{file}, {place}: '{text}' lies outside {resolved}, the folder that must hold all images")
        name = joined.relative_to(resolved).as_posix()
        if name in seen:
            raise BenchmarkError(f"{file}, {place}: duplicate path '{text}', first on {seen[name]}")
        seen[name] = place
    return list(seen)


def subfolders(path: Path) -> Iterator[Path]:
    """The folders in a folder, sorted, without hidden ones; none where there is no such folder."""
    if path.is_dir():
        yield from (child for child in sorted(path.iterdir()) if child.is_dir() and not child.name.startswith("."))


def images_below(base: Path, folder: Path) -> list[str]:
    """The image files anywhere below a folder, sorted, relative to ``base``; hidden files and folders are left out."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inner = Path(parent).relative_to(base).as_posix()
        prefix = "" if inner == "." else f"{inner}/"
        found += [prefix + name for name in files if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
    return sorted(found)
