from __future__ import annotations

import csv
import io
import json
import re

import pytest
from rich.console import Console

from benchmark.errors import BenchmarkError
from benchmark.spec import protocol
from reports.columns import column
from reports.escape import latex, markdown
from reports.formats import FORMATS, render, rich_tables
from reports.rows import flatten_all
from reports.tables import Difference, compare
from reports.wording import statement

EVIL = '=<script>alert("x")</script>|a_b%[red]\\é\x1b[31m\n&{}$#~^*'

MARKDOWN = """\
**cells · symmetric:0.4 · quick**

| method | n | acc sel | acc last | acc last k | acc best† | bal acc | ECE | det F1 | det AP | noise | secs | rank | marks |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |
| gce | 2 | **90.0 ± 1.4** | **90.0 ± 1.4** | **90.0 ± 1.4** | **90.0 ± 1.4** | **80.0 ± 1.4** | **5.0 ± 0.0** | **60.0 ± 0.0** \
| **70.0 ± 0.0** | 40.0 → 10.0 ± 0.0 | **12.0 ± 0.0** | 1 | oracle: noise\\_rate |
| ce | 2 | 80.0 ± 0.0 | 80.0 ± 0.0 | 80.0 ± 0.0 | 80.0 ± 0.0 | 70.0 ± 0.0 | **5.0 ± 0.0** | **60.0 ± 0.0** | **70.0 ± 0.0** \
| – | **12.0 ± 0.0** | 2 | not separable from best |
| elr | 1 | 99.0 | 99.0 | 99.0 | 99.0 | 89.0 | 5.0 | 60.0 | 70.0 | – | 12.0 | – | incomplete (1 of 2 seeds), diverged 1 |

- without looking: det F1 flag all 25.0 ± 0.0, det AP random 12.5 ± 0.0
- mean ± sd over seeds 0, 1; shares in %; ranked by selected/accuracy
- † chosen with the truth (oracle)
- selected/accuracy, mean paired difference ± standard error over shared seeds:
- elr against ce: +19.0 points, n = 1; too few seeds to test
- gce against ce: +10.0 ± 1.0 points, n = 2; too few seeds to test
"""
"""With two seeds the interval of a difference of 10 ± 1 points is 10 ± 12.7 · 1: it holds zero."""


@pytest.fixture
def small(result):
    results = [result("ce", 0), result("ce", 1), result("elr", 0, 0.99), result("elr", 1, status="diverged", reason="loss is NaN")]
    results += [result("gce", seed, accuracy, corrected=True, oracle=["noise_rate"]) for seed, accuracy in ((0, 0.89), (1, 0.91))]
    return compare(flatten_all(results))


@pytest.fixture
def evil(result):
    return compare(flatten_all([result(EVIL, dataset=EVIL), result("ce", dataset=EVIL), result("-1+1", dataset=EVIL)]))


def terminal(comparison, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False, color_system=None)
    for table in rich_tables(comparison, width):
        console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_golden_markdown(small) -> None:
    assert render(small, "md") == MARKDOWN


def test_golden_latex(small) -> None:
    text = render(small, "latex")
    assert "\\toprule\nmethod & n & acc sel & acc last & acc last k & acc best\\textsuperscript{\\dag} &" in text
    assert "gce & 2 & \\textbf{90.0 $\\pm$ 1.4} &" in text
    assert "40.0 $\\rightarrow$ 10.0 $\\pm$ 0.0 & " in text
    assert "& 1 & oracle: noise\\_rate \\\\" in text
    assert text.count("{") == text.count("}")
    widths = {line.count(" & ") for line in text.splitlines() if line.endswith("\\\\")}
    assert widths == {13}
    assert re.search(r"\\begin\{tabular\}\{(\w+)\}", text)[1] == "lr" + "r" * 10 + "rl"  # type: ignore[index]


def test_the_second_of_three_is_marked(result) -> None:
    three = compare(flatten_all([result(name, 0, accuracy) for name, accuracy in (("ce", 0.7), ("gce", 0.9), ("elr", 0.8))]))
    (row,) = [line for line in render(three, "md").splitlines() if line.startswith("| elr")]
    assert row.startswith("| elr | 1 | *80.0* |")
    assert "\nelr & 1 & \\underline{80.0} &" in render(three, "latex")


def test_json_holds_every_run_and_the_table(small) -> None:
    document = json.loads(render(small, "json"))
    assert document["rank"] == "selected/accuracy"
    assert len(document["runs"]) == 6
    run = document["runs"][0]
    assert run["spec"]["protocol"]["epochs"] == protocol("quick").epochs
    assert run["last_k/nll"] == 0.7
    assert run["cost/seconds"] == 12.0
    assert (run["status"], run["oracle"], run["stale"]) == ("done", [], False)
    first = document["table"][0]
    assert (first["method"], first["rank"], first["n"], first["oracle"]) == ("gce", 1.0, 2, ["noise_rate"])
    assert first["values"]["selected/accuracy"] == {
        "mean": pytest.approx(0.9), "sd": pytest.approx(0.02 / 2**0.5), "n": 2, "low": 0.89, "high": 0.91,
    }  # fmt: skip
    assert first["run_keys"] == [run["run_key"] for run in document["runs"] if run["method"] == "gce"]
    assert first["command"].startswith("python -m benchmark run --methods gce:label=gce --datasets cells --noise ")
    assert document["table"][2]["marks"] == ["incomplete (1 of 2 seeds)", "diverged 1"]
    assert document["groups"][0]["references"]["detection/constant_f1"]["mean"] == 0.25


