"""Whole slides cut into tiles: ``<out>/<split>/<slide>/<column>_<row>.jpeg``, slide by slide, so that a killed run goes on.

A slide's folder appears by one rename when all its tiles are written, with a hidden note of how they were made. What a killed run left
behind is removed and the slide done again; finished slides are skipped.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import logging
import secrets
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.bags.checks import check_names
from benchmark.bags.label_table import SLIDE_SUFFIXES, SPLIT_NAMES
from benchmark.bags.slide_reader import SlideReader, edge_response, import_openslide
from benchmark.bags.tile_folder import ARCHIVE
from benchmark.data.listing import subfolders
from benchmark.errors import BenchmarkError, unknown_name
from benchmark.files import TEMPORARY, atomic_write_text

if TYPE_CHECKING:
    from benchmark.api import Report

NOTE = ".tiling.json"
REPORT = "tiling.csv"
LOCK = ".tiling.lock"
TISSUE = ("saturation", "edges", "none")
FORMATS = ("jpeg", "npz")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tiling:
    """How slides are cut.

    Attributes:
        tile_size: height and width of a tile in pixels.
        mpp: microns per pixel of the tiles (0.5 is about 20×, 1 about 10×, 2 about 5×); None: as ``downsample`` says.
        downsample: pixels of the slide per pixel of the tiles; None: 1.
        tissue: ``saturation`` keeps tiles of which a share is coloured (only those are read at full size); ``edges`` those with an edge
            response above the threshold, as DSMIL does; ``none`` keeps all.
        threshold: of the saturation or the edge response, 0 to 255.
        least_tissue: the share of coloured pixels that a tile needs; for ``saturation``.
        format: ``jpeg``, or ``npz``: one file a slide, lossless; a slide's tiles are then held in memory until it is finished.
        quality: of JPEG.
    """

    tile_size: int = 224
    mpp: float | None = None
    downsample: float | None = None
    tissue: str = "saturation"
    threshold: float = 15.0
    least_tissue: float = 0.2
    format: str = "jpeg"
    quality: int = 70

    def __post_init__(self) -> None:
        """Refuse what cannot be; BenchmarkError."""
        if self.tissue not in TISSUE:
            raise unknown_name("tissue filter", self.tissue, TISSUE)
        if self.format not in FORMATS:
            raise unknown_name("format of tiles", self.format, FORMATS)
        if self.mpp is not None and self.downsample is not None:
            raise BenchmarkError(f"mpp={self.mpp:g} and downsample={self.downsample:g} both say how large tissue appears; give one")
        if not (self.mpp is None or self.mpp > 0) or not (self.downsample is None or self.downsample >= 1):
            raise BenchmarkError(f"mpp={self.mpp} must be above 0, and downsample={self.downsample} at least 1")
        if self.tile_size < 1 or not 0 <= self.least_tissue <= 1 or not 1 <= self.quality <= 100:
            raise BenchmarkError(
                f"tile_size={self.tile_size} must be at least 1, least_tissue={self.least_tissue:g} in [0, 1] and "
                f"quality={self.quality} in [1, 100]"
            )


@dataclass(frozen=True)
class SlideFile:
    """A slide to be cut: its file, its id, and the folder of its part (empty: none)."""

    file: Path
    slide: str
    split: str = ""


@dataclass(frozen=True)
class TiledSlide:
    """What became of a slide: the grid, how many of its ``columns * rows`` tiles were kept, and at which resolution.

    ``mpp`` is None where the slide does not say; ``resumed`` tells that an earlier run had finished it.
    """

    slide: str
    split: str
    columns: int
    rows: int
    kept: int
    downsample: float
    mpp: float | None
    resumed: bool = False


def find_slides(folder: Path) -> tuple[SlideFile, ...]:
    """The slides in ``<folder>/<split>/`` (train, val, test), or in the folder itself where there are no such.

    Raises:
        BenchmarkError: there are none, or two have one name.
    """
    parts = [part for part in subfolders(folder) if part.name.lower() in SPLIT_NAMES]
    found = [
        SlideFile(file, file.name.removesuffix(file.suffix), part.name if parts else "")
        for part in parts or [folder]
        for file in (sorted(part.iterdir()) if part.is_dir() else [])
        if file.suffix.lower() in SLIDE_SUFFIXES and not file.name.startswith(".") and file.is_file()
    ]
    if not found:
        raise BenchmarkError(f"{folder} holds no slides; expected {', '.join(SLIDE_SUFFIXES)} in it, or in its folders train, val and test")
    check_names([one.slide for one in found], str(folder), [one.split for one in found])
    return tuple(found)


def tile_slides(
    slides: Sequence[SlideFile], out: Path, tiling: Tiling | None = None, *, workers: int = 1, report: Report | None = None
) -> list[TiledSlide]:
    """Cut slides into tiles that :func:`~benchmark.bags.tile_folder.tile_layout` reads, once labels are put beside them.

    Args:
        slides: what to cut, see :func:`find_slides`.
        out: where tiles go; made if it is not there. Its ``tiling.csv`` is what is returned, as a table.
        tiling: how.
        workers: threads that read and compress tiles of a slide.
        report: is told how many slides are done.

    Returns:
        One row a slide. One of which no tile is kept has an empty folder, and a warning.

    Raises:
        BenchmarkError: OpenSlide is not installed, another run writes to ``out``, it was tiled otherwise before or cannot be written; or,
            after all others are done, slides that cannot be read.
    """
    from filelock import FileLock, Timeout

    import_openslide()
    tiling = tiling or Tiling()
    check_names([one.slide for one in slides], str(out), [one.split for one in slides])
    for one in slides:
        if Path(one.slide).name != one.slide or Path(one.split).name != one.split:
            raise BenchmarkError(f"slide '{one.slide}' of part '{one.split}' would be written outside {out}; expected plain names")
    done: list[TiledSlide] = []
    failed: list[str] = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / LOCK, timeout=0):
            for number, one in enumerate(slides):
                if report is not None:
                    report(f"tiling {one.slide}", number, len(slides))
                try:
                    done.append(_finished(one, out, tiling) or _cut(one, out, tiling, workers))
                except _UnreadableSlideError as error:
                    _log.warning("%s", error)
                    failed.append(str(error))
            atomic_write_text(out / REPORT, _table(done))
    except Timeout:
        raise BenchmarkError(f"another run writes tiles to {out}; wait for it, or choose another folder") from None
    except OSError as error:
        raise BenchmarkError(f"cannot write tiles to {out}: {error.strerror or error}; run it again to go on") from error
    if failed:
        raise BenchmarkError(
            f"{len(failed)} of {len(slides)} slides cannot be tiled, the others are done; the first: {failed[0]}; replace or remove it and "
            "run it again"
        )
    return done


class _UnreadableSlideError(BenchmarkError):
    """A slide that is left for the end."""


def _finished(one: SlideFile, out: Path, tiling: Tiling) -> TiledSlide | None:
    """What an earlier run noted of a slide; None where it is not done, or its file is another one now."""
    folder = out / one.split / one.slide
    if not folder.exists():
        return None
    try:
        note = json.loads((folder / NOTE).read_bytes())
        made, size, time, row = note["tiling"], note["bytes"], note.get("mtime_ns"), TiledSlide(**note["slide"])
    except (OSError, ValueError, KeyError, TypeError):
        raise BenchmarkError(f"{folder} was not written by this tiler; choose another folder for tiles, or remove it") from None
    for name, value in dataclasses.asdict(tiling).items():
        if made.get(name) != value:
            raise BenchmarkError(
                f"{folder} was tiled with {name}={made.get(name)}, not {value}; choose another folder for tiles, or remove that one"
            )
    found = _version(one.file) if one.file.is_file() else None
    if found is None or found == (size, time if time is not None else found[1]):  # older notes have no time
        return dataclasses.replace(row, resumed=True)
    _log.warning("%s has changed since it was tiled; it is tiled again", one.file)
    return None


def _version(file: Path) -> tuple[int, int]:
    """Size and time of change, which tell a slide from another one of the same name."""
    try:
        found = file.stat()
    except OSError as error:
        raise _UnreadableSlideError(f"{file} cannot be read: {error.strerror or error}") from None
    return found.st_size, found.st_mtime_ns


def _cut(one: SlideFile, out: Path, tiling: Tiling, workers: int) -> TiledSlide:
    """Write a slide's tiles beside their place, then move them there in one step."""
    folder = out / one.split / one.slide
    folder.parent.mkdir(exist_ok=True)
    for leftover in folder.parent.iterdir():
        if leftover.name.startswith(f".{one.slide}.") and leftover.name.endswith(TEMPORARY):
            shutil.rmtree(leftover, ignore_errors=True)
    temporary = folder.with_name(f".{one.slide}.{secrets.token_hex(4)}{TEMPORARY}")
    temporary.mkdir()
    try:
        size, time = _version(one.file)  # before it is read: one that is replaced meanwhile is tiled again
        row = _write(one, temporary, tiling, workers)
        note = {"tiling": dataclasses.asdict(tiling), "bytes": size, "mtime_ns": time, "slide": dataclasses.asdict(row)}
        (temporary / NOTE).write_text(json.dumps(note, indent=1) + "\n")
        if folder.exists():  # of a slide that has changed
            shutil.rmtree(folder)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if not row.kept:
        _log.warning("%s: no tile of %d holds tissue; lower threshold or least_tissue", one.file, row.columns * row.rows)
    return row


