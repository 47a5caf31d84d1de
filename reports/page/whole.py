"""The page as a whole: what it says first, the way around it, its figures, and where the numbers come from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from benchmark.html_page import document, image, text
from reports import style
from reports.board import Board, Chapter, Provenance
from reports.escape import DAGGER
from reports.page.assets import script_of, style_of
from reports.page.cells import BEFORE, CLOSE, meanings, off
from reports.page.conditions import condition
from reports.page.standings import standings

__all__ = ["Figure", "page"]

STYLES = ("page.css", "tables.css", "details.css", "charts.css")
SCRIPTS = ("theme.js", "sorting.js", "fields.js", "filters.js", "charts.js", "curves.js", "details.js")
"""In the order in which they stand in the one script of the page."""
LARGEST_SVG = 500_000
"""Bytes; of a larger figure the page has the picture of pixels, if that is smaller."""


FIRST_FIGURES = 8
"""That stand open."""
WIDEST_IN_COLUMN = 560
"""Pixels of a figure that shares its row with another."""
MANY_ROWS = 200
"""From so many on, a browser lays a table out only when it comes near; before, no reader of screens then finds its rows in Chromium."""


class Figure(Protocol):
    """A figure that was drawn: what it shows in words, and its files."""

    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def caption(self) -> str: ...  # noqa: D102
    @property
    def alt(self) -> str: ...  # noqa: D102
    @property
    def svg(self) -> Path: ...  # noqa: D102
    @property
    def png(self) -> Path: ...  # noqa: D102


def page(board: Board, figures: Sequence[Figure] = ()) -> str:
    """The leaderboard as one file of HTML; names in it are foreign text.

    Args:
        board: what it shows. figures: in their order, after the first standings.
    """
    names = {entry.method for chapter in board.chapters for group in chapter.comparison.groups for entry in group.entries}
    # black is the colour of letters, which are light on a dark page
    colours = {name: "var(--fg)" if look.colour == style.INK else look.colour for name, look in style.looks(sorted(names)).items()}
    alone = len(board.chapters) == 1
    parts = [_summary(board, len(names)), '<div class="columns">', _navigation(board, bool(figures))]
    parts.append('<div class="content" id="content" tabindex="-1">')
    for number, chapter in enumerate(board.chapters, 1):
        title = "Overall" if alone else f"Overall: {_title(chapter)}"
        parts.append(standings(chapter.comparison, number, title, colours))
    rows = sum(len(group.entries) for chapter in board.chapters for group in chapter.comparison.groups)
    explorer = f'<div class="explorer{" many" if rows >= MANY_ROWS else ""}">'
    parts += [_figures(figures), explorer, '<div class="tools" id="tools"></div>']
    for number, chapter in enumerate(board.chapters, 1):
        parts.append(_chapter(chapter, number, colours, "Conditions" if alone else _title(chapter)))
    if not any(chapter.comparison.groups for chapter in board.chapters):
        parts.append('<p class="note">There are no finished runs yet.</p>')
    parts += ["</div>", "" if board.provenance is None else _provenance(board.provenance), "</div>", "</div>"]
    widest = max((len(chapter.comparison.columns) for chapter in board.chapters), default=0) + BEFORE + 1
    hidden = "".join(
        f'.js [data-hide~="{n}"] .condition td:nth-child({n}),.js [data-hide~="{n}"] .condition th:nth-child({n}){{display:none}}\n'
        for n in range(2, widest + 1)
    )
    top = '<a class="skip" href="#content">Skip to the tables</a>\n<div class="bar" id="bar"></div>\n'
    return document(board.title, [], "\n".join(parts), style_of(*STYLES) + hidden, script_of(*SCRIPTS), top)


def _summary(board: Board, methods: int) -> str:
    groups = [group for chapter in board.chapters for group in chapter.comparison.groups]
    runs = sum(len(chapter.comparison.runs) for chapter in board.chapters)
    sets = len({group.dataset for group in groups})
    counts = ((runs, "run"), (methods, "method"), (sets, "data set"), (len(groups), "condition"))
    tiles = "".join(f"<div><dt>{name}{'' if many == 1 else 's'}</dt><dd>{many:,}</dd></div>" for many, name in counts)
    rules = (
        ("<b>91.2</b>", "best of its column"),
        ("<u>90.8</u>", "second best"),
        ("± 0.4", "standard deviation over seeds; the 95 % bootstrap interval of the mean shows on demand"),
        (CLOSE, "not separable from the best"),
        (DAGGER, "chosen with the truth: an upper bound, not a result"),
        ("–", "no number, or not complete: such a method has no rank"),
    )
    keys = "".join(f"<div><dt>{mark}</dt><dd>{words}</dd></div>" for mark, words in rules)
    return (
        '<div class="summary"><p class="lede">How well methods learn from wrong labels, compared on the same data, noise and seeds. A '
        f'method that lacks one of them is shown, and not ranked.</p>\n<dl class="tiles">{tiles}</dl>\n<dl class="keys">{keys}</dl></div>'
    )


def _navigation(board: Board, figures: bool) -> str:
    alone = len(board.chapters) == 1
    items = [
        f'<li><a href="#o{number}">Overall{"" if alone else ": " + text(_title(chapter))}</a></li>'
        for number, chapter in enumerate(board.chapters, 1)
    ]
    items += ['<li><a href="#figures">Figures</a></li>'] if figures else []
    for number, chapter in enumerate(board.chapters, 1):
        sets = []
        for place, (dataset, positions) in enumerate(_by_dataset(chapter).items()):
            named = ((p, chapter.comparison.groups[p]) for p in positions)
            noises = "".join(f'<li><a href="#c{number}-{p}"><bdi>{text(group.noise)}</bdi></a></li>' for p, group in named)
            sets.append(f'<li><a href="#s{number}-{place}"><bdi>{text(dataset)}</bdi></a><ul>{noises}</ul></li>')
        title = "Conditions" if alone else text(_title(chapter))
        items.append(f'<li><a href="#t{number}">{title}</a>{"<ul>" + "".join(sets) + "</ul>" if sets else ""}</li>')
    items.append('<li><a href="#provenance">Provenance</a></li>')
    return f'<nav class="contents" aria-label="On this page"><ul>{"".join(items)}</ul></nav>'


def _chapter(chapter: Chapter, number: int, colours: Mapping[str, str], title: str) -> str:
    hide = " ".join(map(str, off(chapter.comparison)))
    parts = [
        f'<section class="task" id="t{number}" data-hide="{hide}" data-task="{text(_title(chapter))}" aria-labelledby="ht{number}">',
        f'<h2 id="ht{number}">{text(title)}</h2>',
        meanings(chapter.comparison) if chapter.comparison.groups else "",
    ]
    for place, (dataset, positions) in enumerate(_by_dataset(chapter).items()):
        parts.append(f'<section class="set" id="s{number}-{place}"><h3><bdi>{text(dataset)}</bdi></h3>')
        parts += [condition(chapter, position, number, colours) for position in positions]
        parts.append("</section>")
    return "\n".join([*filter(None, parts), "</section>"])


def _by_dataset(chapter: Chapter) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for position, group in enumerate(chapter.comparison.groups):
        found.setdefault(group.dataset, []).append(position)
    return found


def _title(chapter: Chapter) -> str:
    return chapter.task[:1].upper() + chapter.task[1:].replace("_", " ")


def _figures(figures: Sequence[Figure]) -> str:
    """The first of them, and the others where one asks for them."""
    if not figures:
        return ""
    parts = ['<section class="figures" id="figures" aria-labelledby="hfigures"><h2 id="hfigures">Figures</h2>']
    parts += ['<div class="drawings">', *_cards(figures[:FIRST_FIGURES]), "</div>"]
    if more := _cards(figures[FIRST_FIGURES:]):
        parts.append(f'<details class="fold"><summary>{len(more)} more figures</summary><div class="drawings">')
        parts += [*more, "</div></details>"]
    return "\n".join([*parts, "</section>"])


def _cards(figures: Sequence[Figure]) -> list[str]:
    """Those that need no more than a column stand in pairs; one that is left over has the row to itself."""
    shown = [_picture(figure) for figure in figures]
    narrow = [place for place, (_, width) in enumerate(shown) if width <= WIDEST_IN_COLUMN]
    alone = narrow[-1] if len(narrow) % 2 else None
    return [
        _card(figure, picture, wide=width > WIDEST_IN_COLUMN or place == alone)
        for place, (figure, (picture, width)) in enumerate(zip(figures, shown, strict=True))
    ]


def _picture(figure: Figure) -> tuple[str, int]:
    """Its svg file, or the smaller png where that one is huge, and its width in pixels."""
    content, media = figure.svg.read_bytes(), "image/svg+xml"
    found = re.search(rb'<svg[^>]*? width="([\d.]+)(pt|px)?"', content[:4000])
    width = round(float(found[1]) * (4 / 3 if found[2] == b"pt" else 1)) if found else WIDEST_IN_COLUMN
    if len(content) > LARGEST_SVG and figure.png.stat().st_size < len(content):
        content, media = figure.png.read_bytes(), "image/png"
    return image(media, content, figure.alt, f'loading="lazy" decoding="async" style="--width:{width}px"'), width


def _card(figure: Figure, picture: str, *, wide: bool) -> str:
    caption = f"<b>{text(figure.title)}.</b> {text(figure.caption)}"
    card = f'<div class="card" tabindex="0" role="group" aria-label="{text(figure.title)}">'  # it scrolls where the screen is narrow
    return f'<figure class="drawn{" wide" if wide else ""}">{card}{picture}</div><figcaption>{caption}</figcaption></figure>'


def _provenance(found: Provenance) -> str:
    lines = [("command", f"<code>{text(found.command)}</code>"), ("version", text(found.benchmark)), ("read from", text(found.source))]
    lines.append(("filters", "<br>".join(map(text, found.filters)) or "none"))
    for name, known in (("hosts", found.hosts), ("commits", found.commits)):
        counted = (f"{text(what) or 'unknown'} <small>({many} {'run' if many == 1 else 'runs'})</small>" for what, many in known.items())
        lines.append((name, "<br>".join(counted) or "not known"))
    rows = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in lines)
    head = '<section id="provenance" aria-labelledby="hprovenance"><h2 id="hprovenance">Provenance</h2>'
    return f'{head}<dl class="facts">{rows}</dl></section>'
