"""``status --watch``: cells done, running and failed, and the time that is left, on a screen that stays up to date or as blocks of text."""

from __future__ import annotations

import contextlib
import io
import select
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from benchmark.cli.output import PIPE_WIDTH, write
from benchmark.cli.status import STATES, Repeat, causes_of, failure_lines, headline
from benchmark.folder_view import UNSETTLED

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from benchmark.folder_view import CellState, FolderView, Live

TERMINAL_S, PIPE_S = 2.0, 30.0
IDLE_S = 60.0
"""A pipe is not written to for ever when a driver was killed: after so long without a running cell the command ends."""

MOST_CAUSES = 5
WIDE = 110
"""Columns from which hosts and GPUs of running cells fit beside the rest."""


def watch_folder(view: FolderView, repeat: Repeat, interval: float | None) -> int:
    """Show a runs folder until somebody leaves or, in a pipe, until nothing is left to run.

    Args:
        view: of the folder.
        repeat: for the commands that repeat failures.
        interval: seconds between two looks; None for the usual.

    Returns:
        The exit code: 0, also on Ctrl-C; there is nothing that could be lost.
    """
    from rich.console import Console

    console = Console(highlight=False)
    with contextlib.suppress(KeyboardInterrupt):
        if not sys.stdout.isatty() or console.is_dumb_terminal:
            _blocks(view, repeat, PIPE_S if interval is None else interval)
            return 0
        _screen(view, repeat, TERMINAL_S if interval is None else interval)
    write(headline(view, repeat.runs))
    return 0


def _blocks(view: FolderView, repeat: Repeat, interval: float) -> None:
    ran = time.monotonic()
    while True:
        view.refresh()
        write(plain_block(view, repeat))
        if not any(state in view.counts for state in UNSETTLED):
            return
        ran = time.monotonic() if "running" in view.counts else ran
        if time.monotonic() - ran >= max(IDLE_S, interval):
            write("nothing runs; give the command that began these cells again to go on")
            return
        time.sleep(interval)


def _screen(view: FolderView, repeat: Repeat, interval: float) -> None:
    from rich.console import Console, Group
    from rich.live import Live

    console = Console(highlight=False)
    with _keys() as leaves, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            view.refresh()
            live.update(Group(*parts(view, repeat, console.width, console.height)), refresh=True)
            if leaves(interval):
                return


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """Yields a function that waits so many seconds and says whether ``q`` was pressed meanwhile."""
    try:
        import termios
        import tty
    except ImportError:  # Windows: Ctrl-C leaves
        yield _waits
        return
    try:
        before = termios.tcgetattr(sys.stdin.fileno())
    except (OSError, ValueError, termios.error):  # no keyboard
        yield _waits
        return

    def leaves(seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([sys.stdin], [], [], left)[0]:
                pressed = sys.stdin.read(1)
                if pressed in ("q", "Q", "\x04"):
                    return True
                if not pressed:  # the input has ended
                    time.sleep(max(0.0, deadline - time.monotonic()))
        return False

    try:
        tty.setcbreak(sys.stdin.fileno())
        yield leaves
    finally:
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, before)


