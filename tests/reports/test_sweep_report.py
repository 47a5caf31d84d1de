"""Searches on paper: tables, machine formats and pictures of results made by hand."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import BenchmarkError
from reports.machine import csv_text, plain
from reports.sweep_figures import FEWEST_TRIALS, importance, write_figures
from reports.sweep_tables import pareto_trials, render, rich_tables, setting, sheets, trials_csv
from sweeps.space import Dimension
from sweeps.trials import FinishedTrial
from sweeps.tuned import Sides, Tuned

SPACE = (
    Dimension("toy", "beta", 0.0, 1.0),
    Dimension("toy", "kind", choices=("hard", "soft")),
    Dimension("toy", "flag", choices=(False, True)),
    Dimension("protocol", "lr", 1e-4, 1e-2, log=True),
)
DEFAULT = {"toy.beta": 0.5, "toy.kind": "hard", "toy.flag": False, "protocol.lr": 1e-3}
BETTER = {"toy.beta": 0.75, "toy.kind": "soft", "toy.flag": True, "protocol.lr": 0.0025}


def trial(number: int, value: float, params: dict[str, Any] = DEFAULT, source: str = "search", seconds: float = 40.0) -> FinishedTrial:
    """Of two seeds, one a little better."""
    return FinishedTrial(number, source, params, value, seconds, {0: value - 0.01, 1: value + 0.01}, True)


def lost(number: int, reason: str, seconds: float = 8.0) -> FinishedTrial:
    """A setting that no run survived."""
    return FinishedTrial(number, "search", BETTER, None, seconds, {}, False, reason)


def tuned(**changes: Any) -> Tuned:
    """The default has 0.5 and 0.6 on two fresh seeds, the better setting 0.7 and 0.6."""
    trials = (trial(0, 0.6, source="default"), trial(1, 0.8, BETTER))
    sides = Sides({100: 0.5, 101: 0.6}, {100: 0.7, 101: 0.6})
    usual: dict[str, Any] = {
        "method": "toy", "dataset": "cells", "noise": "symmetric:0.4", "protocol": "quick", "plugin": "toy", "task": "classification",
        "study": "toy/cells/symmetric:0.4/abcd0123", "digest": "abcd0123", "objectives": ("accuracy",), "sampler": "tpe",
        "search_seeds": (0, 1), "space": SPACE, "trials": trials, "budget": 2, "reason": None,
        "best": trials[1], "command": "python -m benchmark run", "seeds": (100, 101),
        "metrics": {"selected/accuracy": sides, "last/accuracy": Sides({100: 0.4}, {})},
        "keys": {"default": ("a" * 16,), "tuned": ("b" * 16,)}, "oracle": (),
    }  # fmt: skip
    return Tuned(**{**usual, **changes})


def nothing(**changes: Any) -> Tuned:
    """A search without any value."""
    empty = {"selected/accuracy": Sides({}, {}), "last/accuracy": Sides({}, {})}
    return tuned(**{"trials": (), "best": None, "command": "", "metrics": empty, "keys": {"default": (), "tuned": ()}, **changes})


# --------------------------------------------------------------------------------------------------------------- tables


def test_a_row_by_hand() -> None:
    (sheet,) = sheets([tuned()])
    assert sheet.title == "cells · symmetric:0.4 · quick"
    row = dict(zip(sheet.header, sheet.rows[0], strict=True))
    assert row["method"] == "toy" and row["trials"] == "2" and row["noisy val"] == "80.0"
    assert row["default"] == "55.0 ± 63.5"  # 12.706 · 0.0707 / √2
    assert row["tuned"] == "65.0 ± 63.5"
    assert row["tuned - default"] == "+10.0 ± 127.1"
    assert (row["default, last"], row["tuned, last"]) == ("1 of 2 seeds", "–")
    assert row["search h"] == "0.02"  # 80 s
    assert row["best setting"] == "beta=0.75, kind=soft, flag=True, protocol.lr=0.0025"
    (narrow,) = sheets([tuned()], wide=False)
    assert narrow.header == sheet.header[:6] and narrow.rows[0] == sheet.rows[0][:6]
    assert "toy: beta=0.75, kind=soft, flag=True, protocol.lr=0.0025" in narrow.notes


def test_a_side_that_lacks_fresh_seeds_is_not_compared() -> None:
    """A mean over other seeds compares other cells; what is there stays in the machine formats."""
    few = {"selected/accuracy": Sides({100: 0.5, 101: 0.6}, {101: 0.95}), "last/accuracy": Sides({}, {100: 0.9, 101: 0.8})}
    whole = tuned(method="whole")
    incomplete = tuned(method="incomplete", metrics=few)
    other = tuned(method="other", metrics={**few, "selected/accuracy": Sides({100: 0.99}, {100: 0.8, 101: 0.9})})
    (sheet,) = sheets([incomplete, nothing(method="nobody"), other, whole])
    rows = {row[0]: row for row in sheet.rows}
    assert list(rows) == ["other", "whole", "incomplete", "nobody"]  # 85 %, 65 %, and what has no whole mean
    assert rows["incomplete"][3:8] == ("55.0 ± 63.5", "1 of 2 seeds", "–", "–", "85.0 ± 63.5")
    assert rows["other"][3:6] == ("1 of 2 seeds", "85.0 ± 63.5", "–")
    assert rows["whole"][3:6] == ("55.0 ± 63.5", "65.0 ± 63.5", "+10.0 ± 127.1")
    (row,) = csv.DictReader(io.StringIO(render([incomplete], "csv")))
    assert (row["selected_tuned"], row["selected_tuned_n"], row["selected_default_n"]) == ("0.95", "1", "2")
    assert (row["selected_difference_n"], row["last_difference"]) == ("1", "")
    five = tuned(seeds=tuple(range(100, 105)), metrics={**few, "selected/accuracy": Sides({}, {100: 0.1, 102: 0.2, 103: 0.3})})
    assert sheets([five])[0].rows[0][3:6] == ("–", "3 of 5 seeds", "–")


def test_oracles_are_marked() -> None:
    (plain_sheet,) = sheets([tuned()])
    assert "marks" not in plain_sheet.header and not [note for note in plain_sheet.notes if "oracle" in note]
    both = [tuned(method="told", oracle=("clean", "rate")), tuned(method="blind")]
    for wide in (True, False):
        (sheet,) = sheets(both, wide=wide)
        marks = {row[0]: dict(zip(sheet.header, row, strict=True))["marks"] for row in sheet.rows}
        assert marks == {"told": "oracle: clean+rate", "blind": ""}
        assert "oracle: truths that the method was told in every run, at its default too" in sheet.notes
    rows = list(csv.DictReader(io.StringIO(render(both, "csv"))))
    assert [row["method"] for row in rows] == ["told", "blind"] and "clean" in rows[0]["oracle"] and rows[1]["oracle"] == ""
    assert [one["oracle"] for one in json.loads(render(both, "json"))] == [["clean", "rate"], []]
    assert "oracle: clean+rate" in render(both, "md") and "oracle: clean+rate" in render(both, "latex")


def test_the_notes_by_hand() -> None:
    (sheet,) = sheets([tuned()])
    assert sheet.notes == (
        "default, tuned: test accuracy of the epoch chosen on the noisy validation part, mean ± half of the 95 % interval over "
        "fresh seeds 100, 101, in %; the difference is paired by seed",
        "noisy val: what the search has maximised, mean over its own seeds 0, 1; it is the best of many and no estimate",
        "2 trials a method with tpe; none is scored on the test part",
    )
    two = tuned(
        objectives=("accuracy", "seconds"),
        trials=(trial(0, 0.6, source="default"), lost(1, "failed: x"), trial(2, 0.8, BETTER, seconds=9.0)),
    )
    front = "toy, Pareto front of noisy val and seconds of a run: 80.0 in 4.5 s (beta=0.75, kind=soft, flag=True, protocol.lr=0.0025)"
    assert front in sheets([two])[0].notes
    assert sheets([nothing(objectives=("accuracy", "seconds"))])[0].notes[-1] == "toy, Pareto front of noisy val and seconds of a run: –"


def test_a_preset_is_named_beside_its_values() -> None:
    best = dataclasses.replace(trial(1, 0.8, {**BETTER, "toy.warmup": 30}), source="preset cifar10")
    assert setting(tuned(best=best)) == "preset cifar10: beta=0.75, kind=soft, flag=True, protocol.lr=0.0025, warmup=30"
    assert setting(tuned(best=dataclasses.replace(best, source="grid", params={"toy.beta": 0.5}))) == "beta=0.5"


def test_order_and_groups() -> None:
    better = tuned(
        method="better", seeds=(100,), metrics={"selected/accuracy": Sides({100: 0.5}, {100: 0.9}), "last/accuracy": Sides({}, {})}
    )
    found = sheets([tuned(), nothing(method="nobody"), better, tuned(noise="none")])
    assert [sheet.title.split(" · ")[1] for sheet in found] == ["symmetric:0.4", "none"]
    assert [row[0] for row in found[0].rows] == ["better", "toy", "nobody"]
    assert found[0].rows[0][4:6] == ("90.0", "+40.0") and found[0].rows[2][2:6] == ("–", "–", "–", "–")


def test_the_setting_in_words() -> None:
    assert setting(tuned(best=trial(0, 0.6, source="default"))) == "the default"
    assert setting(nothing()) == "no trial has a value"
    assert setting(nothing(reason="it is too shy")) == "skipped: it is too shy"
    assert sheets([tuned(budget=30)])[0].rows[0][1] == "2 of 30"
    assert sheets([tuned(trials=(*tuned().trials, lost(2, "failed: x")), budget=3)])[0].rows[0][1] == "3"  # it has cost a trial


def test_the_difference_is_signed() -> None:
    def shown(before: float, after: float) -> str:
        return sheets([tuned(seeds=(1,), metrics={"selected/accuracy": Sides({1: before}, {1: after}), "last/accuracy": Sides({}, {})})])[
            0
        ].rows[0][5]

    assert [shown(0.5, 0.4), shown(0.5, 0.5), shown(0.5, 0.49999)] == ["-10.0", "+0.0", "+0.0"]


FOREIGN = ("a|b", "<script>alert(1)</script>", "=1+1", "Übung 中文", "[bold]x[/bold]", "two\nlines", "$x$ \\input{y} `z`", "\x1b[31mred")


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_names_are_inert(name: str) -> None:
    foreign = tuned(
        method=name, dataset=name, noise=name, protocol=name, study=name, command=name, reason=name,
        best=dataclasses.replace(tuned().best, params={f"toy.{name}": name}),  # type: ignore[type-var]
    )  # fmt: skip
    page = render([foreign], "md")
    assert "<script" not in page and "\x1b" not in page
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert len(table) == 3
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {11}
    tex = render([foreign], "latex")
    assert "\\input{y}" not in tex and "$x$" not in tex and "\x1b" not in tex
    assert tex.count(" \\\\\n") == 2
    (row,) = list(csv.DictReader(io.StringIO(render([foreign], "csv"))))
    assert row["method"] == ("'=1+1" if name == "=1+1" else name)
    assert row["skipped"] == row["method"]
    assert json.loads(render([foreign], "json"))[0]["method"] == name
    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, width=300, color_system=None).print(*rich_tables([foreign], width=300), sep="\n")
    assert "\x1b" not in stream.getvalue()
    assert "[bold]x[/bold]" in stream.getvalue() or name != "[bold]x[/bold]"


def test_a_terminal_of_eighty_columns() -> None:
    from rich.console import Console

    for searches in ([tuned()], [nothing()], [tuned(method="a_method_with_a_long_name:and=its,settings=too"), nothing(reason="shy")]):
        for width in (80, 300):
            stream = io.StringIO()
            Console(file=stream, width=width, color_system=None).print(*rich_tables(searches, width=width), sep="\n")
            lines = stream.getvalue().splitlines()
            assert max(map(len, lines)) <= width
            assert ("default, last" in stream.getvalue()) == (width == 300)


def test_nothing_at_all() -> None:
    for kind in ("json", "csv", "md", "latex"):
        assert render([], kind).endswith("\n") and render([nothing()], kind).endswith("\n")
    (row,) = csv.DictReader(io.StringIO(render([nothing(reason="it is too shy")], "csv")))
    assert (row["skipped"], row["validation"], row["selected_default"], row["last_difference_n"]) == ("it is too shy", "", "", "")
    assert json.loads(render([nothing()], "json"))[0]["best"] is None
    header = "trial,source,value,seconds,pareto,toy.beta,toy.kind,toy.flag,protocol.lr,seed_0,seed_1,given_up"
    assert trials_csv(nothing()).splitlines() == [header]
    with pytest.raises(BenchmarkError, match="unknown format 'jsn'; did you mean 'json'"):
        render([], "jsn")


def test_csv_by_hand() -> None:
    (row,) = csv.DictReader(io.StringIO(render([tuned()], "csv")))
    assert (row["method"], row["trials"], row["metric"], row["best_source"], row["validation"]) == ("toy", "2", "accuracy", "search", "0.8")
    assert json.loads(row["best_params"]) == BETTER
    assert float(row["selected_default"]) == pytest.approx(0.55) and row["selected_default_n"] == "2"
    assert float(row["selected_difference"]) == pytest.approx(0.1)
    assert float(row["selected_difference_high"]) == pytest.approx(0.1 + 12.7062 * 0.1, rel=1e-4)
    assert (row["last_default"], row["last_default_sd"], row["last_default_n"]) == ("0.4", "", "1")
    assert (row["last_tuned"], row["last_difference"]) == ("", "")
    lines = list(csv.reader(io.StringIO(trials_csv(tuned()))))
    assert lines[1] == ["1", "default", "0.6", "40.0", "False", "0.5", "hard", "False", "0.001", "0.59", "0.61", ""]
    assert lines[2][:5] == ["2", "search", "0.8", "40.0", "True"] and len(lines) == 3


def test_all_trials_by_hand() -> None:
    """Their place is no number of the storage's, what was given up has a row, and what only a preset sets a column."""
    trials = (
        trial(0, 0.6, source="default", seconds=40.0),
        lost(7, "diverged: <nan>, twice"),
        dataclasses.replace(trial(9, 0.5, {**BETTER, "toy.warmup": 30}, seconds=4.0), source="preset far"),
        FinishedTrial(11, "search", BETTER, 0.55, 3.0, {0: 0.55}, False),
    )
    rows = list(csv.DictReader(io.StringIO(trials_csv(tuned(trials=trials, best=trials[0])))))
    assert [row["trial"] for row in rows] == ["1", "2", "3", "4"]
    assert [row["source"] for row in rows] == ["default", "search", "preset far", "search"]
    assert [row["pareto"] for row in rows] == ["True", "False", "True", "True"]  # 20 s, none, 2 s, 3 s a run
    assert [row["toy.warmup"] for row in rows] == ["", "", "30", ""]
    assert list(rows[0]) == [
        "trial", "source", "value", "seconds", "pareto", "toy.beta", "toy.kind", "toy.flag", "protocol.lr", "toy.warmup", "seed_0",
        "seed_1", "given_up",
    ]  # fmt: skip
    assert (rows[1]["value"], rows[1]["seconds"], rows[1]["seed_0"], rows[1]["given_up"]) == ("", "8.0", "", "diverged: <nan>, twice")
    assert (rows[3]["seed_0"], rows[3]["seed_1"], rows[3]["given_up"]) == ("0.55", "", "")


