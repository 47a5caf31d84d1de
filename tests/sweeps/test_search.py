"""Rounds without training: a runner that knows how each run ends."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.driver import CampaignResult
from benchmark.engines.base import Outcome
from benchmark.errors import BenchmarkError
from benchmark.grammar import Setting
from benchmark.registry import Registry
from benchmark.spec import SCHEMA, RunSpec
from benchmark.store import RunStore
from sweeps.search import Candidate, Interrupted, search, setting_of
from sweeps.storage import Drivers, open_storage, quiet
from sweeps.study import Plan, Study
from sweeps.tuned import tuned_of

TOY = '''
"""A toy."""
from dataclasses import dataclass

from benchmark.api import Method, hp, method


@method("toy")
class Toy(Method):
    """Two knobs."""

    @dataclass(frozen=True)
    class Params:
        x: float = hp(0.5, 0.0, 1.0)
        kind: str = hp("a", choices=("a", "b"))

        def __post_init__(self):
            if self.kind == "b" and self.x > 0.99:
                raise ValueError("b bears no x above 0.99")
'''
DEFAULT = {"toy.x": 0.5, "toy.kind": "a"}


def quadratic(spec: RunSpec) -> float:
    """The best setting is x = 0.83, b; a seed adds a little."""
    return 0.9 - (spec.method.params["x"] - 0.83) ** 2 - 0.05 * (spec.method.params["kind"] == "a") + 0.001 * spec.seed


class Runner:
    """Commits a result for every run, unless ``ends`` says how else it ends: (status, message)."""

    def __init__(self, folder: Path, ends: Callable[[RunSpec], tuple[str, str] | None] = lambda spec: None) -> None:
        self.store, self.ends, self.calls = RunStore(folder / "runs"), ends, list[list[RunSpec]]()

    def __call__(self, specs: Sequence[RunSpec]) -> CampaignResult:
        self.calls.append(list(specs))
        plan: Any = SimpleNamespace(store=self.store, cells=())
        result = CampaignResult(plan)
        for spec in specs:
            status, message = self.ends(spec) or ("done", "")
            if status == "ctrl-c":
                result.interrupted = True
                break
            if status in ("done", "skipped", "diverged"):
                self.commit(spec, status)
            elif status == "failed":
                self.store.register(spec)
                with self.store.lease(spec.key()):
                    self.store.fail(spec.key(), RuntimeError(message), "")
            elif status == "full disk":
                status = "failed"
            result.outcomes[spec.key()] = Outcome(spec.key(), status, 1.0, message)  # type: ignore[arg-type]
        return result

    def commit(self, spec: RunSpec, status: str) -> None:
        key = self.store.register(spec)
        if self.store.result(key) is None:
            value = quadratic(spec)
            metrics = {"validation": {"accuracy": value}, "selected": {"accuracy": value - 0.1}, "last": {"accuracy": value - 0.2}}
            result = {"schema": SCHEMA, "run_key": key, "status": status, "spec": spec.to_dict(), "cost": {"seconds": 2.0 + spec.seed}}
            with self.store.lease(key):
                self.store.commit(key, {**result, "metrics": metrics if status == "done" else {}})

    @property
    def settings(self) -> list[list[tuple[float, int]]]:
        """Of each call: (x, seed)."""
        return [[(spec.method.params["x"], spec.seed) for spec in call] for call in self.calls]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    path = tmp_path / "toy.py"
    path.write_text(TOY, encoding="utf-8")
    return Registry([str(path)])


@pytest.fixture
def go(tmp_path: Path, registry: Registry) -> Callable[..., list[Study]]:
    """Searches these plans with a runner, in the journal of ``tmp_path``; ``heard`` gets what each trial came to."""

    def call(runner: Runner, *plans: Plan, batch: int = 2, heard: list[Any] | None = None, folder: Path = tmp_path) -> list[Study]:
        with open_storage(None, folder) as (storage, drivers):
            candidates = [Candidate(Study(plan, storage, drivers), Setting("toy"), "classification") for plan in plans]

            def on_trial(study: Study, trial: Any, reason: str) -> None:
                if heard is not None:
                    heard.append((study.plan.sampler, None if trial is None else trial.params["toy.x"], reason))

            search(candidates, registry, tmp_path, runner, batch, on_trial, poll_s=0.01)
            return [candidate.study for candidate in candidates]

    return call


# ----------------------------------------------------------------------------------------------------------------- runs


def test_the_runs_of_a_setting(cell: RunSpec, registry: Registry, tmp_path: Path) -> None:
    values = {"toy.x": 0.25, "protocol.lr": 0.01}
    made = setting_of(cell, Setting("toy"), registry, tmp_path, values, [3, 4], sweep="abc")
    assert [spec.seed for spec in made] == [3, 4]
    assert made[0].method.params == {"x": 0.25, "kind": "a"}
    assert (made[0].protocol.lr, made[0].protocol.epochs) == (0.01, cell.protocol.epochs)
    assert made[0].labels == {"method": "toy:x=0.25", "dataset": "cells", "noise": "symmetric:0.4", "sweep": "abc"}
    (default,) = setting_of(cell, Setting("toy"), registry, tmp_path, {}, [0])
    assert default.key() == cell.key() and default.labels == cell.labels
    with pytest.raises(BenchmarkError, match=r"toy\.x = 7\.0 is outside"):
        setting_of(cell, Setting("toy"), registry, tmp_path, {"toy.x": 7.0}, [0])


# --------------------------------------------------------------------------------------------------------------- rounds


def test_rounds_and_the_order_of_tells(plan, go, tmp_path: Path) -> None:
    runner, heard = Runner(tmp_path), list[Any]()
    tpe, random = go(runner, plan(trials=5), plan(trials=5, sampler="random", sampler_seed=1), heard=heard)
    assert (tpe.spent(), random.spent(), tpe.others()) == (5, 5, 0)
    calls = runner.settings
    assert [len(call) for call in calls] == [6, 8, 4]  # the default of both is one run; two seeds each
    assert calls[0][:2] == [(0.5, 0), (0.5, 1)]
    assert [name for name, _, _ in heard] == ["tpe"] * 2 + ["random"] * 2 + ["tpe"] * 2 + ["random"] * 2 + ["tpe", "random"]
    told = [trial.params["toy.x"] for trial in tpe.told()]
    assert [x for name, x, _ in heard if name == "tpe"] == told
    first = tpe.told()[0]
    assert first.value == pytest.approx(0.9 - 0.33**2 - 0.05 + 0.0005) and first.seconds == 5.0  # 2 s and 3 s
    assert first.values == {0: pytest.approx(quadratic(runner.calls[0][0])), 1: pytest.approx(quadratic(runner.calls[0][1]))}
    marks = {spec.method.params["x"]: spec.labels.get("sweep") for call in runner.calls for spec in call}
    assert marks.pop(0.5) is None and set(marks.values()) == {tpe.digest, random.digest}

    go(again := Runner(tmp_path), plan(trials=5), plan(trials=5, sampler="random", sampler_seed=1))
    assert again.calls == []
    (more,) = go(again, plan(trials=7))
    assert (more.spent(), [len(call) for call in again.calls]) == (7, [2, 2])  # the round that had one trial, and the next


def test_what_a_search_suggests_does_not_depend_on_the_order_of_ends(plan, go, tmp_path: Path) -> None:
    class Backwards(Runner):
        def __call__(self, specs: Sequence[RunSpec]) -> CampaignResult:
            return super().__call__(list(specs)[::-1])

    (one,) = go(Runner(tmp_path / "a"), plan(trials=14), folder=tmp_path / "a")
    (other,) = go(Backwards(tmp_path / "b"), plan(trials=14), folder=tmp_path / "b")
    assert one.told() == other.told()


def test_a_bad_setting_costs_a_trial(plan, go, tmp_path: Path) -> None:
    def ends(spec: RunSpec) -> tuple[str, str] | None:
        return {0: ("failed", "RuntimeError: no luck"), 1: ("diverged", "the loss is nan"), 2: ("killed", "SIGKILL twice")}.get(
            order.setdefault(spec.method.params["x"], len(order)) - 1
        )

    order: dict[float, int] = {}
    heard: list[Any] = []
    (study,) = go(Runner(tmp_path, ends), plan(trials=6, sampler="random"), heard=heard)
    assert [reason for _, x, reason in heard if x is None] == [
        "failed: RuntimeError: no luck",
        "diverged: the loss is nan",
        "killed: SIGKILL twice",
    ]
    assert (study.spent(), len(study.told()), len(study.reasons())) == (6, 3, 3)
    assert study.best() is not None and study.told()[0].source == "default"


def test_one_bad_seed_spoils_a_setting(plan, go, tmp_path: Path) -> None:
    (study,) = go(Runner(tmp_path, lambda spec: ("timeout", "took 9 s") if spec.seed == 1 else None), plan(trials=3))
    assert (study.told(), study.best(), study.spent()) == ([], None, 3)
    assert set(study.reasons()) == {"timeout: took 9 s"}


def test_values_that_do_not_go_together(plan, go, tmp_path: Path) -> None:
    first = (("default", DEFAULT), ("preset bad", {"toy.x": 1.0, "toy.kind": "b"}))
    (study,) = go(runner := Runner(tmp_path), plan(trials=3, enqueued=first))
    assert study.reasons() == ["failed: toy: b bears no x above 0.99"]
    assert (study.spent(), len(study.told())) == (3, 2)
    assert all(spec.method.params["x"] != 1.0 for call in runner.calls for spec in call)


def test_a_method_that_declines(plan, go, tmp_path: Path) -> None:
    def ends(spec: RunSpec) -> tuple[str, str] | None:
        return ("skipped", "it is too shy") if spec.protocol.epochs == 7 else None

    import dataclasses

    shy = plan(trials=4)
    shy = dataclasses.replace(shy, cell=dataclasses.replace(shy.cell, protocol=dataclasses.replace(shy.cell.protocol, epochs=7)))
    runner = Runner(tmp_path, ends)
    declined, other = go(runner, shy, plan(trials=4))
    assert (declined.unsupported, declined.best(), declined.told()) == ("it is too shy", None, [])
    assert other.spent() == 4
    assert sum(spec.protocol.epochs == 7 for call in runner.calls for spec in call) == 4  # one round, and never again
    go(again := Runner(tmp_path, ends), shy)
    assert again.calls == []


# ----------------------------------------------------------------------------------------------------------------- stops


def test_a_full_disk_stops_the_search_and_costs_nothing(plan, go, tmp_path: Path) -> None:
    runner = Runner(tmp_path, lambda spec: ("full disk", "no space left below runs") if len(runner.calls) == 2 and spec.seed == 1 else None)
    with pytest.raises(BenchmarkError) as caught:
        go(runner, plan(trials=6))
    assert str(caught.value) == "the search stopped: no space left below runs; its trials wait, give the same command again"
    (study,) = go(after := Runner(tmp_path), plan(trials=6))
    assert (study.spent(), study.reasons()) == (6, [])
    assert after.settings[0] == runner.settings[1]
    (undisturbed,) = go(Runner(tmp_path / "b"), plan(trials=6), folder=tmp_path / "b")
    assert [trial.params for trial in study.told()] == [trial.params for trial in undisturbed.told()]


@pytest.mark.parametrize("how", ["interrupted", "KeyboardInterrupt"])
@pytest.mark.parametrize("at", [1, 3])
def test_ctrl_c_puts_trials_back(plan, go, tmp_path: Path, how: str, at: int) -> None:
    def ends(spec: RunSpec) -> tuple[str, str] | None:
        if len(runner.calls) < at or spec.seed == 0:
            return None
        if how == "KeyboardInterrupt":
            raise KeyboardInterrupt
        return "ctrl-c", ""

    runner = Runner(tmp_path, ends)
    with pytest.raises(Interrupted if how == "interrupted" else KeyboardInterrupt):
        go(runner, plan(trials=6), plan(trials=6, sampler="random"))
    after = Runner(tmp_path)
    studies = go(after, plan(trials=6), plan(trials=6, sampler="random"))
    assert [(study.spent(), study.reasons(), study.others()) for study in studies] == [(6, [], 0)] * 2
    assert after.settings[0] == runner.settings[-1]
    expected = go(Runner(tmp_path / "b"), plan(trials=6), plan(trials=6, sampler="random"), folder=tmp_path / "b")
    for study, undisturbed in zip(studies, expected, strict=True):
        assert [(trial.source, trial.params) for trial in study.told()] == [(trial.source, trial.params) for trial in undisturbed.told()]


def test_a_run_without_a_score_is_told(plan, go, tmp_path: Path) -> None:
    class Unscored(Runner):
        def commit(self, spec: RunSpec, status: str) -> None:
            key = self.store.register(spec)
            with self.store.lease(key):
                self.store.commit(key, {"schema": SCHEMA, "run_key": key, "status": "done", "spec": spec.to_dict(), "metrics": {}})

    with pytest.raises(BenchmarkError, match=r"run [0-9a-f]{16} has no accuracy on the validation part; see: python -m benchmark show"):
        go(Unscored(tmp_path), plan(trials=2))


def test_a_driver_waits_for_what_another_runs_and_takes_it_over(plan, opened, registry, tmp_path: Path) -> None:
    waited: list[int] = []
    with open_storage(None, tmp_path) as (storage, drivers):
        candidate = Candidate(Study(plan(trials=4), storage, drivers), Setting("toy"), "classification")
        with opened(plan(trials=4)) as other:
            held = other.ask(2)

            def on_wait(trials: int) -> None:
                waited.append(trials)
                other.put_back(held[:1])
                other.tell(held[1], {0: (0.5, 1.0), 1: (0.5, 1.0)}, ["k"])

            search([candidate], registry, tmp_path, runner := Runner(tmp_path), 2, lambda *said: None, on_wait, poll_s=0.01)
        assert waited == [2]
        assert (candidate.study.spent(), len(candidate.study.told())) == (4, 4)
        assert runner.settings[-1] == [(0.5, 0), (0.5, 1)]


# --------------------------------------------------------------------------------------------------------------- pruning


def test_seeds_one_after_the_other_until_it_is_clear(plan, go, tmp_path: Path) -> None:
    first = (("default", {"toy.x": 0.8, "toy.kind": "b"}), ("preset worse", {"toy.x": 0.1, "toy.kind": "a"}))
    pruned = plan(seeds=tuple(range(8)), pruner="wilcoxon", enqueued=first, trials=3)
    runner = Runner(tmp_path)
    (study,) = go(runner, pruned, batch=1)
    default, worse, third = study.told()
    assert (default.whole, len(default.values), worse.whole, len(worse.values)) == (True, 8, False, 4)  # 1/16 is below 0.1
    assert third.whole == (third.value > default.value - 1e-9) or len(third.values) >= 4
    seeds = [[spec.seed for spec in call] for call in runner.calls if call]
    assert seeds[:12] == [[seed] for seed in (*range(8), *range(4))]
    assert study.best().source in ("default", "search") and study.best().whole  # type: ignore[union-attr]
    assert study.spent() == 3


def test_a_search_that_prunes_goes_on_after_ctrl_c(plan, go, tmp_path: Path, recwarn) -> None:
    pruned = plan(seeds=tuple(range(6)), pruner="wilcoxon", trials=6)
    runner = Runner(tmp_path, lambda spec: ("ctrl-c", "") if len(runner.calls) == 9 else None)
    with pytest.raises(Interrupted):
        go(runner, pruned)
    (study,) = go(Runner(tmp_path), pruned)
    (undisturbed,) = go(Runner(tmp_path / "b"), pruned, folder=tmp_path / "b")
    assert [(trial.params, trial.values) for trial in study.told()] == [(trial.params, trial.values) for trial in undisturbed.told()]
    assert [str(one.message) for one in recwarn if "optuna" in str(one.filename)] == []


# ----------------------------------------------------------------------------------------------------------------- worth


def test_tpe_beats_chance(plan, registry, tmp_path: Path) -> None:
    """How far the best of 20 trials stays below the optimum, over a few seeds; nothing is written."""
    from optuna.storages import InMemoryStorage

    class Nobody(Drivers):
        token = "nobody"

    scores: dict[str, float] = {}

    def run(specs: Sequence[RunSpec]) -> CampaignResult:
        scores.update((spec.key(), quadratic(spec)) for spec in specs)
        store = SimpleNamespace(result=lambda key: {"metrics": {"validation": {"accuracy": scores[key]}}, "cost": {"seconds": 1.0}})
        ended = {spec.key(): Outcome(spec.key(), "done", 1.0) for spec in specs}
        return CampaignResult(SimpleNamespace(store=store, cells=()), ended)  # type: ignore[arg-type]

    def gap(sampler: str, seed: int) -> float:
        with quiet():
            study = Study(plan(trials=20, seeds=(0,), sampler=sampler, sampler_seed=seed), InMemoryStorage(), Nobody())
            search([Candidate(study, Setting("toy"), "classification")], registry, tmp_path, run, 2, lambda *said: None)
        return 0.9 - study.best().value  # type: ignore[union-attr]

    tpe, chance = (statistics.fmean(gap(sampler, seed) for seed in range(6)) for sampler in ("tpe", "random"))
    assert tpe < chance and tpe < 0.01


def test_default_and_tuned_side_by_side(plan, go, registry, tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    (study,) = go(runner, plan(trials=5))
    candidate = Candidate(study, Setting("toy"), "classification")
    best = study.best()
    assert best is not None
    default = candidate.specs(registry, tmp_path, {}, [100, 101, 102])
    tuned = candidate.specs(registry, tmp_path, best.params, [100, 101, 102], tuned="5 trials")
    runner([*default[:2], *tuned])  # one run is missing
    found = tuned_of(candidate, runner.store, default, tuned, [100, 101, 102], "the words")
    sides = found.metrics["selected/accuracy"]
    assert sorted(sides.default) == [100, 101] and sorted(sides.tuned) == [100, 101, 102]
    assert sides.default[100] == pytest.approx(quadratic(default[0]) - 0.1)
    assert found.metrics["last/accuracy"].default[100] == pytest.approx(quadratic(default[0]) - 0.2)
    assert sides.difference.n == 2 and sides.difference.sd == pytest.approx(0.0, abs=1e-9)  # type: ignore[union-attr]
    assert found.keys["default"] == tuple(spec.key() for spec in default)
    assert (found.spent, found.budget, found.method, found.command, found.headline) == (5, 5, "toy", "the words", "accuracy")
    assert found.search_seconds == sum(trial.seconds for trial in found.trials) == 25.0
    assert found.is_default == (best.source == "default")
