"""What a folder of class folders, or a csv, says of the images in it; no image is opened."""

from __future__ import annotations

import logging
from pathlib import Path

from benchmark.api import SPLITS
from benchmark.data.listing import SUFFIXES, Listing, images_below, names_inside, subfolders
from benchmark.data.rater_columns import labels_of_raters, rater_columns
from benchmark.data.tables import read_table
from benchmark.errors import BenchmarkError, unknown_name

COLUMNS = ("path", "label", "split", "group", "clean_label")
REQUIRED = ("path", "label")

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
    names, labels, splits = zip(*rows, strict=True)
    return Listing(path, path, names, labels, splits if parts else None)


def _class_images(base: Path, path: Path) -> list[tuple[str, str]]:
    """(name, class) of each image in the class folders of ``path``."""
    rows = []
    for folder in subfolders(path):
        found = images_below(base, folder)
        if not found:
            _log.warning("%s holds no images and is left out", folder)
        rows += [(name, folder.name) for name in found]
    return rows


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
    return Listing(path, path.parent, names, labels, *optional)