def test_settings_that_were_given_up_are_counted() -> None:
    bad = tuned(trials=(*tuned().trials, lost(2, "failed: RuntimeError: <b>no</b> luck | 1"), lost(3, "diverged: nan")), budget=4)
    assert (len(bad.scored), len(bad.given_up), bad.search_seconds) == (2, 2, 96.0)
    (sheet,) = sheets([bad])
    assert "toy: 2 settings were given up, e.g. failed: RuntimeError: <b>no</b> luck | 1" in sheet.notes
    assert not [note for note in sheets([tuned()])[0].notes if "given up" in note]
    assert "<b>" not in render([bad], "md")
    (row,) = csv.DictReader(io.StringIO(render([bad], "csv")))
    assert (row["given_up"], row["trials"], row["budget"], row["search_seconds"]) == ("2", "4", "4", "96.0")
    (found,) = json.loads(render([bad], "json"))
    assert found["given_up"] == 2 and [one["reason"] for one in found["trials"]] == ["", "", *(one.reason for one in bad.given_up)]


def test_trials_of_foreign_words_are_inert() -> None:
    space = (Dimension("toy", "=cmd", choices=("=1+1", "@x")),)
    evil = tuned(space=space, trials=(trial(0, 0.5, {"toy.=cmd": "=1+1"}),))
    assert trials_csv(evil).splitlines()[1].split(",")[5] == "'=1+1"
    given_up = tuned(trials=(lost(0, "=HYPERLINK(1)"),))
    assert next(csv.DictReader(io.StringIO(trials_csv(given_up))))["given_up"] == "'=HYPERLINK(1)"


