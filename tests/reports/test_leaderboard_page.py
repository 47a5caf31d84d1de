"""The leaderboard's page as HTML, without a browser: it is whole, safe, small, and says what it must."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reports.board import Board, Provenance
from reports.overall_sheet import statement
from reports.page import page
from reports.page.details import in_script
from reports.tables import compare
from tests.reports.boards import METHODS, board_of, evidence, make_board, with_published

html5lib = pytest.importorskip("html5lib", reason="html5lib is not installed")
EVIL = "\"><script>alert('1')</script></script><!-- ]]> ' & $`\u2028 \u202e"
TOLD = "\"><script>alert('1')</script></script><!-- ]]> ' & $`"
SPACE = "{http://www.w3.org/1999/xhtml}"


def parsed(html: str) -> Any:
    """The tree as a browser builds it; raises at the first error of syntax."""
    return html5lib.HTMLParser(strict=True).parse(html)


def texts(tree: Any, name: str, within: str = "") -> list[str]:
    path = f".//{SPACE}*[@class='{within}']//{SPACE}{name}" if within else f".//{SPACE}{name}"
    return ["".join(each.itertext()).strip() for each in tree.findall(path)]


def row(html: str, method: str, condition: int = 0) -> str:
    """The HTML of a method's row."""
    section = html.split(f'id="c1-{condition}"')[1].partition("</section>")[0]
    (found,) = (each for each in section.split("<tr")[2:] if f"<bdi>{method}</bdi>" in each)
    return found.split("</tr>")[0]


def details(html: str, condition: int = 0) -> Any:
    return json.loads(re.findall(r'<script type="application/json">(.*?)</script>', html)[condition])


def test_the_page_is_html_without_a_fault_whatever_the_names(result) -> None:
    board = make_board(result, methods=(EVIL, "gce", "elr"), datasets=(EVIL, "cells"), noises=(EVIL, "none"), classes=(EVIL, "b"))
    where = Provenance(EVIL, EVIL, EVIL, (EVIL,), {EVIL: 1}, {EVIL: 2})
    html = page(dataclasses.replace(board, title=EVIL, provenance=where))
    tree = parsed(html)
    assert len(tree.findall(f".//{SPACE}script")) == 1 + 4 and "alert" not in texts(tree, "script")[0]
    assert texts(tree, "h1") == [TOLD] and texts(tree, "title") == [TOLD]
    assert TOLD in texts(tree, "bdi") and texts(tree, "code") == [TOLD]
    assert {each.get("data-set") for each in tree.iter(f"{SPACE}section")} == {None, TOLD, "cells"}
    assert not [name for each in tree.iter() for name in each.attrib if isinstance(name, str) and name.startswith("on")]
    data = re.findall(r'<script type="application/json">(.*?)</script>', html)
    assert len(data) == 4 and not any(set("<>&\u2028") & set(each) for each in data)
    assert details(html)["rows"][0]["method"] == TOLD and details(html)["rows"][0]["classes"] == [TOLD, "b"]


@pytest.mark.parametrize("tasks", [(), ("classification",), ("classification", "bags")])
def test_a_page_of_any_number_of_tasks(result, tasks: tuple[str, ...]) -> None:
    chapter = make_board(result).chapters[0]
    where = Provenance("", "", "", (), {}, {})
    tree = parsed(page(Board("all", tuple(dataclasses.replace(chapter, task=task) for task in tasks), where)))
    ids = [each.get("id") for each in tree.iter() if each.get("id")]
    links = [each.get("href") for each in tree.iter(f"{SPACE}a")]
    assert len(ids) == len(set(ids)) and {link[1:] for link in links} <= set(ids) and {link[0] for link in links} == {"#"}
    heads = texts(tree, "h2")
    assert heads[-1] == "Provenance" and ("Bags" in heads) == ("bags" in tasks) and ("Overall" in heads) == (len(tasks) == 1)
    assert ("There are no finished runs yet." in "".join(tree.itertext())) == (not tasks)


def test_a_comparison_without_rows(result) -> None:
    board = make_board(result)
    empty = dataclasses.replace(board.chapters[0], comparison=compare([]), evidence={}, galleries={})
    tree = parsed(page(dataclasses.replace(board, chapters=(empty,))))
    assert "Nothing is compared over conditions." in texts(tree, "p") and "There are no finished runs yet." in texts(tree, "p")


# ------------------------------------------------------------------------------------------------------------------ tables


def test_cells_say_mean_sd_interval_and_which_is_best(result) -> None:
    html = page(make_board(result))  # ce 0.9 and 0.902, gce 0.89 and 0.892, elr 0.88 and 0.882
    best = '<td data-value="0.901" title="95 % interval 89.1 to 91.1, n = 2"><b>90.1</b> <small>± 0.1</small>'
    assert f'{best}<span class="ci">[89.1, 91.1]</span></td>' in row(html, "ce")
    assert '<td data-value="0.891" title="95 % interval 88.1 to 90.1, n = 2"><u>89.1</u>' in row(html, "gce")
    assert '<td data-value="0.881" title="95 % interval 87.1 to 89.1, n = 2">88.1 <small>' in row(html, "elr")
    assert '<td data-value="2">2 <abbr title="not separable from the best">≈</abbr></td>' in row(html, "gce")
    assert "≈" not in row(html, "ce") + row(html, "elr") and "badge" not in row(html, "gce") and html.count("≈ not separable from") == 1