def _write(one: SlideFile, folder: Path, tiling: Tiling, workers: int) -> TiledSlide:
    try:
        slide = SlideReader(one.file, tiling.tile_size, mpp=tiling.mpp, downsample=tiling.downsample)
    except BenchmarkError as error:
        raise _UnreadableSlideError(str(error)) from None

    def cut(place: tuple[int, int]) -> np.ndarray | bool:
        """Write one tile, or hand it back for the archive; False where it holds no tissue."""
        tile = slide.tile(*place)
        if tiling.tissue == "edges" and edge_response(tile) <= tiling.threshold:
            return False
        if tiling.format == "npz":
            return np.asarray(tile)
        tile.save(folder / f"{place[0]}_{place[1]}.jpeg", quality=tiling.quality)
        return True

    with slide, ThreadPoolExecutor(max(1, workers)) as pool:
        kept: list[tuple[int, int]] = []
        pixels: list[Any] = []
        try:
            for row in range(slide.rows):
                columns: Sequence[int] = range(slide.columns)
                if tiling.tissue == "saturation":
                    shares = slide.tissue(row, tiling.threshold)
                    columns = [column for column in columns if shares[column] > 0 and shares[column] >= tiling.least_tissue]
                places = [(column, row) for column in columns]
                for place, found in zip(places, pool.map(cut, places), strict=True):
                    if found is not False:
                        kept.append(place)
                        pixels.append(found)
        except BenchmarkError as error:
            raise _UnreadableSlideError(str(error)) from None
        if tiling.format == "npz" and kept:
            with (folder / ARCHIVE).open("xb") as file:
                np.savez_compressed(file, tiles=np.stack(pixels), positions=np.array(kept, dtype=np.int64))
        return TiledSlide(one.slide, one.split, slide.columns, slide.rows, len(kept), slide.downsample, slide.mpp)


def _table(rows: Sequence[TiledSlide]) -> str:
    """The report as csv."""
    text = io.StringIO()
    names = [field.name for field in dataclasses.fields(TiledSlide) if field.name != "resumed"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(row, name) for name in names] for row in rows)
    return text.getvalue()
