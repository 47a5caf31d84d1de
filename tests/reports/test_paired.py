from __future__ import annotations

import csv
import io
import json
import math

import pytest

from benchmark.errors import BenchmarkError
from reports.paired import Duel, paired
from reports.paired_tables import FORMATS, render, rich_tables, sheets
from reports.rows import flatten_all
from reports.statistics import bootstrap_intervals
from reports.tables import compare


def runs(result, method: str, accuracies, **options):
    return [result(method, seed, accuracy, **options) for seed, accuracy in enumerate(accuracies) if accuracy is not None]


def duel(results, *, methods=("a", "b"), key=None) -> Duel:
    (found,) = paired(flatten_all(results), methods, key).duels
    return found


def test_one_condition_by_hand(result) -> None:
    found = duel(runs(result, "a", [0.72, 0.80, 0.98]) + runs(result, "b", [0.7, 0.8, 0.9]))
    (condition,) = found.conditions
    assert condition.mean == pytest.approx(0.1 / 3)  # .02, 0, .08
    sd = math.sqrt(((0.02 - 0.1 / 3) ** 2 + (0.1 / 3) ** 2 + (0.08 - 0.1 / 3) ** 2) / 2)
    assert condition.sd == pytest.approx(sd)
    half = 4.302652729911275 * sd / math.sqrt(3)  # the 97.5 % point of t with two degrees of freedom
    assert (condition.low, condition.high) == (pytest.approx(0.1 / 3 - half), pytest.approx(0.1 / 3 + half))
    assert (condition.wins, condition.ties, condition.losses) == (2, 1, 0)
    assert (condition.seeds, condition.left_out, condition.p) == ((0, 1, 2), {}, None)


def test_six_seeds_are_tested(result) -> None:
    base = [0.7, 0.71, 0.72, 0.73, 0.74, 0.75]
    better = [value + 0.01 * (i + 1) for i, value in enumerate(base)]
    assert duel(runs(result, "a", better) + runs(result, "b", base)).conditions[0].p == pytest.approx(2 / 2**6)
    same = duel(runs(result, "a", base) + runs(result, "b", base)).conditions[0]
    assert (same.p, same.ties, same.mean, same.low, same.high) == (1.0, 6, 0.0, 0.0, 0.0)


def test_it_says_what_the_tables_say_of_the_same_pairs(result) -> None:
    """Sixteen differences with ties: counting all signs gives another p than the normal approximation."""
    steps = [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, -1, -2]
    results = runs(result, "ce", [0.5] * 16) + runs(result, "a", [round(0.5 + step / 100, 2) for step in steps])
    (condition,) = duel(results, methods=("a", "ce")).conditions
    (difference,) = compare(flatten_all(results)).groups[0].differences
    assert condition.p == difference.p
    each = [run for i, step in enumerate(steps) for name, value in (("ce", 0.5), ("a", round(0.5 + step / 100, 2)))
            for run in [result(name, 0, value, dataset=f"d{i:02}")]]  # fmt: skip
    over = duel(each, methods=("a", "ce")).overall
    assert over.p == difference.p
    assert (over.low, over.high) == bootstrap_intervals([[step / 100 for step in steps]])[0]


def test_only_shared_seeds_count_and_the_others_are_named(result) -> None:
    results = runs(result, "a", [0.9, 0.1, 0.8, None]) + runs(result, "b", [0.8, None, 0.8, 0.3])
    results += [result("b", 1, status="diverged"), result("a", 4, 0.5), result("b", 4, metrics={"selected/accuracy": None})]
    found = paired(flatten_all(results), ["a", "b"])
    (condition,) = found.duels[0].conditions
    assert condition.seeds == (0, 2)
    assert condition.mean == pytest.approx(0.05)
    assert condition.left_out == {1: "b", 3: "a", 4: "b"}
    assert "cells · symmetric:0.4 · quick: left out seeds 1, 4 (b has none), 3 (a has none)" in sheets(found)[0].notes


def test_one_seed_and_no_shared_seed(result) -> None:
    (condition,) = duel([result("a"), result("b", accuracy=0.7)]).conditions
    assert condition.mean == pytest.approx(0.1)
    assert (condition.sd, condition.low, condition.high) == (None, None, None)
    found = paired(flatten_all([result("a", 0), result("b", 1)]), ["a", "b"])
    assert found.duels[0].conditions[0].mean is None
    assert found.duels[0].overall.n == 0
    assert "–" in sheets(found)[0].rows[0]
    assert sheets(found)[1].rows == (("b", "–", "–", "0", "0/0/0", "too few to test"),)


