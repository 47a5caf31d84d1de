"""Rounds without training: a runner that knows how each run ends."""

from __future__ import annotations

import dataclasses
import logging
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
from sweeps.plan import FirstSetting, Plan
from sweeps.search import Candidate, Interrupted, search, setting_of
from sweeps.space import Dimension
from sweeps.storage import Drivers, open_storage, quiet
from sweeps.study import Study
from sweeps.tuned import Found, tuned_of

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


def reasons(study: Study) -> list[str]:
    """Of the trials that were given up."""
    return [trial.reason for trial in study.trials() if trial.value is None]


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
    told = [trial.params["toy.x"] for trial in tpe.trials()]
    assert [x for name, x, _ in heard if name == "tpe"] == told
    first = tpe.trials()[0]
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
    assert one.trials() == other.trials()


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
    assert (study.spent(), len(study.trials()), len(reasons(study))) == (6, 6, 3)
    assert study.best() is not None and study.trials()[0].source == "default"
    assert [trial.seconds for trial in study.trials()] == [5.0, 2.0, 5.0, 2.0, 5.0, 5.0]  # 1 s a run where no result says 2 s and 3 s
    assert [trial.reason for trial in study.trials()] == [
        "", "failed: RuntimeError: no luck", "diverged: the loss is nan", "killed: SIGKILL twice", "", "",
    ]  # fmt: skip


def test_one_bad_seed_spoils_a_setting(plan, go, tmp_path: Path) -> None:
    (study,) = go(Runner(tmp_path, lambda spec: ("timeout", "took 9 s") if spec.seed == 1 else None), plan(trials=3))
    assert ([trial.value for trial in study.trials()], study.best(), study.spent()) == ([None] * 3, None, 3)
    assert reasons(study) == ["timeout: took 9 s"] * 3
    assert all(trial.seconds == 3.0 and trial.values == {} for trial in study.trials())  # 2 s of the good seed, 1 s of the other


def test_values_that_do_not_go_together(plan, go, tmp_path: Path) -> None:
    first = (FirstSetting("default", DEFAULT), FirstSetting("preset bad", {"toy.x": 1.0, "toy.kind": "b"}))
    (study,) = go(runner := Runner(tmp_path), plan(trials=3, first=first))
    assert reasons(study) == ["failed: toy: b bears no x above 0.99"]
    assert (study.spent(), sum(trial.whole for trial in study.trials())) == (3, 2)
    assert all(spec.method.params["x"] != 1.0 for call in runner.calls for spec in call)


def test_a_method_that_declines(plan, go, tmp_path: Path) -> None:
    def ends(spec: RunSpec) -> tuple[str, str] | None:
        return ("skipped", "it is too shy") if spec.protocol.epochs == 7 else None

    shy = plan(trials=4)
    shy = dataclasses.replace(shy, cell=dataclasses.replace(shy.cell, protocol=dataclasses.replace(shy.cell.protocol, epochs=7)))
    runner = Runner(tmp_path, ends)
    declined, other = go(runner, shy, plan(trials=4))
    assert (declined.unsupported, declined.best()) == ("it is too shy", None)
    assert reasons(declined) == ["skipped: it is too shy"] * len(declined.trials()) and declined.spent() <= 1  # the default costs nothing
    assert other.spent() == 4
    assert sum(spec.protocol.epochs == 7 for call in runner.calls for spec in call) == 4  # one round, and never again
    go(again := Runner(tmp_path, ends), shy)
    assert again.calls == []


@pytest.mark.parametrize("batch", [1, 2])
def test_another_setting_that_is_skipped_costs_a_trial_only(plan, go, tmp_path: Path, batch: int) -> None:
    first = (FirstSetting("default", DEFAULT), FirstSetting("preset b", {"toy.x": 0.25, "toy.kind": "b"}))

    def ends(spec: RunSpec) -> tuple[str, str] | None:
        return None if spec.method.params["x"] == 0.5 else ("skipped", "not with these data")

    heard: list[Any] = []
    (study,) = go(Runner(tmp_path, ends), plan(trials=5, first=first), batch=batch, heard=heard)
    assert (study.unsupported, study.spent(), study.best().source) == (None, 5, "default")  # type: ignore[union-attr]
    assert reasons(study) == ["skipped: not with these data"] * 4
    assert [reason for _, _, reason in heard] == ["", *["skipped: not with these data"] * 4]
    go(again := Runner(tmp_path, ends), plan(trials=5, first=first), batch=batch)
    assert again.calls == []


