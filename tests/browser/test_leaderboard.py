"""The leaderboard in a real browser: what can be pressed, what is told without eyes, and that nothing leaves the page."""

from __future__ import annotations

import dataclasses
import io
import json
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from reports.page import page
from tests.browser.picture import take
from tests.reports.boards import board_of, make_board, with_published

SECONDS = {"ce": 9.5, "gce": 12.0, "elr": 100.0}
EVIL = "\"><img src=x onerror=alert(1)><script>alert(2)</script>'</script>&amp; $`${x}` שלום"
FIRST = ".condition:not([hidden]) tbody tr:not([hidden]) th[scope=row] bdi"


@pytest.fixture
def html(result) -> str:
    """Two data sets with two noises each; ``cl`` lacks a seed, ``elr`` was told the rate of the noise."""
    results = []
    for d, dataset in enumerate(("cells", "tissue")):
        for n, noise in enumerate(("symmetric:0.2", "symmetric:0.4")):
            for m, (method, seconds) in enumerate(SECONDS.items()):
                told = ["noise_rate"] if method == "elr" else None
                more = {"cost/seconds": 0.0}
                for seed in range(2):
                    found = result(
                        method, seed, 0.9 - 0.01 * m - 0.1 * n - 0.02 * d + 0.01 * seed, dataset=dataset, noise=noise, oracle=told
                    )
                    found["cost"]["seconds"] = seconds
                    results.append(found | {"metrics": found["metrics"] | {"more": more}})
            results.append(result("cl", 0, 0.95, dataset=dataset, noise=noise))
    board = board_of(results)
    chapter = board.chapters[0]
    chapter = dataclasses.replace(chapter, comparison=with_published(chapter.comparison))
    return page(dataclasses.replace(board, chapters=(chapter,)))


@pytest.fixture
def shown(chromium, html) -> Any:
    chromium.open(html)
    return chromium


def methods(browser: Any, condition: int = 0) -> list[str]:
    return browser.texts(f"#c1-{condition} tbody tr:not(.more) th bdi")


def head(title: str) -> str:
    """A selector cannot ask for a text; the place of a column can."""
    return f"#c1-0 thead th:nth-child({title}) button"


def column(browser: Any, title: str) -> int:
    return 1 + [
        words.rstrip("†") for words in browser.run("return [...document.querySelectorAll('#c1-0 thead th')].map(e => e.textContent)")
    ].index(title)


def test_nothing_is_loaded_and_nothing_complains(shown) -> None:
    shown.click(".toggle")
    shown.run("for (const each of document.querySelectorAll('details')) each.open = true")
    shown.run("document.querySelector('#c1-0 .pictures').scrollIntoView({ behavior: 'instant' })")
    shown.wait(
        lambda: shown.run("return [...document.images].filter(i => i.closest('#c1-0')).every(i => i.complete && i.naturalWidth > 0)")
    )
    addresses = shown.requests()
    assert addresses and {address.partition(":")[0] for address in addresses} <= {"file", "data"}
    assert sum(address.startswith("file:") for address in addresses) == 1
    assert shown.complaints() == []


def test_only_the_script_of_the_page_runs(chromium, html) -> None:
    chromium.open(
        html.replace("<main>", "<main><script>document.title = 'smuggled'</script><img src=x onerror=\"document.title='smuggled'\">")
    )
    assert chromium.run("return document.title") == "Leaderboard"
    assert any("Content Security Policy" in words for words in chromium.complaints())


def test_a_column_sorts_by_numbers_and_the_third_press_restores(shown) -> None:
    assert methods(shown) == ["ce", "gce", "elr", "cl"]
    place = column(shown, "secs")
    shown.click(head(place))  # best first: the least seconds; as texts, 100 would come first
    assert methods(shown) == ["ce", "gce", "cl", "elr"] or methods(shown) == ["ce", "cl", "gce", "elr"]
    assert shown.run("return document.querySelector('#c1-0 [aria-sort]').getAttribute('aria-sort')") == "ascending"
    shown.click(head(place))
    assert methods(shown)[0] == "elr" and methods(shown)[-1] == "ce"
    assert "secs, descending" in shown.texts("#status")[0]
    shown.click(head(place))
    assert methods(shown) == ["ce", "gce", "elr", "cl"]
    assert shown.run("return document.querySelectorAll('[aria-sort]').length") == 0


