"""The report of a real call of ``clean`` in a real browser: what was written opens, shows its pictures, and asks for nothing."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.notebook import CleanLabels, clean_labels

EVIL = "\"><img src=x onerror=alert(1)>'</script>"


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CleanLabels]:
    """The folder of an answer about 90 images of three classes, one with a name that is markup, with two copies."""
    base, rng, rows = tmp_path_factory.mktemp("answer"), np.random.default_rng(0), []
    classes = ("normal", "serrated", EVIL)
    for i in range(90):
        true = i % 3
        pixels = rng.integers(0, 60, (8, 8, 3)).astype(np.uint8)
        pixels[..., true] += 140
        Image.fromarray(pixels).save(base / f"{i:02d}.png")
        rows.append((f"{i:02d}.png", classes[(true + 1) % 3 if i % 10 == 0 else true]))
    (base / "10.png").write_bytes((base / "12.png").read_bytes())
    with (base / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("path", "label"), *rows])
    given: dict[str, Any] = {"methods": "aum,confident_learning", "features": "identity", "epochs": 4, "image_size": 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCHMARK_CACHE", str(base / "data-root"))
        found = clean_labels(base / "labels.csv", base / "out", **given, jobs=1, device="cpu", quiet=True)
    return base / "out", found


def test_the_page_opens_shows_pictures_and_asks_for_nothing(chromium: Any, answer: tuple[Path, CleanLabels]) -> None:
    out, found = answer
    html = (out / "report.html").read_text(encoding="utf-8")
    chromium.open(html)
    chromium.run("localStorage.clear()")
    chromium.open(html)
    assert chromium.texts("h1") == ["Which labels are wrong?"]
    chromium.run("for (const each of document.querySelectorAll('details')) each.open = true")
    shown = "return [...document.images].every(i => { i.loading = 'eager'; return i.complete && i.naturalWidth > 0 })"
    chromium.wait(lambda: chromium.run(shown), 20)
    total = len(chromium.texts(".explorer .sample"))
    assert total == chromium.run("return document.querySelectorAll('.explorer .sample img').length") > 20  # every file has its picture
    chromium.type("#search", "10.png")
    assert "10.png" in " ".join(chromium.texts(".explorer .sample")) and len(chromium.texts(".explorer .sample")) < total
    assert EVIL in set(found.table["given"]) and EVIL in " ".join(chromium.texts("main"))
    chromium.click(".decide button")
    addresses = chromium.requests()
    assert {address.partition(":")[0] for address in addresses} <= {"file", "data"}
    assert sum(address.startswith("file:") for address in addresses) == 1
    assert chromium.complaints() == []
    conflicts = found.table[found.table["conflict"] == 1]
    assert sorted(conflicts["path"]) == ["10.png", "12.png"]
    chromium.type("#search", "")
    assert len(chromium.texts("#copies .sample")) >= 2