def test_json_by_hand() -> None:
    (found,) = json.loads(render([tuned()], "json"))
    assert found["space"] == {
        "toy.beta": {"low": 0.0, "high": 1.0},
        "toy.kind": {"choices": ["hard", "soft"]},
        "toy.flag": {"choices": [False, True]},
        "protocol.lr": {"low": 1e-4, "high": 1e-2, "log": True},
    }
    assert found["metrics"]["selected/accuracy"]["default"] == {"100": 0.5, "101": 0.6}
    assert found["metrics"]["selected/accuracy"]["difference"]["mean"] == pytest.approx(0.1)
    assert found["metrics"]["last/accuracy"]["difference"] is None
    assert found["best"]["params"] == BETTER and len(found["trials"]) == 2 and found["search_seconds"] == 80.0
    assert found["trials"][0]["values"] == {"0": 0.59, "1": 0.61}


def test_values_for_machines() -> None:
    @dataclasses.dataclass
    class Pair:
        a: float
        b: tuple[int, ...]

    assert plain({1: Pair(float("nan"), (1, 2)), "x": [float("inf"), -0.5, True, None, "ü"]}) == {
        "1": {"a": None, "b": [1, 2]},
        "x": [None, -0.5, True, None, "ü"],
    }
    text = csv_text(["a", "b"], [["=1", None], ["x,y", 'say "so"'], [-1.5, "-1"], ["two\nlines", True]])
    assert list(csv.reader(io.StringIO(text))) == [
        ["a", "b"], ["'=1", ""], ["x,y", 'say "so"'], ["-1.5", "'-1"], ["two\nlines", "True"],
    ]  # fmt: skip