def test_the_keyboard_sorts_and_what_has_no_rank_stays_last(shown) -> None:
    shown.run("document.querySelector(arguments[0]).focus()", head(2))
    shown.press("\ue007")
    assert methods(shown) == ["ce", "gce", "elr", "cl"]
    shown.press(" ")
    assert methods(shown) == ["elr", "gce", "ce", "cl"]


def test_search_and_filters_choose_rows(shown) -> None:
    assert shown.texts("#status") == ["16 of 16 rows"]
    shown.type("#search", "GCE 0.4")
    assert shown.texts("#status") == ["2 of 16 rows"] and shown.texts(FIRST) == ["gce", "gce"]
    assert shown.texts(".condition h4 bdi") == ["symmetric:0.4"] * 2
    shown.type("#choice-set", "tissue")
    assert shown.texts("#status") == ["1 of 16 rows"] and shown.texts(".set h3") == ["tissue"]
    shown.type("#search", "nowhere")
    assert shown.texts("#status") == ["0 of 16 rows"] and shown.texts("#empty")
    shown.type("#search", "")
    shown.type("#choice-set", "")
    shown.click("#tick-incomplete")
    assert shown.texts("#status") == ["12 of 16 rows"] and "cl" not in shown.texts(FIRST)
    shown.click("#tick-oracle")
    assert shown.texts("#status") == ["8 of 16 rows"] and set(shown.texts(FIRST)) == {"ce", "gce"}


def test_a_view_stands_in_the_address(chromium, html) -> None:
    chromium.open(html, at="#?search=elr&set=cells&incomplete=1&noise=no+such")
    assert chromium.texts("#status") == ["2 of 16 rows"]
    assert chromium.run("return [search.value, document.getElementById('tick-incomplete').checked]") == ["elr", True]
    chromium.type("#search", "ce")
    assert chromium.run("return location.hash") == "#?search=ce&set=cells&incomplete=1"


def test_columns_are_chosen(shown) -> None:
    assert "AUROC" not in shown.texts("#c1-0 thead th") and "acc last k" in shown.texts("#c1-0 thead th")
    shown.click(".menu summary")
    ticks = shown.texts(".menu fieldset label")
    shown.click(".menu fieldset input", ticks.index("AUROC"))
    shown.click(".menu fieldset input", ticks.index("acc sel"))
    heads = shown.texts("#c1-0 thead th")
    assert "AUROC" in heads and "acc sel" not in heads
    assert shown.run("return document.querySelectorAll('#c1-0 tbody tr:first-child > *').length") == 4 + 21
    assert len(shown.texts("#c1-0 tbody tr:first-child > *")) == len(heads)
    shown.click(".menu .button[type=button]", 1)  # usual
    assert "AUROC" not in shown.texts("#c1-0 thead th")
    assert shown.texts("#c1-0 .ci") == []
    shown.click("#tick-intervals")
    assert "[89.5, 91.5]" in shown.texts("#c1-0 .ci")
    shown.run("document.querySelector('.menu summary').focus()")
    shown.press("\ue00c")
    assert shown.run("return document.querySelector('.menu').open") is False


