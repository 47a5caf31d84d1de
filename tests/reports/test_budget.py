"""Learning curves over labels paid for, with numbers that a pencil can check."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmark.errors import BenchmarkError
from benchmark.spec import PluginSpec, RunSpec, protocol
from reports.budget import BudgetReport, Gap, Line, compare_budgets
from reports.budget_figure import write_figure
from reports.budget_tables import points, render, rich_tables, summary, verdict
from reports.learning_curve import Curve, area, crossing, curve_of, kind_of
from reports.rows import flatten, flatten_all

METRIC = "balanced_accuracy"
SHARES = (0.0, 0.1, 0.2)
RISING = Curve((0, 10, 20), SHARES, (0.5, 0.7, 0.8))


def result(
    method: str = "alr",
    values: tuple[float | None, ...] = (0.5, 0.7, 0.8),
    seed: int = 0,
    *,
    strategy: str | None = "random",
    noise: str = "symmetric:0.4",
    dataset: str = "cells",
    budget: str = "10%+20%",
    balanced: bool = False,
    paid: tuple[float, ...] = (0, 10, 20),
    found: float | None = 0.4,
    answers: float | None = 0.0,
    status: str = "done",
    **params: Any,
) -> dict[str, Any]:
    """What a worker leaves of 100 training samples; without a strategy the first value is that of the last epoch."""
    label, metrics = ":".join([method, *(f"{key}={value}" for key, value in params.items())]), {}
    if strategy is not None:
        params |= {"acquisition": strategy, "budget": budget, "balanced": balanced}
        label += f":acquisition={strategy}:budget={budget}" + (":balanced=True" if balanced else "")
        for number, (value, bought) in enumerate(zip(values, paid, strict=True)):
            metrics[f"round/{number}"] = {METRIC: value, "paid": bought, "share": bought / 100}
        metrics["annotation"] = {"paid": paid[-1], "share": paid[-1] / 100, "found_wrong": found, "annotator_wrong": answers}
    metrics["last"] = {METRIC: values[0] if strategy is None else 0.99}
    plugins = (PluginSpec(method, params), PluginSpec(dataset, {}, 1, "v1"), PluginSpec(noise.partition(":")[0], {"rate": noise}, 1))
    spec = RunSpec(*plugins, protocol("quick"), seed, {"method": label, "dataset": dataset, "noise": noise})
    return {
        "run_key": spec.key(),
        "status": status,
        "reason": None if status == "done" else "because",
        "spec": spec.to_dict(),
        "metrics": metrics if status == "done" else {},
        "noise": {"solvable": True},
        "oracle": ["labels"] if strategy else [],
    }


def reference(value: float, seed: int = 0, dataset: str = "cells") -> dict[str, Any]:
    return result("ce", (value,), seed, strategy=None, noise="none", dataset=dataset)


def compare(results: list[dict[str, Any]], references: list[dict[str, Any]] | None = None, seeds: tuple[int, ...] = (0, 1)) -> BudgetReport:
    return compare_budgets(flatten_all(results), metric=METRIC, seeds=seeds, references=flatten_all(references or []))


def line(report: BudgetReport, asks: str | None, panel: int = 0) -> Line:
    return next(line for line in report.panels[panel].lines if line.kind.asks == asks)


# --------------------------------------------------------------------------------------------------------- one run


@pytest.mark.parametrize(
    ("curve", "end", "expected"),
    [
        (RISING, 0.2, 0.675),  # (0.1 · 0.6 + 0.1 · 0.75) / 0.2
        (RISING, 0.4, 0.7375),  # it keeps its model: (0.135 + 0.2 · 0.8) / 0.4
        (Curve((0,), (0.0,), (0.6,)), 0.2, 0.6),
        (Curve((0,), (0.0,), (0.6,)), 0.0, 0.6),
        (Curve((0, 10, 40), (0.0, 0.1, 0.4), (0.4, 0.8, 0.8)), 0.4, 0.75),  # rounds of other sizes: (0.06 + 0.24) / 0.4
        (Curve((0, 10), (0.0, 0.1), (0.5, None)), 0.1, None),
    ],
)
def test_area(curve: Curve, end: float, expected: float | None) -> None:
    assert area(curve, end) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("values", "target", "expected"),
    [
        ((0.5, 0.7, 0.8), 0.75, 15.0),
        ((0.5, 0.7, 0.8), 0.6, 5.0),
        ((0.5, 0.7, 0.8), 0.5, 0.0),
        ((0.5, 0.7, 0.8), 0.8, 20.0),
        ((0.5, 0.7, 0.8), 0.81, None),
        ((0.5, 0.9, 0.4), 0.7, 5.0),  # the first time counts
        ((0.8, 0.7, 0.9), 0.75, 0.0),
        ((0.5, None, 0.9), 0.7, 10.0),  # what is undefined is passed over
    ],
)
def test_crossing(values: tuple[float | None, ...], target: float, expected: float | None) -> None:
    assert crossing((0, 10, 20), values, target) == (None if expected is None else pytest.approx(expected))


def test_rounds_are_ordered_by_number() -> None:
    many = tuple(range(12))
    row = flatten(result(values=tuple(n / 20 for n in many), paid=many))
    assert curve_of(row, METRIC).paid == many
    assert curve_of(row, METRIC).at(11) == curve_of(row, METRIC).at(99) == 0.55


def test_what_asks_for_nothing_is_its_last_epoch_at_no_label() -> None:
    assert curve_of(flatten(result("ce", (0.6,), strategy=None)), METRIC) == Curve((0.0,), (0.0,), (0.6,))


def test_an_active_run_without_rounds_is_told() -> None:
    bare = result()
    bare["metrics"] = {"last": {METRIC: 0.5}}
    with pytest.raises(BenchmarkError, match=rf"run {bare['run_key']} \(alr:.*\) has no rounds in its result; see: .* rescore"):
        curve_of(flatten(bare), METRIC)
    with pytest.raises(BenchmarkError, match="has rounds without accuracy"):
        curve_of(flatten(result()), "accuracy")


def test_how_a_method_asks_is_no_part_of_its_name() -> None:
    kinds = [kind_of(flatten(result(strategy=name, balanced=even, lnl="ce"))) for name, even in (("bald", True), ("vog", False))]
    assert [(kind.method, kind.asks) for kind in kinds] == [("alr:lnl=ce", "bald, balanced"), ("alr:lnl=ce", "vog")]
    assert kinds[0].variant == kinds[1].variant != kind_of(flatten(result(lnl="elr"))).variant
    assert kinds[0].budgets == ("10%", "20%")
    assert kind_of(flatten(result("ce", (0.6,), strategy=None))).asks is None


# ------------------------------------------------------------------------------------------------------ over seeds


@pytest.fixture
def small() -> BudgetReport:
    """Two seeds: bald is above random in each round, vog only in the second seed; ce asks for nothing."""
    results = [result(values=(0.5, 0.6, 0.7)), result(values=(0.5, 0.7, 0.8), seed=1)]
    results += [
        result(values=(0.5, 0.7, 0.9), strategy="bald", found=0.5),
        result(values=(0.5, 0.75, 0.9), seed=1, strategy="bald", found=0.7),
    ]
    results += [result(values=(0.5, 0.5, 0.7), strategy="vog"), result(values=(0.5, 0.8, 0.9), seed=1, strategy="vog")]
    results += [result("ce", (0.65,), strategy=None), result("ce", (0.95,), seed=1, strategy=None)]
    return compare(results, [reference(1.0), reference(0.9, 1)])


def test_lines_are_sorted_by_area(small: BudgetReport) -> None:
    panel = small.panels[0]
    # random 0.6 and 0.675; bald 0.7 and 0.725; vog (0.05 + 0.06) / 0.2 = 0.55 and (0.065 + 0.085) / 0.2 = 0.75
    found = [(panel.name(line), round(line.area.mean or 0, 6)) for line in panel.lines]
    assert found == [("ce", 0.8), ("bald", 0.7125), ("vog", 0.65), ("random", 0.6375)]
    assert (panel.budgets, panel.end, panel.seeds) == (("10%", "20%"), 0.2, (0, 1))
    assert [round(at.mean or 0, 6) for at in line(small, "bald").at] == [0.5, 0.725, 0.9]
    assert line(small, "bald").at[1].sd == pytest.approx(0.05 / 2**0.5)
    assert line(small, "bald").found_wrong.mean == pytest.approx(0.6)
    assert line(small, None).found_wrong.mean is None


def test_differences_are_paired(small: BudgetReport) -> None:
    gap = line(small, "bald").to_floor  # 0.1 and 0.05
    assert gap is not None and (gap.mean, gap.se, gap.n) == (pytest.approx(0.075), pytest.approx(0.025), 2)
    # after 10 %: 0.1 and 0.05; after 20 %: 0.2 and 0.1
    assert [(round(g.mean, 6), round(g.se or 0, 6)) for g in line(small, "bald").to_floor_at if g] == [(0.075, 0.025), (0.15, 0.05)]
    assert line(small, "bald").wins is True
    assert line(small, "vog").wins is False  # after 10 %: -0.1 and 0.1
    assert line(small, "random").to_floor is None and line(small, "random").wins is None
    assert line(small, None).to_floor is None and line(small, None).wins is None


def test_labels_to_the_target(small: BudgetReport) -> None:
    # targets 0.95 and 0.855; bald passes neither 0.95 (it pays for 20) nor, before 10 + 10 · 0.105 / 0.15 = 17 labels, 0.855
    reach = line(small, "bald").reach
    assert reach is not None and (reach.reached, reach.n) == (1, 2)
    assert (reach.labels, reach.share) == (pytest.approx(18.5), pytest.approx(0.185))
    reach = line(small, None).reach  # only 0.95 against 0.855 is there
    assert reach is not None and (reach.reached, reach.n, reach.labels) == (1, 2, 0)


def test_verdicts(small: BudgetReport) -> None:
    assert verdict(small) == "1 of 2 strategies beats random by more than a standard error at every budget: bald"
    floor = [result(values=(0.5, 0.6, 0.7)), result(values=(0.5, 0.7, 0.8), seed=1)]
    same = [result(values=(0.5, 0.6, 0.7), strategy="vog"), result(values=(0.5, 0.7, 0.8), seed=1, strategy="vog")]
    assert verdict(compare(floor + same)) == "the only other strategy does not beat random by more than a standard error at every budget"
    third = [result(values=(0.5, 0.9, 0.6), seed=seed, strategy="bald") for seed in (0, 1)]
    assert verdict(compare(floor + same + third)).startswith("none of 2 strategies beats random by more than")
    assert verdict(compare(floor[:1] + same[:1], seeds=(0,))).startswith("whether a strategy beats random cannot be said")
    assert verdict(compare(floor)).startswith("no strategy but random has finished runs")
    skipped = [result(seed=seed, strategy="label_quality", status="skipped") for seed in (0, 1)]
    assert verdict(compare(floor + same + third + skipped)) == verdict(compare(floor + same + third)), "what was skipped was not compared"


def test_a_verdict_over_several_tables_holds_in_all() -> None:
    results = []
    for noise, vog in (("symmetric:0.2", 0.8), ("symmetric:0.4", 0.6)):
        for seed in (0, 1):
            results += [
                result(values=(0.5, 0.6, 0.7), seed=seed, noise=noise),
                result(values=(0.5, 0.7, 0.8), seed=seed, noise=noise, strategy="bald"),
            ]
            results.append(result(values=(0.5, 0.7, vog), seed=seed, noise=noise, strategy="vog"))
    report = compare(results)
    assert [[panel.name(line) for line in panel.lines if line.wins] for panel in report.panels] == [["bald", "vog"], ["bald"]]
    assert verdict(report) == "1 of 2 strategies beats random by more than a standard error at every budget in all 2 tables: bald"


def test_a_strategy_that_lacks_seeds_comes_last() -> None:
    results = [
        result(),
        result(seed=1),
        result(values=(0.5, 0.9, 0.9), strategy="bald"),
        result(seed=1, strategy="bald", status="diverged"),
    ]
    report = compare(results)
    assert [line.kind.asks for line in report.panels[0].lines] == ["random", "bald"]
    last = line(report, "bald")
    assert last.incomplete and last.diverged == 1 and last.to_floor == Gap(pytest.approx(0.125), None, 1) and last.wins is None
    assert "incomplete (1 of 2 seeds), diverged 1" in render(report, "md")


def test_a_strategy_that_found_fewer_to_ask_about_keeps_its_model() -> None:
    short = [result(values=(0.5, 0.8, 0.8), paid=(0, 10, 10), strategy="bald", seed=seed) for seed in (0, 1)]
    report = compare([result(), result(seed=1), *short])
    assert line(report, "bald").area.mean == pytest.approx(0.725)  # (0.1 · 0.65 + 0.1 · 0.8) / 0.2
    assert line(report, "bald").share.mean == pytest.approx(0.1)


def test_each_method_has_its_own_floor() -> None:
    results = []
    for seed in (0, 1):
        results += [result(values=(0.5, 0.6, 0.7), seed=seed, lnl="ce"), result(values=(0.7, 0.8, 0.9), seed=seed, lnl="elr")]
        results.append(result(values=(0.7, 0.7, 0.8), seed=seed, lnl="elr", strategy="bald"))
        results.append(result(values=(0.7, 0.9, 0.9), seed=seed, lnl="elr", balanced=True))
    panel = compare(results).panels[0]
    found = {panel.name(line): line.to_floor and round(line.to_floor.mean, 6) for line in panel.lines}
    assert found == {
        "alr:lnl=ce, random": None,
        "alr:lnl=elr, random": None,
        "alr:lnl=elr, random, balanced": 0.05,
        "alr:lnl=elr, bald": -0.075,  # (0.07 + 0.075) / 0.2 = 0.725 against 0.8
    }


def test_references_belong_to_their_data() -> None:
    results = [result(seed=seed, dataset=name) for name in ("cells", "nuclei") for seed in (0, 1)]
    report = compare(results, [reference(0.9), reference(0.8, 1), reference(0.7, dataset="nuclei")])
    assert [dict(panel.references) for panel in report.panels] == [{0: 0.9, 1: 0.8}, {0: 0.7}]
    reach = line(report, "random", panel=1).reach
    assert reach is not None and reach.n == 1
    assert "ce trained on clean labels, 70.0 (n=1)" in render(report, "md")
    assert compare(results).panels[0].references == {} and line(compare(results), "random").reach is None


# ---------------------------------------------------------------------------------------------------------- formats


MARKDOWN = """\
**cells · symmetric:0.4 · quick · balanced\\_accuracy**