def test_over_conditions_each_counts_once_by_its_mean(result) -> None:
    results = runs(result, "a", [0.9], noise="x") + runs(result, "b", [0.8], noise="x")  # + .1
    results += runs(result, "a", [0.5, 0.5, 0.5], noise="y") + runs(result, "b", [0.52, 0.53, 0.54], noise="y")  # - .03
    results += runs(result, "a", [0.1], noise="z", solvable=False) + runs(result, "b", [0.9], noise="z", solvable=False)
    results += runs(result, "a", [0.5], noise="only a")
    found = duel(results)
    assert [c.solvable for c in found.conditions] == [True, True, False]
    overall = found.overall
    assert (overall.n, overall.mean) == (2, pytest.approx(0.035))
    assert (overall.wins, overall.ties, overall.losses, overall.p) == (1, 0, 1, None)
    assert (overall.low, overall.high) == (pytest.approx(-0.03), pytest.approx(0.1))  # a quarter of the draws is each end
    assert found.absent == ("cells · only a · quick (only a)",)


def test_six_conditions_are_tested(result) -> None:
    results = []
    for i in range(6):
        results += [result("a", accuracy=0.8 + 0.01 * (i + 1), noise=f"n{i}"), result("b", accuracy=0.8, noise=f"n{i}")]
    overall = duel(results).overall
    assert overall.p == pytest.approx(2 / 2**6)
    assert overall.low == pytest.approx(0.022, abs=0.004)
    assert overall.low < overall.mean < overall.high
    assert overall == duel(results).overall  # drawn alike each time


def test_lower_is_better_where_it_is(result) -> None:
    results = [result("a", metrics={"selected/nll": 0.2}), result("b", metrics={"selected/nll": 0.9})]
    (condition,) = duel(results, key="selected/nll").conditions
    assert condition.mean == pytest.approx(-0.7)
    assert (condition.wins, condition.losses) == (1, 0)
    text = render(paired(flatten_all(results), ["a", "b"], "selected/nll"), "md")
    assert "-0.700" in text
    assert "a win is a lower value" in text


def test_several_against_the_first_and_plugin_names(result) -> None:
    results = [result("hsa:confidence"), result("elr"), result("ce"), result("gce"), result("gce:truncated")]
    found = paired(flatten_all(results), ["hsa", "elr", "gce"])
    assert (found.first, [d.other for d in found.duels]) == ("hsa:confidence", ["elr", "gce"])
    assert found.metric.key == "selected/accuracy"


@pytest.mark.parametrize(
    ("methods", "key", "problem"),
    [
        (["hsa"], None, "needs two methods or more, and there is hsa"),
        ([], None, "and there is none"),
        (["elr", "hsaa"], None, "unknown method 'hsaa'; did you mean 'hsa:a' or 'hsa'"),
        (["elr", "hsa"], None, "'hsa' is several methods here: hsa:a, hsa:b; name one of them"),
        (["elr", "elr"], None, "elr is named twice"),
        (["elr", "hsa:a"], "selected/acuracy", "unknown metric 'selected/acuracy'; did you mean 'selected/accuracy'"),
    ],
)
def test_what_is_refused(result, methods, key, problem) -> None:
    with pytest.raises(BenchmarkError) as error:
        paired(flatten_all([result("elr"), result("hsa:a"), result("hsa:b")]), methods, key)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_runs_of_two_tasks_are_refused(result) -> None:
    rows = flatten_all([result("a"), result("b", data={"task": "bags"})])
    with pytest.raises(BenchmarkError, match="these runs are of bags and classification, whose metrics are others; choose one task"):
        paired(rows, ["a", "b"])


EVIL = '<script>alert("1")</script>|$\\x_{}'


@pytest.fixture
def example(result):
    results = runs(result, EVIL, [0.9, 0.9, 0.9]) + runs(result, "b", [0.8, 0.85, 0.9]) + runs(result, "=c", [0.7, 0.7, None])
    return paired(flatten_all(results), [EVIL, "b", "=c"])


def test_every_format(example) -> None:
    for format in FORMATS:
        text = render(example, format)
        assert text.endswith("\n")
        if format in ("md", "latex"):
            assert "<script>" not in text
            assert "+5.0" in text  # .10, .05, 0
            assert "2/1/0" in text
    with pytest.raises(BenchmarkError, match="unknown format 'html'"):
        render(example, "html")


def test_csv_has_raw_numbers(example) -> None:
    lines = list(csv.DictReader(io.StringIO(render(example, "csv"))))
    assert [(line["other"], line["level"]) for line in lines] == [
        ("b", "condition"), ("b", "over conditions"), ("'=c", "condition"), ("'=c", "over conditions"),
    ]  # fmt: skip
    assert float(lines[0]["mean"]) == pytest.approx(0.05)
    assert (lines[0]["n"], lines[0]["seeds"], lines[2]["n"], lines[2]["left_out"]) == ("3", "0 1 2", "2", "2")


def test_json_holds_everything(example) -> None:
    document = json.loads(render(example, "json"))
    assert document["metric"]["key"] == "selected/accuracy"
    assert document["duels"][1]["conditions"][0]["left_out"] == {"2": "=c"}
    assert document["duels"][0]["overall"]["n"] == 1


def test_a_narrow_terminal_has_fewer_columns(example) -> None:
    wide, narrow = rich_tables(example), rich_tables(example, width=40)
    assert len(narrow[0].columns) < len(wide[0].columns)
    assert len(wide) == 3
