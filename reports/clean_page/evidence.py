"""Why to believe it: precision by how far one looks, how sure the answer is of each label, and what each method is worth here."""

from __future__ import annotations

import numpy as np

from benchmark.clean.answer import Answer
from benchmark.html_page import text
from reports.clean_page.drawing import precision_curve
from reports.clean_page.words import name, named, share, table

__all__ = ["evidence"]

BINS = 10


def evidence(answer: Answer) -> str:
    """The chapter."""
    parts = ['<section id="evidence" aria-labelledby="hevidence"><h2 id="hevidence">How sure is it</h2>']
    parts.append(f'<div class="charts wide">{precision_curve(answer)}{_histogram(answer)}</div>')
    parts += ["<h3>What each method says</h3>", _methods_words(answer), _methods(answer), "</section>"]
    return "\n".join(filter(None, parts))


def _histogram(answer: Answer) -> str:
    counts, _ = np.histogram(np.clip(answer.verdict.wrong, 0, 1), bins=BINS, range=(0, 1))
    most = max(1, int(counts.max()))
    rows = "".join(
        f'<tr><th scope="row">{100 * place // BINS} to {100 * (place + 1) // BINS} %</th>'
        f'<td><span class="level" style="--p:{100 * many / most:.1f}%"></span></td><td>{many:,}</td></tr>'
        for place, many in enumerate(counts.tolist())
    )
    return (
        '<div class="chart"><h5>How likely each label is wrong<small>number of labels by probability; most should stand at one of the ends'
        '</small></h5><table class="bars"><caption class="unseen">Labels by the probability that they are wrong</caption>'
        f"{rows}</table></div>"
    )


def _methods_words(answer: Answer) -> str:
    check = answer.verdict.check
    words = (
        "The methods look at the same labels in different ways, and their ranks are combined by weight. Average precision is how well each "
        f"ranks the labels that were changed for the check above those that are right: 100 % is perfect, chance is {share(check.rate)}. "
        f"All together reach {share(check.average_precision)}."
    )
    return f"<p>{text(words)}</p>"


def _methods(answer: Answer) -> str:
    verdict, scores, check = answer.verdict, answer.scores, answer.verdict.check
    rows = []
    order = sorted(range(len(scores.methods)), key=lambda m: -verdict.weights.get(scores.methods[m], 0.0))
    for m in order:
        method = scores.methods[m]
        weight, alone = verdict.weights.get(method), check.alone.get(method)
        rows.append(
            f'<tr><th scope="row" data-value="{text(method)}">{name(method)}</th>{_bar(weight)}{_bar(alone)}'
            f"{_count(scores.flagged[m])}</tr>"
        )
    rows.append(f'<tr class="sum"><th scope="row">all together</th><td>–</td>{_bar(check.average_precision)}{_count(verdict.flagged)}</tr>')
    heads = (("method", "up"), ("weight", "down"), ("average precision in the check", "down"), ("calls wrong", "down"))
    return table(f"What {named(len(rows) - 1, 'method')} say", heads, rows)


def _bar(value: float | None) -> str:
    if value is None or not np.isfinite(value):
        return "<td>–</td>"
    return f'<td data-value="{value:.4f}"><span class="level" style="--p:{100 * value:.1f}%"></span> {share(value)}</td>'


def _count(flagged: np.ndarray) -> str:
    many = int(flagged.sum())
    return f'<td data-value="{many}">{many:,} <small>{share(many / max(1, len(flagged)))}</small></td>'