def test_a_row_opens_to_charts_that_tell_their_numbers(shown) -> None:
    shown.run("document.querySelector('#c1-0 .toggle').focus()")
    assert shown.run("return document.activeElement.getAttribute('aria-label')") == "Details of ce"
    shown.press(" ")
    assert shown.run("return document.activeElement.getAttribute('aria-expanded')") == "true"
    charts = shown.run(
        "return [...document.querySelectorAll('.more svg')].map(e => [e.getAttribute('role'), e.getAttribute('aria-label')])"
    )
    assert {role for role, _ in charts} == {"img"} and len(charts) == 6
    told = " | ".join(words for _, words in charts)
    assert "Finding wrong labels: precision 82.5 % (79.5 % to 85.5 %) at recall 50 %, chance 40.0 %" in told
    assert "Calibration: mean gap between confidence and accuracy 8.0 %, overconfident by 8.0 %" in told
    assert "Calibrationred: gap 8.0 %, 2 seeds together" in shown.texts(".more .chart h5")  # the table has the mean of each seed's
    assert "right labels 97.3 % (96.3 % to 98.3 %) after epoch 5" in told and "selected epoch 3.6" in told
    facts = shown.texts(".more .told")[0]
    assert "python -m benchmark run --methods " in facts and "--seeds 0-1" in facts
    assert shown.run("return document.querySelectorAll('.more .told code')[0].textContent.split(' ').length") == 2
    shown.press("\ue00c")
    assert shown.run("return document.activeElement.getAttribute('aria-expanded')") == "false"
    assert shown.run("return document.querySelectorAll('.more').length") == 0


def test_many_classes_show_the_worst_and_the_most_frequent(chromium, result) -> None:
    chromium.open(page(make_board(result, classes=[f"class {place}" for place in range(30)], epochs=130)))
    chromium.click(".toggle")
    titles = chromium.texts(".chart h5")
    assert "Most frequent confusionsof the true class, 2 seeds" in titles and not any("matrix" in title for title in titles)
    assert "Recall by classthe worst 14 of 30, mean and range, 2 seeds" in titles
    assert "Test accuracy by epochmean and range, dashed: selected, 2 seeds, every 3 epochs" in titles
    assert len(chromium.texts(".chart ol li")) == 10 and "of 30 classes" in chromium.run(
        "return document.querySelector('svg[aria-label^=\"Recall\"]').getAttribute('aria-label')"
    )


def test_what_has_no_files_says_so(chromium, result) -> None:
    board = make_board(result)
    chromium.open(page(dataclasses.replace(board, chapters=(dataclasses.replace(board.chapters[0], evidence={}, galleries={}),))))
    chromium.click(".toggle")
    assert chromium.texts(".more p") == ["There are no files of these runs to draw from."] and chromium.texts(".more svg") == []
    assert "seeds0, 1" in chromium.texts(".more .told")[0] and chromium.complaints() == []


def test_details_stay_with_their_row(shown) -> None:
    shown.click("#c1-0 .toggle", 2)
    shown.click(head(2))
    shown.click(head(2))
    assert shown.run("return document.querySelector('#c1-0 .more').previousElementSibling.querySelector('bdi').textContent") == "elr"
    shown.type("#search", "gce")
    assert shown.run("return document.querySelector('#c1-0 .more').checkVisibility()") is False


def test_a_gallery_opens(shown) -> None:
    assert shown.texts("#c1-0 .pictures figure") == []
    shown.run("document.querySelector('#c1-0 .gallery summary').focus()")
    shown.press("\ue007")
    first, second, third = shown.texts("#c1-0 .pictures figcaption")
    assert first.startswith("labelled normal rightsuggested serrated wrong") and "4 of 4 methods" in first
    assert second.startswith("labelled serrated wrongsuggested adenocarcinoma right")
    assert "right" not in third and "wrong" not in third and "20: slides/tile_0002.png" in third


def test_the_theme_follows_the_system_or_the_button(chromium, html) -> None:
    background = "return getComputedStyle(document.body).backgroundColor"
    chromium.open(html, theme="dark")
    dark = chromium.run(background)
    chromium.click("#theme")
    light = chromium.run(background)
    assert (dark, light) == ("rgb(20, 23, 27)", "rgb(255, 255, 255)")
    assert chromium.texts("#theme") == ["Theme: light"]
    chromium.click("#theme")
    chromium.scheme("light")
    assert chromium.run(background) == dark
    chromium.click("#theme")
    assert chromium.run(background) == light and chromium.texts("#theme") == ["Theme: auto"]


