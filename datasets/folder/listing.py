"""What a folder of class folders, or a csv, says of the images in it; no image is opened."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

from benchmark.api import SPLITS
from benchmark.data.listing import SUFFIXES, Listing, images_below, names_inside, subfolders
from benchmark.data.rater_columns import labels_of_raters, rater_columns
from benchmark.data.tables import read_table
from benchmark.errors import BenchmarkError, unknown_name

COLUMNS = ("path", "label", "split", "group", "clean_label")
REQUIRED = ("path", "label")

UNUSABLE = re.compile("[\x00-\x1f\x7f\u0085\u2028\u2029\ud800-\udfff]")
"""Control characters, line breaks, and what stands for bytes that are no UTF-8: no csv, page or message can hold such names."""

_log = logging.getLogger(__name__)


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


# ------------------------------------------------------------------------------------------------------------- folders


def _list_folder(path: Path) -> Listing:
    # A folder called "train" that holds folders is a part; one that holds images is a class.
    parts = [part for part in SPLITS if any(True for _ in subfolders(path / part))]
    rows: list[tuple[str, str, str]] = []
    for part in parts or [""]:
        rows += [(name, label, part) for name, label in _class_images(path, path / part)]
    if not rows:
        raise BenchmarkError(f"{path} holds no images; expected {path}/<class>/*.png (or {', '.join(s[1:] for s in SUFFIXES[1:])})")
    if parts and "train" not in {part for _, _, part in rows}:
        raise BenchmarkError(f"{path} has {', '.join(parts)} but no images in train/<class>")
    others = [folder.name for folder in subfolders(path) if folder.name not in parts] if parts else []
    if others:
        _log.warning("%s: only %s are read; ignored: %s", path, ", ".join(parts), ", ".join(others))
    stray = sorted(child.name for child in path.iterdir() if child.name.lower().endswith(SUFFIXES) and child.is_file())
    stray = [name for name in stray if not name.startswith(".")]
    if stray:
        _log.warning("%s: %d images lie beside the class folders and are left out; the first: %s", path, len(stray), ascii(stray[0]))
    names, labels, splits = zip(*rows, strict=True)
    _refuse_unusable((f"{path}", name) for name in names)
    return Listing(path, path, names, labels, splits if parts else None)


def _class_images(base: Path, path: Path) -> list[tuple[str, str]]:
    """(name, class) of each image in the class folders of ``path``."""
    rows = []
    inside = base.resolve()
    for folder in subfolders(path):
        _refuse_links(inside, folder)
        found = images_below(base, folder)
        if not found:
            _log.warning("%s holds no images and is left out", folder)
        rows += [(name, folder.name) for name in found]
    return rows


def _refuse_links(base: Path, folder: Path) -> None:
    """Refuse a class folder with links that leave the set or lead back to what holds them; links to files within the set are read.

    Args:
        base: the set's folder, without links.
        folder: of one class.
    """
    if folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve()):
        raise BenchmarkError(f"{folder} is a link that leads back to {folder.resolve()}, which holds it; remove the link")
    _refuse_outside(base, folder)
    open_ = [str(folder)]
    while open_:
        with os.scandir(open_.pop()) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if not entry.is_symlink():
                    if entry.is_dir():
                        open_.append(entry.path)
                elif entry.name.lower().endswith(SUFFIXES):
                    _refuse_outside(base, Path(entry.path))
                elif os.path.isdir(entry.path):  # noqa: PTH112
                    _log.warning("%s is a link to a folder inside a class and is not followed", entry.path)


def _refuse_outside(base: Path, path: Path) -> None:
    try:
        target = path.resolve()
    except (OSError, RuntimeError):  # links in a circle: opening the file says so
        return
    if not target.is_relative_to(base):
        raise BenchmarkError(f"{path} leads to {target}, outside {base}, the folder that must hold all images; copy it there")


def _refuse_unusable(named: Iterable[tuple[str, str]]) -> None:
    """Refuse a path or a label that cannot be written down, of (where it stands, text)."""
    for place, text in named:
        if UNUSABLE.search(text):
            raise BenchmarkError(f"{place}: the name {text!a} holds a line break, another control character or no UTF-8; rename it")


# ----------------------------------------------------------------------------------------------------------------- csv


def _list_csv(path: Path) -> Listing:
    table = read_table(path)
    raters = rater_columns(table.header)
    for name in table.header:
        if name not in COLUMNS and name not in raters:
            raise unknown_name(f"column in {path}", name, COLUMNS, "path and label are required, or path and label_1, label_2, …")
    table.require(REQUIRED[:1] if raters else REQUIRED)
    if not table.rows:
        raise BenchmarkError(f"{path} has no rows below its header")
    optional = [table.column(name) if name in table.header else None for name in COLUMNS[2:]]
    strange = sorted(set(optional[0] or ()) - set(SPLITS))
    if strange:
        raise unknown_name(f"split in {path}", strange[0], SPLITS)
    names = names_inside(path, path.parent, zip(table.places(), table.column("path"), strict=True))
    labels = labels_of_raters(table)[0] if raters else table.column("label")
    for column in (names, labels):
        _refuse_unusable((f"{path}, {place}", text) for place, text in zip(table.places(), column, strict=True))
    return Listing(path, path.parent, names, labels, *optional)
