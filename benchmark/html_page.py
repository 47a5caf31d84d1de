"""The frame of every HTML page: one file that needs no other and no network, with one rule for foreign text.

Galleries of masks and of labels, heat maps of slides and the leaderboard put their bodies into it. It knows light and dark, narrow
screens and paper. A page has no script, or one of its own that the policy names by its hash; no other ever runs.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["POLICY", "document", "encoded", "image", "one_line", "paragraphs", "policy", "section", "text"]

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What a browser may load for a page: the pictures inside it and its own style. Anything that slipped through escaping stays inert."""

QUALITY = 80
"""Of lossy pictures: thin lines and small print stay clean."""
LARGEST_WEBP = 16_383
"""Pixels of a side: the format's limit."""

_STYLE = """
:root { color-scheme: light dark; --line: #d0d4da; --soft: #f5f6f8; --dim: #5b6470; --bad: #b3261e; --good: #0b6e4f; --rim: #8a919b; }
@media screen and (prefers-color-scheme: dark) {
  :root { --line: #3a4048; --soft: #23272d; --dim: #a3acb8; --bad: #ff8a80; --good: #6fd6ae; }
}
* { box-sizing: border-box; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1400px; overflow-wrap: anywhere; padding: 1.5rem; }
h1 { font-size: 1.3rem; margin: 0 0 .3rem; }
h2 { border-top: 1px solid var(--line); font-size: 1.15rem; margin: 2rem 0 .4rem; padding-top: 1rem; }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .2rem; scroll-margin-top: 3rem; }
h4 { font-size: .95rem; margin: .9rem 0 .4rem; }
p { color: var(--dim); margin: .2rem 0; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: .3rem 0; }
:focus-visible { outline: 2px solid Highlight; outline-offset: 2px; }
img { display: block; }
figure { margin: 0; }
figcaption { color: var(--dim); font-size: 12px; margin-top: .3rem; }
@media print {
  :root { color-scheme: light; }
  body { max-width: none; padding: 0; }
  nav { display: none; }
  h2, h3, h4, section > p { break-after: avoid; }
  article, figure { break-inside: avoid; }
  * { print-color-adjust: exact; }
}
"""


def document(title: str, notes: Sequence[str], body: str, style: str = "", script: str = "", top: str = "") -> str:
    """A whole page.

    Args:
        title: its name and heading, foreign text. notes: lines below it, foreign text.
        body: HTML of the main part; whatever is foreign in it went through :func:`text`.
        style: CSS of this kind of page, after that of all pages; its colours are ``--line``, ``--soft``, ``--dim``, ``--bad``,
            ``--good`` and ``--rim``, which follow light and dark.
        script: JavaScript of the page, which runs before the body is read; it is ours, never foreign, and there is no other.
        top: HTML before the heading, such as a link past everything.

    Raises:
        ValueError: a script that HTML would end early.
    """
    code = f"<script>{script}</script>\n" if script else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy(script)}">
<meta name="color-scheme" content="light dark">
<title>{text(title)}</title>
<style>{_STYLE}{style}</style>
{code}</head>
<body>
{top}<header>
<h1>{text(title)}</h1>
{paragraphs(notes)}
</header>
<main>
{body}
</main>
</body>
</html>
"""


def policy(script: str = "") -> str:
    """:data:`POLICY`, and of scripts the one with exactly this text.

    Raises:
        ValueError: a script that HTML would end early, or whose text a browser would change.
    """
    if re.search(r"</script|<!--|\r|\x00", script, re.IGNORECASE):
        raise ValueError("a script inside a page must hold no </script, <!--, carriage return or NUL")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"{POLICY}; script-src 'sha256-{digest}'" if script else POLICY


def section(number: int, title: str, names: Sequence[str], parts: Iterable[str], above: str = "", below: str = "") -> str:
    """A chapter with a heading, links to its parts, and the parts, each below its name.

    Args:
        number: of the chapter on its page, from 1.
        title, names: of the chapter and its parts, foreign text.
        parts: HTML, as many as names; taken one after the other.
        above, below: HTML before and after the links.
    """
    links = "".join(f'<a href="#m{number}-{place}">{text(name)}</a>' for place, name in enumerate(names, 1))
    found = (
        f'<h3 id="m{number}-{place}">{text(name)}</h3>\n{part}' for place, (name, part) in enumerate(zip(names, parts, strict=True), 1)
    )
    lines = [f"<h2>{text(title)}</h2>", above, f'<nav aria-label="methods">{links}</nav>', below, *found]
    return "\n".join(["<section>", *filter(None, lines), "</section>"])


def paragraphs(notes: Iterable[str]) -> str:
    """Lines of foreign text, a paragraph each."""
    return "\n".join(f"<p>{text(line)}</p>" for line in notes)


def image(media: str, content: bytes, alt: str, attributes: str = "") -> str:
    """A picture inside the page.

    Args:
        media: its type, such as ``image/png``. content: the file.
        alt: what is told to those who do not see it, foreign text.
        attributes: more of them, as HTML.
    """
    address = f"data:{media};base64,{base64.b64encode(content).decode()}"
    return f'<img alt="{text(alt)}"{attributes and " " + attributes} src="{address}">'


def encoded(picture: Image) -> tuple[str, bytes]:
    """Media type and content of a picture as WebP, which takes half as much as JPEG and an eighth of PNG with colours as sharp.

    What WebP cannot hold (see :data:`LARGEST_WEBP`), and every picture where Pillow has no WebP, becomes a PNG.
    """
    from PIL import features

    stream = io.BytesIO()
    if max(picture.size) > LARGEST_WEBP or not features.check("webp"):
        picture.convert("RGB").save(stream, "png")
        return "image/png", stream.getvalue()
    picture.convert("RGB").save(stream, "webp", quality=QUALITY, use_sharp_yuv=True)
    return "image/webp", stream.getvalue()


def text(words: str) -> str:
    """Foreign text as HTML, for an element and for an attribute in quotes: one line in which nothing is markup."""
    return escape(one_line(words))


def one_line(words: str) -> str:
    """The text without control characters and line breaks: a name must not steer a terminal or begin a new row."""
    return " ".join("".join(char if char.isprintable() else " " for char in words).split())