def test_marks_stand_beside_the_name_in_words(result) -> None:
    results = [result("ce", seed, 0.8, stale=True) for seed in (0, 1)] + [result("elr", 0, 0.99), result("gce", 0), result("gce", 1)]
    results += [result("elr", 1, status="diverged", reason="loss is NaN"), result("f", 0, oracle=["noise_rate"]), result("f", 1)]
    html = page(board_of(results))
    assert '<span class="badge warn">stale</span>' in row(html, "ce")
    elr = row(html, "elr")
    assert '<span class="badge warn">incomplete (1 of 2 seeds)</span><span class="badge warn">diverged 1</span>' in elr
    assert 'data-flags="incomplete"' in elr and "</th><td>–</td>" in elr  # no rank
    assert '<span class="badge">oracle: noise_rate</span>' in row(html, "f") and 'data-flags="oracle"' in row(html, "f")
    assert details(html)["rows"][-1]["reasons"] == ["loss is NaN"]
    assert "incomplete (lacks 1 condition)" in html


def test_every_rule_of_choosing_an_epoch_is_shown_and_what_nobody_has_is_not(result) -> None:
    tree = parsed(page(make_board(result)))
    (task,) = (each for each in tree.iter(f"{SPACE}section") if each.get("class") == "task")
    heads = [head for head in texts(tree, "th") if head not in ("ce", "gce", "elr")]
    heads = heads[heads.index("rank") - 1 :]
    hidden = {heads[int(place) - 1] for place in task.get("data-hide").split()}
    assert heads[3:7] == ["acc sel", "acc last", "acc last k", "acc best†"] and not set(heads[:7]) & hidden
    assert {"AUROC", "noise", "labels paid"} <= hidden  # the last two have no number here


def test_printed_figures_stand_beside_ours(result) -> None:
    board = make_board(result)
    chapter = dataclasses.replace(board.chapters[0], comparison=with_published(board.chapters[0].comparison))
    html = page(dataclasses.replace(board, chapters=(chapter,)))
    assert '<span title="Author et al., 2021, Table 2; ResNet-34, 120 epochs">acc last 87.0 ± 0.4; ours +2.1</span>' in row(html, "ce")
    assert "<li>published: Author et al., 2021, Table 2: ResNet-34, 120 epochs</li>" in html
    assert "published</th>" not in page(board)


def test_standings_are_null_for_what_is_incomplete(result) -> None:
    results = [result(m, 0, a, noise=n) for n in ("none", "symmetric:0.4") for m, a in (("ce", 0.9), ("gce", 0.8))]
    html = page(board_of([*results, result("elr", 0, 0.99, noise="none")]))
    overall = html.split('id="o1"')[1].split("</section>")[0]
    elr = overall.split("<bdi>elr</bdi>")[1].split("</tr>")[0]
    assert elr.count("<td>–</td>") == 2 and "incomplete (lacks 1 condition)" in elr and "99" not in elr
    assert "too few to test: 2 conditions of 6" in overall and "90.0" in overall.split("<bdi>ce</bdi>")[1].split("</tr>")[0]


def test_the_sentence_of_the_tests(result) -> None:
    overall = make_board(result, noises=[f"symmetric:0.{n}" for n in range(6)]).chapters[0].comparison.overall
    assert overall is not None
    told = statement(dataclasses.replace(overall, critical_difference=1.353))
    assert told == [
        "Friedman over 6 conditions: statistic 23.10, p < 0.001",
        "post-hoc nemenyi: average ranks that differ by less than 1.35 are not separable",
        "not separable from each other: ce, gce",
    ]
    assert statement(dataclasses.replace(overall, friedman=None, too_few="too few to test: 4 conditions of 6")) == [
        "too few to test: 4 conditions of 6"
    ]


def test_where_nothing_can_be_ranked_nobody_is_incomplete(result) -> None:
    html = page(board_of([result(method, seed, solvable=False) for method in ("ce", "gce") for seed in (0, 1)]))
    assert "data-flags" not in row(html, "ce") and '<span class="badge warn">unsolvable</span>' in row(html, "ce")
    assert "so there is no ranking" in html


# ----------------------------------------------------------------------------------------------------------------- details


