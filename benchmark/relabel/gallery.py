"""``gallery.html``: the exported images on one page that needs nothing else, neither files nor a network."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from benchmark.relabel.selection import percent

_STYLE = """
:root { color-scheme: light dark; --line: #d0d4da; --soft: #f5f6f8; --dim: #5b6470; --given: #b3261e; --other: #0b6e4f; }
@media (prefers-color-scheme: dark) { :root { --line: #3a4048; --soft: #23272d; --dim: #a3acb8; --given: #ff8a80; --other: #6fd6ae; } }
* { box-sizing: border-box; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1400px; padding: 1.5rem; }
h1 { font-size: 1.3rem; margin: 0 0 .3rem; }
header p { color: var(--dim); margin: .2rem 0; }
main { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); margin-top: 1.2rem; }
article { background: var(--soft); border: 1px solid var(--line); border-radius: 8px; overflow-wrap: anywhere; padding: .7rem; }
img { display: block; height: 160px; image-rendering: auto; margin: 0 auto .6rem; object-fit: contain; width: 100%; }
img.small { image-rendering: pixelated; }
dl { display: grid; gap: .1rem .5rem; grid-template-columns: auto 1fr; margin: 0; }
dt { color: var(--dim); }
dd { font-weight: 600; margin: 0; }
dd.given { color: var(--given); }
dd.other { color: var(--other); }
p.reason, p.where { color: var(--dim); font-size: 12px; margin: .5rem 0 0; }
"""


def page(title: str, notes: Sequence[str], rows: Iterable[tuple[Mapping[str, Any], str, bytes]]) -> str:
    """The page. Every text is escaped: class names and paths come from data.

    Args:
        title: its heading.
        notes: lines below it.
        rows: what ``answers.csv`` says of a sample, and the media type and content of its thumbnail.
    """
    cards = "\n".join(_card(number, row, media, image) for number, (row, media, image) in enumerate(rows, 1))
    told = "\n".join(f"<p>{escape(line)}</p>" for line in notes)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header><h1>{escape(title)}</h1>
{told}</header>
<main>
{cards}
</main>
</body>
</html>
"""


def _card(number: int, row: Mapping[str, Any], media: str, image: bytes) -> str:
    suggestion = "none"
    if row["suggestion"] is not None:
        suggestion = escape(row["suggestion"]) + ("" if row["confidence"] is None else f" · {escape(percent(row['confidence']))}")
    same = row["suggestion"] in (None, row["given"])
    small = ' class="small"' if media == "image/png" else ""
    data = base64.b64encode(image).decode()
    return f"""<article>
<img{small} alt="sample {row["index"]}" src="data:{media};base64,{data}">
<dl><dt>given</dt><dd{"" if same else ' class="given"'}>{escape(row["given"])}</dd>
<dt>suggested</dt><dd{"" if same else ' class="other"'}>{suggestion}</dd></dl>
<p class="reason">{escape(row["reason"])}</p>
<p class="where">{number} · index {row["index"]} · {escape(row["path"])}</p>
</article>"""
