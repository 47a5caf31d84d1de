"""A picture of a leaderboard for people who have not opened one: standings, a condition, and what lies behind its best row.

    python -m tests.browser.picture leaderboard.html leaderboard.png

It shows the page as its filters leave it, without the figures, which stand between the two tables, and without some small print.
``tox -e picture -- RUNS`` makes the one in ``docs/pictures``.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path
from typing import Any

from tests.browser.driver import Browser, NoBrowser, start

WIDTH, HIGHEST = 1280, 1600
"""CSS pixels; higher only where the first charts end below."""
LARGEST = 400_000
"""Bytes: a picture of a page in a repository."""
SCALES = (2.0, 1.5, 1.0)
"""Pixels a CSS pixel, as many as the size allows."""
SHOW = """
document.getElementById('figures')?.remove();
const open = (section) => section.querySelector('.toggle').click();
const sections = [...document.querySelectorAll('.task')].flatMap((task) => [...task.querySelectorAll('.condition')].reverse());
const ranked = (section) => section.querySelectorAll('tbody td:nth-child(2)[data-value]').length;
const chosen = sections.sort((a, b) => ranked(b) - ranked(a))[0];
if (!chosen) return [];
for (const [key, value] of [['set', chosen.dataset.set], ['noise', chosen.dataset.noise]]) {
  const field = document.getElementById(`choice-${key}`);
  if (field) { field.value = value; field.dispatchEvent(new Event('change')); }
}
open(chosen);
for (const each of document.querySelectorAll('.overall .notes, .task > .fold')) each.remove();
const cards = [...chosen.querySelectorAll('.chart')].map((each) => each.getBoundingClientRect());
const first = cards.filter((card) => card.top === cards[0].top);
const ends = [[chosen.getBoundingClientRect()], cards, first].filter((boxes) => boxes.length);
return ends.map((boxes) => scrollY + Math.max(...boxes.map((each) => each.bottom)));
"""
"""Only the condition with most ranked methods, of several alike the last, its best row open. Returns where it may end, farthest first."""


def take(browser: Browser, page: str, theme: str = "light") -> bytes:
    """PNG of a page, at most :data:`LARGEST` bytes.

    Args:
        page: HTML of a leaderboard. theme: light or dark.

    Raises:
        ValueError: the page has no rows, or no scale is small enough.
    """
    browser.open(page, width=WIDTH, theme=theme)
    browser.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    features = [{"name": "prefers-color-scheme", "value": theme}, {"name": "prefers-reduced-motion", "value": "reduce"}]
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})
    ends = [round(end) + 14 for end in browser.run(SHOW)]
    if not ends:
        raise ValueError("the page has no rows")
    height = next((end for end in ends if end <= HIGHEST), ends[-1])
    for scale in SCALES:
        browser.resize(WIDTH, height, scale)
        found = _small(browser.driver.get_screenshot_as_png())
        if len(found) <= LARGEST:
            return found
    raise ValueError(f"the picture takes {len(found):,} bytes, more than {LARGEST:,}")


def _small(png: bytes) -> bytes:
    """With 256 colours, chosen so that none is far from its own: the dots of the methods keep theirs."""
    from PIL import Image

    stream = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(stream, "png", optimize=True)
    return stream.getvalue()


def main(words: list[str] | None = None) -> None:
    """The command; ends with a line where it cannot be done."""
    parser: Any = argparse.ArgumentParser(prog="python -m tests.browser.picture", description=__doc__.splitlines()[0])
    parser.add_argument("html", type=Path)
    parser.add_argument("png", type=Path)
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    asked = parser.parse_args(words)
    if not asked.html.is_file():
        raise SystemExit(f"error: {asked.html} is not there; make it with: python -m benchmark report --out DIR")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for name in ("profile", "pages"):
            (Path(folder) / name).mkdir()
        try:
            driver = start(Path(folder) / "profile")
        except NoBrowser as reason:
            raise SystemExit(f"error: {reason}") from None
        try:
            found = take(Browser(driver, Path(folder) / "pages"), asked.html.read_text(encoding="utf-8"), asked.theme)
        except ValueError as reason:
            raise SystemExit(f"error: {asked.html}: {reason}") from None
        finally:
            driver.quit()
    asked.png.parent.mkdir(parents=True, exist_ok=True)
    asked.png.write_bytes(found)


if __name__ == "__main__":
    main()
