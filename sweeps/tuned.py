"""What tuning was worth: the best setting of each search beside the default, both on seeds that the search has not seen."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.spec import RunSpec
from benchmark.store import RunStore
from benchmark.tasks import TASKS
from sweeps.plan import DEFAULT
from sweeps.search import Candidate
from sweeps.space import Dimension
from sweeps.trials import FinishedTrial

__all__ = ["CONFIDENCE", "Found", "Interval", "Sides", "Tuned", "interval", "tuned_of"]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """Mean over ``n`` seeds, sample sd (None of one), and Student's 95 % interval of the mean (None of one)."""

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    n: int

    @property
    def half(self) -> float | None:
        """Half of the interval's width."""
        return None if self.high is None else self.high - self.mean


def interval(values: Sequence[float]) -> Interval | None:
    """Of at least one value; None of none. The seeds share most of their images: this is the scatter of the benchmark, not of new data."""
    if not values:
        return None
    mean, n = statistics.fmean(values), len(values)
    if n == 1:
        return Interval(mean, None, None, None, 1)
    from scipy.stats import t

    sd = statistics.stdev(values)
    half = float(t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * sd / math.sqrt(n)
    return Interval(mean, sd, mean - half, mean + half, n)


@dataclass(frozen=True)
class Sides:
    """One metric of both settings: seed → value. ``difference`` is tuned minus default, paired by seed."""

    default: Mapping[int, float]
    tuned: Mapping[int, float]

    @property
    def difference(self) -> Interval | None:
        """None without a seed that both have."""
        shared = sorted(self.default.keys() & self.tuned.keys())
        return interval([self.tuned[seed] - self.default[seed] for seed in shared])


@dataclass(frozen=True)
class Tuned:
    """One search and its end.

    Attributes:
        method, dataset, noise, protocol: for people.
        plugin: the method's name. task: of its data.
        study, digest: in the storage.
        objectives, sampler, search_seeds, space, budget: of the search.
        trials: that have cost their share of the budget, in their order.
        reason: why the method cannot work on these data.
        best: on the noisy validation part; None if no trial has a value.
        command: the words of ``run`` that repeat the best setting.
        seeds: fresh ones. metrics: key → both settings on them. keys: of their runs.
        oracle: the truths that runs of the method were told.
    """

    method: str
    plugin: str
    dataset: str
    noise: str
    protocol: str
    task: str
    study: str
    digest: str
    objectives: tuple[str, ...]
    sampler: str
    search_seeds: tuple[int, ...]
    space: tuple[Dimension, ...]
    budget: int
    trials: tuple[FinishedTrial, ...]
    reason: str | None
    best: FinishedTrial | None
    command: str
    seeds: tuple[int, ...]
    metrics: Mapping[str, Sides]
    keys: Mapping[str, tuple[str, ...]]
    oracle: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The metric that is tuned and compared."""
        return TASKS[self.task].headline

    @property
    def is_default(self) -> bool:
        """Whether the search has found nothing better than the default."""
        return self.best is not None and self.best.source == DEFAULT

    @property
    def scored(self) -> list[FinishedTrial]:
        """The trials that have a value."""
        return [trial for trial in self.trials if trial.value is not None]

    @property
    def given_up(self) -> list[FinishedTrial]:
        """The trials whose setting no run survived."""
        return [trial for trial in self.trials if trial.value is None]

    @property
    def search_seconds(self) -> float:
        """Worker seconds of all trials, of those that were given up too."""
        return sum(trial.seconds for trial in self.trials)


@dataclass(frozen=True)
class Found:
    """What a search had come to when its best setting was run on fresh seeds; other drivers may go on with it."""

    candidate: Candidate
    trials: tuple[FinishedTrial, ...]
    best: FinishedTrial | None
    reason: str | None

    @classmethod
    def of(cls, candidate: Candidate) -> Found:
        """As it is now."""
        study = candidate.study
        return cls(candidate, tuple(study.trials()), study.best(), study.unsupported)


def tuned_of(
    found: Found, store: RunStore, default: Sequence[RunSpec], tuned: Sequence[RunSpec], seeds: Sequence[int], command: str
) -> Tuned:
    """Put together what a search has come to.

    Args:
        found: when the fresh runs began.
        store: of the runs.
        default, tuned: the runs on fresh seeds.
        seeds: those seeds.
        command: the words that repeat the best setting.
    """
    study, cell, task = found.candidate.study, found.candidate.study.plan.cell, found.candidate.task
    results = {spec.key(): store.result(spec.key()) or {} for spec in (*default, *tuned)}
    keys = [f"{group}/{TASKS[task].headline}" for group in ("selected", "last")]
    return Tuned(
        method=cell.labels["method"],
        plugin=cell.method.name,
        dataset=cell.labels["dataset"],
        noise=cell.labels["noise"],
        protocol=cell.protocol.name,
        task=task,
        study=study.name,
        digest=study.digest,
        objectives=study.plan.objectives,
        sampler=study.plan.sampler,
        search_seeds=study.plan.seeds,
        space=study.plan.space,
        budget=study.plan.trials,
        trials=found.trials,
        reason=found.reason,
        best=found.best,
        command=command,
        seeds=tuple(seeds),
        metrics={key: Sides(_values(results, default, key), _values(results, tuned, key)) for key in keys},
        keys={"default": tuple(spec.key() for spec in default), "tuned": tuple(spec.key() for spec in tuned)},
        oracle=tuple(sorted({str(truth) for result in results.values() for truth in result.get("oracle") or ()})),
    )


def _values(results: Mapping[str, Mapping[str, Any]], specs: Sequence[RunSpec], key: str) -> dict[int, float]:
    group, _, name = key.partition("/")
    found: dict[int, float] = {}
    for spec in specs:
        value = (results[spec.key()].get("metrics") or {}).get(group, {}).get(name)
        if isinstance(value, (int, float)):
            found[spec.seed] = float(value)
    return found
