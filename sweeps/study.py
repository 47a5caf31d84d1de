"""One method's search on one data set with one noise: asking for settings, telling their values, and never losing count.

Each suggestion is drawn by a sampler that is seeded with what is searched and the number of trials before it: a search that was killed
goes on as one that was not.
"""

from __future__ import annotations

import contextlib
import hashlib
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError
from benchmark.seeds import derive_seed
from benchmark.spec import RunSpec, canonical_json
from sweeps.space import Dimension, grid_points
from sweeps.storage import DRIVER, Drivers

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

__all__ = ["OBJECTIVES", "PRUNERS", "SAMPLERS", "Plan", "Study", "digest_of"]

SAMPLERS = ("tpe", "gp", "random", "grid")
PRUNERS = ("none", "wilcoxon")
OBJECTIVES = ("accuracy", "seconds")
"""``accuracy`` stands for the task's headline metric on the noisy validation part (Dice of masks, AUROC of bags)."""

SOURCE, VALUES, KEYS, PARAMS, REASON, STOPPED, ENQUEUED = "source", "values", "runs", "params", "reason", "stopped_after", "enqueued"
"""User attributes of a trial."""
SUGGESTED = ("search", "grid")
"""Sources of settings that nobody has named."""
IDENTITY, UNSUPPORTED = "identity", "unsupported"
"""User attributes of a study."""


@dataclass(frozen=True)
class Plan:
    """What is searched, and how; all of it but ``trials`` is the study's identity.

    Attributes:
        cell: the method at its default setting on the data with the noise, of any seed.
        code: the hash of the code that runs it.
        space: what varies.
        enqueued: settings that are tried first, with their names: the default, the paper's presets.
        seeds: every trial is the mean over them.
        trials: the budget.
        sampler, pruner, objectives: of :data:`SAMPLERS`, :data:`PRUNERS` and :data:`OBJECTIVES`, the first objective ranks.
        sampler_seed: of the suggestions.
    """

    cell: RunSpec
    code: str
    space: tuple[Dimension, ...]
    enqueued: tuple[tuple[str, Mapping[str, Any]], ...]
    seeds: tuple[int, ...]
    trials: int
    sampler: str = "tpe"
    pruner: str = "none"
    objectives: tuple[str, ...] = ("accuracy",)
    sampler_seed: int = 0

    def identity(self) -> dict[str, Any]:
        """Everything that two searches must share to be one, JSON-serialisable."""
        cell = self.cell.to_dict()
        protocol = {name: value for name, value in cell["protocol"].items() if name != "name"}
        return {
            "method": cell["method"], "dataset": cell["dataset"], "noise": cell["noise"], "protocol": protocol, "code": self.code,
            "space": {dimension.key: dimension.to_dict() for dimension in self.space}, "seeds": list(self.seeds),
            "sampler": self.sampler, "pruner": self.pruner, "objectives": list(self.objectives), "sampler_seed": self.sampler_seed,
        }  # fmt: skip

    @property
    def label(self) -> str:
        """The search in words."""
        return " · ".join(self.cell.labels[kind] for kind in ("method", "dataset", "noise"))


