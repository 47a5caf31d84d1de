"""The page as a whole: the answer first, then the samples to look at, then why to believe it, and where it comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from benchmark.clean.answer import Answer
from benchmark.html_page import document, text
from reports.clean_page.classes import classes
from reports.clean_page.copies import copies, pictured
from reports.clean_page.evidence import evidence
from reports.clean_page.gallery import Pictures, gallery
from reports.clean_page.people import people
from reports.clean_page.reading import MOST_HARD, MOST_SAMPLES, Selection, select
from reports.clean_page.summary import summary
from reports.page.assets import script_of, style_of
from reports.page.details import in_script

__all__ = ["page"]

STYLES = ("page.css", "tables.css", "charts.css", "reports.clean_page/clean.css")
SCRIPTS = (
    "theme.js", "sorting.js", "fields.js", "reports.clean_page/samples.js", "reports.clean_page/decisions.js", "reports.clean_page/keys.js",
)  # fmt: skip
"""In the order in which they stand in the one script of the page."""
LARGEST_PICTURES = 9_500_000
"""Bytes of all pictures; in the page they take a third more, and the page must stay below 15 MB."""
TITLE = "Which labels are wrong?"

Source = Callable[[Sequence[int]], list[tuple[str, bytes] | None]]
"""Positions of samples → media type and content of a picture of each, None where there is none."""


def page(answer: Answer, pictures: Source) -> str:
    """``report.html``; all names in it are foreign text.

    Args:
        answer: what it shows.
        pictures: asked once, for the samples that the page shows, each once; thumbnails of some 160 pixels.
    """
    chosen = select(answer, MOST_SAMPLES, MOST_HARD)
    seen = _within_limit(answer, chosen, pictures)
    chapters = [("answer", "The answer", ""), ("likely", "Likely wrong", "")]
    chapters += [("doubtful", "Worth a look", "")] if chosen.doubtful else []
    chapters += [("hard", "Hard, but right", "")] if chosen.hard else []
    chapters += [("evidence", "How sure is it", evidence(answer)), ("classes", "Which classes", classes(answer))]
    chapters.append(("copies", "Copies and files", copies(answer, seen)))
    chapters += [] if answer.raters is None else [("people", "Who labelled", people(answer.raters, answer.by_answers))]
    chapters.append(("provenance", "Where this is from", _provenance(answer)))
    parts = ['<div class="columns">', _navigation([(key, title) for key, title, _ in chapters])]
    parts += ['<div class="content" id="content" tabindex="-1">', summary(answer)]
    parts += ['<div class="explorer"><div class="tools" id="tools"></div>', _help(), gallery(answer, chosen, seen)]
    parts += ['<p class="note empty" id="empty" hidden>No picture fits. Take something out of the search.</p></div>']
    parts += [html for _, _, html in chapters if html]
    parts += ["</div></div>", f'<script type="application/json" id="data">{_data(answer, chosen)}</script>']
    top = '<a class="skip" href="#content">Skip to the answer</a>\n<div class="bar" id="bar"></div>\n'
    count = f"{len(answer.paths):,} images, {len(answer.classes):,} classes"
    return document(TITLE, [f"{answer.source}: {count}"], "\n".join(parts), style_of(*STYLES), script_of(*SCRIPTS), top)


def _within_limit(answer: Answer, chosen: Selection, pictures: Source) -> Pictures:
    """The pictures that fit, the most important first."""
    wanted = list(dict.fromkeys([*chosen.likely, *chosen.doubtful, *pictured(answer), *chosen.hard]))
    found: dict[int, tuple[str, bytes]] = {}
    left = LARGEST_PICTURES
    shown_twice = set(pictured(answer)) & {*chosen.likely, *chosen.doubtful, *chosen.hard}
    for i, picture in zip(wanted, pictures(wanted) if wanted else [], strict=True):
        if picture is None:
            continue
        left -= len(picture[1]) * (1 + (i in shown_twice))
        if left < 0:
            break
        found[i] = picture
    return found


def _navigation(chapters: Sequence[tuple[str, str]]) -> str:
    items = "".join(f'<li><a href="#{key}">{title}</a></li>' for key, title in chapters)
    return f'<nav class="contents" aria-label="On this page"><ul>{items}</ul></nav>'


def _help() -> str:
    return (
        '<p class="scripted keys-help"><kbd>←</kbd> <kbd>→</kbd> step through the pictures; <kbd>R</kbd> label right, <kbd>W</kbd> wrong, '
        "<kbd>U</kbd> unsure. Decisions stay in this browser until you save them.</p>"
    )


def _data(answer: Answer, chosen: Selection) -> str:
    """What the decisions are written from: exact names, and a key under which this browser keeps them."""
    shown = dict.fromkeys([*chosen.likely, *chosen.doubtful, *chosen.hard, *pictured(answer)])
    given, suggested = answer.scores.given, answer.verdict.suggested
    samples = [[i, answer.paths[i], int(given[i]), int(suggested[i])] for i in sorted(shown)]
    digest = hashlib.sha256(repr((answer.source, answer.classes, len(answer.paths))).encode())
    digest.update(given.astype("<i8").tobytes())
    return in_script({"key": f"clean-{digest.hexdigest()[:16]}", "classes": answer.classes, "samples": samples})


def _provenance(answer: Answer) -> str:
    lines = [(text(key), f"<code>{text(value)}</code>" if key == "command" else text(value)) for key, value in answer.provenance.items()]
    lines.append(("images", f"<code>{text(str(answer.base))}</code>"))
    for method, keys in answer.runs.items():
        lines.append((f"runs of <bdi>{text(method)}</bdi>", f"<code>{text(' '.join(keys))}</code>"))
    rows = "".join(f"<dt>{key}</dt><dd>{value}</dd>" for key, value in lines)
    head = '<section id="provenance" aria-labelledby="hprovenance"><h2 id="hprovenance">Where this is from</h2>'
    return f'{head}<dl class="facts">{rows}</dl></section>'