| method | strategy | n | at 0 | at 10% | at 20% | area | vs random | labels to 95 % | paid | found wrong | marks |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |
| ce | – | 2 | 80.0 ± 21.2 | 80.0 ± 21.2 | 80.0 ± 21.2 | 80.0 ± 21.2 | – | 1/2 at 0 | 0 | – |  |
| alr | bald | 2 | 50.0 ± 0.0 | 72.5 ± 3.5 | 90.0 ± 0.0 | 71.3 ± 1.8 | +7.5 ± 2.5 | &gt; 18 = 18.5% (1/2) | 20.0 | 60.0 ± 14.1 | \
oracle: labels |
"""


def test_markdown(small: BudgetReport) -> None:
    text = render(small, "md")
    assert text.startswith(MARKDOWN)
    assert "- 1 of 2 strategies beats random by more than a standard error at every budget: bald\n" in text
    assert "- reference: ce trained on clean labels, 95.0 ± 7.1; labels to 95 %:" in text


def test_csv(small: BudgetReport) -> None:
    rows = list(csv.DictReader(io.StringIO(summary(small))))
    assert [row["strategy"] for row in rows] == ["", "bald", "vog", "random"]
    bald = rows[1]
    assert (bald["budget_1"], float(bald["metric_1"]), bald["beats_random"], bald["seeds"]) == ("10%", pytest.approx(0.725), "True", "0 1")
    assert (float(bald["to_random"]), bald["reached"], bald["reached_of"]) == (pytest.approx(0.075), "1", "2")
    assert render(small, "csv") == summary(small)
    runs = list(csv.DictReader(io.StringIO(points(small))))
    assert len(runs) == 3 * 2 * 3 + 2 + 2
    assert [row["value"] for row in runs if row["strategy"] == "bald" and row["seed"] == "1"] == ["0.5", "0.75", "0.9"]
    assert [(row["seed"], row["value"], row["round"]) for row in runs if row["strategy"] == "reference"] == [
        ("0", "1.0", ""),
        ("1", "0.9", ""),
    ]


def test_json(small: BudgetReport) -> None:
    document = json.loads(render(small, "json"))
    assert document["verdict"] == verdict(small) and document["target"] == 0.95
    bald = document["panels"][0]["lines"][1]
    assert bald["wins"] is True and bald["kind"]["strategy"] == "bald" and bald["curves"]["1"]["value"] == [0.5, 0.75, 0.9]


def test_a_narrow_terminal_gets_means_and_marks_below(small: BudgetReport) -> None:
    def shown(width: int) -> str:
        stream = io.StringIO()
        Console(file=stream, width=width, color_system=None).print(*rich_tables(small, width))
        return stream.getvalue()

    assert "72.5 ± 3.5" in shown(200) and "18 = 18.5% (1/2)" in shown(200)
    narrow = shown(100)
    assert "72.5 " in narrow and "72.5 ±" not in narrow and "> 18 (1/2)" in narrow
    assert "bald, vog, random: oracle: labels" in " ".join(narrow.split())


def test_a_difference_of_nothing_is_not_negative() -> None:
    report = compare([result(), result(values=(0.5, 0.7, 0.7999), strategy="bald")], seeds=(0,))
    assert "| +0.0 |" in render(report, "md") and "-0.0" not in render(report, "md")


def test_latex_and_unknown(small: BudgetReport) -> None:
    text = render(small, "latex")
    assert "\\begin{tabular}{llrrrrrrrrrl}" in text and "$\\pm$" in text
    with pytest.raises(BenchmarkError, match="unknown format 'html'"):
        render(small, "html")


def test_annotators_that_err_are_shown() -> None:
    assert "answers wrong" not in render(compare([result(), result(seed=1)]), "md")
    assert "| answers wrong |" in render(compare([result(answers=0.1), result(seed=1, answers=0.2)]), "md")


EVIL = "=$x_1$ <b>|a\\\x1b[31m\n"


@pytest.mark.parametrize(
    "make", [lambda: [result(seed=s, strategy=EVIL, dataset=EVIL, noise=EVIL) for s in (0, 1)], lambda: [result(EVIL)]]
)
def test_foreign_names_do_nothing(make: Callable[[], list[dict[str, Any]]], tmp_path: Path) -> None:
    report = compare([*make(), result("_hidden", (0.6,), strategy=None)])
    for form in ("md", "latex", "csv", "json"):
        assert "\x1b" not in render(report, form) if form in ("md", "latex") else render(report, form)
    write_figure(report, tmp_path)
    assert "_hidden" in (tmp_path / "budget.svg").read_text()


# ----------------------------------------------------------------------------------------------------------- figure


def test_the_figure_shows_every_line(small: BudgetReport, tmp_path: Path) -> None:
    paths = write_figure(small, tmp_path / "new")
    assert [path.name for path in paths] == ["budget.svg", "budget.png"] and paths[1].read_bytes().startswith(b"\x89PNG")
    text = paths[0].read_text()
    for words in (
        "bald",
        "vog",
        "random",
        ">ce<",
        "ce, clean labels",
        "95 % of that",
        "cells · symmetric:0.4",
        "balanced accuracy",
        "10 %",
    ):
        assert words in text, words
    again = write_figure(small, tmp_path / "again")
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]


def test_a_figure_of_little(tmp_path: Path) -> None:
    write_figure(compare([result(values=(None, None, None)), result("ce", (None,), strategy=None)], seeds=(0,)), tmp_path)
    text = (tmp_path / "budget.svg").read_text()
    assert "Values of seed 0." in text and "clean labels" not in text


def test_colours_belong_to_strategies(small: BudgetReport) -> None:
    from reports import style
    from reports.budget_figure import _looks

    looks = _looks(small)
    assert looks["random"]["color"] == style.INK and looks["bald"]["color"] == style.colours(["bald"])["bald"]
    assert looks["ce"]["color"] not in (*style.PALETTE, style.INK) and "marker" not in looks["ce"]
