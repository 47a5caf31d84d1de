"""Where several people labelled the same images: who agrees, and who is reliable."""

from __future__ import annotations

import math

from benchmark.clean.raters import Raters
from benchmark.html_page import text
from reports.clean_page.words import name, named, share, table

__all__ = ["people"]


def people(raters: Raters, by_answers: float | None = None) -> str:
    """The chapter; ``by_answers`` as in :class:`benchmark.clean.answer.Answer`."""
    rated = (raters.labels >= 0).sum(axis=0).tolist()
    rows = []
    for r, rater in enumerate(raters.names):
        cells = "".join(_bar(float(value)) for value in (raters.rater_quality[r], raters.agreement[r]))
        many = int(rated[r])
        rows.append(f'<tr><th scope="row" data-value="{text(rater)}">{name(rater)}</th><td data-value="{many}">{many:,}</td>{cells}</tr>')
    heads = (("rater", "up"), ("labels", "down"), ("quality", "down"), ("agrees with the consensus", "down"))
    words = (
        f"{named(len(raters.names), 'person has', 'people have')} labelled these images. The consensus weighs each by how reliable they "
        "are, and the models' forecasts with them (CROWDLAB). Quality is a person's estimated share of right labels. A low value can also "
        "mean that someone had the hard images: look at them before you judge."
    )
    if by_answers is not None:
        alone = f"By their answers alone, without the images, about {share(by_answers)} of the labels are wrong"
        words += f" {alone}, if each errs on their own."
    head = '<section id="people" aria-labelledby="hpeople"><h2 id="hpeople">Who labelled</h2>'
    return f"{head}\n<p>{text(words)}</p>\n{table('Raters', heads, rows)}\n</section>"


def _bar(value: float) -> str:
    if not math.isfinite(value):
        return "<td>–</td>"
    return f'<td data-value="{value:.4f}"><span class="level" style="--p:{100 * value:.1f}%"></span> {share(value)}</td>'
