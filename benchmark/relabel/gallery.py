"""``gallery.html``: the exported images on one page that needs nothing else, neither files nor a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmark.html_page import document, image, text
from benchmark.relabel.selection import percent

_STYLE = """
main { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); margin-top: 1.2rem; }
@media (max-width: 480px) { main { grid-template-columns: 1fr 1fr; } }
article { background: var(--soft); border: 1px solid var(--line); border-radius: 8px; padding: .7rem; }
img { height: 160px; margin: 0 auto .6rem; object-fit: contain; width: 100%; }
img.small { image-rendering: pixelated; }
dl { display: grid; gap: .1rem .5rem; grid-template-columns: auto 1fr; margin: 0; }
dt { color: var(--dim); }
dd { font-weight: 600; margin: 0; }
dd.given { color: var(--bad); }
dd.other { color: var(--good); }
p.reason, p.where { font-size: 12px; margin: .5rem 0 0; }
@media print { img { height: 100px; } }
"""


def page(title: str, notes: Sequence[str], rows: Iterable[tuple[Mapping[str, Any], str, bytes]]) -> str:
    """The page. Every text is escaped: class names and paths come from data.

    Args:
        title: its heading.
        notes: lines below it.
        rows: what ``answers.csv`` says of a sample, and the media type and content of its thumbnail.
    """
    return document(title, notes, "\n".join(_card(number, *row) for number, row in enumerate(rows, 1)), _STYLE)


def _card(number: int, row: Mapping[str, Any], media: str, content: bytes) -> str:
    suggestion = "none"
    if row["suggestion"] is not None:
        suggestion = row["suggestion"] + ("" if row["confidence"] is None else f" · {percent(row['confidence'])}")
    same = row["suggestion"] in (None, row["given"])
    small = 'class="small"' if media == "image/png" else ""
    return f"""<article>
{image(media, content, f"sample {row['index']}, labelled {row['given']}", small)}
<dl><dt>given</dt><dd{"" if same else ' class="given"'}>{text(row["given"])}</dd>
<dt>suggested</dt><dd{"" if same else ' class="other"'}>{text(suggestion)}</dd></dl>
<p class="reason">{text(row["reason"])}</p>
<p class="where">{number} · index {row["index"]} · {text(row["path"])}</p>
</article>"""
