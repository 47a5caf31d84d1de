"""Which classes suffer: wrong labels by class, and what is confused with what."""

from __future__ import annotations

import numpy as np

from benchmark.clean.answer import Answer
from benchmark.html_page import text
from reports.clean_page.reading import noise_by_class
from reports.clean_page.words import how_many, name, share, table

__all__ = ["classes"]

LARGEST_MATRIX = 16
"""Classes of a matrix that a screen has room for; of more the most frequent confusions are listed."""
MOST_PAIRS = 20
FULLEST = 42
"""Percent of colour in a matrix's fullest cell: letters on it stay readable."""


def classes(answer: Answer) -> str:
    """The chapter."""
    parts = ['<section id="classes" aria-labelledby="hclasses"><h2 id="hclasses">Which classes</h2>']
    parts += ["<h3>Wrong labels by class</h3>", _by_class(answer)]
    if len(answer.classes) <= LARGEST_MATRIX:
        parts.append("<h3>What is confused with what</h3>")
        parts.append("<p>Expected number of samples by the label they have (row) and the class they should have (column).</p>")
        parts.append(_matrix(answer))
    else:
        parts.append(f"<h3>The {MOST_PAIRS} most frequent confusions</h3>")
        parts.append(_pairs(answer))
    return "\n".join([*parts, "</section>"])


def _by_class(answer: Answer) -> str:
    rows = []
    found = noise_by_class(answer)
    if len(found) > LARGEST_MATRIX:  # nobody reads so many from the top: the worst come first
        found.sort(key=lambda each: -each[2])
    for label, many, wrong, other, part in found:
        rate = wrong / many
        often = f"{name(other)} <small>{share(part)}</small>" if other else "–"
        rows.append(
            f'<tr><th scope="row" data-value="{text(label)}">{name(label)}</th><td data-value="{many}">{many:,}</td>'
            f'<td data-value="{wrong:.3f}">{how_many(round(wrong, 1))}</td>'
            f'<td data-value="{rate:.5f}"><span class="level bad" style="--p:{100 * min(1, rate):.1f}%"></span> {share(rate)}</td>'
            f'<td class="words">{often}</td></tr>'
        )
    heads = (("labelled", "up"), ("samples", "down"), ("expected wrong", "down"), ("share wrong", "down"), ("most often truly", "up"))
    return table("Wrong labels by class", heads, rows)


def _matrix(answer: Answer) -> str:
    counts = np.asarray(answer.verdict.confusion, dtype=np.float64)
    off = counts.copy()
    np.fill_diagonal(off, 0)
    most = max(float(off.max(initial=0.0)), 1e-9)
    head = "".join(f'<th scope="col">{name(label)}</th>' for label in answer.classes)
    rows = []
    for k, label in enumerate(answer.classes):
        cells = []
        for j, value in enumerate(counts[k].tolist()):
            told = text(f"labelled {label}, truly {answer.classes[j]}: {how_many(round(value, 1))}")
            if k == j:
                cells.append(f'<td class="same" title="{told}">{value:,.0f}</td>')
            else:
                shown = how_many(round(value, 1)) if value >= 0.05 else '<span class="none">·</span>'
                cells.append(f'<td style="--p:{FULLEST * value / most:.0f}%" title="{told}">{shown}</td>')
        rows.append(f'<tr><th scope="row">{name(label)}</th>{"".join(cells)}</tr>')
    return (
        '<div class="box" role="region" tabindex="0" aria-label="Expected confusions"><table class="grid matrix"><thead><tr>'
        f'<th scope="col">labelled ↓ truly →</th>{head}</tr></thead>\n<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>'
    )


def _pairs(answer: Answer) -> str:
    off = np.asarray(answer.verdict.confusion, dtype=np.float64).copy()
    np.fill_diagonal(off, 0)
    rows = []
    for place in np.argsort(-off, axis=None, kind="stable")[:MOST_PAIRS].tolist():
        k, j = divmod(place, len(answer.classes))
        if off[k, j] < 0.05:
            break
        cells = (
            f'<td class="words">{name(answer.classes[j])}</td><td data-value="{off[k, j]:.3f}">{how_many(round(float(off[k, j]), 1))}</td>'
        )
        rows.append(f'<tr><th scope="row" data-value="{text(answer.classes[k])}">{name(answer.classes[k])}</th>{cells}</tr>')
    heads = (("labelled", "up"), ("truly", "up"), ("expected samples", "down"))
    return table("The most frequent confusions", heads, rows, sorts=False)
