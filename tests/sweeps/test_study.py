"""One search in a storage: its identity, its order, its budget, and what happens to trials that come to nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import BenchmarkError
from sweeps.plan import OBJECTIVES, FirstSetting, Plan, differences, digest_of
from sweeps.space import Dimension
from sweeps.storage import DRIVER
from sweeps.study import Study
from sweeps.trials import BEYOND, ENQUEUED, RETRY_OF, FinishedTrial

DEFAULT = {"toy.x": 0.5, "toy.kind": "a"}
FIRST = (
    FirstSetting("default", DEFAULT),
    FirstSetting("preset b", {"toy.x": 0.3, "toy.kind": "b"}),
    FirstSetting("preset c", {"toy.x": 0.6, "toy.kind": "a"}),
)
SPACE = (Dimension("toy", "x", 0.0, 1.0), Dimension("toy", "kind", choices=("a", "b")))


def value_of(settings: Mapping[str, Any]) -> float:
    """The best setting is x = 0.8, b."""
    return 0.9 - (settings["toy.x"] - 0.8) ** 2 - 0.1 * (settings["toy.kind"] == "a")


def tell(study: Study, trial: Any, value: float | None = None, seconds: float = 1.0) -> Any:
    """The same value on each seed."""
    score = value_of(study.settings(trial)) if value is None else value
    return study.tell(trial, dict.fromkeys(study.plan.seeds, (score, seconds)), [f"key{trial.number}"])


def play(study: Study, batch: int = 2, rounds: int | None = None) -> list[dict[str, Any]]:
    """Ask and tell to the end of the budget, or some rounds of it."""
    told = []
    while (rounds is None or len(told) < rounds * batch) and (asked := study.ask(batch)):
        told += [study.settings(trial) for trial in asked]
        for trial in asked:
            tell(study, trial)
    return told


def reasons(study: Study) -> list[str]:
    return [trial.reason for trial in study.trials()]


def values(study: Study) -> list[float | None]:
    return [trial.value for trial in study.trials()]


def states(study: Study) -> list[str]:
    return [trial.state.name for trial in study.study.get_trials(deepcopy=False)]


# ------------------------------------------------------------------------------------------------------------- identity


def test_everything_but_the_budget_is_the_identity(plan) -> None:
    base = plan()
    cell = base.cell
    others = [
        plan(trials=99),
        plan(first=()),
        dataclasses.replace(base, cell=dataclasses.replace(cell, seed=7, labels={**cell.labels, "method": "another name"})),
        dataclasses.replace(base, cell=dataclasses.replace(cell, protocol=dataclasses.replace(cell.protocol, name="renamed"))),
    ]
    assert {digest_of(other.identity()) for other in others} == {digest_of(base.identity())}
    different = [
        dataclasses.replace(base, code="other"),
        dataclasses.replace(base, cell=dataclasses.replace(cell, method=dataclasses.replace(cell.method, params={"x": 0.4, "kind": "a"}))),
        dataclasses.replace(base, cell=dataclasses.replace(cell, dataset=dataclasses.replace(cell.dataset, fingerprint="v2"))),
        dataclasses.replace(base, cell=dataclasses.replace(cell, noise=dataclasses.replace(cell.noise, params={"rate": 0.2}))),
        dataclasses.replace(base, cell=dataclasses.replace(cell, protocol=dataclasses.replace(cell.protocol, epochs=7))),
        plan(space=(Dimension("toy", "x", 0.0, 1.0),)),
        plan(space=(Dimension("toy", "x", 0.0, 0.9), SPACE[1])),
        plan(space=(Dimension("toy", "x", 1.0, 1.0), SPACE[1])),
        plan(space=(Dimension("toy", "x", 0.0, 1.0, step=0.1), SPACE[1])),
        plan(space=(SPACE[0], Dimension("toy", "kind", choices=("a", "b", "c")))),
        plan(seeds=(0,)),
        plan(seeds=(0, 2)),
        plan(sampler="random"),
        plan(pruner="wilcoxon"),
        plan(objectives=tuple(OBJECTIVES[1].split(","))),
        plan(sampler_seed=1),
    ]
    digests = [digest_of(one.identity()) for one in (base, *different)]
    assert len(set(digests)) == len(digests) and all(len(digest) == 8 for digest in digests)


def test_the_names_of_what_differs() -> None:
    assert differences({"a": 1, "b": {"c": 1, "d": [1]}}, {"a": 1, "b": {"c": 2, "d": [1, 2]}, "e": None}) == ["b.c", "b.d"]
    assert differences({"a": {"x": 1}}, {"a": 1}) == ["a"] and differences({}, {"z": 1, "y": 1}) == ["y", "z"]
    assert differences({"a": [1], "b": {"c": 0.5}}, {"b": {"c": 0.5}, "a": [1]}) == []
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1}) != digest_of({"a": 1, "b": 3})


def test_another_search_is_another_study_unless_it_is_named(plan, opened) -> None:
    with opened(plan()) as one, opened(plan(sampler="random")) as other:
        assert one.name == f"toy/cells/symmetric:0.4/{one.digest}" and other.name == f"toy/cells/symmetric:0.4/{other.digest}"
        assert one.name != other.name
    with opened(plan(), "mine") as named:
        assert named.name == "mine/toy/cells/symmetric:0.4"
        play(named)
    with opened(plan(trials=8), "mine") as more:
        assert (more.spent(), len(play(more))) == (6, 2)
    changed = dataclasses.replace(plan(seeds=(0, 1, 2)), code="newer")
    with pytest.raises(BenchmarkError) as caught, opened(changed, "mine"):
        pass
    assert str(caught.value) == (
        f"study 'mine/toy/cells/symmetric:0.4' is another search ({named.digest}; this one is {digest_of(changed.identity())}), "
        "it differs in code, seeds; choose another --study, or leave it out"
    )


# ---------------------------------------------------------------------------------------------------------------- order


def test_the_default_is_the_first_and_then_the_presets(plan, opened) -> None:
    with opened(plan(first=FIRST)) as study:
        asked = study.ask(4)
        assert [trial.number for trial in asked] == [0, 1, 2, 3]
        assert [trial.user_attrs["source"] for trial in asked] == ["default", "preset b", "preset c", "search"]
        assert [study.settings(trial) for trial in asked[:3]] == [dict(setting.values) for setting in FIRST]
        assert [study.others(), study.spent()] == [0, 0]
        told = [tell(study, trial) for trial in asked]
    assert [one.source for one in told] == ["default", "preset b", "preset c", "search"]
    assert told[0].params == DEFAULT and told[0].value == pytest.approx(0.71) and told[0].values == {0: told[0].value, 1: told[0].value}
    assert (told[0].seconds, told[0].whole) == (2.0, True)
    with opened(plan(first=FIRST)) as again:  # they are not tried twice
        assert again.trials() == told and again.spent() == 4
        assert [trial.user_attrs["source"] for trial in again.ask(9)] == ["search", "search"]


def test_a_budget_smaller_than_the_first_settings(plan, opened) -> None:
    with opened(plan(first=FIRST, trials=2)) as study:
        assert len(play(study)) == 2 and study.ask(1) == []
    with opened(plan(first=FIRST, trials=4)) as more:
        assert [trial.user_attrs["source"] for trial in more.ask(9)] == ["preset c", "search"]


def test_a_setting_is_told_as_it_is_run(plan, opened) -> None:
    with opened(plan(sampler="random", trials=12)) as study:
        play(study, batch=3)
        for trial, kept in zip(study.trials(), study.study.get_trials(), strict=True):
            assert trial.params == {"toy.x": float(f"{kept.params['toy.x']:.4g}"), "toy.kind": kept.params["toy.kind"]}


BEYOND_IT = FirstSetting("preset far", {"toy.x": 1.75, "toy.kind": "c", "toy.more": 3, "protocol.lr": 0.5})


def test_a_preset_beyond_the_space_is_run_as_it_is_and_told_as_the_nearest(plan, opened) -> None:
    assert BEYOND_IT.point(SPACE) == {"toy.x": 1.0, "toy.kind": "a"} and BEYOND_IT.beyond(SPACE) == dict(BEYOND_IT.values)
    assert (FIRST[1].point(SPACE), FIRST[1].beyond(SPACE)) == (dict(FIRST[1].values), {})
    word = FirstSetting("default", {"toy.x": "auto", "toy.kind": "b"})
    assert (word.point(SPACE), word.beyond(SPACE)) == ({"toy.x": 0.5, "toy.kind": "b"}, {"toy.x": "auto"})

    far = plan(first=(word, BEYOND_IT), trials=4)
    with opened(far) as study:
        asked = study.ask(2)
        assert [trial.params for trial in asked] == [word.point(SPACE), BEYOND_IT.point(SPACE)]
        assert [study.settings(trial) for trial in asked] == [dict(word.values), dict(BEYOND_IT.values)]
        assert [tell(study, trial, 0.7).params for trial in asked] == [dict(word.values), dict(BEYOND_IT.values)]
        assert study.best().params == word.values  # type: ignore[union-attr]
    with opened(far) as again:  # neither is tried twice
        assert [trial.user_attrs.get(BEYOND, {}) for trial in again.ask(2)] == [{}, {}]


def test_a_preset_beyond_the_space_is_put_back_whole(plan, opened) -> None:
    far = plan(first=(FIRST[0], BEYOND_IT), trials=3)
    with opened(far) as study:
        held = study.ask(2)
        study.put_back(held[1:])
    with opened(far) as study:
        default, preset = study.ask(2)
        assert (study.settings(default), study.settings(preset)) == (DEFAULT, dict(BEYOND_IT.values))
        study.put_back([default, preset])
        assert [study.settings(trial) for trial in study.ask(2)] == [DEFAULT, dict(BEYOND_IT.values)]


def test_presets_that_are_near_the_same_point_are_both_tried(plan, opened) -> None:
    first = (FirstSetting("preset a", {"toy.x": 2.0, "toy.kind": "b"}), FirstSetting("preset b", {"toy.x": 3.0, "toy.kind": "b"}))
    with opened(plan(first=first, trials=3)) as study:
        told = play(study)
        assert told[:2] == [dict(setting.values) for setting in first]
        assert [trial.source for trial in study.trials()] == ["preset a", "preset b", "search"]


def test_a_preset_beyond_a_grid_is_no_point_of_it(plan, opened) -> None:
    space = (Dimension("toy", "x", 0.0, 1.0, step=1.0), SPACE[1])
    near = FirstSetting("preset near", {"toy.x": 1.0, "toy.kind": "b"})
    with opened(plan(space=space, sampler="grid", first=(FIRST[0], BEYOND_IT, near), trials=4)) as study:
        assert play(study) == [{"toy.x": x, "toy.kind": kind} for x in (0.0, 1.0) for kind in ("a", "b")]
        assert [trial.source for trial in study.trials()] == ["grid", "grid", "grid", "preset near"]


def test_a_suggestion_is_surplus_to_a_grid(plan, opened) -> None:
    """Another driver may have taken the last point in the moment between looking and asking."""
    space = (Dimension("toy", "x", 0.0, 1.0, step=0.5), SPACE[1])
    with opened(plan(space=space, sampler="grid", trials=30)) as study:
        play(study, rounds=2)
        held = study.ask(2)
        extra = study.study.ask(study._distributions)
        assert study._is_surplus(extra) and not any(study._is_surplus(trial) for trial in held)


def test_a_grid_is_every_point_once(plan, opened) -> None:
    space = (Dimension("toy", "x", 0.0, 1.0, step=0.5), SPACE[1])
    grid = plan(space=space, sampler="grid", trials=30)
    with opened(grid) as study:
        told = play(study, batch=4)
        assert told == [{"toy.x": x, "toy.kind": kind} for x in (0.0, 0.5, 1.0) for kind in ("a", "b")]
        assert [trial.source for trial in study.trials()] == ["grid", "grid", "default", "grid", "grid", "grid"]
        assert study.spent() == 6 and study.best().params == {"toy.x": 1.0, "toy.kind": "b"}  # type: ignore[union-attr]
    with opened(grid) as again:
        assert again.ask(1) == []


# --------------------------------------------------------------------------------------------------------------- budget


def test_a_study_that_holds_more_shows_the_budget_only(plan, opened) -> None:
    with opened(plan(trials=7)) as large:
        for number, trial in enumerate(large.ask(7)):
            tell(large, trial, 0.1 * number, seconds=number)
        assert (large.spent(), large.best().value) == (7, pytest.approx(0.6))  # type: ignore[union-attr]
        every = large.trials()
    with opened(plan(trials=3)) as small:
        assert (small.trials(), small.spent(), small.ask(1)) == (every[:3], 3, [])
        assert small.best() == every[2]
    with opened(plan(trials=9)) as more:
        assert (more.trials(), more.spent(), len(more.ask(9))) == (every, 7, 2)


def test_the_first_of_a_larger_study_are_those_that_were_asked_for_first(plan, opened) -> None:
    """One that was put back has a higher number than those that followed it."""
    with opened(plan(trials=4)) as large:
        default, second, third, fourth = large.ask(4)
        tell(large, third, 0.9)
        tell(large, fourth, 0.95)
        large.put_back([default, second])
        for trial in large.ask(2):
            tell(large, trial, 0.5)
    with opened(plan(trials=2)) as small:
        assert [(trial.source, trial.value) for trial in small.trials()] == [("default", 0.5), ("search", 0.5)]
        assert small.best().source == "default"  # type: ignore[union-attr]


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_round_is_completed_before_the_next(plan, opened, batch: int) -> None:
    with opened(plan(trials=8)) as study:
        for trial in study.ask(1):
            tell(study, trial)
        rest = study.ask(batch)
        assert len(rest) == (batch - 1 or batch)
        for trial in rest:
            tell(study, trial)
        assert len(study.ask(batch)) == batch


def test_rounds_beside_another_driver_are_whole(plan, opened) -> None:
    with opened(plan(trials=8)) as one, opened(plan(trials=8)) as other:
        first, second = one.ask(2)
        tell(one, first)
        assert (one.spent(), one.others(), other.others()) == (1, 0, 1)
        held = other.ask(2)
        assert len(held) == 2  # one would be missing to a round, but the order is no single driver's now
        other.put_back(held)
        tell(one, second)
        assert len(other.ask(2)) == 2


def test_two_drivers_share_a_budget(plan, opened) -> None:
    one_plan = plan(first=FIRST, trials=11)
    with opened(one_plan) as one, opened(one_plan) as two:
        drivers, held = (one, two), []
        for turn in range(20):
            study = drivers[turn % 2]
            held += [(study, trial) for trial in study.ask(1 + turn % 3)]
            if len(held) > 4:
                tell(held[0][0], held[0][1])
                del held[0]
        assert one.others() + two.others() == len(held)
        for study, trial in held:
            tell(study, trial)
        assert (one.ask(1), two.ask(1)) == ([], [])
        assert one.spent() == two.spent() == len(one.trials()) == 11 and one.others() == 0
        assert [trial.source for trial in one.trials()][:3] == ["default", "preset b", "preset c"]
        assert one.trials() == two.trials()


def test_two_drivers_ask_at_the_same_moment(plan, opened) -> None:
    one_plan, counts, started = plan(first=FIRST, trials=9, sampler="random"), [], threading.Barrier(3)

    def drive() -> None:
        started.wait()
        with opened(one_plan) as study:
            counts.append(len(play(study, batch=2)))

    threads = [threading.Thread(target=drive) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with opened(one_plan) as study:
        assert sum(counts) == study.spent() == len(study.trials()) == 9
        assert sorted(trial.source for trial in study.trials()) == ["default", "preset b", "preset c"] + ["search"] * 6
        assert study.ask(1) == []


# ---------------------------------------------------------------------------------------------------------------- ends


def test_what_counts_and_what_does_not(plan, opened) -> None:
    with opened(plan(trials=4)) as study:
        default, second = study.ask(2)
        study.put_back([second, default])
        assert (study.spent(), study.trials()) == (0, [])
        asked = study.ask(2)
        assert [study.settings(trial) for trial in asked] == [study.settings(default), study.settings(second)]
        assert [trial.user_attrs["source"] for trial in asked] == ["default", "search"]
        study.give_up(asked[0], "failed: of itself", 3.5)
        tell(study, asked[1])
        told = study.trials()
        assert (study.spent(), reasons(study), values(study)) == (2, ["failed: of itself", ""], [None, pytest.approx(told[1].value)])
        assert told[0] == FinishedTrial(asked[0].number, "default", DEFAULT, None, 3.5, {}, False, "failed: of itself")
        assert study.best() == told[1] and told[1].whole and len(study.ask(9)) == 2
    with opened(plan(trials=4)) as again:
        assert again.trials() == told


def test_putting_back_what_is_over_does_nothing(plan, opened) -> None:
    with opened(plan(trials=2)) as study:
        trial, other = study.ask(2)
        tell(study, trial)
        study.put_back([trial, other])
        study.put_back([trial, other])
        assert states(study) == ["COMPLETE", "FAIL", "WAITING"]


def test_a_method_that_declines_ends_its_study(plan, opened) -> None:
    with opened(plan()) as study:
        first, second = study.ask(2)
        study.decline(first, "it is too shy")
        study.decline(second, "it is too shy")
        assert (study.ask(5), study.unsupported, study.spent(), study.best()) == ([], "it is too shy", 0, None)
    with opened(plan()) as again:
        assert (again.ask(5), again.unsupported, again.others()) == ([], "it is too shy", 0)
    with opened(plan(sampler="random")) as another:
        assert another.unsupported is None and another.ask(1)


def test_the_best_of_equals_is_the_first(plan, opened) -> None:
    with opened(plan(first=FIRST)) as study:
        assert study.best() is None
        for trial in study.ask(4):
            tell(study, trial, 0.5)
        best = study.best()
        assert best is not None and (best.source, best.number) == ("default", 0)
        for trial in study.ask(1):
            tell(study, trial, 0.6)
        assert study.best().value == 0.6  # type: ignore[union-attr]


@pytest.mark.parametrize("batch", [1, 2])
def test_the_default_is_kept_among_equals_after_a_kill_in_the_first_round(plan, opened, batch: int) -> None:
    with opened(plan(first=FIRST)) as study:
        study.ask(batch)
    with opened(plan(first=FIRST)) as study:
        while asked := study.ask(batch):
            for trial in asked:
                tell(study, trial, 0.5)
        assert study.best().source == "default"  # type: ignore[union-attr]
        assert sorted(trial.source for trial in study.trials()) == ["default", "preset b", "preset c"] + ["search"] * 3


def test_a_trial_that_was_stopped_is_never_the_best(plan, opened) -> None:
    with opened(plan(seeds=(0, 1, 2), trials=3)) as study:
        whole, stopped = study.ask(2)
        study.tell(stopped, {0: (0.9, 1.0)}, ["k"])
        assert study.best() is None
        study.tell(whole, {0: (0.9, 1.0), 1: (0.1, 1.0), 2: (0.2, 1.0)}, ["a", "b", "c"])
        best = study.best()
        assert best is not None and best.number == whole.number and best.value == pytest.approx(0.4)
        assert [(trial.whole, len(trial.values)) for trial in study.trials()] == [(True, 3), (False, 1)]
        assert study.spent() == 2


# ---------------------------------------------------------------------------------------------------------------- again


def test_what_failed_is_tried_again_in_its_place(plan, opened) -> None:
    ends = ("failed: RuntimeError", "diverged: nan", "killed: twice", "timeout: 9 s", "skipped: no", "no score: none")
    with opened(plan(first=(FIRST[0], BEYOND_IT), trials=8)) as study:
        asked = study.ask(8)
        for trial, reason in zip(asked, ends, strict=False):
            study.give_up(trial, reason)
        for trial in asked[6:]:
            tell(study, trial, 0.4)
        before = study.trials()
        assert (study.spent(), study.ask(1)) == (8, [])
        assert study.retry_failed() == 3
        assert study.retry_failed() == 0  # they wait already
        assert study.spent() == 5 and [trial for trial in before if trial not in study.trials()] == [before[0], before[2], before[3]]
    with opened(plan(first=(FIRST[0], BEYOND_IT), trials=8)) as study:
        again = study.ask(9)
        assert [study.settings(trial) for trial in again] == [before[place].params for place in (0, 2, 3)]
        assert [trial.user_attrs["source"] for trial in again] == ["default", "search", "search"]
        assert [trial.user_attrs[RETRY_OF] for trial in again] == [before[place].number for place in (0, 2, 3)]
        for trial in again:
            tell(study, trial, 0.9)
        assert (study.spent(), len(study.trials()), study.ask(1), study.retry_failed()) == (8, 8, [], 0)
        assert sorted(reasons(study)) == sorted([ends[1], *ends[4:], *[""] * 5])
        assert study.best().source == "default"  # type: ignore[union-attr]


def test_what_fails_again_can_be_tried_once_more(plan, opened) -> None:
    with opened(plan(first=(BEYOND_IT,), trials=1)) as study:
        for attempt in range(3):
            (trial,) = study.ask(1)
            assert (study.settings(trial), trial.user_attrs["source"], ENQUEUED in trial.user_attrs) == (
                dict(BEYOND_IT.values), "preset far", True,
            )  # fmt: skip
            study.give_up(trial, f"failed: attempt {attempt}")
            assert (reasons(study), study.ask(1), study.retry_failed()) == ([f"failed: attempt {attempt}"], [], 1)
        (last,) = study.ask(1)
        tell(study, last, 0.5)
        assert (values(study), study.retry_failed()) == ([0.5], 0)


def test_a_second_attempt_survives_a_kill_and_two_drivers(plan, opened) -> None:
    with opened(plan(trials=2)) as study:
        for trial in study.ask(2):
            study.give_up(trial, "failed: of itself")
        study.retry_failed()
        with opened(plan(trials=2)) as other:
            assert other.retry_failed() == 0
            held = [*study.ask(1), *other.ask(1)]
            assert len(held) == 2
            study.put_back(held[:1])
            other.put_back(held[1:])
    with opened(plan(trials=2)) as again:
        assert again.retry_failed() == 0
        asked = again.ask(3)
        assert {again.settings(trial)["toy.x"] for trial in asked} == {study.settings(trial)["toy.x"] for trial in held}
        for trial in asked:
            tell(again, trial, 0.5)
        assert (again.spent(), values(again)) == (2, [0.5, 0.5])


def test_drivers_that_retry_at_the_same_moment_try_once(plan, opened) -> None:
    with opened(plan(trials=2)) as study:
        for trial in study.ask(2):
            study.give_up(trial, "failed: of itself")
        waiting = study._finished()
        study.retry_failed()
        for trial in waiting:  # what another driver has enqueued that looked before
            study.study.enqueue_trial(trial.params, user_attrs={"source": "search", RETRY_OF: trial.number})
        for trial in study.ask(9):
            tell(study, trial, 0.5)
        assert (study.spent(), values(study), study.ask(1)) == (2, [0.5, 0.5], [])


def test_a_retry_keeps_its_place_in_a_smaller_budget(plan, opened) -> None:
    with opened(plan(trials=4)) as study:
        first, *others = study.ask(4)
        study.give_up(first, "killed: twice")
        for trial in others:
            tell(study, trial, 0.5)
    with opened(plan(trials=2)) as small:
        assert small.retry_failed() == 1
        (again,) = small.ask(2)
        tell(small, again, 0.7)
        assert [(trial.source, trial.value) for trial in small.trials()] == [("default", 0.7), ("search", 0.5)]


def test_a_kill_between_putting_aside_and_enqueueing_loses_nothing_named(plan, opened) -> None:
    from optuna.trial import TrialState

    with opened(plan(first=FIRST, trials=4)) as study:
        for trial in study.ask(2):
            study.study.tell(trial, state=TrialState.FAIL)  # as far as putting back came
    with opened(plan(first=FIRST, trials=4)) as study:
        play(study)
        assert sorted(trial.source for trial in study.trials()) == ["default", "preset b", "preset c", "search"]


# ----------------------------------------------------------------------------------------------------------- objectives


def test_two_objectives(plan, opened) -> None:
    two = plan(objectives=("accuracy", "seconds"), trials=14, first=FIRST)
    with opened(two) as study:
        given_up = study.ask(1)[0]
        study.give_up(given_up, "killed: by a passer-by")
        (dear,), (cheap,) = study.ask(2), study.ask(1)  # the first completes the round
        study.tell(dear, {0: (0.8, 10.0), 1: (0.6, 30.0)}, ["a", "b"])
        tell(study, cheap, 0.5, 1.0)
        assert study.study.get_trials()[1].values == [pytest.approx(0.7), 20.0]  # the mean of its runs
        assert (study.best().value, study.best().seconds) == (pytest.approx(0.7), 40.0)  # type: ignore[union-attr]
        play(study)
        assert (study.spent(), values(study).count(None), reasons(study)) == (14, 1, ["killed: by a passer-by", *[""] * 13])


# --------------------------------------------------------------------------------------------------------------- repeat


def test_one_seed_is_one_search(plan, opened, tmp_path: Path) -> None:
    def suggested(folder: str, **changes: Any) -> list[dict[str, Any]]:
        with opened(plan(trials=16, first=FIRST, **changes), folder=tmp_path / folder) as study:
            return play(study)

    for sampler in ("tpe", "random"):
        first = suggested(f"{sampler}-a", sampler=sampler)
        assert suggested(f"{sampler}-b", sampler=sampler) == first
        assert len({setting["toy.x"] for setting in first}) == 16
        other = suggested(f"{sampler}-c", sampler=sampler, sampler_seed=1)
        assert other[:3] == first[:3] and not [x for x, y in zip(first[3:], other[3:], strict=True) if x["toy.x"] == y["toy.x"]]


def interrupted(plan: Plan, opened: Callable[..., Any], folder: Path, at: int, batch: int) -> list[dict[str, Any]]:
    """A search whose driver is gone in the round after ``at`` trials; of that round it has told the first."""
    with opened(plan, folder=folder) as study:
        told = play(study, batch, at // batch)
        held = study.ask(batch)
        for trial in held[:1] if at % 2 else []:
            tell(study, trial)
            told.append(study.settings(trial))
    with opened(plan, folder=folder) as study:
        return told + play(study, batch)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("at", [2, 3, 12, 13])
def test_a_search_that_was_killed_goes_on_as_one_that_was_not(plan, opened, tmp_path: Path, sampler: str, at: int) -> None:
    one = plan(trials=18, first=FIRST[:2], sampler=sampler)
    with opened(one, folder=tmp_path / "whole") as study:
        expected = play(study)
    assert interrupted(one, opened, tmp_path / "broken", at, 2) == expected


@pytest.mark.parametrize("batch", [1, 2])
def test_a_search_that_was_killed_at_once_tries_the_same(plan, opened, tmp_path: Path, batch: int) -> None:
    """What was under way may come after what waited."""
    one = plan(trials=14, first=FIRST)
    with opened(one, folder=tmp_path / "whole") as study:
        expected = play(study, batch)
    found = interrupted(one, opened, tmp_path / "broken", 0, batch)
    assert sorted(map(str, found)) == sorted(map(str, expected))


@pytest.mark.slow
def test_a_killed_gaussian_process_goes_on(plan, opened, tmp_path: Path) -> None:
    one = plan(trials=14, sampler="gp")
    with opened(one, folder=tmp_path / "whole") as study:
        expected = play(study)
    assert interrupted(one, opened, tmp_path / "broken", 12, 2) == expected
    assert interrupted(one, opened, tmp_path / "half", 11, 2) == expected


def test_a_raised_budget_goes_on_as_if_it_had_been_there(plan, opened, tmp_path: Path) -> None:
    with opened(plan(trials=16), folder=tmp_path / "whole") as study:
        expected = play(study)
    with opened(plan(trials=8), folder=tmp_path / "parts") as study:
        first = play(study)
    with opened(plan(trials=16), folder=tmp_path / "parts") as study:
        assert first + play(study) == expected


# -------------------------------------------------------------------------------------------------------------- pruning


def test_a_clearly_worse_setting_stops_after_some_seeds(plan, opened) -> None:
    seeds = tuple(range(8))
    with opened(plan(seeds=seeds, pruner="wilcoxon", trials=4)) as study:
        draw = random.Random(0)
        base = {seed: 0.6 + 0.2 * draw.random() for seed in seeds}
        stopped = []
        for trial, gain in zip(study.ask(4), (0.0, -0.1, 0.02, 0.0), strict=True):
            scores = {}
            for seed in seeds:
                scores[seed] = (base[seed] + gain + 0.005 * draw.random(), 1.0)
                trial.report(scores[seed][0], step=seed)
                if trial.should_prune():
                    break
            stopped.append(len(scores))
            study.tell(trial, scores, ["k"])
        assert stopped[0] == stopped[2] == 8 and 4 <= stopped[1] < 8
        best = study.best()
        assert best is not None and (best.number, best.whole) == (2, True)
        assert [trial.whole for trial in study.trials()][:3] == [True, False, True]
        assert study.spent() == 4


# --------------------------------------------------------------------------------------------------------------- driver


def test_a_driver_names_its_trials(plan, opened, journal: Path) -> None:
    with opened(plan()) as one, opened(plan()) as two:
        first = one.ask(2)
        assert (one.others(), two.others(), two.revive(), one.revive()) == (0, 2, 0, 0)
        assert len({trial.user_attrs[DRIVER] for trial in first}) == 1
        leases = list(journal.with_name("journal.log.drivers").glob("*/lease.json"))
        assert len(leases) == 2
        for trial in first:
            tell(one, trial)
    with opened(plan()) as three:
        assert (three.others(), three.revive(), three.spent()) == (0, 0, 2)


def test_a_driver_that_ends_leaves_its_trials_to_others(plan, opened) -> None:
    with opened(plan()) as other:
        with opened(plan()) as one:
            held = [one.settings(trial) for trial in one.ask(2)]
            assert other.revive() == 0
        assert (other.others(), other.revive(), other.others()) == (2, 2, 0)
        assert [other.settings(trial) for trial in other.ask(2)] == held


def test_a_driver_that_was_taken_for_dead_breaks_nothing(plan, opened, journal: Path) -> None:
    """It slept for longer than a lease lives; another has put its trials back."""
    with opened(plan()) as sleeper, opened(plan()) as other:
        first, second = sleeper.ask(2)
        os.utime(journal.with_name("journal.log.drivers") / first.user_attrs[DRIVER] / "lease.json", (0, 0))
        assert other.revive() == 2
        (again,) = other.ask(1)
        assert other.settings(again) == sleeper.settings(first)
        with contextlib.suppress(BenchmarkError):  # at most: no error of the storage's
            tell(sleeper, first)
        with contextlib.suppress(BenchmarkError):
            sleeper.give_up(second, "failed: late")
        sleeper.put_back([first, second])
        tell(other, again)
        assert (other.spent(), len(other.trials())) == (1, 1)
        play(other)
        assert other.spent() == 6