def test_a_default_that_is_skipped_ends_its_study_whatever_else_works(plan, go, tmp_path: Path) -> None:
    first = (FirstSetting("default", DEFAULT), FirstSetting("preset b", {"toy.x": 0.25, "toy.kind": "b"}))
    runner = Runner(tmp_path, lambda spec: ("skipped", "too shy") if spec.method.params["x"] == 0.5 else None)
    (study,) = go(runner, plan(trials=6, first=first))
    assert (study.unsupported, study.spent(), study.others()) == ("too shy", 1, 0)  # the preset of the same round was told
    assert len(runner.calls) == 1


def test_a_preset_beyond_the_space_is_run_whole(plan, go, tmp_path: Path) -> None:
    """The sampler is told of the nearest point, the run has the preset's own values, of the method and of the protocol."""
    space = (Dimension("toy", "x", 0.4, 0.6),)
    far = {"toy.x": 0.0625, "toy.kind": "b", "protocol.lr": 0.25}
    first = (FirstSetting("default", {"toy.x": 0.5}), FirstSetting("preset far", far))
    (study,) = go(runner := Runner(tmp_path), plan(trials=4, space=space, first=first))
    specs = [spec for call in runner.calls for spec in call if spec.protocol.lr == 0.25]
    assert [(spec.method.params, spec.seed) for spec in specs] == [({"x": 0.0625, "kind": "b"}, seed) for seed in (0, 1)]
    assert all("sweep" not in spec.labels for spec in specs) and specs[0].labels["method"] == "toy:x=0.0625:kind=b"
    preset = study.trials()[1]
    assert (preset.source, preset.params, preset.values[0]) == ("preset far", far, pytest.approx(quadratic(specs[0])))
    assert study.study.get_trials()[1].params == {"toy.x": 0.4}
    assert [set(trial.params) for trial in study.trials()[2:]] == [{"toy.x"}] * 2
    others = [spec for call in runner.calls for spec in call if spec not in specs]
    assert {(spec.method.params["kind"], spec.protocol.lr) for spec in others} == {("a", study.plan.cell.protocol.lr)}


def test_a_default_beyond_the_space_is_the_default(plan, go, tmp_path: Path) -> None:
    space = (Dimension("toy", "x", 0.6, 0.9), Dimension("toy", "kind", choices=("b", "c")))
    (study,) = go(runner := Runner(tmp_path), plan(trials=1, space=space))
    assert [spec.key() for spec in runner.calls[0]] == [dataclasses.replace(study.plan.cell, seed=seed).key() for seed in (0, 1)]
    assert (study.trials()[0].params, study.study.get_trials()[0].params) == (DEFAULT, {"toy.x": 0.6, "toy.kind": "b"})


def test_a_larger_study_is_searched_no_further(plan, go, tmp_path: Path) -> None:
    (large,) = go(Runner(tmp_path), plan(trials=7))
    (small, other) = go(runner := Runner(tmp_path), plan(trials=4), plan(trials=4, sampler="random"))
    assert small.trials() == large.trials()[:4] and (small.spent(), other.spent()) == (4, 4)
    assert small.best() == max(large.trials()[:4], key=lambda trial: trial.value or 0.0)
    assert all(spec.labels.get("sweep") in (None, other.digest) for call in runner.calls for spec in call)