def _waits(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def plain_block(view: FolderView, repeat: Repeat) -> str:
    """What the screen shows, as text without control characters."""
    from rich.console import Console

    stream = io.StringIO()
    console = Console(file=stream, width=PIPE_WIDTH, color_system=None, highlight=False)
    stamp = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    console.print(stamp, *parts(view, repeat, PIPE_WIDTH, None), sep="\n")
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def parts(view: FolderView, repeat: Repeat, width: int, height: int | None) -> list[RenderableType]:
    """Counts and remaining time, running cells, causes of failures and the GPUs, from top to bottom.

    Args:
        view: after a refresh.
        repeat: for the commands that repeat failures.
        width, height: of the screen; no height is a block of text, which has no bar and no end.
    """
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    running = sorted(cell.key for cell in view.cells.values() if cell.state == "running")
    causes = causes_of(view)
    shown: list[RenderableType] = [Text(_counts(view)), Text(_left(view))]
    if height is not None:
        total = max(1, len(view.cells))
        settled = total - sum(view.counts.get(state, 0) for state in UNSETTLED)
        bar = Table.grid()  # a bar alone ends no line
        bar.add_row(ProgressBar(total=total, completed=settled, width=min(60, width - 2)))
        shown.insert(1, bar)
    room = len(running) if height is None else max(3, height - 9 - 3 * min(len(causes), MOST_CAUSES))
    if running:
        shown += [Text(""), _running_table(view, running[:room], width)]
        if len(running) > room:
            shown.append(Text(f"and {len(running) - room} more that run"))
    if causes:
        lines = failure_lines(causes[:MOST_CAUSES], repeat)
        shown += [Text(""), Text("failed, by cause", style="bold"), *(Text(line, overflow="fold") for line in lines)]
        if len(causes) > MOST_CAUSES:
            shown.append(Text(f"and {len(causes) - MOST_CAUSES} other causes; see: python -m benchmark status --runs {repeat.runs}"))
    shown += [Text(""), Text(f"GPU  {_gpus()}")]
    if height is not None:
        shown.append(Text("q leaves; the runs go on", style="dim"))
    return shown


def _counts(view: FolderView) -> str:
    counts = view.counts
    others = [f"{counts[state]} {state}" for state in STATES[1:] if counts.get(state)]
    return ", ".join([f"{counts.get('done', 0)} of {len(view.cells)} cells done", *others])


def _left(view: FolderView) -> str:
    from benchmark.progress import duration

    seconds, unknown = view.seconds_left()
    if not any(state in view.counts for state in UNSETTLED):
        return "nothing left to run"
    if "running" not in view.counts:
        return "nothing runs at this moment"
    if seconds is None:
        return "remaining time: no estimate yet"
    return f"about {duration(seconds)} left" + (f", {unknown} cells without estimate not counted" if unknown else "")


def _running_table(view: FolderView, keys: list[str], width: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    narrow = width < WIDE
    headers = ["running", "data", "noise", "seed", "stage", "epoch", "alive", *([] if narrow else ["host", "GPU"])]
    cells = view.cells
    rows = [_running_row(cells[key], view.live(key))[: len(headers)] for key in keys]
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for header, space in zip(headers, _fitted(widths, width - len(widths)), strict=True):
        table.add_column(header, width=space, overflow="ellipsis", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _running_row(cell: CellState, live: Live) -> list[str]:
    epoch = "-" if live.epoch is None else f"{live.epoch}/{live.epochs or '?'}"
    alive = "-" if live.beat_seconds is None else f"{live.beat_seconds:.0f} s ago"
    memory = "" if live.gpu_memory_mb is None else f" {live.gpu_memory_mb / 1024:.1f} GB"
    gpu = f"{'-' if live.gpu_percent is None else f'{live.gpu_percent:.0f} %'}{memory}"
    return [str(cell.method), str(cell.dataset), str(cell.noise), str(cell.seed), live.stage or "-", epoch, alive, live.host or "-", gpu]


def _fitted(widths: list[int], room: int) -> list[int]:
    """Column widths that fit: the widest gives way first, so that one long name does not push the others out."""
    widths = list(widths)
    while sum(widths) > max(room, 3 * len(widths)):
        widths[widths.index(max(widths))] -= 1
    return widths


def _gpus() -> str:
    from benchmark.system_metrics import gpus

    def of_one(number: int, name: str, percent: float | None, used: float | None, total: float | None) -> str:
        memory = "" if used is None or total is None else f" {used / 1024:.1f} of {total / 1024:.0f} GB"
        return f"{number}: {name} {'-' if percent is None else f'{percent:.0f} %'}{memory}"

    return "; ".join(of_one(number, g.name, g.percent, g.memory_mb, g.memory_total_mb) for number, g in enumerate(gpus())) or "-"
