"""``gallery.html``: the strips of each method on one page that needs nothing else, neither files nor a network."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from reports import style
from reports.escape import one_line
from reports.overlay_sheet import Key, Table
from reports.overlays import Tile

__all__ = ["SIDE", "Chapter", "Part", "page"]

SIDE = 192
"""Pixels of a picture's longer side here: small enough for a page of hundreds."""

_STYLE = """
:root { color-scheme: light dark; --line: #d0d4da; --soft: #f5f6f8; --dim: #5b6470; }
@media (prefers-color-scheme: dark) { :root { --line: #3a4048; --soft: #23272d; --dim: #a3acb8; } }
* { box-sizing: border-box; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1500px; overflow-wrap: anywhere; padding: 1.5rem; }
h1 { font-size: 1.3rem; margin: 0 0 .3rem; }
h2 { border-top: 1px solid var(--line); font-size: 1.15rem; margin: 2rem 0 .4rem; padding-top: 1rem; }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .2rem; }
h4 { font-size: .95rem; margin: .9rem 0 .4rem; }
p { color: var(--dim); margin: .2rem 0; }
ul.keys { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; margin: .5rem 0; padding: 0; }
i.key { display: inline-block; height: .8em; outline: 1px solid var(--line); margin-right: .4em; vertical-align: -.05em; width: .8em; }
nav a { margin-right: 1rem; }
.strips { display: grid; gap: .7rem; }
.strip { background: var(--soft); border: 1px solid var(--line); border-radius: 8px; display: flex; flex-wrap: wrap; gap: .6rem;
  padding: .6rem; }
figure { margin: 0; width: 192px; }
img { display: block; margin: 0 auto; }
figcaption { color: var(--dim); font-size: 12px; margin-top: .3rem; }
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
    body = "\n".join(_chapter(number, chapter) for number, chapter in enumerate(chapters, 1))
    told = "\n".join(f"<p>{_text(line)}</p>" for line in notes)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{_text(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header><h1>{_text(title)}</h1>
{told}</header>
<main>
{body}
</main>
</body>
</html>
"""


def _chapter(number: int, chapter: Chapter) -> str:
    keys = "".join(f'<li><i class="key" style="{_swatch(key)}"></i>{_text(key.label)}</li>' for key in chapter.keys)
    links = "".join(f'<a href="#m{number}-{place}">{_text(method)}</a>' for place, method in enumerate(chapter.methods, 1))
    parts = "\n".join(_part(f"m{number}-{place}", part) for place, part in enumerate(chapter.parts, 1))
    return f"""<section>
<h2>{_text(chapter.title)}</h2>
<ul class="keys">{keys}</ul>
<nav>{links}</nav>
{parts}
</section>"""


def _part(anchor: str, part: Part) -> str:
    return "\n".join([f'<h3 id="{anchor}">{_text(part.method)}</h3>', *(f"<p>{_text(line)}</p>" for line in part.notes), *_tables(part)])


def _tables(part: Part) -> Iterator[str]:
    for table in part.tables:
        if table.strips:
            strips = "\n".join(f'<div class="strip">{"".join(map(_figure, strip.tiles))}</div>' for strip in table.strips)
            yield f'<h4>{_text(table.title)}</h4>\n<div class="strips">\n{strips}\n</div>'


def _figure(tile: Tile) -> str:
    height, width = tile.pixels.shape[:2]
    lines = "<br>".join(map(_text, tile.lines))
    image = f'<img alt="{_text(tile.title)}" width="{width}" height="{height}" src="{_address(tile.pixels)}">'
    return f"<figure>{image}<figcaption><b>{_text(tile.title)}</b>{lines}</figcaption></figure>"


def _address(pixels: np.ndarray) -> str:
    """A data URI of a picture: WebP where Pillow can write it, which takes half as much as JPEG with colours as sharp."""
    from PIL import Image, features

    stream = io.BytesIO()
    kind = "webp" if features.check("webp") else "jpeg"
    options = {"quality": 80, "use_sharp_yuv": True} if kind == "webp" else {"quality": 80, "subsampling": 0}
    Image.fromarray(pixels).save(stream, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def _swatch(key: Key) -> str:
    """The style of a colour's square; colours come from the palette."""
    if not key.colour:
        return f"background: repeating-linear-gradient(135deg, {style.QUIET} 0 2px, transparent 2px 4px)"
    return f"background: {key.colour}4d; border: 2px solid {key.colour}" if key.outline else f"background: {key.colour}"


def _text(words: str) -> str:
    return escape(one_line(words))