# -------------------------------------------------------------------------------------------------------------- pictures


def many(count: int, spread: float = 1.0, seconds: float = 40.0) -> tuple[FinishedTrial, ...]:
    """The default and others; beta decides, the rest does not."""
    found = [trial(0, 0.6, source="default", seconds=seconds)]
    for number in range(1, count):
        beta = (number * 37 % 100) / 100
        params = {
            "toy.beta": beta,
            "toy.kind": ("hard", "soft")[number % 2],
            "toy.flag": number % 3 == 0,
            "protocol.lr": 1e-4 * 10 ** (2 * beta),
        }
        params["protocol.lr"] = float(f"{1e-4 * 100 ** ((number * 53 % 97) / 97):.4g}")
        found.append(trial(number, 0.6 + spread * (0.1 - (beta - 0.8) ** 2 / 5), params, seconds=seconds * (1 + number % 5)))
    return tuple(found)


def search(count: int, spread: float = 1.0, **changes: Any) -> Tuned:
    trials = many(count, spread, changes.pop("seconds", 40.0))
    return tuned(trials=trials, best=max(trials, key=lambda one: one.value), budget=count, **changes)


CASES = {
    "one trial": search(1),
    "seven": search(7),
    "thirty": search(30),
    "equal values": search(12, spread=0.0),
    "in no time": search(3, seconds=0.0),
    "foreign": search(3, method="<b>$a$|=1+1 中", dataset="../../etc", noise="a/b", plugin="../x:y"),
}


