"""The report of ``clean`` without a browser: tables that no spreadsheet runs, and a page that is whole, safe and small."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark import noise_file
from benchmark.clean.audit import Twins
from benchmark.clean.verdict import EASY, HARD, NOISY, Interval
from reports.clean_page import page
from reports.clean_page.reading import expected_wrong, noise_by_class, precision_at, review_order, select, twins_in_order
from reports.clean_page.summary import TOGETHER, UNEXPLAINED
from reports.clean_page.whole import LARGEST_PICTURES
from reports.clean_table import clean_json, labels_csv
from tests.reports.answers import make_answer, no_pictures

html5lib = pytest.importorskip("html5lib", reason="html5lib is not installed")
EVIL = "\"><script>alert('1')</script></script><!-- ]]> ' & $`\u2028 \u202e"
TOLD = "\"><script>alert('1')</script></script><!-- ]]> ' & $`"
SPACE = "{http://www.w3.org/1999/xhtml}"


def small(**more: Any) -> Any:
    """Five samples of two classes with numbers that a hand can check; 3 and 1 are likely wrong, 4 is hard."""
    answer = make_answer(5, ("a", "b"), budget=3, methods=("hsa", "aum"), paths=[f"{k}.png" for k in range(5)])
    verdict = dataclasses.replace(
        answer.verdict,
        wrong=np.array([0.1, 0.8, 0.1, 0.95, 0.05]),
        suspicion=np.array([0.2, 0.7, 0.3, 0.9, 0.3]),
        suggested=np.array([0, 0, 1, 1, 1]),
        confidence=np.array([0.9, 0.75, 0.6, 0.99, 0.5]),
        state=np.array([EASY, NOISY, EASY, NOISY, HARD], dtype=np.uint8),
        flagged=np.array([False, False, False, True, False]),
        curve_at=(1, 3),
        curve=(Interval(0.9, 0.8, 1.0), Interval(0.6, 0.4, 0.8)),
        confusion=np.array([[1.5, 0.5], [1.0, 2.0]]),
    )
    scores = dataclasses.replace(
        answer.scores,
        given=np.array([0, 1, 1, 0, 1]),
        suspicion=np.array([[0.0, 0.75, 0.5, 1.0, 0.25]] * 2),
        hardness=np.array([np.nan] * 4 + [0.5]),
    )
    return dataclasses.replace(answer, verdict=verdict, scores=scores, **more)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def parsed(html: str) -> Any:
    """The tree as a browser builds it; raises at the first error of syntax."""
    return html5lib.HTMLParser(strict=True).parse(html)


def words(tree: Any, name: str) -> list[str]:
    return [" ".join("".join(each.itertext()).split()) for each in tree.iter(f"{SPACE}{name}")]


def section(html: str, name: str) -> str:
    return html.partition(f'id="{name}"')[2].partition("</section>")[0]


# ---------------------------------------------------------------------------------------------------------------- numbers


def test_the_order_is_by_probability_then_suspicion_then_position() -> None:
    assert review_order(small()).tolist() == [3, 1, 2, 0, 4]


def test_what_is_expected_follows_the_curve_and_between_its_points_the_probabilities() -> None:
    """Means of the probabilities are 0.95, 0.875 and 1.85 / 3; the curve differs by −0.05 at 1, by 0.6 − 1.85 / 3 at 3."""
    answer = small()
    for m, value, low, high in ((1, 0.9, 0.8, 1.0), (3, 1.8, 1.2, 2.4)):
        assert dataclasses.astuple(expected_wrong(answer, m)) == pytest.approx((value, low, high))
    assert precision_at(answer, [2])[0].value == pytest.approx(0.875 + (-0.05 + 0.6 - 1.85 / 3) / 2)
    assert precision_at(answer, [5])[0].value == pytest.approx(0.4 + 0.6 - 1.85 / 3)
    without = dataclasses.replace(answer, verdict=dataclasses.replace(answer.verdict, curve_at=(), curve=()))
    assert expected_wrong(without, 5).value == pytest.approx(2.0) and np.isnan(expected_wrong(without, 5).low)


def test_noise_by_class_is_what_leaves_the_diagonal() -> None:
    assert noise_by_class(small()) == [("a", 2, 0.5, "b", 1.0), ("b", 3, 1.0, "a", 1.0)]


def test_the_page_shows_the_budget_and_hard_ones_apart() -> None:
    assert dataclasses.astuple(select(small(), 200, 60)) == ((3, 1), (2,), (4,), 0)
    assert dataclasses.astuple(select(small(), 1, 0)) == ((3,), (), (), 2)
    assert dataclasses.astuple(select(small(budget=99), 200, 60)) == ((3, 1), (2, 0, 4), (), 0)


def test_conflicts_come_first_then_leaks() -> None:
    twins = [Twins((0, 1), True, 0, False, False), Twins((1, 2), True, 0, False, True), Twins((2, 3), False, 2, True, False)]
    assert [twin.samples for twin in twins_in_order(twins)] == [(2, 3), (1, 2), (0, 1)]


# ----------------------------------------------------------------------------------------------------------------- tables


def test_the_table_has_a_line_a_sample_what_to_look_at_first_on_top() -> None:
    rows = table(labels_csv(small()))
    assert [row["path"] for row in rows] == ["3.png", "1.png", "2.png", "0.png", "4.png"]
    assert rows[0] == {
        "index": "3", "path": "3.png", "given": "a", "suggested": "b", "confidence": "0.99", "wrong_probability": "0.95", "state": "noisy",
        "flagged": "1", "review": "1", "rank": "1", "score_hsa": "1.0", "score_aum": "1.0", "duplicate_of": "", "near_duplicate_of": "",
        "conflict": "0", "leak": "0", "label": "a",
    }  # fmt: skip
    assert [row["review"] for row in rows] == ["1", "2", "3", "", ""] and [row["rank"] for row in rows] == ["1", "2", "3", "5", "3"]
    assert rows[4]["state"] == "hard"


def test_copies_and_raters_stand_in_the_table() -> None:
    twins = [Twins((0, 3), True, 0, True, False), Twins((1, 3), False, 2, False, True)]
    answer = make_answer(5, ("a", "b"), twins=twins, raters=True, paths=[f"{k}.png" for k in range(5)], known=True)
    rows = {row["index"]: row for row in table(labels_csv(answer))}
    marks = ("duplicate_of", "near_duplicate_of", "conflict", "leak")
    assert [rows["0"][name] for name in marks] == ["3.png", "", "1", "0"]
    assert [rows["3"][name] for name in marks] == ["0.png", "1.png", "1", "1"] and [rows["4"][name] for name in marks] == ["", "", "0", "0"]
    assert answer.raters is not None
    for i in range(5):
        said = [rows[str(i)][f"rater_{name}"] for name in ("Anna", "Ben", "Cem")]
        assert said == ["" if k < 0 else "ab"[k] for k in answer.raters.labels[i]] and rows[str(i)]["true"] in ("a", "b")


def test_no_cell_is_a_formula_and_the_table_is_a_file_of_labels(tmp_path: Path) -> None:
    paths = ["=cmd()/1.png", "-2.png", "+3.png", "@4.png", 'a,"b"\n.png']
    answer = make_answer(5, ("-", "=HYPERLINK(1)"), paths=paths, rate=0.5)
    text = labels_csv(answer)
    cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@")) and not re.fullmatch(r"-?[\d.]+", cell)] == []
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    found = noise_file.read(tmp_path / "labels.csv")
    assert found.ids(tmp_path, 2, answer.classes)[np.argsort(found.index)].tolist() == answer.scores.given.tolist()


def test_names_that_are_no_text_can_be_written() -> None:
    answer = make_answer(3, ("a", "b"), paths=["\udcff.png", "b", "c"], unreadable={"\udcfe": "why"})
    assert "\\udcff.png" in labels_csv(answer).encode().decode()
    assert json.loads(clean_json(answer).encode())["audit"]["unreadable"] == {"\udcfe": "why"}


def test_the_object_has_everything_but_the_samples() -> None:
    answer = small(model_accuracy=float("nan"))
    found = json.loads(clean_json(answer))
    assert found["schema"] == 1 and found["samples"] == 5 and found["classes"] == ["a", "b"]
    assert found["budget"]["samples"] == 3 and found["budget"]["expected_wrong"] == pytest.approx({"value": 1.8, "low": 1.2, "high": 2.4})
    assert found["flagged"]["samples"] == 1 and found["states"] == {"easy": 2, "hard": 1, "noisy": 2}
    assert found["confusion"] == [[1.5, 0.5], [1.0, 2.0]] and found["weights"] == {"hsa": 0.5, "aum": 0.5}
    assert found["curve"][0] == {"samples": 1, "precision": {"value": 0.9, "low": 0.8, "high": 1.0}}
    assert found["self_check"]["sentence"] == answer.verdict.check.sentence() and found["self_check"]["found"]["value"] == 0.84
    assert found["model"] == {"folder": "out/model", "accuracy": None} and found["raters"] is None
    assert found["runs"] == {"hsa": ["hsa-a1b2", "hsa-c3d4"], "aum": ["aum-a1b2", "aum-c3d4"]}
    assert found["noise_by_class"][1] == {"class": "b", "samples": 3, "expected_wrong": 1.0, "most_often": "a"}


# ------------------------------------------------------------------------------------------------------------------- page


def test_the_page_says_how_far_a_check_with_raters_goes() -> None:
    answer = make_answer(raters=True)
    verdict = answer.verdict
    heard = dataclasses.replace(verdict, weights={**verdict.weights, "raters": 0.2})
    modelled = dataclasses.replace(heard, check=dataclasses.replace(verdict.check, kind="raters"))
    assert json.loads(clean_json(answer))["noise_rate_by_answers"] is None
    counted = dataclasses.replace(answer, by_answers=0.083)
    assert json.loads(clean_json(counted))["noise_rate_by_answers"] == 0.083
    assert "without the images, about 8.3" in page(counted, no_pictures) and "without the images" not in page(answer, no_pictures)
    told = []
    for one in (verdict, heard, modelled):
        words = " ".join("".join(parsed(page(dataclasses.replace(answer, verdict=one), no_pictures)).itertext()).split())
        told.append(
            (UNEXPLAINED in words, TOGETHER in words, "changed as your raters err" in words, "harder to find than a random" in words)
        )
    assert told == [(False, False, False, True), (True, False, False, True), (False, True, True, False)]


def test_the_page_is_html_without_a_fault_whatever_the_names() -> None:
    answer = make_answer(
        40, (EVIL, "b", "c"), paths=[f"{EVIL}{i}" for i in range(40)], methods=(EVIL, "aum"), source=EVIL, raters=True, known=True,
        rate=0.4, twins=[Twins((0, 1), True, 0, True, True)], unreadable={EVIL: EVIL}, notes=(EVIL,),
        provenance={EVIL: EVIL, "command": EVIL},
    )  # fmt: skip
    answer = dataclasses.replace(answer, base=Path(EVIL), model=Path(EVIL))
    assert answer.raters is not None
    html = page(dataclasses.replace(answer, raters=dataclasses.replace(answer.raters, names=(EVIL, "b", "c"))), no_pictures)
    tree = parsed(html)
    scripts = list(tree.iter(f"{SPACE}script"))
    assert len(scripts) == 2 and "alert" not in scripts[0].text and not set("<>&\u2028") & set(scripts[1].text)
    assert json.loads(scripts[1].text)["classes"][0] == EVIL  # what is saved is exact
    assert not [name for each in tree.iter() for name in each.attrib if isinstance(name, str) and name.startswith("on")]
    assert TOLD in words(tree, "bdi") and f"{TOLD} -a1b2 {TOLD} -c3d4" in words(tree, "code")
    ids = [each.get("id") for each in tree.iter() if each.get("id")]
    links = {each.get("href") for each in tree.iter(f"{SPACE}a")}
    assert len(ids) == len(set(ids)) and {link[1:] for link in links} <= set(ids) and {link[0] for link in links} == {"#"}
    addresses = [each.get(name) for each in tree.iter() for name in ("src", "srcset", "data", "poster") if each.get(name)]
    assert addresses == [] and not {each.tag for each in tree.iter()} & {f"{SPACE}{name}" for name in ("link", "iframe", "object", "form")}


def test_it_answers_in_plain_words_first() -> None:
    answer = small(
        audit=dataclasses.replace(small().audit, twins=(Twins((0, 3), True, 0, True, False), Twins((1, 2), False, 2, False, True)))
    )
    answer = dataclasses.replace(answer, verdict=dataclasses.replace(answer.verdict, noise_rate=Interval(0.4, 0.2, 0.6)))
    said = " ".join("".join(parsed(page(answer, no_pictures)).itertext()).replace("\xa0", " ").split())
    assert "About 40 % of the labels are wrong: some 2 of 5 (95 % interval: 20 to 60 %, or 1 to 3 labels)." in said
    assert (
        "Look first at the 3 labels below: about 1.8 (1.2 to 2.4) of them are expected to be wrong; among as many picked at random" in said
    )
    assert "hardly any" not in said
    open_end = dataclasses.replace(answer, verdict=dataclasses.replace(answer.verdict, noise_rate=Interval(0.4, 0.0, 0.6)))
    assert "It may be that hardly any is: the interval reaches down to none." in page(open_end, no_pictures)
    assert answer.verdict.check.sentence() in said and "missed 16" in said and "about 9 were right" in said
    assert "1 group of identical images has different labels: in each, at least one label is wrong for certain." in said
    assert "1 group of copies lies in more than one part" in said
    assert "labels.csv" in said and "label_file" in said and "right on 94 % of held-out samples: out/model" in said


def test_where_nothing_is_wrong_it_says_so() -> None:
    answer = small(model=None, budget=2)
    verdict = dataclasses.replace(
        answer.verdict, wrong=np.zeros(5), state=np.zeros(5, np.uint8), flagged=np.zeros(5, bool), precision=None,
        noise_rate=Interval(0, 0, 0.1), curve_at=(), curve=(), confusion=np.diag([2.0, 3.0]),
    )  # fmt: skip
    html = page(dataclasses.replace(answer, verdict=verdict), no_pictures)
    said = " ".join("".join(parsed(html).itertext()).split())
    assert "is called wrong" in said and "No label of those to look at is more likely wrong than right." in said
    assert "Needs care" not in said and "No two images are the same or nearly." in said and "<svg" not in html
    assert 'id="hard"' not in html and 'id="people"' not in html and "Until then" not in said


def test_a_check_that_called_nothing_wrong_promises_nothing() -> None:
    answer, nothing = small(), Interval(float("nan"), float("nan"), float("nan"))
    check = dataclasses.replace(answer.verdict.check, found=nothing, precision=nothing, flagged=0)
    answer = dataclasses.replace(answer, verdict=dataclasses.replace(answer.verdict, check=check))
    said = page(answer, no_pictures)
    assert "trust only your own eyes" in said and not re.search(r"\bnan\b", said.partition("<body>")[2])
    assert json.loads(clean_json(answer))["self_check"]["found"] == {"value": None, "low": None, "high": None}


def test_a_picture_says_what_it_is() -> None:
    shown = section(page(small(), lambda positions: [("image/png", b"x") for _ in positions]), "likely")
    first = shown.split("<figure")[1]
    assert 'alt="3.png, labelled a"' in first and 'data-i="3"' in first and "<b>95 %</b> likely wrong" in first
    assert "<b class=wrong><bdi>a</bdi></b>" in first and "<b class=right><bdi>b</bdi> <small" in first
    assert 'role="img" aria-label="' in first and "rank among all labels: hsa 100 %" in first
    assert "truly" not in first


def test_pairs_of_classes_come_the_most_frequent_first() -> None:
    answer = make_answer(300, ("a", "b", "c"), budget=300, rate=0.3)
    heads = re.findall(r"<h3>(.*?)</h3>", section(page(answer, no_pictures), "likely"))
    counts = [int(re.findall(r"<small>(\d+) labels?</small>", head)[0]) for head in heads if head.startswith("labelled")]
    assert len(counts) >= 3 and counts == sorted(counts, reverse=True)
    assert heads[0].startswith('labelled <span class="wrong"><bdi>')


def test_pictures_are_asked_once_and_what_does_not_fit_is_left_out() -> None:
    asked: list[int] = []

    def huge(positions: Sequence[int]) -> list[tuple[str, bytes] | None]:
        asked.extend(positions)
        return [("image/webp", bytes(LARGEST_PICTURES // 10))] * len(positions)

    html = page(make_answer(200, budget=60, twins=[Twins((0, 1), True, 0, False, False)]), huge)
    assert len(asked) == len(set(asked)) and {0, 1} <= set(asked)
    assert html.count("<img ") <= 10 and "no picture" in html and len(html) < 15_000_000


def test_classes_that_no_screen_has_room_for_are_listed() -> None:
    many = [f"class {k}" for k in range(40)]
    html = page(make_answer(400, many, rate=0.3), no_pictures)
    assert "matrix" not in section(html, "classes") and section(html, "classes").count("<tr>") == 1 + 40 + 1 + 20
    assert 'class="grid matrix"' in page(make_answer(400, many[:16]), no_pictures)


def test_the_curve_tells_its_numbers() -> None:
    html = page(small(), no_pictures)
    (label,) = re.findall(r'<svg [^>]*aria-label="([^"]*)"', html)
    assert "of the 1 most suspicious 90 % (80 to 100 %); of the 2 most" in label and "of the 3 most suspicious 60 % (40 to 80 %)" in label
    assert "asked for 90 %" in html and "to look at 3" in html and "called wrong 1" in html


@pytest.mark.parametrize("n", [2_000, 50_000])
def test_the_page_stays_small(n: int) -> None:
    """200 + 60 pictures and 40 groups of copies of 20 kB each take what pictures take; the rest does not grow with the data."""
    twins = [Twins((i, i + 1), True, 0, i % 3 == 0, i % 5 == 0) for i in range(0, n // 2, 2)]
    answer = make_answer(n, [f"class {k}" for k in range(9)], budget=1_000, twins=twins)
    html = page(answer, lambda positions: [("image/webp", bytes(20_000))] * len(positions))
    assert "Look first at the <b>1,000 labels</b>:" in html and "at the 200 pictures below, or at the first 1,000 lines" in html
    assert 4_000_000 < len(html) < 11_000_000
    assert len(page(answer, no_pictures)) < 700_000
    assert html.count("<figure") <= 200 + 60 + 80 and "800 " not in section(html, "hard")
    assert labels_csv(answer).count("\n") == n + 1
