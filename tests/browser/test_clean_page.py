"""The report of ``clean`` in a real browser: searching, stepping, deciding and saving, and that nothing leaves the page."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark import noise_file
from benchmark.clean.audit import Twins
from benchmark.relabel.images import thumbnail
from reports.clean_page import page
from tests.browser.test_leaderboard import CONTRAST
from tests.reports.answers import make_answer
from tests.waiting import wait_for

EVIL = "\"><img src=x onerror=alert(1)><script>alert(2)</script>'</script>&amp; $`${x}` שלום"
KEPT = "return Object.keys(localStorage).filter(k => k.startsWith('clean-')).map(k => localStorage.getItem(k))"


def pictures(positions: Sequence[int]) -> list[tuple[str, bytes] | None]:
    """Squares of their own grey, and none of every seventh sample."""
    return [None if i % 7 == 6 else thumbnail(np.full((8, 8, 1), i % 256, dtype=np.uint8)) for i in positions]


def answer(**more: Any) -> Any:
    twins = [Twins((0, 1), True, 0, True, True), Twins((2, 3), False, 4, False, False)]
    values = {"twins": twins, "raters": True, "unreadable": {"a/broken.png": "truncated"}, "rate": 0.2, "budget": 40}
    return make_answer(200, **{"classes": ("normal", "serrated", "tumour"), **values, **more})


@pytest.fixture(scope="module")
def html() -> str:
    return page(answer(), pictures)


@pytest.fixture
def shown(chromium, html) -> Any:
    chromium.open(html)

    def forgotten() -> bool:
        """The browser hands storage from page to page in its own time, what a test before has decided too."""
        chromium.run("localStorage.clear()")
        chromium.open(html)
        return chromium.texts("#progress") == ["nothing decided yet"]

    wait_for(forgotten)
    return chromium


def first(browser: Any, code: str) -> Any:
    """Something of the first picture, ``e``."""
    return browser.run(f"const e = document.querySelector('.sample'); return {code}")


def test_nothing_is_loaded_and_nothing_complains(shown) -> None:
    shown.run("for (const each of document.querySelectorAll('details')) each.open = true")
    shown.run("document.querySelector('#copies').scrollIntoView({ behavior: 'instant' })")
    shown.wait(
        lambda: shown.run("return [...document.images].filter(i => i.closest('#copies')).every(i => i.complete && i.naturalWidth > 0)")
    )
    shown.click(".decide button")
    addresses = shown.requests()
    assert addresses and {address.partition(":")[0] for address in addresses} <= {"file", "data"}
    assert sum(address.startswith("file:") for address in addresses) == 1
    assert shown.complaints() == []


def test_only_the_script_of_the_page_runs(chromium, html) -> None:
    chromium.open(html.replace("<main>", "<main><script>document.title = 'smuggled'</script><img src=x onerror=\"document.title='no'\">"))
    assert chromium.run("return document.title") == "Which labels are wrong?"
    assert any("Content Security Policy" in words for words in chromium.complaints())


def test_search_and_filters_choose_pictures_and_hide_empty_groups(shown) -> None:
    total = len(shown.texts(".explorer .sample"))
    assert shown.texts("#status") == [f"{total} of {total} pictures"] and total >= 40
    shown.type("#choice-given", "normal")
    kept = shown.texts(".explorer .sample .said:first-child b")
    assert kept and set(kept) == {"normal"} and len(kept) < total
    assert all(head.startswith(("labelled normal", "Other", "All")) for head in shown.texts(".explorer .group h3"))
    shown.type("#choice-kind", "hard")
    assert set(shown.texts(".explorer h2")) == {shown.run("return document.querySelector('#hhard').textContent")}
    assert len(shown.texts("#copies .sample")) == 4  # they stand in another chapter
    shown.type("#search", "nowhere")
    assert shown.texts("#status") == [f"0 of {total} pictures"] and shown.texts("#empty")
    assert "search=nowhere" in shown.run("return location.hash")
    for field in ("#search", "#choice-given", "#choice-kind"):
        shown.type(field, "")
    shown.click(".decide button")
    shown.type("#choice-decision", "not decided")
    assert shown.texts("#status") == [f"{total - 1} of {total} pictures"]


def test_the_keyboard_steps_and_decides(shown) -> None:
    order = shown.run("return [...document.querySelectorAll('.sample')].map(e => Number(e.dataset.i))")
    current = "return Number(document.activeElement.dataset.i)"
    shown.press("\ue014")
    assert shown.run(current) == order[0]
    shown.press("\ue014")
    shown.press("\ue014")
    shown.press("\ue012")
    assert shown.run(current) == order[1]
    shown.press("r")
    assert shown.run(current) == order[2] and shown.texts("#progress") == ["1 decided: 1 right, 0 wrong, 0 unsure"]
    shown.press("w")
    shown.press("u")
    assert shown.texts("#progress") == ["3 decided: 1 right, 1 wrong, 1 unsure"]
    assert shown.run("return document.querySelectorAll('.sample[tabindex=\"0\"]').length") == 1
    shown.run("document.querySelector('#search').focus()")
    shown.press("w")
    assert shown.run("return search.value") == "w" and shown.texts("#progress") == ["3 decided: 1 right, 1 wrong, 1 unsure"]


def test_a_wrong_label_takes_what_it_looks_like_until_another_class_is_chosen(shown) -> None:
    looks = first(shown, "e.querySelectorAll('.said b')[1].querySelector('bdi').textContent")
    shown.click(".decide button", 1)
    assert first(shown, "e.querySelector('select').selectedOptions[0].textContent") == looks
    others = first(shown, "[...e.querySelector('select').options].map(o => o.textContent)")
    labelled = first(shown, "e.querySelector('.said b').textContent")
    assert labelled not in others and len(others) == 3
    assert first(shown, "[...e.querySelectorAll('.decide button')].map(b => b.ariaPressed)") == ["false", "true", "false"]
    shown.click(".decide button", 1)  # pressed again it is open again
    assert shown.texts("#progress") == ["nothing decided yet"] and first(shown, "e.querySelector('select').hidden")


def test_decisions_survive_a_second_visit_and_can_be_cleared(shown, html) -> None:
    i = first(shown, "Number(e.dataset.i)")
    shown.click(".decide button", 2)
    assert shown.run(KEPT)[0].startswith(f'{{"{i}":["unsure",')

    def remembered() -> bool:
        """The browser hands storage from page to page in its own time."""
        shown.open(html)
        return shown.texts("#progress") == ["1 decided: 0 right, 0 wrong, 1 unsure"]

    wait_for(remembered)
    assert first(shown, "e.dataset.decision") == "unsure"
    shown.run("window.confirm = () => true")
    shown.click("#forget")
    assert shown.texts("#progress") == ["nothing decided yet"] and shown.run(KEPT) == ["{}"]
    shown.run('localStorage.setItem(Object.keys(localStorage)[0], \'{"0":["evil",99],"x":[1]}\')')
    shown.open(html)
    assert shown.texts("#progress") == ["nothing decided yet"] and shown.complaints() == []


def test_the_same_sample_among_the_copies_is_decided_with_it(shown) -> None:
    shown.click("#copies .decide button")
    i = shown.run("return document.querySelector('#copies .sample').dataset.i")
    assert set(shown.run("return [...document.querySelectorAll(`.sample[data-i='${arguments[0]}']`)].map(e => e.dataset.decision)", i)) == {
        "right"
    }


def saved(browser: Any, folder: Path) -> str:
    """What the button saves, as the browser writes it to disk."""
    browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    browser.click("#save")
    browser.wait(lambda: (folder / "decisions.csv").is_file() and (folder / "decisions.csv").stat().st_size > 0)
    return (folder / "decisions.csv").read_text(encoding="utf-8-sig")


def test_decisions_are_saved_as_a_file_of_labels(chromium, tmp_path: Path) -> None:
    paths = [f'=slide, {i}/"tile".png' for i in range(200)]
    chromium.open(page(answer(classes=("-", "=b", "c"), paths=paths), pictures))
    assert chromium.run("return document.getElementById('save').disabled") is True
    chosen = []
    for place, value in enumerate(("wrong", "right", "unsure")):
        code = (
            "const e = document.querySelectorAll('.sample')[arguments[0]]; e.querySelector(`[value=${arguments[1]}]`).click();"
            "return [Number(e.dataset.i), ...[...e.querySelectorAll('.said b')].map(b => b.querySelector('bdi').textContent)]"
        )
        i, given, looks = chromium.run(code, place, value)
        chosen.append((i, paths[i], given, value, looks if value == "wrong" else given))
    text = saved(chromium, tmp_path)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(rows[0]) == ["index", "path", "given", "decision", "label"]

    def plain(cell: str) -> str:
        return cell[1:] if cell[:2] in ("'=", "'-") else cell

    assert sorted((int(row["index"]), *(plain(row[name]) for name in ("path", "given", "decision", "label"))) for row in rows) == sorted(
        chosen
    )
    assert all(not cell.startswith(("=", "-")) for row in rows for cell in row.values())
    found = noise_file.read(tmp_path / "decisions.csv")
    labels = dict(zip(found.index.tolist(), found.ids(tmp_path, 3, ("-", "=b", "c")).tolist(), strict=True))
    assert labels == {i: ["-", "=b", "c"].index(label) for i, _, _, _, label in chosen}
    assert chromium.complaints() == []
    chromium.run("localStorage.clear()")


def test_tables_sort(shown) -> None:
    column = "return [...document.querySelectorAll('#classes tbody')[0].rows].map(r => Number(r.cells[1].dataset.value))"
    shown.click("#classes thead button", 1)
    assert shown.run(column) == sorted(shown.run(column), reverse=True)


@pytest.mark.parametrize("width", [320, 480, 768, 1024, 1280, 1600])
def test_the_page_never_scrolls_sideways(chromium, html, width: int) -> None:
    chromium.open(html, width=width)
    chromium.click(".decide button", 1)
    chromium.run("for (const each of document.querySelectorAll('details')) each.open = true")
    needed, there = chromium.run("const root = document.documentElement; return [root.scrollWidth, root.clientWidth]")
    assert needed == there and width - there < 20
    cut = "return [...document.querySelectorAll('.decide button')].filter(b => b.scrollWidth > b.clientWidth + 1).length"
    assert chromium.run(cut) == 0
    chromium.run("localStorage.clear()")


def test_everything_that_can_be_used_has_a_name(shown) -> None:
    shown.click(".decide button", 1)
    found = shown.names()
    assert [each for each in found if not each[1].strip()] == []
    roles = {role for role, _ in found}
    assert {"button", "combobox", "searchbox", "link", "region", "navigation", "group"} <= roles and roles & {"img", "image"}
    assert any(name.startswith("Decide on normal/tile_") for role, name in found if role == "group")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(chromium, html, theme: str) -> None:
    chromium.open(html, theme=theme)
    for place in range(3):
        chromium.click(".sample:nth-child(2) .decide button", place)
        assert chromium.run(CONTRAST) == []
    chromium.run("localStorage.clear()")


def test_foreign_names_are_inert_wherever_they_stand(chromium) -> None:
    evil = answer(classes=(EVIL, "b", "c"), paths=[f"{EVIL}{i}" for i in range(200)], methods=(EVIL, "aum"), source=EVIL)
    before = chromium.driver.window_handles
    chromium.open(page(evil, pictures))
    chromium.click(".decide button", 1)
    chromium.type("#search", "<script>alert(2)</script>")
    assert "of" in chromium.texts("#status")[0] and not chromium.texts("#status")[0].startswith("0 ")
    assert chromium.texts(".sample .path")[0].startswith(EVIL)
    assert chromium.run("return [document.title, document.querySelectorAll('img[src=x], [onerror]').length]") == [
        "Which labels are wrong?", 0,
    ]  # fmt: skip
    assert chromium.run("return [...document.scripts].map(e => e.type)") == ["", "application/json"]
    assert chromium.complaints() == [] and chromium.driver.window_handles == before
    chromium.run("localStorage.clear()")


def test_the_page_reads_without_its_script(chromium, html) -> None:
    chromium.open(html, script=False)
    try:
        ask = lambda code: chromium.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": code})["result"]["value"]  # noqa: E731
        words = ask("document.body.innerText").replace("\u00a0", " ")
        assert "of the labels are wrong" in words and "What to do next" in words and "labels.csv" in words
        assert "Save decisions" not in words and "Theme" not in words and "step through" not in words
        assert ask("document.querySelectorAll('button, input, select').length") == 0
        assert ask("document.querySelectorAll('svg path.line').length") == 1
    finally:
        chromium.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
