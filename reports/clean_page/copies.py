"""Copies and near copies with their pictures side by side, files that could not be read, and notes."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.clean.answer import Answer
from benchmark.clean.audit import Twins
from benchmark.html_page import text
from reports.clean_page.gallery import Pictures, figure
from reports.clean_page.reading import twins_in_order
from reports.clean_page.words import name, named

__all__ = ["MOST_PICTURES", "PICTURED", "copies", "pictured"]

PICTURED = 40
"""Groups of copies that are shown as pictures; more are listed."""
MOST_PICTURES = 6
"""Of one group."""
LISTED = 300
"""Lines of a list; what is beyond is in clean.json."""
PARTS = ("for training", "held out for validation", "held out for testing")


def pictured(answer: Answer) -> list[int]:
    """The samples whose pictures this chapter shows."""
    return [i for twin in twins_in_order(answer.audit.twins)[:PICTURED] for i in twin.samples[:MOST_PICTURES]]


def copies(answer: Answer, pictures: Pictures) -> str:
    """The chapter."""
    audit = answer.audit
    twins = twins_in_order(audit.twins)
    parts = ['<section id="copies" aria-labelledby="hcopies"><h2 id="hcopies">Copies and files</h2>', _overview(audit.twins)]
    parts += [_group(answer, twin, pictures) for twin in twins[:PICTURED]]
    if len(twins) > PICTURED:
        parts.append(_more(answer, twins[PICTURED:]))
    if audit.unreadable:
        lines = [f"{name(path)}: {text(why)}" for path, why in audit.unreadable.items()]
        parts.append(f"<h3>Files that could not be read <small>{len(lines):,}</small></h3>{_list(lines)}")
    if audit.notes:
        parts.append(f"<h3>Notes</h3>{_list([text(note) for note in audit.notes])}")
    return "\n".join([*parts, "</section>"])


def _overview(twins: Sequence[Twins]) -> str:
    if not twins:
        return "<p>No two images are the same or nearly.</p>"
    exact, near = sum(twin.exact for twin in twins), sum(not twin.exact for twin in twins)
    found = [f"{named(exact, 'group')} of identical images"] * (exact > 0) + [f"{named(near, 'group')} of images that look alike"] * (
        near > 0
    )
    return (
        f"<p>{' and '.join(found)}; those with different labels first. Identical images with different labels cannot both be right. "
        "Copies in two parts of the data make a model look better than it is: keep one, or keep all in one part.</p>"
    )


def _group(answer: Answer, twin: Twins, pictures: Pictures) -> str:
    title = "Identical" if twin.exact else f"Look alike <small>distance {twin.distance}</small>"
    marks = ['<span class="badge warn">different labels</span>'] * twin.conflict + [
        '<span class="badge warn">in two parts</span>'
    ] * twin.leak
    shown = []
    for i in twin.samples[:MOST_PICTURES]:
        part = int(answer.scores.part[i])
        note = f'<div class="said"><span>here</span> {PARTS[part] if part < len(PARTS) else part}</div>' if twin.leak else ""
        shown.append(figure(answer, i, "copy", pictures.get(i), note))
    rest = len(twin.samples) - len(shown)
    more = f"<p>and {named(rest, 'more image')}</p>" if rest else ""
    inner = "\n".join(shown)
    return f'<div class="group twins"><h3>{title} {" ".join(marks)}</h3><div class="pictures">\n{inner}\n</div>{more}</div>'


def _more(answer: Answer, twins: Sequence[Twins]) -> str:
    lines = []
    for twin in twins:
        names = ", ".join(f"{name(answer.paths[i])} ({name(answer.classes[answer.scores.given[i]])})" for i in twin.samples[:MOST_PICTURES])
        rest = len(twin.samples) - MOST_PICTURES
        lines.append(("identical: " if twin.exact else "look alike: ") + names + (f" and {rest} more" if rest > 0 else ""))
    return f'<details class="fold"><summary>{named(len(twins), "more group")} of copies</summary>{_list(lines)}</details>'


def _list(lines: Sequence[str]) -> str:
    items = "".join(f"<li>{line}</li>" for line in lines[:LISTED])
    rest = f"<p>and {len(lines) - LISTED:,} more, in clean.json</p>" if len(lines) > LISTED else ""
    return f'<ul class="notes">{items}</ul>{rest}'