def test_without_storage_the_theme_still_turns(chromium, html) -> None:
    broken = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('denied', 'SecurityError'); } });"
    script = chromium.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": broken})
    try:
        chromium.open(html)
        chromium.click("#theme")
        assert chromium.texts("#theme") == ["Theme: light"] and chromium.complaints() == []
    finally:
        chromium.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


@pytest.mark.parametrize("width", [320, 480, 768, 1024, 1280, 1600])
def test_the_page_never_scrolls_sideways(chromium, html, width: int) -> None:
    chromium.open(html, width=width)
    chromium.click(".toggle")
    chromium.run("for (const each of document.querySelectorAll('details')) each.open = true")
    needed, there = chromium.run("const root = document.documentElement; return [root.scrollWidth, root.clientWidth]")
    assert needed == there and width - there < 20
    inside = chromium.run("const box = document.querySelector('.more .inside').getBoundingClientRect(); return [box.left, box.right]")
    assert inside[0] >= 0 and inside[1] <= width
    assert chromium.run("return Math.min(...[...document.querySelectorAll('.more svg')].map(e => e.getBoundingClientRect().width))") > 180


def test_everything_that_can_be_used_has_a_name(shown) -> None:
    shown.click(".toggle")
    shown.run("for (const each of document.querySelectorAll('details')) each.open = true")
    found = shown.names()
    assert {"button", "checkbox", "combobox", "searchbox", "link", "image", "region", "navigation"} <= {
        {"img": "image"}.get(role, role) for role, _ in found
    }
    assert [each for each in found if not each[1].strip() and each[0] != "group"] == []
    assert [name for role, name in found if role == "region"].count("symmetric:0.4 tissue · quick") == 1  # far below, and named