@pytest.mark.parametrize("case", CASES)
def test_pictures_are_written_and_do_not_change(case: str, tmp_path: Path) -> None:
    first = write_figures([CASES[case]], tmp_path / "a")
    assert {path.parent for path in first} == {tmp_path / "a"} and len(first) == 4
    assert sorted(path.suffix for path in first) == [".png", ".png", ".svg", ".svg"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(path.name for path in first)
    assert first[0].read_bytes().startswith(b"<?xml") and first[1].read_bytes().startswith(b"\x89PNG")
    if case == "thirty":
        second = write_figures([CASES[case]], tmp_path / "b")
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    text = first[0].read_text(encoding="utf-8")
    assert "best so far" in text and "importance" in text and "<script" not in text
    assert ("needs 8 trials" in text) == (case in ("one trial", "seven", "in no time", "foreign"))
    assert ("all trials are alike" in text) == (case == "equal values")


def test_what_is_drawn_of_many_searches(tmp_path: Path) -> None:
    two = [search(2), search(2, method="other", plugin="other", digest="ffff0000", space=(), noise="none"), nothing()]
    two[1] = dataclasses.replace(two[1], trials=(trial(0, 0.6, {}),), best=None)
    names = [path.name for path in write_figures(two, tmp_path)]
    assert names == [
        "search-toy-abcd0123.svg", "search-toy-abcd0123.png", "search-other-ffff0000.svg", "search-other-ffff0000.png",
        "pareto-1.svg", "pareto-1.png", "pareto-2.svg", "pareto-2.png",
    ]  # fmt: skip
    assert write_figures([nothing()], tmp_path / "none") == []


def test_choices_of_every_kind_are_drawn(tmp_path: Path) -> None:
    choices = (0, False, "0", 0.5, None, "a long word of many letters", "$x$ <b>")
    space = (
        Dimension("toy", "any", choices=choices),
        Dimension("toy", "n", 4, 64, whole=True, log=True),
        Dimension("toy", "s", 0.0, 1.0, step=0.25),
    )
    trials = tuple(
        trial(number, 0.5 + number / 50, {"toy.any": choices[number % 7], "toy.n": 2 ** (2 + number % 5), "toy.s": number % 5 / 4})
        for number in range(10)
    )
    figures = write_figures([tuned(space=space, trials=trials, best=trials[-1])], tmp_path)
    text = figures[0].read_text(encoding="utf-8")
    assert "a long word of many letters" in text and "&lt;b&gt;" in text


def test_what_decides_is_the_most_important() -> None:
    weights = importance(search(30))
    assert set(weights) == {dimension.key for dimension in SPACE}
    assert max(weights, key=weights.__getitem__) == "toy.beta" and sum(weights.values()) == pytest.approx(1.0)
    assert importance(search(30)) == weights
    assert importance(search(FEWEST_TRIALS - 1)) == {} and importance(search(FEWEST_TRIALS)) != {}
    assert importance(search(20, spread=0.0)) == {}


def test_importance_of_steps_and_of_trials_that_were_stopped() -> None:
    space = (Dimension("toy", "beta", 0.0, 0.9, step=0.3), Dimension("toy", "n", 1, 9, whole=True, step=2))
    trials = tuple(trial(n, n / 100, {"toy.beta": round(0.3 * (n % 4), 10), "toy.n": 1 + 2 * (n % 5)}) for n in range(12))
    assert set(importance(tuned(space=space, trials=trials))) == {"toy.beta", "toy.n"}
    stopped = tuple(dataclasses.replace(one, whole=False) for one in trials)
    assert importance(tuned(space=space, trials=stopped)) == {}


def test_importance_of_a_preset_that_sets_more_than_the_space() -> None:
    usual = search(FEWEST_TRIALS)
    preset = dataclasses.replace(trial(98, 0.4), source="preset far", params={**DEFAULT, "toy.warmup": 3})
    assert set(importance(dataclasses.replace(usual, trials=(*usual.trials, preset)))) == {dimension.key for dimension in SPACE}
    beyond = dataclasses.replace(preset, params={**DEFAULT, "toy.beta": 7.0})
    assert importance(dataclasses.replace(usual, trials=(*usual.trials, beyond))) == importance(usual)


def test_pictures_of_what_lies_beyond_the_space_and_of_what_was_given_up(tmp_path: Path) -> None:
    far = dataclasses.replace(trial(0, 0.9), source="default", params={**DEFAULT, "toy.beta": 7.0, "toy.kind": "other", "toy.warmup": 3})
    shown = tuned(trials=(far, lost(1, "failed: x"), *tuned().trials), best=far)
    assert len(write_figures([shown], tmp_path / "a")) == 4
    only = tuned(trials=(lost(0, "failed: x"),), best=None)
    assert write_figures([only], tmp_path / "b") == []


def test_pareto_trials_by_hand() -> None:
    def found(points: list[tuple[float, float]]) -> list[tuple[int, float, float]]:
        """Of trials with two seeds; place, seconds of a run, value."""
        trials = [trial(number, value, seconds=2 * seconds) for number, (seconds, value) in enumerate(points)]
        return [(one.number, one.seconds / 2, one.value or 0.0) for one in pareto_trials(trials)]

    assert found([]) == []
    assert found([(1.0, 0.5)]) == [(0, 1.0, 0.5)]
    points = [(3.0, 0.9), (1.0, 0.5), (2.0, 0.4), (2.0, 0.7), (1.0, 0.3), (4.0, 0.9), (5.0, 0.95), (1.0, 0.5)]
    assert found(points) == [(1, 1.0, 0.5), (3, 2.0, 0.7), (0, 3.0, 0.9), (6, 5.0, 0.95)]
    assert [both[1:] for both in found(points[::-1])] == [(1.0, 0.5), (2.0, 0.7), (3.0, 0.9), (5.0, 0.95)]
    stopped = FinishedTrial(9, "search", DEFAULT, 0.8, 3.0, {0: 0.8}, False)  # 3 s a run: one seed of two
    assert [one.number for one in pareto_trials([trial(0, 0.7, seconds=4.0), stopped, trial(1, 0.75, seconds=7.0)])] == [0, 9]
