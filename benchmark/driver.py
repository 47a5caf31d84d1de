"""A command's cells from plan to outcome: what is there already, what is to run, and how every cell ended.

Any number of drivers may work on the same folder. A cell that another one holds is waited for, and taken over if that
one dies; a cell that fails never takes others with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmark.clean.design import check_keepable
from benchmark.code_hash import code_hash
from benchmark.cost import Estimate, FolderCosts, wall_seconds
from benchmark.engines.base import Engine, Job, Outcome
from benchmark.errors import BenchmarkError, unknown_name
from benchmark.lease import BusyError
from benchmark.spec import RunSpec, is_trial
from benchmark.store import RunStore, Status

if TYPE_CHECKING:
    from benchmark.progress import Progress
    from benchmark.registry import Registry
    from benchmark.tracking import Tracker

logger = logging.getLogger(__name__)

STALE_POLICIES = ("rerun", "keep", "error")
BAD = ("failed", "diverged", "timeout", "killed")
"""Outcomes that make a campaign a failure; a method that does not support some data is skipped, which is none."""

COMMITTED = ("done", "skipped", "diverged")
"""Outcomes that have a result."""

POLL_S = 2.0


@dataclass(frozen=True)
class Cell:
    """One cell of a command.

    Attributes:
        spec, key: what it is.
        code: the hash of the code that would run it now.
        status: of its folder when the plan was made.
        pending: whether it is to run.
        ended: for a cell that is left as it is, how it ended (``done``, ``skipped``, ``diverged``, ``failed``), else None.
        message: the reason of that end.
        estimate: of its duration, None if it is not to run or nothing like it has run here.
        adopted: it was run as a trial of a search, and this command is the first that asks for it by name.
    """

    spec: RunSpec
    key: str
    code: str
    status: Status
    pending: bool
    ended: str | None = None
    message: str = ""
    estimate: Estimate | None = None
    adopted: bool = False

    @property
    def label(self) -> str:
        """The cell in words."""
        names = self.spec.labels or {kind: getattr(self.spec, kind).name for kind in ("method", "dataset", "noise")}
        return f"{names['method']} {names['dataset']} {names['noise']} seed {self.spec.seed}"


@dataclass(frozen=True)
class Plan:
    """The cells of one command, sorted by what is to be done about them."""

    cells: tuple[Cell, ...]
    store: RunStore

    @property
    def pending(self) -> list[Cell]:
        """The cells to run."""
        return [cell for cell in self.cells if cell.pending]

    @property
    def adopted(self) -> list[Cell]:
        """The cells whose results are there, as trials, and which this command names."""
        return [cell for cell in self.cells if cell.adopted]

    @property
    def counts(self) -> dict[str, int]:
        """Status → number of cells, in the order of :class:`~benchmark.store.Status`; those that occur."""
        found = Counter(cell.status for cell in self.cells)
        return {status.value: found[status] for status in Status if found[status]}

    @property
    def longest_first(self) -> list[Cell]:
        """The cells to run in the order that keeps the slots busy to the end: those that nothing is known of, then by expected duration.

        Among equals their order stays, and no order changes a number.
        """
        return sorted(self.pending, key=lambda cell: -math.inf if cell.estimate is None else -cell.estimate.seconds)

    def wall_seconds(self, slots: int) -> float | None:
        """Expected seconds until those pending cells have run whose like has run in this folder; None if there are none."""
        known = [cell.estimate.seconds for cell in self.pending if cell.estimate is not None]
        return wall_seconds(known, slots) if known else None

    @property
    def unestimated(self) -> int:
        """How many pending cells :meth:`wall_seconds` says nothing about."""
        return sum(cell.estimate is None for cell in self.pending)


@dataclass
class CampaignResult:
    """How every cell ended, by key; cells that were not reached are absent.

    Attributes:
        tracking_seconds: run key → seconds that its mirror took, where runs were profiled.
    """

    plan: Plan
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    interrupted: bool = False
    tracking_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def finished(self) -> int:
        """Cells that have a result: done, skipped or diverged."""
        return sum(outcome.status in COMMITTED for outcome in self.outcomes.values())

    @property
    def bad(self) -> list[tuple[Cell, Outcome]]:
        """Cells that failed, diverged, ran out of time or were killed."""
        ended = [(cell, self.outcomes[cell.key]) for cell in self.plan.cells if cell.key in self.outcomes]
        return [(cell, outcome) for cell, outcome in ended if outcome.status in BAD]

    @property
    def exit_code(self) -> int:
        """130 interrupted, 1 some cell ended badly, else 0."""
        if self.interrupted:
            return 130
        return 1 if self.bad else 0


def plan(
    registry: Registry,
    cells: Iterable[RunSpec],
    store: RunStore,
    stale: str = "rerun",
    retry_failed: bool = False,
    costs: FolderCosts | None = None,
    keep_model: bool = False,
) -> Plan:
    """Look at the folder of every cell and decide which are to run. Writes nothing.

    Args:
        registry: to hash the code of the plugins.
        cells: the specs of the command.
        store: the runs folder.
        stale: ``rerun`` what other code has made, ``keep`` it, or raise an ``error``.
        retry_failed: run failed and diverged cells again, from the start.
        costs: what tells how long the cells will take, for those who plan again and again; None reads all results of the folder.
        keep_model: run finished cells again that have not kept their networks; goes with the workers' option of that name.

    Raises:
        BenchmarkError: an unknown policy, stale cells under ``error``, or networks that cannot be kept.
    """
    if stale not in STALE_POLICIES:
        raise unknown_name("--stale", stale, STALE_POLICIES)
    found = [_cell(spec, registry, store, stale, retry_failed, keep_model) for spec in cells]
    outdated = [cell for cell in found if cell.status is Status.STALE]
    if outdated and stale == "error":
        raise BenchmarkError(
            f"{len(outdated)} of {len(found)} cells were made by other code, e.g. {outdated[0].key} ({outdated[0].label}); "
            "--stale rerun runs them again, --stale keep takes them as they are"
        )
    return Plan(tuple(_with_estimates(found, costs or FolderCosts(store))), store)


def _cell(spec: RunSpec, registry: Registry, store: RunStore, stale: str, retry_failed: bool, keep_model: bool) -> Cell:
    if keep_model:
        check_keepable(spec, registry)
    key, code = spec.key(), code_hash(spec, registry)
    status, result = store.look(key, code)
    if result is not None and (status is Status.DONE or (status is Status.STALE and stale != "rerun")):
        ended, message = str(result.get("status", "done")), str(result.get("reason") or "")
        if (ended == "diverged" and retry_failed) or (keep_model and store.lacks_model(key, result)):
            return Cell(spec, key, code, status, pending=True)
        adopted = not is_trial(spec.to_dict()) and _is_unnamed(store, key, result)
        return Cell(spec, key, code, status, pending=False, ended=ended, message=message, adopted=adopted)
    if status is Status.FAILED and not retry_failed:
        return Cell(spec, key, code, status, pending=False, ended="failed", message=_reason(store, key))
    return Cell(spec, key, code, status, pending=True)


def _is_unnamed(store: RunStore, key: str, result: Mapping[str, Any]) -> bool:
    """Whether a run was a trial, and no command has asked for it by name since: that is what its spec.json says."""
    if not isinstance(spec := result.get("spec"), Mapping) or not is_trial(spec):
        return False
    try:
        return is_trial(store.spec(key).to_dict())
    except BenchmarkError:
        return True


def _reason(store: RunStore, key: str) -> str:
    error = store.error(key) or {}
    kind, message = error.get("type", "error"), error.get("message", "")
    return " ".join((message if kind == BenchmarkError.__name__ else f"{kind}: {message}").split())


def _with_estimates(cells: Sequence[Cell], costs: FolderCosts) -> list[Cell]:
    """Give each pending cell what the finished runs of the folder tell of its duration."""
    if not any(cell.pending for cell in cells):
        return list(cells)
    model = costs.model()
    return [dataclasses.replace(cell, estimate=model.predict(cell.spec.to_dict())) if cell.pending else cell for cell in cells]


def execute(plan: Plan, engine: Engine, tracker: Tracker, progress: Progress, *, poll_s: float = POLL_S) -> CampaignResult:
    """Run what is pending and say how every cell ended.

    Ctrl-C stops the work and returns what there is, with ``interrupted`` set; all else that can go wrong in a cell
    becomes that cell's outcome. Whatever happens, the tracker is told that the command has ended.

    Args:
        plan: from :func:`plan`.
        engine: where the workers run.
        tracker: mirrors each finished run, and each trial that has a name now; it never raises.
        progress: told of events and ends; entered and left here.
        poll_s: seconds between two looks at cells that another driver holds.

    Raises:
        BenchmarkError: the runs folder cannot be written; nothing has run then.
    """
    campaign = _Campaign(plan, engine, tracker, progress)
    for cell in plan.adopted:
        plan.store.register(cell.spec)
    if plan.pending:
        plan.store.check_writable()
    elif not plan.adopted:
        return campaign.result
    tracker.start("run", len(plan.cells))
    status = "failed"
    try:
        for cell in plan.adopted:
            tracker.mirror(plan.store.folder(cell.key))
        if plan.pending:
            _run(campaign, poll_s)
        status = "interrupted" if campaign.result.interrupted else "failed" if campaign.result.bad else "finished"
    finally:
        tracker.finish(status)
    return campaign.result


def _run(campaign: _Campaign, poll_s: float) -> None:
    """Run what is pending, and what other drivers leave; phases that runs share stay unless all has come to its end."""
    plan, progress = campaign.result.plan, campaign.progress
    with progress:
        try:
            waiting = campaign.run(campaign.register(plan.longest_first))
            if waiting:
                progress.message(f"waiting for {len(waiting)} cells that another driver runs")
            while waiting:
                time.sleep(poll_s)
                waiting = campaign.look_at(waiting)
        except KeyboardInterrupt:
            campaign.result.interrupted = True
    if not campaign.result.interrupted:
        plan.store.forget_phases()


class _Campaign:
    """The state of one :func:`execute`."""

    def __init__(self, plan: Plan, engine: Engine, tracker: Tracker, progress: Progress) -> None:
        self.store, self.engine, self.tracker, self.progress = plan.store, engine, tracker, progress
        self.cells = {cell.key: cell for cell in plan.cells}
        kept = {cell.key: Outcome(cell.key, cell.ended, 0.0, cell.message) for cell in plan.cells if cell.ended}  # type: ignore[arg-type]
        self.result = CampaignResult(plan, kept)

    def register(self, cells: Sequence[Cell]) -> list[Cell]:
        """Write the specs and put away what is to be made anew; a cell for which that fails ends here."""
        ready = []
        for cell in cells:
            try:
                if cell.status is Status.DONE:  # diverged, or without its networks; the worker puts away what is stale or failed
                    self.store.archive(cell.key)
                self.store.register(cell.spec)
            except BusyError:
                pass  # another driver has just begun it: the worker finds it busy
            except (BenchmarkError, OSError) as error:
                self.end(Outcome(cell.key, "failed", 0.0, " ".join(str(error).split())))
                continue
            ready.append(cell)
        return ready

    def run(self, cells: Sequence[Cell]) -> list[Cell]:
        """Let the engine work; return the cells that somebody else holds."""
        if not cells:
            return []
        waiting = []
        jobs = [Job(cell.key, cell.label, cell.code, cell.spec.but_for_the_seed()) for cell in cells]
        with contextlib.closing(self.engine.run(jobs, self.on_event)) as outcomes:  # type: ignore[type-var]
            for outcome in outcomes:
                if outcome.status == "busy":
                    waiting.append(self.cells[outcome.key])
                else:
                    self.end(outcome)
        return waiting

    def look_at(self, cells: Sequence[Cell]) -> list[Cell]:
        """Take the results that have come, take over what was left, and return what is still to be waited for."""
        waiting, left = [], []
        for cell in cells:
            status = self.store.status(cell.key, cell.code)
            if status is Status.RUNNING:
                waiting.append(cell)
            elif status is Status.DONE:
                result = self.store.result(cell.key) or {}
                self.end(Outcome(cell.key, result.get("status", "done"), 0.0, str(result.get("reason") or "")))
            elif status is Status.FAILED:
                self.end(Outcome(cell.key, "failed", 0.0, _reason(self.store, cell.key)))
            else:
                left.append(dataclasses.replace(cell, status=status))  # dead: it resumes; stale: it starts anew
        return waiting + self.run(self.register(left))

    def on_event(self, event: dict[str, Any]) -> None:
        """Pass an event on to the one who watches; what a worker process warns of is logged as if it were said here."""
        if event.get("event") == "message":
            logger.warning("%s", event.get("message"))
            return
        cell = self.cells.get(str(event.get("run_key")))
        if cell is not None and event.get("event") in ("start", "epoch"):
            self.progress.event(cell.key, cell.label, event)

    def end(self, outcome: Outcome) -> None:
        """Record, show and mirror the end of one cell."""
        self.result.outcomes[outcome.key] = outcome
        self.progress.finished(outcome.key, self.cells[outcome.key].label, outcome.status, outcome.seconds or None, outcome.message)
        if outcome.status in COMMITTED:
            self.tracker.mirror(self.store.folder(outcome.key))