CONTRAST = """
const pad = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const rgba = (colour) => {
  pad.clearRect(0, 0, 1, 1); pad.fillStyle = colour; pad.fillRect(0, 0, 1, 1);
  return pad.getImageData(0, 0, 1, 1).data;
};
const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (e) => {
  for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] > 250) return c; }
  return [255, 255, 255];
};
const low = [];
for (const e of document.querySelectorAll('body *')) {
  const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
  if (!own || !e.checkVisibility() || e.closest('script, title, option')) continue;
  const look = getComputedStyle(e), ink = rgba(e instanceof SVGElement ? look.fill : look.color);
  const [a, b] = [light(ink), light(behind(e))].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) low.push(`${e.tagName} ${e.className?.baseVal ?? e.className} ${ratio.toFixed(2)} ${e.textContent.slice(0, 30)}`);
}
return [...new Set(low)];
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(chromium, html, theme: str) -> None:
    chromium.open(html, theme=theme)
    chromium.click(".toggle")
    chromium.run("for (const each of document.querySelectorAll('details')) each.open = true")
    chromium.run("document.documentElement.classList.add('intervals')")
    assert chromium.run(CONTRAST) == []


def test_foreign_names_are_inert_wherever_they_stand(chromium, result) -> None:
    name = f"ce{EVIL}"
    board = make_board(result, methods=(name, "gce", "elr"), datasets=(EVIL,), noises=(EVIL,), classes=(EVIL, f"b{EVIL}"))
    before = chromium.driver.window_handles
    chromium.open(page(dataclasses.replace(board, title=EVIL)))
    chromium.click(".toggle")
    chromium.run("for (const each of document.querySelectorAll('details')) each.open = true")
    chromium.type("#search", "<script>alert(2)</script>")
    assert chromium.texts("#status") == ["3 of 3 rows"]
    assert chromium.texts("#c1-0 tbody bdi")[0] == name
    assert chromium.run("return document.querySelector('.more .inside').getAttribute('aria-label')") == f"Details of {name}, {EVIL}, {EVIL}"
    assert EVIL in chromium.run("return [...document.querySelectorAll('.more svg title')].map(e => e.textContent)")
    assert chromium.run("return [document.title, document.querySelectorAll('img[src=x], [onerror]').length]") == [EVIL, 0]
    kinds = chromium.run("return [...document.scripts].map(e => e.type)")
    assert kinds == ["", "application/json"]
    assert chromium.complaints() == [] and chromium.driver.window_handles == before


def test_the_page_reads_without_its_script(chromium, html) -> None:
    chromium.open(html, script=False)
    try:
        words = chromium.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": "document.body.innerText"})["result"]["value"]
        assert "symmetric:0.4" in words and "AUROC" in words and "90.5 ± 0.7" in words.replace("\u00a0", " ").replace("\n", " ")
        assert "incomplete (1 of 2 seeds)" in words and "Theme" not in words and "Search" not in words
        count = chromium.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": "document.querySelectorAll('button, input').length"})
        assert count["result"]["value"] == 0
    finally:
        chromium.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def labels(browser: Any, chart: str, selector: str) -> list[tuple[str, float, float]]:
    """Texts of a chart with their left and lower ends."""
    code = """
    const chart = [...document.querySelectorAll('.chart')].find(e => e.querySelector('h5').textContent.startsWith(arguments[0]));
    return [...chart.querySelectorAll(arguments[1])].map(e => {
      const box = e.getBoundingClientRect();
      return [e.firstChild.textContent, box.left, box.bottom];
    });"""
    return [tuple(each) for each in browser.run(code, chart, selector)]


def with_curves(html: str, test: list[int], validation: list[int]) -> str:
    """The page with other ends of its curves, in ten-thousandths."""
    head, mark, rest = html.partition('<script type="application/json">')
    data, end, rest = rest.partition("</script>")
    found = json.loads(data)
    found["rows"][0]["epochs"] = list(range(len(test)))
    found["rows"][0]["curves"] = {"test": [test] * 3, "validation": [validation] * 3}
    return head + mark + json.dumps(found) + end + rest


@pytest.mark.parametrize(("test", "validation"), [([9000, 9990], [8000, 9600]), ([8000, 9600], [9000, 9990]), ([9000, 9990], [9000, 9980])])
def test_names_of_curves_stand_in_the_order_of_the_curves(chromium, html, test: list[int], validation: list[int]) -> None:
    """The upper line has no room above it; its name must not slip below that of the lower one."""
    chromium.open(with_curves(html, test, validation))
    chromium.click(".toggle")
    found = sorted(labels(chromium, "Test accuracy", ".label"), key=lambda each: each[2])
    assert [name for name, *_ in found] == (["test", "noisy validation"] if test[-1] > validation[-1] else ["noisy validation", "test"])
    assert found[1][2] - found[0][2] >= 10


def test_epochs_are_whole_and_the_axis_is_named_by_its_metric(chromium, html) -> None:
    chromium.open(with_curves(html, [9000, 9500], [8000, 8500]))
    chromium.click(".toggle")
    words = [name for name, *_ in labels(chromium, "Test accuracy", "text")]
    assert words[words.index("epoch") - 2 : words.index("epoch") + 2] == ["0", "1", "epoch", "accuracy, %"]


def test_a_confusion_matrix_leaves_room_for_its_names_and_no_more(chromium, result) -> None:
    lefts = []
    for classes in ("0123", ("adenocarcinoma", "mmmmmmmmmmm", "b", "c")):
        chromium.open(page(make_board(result, classes=classes)))
        chromium.click(".toggle")
        title = chromium.run(
            "return [...document.querySelectorAll('.chart text')].find(e => e.textContent === 'true class').getBoundingClientRect().right"
        )
        names = [left for name, left, _ in labels(chromium, "Confusion", "text[text-anchor=end]:not([transform])")]
        assert len(names) == 4
        lefts.append(chromium.run("return Number(document.querySelector('svg[aria-label^=Confusion] rect').getAttribute('x'))"))
        if classes == "0123":
            assert min(names) > title
    assert lefts[0] < 40 < 90 < lefts[1]


def test_what_a_run_costs_is_said(shown) -> None:
    shown.click(".toggle")
    assert "cost of a runtime " in shown.texts(".more .told")[0]
    assert "(mean, 2 seeds)" in shown.texts(".more .told")[0]


def test_the_way_around_leads_to_what_is_shown(shown) -> None:
    assert shown.texts(".contents li li li") == ["symmetric:0.2", "symmetric:0.4"] * 2
    shown.type("#choice-set", "tissue")
    shown.type("#choice-noise", "symmetric:0.4")
    assert shown.texts(".contents li li li") == ["symmetric:0.4"] and shown.texts(".contents li li > a")[0] == "tissue"
    shown.type("#choice-set", "")
    assert shown.texts(".contents li li li") == ["symmetric:0.4"] * 2


def test_an_address_that_changes_changes_the_view(shown) -> None:
    shown.type("#search", "ce")
    shown.run("location.hash = '#?search=elr&oracle=1'")
    shown.wait(lambda: shown.texts("#status") == ["0 of 16 rows"])
    shown.run("location.hash = '#?set=cells'")
    shown.wait(lambda: shown.texts("#status") == ["8 of 16 rows"])
    assert shown.run("return [search.value, document.getElementById('tick-oracle').checked]") == ["", False]
    shown.run("location.hash = '#c1-1'")
    assert shown.texts("#status") == ["8 of 16 rows"]


def test_a_name_opens_its_row(shown) -> None:
    shown.click("#c1-0 tbody th bdi")
    assert shown.texts("#c1-0 .more .told") and shown.run("return document.querySelector('.toggle').ariaExpanded") == "true"
    shown.click("#c1-0 tbody th bdi")
    assert shown.texts("#c1-0 .more .told") == []


@pytest.mark.parametrize(("width", "pairs"), [(1600, 1), (1280, 1), (768, 0)])
def test_figures_of_a_row_are_equally_high(chromium, result, tmp_path, width: int, pairs: int) -> None:
    for name, high in (("a", 300), ("b", 120)):
        size = f'width="300" height="{high}" viewBox="0 0 300 {high}"'
        (tmp_path / f"{name}.svg").write_text(f"<svg xmlns='http://www.w3.org/2000/svg' {size}><rect {size}/></svg>")
    figures = [SimpleNamespace(title=n, caption=n * 300, alt=n, svg=tmp_path / f"{n}.svg", png=tmp_path / f"{n}.png") for n in "ab"]
    chromium.open(page(make_board(result), figures), width=width)  # type: ignore[arg-type]
    boxes = "return [...document.querySelectorAll('.drawn .card')].map(e => e.getBoundingClientRect()).map(b => [b.top, b.bottom])"
    chromium.run("for (const each of document.images) each.loading = 'eager'")
    chromium.wait(lambda: chromium.run("return [...document.querySelectorAll('.drawn img')].every(i => i.complete && i.naturalWidth)"))
    first, second = chromium.run(boxes)
    assert (first == second) is bool(pairs)


def test_long_names_take_three_lines_and_paper_has_them_whole(chromium, result) -> None:
    name = "setting=" + "x" * 300
    chromium.open(page(make_board(result, methods=(name, "ce"), datasets=("folder:" + "y" * 300,))))
    heights = "return ['.contents bdi', '.condition .name bdi'].map(s => document.querySelector(s).getBoundingClientRect().height)"
    assert max(chromium.run(heights)) < 75
    chromium.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert chromium.run(heights)[1] > 75


def test_a_picture_of_the_page(chromium, html, result) -> None:
    picture = Image.open(io.BytesIO(take(chromium, html)))
    assert picture.size[0] == 2560 and 1600 < picture.size[1] <= 3400
    assert chromium.texts(".condition h4 bdi") == ["symmetric:0.4"] and chromium.texts(".more .chart h5") and chromium.complaints() == []
    colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24)}
    wanted = chromium.run("return JSON.parse(document.querySelector('#c1-0 > script').textContent).rows[1].colour").lstrip("#")
    red, green, blue = (int(wanted[at : at + 2], 16) for at in (0, 2, 4))
    assert min(abs(r - red) + abs(g - green) + abs(b - blue) for r, g, b in colours) <= 24
    with pytest.raises(ValueError, match="no rows"):
        take(chromium, page(dataclasses.replace(make_board(result), chapters=())))
