"""The folder of a leaderboard: the page, the tables in every format, and the figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.progress import Preparation
from reports.board import Board, Chapter
from reports.board_formats import BOARD_FORMATS

if TYPE_CHECKING:
    from benchmark.registry import Registry
    from benchmark.store import RunStore

__all__ = ["write_board"]

NAMES = {"md": "leaderboard.md", "csv": "leaderboard.csv", "json": "leaderboard.json", "latex": "leaderboard.tex"}
"""Format → file."""


def write_board(board: Board, out: Path, store: RunStore | None, registry: Registry, data_root: Path, suspects: int) -> list[Path]:
    """Write all of a leaderboard; each file appears in one step.

    Args:
        board: its tables.
        out: the folder, made if it is not there. Figures of an earlier report in it are removed.
        store: where the runs' files are, for curves, confusions and galleries; None: nowhere.
        registry, data_root: to find the pictures of a gallery; nothing is downloaded.
        suspects: samples a condition in the gallery, 0 for none.

    Returns:
        The written files, the page first.
    """
    from benchmark.files import atomic_write_text
    from reports.leaderboard_figures import draw_all
    from reports.page import page

    with Preparation() as progress:
        board = replace(
            board, chapters=tuple(_filled(chapter, store, registry, data_root, suspects, progress) for chapter in board.chapters)
        )
        figures = out / "figures"
        for old in sorted(figures.glob("*")) if figures.is_dir() else ():
            old.unlink()
        progress("drawing figures", 0, 0)
        drawn = draw_all(board, figures)
        texts = {"leaderboard.html": page(board, drawn)} | {name: BOARD_FORMATS[format](board) for format, name in NAMES.items()}
    out.mkdir(parents=True, exist_ok=True)  # no figure may have made it
    for name, text in texts.items():
        atomic_write_text(out / name, text)
    return [*(out / name for name in texts), *(path for one in drawn for path in (one.svg, one.png))]


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
