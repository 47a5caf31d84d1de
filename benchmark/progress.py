"""What a person sees while cells run: bars on a terminal, one plain line a finished cell elsewhere, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


class Progress:
    """Says nothing; the base of those that do. A context manager around one campaign.

    Args:
        total: the number of cells that are to run.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.finished_cells = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def event(self, key: str, label: str, event: Mapping[str, Any]) -> None:
        """One event of a running cell.

        Args:
            key: the run's key.
            label: the cell in words.
            event: ``stage``, ``epoch`` (0-based), ``epochs``, ``loss`` and, where the length of the whole run is known,
                ``done_epochs`` and ``total_epochs``; whatever is missing is not shown.
        """

    def finished(self, key: str, label: str, status: str, seconds: float | None, detail: str = "") -> None:
        """One cell has come to its end.

        Args:
            key, label: as above.
            status: ``done``, ``failed``, …
            seconds: how long it ran, None if unknown.
            detail: the reason of a failure, in one line.
        """
        self.finished_cells += 1

    def already(self, cells: int) -> None:
        """So many cells were there before: they count, and make no line."""
        self.finished_cells += cells

    def message(self, text: str) -> None:
        """Something worth a line."""

    def _line(self, label: str, status: str, seconds: float | None, detail: str) -> str:
        width = len(str(self.total))
        took = "" if seconds is None else f"  {duration(seconds)}"
        reason = f"  {' '.join(detail.split())}" if detail else ""
        return f"[{self.finished_cells:{width}}/{self.total}] {status:8} {label}{took}{reason}"


class PlainProgress(Progress):
    """One line a finished cell, without control characters: for logs, pipes and terminals that cannot move the cursor."""

    def __init__(self, total: int, stream: TextIO) -> None:
        super().__init__(total)
        self._stream = stream

    def finished(self, key: str, label: str, status: str, seconds: float | None, detail: str = "") -> None:
        """Print the cell's line."""
        super().finished(key, label, status, seconds, detail)
        self.message(self._line(label, status, seconds, detail))

    def message(self, text: str) -> None:
        """Print the line."""
        self._stream.write(text + "\n")
        self._stream.flush()


class BarProgress(Progress):
    """A bar a running cell, with stage, epoch, loss and remaining time; an overall bar below; finished cells above."""

    def __init__(self, total: int, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        super().__init__(total)
        self._bars: Bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=Console(file=stream, highlight=False),
            transient=True,
            speed_estimate_period=900.0,  # an epoch may take minutes
        )
        self._tasks: dict[str, TaskID] = {}
        self._shares: dict[str, float] = {}
        self._overall = self._bars.add_task("all cells", total=float(total), detail=f"0/{total}")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    def event(self, key: str, label: str, event: Mapping[str, Any]) -> None:
        """Move the cell's bar."""
        done, total = _extent(event)
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task(label, total=total, detail="")
        self._bars.update(self._tasks[key], completed=done, total=total, detail=_detail(event))
        if event.get("total_epochs") and total:  # the end of a stage is not the end of the cell
            self._shares[key] = min(1.0, done / total)
        self._move_overall()

    def finished(self, key: str, label: str, status: str, seconds: float | None, detail: str = "") -> None:
        """Replace the cell's bar by its line."""
        super().finished(key, label, status, seconds, detail)
        task = self._tasks.pop(key, None)
        if task is not None:
            self._bars.remove_task(task)
        self._shares.pop(key, None)
        self.message(self._line(label, status, seconds, detail))
        self._move_overall()

    def already(self, cells: int) -> None:
        """Move the overall bar."""
        super().already(cells)
        self._move_overall()

    def message(self, text: str) -> None:
        """Print the line above the bars."""
        from rich.text import Text

        self._bars.console.print(Text(text), soft_wrap=True)  # Text: nothing in it is markup

    def _move_overall(self) -> None:
        """Running cells count with the share that they have done, where it is known: the remaining time is then known early."""
        completed = self.finished_cells + sum(self._shares.values())
        self._bars.update(self._overall, completed=completed, detail=f"{self.finished_cells}/{self.total}")


def make_progress(total: int, *, quiet: bool = False, stream: TextIO | None = None) -> Progress:
    """Bars when the stream is a terminal, lines when it is not, nothing when quiet.

    Args:
        total: the number of cells that are to run.
        quiet: show nothing.
        stream: where to write; stderr by default.
    """
    stream = sys.stderr if stream is None else stream
    if quiet or not total:
        return Progress(total)
    return BarProgress(total, stream) if stream.isatty() else PlainProgress(total, stream)


class Preparation:
    """What a person sees while data are downloaded, decoded or embedded: a bar a task on a terminal, else two lines a task.

    A context manager; the object is called with what is going on, how much is done, and of how much (0: unknown).

    Args:
        quiet: show nothing.
        stream: where to write; stderr by default.
    """

    def __init__(self, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._quiet = quiet
        self._bars: Bars | None = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, text: str, done: int, total: int) -> None:
        """Show how far a task is; the text names it."""
        if self._quiet:
            return
        if not self._stream.isatty():
            self._say(text, done, total)
            return
        if self._bars is None:
            self._bars = _preparation_bars(self._stream)
            self._bars.start()
        if text not in self._tasks:
            self._tasks[text] = self._bars.add_task(text, total=total or None)
        self._bars.update(self._tasks[text], completed=done, total=total or None)

    def _say(self, text: str, done: int, total: int) -> None:
        ended = bool(total) and done >= total
        if text not in self._tasks or (ended and not self._tasks[text]):
            self._stream.write(f"{text}: done\n" if ended else f"{text} …\n")
            self._stream.flush()
        self._tasks[text] = ended


def _preparation_bars(stream: TextIO) -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), TaskProgressColumn(), TimeRemainingColumn())
    return Bars(*columns, console=Console(file=stream, highlight=False), transient=True)


def duration(seconds: float) -> str:
    """``8.2 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _extent(event: Mapping[str, Any]) -> tuple[float, float | None]:
    """Epochs done and in all: of the whole run where that is known, else of the current stage."""
    if event.get("total_epochs"):
        return float(event.get("done_epochs") or 0), float(event["total_epochs"])
    if event.get("epochs") and event.get("epoch") is not None:
        return float(event["epoch"]) + 1, float(event["epochs"])
    return 0.0, None


def _detail(event: Mapping[str, Any]) -> str:
    parts = [str(event["stage"])] if event.get("stage") else []
    if event.get("epoch") is not None:
        parts.append(f"epoch {int(event['epoch']) + 1}" + (f"/{event['epochs']}" if event.get("epochs") else ""))
    if isinstance(event.get("loss"), (int, float)):
        parts.append(f"loss {event['loss']:.3g}")
    return "  ".join(parts)
