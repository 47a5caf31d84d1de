"""One condition: the table of its methods, what stands below it, and the samples most likely mislabelled."""

from __future__ import annotations

from collections.abc import Mapping

from benchmark.html_page import text
from reports.board import Chapter
from reports.escape import one_line
from reports.page.cells import CLOSE, badges, data_cell, head_cell, published, rank_cell
from reports.page.details import data_of
from reports.page.pictures import gallery
from reports.tables import Comparison, Entry, Group
from reports.wording import footer

__all__ = ["condition", "swatch"]


def condition(chapter: Chapter, position: int, number: int, colours: Mapping[str, str]) -> str:
    """The section of one group.

    Args:
        position: of the group. number: of the chapter on the page, from 1.
        colours: method → CSS colour.
    """
    comparison, group = chapter.comparison, chapter.comparison.groups[position]
    name = f"c{number}-{position}"
    parts = [
        f'<section class="condition" id="{name}" style="--rows:{len(group.entries)}" data-set="{text(group.dataset)}" '
        f'data-noise="{text(group.noise)}" aria-labelledby="h{name}">',
        f'<h4 id="h{name}"><bdi>{text(group.noise)}</bdi> <small>{text(group.dataset)} · {text(group.protocol)}</small></h4>',
        '<div class="late">',  # a browser lays it out when it comes near; the heading is there for all at once
        _table(comparison, group, f"{group.dataset}, {group.noise}", colours),
        _notes(comparison, group),
        gallery(chapter.galleries.get(position)),
        "</div>",
        f'<script type="application/json">{data_of(chapter, position, colours)}</script>',
        "</section>",
    ]
    return "\n".join(filter(None, parts))


def swatch(colour: str) -> str:
    """A dot in the method's colour; colours come from the palette."""
    return f'<i class="dot" style="--m:{colour}"></i>'


def _table(comparison: Comparison, group: Group, name: str, colours: Mapping[str, str]) -> str:
    printed = any(entry.published for each in comparison.groups for entry in each.entries)
    head = ['<th scope="col" data-first="up">method</th>', '<th scope="col" data-first="up" title="1 is best; ties share">rank</th>']
    head += ['<th scope="col" data-first="down" title="seeds behind the numbers">seeds</th>']
    head += [head_cell(column, column.key == comparison.rank.key) for column in comparison.columns]
    head += ['<th scope="col" data-first="down" title="figures that others have printed">published</th>'] if printed else []
    best = {column.key: group.best(column) for column in comparison.columns}
    runner_up = {column.key: group.second(column) for column in comparison.columns}
    rows = []
    for place, entry in enumerate(group.entries):
        cells = [_name(entry, group, colours.get(entry.method, "#777")), rank_cell(entry)]
        cells.append(f'<td data-value="{len(entry.seeds)}">{len(entry.seeds)}</td>')
        cells += [data_cell(entry, column, best[column.key], runner_up[column.key]) for column in comparison.columns]
        cells += [published(entry.published, comparison.columns)] if printed else []
        flags = " ".join([*(["incomplete"] if entry.rank is None and group.solvable else []), *(["oracle"] if entry.oracle else [])])
        about = f' data-flags="{flags}"' if flags else ""
        rows.append(f'<tr data-row="{place}" data-plugin="{text(entry.plugin)}"{about}>{"".join(cells)}</tr>')
    label = text(f"Results: {name}")
    return (
        f'<div class="box" role="region" tabindex="0" aria-label="{label}"><table class="grid">'
        f"<thead><tr>{''.join(head)}</tr></thead>\n<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>"
    )


def _name(entry: Entry, group: Group, colour: str) -> str:
    below = badges(entry, group)
    shown = one_line(entry.method)
    return f'<th scope="row" data-value="{text(shown)}"><span class="name">{swatch(colour)}<bdi>{text(shown)}</bdi></span>{below}</th>'


def _notes(comparison: Comparison, group: Group) -> str:
    """The lines below the table; the differences to the baseline fold away."""
    lines = footer(comparison, group)
    known = len(group.differences)
    plain, folded = (lines[: -known - 1], lines[-known - 1 :]) if known else (lines, [])
    if any(entry.close for entry in group.entries):
        plain.append(f"{CLOSE} not separable from the best: the simultaneous 95 % interval of its paired difference to the best holds zero")
    sources = dict.fromkeys(f"{f.source}: {f.protocol}" for entry in group.entries for f in entry.published)
    plain += [f"published: {source}" for source in sources]
    parts = "".join(f"<li>{text(line)}</li>" for line in plain)
    html = f'<ul class="notes">{parts}</ul>'
    if folded:
        inner = "".join(f"<li>{text(line)}</li>" for line in folded[1:])
        html += f'<details class="fold"><summary>{text(folded[0].rstrip(":"))}</summary><ul class="notes">{inner}</ul></details>'
    return html
