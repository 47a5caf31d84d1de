"""Lines where there is no terminal, bars where there is one."""

from __future__ import annotations

import io

import pytest

from benchmark.progress import BarProgress, PlainProgress, Progress, duration, make_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def tell(progress: Progress) -> None:
    with progress:
        progress.event("k", "hsa digits 0", {"event": "start"})
        progress.event("k", "hsa digits 0", {"stage": "detect", "epoch": 1, "epochs": 4, "loss": 0.25, "accuracy": None})
        progress.event("k", "hsa digits 0", {"stage": "detect", "epoch": 1, "epochs": 4, "done_epochs": 2, "total_epochs": 8})
        progress.finished("k", "hsa digits 0", "failed", 61.0, "[red]a\nb[/red]")
        progress.finished("never started", "ce digits 0", "done", None)
        progress.message("waiting")


def test_a_pipe_gets_one_plain_line_a_cell() -> None:
    stream = io.StringIO()
    progress = make_progress(10, stream=stream)
    tell(progress)
    assert type(progress) is PlainProgress
    assert stream.getvalue().splitlines() == [
        "[ 1/10] failed   hsa digits 0  1 min 1 s  [red]a b[/red]",
        "[ 2/10] done     ce digits 0",
        "waiting",
    ]


def test_a_terminal_gets_bars_and_nothing_is_markup() -> None:
    stream = Terminal()
    progress = make_progress(2, stream=stream)
    tell(progress)
    assert type(progress) is BarProgress
    assert "[red]a b[/red]" in stream.getvalue()
    assert progress.finished_cells == 2


@pytest.mark.parametrize(("total", "quiet"), [(3, True), (0, False)])
def test_silence(total: int, quiet: bool) -> None:
    stream = Terminal()
    tell(make_progress(total, quiet=quiet, stream=stream))
    assert stream.getvalue() == ""


def test_durations() -> None:
    assert [duration(s) for s in (0.44, 59.9, 200, 7500)] == ["0.4 s", "59.9 s", "3 min 20 s", "2 h 5 min"]
