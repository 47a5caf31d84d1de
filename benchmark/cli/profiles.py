"""``run --profile``: what cannot be profiled, and the table of where the seconds of the runs went."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.cells import count
from benchmark.cli.output import aside, note, write_table
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.driver import CampaignResult, Cell, Plan

Profile = Annotated[bool, typer.Option("--profile", help="Measure where each run's seconds go: a table, and a trace of some steps.")]

_AGAIN = "give an empty folder (--runs DIR), or other --seeds or --epochs"


def check_profile(plan: Plan) -> None:
    """Say which cells have nothing left to be measured; BenchmarkError if that is all of them."""
    finished = len(plan.cells) - len(plan.pending)
    if not plan.pending:
        failed = any(cell.ended == "failed" for cell in plan.cells)
        more = "; --retry-failed runs those that failed" if failed else ""
        raise BenchmarkError(f"--profile measures runs while they go on, and none of the {len(plan.cells)} cells is to run: {_AGAIN}{more}")
    if finished:
        note(
            f"--profile: {count(finished, 'cells')} of {len(plan.cells)} ended before and will not be measured; to have them too, {_AGAIN}"
        )


def print_profiles(campaign: CampaignResult, fmt: str) -> None:
    """One table a data set, and where the traces lie: to stdout below the comparison, or to stderr where that is a document."""
    from benchmark.profiling.summary import FOLDER, PROFILE, TRACE, VIEWERS, mean_column, read_profile, rows_of

    store = campaign.plan.store
    profiles = {}
    for cell in campaign.plan.pending:
        outcome = campaign.outcomes.get(cell.key)
        profile = read_profile(store.folder(cell.key)) if outcome is not None and outcome.status in ("done", "diverged") else None
        if profile is not None:
            profiles[cell.key] = profile
    measured = [cell for cell in campaign.plan.cells if cell.key in profiles]
    without = len(campaign.plan.pending) - len(measured)
    groups: dict[str, dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in measured:
        names = cell.spec.labels or {kind: getattr(cell.spec, kind).name for kind in ("method", "dataset")}
        groups[names["dataset"]][names["method"]].append(cell)
    with contextlib.nullcontext() if fmt == "table" else aside():
        for dataset, methods in groups.items():
            columns = []
            for method, cells in methods.items():
                mirrored = [campaign.tracking_seconds.get(cell.key, 0.0) for cell in cells]
                columns.append(mean_column(method, [profiles[cell.key] for cell in cells], mirrored))
            runs = max(column.runs for column in columns)
            mean = "" if runs == 1 else f", mean of {runs} runs"
            write_table(["part", *(column.method for column in columns)], rows_of(columns), f"\nWhere the time goes on {dataset}{mean}")
    if measured:
        note(f"traces: {store.root}/<run key>/{FOLDER}/{TRACE}, to be opened in {VIEWERS}; stage by stage: {PROFILE} beside them")
    resumed = sum(profile.get("resumed_epochs", 0) > 0 for profile in profiles.values())
    if resumed:
        note(f"{count(resumed, 'cells')} went on from a checkpoint: their profiles are of the last attempt only")
    if without:
        note(f"{count(without, 'cells')} left no profile: they ended before their result, were skipped or are another driver's")