def digest_of(identity: Mapping[str, Any]) -> str:
    """8 hex digits of an identity."""
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class FinishedTrial:
    """A finished trial: ``value`` is what ranks, ``values`` one score a seed, ``seconds`` of all its runs."""

    number: int
    source: str
    params: dict[str, Any]
    value: float
    seconds: float
    values: dict[int, float]
    whole: bool


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
            taken = sum(_counts(trial) for trial in trials)
            waiting = any(trial.state is TrialState.WAITING for trial in trials)
            if taken >= self.plan.trials or (self.plan.sampler == "grid" and not waiting):
                break
            self.study.sampler = _sampler(self.plan.sampler, derive_seed("sampler", self.plan.sampler_seed, self.plan.label, taken))
            trial = self.study.ask(self._distributions)
            if self._is_surplus(trial):
                self.study.tell(trial, state=TrialState.FAIL)
                continue
            trial.set_user_attr(DRIVER, self._drivers.token)
            self._drivers.began(trial._trial_id)
            if SOURCE not in trial.user_attrs:
                trial.set_user_attr(SOURCE, "search")
            trial.set_user_attr(PARAMS, self.settings(trial))
            asked.append(trial)
        return asked

    def settings(self, trial: Trial | FrozenTrial) -> dict[str, Any]:
        """What a trial sets, by ``owner.name``, as it is run: floats with four digits, inside their ranges."""
        return {dimension.key: dimension.rounded(trial.params[dimension.key]) for dimension in self.plan.space}

    def _is_surplus(self, trial: Trial) -> bool:
        """Whether drivers that asked, or enqueued, at the same moment have made it one too many: the lower numbers count."""
        before = [t for t in self.study.get_trials(deepcopy=False) if _counts(t) and t.number < trial.number]
        enqueued = trial.user_attrs.get(ENQUEUED)
        twice = enqueued is not None and any(t.user_attrs.get(ENQUEUED) == enqueued for t in before)
        return twice or len(before) >= self.plan.trials

    # ----------------------------------------------------------------------------------------------------------- telling

    def tell(self, trial: Trial, scores: Mapping[int, tuple[float, float]], keys: Sequence[str]) -> FinishedTrial:
        """A trial's value: the mean of its seeds' scores.

        Args:
            trial: that was asked for.
            scores: seed → (score, seconds).
            keys: of its runs.
        """
        value = statistics.fmean(score for score, _ in scores.values())
        seconds = sum(took for _, took in scores.values())
        every = {"accuracy": value, "seconds": seconds / len(scores)}
        attributes: dict[str, Any] = {VALUES: {str(seed): list(both) for seed, both in scores.items()}, KEYS: list(keys)}
        if len(scores) < len(self.plan.seeds):
            attributes[STOPPED] = len(scores)
        frozen = self._end(trial, attributes, values=[every[name] for name in self.plan.objectives])
        told = _told(frozen, len(self.plan.seeds))
        assert told is not None
        return told

    def should_stop(self, trial: Trial, seed: int, score: float) -> bool:
        """Take the score of one seed of a trial, and say whether the others are not worth it."""
        with self._still_mine(trial):
            trial.report(score, step=seed)
            return trial.should_prune()

    def give_up(self, trial: Trial, reason: str) -> None:
        """A setting that no run survives: it has cost a trial, and the sampler learns that it is bad."""
        from optuna.trial import TrialState

        self._end(trial, {REASON: reason}, state=TrialState.PRUNED)

    def decline(self, trial: Trial, reason: str) -> None:
        """The method cannot work on these data: the study ends here."""
        from optuna.trial import TrialState

        self.study.set_user_attr(UNSUPPORTED, reason)
        self._end(trial, {}, state=TrialState.FAIL)

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
        for trial in sorted(left, key=_first_number):
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

    def told(self) -> list[FinishedTrial]:
        """The finished trials in their order."""
        found = [_told(trial, len(self.plan.seeds)) for trial in self.study.get_trials(deepcopy=False)]
        return [trial for trial in found if trial is not None]

    def spent(self) -> int:
        """Trials that count: finished, or given up."""
        return sum(_counts(trial) and trial.state.is_finished() for trial in self.study.get_trials(deepcopy=False))

    def reasons(self) -> list[str]:
        """Why trials were given up."""
        return [str(t.user_attrs[REASON]) for t in self.study.get_trials(deepcopy=False) if REASON in t.user_attrs]

    def best(self) -> FinishedTrial | None:
        """The finished trial with the best first objective over all seeds; of equals the first, so that a default is kept."""
        whole = [trial for trial in self.told() if trial.whole]
        if not whole:
            return None
        ranked = {"accuracy": lambda trial: trial.value, "seconds": lambda trial: -trial.seconds}[self.plan.objectives[0]]
        return max(whole, key=lambda trial: (ranked(trial), trial.source == "default", -trial.number))

    # ---------------------------------------------------------------------------------------------------------- private

    def _running(self) -> list[FrozenTrial]:
        from optuna.trial import TrialState

        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state is TrialState.RUNNING]

    def _check_identity(self, identity: dict[str, Any]) -> None:
        known = self.study.user_attrs.get(IDENTITY)
        if known is None:
            self.study.set_user_attr(IDENTITY, identity)
        elif canonical_json(known) != canonical_json(identity):
            differs = ", ".join(_differences(known, identity)[:4])
            raise BenchmarkError(
                f"study '{self.name}' is another search ({digest_of(known)}; this one is {self.digest}), it differs in {differs}; "
                "choose another --study, or leave it out"
            )

    def _enqueue(self) -> None:
        first = list(self.plan.enqueued)
        if self.plan.sampler == "grid":
            named = {canonical_json(dict(point)): name for name, point in first}
            points = grid_points(self.plan.space, self.plan.trials)
            first = [(named.get(canonical_json(point), "grid"), point) for point in points]
        known = {canonical_json(trial.user_attrs.get(ENQUEUED)) for trial in self.study.get_trials(deepcopy=False)}
        for name, point in first:
            if canonical_json([name, dict(point)]) not in known:
                self.study.enqueue_trial(dict(point), user_attrs={SOURCE: name, ENQUEUED: [name, dict(point)]}, skip_if_exists=True)


def _counts(trial: FrozenTrial) -> bool:
    """Whether a trial is part of the budget: what failed was put back, or was one too many."""
    from optuna.trial import TrialState

    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


def _first_number(trial: FrozenTrial) -> int:
    """The number of a trial when it was first asked for, or enqueued."""
    history = trial.system_attrs.get("retry_history") or [trial.number]
    return int(history[0])


def _told(trial: FrozenTrial, seeds: int) -> FinishedTrial | None:
    from optuna.trial import TrialState

    if trial.state is not TrialState.COMPLETE or VALUES not in trial.user_attrs:
        return None
    both = {int(seed): pair for seed, pair in trial.user_attrs[VALUES].items()}
    scores = {seed: float(pair[0]) for seed, pair in both.items()}
    seconds = sum(float(pair[1]) for pair in both.values())
    attrs = trial.user_attrs
    return FinishedTrial(
        trial.number,
        str(attrs.get(SOURCE, "search")),
        dict(attrs[PARAMS]),
        statistics.fmean(scores.values()),
        seconds,
        scores,
        len(both) == seeds,
    )


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


def _differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """The dotted names of what differs between two identities."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        names = sorted(old.keys() | new.keys(), key=str)
        return [found for name in names for found in _differences(old.get(name), new.get(name), f"{prefix}{name}.")]
    return [] if old == new else [prefix.rstrip(".")]
