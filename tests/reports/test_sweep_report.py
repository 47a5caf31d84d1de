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
from reports.sweep_figures import FEWEST_TRIALS, importance, pareto_front, write_figures
from reports.sweep_tables import render, rich_tables, setting, sheets, trials_csv
from sweeps.space import Dimension
from sweeps.study import FinishedTrial
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


def tuned(**changes: Any) -> Tuned:
    """The default has 0.5 and 0.6 on two fresh seeds, the better setting 0.7 and 0.6."""
    trials = (trial(0, 0.6, source="default"), trial(1, 0.8, BETTER))
    sides = Sides({100: 0.5, 101: 0.6}, {100: 0.7, 101: 0.6})
    usual: dict[str, Any] = {
        "method": "toy", "dataset": "cells", "noise": "symmetric:0.4", "protocol": "quick", "plugin": "toy", "task": "classification",
        "study": "toy/cells/symmetric:0.4/abcd0123", "digest": "abcd0123", "objectives": ("accuracy",), "sampler": "tpe",
        "search_seeds": (0, 1), "space": SPACE, "trials": trials, "spent": 2, "budget": 2, "given_up": (), "reason": None,
        "best": trials[1], "command": "python -m benchmark run", "seeds": (100, 101),
        "metrics": {"selected/accuracy": sides, "last/accuracy": Sides({100: 0.4}, {})},
        "keys": {"default": ("a" * 16,), "tuned": ("b" * 16,)},
    }  # fmt: skip
    return Tuned(**{**usual, **changes})


def nothing(**changes: Any) -> Tuned:
    """A search without any value."""
    empty = {"selected/accuracy": Sides({}, {}), "last/accuracy": Sides({}, {})}
    return tuned(trials=(), best=None, spent=2, command="", metrics=empty, keys={"default": (), "tuned": ()}, **changes)


# --------------------------------------------------------------------------------------------------------------- tables


def test_a_row_by_hand() -> None:
    (sheet,) = sheets([tuned()])
    assert sheet.title == "cells · symmetric:0.4 · quick"
    row = dict(zip(sheet.header, sheet.rows[0], strict=True))
    assert row["method"] == "toy" and row["trials"] == "2" and row["noisy val"] == "80.0"
    assert row["default"] == "55.0 ± 63.5"  # 12.706 · 0.0707 / √2
    assert row["tuned"] == "65.0 ± 63.5"
    assert row["tuned - default"] == "+10.0 ± 127.1"
    assert (row["default, last"], row["tuned, last"]) == ("40.0", "–")
    assert row["search h"] == "0.02"  # 80 s
    assert row["best setting"] == "beta=0.75, kind=soft, flag=True, protocol.lr=0.0025"
    (narrow,) = sheets([tuned()], wide=False)
    assert narrow.header == sheet.header[:6] and narrow.rows[0] == sheet.rows[0][:6]
    assert "toy: beta=0.75, kind=soft, flag=True, protocol.lr=0.0025" in narrow.notes


def test_order_and_groups() -> None:
    better = tuned(method="better", metrics={"selected/accuracy": Sides({100: 0.5}, {100: 0.9}), "last/accuracy": Sides({}, {})})
    found = sheets([tuned(), nothing(method="nobody"), better, tuned(noise="none")])
    assert [sheet.title.split(" · ")[1] for sheet in found] == ["symmetric:0.4", "none"]
    assert [row[0] for row in found[0].rows] == ["better", "toy", "nobody"]
    assert found[0].rows[0][4:6] == ("90.0", "+40.0") and found[0].rows[2][2:6] == ("–", "–", "–", "–")


def test_the_setting_in_words() -> None:
    assert setting(tuned(best=trial(0, 0.6, source="default"))) == "the default"
    assert setting(nothing()) == "no trial has a value"
    assert setting(nothing(reason="it is too shy")) == "skipped: it is too shy"
    assert sheets([tuned(spent=1, budget=30)])[0].rows[0][1] == "1 of 30"


def test_the_difference_is_signed() -> None:
    def shown(before: float, after: float) -> str:
        return sheets([tuned(metrics={"selected/accuracy": Sides({1: before}, {1: after}), "last/accuracy": Sides({}, {})})])[0].rows[0][5]

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
    assert trials_csv(nothing()).splitlines() == ["trial,source,value,seconds,toy.beta,toy.kind,toy.flag,protocol.lr,seed_0,seed_1"]
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
    assert lines[1] == ["0", "default", "0.6", "40.0", "0.5", "hard", "False", "0.001", "0.59", "0.61"]
    assert lines[2][:2] == ["1", "search"] and len(lines) == 3


def test_settings_that_were_given_up_are_counted() -> None:
    lost = tuned(given_up=("failed: RuntimeError: <b>no</b> luck | 1", "diverged: nan"), spent=4, budget=4)
    (sheet,) = sheets([lost])
    assert "toy: 2 settings were given up, e.g. failed: RuntimeError: <b>no</b> luck | 1" in sheet.notes
    assert not [note for note in sheets([tuned()])[0].notes if "given up" in note]
    assert "<b>" not in render([lost], "md")
    (row,) = csv.DictReader(io.StringIO(render([lost], "csv")))
    assert row["given_up"] == "2"
    assert json.loads(render([lost], "json"))[0]["given_up"] == list(lost.given_up)


def test_trials_of_foreign_words_are_inert() -> None:
    space = (Dimension("toy", "=cmd", choices=("=1+1", "@x")),)
    evil = tuned(space=space, trials=(trial(0, 0.5, {"toy.=cmd": "=1+1"}),))
    assert trials_csv(evil).splitlines()[1].split(",")[4] == "'=1+1"


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
    return tuned(trials=trials, best=max(trials, key=lambda one: one.value), spent=count, budget=count, **changes)


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


def test_pareto_front_by_hand() -> None:
    assert pareto_front([]) == []
    assert pareto_front([(1.0, 0.5)]) == [(1.0, 0.5)]
    points = [(3.0, 0.9), (1.0, 0.5), (2.0, 0.4), (2.0, 0.7), (1.0, 0.3), (4.0, 0.9), (5.0, 0.95), (1.0, 0.5)]
    assert pareto_front(points) == [(1.0, 0.5), (2.0, 0.7), (3.0, 0.9), (5.0, 0.95)]
    assert pareto_front(points[::-1]) == pareto_front(points)
