"""``heatmaps.html``: maps of slides, hard negatives and pseudo labels of several runs on one page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.html_page import document, encoded, image, paragraphs, section, text

__all__ = ["Chapter", "Part", "Picture", "page"]

_STYLE = """
body { max-width: 1200px; }
figure { background: #fff; border: 1px solid var(--line); border-radius: 8px; margin: .8rem 0; max-width: 100%; padding: .8rem;
  width: fit-content; }
.wide { overflow-x: auto; }
figcaption { color: #5b6470; }
@media print {
  .wide { overflow: visible; }
  img { height: auto; max-height: 20cm; max-width: 100%; width: auto; }
}
"""
"""A figure keeps its size, for its words must stay readable: on a narrow screen it is moved sideways."""


@dataclass(frozen=True)
class Picture:
    """A figure. file: its PNG. caption: what it is. seen: what it looks like, for those who do not see it."""

    file: Path
    caption: str
    seen: str


@dataclass(frozen=True)
class Part:
    """What one run says. notes: lines below the method's name."""

    method: str
    notes: Sequence[str]
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Chapter:
    """Runs on one set of data. pictures: of all of them together."""

    title: str
    notes: Sequence[str]
    pictures: Sequence[Picture]
    parts: Sequence[Part]


def page(title: str, notes: Sequence[str], chapters: Iterable[Chapter]) -> str:
    """The page, its pictures inside. Every text is escaped: names of methods, data and slides come from elsewhere.

    Args:
        title: its heading. notes: lines below it.
    """
    return document(title, notes, "\n".join(_chapter(number, chapter) for number, chapter in enumerate(chapters, 1)), _STYLE)


def _chapter(number: int, chapter: Chapter) -> str:
    parts = ("\n".join([paragraphs(part.notes), *map(_figure, part.pictures)]) for part in chapter.parts)
    pictures = "\n".join(map(_figure, chapter.pictures))
    return section(number, chapter.title, [part.method for part in chapter.parts], parts, paragraphs(chapter.notes), pictures)


def _figure(picture: Picture) -> str:
    """Half as wide as the PNG is in pixels, for screens with fine ones; what is wider than the screen scrolls, with the keyboard, too."""
    from PIL import Image

    caption = text(picture.caption)
    with Image.open(picture.file) as opened:
        width, height = opened.width // 2, opened.height // 2
        shown = image(*encoded(opened), picture.seen, f'width="{width}" height="{height}"')
    scrolled = f'<div class="wide" role="region" aria-label="{caption}" tabindex="0">{shown}</div>'
    return f"<figure>{scrolled}<figcaption>{caption}</figcaption></figure>"