def test_csv_has_raw_numbers_of_every_column(small) -> None:
    rows = list(csv.DictReader(io.StringIO(render(small, "csv"))))
    assert [row["method"] for row in rows] == ["gce", "ce", "elr"]
    assert float(rows[0]["selected/accuracy"]) == pytest.approx(0.9)
    assert (rows[0]["selected/auroc n"], rows[0]["correction/noise_before"], rows[1]["correction/noise_before"]) == ("2", "0.4", "")
    assert (rows[2]["rank"], rows[2]["incomplete"], rows[2]["seeds"], rows[2]["selected/accuracy sd"]) == ("", "True", "0", "")
    assert rows[0]["detection/random_average_precision"] == "0.125"


def test_markdown_escapes_names(evil) -> None:
    text = render(evil, "md")
    assert "<script" not in text
    assert "\x1b" not in text
    header, *rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) == header.count("|")
    assert "a\\_b%\\[red\\]\\\\é" in text


def test_latex_escapes_names(evil) -> None:
    text = render(evil, "latex")
    assert "\\textless{}script\\textgreater{}" in text
    assert "a\\_b\\%{[}red{]}\\textbackslash{}é" in text
    assert "\\&\\{\\}\\$\\#\\textasciitilde{}\\textasciicircum{}{*}" in text
    assert {line.count(" & ") for line in text.splitlines() if line.endswith("\\\\")} == {13}


def test_markdown_makes_no_link_of_a_name() -> None:
    """GitHub makes links of addresses, unless a backslash stands in them."""
    assert markdown("see https://a.b/c or www.a.b, http2:x") == "see https\\://a.b/c or www\\.a.b, http2:x"


def test_latex_has_a_way_out_for_what_pdflatex_lacks() -> None:
    """Fonts of pdfLaTeX have no Chinese, and it stops at a letter whose accent stands apart, as in names from a Mac."""
    assert latex("naïve 中文≥½ Łódź") == "naïve \\ifdefined\\Umathcode 中文≥\\else U+4E2D U+6587 U+2265\\fi{}½ Łódź"
    assert latex("e\u0301") == "é"
    assert latex("– → ± · †") == "-- $\\rightarrow$ $\\pm$ $\\cdot$ \\textsuperscript{\\dag}"


def test_no_minus_before_a_zero() -> None:
    difference = Difference("a", "ce", -0.0004, 0.0002, 5, None)
    assert statement(difference, column("selected/accuracy"), 0).startswith("a against ce: +0.0 ± 0.0 points")


def test_csv_neutralises_formulas_but_not_numbers(evil) -> None:
    rows = list(csv.DictReader(io.StringIO(render(evil, "csv"))))
    assert {row["method"] for row in rows} == {"'" + EVIL, "ce", "'-1+1"}
    assert all(row["dataset"] == "'" + EVIL for row in rows)


def test_json_keeps_names_as_they_are(evil) -> None:
    assert {row["method"] for row in json.loads(render(evil, "json"))["table"]} == {EVIL, "ce", "-1+1"}


def test_terminal_shows_names_literally_and_within_its_width(evil, small) -> None:
    text = terminal(evil, 200)
    assert "a_b%[red]\\é [31m" in text
    assert "\x1b" not in text
    for width in (80, 100, 199):
        lines = terminal(small, width).splitlines()
        assert max(len(line.rstrip()) for line in lines) <= width
        assert any("90.0" in line and "gce" in line for line in lines)
    narrow = terminal(small, 80)
    assert "131…" not in narrow
    assert "…" not in narrow
    assert "elr: incomplete (1 of 2 seeds), diverged 1" in narrow
    assert "90.0 ± 1.4" in terminal(small, 199)


def test_columns_that_nobody_fills_are_hidden_in_the_terminal(result) -> None:
    assert "noise" not in terminal(compare(flatten_all([result()])), 150).splitlines()[2]


def test_one_seed_has_no_plus_minus_in_its_row(result) -> None:
    (row,) = [line for line in render(compare(flatten_all([result()])), "md").splitlines() if line.startswith("| ce")]
    assert "80.0" in row
    assert "±" not in row


def test_unsolvable_and_skipped_say_so(result) -> None:
    results = [result("ce", solvable=False), result("bag", status="skipped", reason="needs | pixels", solvable=False)]
    text = render(compare(flatten_all(results)), "md")
    assert "| – | unsolvable |" in text
    assert "unsolvable, skipped; needs \\| pixels" in text
    assert "there is no ranking" in text


def test_a_partly_defined_metric_shows_its_n(result) -> None:
    results = [result("ce", 0), result("ce", 1, metrics={"detection/f1": None})]
    assert "60.0 (n=1)" in render(compare(flatten_all(results)), "md")


def test_p_values_are_said_to_be_unadjusted(result) -> None:
    results = [
        result(method, seed, 0.5 + 0.001 * (seed + 1) * scale) for seed in range(6) for method, scale in (("ce", 1), ("a", 2), ("b", 3))
    ]
    text = render(compare(flatten_all(results)), "md")
    assert re.search(r"a against ce: \+0\.\d ± 0\.1 points, n = 6; Wilcoxon p = 0\.031, not adjusted for 2 comparisons", text)


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_to_compare_is_no_error(format) -> None:
    assert render(compare([]), format).endswith("\n")
    assert rich_tables(compare([])) == []


def test_unknown_formats_are_refused(small) -> None:
    with pytest.raises(BenchmarkError, match="unknown format 'htm'"):
        render(small, "htm")
