"""The folder of a leaderboard: the page, the tables in every format, and the figures."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import BenchmarkError
from benchmark.progress import Preparation
from reports.board import Board, Chapter
from reports.board_formats import BOARD_FORMATS
from reports.board_names import FIGURES, OURS, STAGING, new_staging

if TYPE_CHECKING:
    from benchmark.registry import Registry
    from benchmark.store import RunStore

__all__ = ["write_board"]

NAMES = {"md": "leaderboard.md", "csv": "leaderboard.csv", "json": "leaderboard.json", "latex": "leaderboard.tex"}
"""Format → file."""
FOLDER = "figures"
SUFFIXES = tuple(f".{name.rpartition('.')[2]}" for name in ("html", *NAMES.values()))

logger = logging.getLogger("benchmark.report")


def write_board(
    board: Board,
    out: Path,
    store: RunStore | None,
    registry: Registry,
    data_root: Path,
    suspects: int,
    more: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write all of a leaderboard. It is made beside an earlier one, which stays whole until the new one is, and then replaced.

    Args:
        board: its tables.
        out: the folder, made if it is not there. What an earlier report has left in it is replaced or removed.
        store: where the runs' files are, for curves, confusions and galleries; None: nowhere.
        registry, data_root: to find the pictures of a gallery; nothing is downloaded.
        suspects: samples a condition in the gallery, 0 for none.
        more: other files, name → content.

    Returns:
        The written files, the page first.

    Raises:
        BenchmarkError: they cannot be written.
    """
    with Preparation() as progress:
        board = replace(
            board, chapters=tuple(_filled(chapter, store, registry, data_root, suspects, progress) for chapter in board.chapters)
        )
        try:
            with _one_report(out) as staging:
                progress("drawing figures", 0, 1)
                names = _make(board, staging, more or {})
                progress("drawing figures", 1, 1)
                _put_in_place(staging, out, names)
        except OSError as error:
            reason = error.strerror or str(error)
            raise BenchmarkError(f"--out {out} cannot be written: {reason}; make room, or give another folder") from error
    return [out / name for name in names]


def _make(board: Board, folder: Path, more: Mapping[str, str]) -> list[str]:
    """All files in a folder of their own; their names, the page first."""
    from benchmark.files import atomic_write_text
    from reports.leaderboard_figures import draw_all
    from reports.page import page

    drawn = draw_all(board, folder / FOLDER)
    texts = {"leaderboard.html": page(board, drawn)} | {name: BOARD_FORMATS[format](board) for format, name in NAMES.items()} | dict(more)
    for name, text in texts.items():
        atomic_write_text(folder / name, text)
    return [*texts, *(f"{FOLDER}/{path.name}" for one in drawn for path in (one.svg, one.png))]


@contextlib.contextmanager
def _one_report(out: Path) -> Iterator[Path]:
    """A new folder in ``out``, which goes at the end whatever happens; one process at a time has one."""
    fresh = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    staging = out / new_staging()
    try:
        with _alone(out) as locked:
            for left in out.iterdir() if locked else ():
                if STAGING.fullmatch(left.name):
                    shutil.rmtree(left, ignore_errors=True)
            staging.mkdir()
            yield staging
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        if fresh:
            with contextlib.suppress(OSError):
                out.rmdir()
        raise
    shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Wait until no other process is in here for the folder; False where there are no such locks. It leaves no file behind."""
    try:
        import fcntl
    except ImportError:
        yield False
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        locked = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.warning("another report is being written to %s; waiting for it", folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:  # some network file systems
            locked = False
        yield locked
    finally:
        os.close(descriptor)


def _put_in_place(staging: Path, out: Path, names: Sequence[str]) -> None:
    """Move the files into the folder, and remove those of an earlier report that this one does not have; renames alone."""
    (out / FOLDER).mkdir(exist_ok=True)
    for name in names:
        (staging / name).replace(out / name)
    earlier = [entry for entry in out.iterdir() if OURS.fullmatch(entry.name) and entry.suffix in SUFFIXES]
    for entry in [*earlier, *(entry for entry in (out / FOLDER).iterdir() if FIGURES.fullmatch(entry.name))]:
        if entry.is_file() and str(entry.relative_to(out)) not in names:
            entry.unlink()


def _filled(chapter: Chapter, store: RunStore | None, registry: Registry, data_root: Path, suspects: int, progress: Preparation) -> Chapter:
    """The chapter with what lies behind its rows."""
    from reports.collect import collect
    from reports.pictures import galleries

    def folder_of(key: str) -> Path | None:
        folder = None if store is None else store.folder(key)
        return folder if folder is not None and (folder / "result.json").exists() else None

    evidence = collect(chapter.comparison, folder_of, progress=lambda done, total: progress("reading curves and forecasts", done, total))
    shown = galleries(chapter.comparison, folder_of, data_root, registry, per_group=suspects) if suspects else {}
    return replace(chapter, evidence=evidence, galleries=shown)
