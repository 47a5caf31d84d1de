"""``gallery.html``: the strips of each method on one page that needs nothing else, neither files nor a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmark.html_page import document, encoded, image, paragraphs, section, text
from reports import style
from reports.overlay_sheet import Key, Table
from reports.overlays import Strip

__all__ = ["SIDE", "Chapter", "Part", "page"]

SIDE = 192
"""Pixels of a picture's longer side here: small enough for a page of hundreds."""

_STYLE = """
body { max-width: 1500px; }
ul.keys { background: Canvas; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; margin: .5rem 0; padding: .3rem 0; }
@media screen and (min-width: 600px) and (min-height: 500px) { ul.keys { position: sticky; top: 0; } }
i.key { display: inline-block; height: 1em; margin-right: .4em; outline: 1px solid var(--rim); vertical-align: -.12em; width: 1em; }
.strips { display: flex; flex-wrap: wrap; gap: .7rem; }
.strip { background: var(--soft); border: 1px solid var(--line); border-radius: 8px; break-inside: avoid; display: flex; flex-wrap: wrap;
  gap: .6rem; padding: .6rem; }
figure { width: 192px; }
img { margin: 0 auto; }
@media (max-width: 480px) {
  .strip { width: 100%; }
  figure { width: calc(50% - .3rem); }
  img { height: auto; max-width: 100%; }
}
@media print {
  .strips { display: block; }
  .strip { flex-wrap: nowrap; margin-bottom: .6rem; }
  figure { flex: 0 1 192px; min-width: 0; }
  img { height: auto; max-width: 100%; }
}
figcaption b { color: CanvasText; display: block; }
"""


@dataclass(frozen=True)
class Part:
    """What one method says. notes: lines below its name."""

    method: str
    notes: Sequence[str]
    tables: Sequence[Table]


@dataclass(frozen=True)
class Chapter:
    """One set of data with one noise and seed. parts: made one after the other, so that one method's pictures are held at a time."""

    title: str
    keys: Sequence[Key]
    methods: Sequence[str]
    parts: Iterable[Part]


def page(title: str, notes: Sequence[str], chapters: Iterable[Chapter]) -> str:
    """The page. Every text is escaped: names of methods, data, organs and files come from elsewhere.

    Args:
        title: its heading. notes: lines below it.
    """
    return document(title, notes, "\n".join(_chapter(number, chapter) for number, chapter in enumerate(chapters, 1)), _STYLE)


def _chapter(number: int, chapter: Chapter) -> str:
    keys = "".join(f'<li><i class="key" style="{_swatch(key)}"></i>{text(key.label)}</li>' for key in chapter.keys)
    parts = ("\n".join([paragraphs(part.notes), *_tables(part)]) for part in chapter.parts)
    return section(number, chapter.title, chapter.methods, parts, above=f'<ul class="keys" aria-label="colours">{keys}</ul>')


def _tables(part: Part) -> Iterator[str]:
    for table in part.tables:
        if table.strips:
            strips = "\n".join(f'<div class="strip">{"".join(_figures(strip))}</div>' for strip in table.strips)
            yield f'<h4>{text(table.title)}</h4>\n<div class="strips">\n{strips}\n</div>'


def _figures(strip: Strip) -> Iterator[str]:
    """Each tile with its words; the first, which is the image, tells in its first line which one the others are of."""
    from PIL import Image

    of = strip.tiles[0].lines[0] if strip.tiles[0].lines else ""
    for tile in strip.tiles:
        height, width = tile.pixels.shape[:2]
        shown = image(
            *encoded(Image.fromarray(tile.pixels)), f"{tile.title}, {of}" if of else tile.title, f'width="{width}" height="{height}"'
        )
        yield f"<figure>{shown}<figcaption><b>{text(tile.title)}</b>{'<br>'.join(map(text, tile.lines))}</figcaption></figure>"


def _swatch(key: Key) -> str:
    """The style of a colour's square, on white as the pictures mostly are; colours come from the palette."""
    if not key.colour:
        return f"background: repeating-linear-gradient(135deg, {style.QUIET} 0 2px, #fff 2px 4px)"
    if key.outline:
        return f"background: linear-gradient({key.colour}4d, {key.colour}4d) #fff; border: 2px solid {key.colour}"
    return f"background: {key.colour}"
