"""One method's search on one data set with one noise: asking for settings, telling their values, and never losing count.

Each suggestion is drawn by a sampler that is seeded with what is searched and the number of trials before it: a search that was killed
goes on as one that was not.
"""

from __future__ import annotations

import contextlib
import logging
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError
from benchmark.seeds import derive_seed
from benchmark.spec import canonical_json
from sweeps.plan import DEFAULT, FirstSetting, Plan, differences, digest_of
from sweeps.space import grid_points
from sweeps.storage import DRIVER, Drivers
from sweeps.trials import (
    BEYOND,
    ENQUEUED,
    KEYS,
    PARAMS,
    PLACE,
    REASON,
    RETRY_OF,
    SECONDS,
    SOURCE,
    STOPPED,
    VALUES,
    FinishedTrial,
    counted,
    finished_trial,
    first_number,
)

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

__all__ = ["Study"]

logger = logging.getLogger(__name__)

IDENTITY, UNSUPPORTED = "identity", "unsupported"
"""User attributes of a study."""
WORTH_A_RETRY = ("failed", "killed", "timeout")
"""Ends that need not be the setting's fault."""


class Study:
    """A plan in a storage.

    Args:
        plan: what is searched.
        storage, drivers: from :func:`sweeps.storage.open_storage`.
        name: of the study before its data; None names it by its identity, so that another search is another study.

    Raises:
        BenchmarkError: the study of that name has searched something else.
    """

    def __init__(self, plan: Plan, storage: BaseStorage, drivers: Drivers, name: str | None = None) -> None:
        self.plan, self._storage, self._drivers = plan, storage, drivers
        identity = plan.identity()
        self.digest = digest_of(identity)
        labels = [plan.cell.labels[kind] for kind in ("method", "dataset", "noise")]
        self.name = "/".join([name, *labels] if name else [*labels, self.digest])
        self.study = self._open()
        self._check_identity(identity)
        self._distributions = {dimension.key: dimension.distribution() for dimension in plan.space}
        self._enqueue()

    def _open(self) -> optuna.Study:
        """The study of this name, created if there is none."""
        import optuna

        pruner = _pruner(self.plan.pruner)
        try:
            return optuna.load_study(study_name=self.name, storage=self._storage, pruner=pruner)
        except KeyError:
            directions: Any = ["maximize" if objective == "accuracy" else "minimize" for objective in self.plan.objectives]
            return optuna.create_study(
                storage=self._storage, study_name=self.name, directions=directions, pruner=pruner, load_if_exists=True
            )

    # ------------------------------------------------------------------------------------------------------------ asking

    def ask(self, batch: int) -> list[Trial]:
        """New trials for this driver, within the budget: as many as are missing to a whole round of ``batch``.

        Those that were left by a dead driver come first. A search that was stopped between the trials of a round so ends it first.
        """
        from optuna.trial import TrialState

        asked: list[Trial] = []
        count = batch if self.others() else batch - self.spent() % batch
        while len(asked) < count and self.unsupported is None:
            trials = self.study.get_trials(deepcopy=False)
            taken = len(counted(trials))
            waiting = [trial for trial in trials if trial.state is TrialState.WAITING]
            again = any(RETRY_OF in trial.user_attrs for trial in waiting)
            if (taken >= self.plan.trials and not again) or (self.plan.sampler == "grid" and not waiting):
                break
            self.study.sampler = _sampler(self.plan.sampler, derive_seed("sampler", self.plan.sampler_seed, self.plan.label, taken))
            trial = self.study.ask(self._distributions)
            with self._still_mine(trial):
                if self._is_surplus(trial):
                    self.study.tell(trial, state=TrialState.FAIL)
                    continue
                self._drivers.began(trial._trial_id)  # first: a trial with a driver and without a sign of life would be nobody's
                trial.set_user_attr(DRIVER, self._drivers.token)
                if SOURCE not in trial.user_attrs:
                    trial.set_user_attr(SOURCE, "search")
                trial.set_user_attr(PARAMS, self.settings(trial))
            asked.append(trial)
        return asked

    def settings(self, trial: Trial | FrozenTrial) -> dict[str, Any]:
        """What a trial sets, by ``owner.name``, as it is run: floats with four digits, inside their ranges, unless a preset says more."""
        suggested = {dimension.key: dimension.rounded(trial.params[dimension.key]) for dimension in self.plan.space}
        return {**suggested, **trial.user_attrs.get(BEYOND, {})}

    def _is_surplus(self, trial: Trial) -> bool:
        """Whether drivers that asked, or enqueued, at the same moment have made it one too many: the lower numbers count."""
        place = first_number(self._storage.get_trial(trial._trial_id))
        before = [t for t in counted(self.study.get_trials(deepcopy=False)) if first_number(t) < place]
        attrs = trial.user_attrs
        twice = any(name in attrs and any(t.user_attrs.get(name) == attrs[name] for t in before) for name in (ENQUEUED, RETRY_OF))
        beyond_the_grid = self.plan.sampler == "grid" and ENQUEUED not in attrs
        return twice or beyond_the_grid or len(before) >= self.plan.trials

    # ----------------------------------------------------------------------------------------------------------- telling

    def tell(self, trial: Trial, scores: Mapping[int, tuple[float, float]], keys: Sequence[str]) -> FinishedTrial:
        """A trial's value: the mean of its seeds' scores.

        Args:
            trial: that was asked for.
            scores: seed → (score, seconds).
            keys: of its runs.
        """
        seconds = sum(took for _, took in scores.values())
        every = {"accuracy": statistics.fmean(score for score, _ in scores.values()), "seconds": seconds / len(scores)}
        attributes: dict[str, Any] = {VALUES: {str(seed): list(both) for seed, both in scores.items()}, KEYS: list(keys), SECONDS: seconds}
        if len(scores) < len(self.plan.seeds):
            attributes[STOPPED] = len(scores)
        frozen = self._end(trial, attributes, values=[every[name] for name in self.plan.objectives])
        return finished_trial(frozen, len(self.plan.seeds))

    def should_stop(self, trial: Trial, seed: int, score: float) -> bool:
        """Take the score of one seed of a trial, and say whether the others are not worth it."""
        with self._still_mine(trial):
            trial.report(score, step=seed)
            return trial.should_prune()

    def give_up(self, trial: Trial, reason: str, seconds: float = 0.0) -> None:
        """A setting that no run survives: it has cost a trial. TPE takes it for the worst, a Gaussian process does not see it."""
        from optuna.trial import TrialState

        self._end(trial, {REASON: reason, SECONDS: seconds}, state=TrialState.PRUNED)

    def decline(self, trial: Trial, reason: str) -> None:
        """The method at its default cannot work on these data: the study ends here."""
        from optuna.trial import TrialState

        self.study.set_user_attr(UNSUPPORTED, reason)
        self._end(trial, {}, state=TrialState.FAIL)

    def retry_failed(self) -> int:
        """Let the trials whose runs failed, were killed or took too long be tried again, in their place; returns how many."""
        again = [t for t in self._finished() if str(t.user_attrs.get(REASON, "")).startswith(WORTH_A_RETRY)]
        for trial in again:
            kept = {name: trial.user_attrs[name] for name in (SOURCE, ENQUEUED, BEYOND) if name in trial.user_attrs}
            self.study.enqueue_trial(trial.params, user_attrs={**kept, RETRY_OF: trial.number, PLACE: first_number(trial)})
        return len(again)

    def _end(self, trial: Trial, attributes: Mapping[str, Any], **how: Any) -> FrozenTrial:
        self._drivers.ended(trial._trial_id)
        with self._still_mine(trial):
            for name, value in attributes.items():
                trial.set_user_attr(name, value)
            return self.study.tell(trial, **how)

    @contextlib.contextmanager
    def _still_mine(self, trial: Trial) -> Iterator[None]:
        """Raise BenchmarkError if another driver has taken the trial's driver for dead, and put it back."""
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            yield
        except (UpdateFinishedTrialError, ValueError) as error:
            if not self._storage.get_trial(trial._trial_id).state.is_finished():
                raise
            raise BenchmarkError(
                f"trial {trial.number} of {self.name} was taken over by another driver, because this one gave no sign of life; "
                "its runs are kept, give the same command again"
            ) from error

    def put_back(self, trials: Sequence[Trial | FrozenTrial]) -> None:
        """Trials that were not finished wait to be asked for again, with the same setting; their runs go on where they stopped.

        They come before those that were waiting behind them, so that the search goes on in the order in which it began. While other
        drivers take trials, the order is theirs anyway.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.storages import RetryHeartbeatStaleTrialCallback
        from optuna.trial import TrialState

        again = RetryHeartbeatStaleTrialCallback()
        for trial in trials:
            self._drivers.ended(trial._trial_id)
        left = [found for trial in trials if not (found := self._storage.get_trial(trial._trial_id)).state.is_finished()]
        mine = {trial._trial_id for trial in left}
        if left and all(trial._trial_id in mine for trial in self._running()):
            left += [trial for trial in self.study.get_trials() if trial.state is TrialState.WAITING]
        for trial in sorted(left, key=first_number):
            try:
                if trial.state is TrialState.WAITING and not self._storage.set_trial_state_values(
                    trial._trial_id, state=TrialState.RUNNING
                ):
                    continue  # another driver has just taken it
                failed = self._storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL)
            except UpdateFinishedTrialError:  # another driver was first
                continue
            if failed:
                again(self.study, self._storage.get_trial(trial._trial_id))

    def revive(self) -> int:
        """Put back what dead drivers have left; returns how many trials."""
        running = self._running()
        dead = [t for t in running if self._drivers.is_dead(t, self._storage, self.study._study_id)]
        self.put_back(dead)
        return len(dead)

    # ---------------------------------------------------------------------------------------------------------- looking

    @property
    def unsupported(self) -> str | None:
        """Why the method cannot work on these data, None if it can."""
        return self.study.user_attrs.get(UNSUPPORTED)

    def others(self) -> int:
        """Trials that other drivers run now."""
        return sum(trial.user_attrs.get(DRIVER) != self._drivers.token for trial in self._running())

    def trials(self) -> list[FinishedTrial]:
        """The trials that have cost their share of the budget, in their order. What a larger budget has added is left out."""
        return [finished_trial(trial, len(self.plan.seeds)) for trial in self._finished()]

    def spent(self) -> int:
        """How many they are."""
        return len(self._finished())

    def best(self) -> FinishedTrial | None:
        """The trial with the best score over all seeds; of equals the default, else the first."""
        whole = [trial for trial in self.trials() if trial.whole and trial.value is not None]
        return max(whole, key=lambda trial: (trial.value, trial.source == DEFAULT, -trial.number), default=None)

    # ---------------------------------------------------------------------------------------------------------- private

    def _running(self) -> list[FrozenTrial]:
        from optuna.trial import TrialState

        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state is TrialState.RUNNING]

    def _finished(self) -> list[FrozenTrial]:
        return [trial for trial in counted(self.study.get_trials(deepcopy=False)) if trial.state.is_finished()][: self.plan.trials]

    def _check_identity(self, identity: dict[str, Any]) -> None:
        known = self.study.user_attrs.get(IDENTITY)
        if known is None:
            self.study.set_user_attr(IDENTITY, identity)
        elif canonical_json(known) != canonical_json(identity):
            differs = ", ".join(differences(known, identity)[:4])
            raise BenchmarkError(
                f"study '{self.name}' is another search ({digest_of(known)}; this one is {self.digest}), it differs in {differs}; "
                "choose another --study, or leave it out"
            )

    def _enqueue(self) -> None:
        """Let what comes first wait, unless it does or has been tried. Two drivers may do so at once: :meth:`ask` sees to it."""
        from optuna.trial import TrialState

        first = self.plan.first
        if self.plan.sampler == "grid":
            named = {
                canonical_json(setting.point(self.plan.space)): setting.name for setting in first if not setting.beyond(self.plan.space)
            }
            points = grid_points(self.plan.space, self.plan.trials)
            first = tuple(FirstSetting(named.get(canonical_json(point), "grid"), point) for point in points)
        there = [trial for trial in self.study.get_trials(deepcopy=False) if trial.state is not TrialState.FAIL]
        known = {canonical_json(trial.user_attrs[ENQUEUED]) for trial in there if ENQUEUED in trial.user_attrs}
        for setting in first:
            mark = [setting.name, dict(setting.values)]
            if canonical_json(mark) not in known:
                attributes = {SOURCE: setting.name, ENQUEUED: mark, BEYOND: setting.beyond(self.plan.space)}
                self.study.enqueue_trial(setting.point(self.plan.space), user_attrs=attributes)


def _sampler(name: str, seed: int) -> BaseSampler:
    import optuna

    seed %= 2**32
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed, deterministic_objective=False, warn_independent_sampling=False)
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def _pruner(name: str) -> Any:
    import optuna

    return optuna.pruners.WilcoxonPruner() if name == "wilcoxon" else optuna.pruners.NopPruner()