def test_what_failed_is_retried_when_asked(plan, go, tmp_path: Path) -> None:
    luck = {"bad": True}
    runner = Runner(tmp_path, lambda spec: ("killed", "SIGKILL twice") if luck["bad"] and spec.method.params["x"] != 0.5 else None)
    (study,) = go(runner, plan(trials=3))
    assert reasons(study) == ["killed: SIGKILL twice"] * 2
    luck["bad"] = False
    (same,) = go(runner, plan(trials=3))
    assert (reasons(same), len(runner.calls)) == (["killed: SIGKILL twice"] * 2, 2)
    lost = {trial.params["toy.x"] for trial in study.trials() if trial.value is None}
    with open_storage(None, tmp_path) as (storage, drivers):
        assert Study(plan(trials=3), storage, drivers).retry_failed() == 2
    (again,) = go(runner, plan(trials=3))
    assert (reasons(again), again.spent(), len(again.trials())) == ([], 3, 3)
    assert {spec.method.params["x"] for call in runner.calls[2:] for spec in call} == lost


# ----------------------------------------------------------------------------------------------------------------- stops


def test_a_full_disk_stops_the_search_and_costs_nothing(plan, go, tmp_path: Path) -> None:
    runner = Runner(tmp_path, lambda spec: ("full disk", "no space left below runs") if len(runner.calls) == 2 and spec.seed == 1 else None)
    with pytest.raises(BenchmarkError) as caught:
        go(runner, plan(trials=6))
    assert str(caught.value) == "the search stopped: no space left below runs; its trials wait, give the same command again"
    (study,) = go(after := Runner(tmp_path), plan(trials=6))
    assert (study.spent(), reasons(study)) == (6, [])
    assert after.settings[0] == runner.settings[1]
    (undisturbed,) = go(Runner(tmp_path / "b"), plan(trials=6), folder=tmp_path / "b")
    assert [trial.params for trial in study.trials()] == [trial.params for trial in undisturbed.trials()]


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
    assert [(study.spent(), reasons(study), study.others()) for study in studies] == [(6, [], 0)] * 2
    assert after.settings[0] == runner.settings[-1]
    expected = go(Runner(tmp_path / "b"), plan(trials=6), plan(trials=6, sampler="random"), folder=tmp_path / "b")
    for study, undisturbed in zip(studies, expected, strict=True):
        assert [(trial.source, trial.params) for trial in study.trials()] == [
            (trial.source, trial.params) for trial in undisturbed.trials()
        ]


def test_a_run_without_a_score_is_given_up(plan, go, tmp_path: Path) -> None:
    class Unscored(Runner):
        def commit(self, spec: RunSpec, status: str) -> None:
            if spec.seed == 0 or spec.method.params["x"] == 0.5:
                super().commit(spec, status)
                return
            key = self.store.register(spec)
            result = {"schema": SCHEMA, "run_key": key, "status": "done", "spec": spec.to_dict(), "metrics": {}, "cost": {"seconds": 9.0}}
            with self.store.lease(key):
                self.store.commit(key, result)

    heard: list[Any] = []
    (study,) = go(runner := Unscored(tmp_path), plan(trials=3), heard=heard)
    (keys,) = [[spec.key() for spec in call if spec.seed == 1] for call in runner.calls[:1]]
    assert reasons(study)[0] == f"no score: run {keys[1]} has no accuracy on the validation part" == heard[1][2]
    assert [(trial.value is None, trial.seconds) for trial in study.trials()] == [(False, 5.0), (True, 11.0), (True, 11.0)]
    assert (study.spent(), study.best().source) == (3, "default")  # type: ignore[union-attr]


def test_what_cannot_be_put_back_is_logged_and_hides_no_error(plan, go, tmp_path: Path, monkeypatch, caplog) -> None:
    def broken(self: Study, trials: Any) -> None:
        raise OSError("the disk has gone too, secretly")

    monkeypatch.setattr(Study, "put_back", lambda self, trials: broken(self, trials) if trials else None)
    runner = Runner(tmp_path, lambda spec: ("full disk", "no space left below runs"))
    with caplog.at_level(logging.WARNING), pytest.raises(BenchmarkError, match="no space left below runs"):
        go(runner, plan(trials=4))
    (line,) = [record.getMessage() for record in caplog.records if record.name == "sweeps.search"]
    assert line.startswith("trials of toy/cells/symmetric:0.4/") and line.endswith(" could not be put back: OSError")
    monkeypatch.undo()
    (study,) = go(Runner(tmp_path), plan(trials=4))  # the driver is gone, and so its trials are free
    assert (study.spent(), reasons(study), study.trials()[0].source) == (4, [], "default")


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
        assert (candidate.study.spent(), len(candidate.study.trials())) == (4, 4)
        assert runner.settings[-1] == [(0.5, 0), (0.5, 1)]


