"""The display, the mirror and the engine of a search: they stay on between its rounds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cli import campaign as camp
from benchmark.cli import cells as grids
from benchmark.progress import Progress

if TYPE_CHECKING:
    from benchmark.driver import CampaignResult
    from benchmark.registry import Registry
    from benchmark.spec import RunSpec
    from sweeps.study import Study
    from sweeps.trials import FinishedTrial


class Session:
    """One engine, one mirror and one display for all rounds of a command."""

    def __init__(self, registry: Registry, conditions: camp.Conditions, engine: Any, tracker: Any, progress: Any, told: set[str]) -> None:
        self._registry, self._conditions, self._told = registry, conditions, told
        self._costs = camp.folder_costs(conditions)
        self._engine, self._tracker, self._progress = engine, tracker, progress

    def run(self, specs: Sequence[RunSpec]) -> CampaignResult:
        """Run what is missing of these cells."""
        from benchmark import driver

        plan = camp.make_plan(self._registry, specs, self._conditions, self._told, self._costs)
        self._progress.already(len(plan.cells) - len(plan.pending))
        return driver.execute(plan, self._engine, _Kept(self._tracker), _Shown(self._progress))

    def on_trial(self, study: Study, trial: FinishedTrial | None, reason: str) -> None:
        """One line a trial."""
        if self._conditions.quiet:
            return
        spent, best = study.spent(), study.best()
        if trial is None:
            said = reason
        else:
            name = "" if trial.source == "search" else f" ({trial.source})"
            stopped = "" if trial.whole else f", stopped after {len(trial.values)} seeds"
            said = f"{_percent(trial.value)}{name}{stopped}" + (f", best {_percent(best.value)}" if best is not None else "")
        self._progress.message(f"{study.plan.label}  trial {spent}/{study.plan.trials}: {said}")

    def on_wait(self, trials: int) -> None:
        """Other drivers work on the same studies."""
        self._progress.message(f"waiting for {grids.count(trials, 'trials')} that other drivers run")


@contextlib.contextmanager
def session(registry: Registry, conditions: camp.Conditions, cells: int, told: set[str]) -> Iterator[Session]:
    """All that runs cells and shows them, for one command.

    Args:
        cells: at most so many.
        told: the warnings that were printed; see :func:`benchmark.cli.output.warnings_shown`.
    """
    from benchmark.progress import make_progress
    from benchmark.tracking import make_tracker

    progress = make_progress(cells, quiet=conditions.quiet)
    tracker = make_tracker(not conditions.no_tracking, conditions.tracking_uri, conditions.runs)
    tracker.start("sweep", cells)
    status = "failed"
    with contextlib.closing(camp.engine_for(cells, conditions)) as engine, progress:
        try:
            yield Session(registry, conditions, engine, tracker, progress, told)
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        finally:
            tracker.finish(status)


class _Kept:
    """A tracker that one command starts and finishes, not every round of it."""

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker

    def start(self, command: str, cells: int) -> None:
        """The command has begun already."""

    def mirror(self, folder: Path) -> None:
        """See :class:`benchmark.tracking.Tracker`."""
        self._tracker.mirror(folder)

    def finish(self, status: str) -> None:
        """The command goes on."""


class _Shown(Progress):
    """A display that stays on between rounds."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(progress.total)
        self._progress = progress

    def event(self, key: str, label: str, event: Mapping[str, Any]) -> None:
        """See :class:`~benchmark.progress.Progress`; so are the others."""
        self._progress.event(key, label, event)

    def finished(self, key: str, label: str, status: str, seconds: float | None, detail: str = "") -> None:
        """A cell has ended."""
        self._progress.finished(key, label, status, seconds, detail)

    def message(self, text: str) -> None:
        """A line."""
        self._progress.message(text)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.1f}"