def test_what_lies_behind_a_row_is_there_in_four_digits(result) -> None:
    board = make_board(result, epochs=3)
    chapter = board.chapters[0]
    entry = chapter.comparison.groups[0].entries[0]
    found = details(page(board))["rows"][0]
    behind = chapter.evidence[0, "ce"]
    assert found["curves"]["test"][0] == [round(10_000 * value) for value in behind.curves["test"].mean]  # type: ignore[arg-type]
    assert found["epochs"] == [0, 1, 2] and found["by"] == 1 and found["selected"] == 1.8 and found["seeds"] == [0, 1]
    assert found["counts"][0][0] == 100 and len(found["recall"][0]) == 4 and found["cost"]["samples_per_second"] == 3210.5
    assert found["detection"][2] == 0.4 and found["calibration"][1][:4] == [None, None, None, 3500]
    assert found["keys"] == [run["run_key"] for run in chapter.comparison.runs if run["method"] == "ce"] and found["n"] == len(entry.seeds)
    assert found["versions"] == ["method ce", "data cells version 1 (v1)", "noise symmetric version 1"]


def test_long_curves_are_thinned_to_their_last_epoch(result) -> None:
    found = details(page(make_board(result, epochs=130)))["rows"][0]
    assert found["by"] == 3 and len(found["epochs"]) == 44 and found["epochs"][:2] == [0, 3] and found["epochs"][-1] == 129
    assert all(len(series) == 44 for series in found["curves"]["test"])


def test_many_classes_have_no_matrix(result) -> None:
    import random

    board = make_board(result)
    entry = board.chapters[0].comparison.groups[0].entries[0]
    many = {(0, "ce"): evidence(entry, [f"class {place}" for place in range(13)], 4, random.Random(0))}
    rows = details(page(dataclasses.replace(board, chapters=(dataclasses.replace(board.chapters[0], evidence=many),))))["rows"]
    assert "counts" not in rows[0] and len(rows[0]["top"]) == 10 and "seeds" not in rows[1] and rows[1]["used"] == [0, 1]


def test_json_cannot_leave_its_element() -> None:
    value = {"a": "</script><!--\u2028&", "b": [1.5, None]}
    assert not set("<>&\u2028") & set(in_script(value)) and json.loads(in_script(value)) == value


# --------------------------------------------------------------------------------------------------------- figures, gallery


def test_figures_are_inside_the_page(result, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
    (tmp_path / "a.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "b.svg").write_text("<svg>" + " " * 600_000)
    names = {"title": EVIL, "caption": "c", "alt": EVIL, "png": tmp_path / "a.png"}
    html = page(make_board(result, pictures=0), [SimpleNamespace(svg=tmp_path / f"{name}.svg", **names) for name in "ab"])  # type: ignore[misc]
    pictures = list(parsed(html).iter(f"{SPACE}img"))
    assert [each.get("src").partition(",")[0] for each in pictures] == ["data:image/svg+xml;base64", "data:image/png;base64"]
    assert {each.get("alt") for each in pictures} == {TOLD}
    assert '<p class="note">no run has kept the quality of its labels</p>' in html


def _drawn(tree: Any) -> list[Any]:
    return [each for each in tree.iter(f"{SPACE}figure") if (each.get("class") or "").startswith("drawn")]


def test_figures_stand_in_pairs_and_one_that_is_left_over_has_its_row(result, tmp_path: Path) -> None:
    def made(name: str, width: int) -> Any:
        (tmp_path / f"{name}.svg").write_text(f"<svg xmlns='http://www.w3.org/2000/svg' width=\"{width}pt\"/>")
        return SimpleNamespace(title=name, caption="c", alt="a", svg=tmp_path / f"{name}.svg", png=tmp_path / f"{name}.png")

    figures = [made(name, width) for name, width in (("a", 300), ("b", 600), ("c", 300), ("d", 300))]
    found = {each[0].get("aria-label"): each.get("class") for each in _drawn(parsed(page(make_board(result, pictures=0), figures)))}
    assert found == {"a": "drawn", "b": "drawn wide", "c": "drawn", "d": "drawn wide"}
    found = {e[0].get("aria-label"): e.get("class") for e in _drawn(parsed(page(make_board(result, pictures=0), figures[:3])))}
    assert found == {"a": "drawn", "b": "drawn wide", "c": "drawn"}


def test_suspects_say_in_words_what_is_right(result) -> None:
    tree = parsed(page(make_board(result)))
    first, _, third = texts(tree, "figcaption")
    assert first == "labelled normal rightsuggested serrated wrong3 of 3 methods; top 0.1 %0: slides/tile_0000.png"
    assert "right" not in third and "wrong" not in third  # nobody knows the truth


def test_a_thousand_rows_fit(result) -> None:
    """A tenth of it: 100 rows in 5 conditions with 12 pictures each take less than a tenth of 15 MB."""
    board = make_board(
        result, methods=[f"{name}:{n}" for name in METHODS[:10] for n in range(2)], noises=[f"symmetric:0.{n}" for n in range(5)], seeds=1,
        epochs=60, pictures=12, side=48, classes=[f"class {k}" for k in range(9)],
    )  # fmt: skip
    html = page(board)
    assert len(html.encode()) < 1_500_000 and html.count("<tr data-row") == 100
    assert ' many"' not in html