# --------------------------------------------------------------------------------------------------------------- pruning


def test_seeds_one_after_the_other_until_it_is_clear(plan, go, tmp_path: Path) -> None:
    first = (FirstSetting("default", {"toy.x": 0.8, "toy.kind": "b"}), FirstSetting("preset worse", {"toy.x": 0.1, "toy.kind": "a"}))
    pruned = plan(seeds=tuple(range(8)), pruner="wilcoxon", first=first, trials=3)
    runner = Runner(tmp_path)
    (study,) = go(runner, pruned, batch=1)
    default, worse, third = study.trials()
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
    assert [(trial.params, trial.values) for trial in study.trials()] == [(trial.params, trial.values) for trial in undisturbed.trials()]
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
    found = tuned_of(Found.of(candidate), runner.store, default, tuned, [100, 101, 102], "the words")
    sides = found.metrics["selected/accuracy"]
    assert sorted(sides.default) == [100, 101] and sorted(sides.tuned) == [100, 101, 102]
    assert sides.default[100] == pytest.approx(quadratic(default[0]) - 0.1)
    assert found.metrics["last/accuracy"].default[100] == pytest.approx(quadratic(default[0]) - 0.2)
    assert sides.difference.n == 2 and sides.difference.sd == pytest.approx(0.0, abs=1e-9)  # type: ignore[union-attr]
    assert found.keys["default"] == tuple(spec.key() for spec in default)
    assert (len(found.trials), found.budget, found.method, found.command, found.headline) == (5, 5, "toy", "the words", "accuracy")
    assert (found.scored, found.given_up, found.oracle, found.best) == (list(found.trials), [], (), best)
    assert found.search_seconds == sum(trial.seconds for trial in found.trials) == 25.0
    assert found.is_default == (best.source == "default")


def test_a_search_that_goes_on_does_not_change_what_was_found(plan, go, registry, tmp_path: Path) -> None:
    (study,) = go(runner := Runner(tmp_path), plan(trials=3))
    candidate = Candidate(study, Setting("toy"), "classification")
    with open_storage(None, tmp_path) as (storage, drivers):
        longer = Study(plan(trials=9), storage, drivers)
        (trial, *_) = longer.ask(9)
        live = Candidate(longer, Setting("toy"), "classification")
        found = Found.of(live)
        longer.tell(trial, {0: (0.99, 1.0), 1: (0.99, 1.0)}, ["k"])
        assert (len(found.trials), longer.spent(), longer.best().value) == (3, 4, 0.99)  # type: ignore[union-attr]
        assert found.best == study.best() and found.trials == tuple(study.trials()) and found.reason is None
        told = tuned_of(found, runner.store, [], [], [100], "")
    assert (told.trials, told.best, told.budget) == (found.trials, found.best, 9)
    assert Found.of(candidate).trials == found.trials


def test_the_truths_that_runs_were_told_are_collected(plan, go, registry, tmp_path: Path) -> None:
    (study,) = go(runner := Runner(tmp_path), plan(trials=1))
    candidate = Candidate(study, Setting("toy"), "classification")
    default, tuned = (candidate.specs(registry, tmp_path, values, [100, 101]) for values in ({}, {"toy.x": 0.75}))
    for spec, truths in zip((*default, *tuned), (["rate"], None, [], ["clean", "rate"]), strict=True):
        key = runner.store.register(spec)
        with runner.store.lease(key):
            said = {} if truths is None else {"oracle": truths}
            runner.store.commit(key, {"schema": SCHEMA, "run_key": key, "status": "done", "spec": spec.to_dict(), "metrics": {}, **said})
    found = tuned_of(Found.of(candidate), runner.store, default, tuned, [100, 101], "")
    assert found.oracle == ("clean", "rate")
    assert tuned_of(Found.of(candidate), runner.store, default[1:], tuned[:1], [100, 101], "").oracle == ()
    assert found.metrics["selected/accuracy"].default == {}
