"""Optuna's trials as this project reads them: which of them count, in which order, and what came of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["FinishedTrial", "counted", "finished_trial", "first_number"]

SOURCE, VALUES, KEYS, PARAMS, BEYOND = "source", "values", "runs", "params", "beyond_the_space"
REASON, SECONDS, STOPPED, ENQUEUED, RETRY_OF, PLACE = "reason", "seconds", "stopped_after", "enqueued", "retry_of", "place"
"""User attributes of a trial."""
SUGGESTED = ("search", "grid")
"""Sources of settings that nobody has named."""


@dataclass(frozen=True)
class FinishedTrial:
    """A trial that has cost its share of the budget.

    Attributes:
        number: Optuna's.
        source: ``default``, ``preset <name>``, ``search`` or ``grid``.
        params: what it set, by ``owner.name``.
        value: mean score; None if no run survived the setting, for the ``reason``.
        seconds: of all its runs.
        values: seed → score.
        whole: whether it was scored on every seed.
    """

    number: int
    source: str
    params: dict[str, Any]
    value: float | None
    seconds: float
    values: dict[int, float]
    whole: bool
    reason: str = ""


def counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that are part of the budget, in the order in which they were first asked for or enqueued.

    One that failed in Optuna's sense was put back, or was one too many; one that was given up and is tried again does not count twice.
    """
    from optuna.trial import TrialState

    part = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    again = {trial.user_attrs[RETRY_OF] for trial in trials if RETRY_OF in trial.user_attrs and trial.state is not TrialState.FAIL}
    return sorted((trial for trial in trials if trial.state in part and trial.number not in again), key=first_number)


def first_number(trial: FrozenTrial) -> int:
    """The number of a trial when it was first asked for, or enqueued; of one that is tried again, that of the one it replaces."""
    history = trial.system_attrs.get("retry_history") or [trial.number]
    return int(trial.user_attrs.get(PLACE, history[0]))


def finished_trial(trial: FrozenTrial, seeds: int) -> FinishedTrial:
    """What came of a finished trial of a search over so many seeds."""
    attrs = trial.user_attrs
    both = {int(seed): pair for seed, pair in attrs.get(VALUES, {}).items()}
    scores = {seed: float(pair[0]) for seed, pair in both.items()}
    return FinishedTrial(
        number=trial.number,
        source=str(attrs.get(SOURCE, "search")),
        params=dict(attrs.get(PARAMS, {})),
        value=statistics.fmean(scores.values()) if scores else None,
        seconds=float(attrs.get(SECONDS, 0.0)),
        values=scores,
        whole=len(scores) == seeds,
        reason=str(attrs.get(REASON, "")),
    )
