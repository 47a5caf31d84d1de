"""``heatmaps.html``: maps of slides, hard negatives and pseudo labels of several runs on one page that needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from reports.escape import one_line

__all__ = ["Chapter", "Part", "Picture", "page"]

_STYLE = """
:root { color-scheme: light dark; --line: #d0d4da; --soft: #f5f6f8; --dim: #5b6470; }
@media (prefers-color-scheme: dark) { :root { --line: #3a4048; --soft: #23272d; --dim: #a3acb8; } }
* { box-sizing: border-box; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1200px; overflow-wrap: anywhere; padding: 1.5rem; }
h1 { font-size: 1.3rem; margin: 0 0 .3rem; }
h2 { border-top: 1px solid var(--line); font-size: 1.15rem; margin: 2rem 0 .4rem; padding-top: 1rem; }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .2rem; }
p { color: var(--dim); margin: .2rem 0; }
nav a { margin-right: 1rem; }
figure { background: #fff; border: 1px solid var(--line); border-radius: 8px; margin: .8rem 0; padding: .8rem; }
img { display: block; height: auto; max-width: 100%; }
figcaption { color: #5b6470; font-size: 12px; margin-top: .4rem; }
"""


@dataclass(frozen=True)
class Picture:
    """A figure: its PNG and what it shows."""

    file: Path
    caption: str


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
    body = "\n".join(_chapter(number, chapter) for number, chapter in enumerate(chapters, 1))
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
{_lines(notes)}</header>
<main>
{body}
</main>
</body>
</html>
"""


def _chapter(number: int, chapter: Chapter) -> str:
    links = "".join(f'<a href="#m{number}-{place}">{_text(part.method)}</a>' for place, part in enumerate(chapter.parts, 1))
    parts = "\n".join(_part(f"m{number}-{place}", part) for place, part in enumerate(chapter.parts, 1))
    pictures = "\n".join(map(_figure, chapter.pictures))
    return f"<section>\n<h2>{_text(chapter.title)}</h2>\n{_lines(chapter.notes)}\n<nav>{links}</nav>\n{pictures}\n{parts}\n</section>"


def _part(anchor: str, part: Part) -> str:
    return "\n".join([f'<h3 id="{anchor}">{_text(part.method)}</h3>', _lines(part.notes), *map(_figure, part.pictures)])


def _figure(picture: Picture) -> str:
    caption = _text(picture.caption)
    width, address = _picture(picture.file)
    return f'<figure><img alt="{caption}" width="{width}" src="{address}"><figcaption>{caption}</figcaption></figure>'


def _picture(file: Path) -> tuple[int, str]:
    """Half the width of a PNG in pixels, for screens with fine ones, and its content as a data URI: WebP where Pillow can write it, which
    takes an eighth."""
    from PIL import Image, features

    with Image.open(file) as image:
        width = image.width // 2
        if not features.check("webp"):
            return width, f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"
        stream = io.BytesIO()
        image.convert("RGB").save(stream, "webp", quality=85, use_sharp_yuv=True)
    return width, f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _lines(notes: Sequence[str]) -> str:
    return "\n".join(f"<p>{_text(line)}</p>" for line in notes)


def _text(words: str) -> str:
    return escape(one_line(words))
