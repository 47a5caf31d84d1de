"""A model's word on image files: which files are meant, what it says of each, and the table of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.data.listing import SUFFIXES, images_below, names_inside
from benchmark.data.tables import read_table
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    import numpy as np

    from benchmark.clean.model import Model

__all__ = ["Forecasts", "forecast", "images_of", "objects", "table"]

DIGITS = 6
"""Of a printed probability: more than float32 forecasts agree on between machines."""


@dataclass(frozen=True)
class Forecasts:
    """Of the n files that could be read.

    Attributes:
        classes: K names. files: n files as they were named. probabilities: (n, K) float32.
        unreadable: file → why, of the others.
    """

    classes: tuple[str, ...]
    files: tuple[Path, ...]
    probabilities: np.ndarray
    unreadable: dict[Path, str] = field(default_factory=dict)


def images_of(paths: Iterable[Path]) -> list[Path]:
    """The image files that are meant; opens none.

    Args:
        paths: images (of any suffix), folders (all images below them, hidden ones left out) and csv files with a column ``path``
            (relative to the csv's folder, and inside it).

    Raises:
        BenchmarkError: a path that does not exist, a folder or csv without images, a csv without such a column.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = [path / name for name in images_below(path, path)]
            if not found:
                raise BenchmarkError(f"{path} holds no images ({', '.join(suffix[1:] for suffix in SUFFIXES)})")
        elif not path.is_file():
            raise BenchmarkError(f"{path} {'is no file' if path.exists() else 'does not exist'}; give images, folders or a csv with a path")
        elif path.suffix.lower() == ".csv":
            rows = read_table(path)
            rows.require(("path",))
            if not rows.rows:
                raise BenchmarkError(f"{path} has no rows below its header")
            found = [path.parent / name for name in names_inside(path, path.parent, zip(rows.places(), rows.column("path"), strict=True))]
        else:
            found = [path]
        files += found
    return files


def forecast(model: Model, files: Sequence[Path], report: Callable[[int, int], None] = lambda done, total: None) -> Forecasts:
    """What a model says of files; those that cannot be read are left out.

    Args:
        model: from :func:`benchmark.clean.model.load_model`.
        files: any number; as many are in memory at once as the model takes.
        report: is told how many are done, and of how many.
    """
    import numpy as np

    kept: list[Path] = []
    parts: list[np.ndarray] = []
    unreadable: dict[Path, str] = {}
    for start in range(0, len(files), model.chunk):
        pixels = []
        for file in files[start : start + model.chunk]:
            try:
                pixels.append(model.read(file))
            except Exception as error:  # whatever Pillow makes of a file
                unreadable[file] = " ".join(str(error).split()) or type(error).__name__
            else:
                kept.append(file)
        if pixels:
            parts.append(model.predict(np.stack(pixels)))
        report(min(start + model.chunk, len(files)), len(files))
    probabilities = np.concatenate(parts) if parts else np.zeros((0, len(model.classes)), np.float32)
    return Forecasts(model.classes, tuple(kept), probabilities, unreadable)


def table(found: Forecasts, top: int = 0) -> tuple[list[str], list[list[Any]]]:
    """Header and rows: path, class, probability, then a column a class.

    Args:
        found: the forecasts.
        top: K > 0 gives, in place of a column a class, the K likeliest classes: ``class_2, probability_2`` and so on.
    """
    rows = objects(found, top)
    if not top:
        names = [_plain(name) for name in found.classes]
        body = [[row["path"], row["class"], row["probability"], *(row["probabilities"][name] for name in names)] for row in rows]
        return ["path", "class", "probability", *(f"p_{name}" for name in names)], body
    places = range(2, min(top, len(found.classes)) + 1)
    header = ["path", "class", "probability", *(word for place in places for word in (f"class_{place}", f"probability_{place}"))]
    return header, [[row["path"], *(cell for pair in row["probabilities"].items() for cell in pair)] for row in rows]


def objects(found: Forecasts, top: int = 0) -> list[dict[str, Any]]:
    """The same for JSON: ``path``, ``class``, ``probability`` and ``probabilities`` (class → value, with ``top`` the likeliest first)."""
    names = [_plain(name) for name in found.classes]
    rows = []
    for file, values in zip(found.files, found.probabilities, strict=True):
        order = sorted(range(len(names)), key=lambda position: (-float(values[position]), position))
        shown = order[:top] if top else range(len(names))
        said = {names[position]: round(float(values[position]), DIGITS) for position in shown}
        best = order[0]
        rows.append(
            {"path": _plain(str(file)), "class": names[best], "probability": round(float(values[best]), DIGITS), "probabilities": said}
        )
    return rows


def _plain(text: str) -> str:
    """Text that can be written as UTF-8: the name of a file need not be."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
