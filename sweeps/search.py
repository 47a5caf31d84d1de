"""The rounds of a search: every study asks for a few settings, their runs are done together, and the values are told in order.

A round is asked for whole before anything of it runs, and told in the order in which it was asked for. What a search suggests therefore
does not depend on which run ends first, nor on how many run at a time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError
from benchmark.grammar import Setting
from benchmark.params import resolve
from benchmark.resolve import label, resolve_plugin
from benchmark.spec import SWEEP, RunSpec, TrainingProtocol
from benchmark.tasks import TASKS
from sweeps.plan import DEFAULT
from sweeps.space import PROTOCOL
from sweeps.study import Study
from sweeps.trials import SOURCE, SUGGESTED, FinishedTrial

if TYPE_CHECKING:
    from optuna.trial import Trial

    from benchmark.driver import CampaignResult
    from benchmark.registry import Registry
    from benchmark.store import RunStore

__all__ = ["Candidate", "Interrupted", "Runner", "search", "setting_of"]

Runner = Callable[[Sequence[RunSpec]], "CampaignResult"]
"""Runs cells, or takes what is there of them, and says how each ended."""

logger = logging.getLogger(__name__)

POLL_S = 2.0


class Interrupted(Exception):  # noqa: N818 - the user's wish, not an error
    """Ctrl-C: what was under way has been put back."""


@dataclass(frozen=True)
class Candidate:
    """A study with what turns its settings into runs.

    Attributes:
        setting: the method as it was written.
        task: of its data.
    """

    study: Study
    setting: Setting
    task: str

    def specs(self, registry: Registry, data_root: Path, values: Mapping[str, Any], seeds: Sequence[int], **labels: str) -> list[RunSpec]:
        """The runs of one setting; ``labels`` are added to theirs."""
        return setting_of(self.study.plan.cell, self.setting, registry, data_root, values, seeds, **labels)


def setting_of(
    cell: RunSpec, setting: Setting, registry: Registry, data_root: Path, values: Mapping[str, Any], seeds: Sequence[int], **labels: str
) -> list[RunSpec]:
    """A cell with other values, on some seeds.

    Args:
        cell: the method at its default on the data with the noise.
        setting: the method as it was written.
        values: ``owner.name`` → value, of the method and of the protocol.
        labels: added to the runs' own; no part of their identity.

    Raises:
        BenchmarkError: values that the method or the protocol refuses.
    """
    of_protocol = {key.removeprefix(f"{PROTOCOL}."): value for key, value in values.items() if key.startswith(f"{PROTOCOL}.")}
    own = dict(cell.method.params)
    own |= {key.removeprefix(f"{setting.name}."): value for key, value in values.items() if not key.startswith(f"{PROTOCOL}.")}
    method = resolve_plugin(registry, "method", Setting(setting.name), {setting.name: own}, data_root)
    protocol = resolve(TrainingProtocol, {**dataclasses.asdict(cell.protocol), **of_protocol}, PROTOCOL)
    named = {**cell.labels, "method": label(registry, "method", method), **labels}
    return [dataclasses.replace(cell, method=method, protocol=protocol, seed=seed, labels=named) for seed in seeds]


def search(
    candidates: Sequence[Candidate],
    registry: Registry,
    data_root: Path,
    run: Runner,
    batch: int,
    on_trial: Callable[[Study, FinishedTrial | None, str], None],
    on_wait: Callable[[int], None] = lambda trials: None,
    poll_s: float = POLL_S,
) -> None:
    """Spend the budget of every study.

    Args:
        candidates: the studies; each gets as many trials as the others.
        run: runs cells.
        batch: settings that a study asks for in one round.
        on_trial: called after each trial with its study, the trial if it has a value, and else why not.
        on_wait: called with the number of trials that other drivers run, when nothing else is left.
        poll_s: seconds between two looks at those.

    Raises:
        Interrupted: Ctrl-C; the trials under way wait for the next time.
        BenchmarkError: a run failed for a reason outside it (a full disk); likewise.
    """
    for candidate in candidates:
        candidate.study.revive()
    waited_for = 0
    while True:
        with _put_back_unless_told() as asked:
            for candidate in candidates:
                asked += [(candidate, trial) for trial in candidate.study.ask(batch)]
            began = bool(asked)
            if began:
                _Round(asked, registry, data_root, run, on_trial).play()
        if not began:
            open_studies = [candidate.study for candidate in candidates if candidate.study.spent() < candidate.study.plan.trials]
            others = sum(study.others() for study in open_studies)
            if not others:
                return
            if others != waited_for:
                on_wait(others)
                waited_for = others
            time.sleep(poll_s)
            for candidate in candidates:
                candidate.study.revive()


Asked = tuple[Candidate, "Trial"]


@contextlib.contextmanager
def _put_back_unless_told() -> Iterator[list[Asked]]:
    """The trials of a round; those that are left when something breaks wait to be asked for again."""
    asked: list[Asked] = []
    try:
        yield asked
    except BaseException:
        for study in {id(candidate.study): candidate.study for candidate, _ in asked}.values():
            try:
                study.put_back([trial for candidate, trial in asked if candidate.study is study])
            except Exception as error:  # what broke first is what matters; the next driver finds the trials dead
                logger.warning("trials of %s could not be put back: %s", study.name, type(error).__name__)
        raise


class _Round:
    """The runs of some trials, and what their ends mean."""

    def __init__(
        self,
        asked: list[Asked],
        registry: Registry,
        data_root: Path,
        run: Runner,
        on_trial: Callable[[Study, FinishedTrial | None, str], None],
    ) -> None:
        self.asked, self.registry, self.data_root, self.run, self.on_trial = asked, registry, data_root, run, on_trial
        self.scores: dict[int, dict[int, tuple[float, float]]] = {id(trial): {} for _, trial in asked}
        self.keys: dict[int, list[str]] = {id(trial): [] for _, trial in asked}
        self.seconds: dict[int, float] = {id(trial): 0.0 for _, trial in asked}
        self.ended: dict[int, tuple[str, str]] = {}

    def play(self) -> None:
        """Run, judge and tell; trials leave ``asked`` as they are told."""
        one_by_one = any(candidate.study.plan.pruner != "none" for candidate, _ in self.asked)
        steps = max(len(candidate.study.plan.seeds) for candidate, _ in self.asked) if one_by_one else 1
        for step in range(steps):
            self._run([(candidate, trial) for candidate, trial in self.asked if id(trial) not in self.ended], step if one_by_one else None)
        while self.asked:
            candidate, trial = self.asked[0]
            told, reason = self._tell(candidate, trial)
            self.asked.pop(0)
            self.on_trial(candidate.study, told, reason)

    def _run(self, live: Sequence[Asked], step: int | None) -> None:
        cells: dict[str, RunSpec] = {}
        whose: dict[int, list[str]] = {}
        for candidate, trial in live:
            seeds = candidate.study.plan.seeds if step is None else candidate.study.plan.seeds[step : step + 1]
            marks = {SWEEP: candidate.study.digest} if trial.user_attrs[SOURCE] in SUGGESTED else {}  # the others have names of their own
            try:
                specs = candidate.specs(self.registry, self.data_root, candidate.study.settings(trial), seeds, **marks)
            except BenchmarkError as error:  # two values that do not go together
                self.ended[id(trial)] = ("failed", str(error))
                continue
            whose[id(trial)] = [spec.key() for spec in specs]
            cells |= {spec.key(): spec for spec in specs}
        result = self.run(list(cells.values()))
        if result.interrupted:
            raise Interrupted
        for candidate, trial in live:
            if id(trial) in whose:
                self._judge(candidate, trial, whose[id(trial)], cells, result)

    def _judge(self, candidate: Candidate, trial: Trial, keys: Sequence[str], cells: Mapping[str, RunSpec], result: CampaignResult) -> None:
        self.keys[id(trial)] += keys
        for key in keys:
            outcome = result.outcomes[key]
            if outcome.status == "failed" and result.plan.store.error(key) is None:
                raise BenchmarkError(f"the search stopped: {outcome.message}; its trials wait, give the same command again")
            score, seconds = _score(result.plan.store, key, candidate.task)
            self.seconds[id(trial)] += seconds or outcome.seconds
            if outcome.status != "done":
                self.ended.setdefault(id(trial), (outcome.status, outcome.message))
            elif score is None:
                self.ended.setdefault(id(trial), ("no score", f"run {key} has no {TASKS[candidate.task].headline} on the validation part"))
            else:
                self.scores[id(trial)][cells[key].seed] = (score, seconds)
        if id(trial) in self.ended:
            return
        if candidate.study.plan.pruner != "none":
            seed = cells[keys[0]].seed
            stop = candidate.study.should_stop(trial, seed, self.scores[id(trial)][seed][0])
            if stop and len(self.scores[id(trial)]) < len(candidate.study.plan.seeds):
                self.ended[id(trial)] = ("pruned", "")

    def _tell(self, candidate: Candidate, trial: Trial) -> tuple[FinishedTrial | None, str]:
        status, message = self.ended.get(id(trial), ("done", ""))
        if status in ("done", "pruned"):
            return candidate.study.tell(trial, self.scores[id(trial)], self.keys[id(trial)]), ""
        if status == "skipped" and (trial.user_attrs[SOURCE] == DEFAULT or candidate.study.unsupported is not None):
            candidate.study.decline(trial, message)
        else:
            candidate.study.give_up(trial, f"{status}: {message}", self.seconds[id(trial)])
        return None, f"{status}: {message}"


def _score(store: RunStore, key: str, task: str) -> tuple[float | None, float]:
    """A run's headline metric on the noisy validation part at the epoch chosen there (None if it is not defined), and its seconds."""
    result = store.result(key) or {}
    value = (result.get("metrics") or {}).get("validation", {}).get(TASKS[task].headline)
    seconds = float((result.get("cost") or {}).get("seconds") or 0.0)
    return (float(value) if isinstance(value, (int, float)) else None), seconds
