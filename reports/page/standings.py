"""The table over all conditions of a task."""

from __future__ import annotations

from collections.abc import Mapping

from benchmark.html_page import text
from reports.columns import Column
from reports.overall import Overall, Standing
from reports.page.cells import CLOSE, share_or_number
from reports.tables import Comparison
from reports.wording import NOTHING

__all__ = ["standings", "statement"]


def standings(comparison: Comparison, number: int, title: str, colours: Mapping[str, str]) -> str:
    """The section of one task's standings; says so where nothing is compared over conditions."""
    overall, name = comparison.overall, f"o{number}"
    lines = [f'<section class="overall" id="{name}" aria-labelledby="h{name}">', f'<h2 id="h{name}">{text(title)}</h2>']
    if overall is None or not overall.standings:
        return "\n".join([*lines, '<p class="note">Nothing is compared over conditions.</p>', "</section>"])
    lines.append(f"<p>{text(statement(overall))}</p>")
    lines.append(_table(overall, comparison.rank, colours))
    excluded = [
        f"does not count: {comparison.groups[place].dataset} · {comparison.groups[place].noise}: {why}"
        for place, why in overall.left_out.items()
    ]
    notes = [f"{comparison.rank.key}: mean over conditions, each the mean over its seeds, with the 95 % bootstrap interval over conditions"]
    notes += ["a method that lacks a condition has no place: the means would be over different conditions"]
    notes += [f"{CLOSE} not separable from the best average rank"] if overall.friedman else []
    lines.append(f'<ul class="notes">{"".join(f"<li>{text(line)}</li>" for line in [*notes, *excluded])}</ul>')
    return "\n".join([*lines, "</section>"])


def statement(overall: Overall) -> str:
    """What the tests say, or why nothing is tested, in a sentence or two."""
    many = f"{len(overall.groups)} {'condition' if len(overall.groups) == 1 else 'conditions'}"
    if overall.friedman is None:
        why = overall.too_few or "not tested"
        return f"Average ranks over {many}; differences are {why}." if why == "not tested" else f"Average ranks over {many}; {why}."
    p = "p < 0.001" if overall.friedman.p < 0.001 else f"p = {overall.friedman.p:.3f}"
    words = f"Average ranks over {many}. {overall.friedman.name}: statistic {overall.friedman.statistic:.2f}, {p}"
    words += f"; post-hoc: {overall.posthoc}" if overall.posthoc else ""
    if overall.critical_difference is not None:
        words += f", critical difference {overall.critical_difference:.2f} of a rank"
    words += "."
    if overall.cliques:
        words += f" Not separable from each other: {'; '.join(', '.join(clique) for clique in overall.cliques)}."
    return words


def _table(overall: Overall, rank: Column, colours: Mapping[str, str]) -> str:
    titles = (("method", "up"), ("average rank", "up"), (f"{rank.title}, mean", "down" if rank.higher_is_better else "up"))
    head = "".join(f'<th scope="col" data-first="{first}">{text(title)}</th>' for title, first in titles)
    head += '<th scope="col" class="words">95 % interval</th><th scope="col" data-first="down">wins</th>'
    head += '<th scope="col" data-first="up" title="conditions without a complete result">missing</th>'
    ends = [value for each in overall.standings for value in (each.low, each.high, each.mean) if value is not None]
    best = min((each.average_rank for each in overall.standings if each.average_rank is not None), default=None)
    rows = (_row(each, rank, best, (min(ends, default=0.0), max(ends, default=1.0)), overall, colours) for each in overall.standings)
    return (
        '<div class="box" role="region" tabindex="0" aria-label="Standings over all conditions"><table class="grid">'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>"
    )


def _row(found: Standing, rank: Column, best: float | None, ends: tuple[float, float], overall: Overall, colours: Mapping[str, str]) -> str:
    dot = f'<i class="dot" style="--m:{colours.get(found.method, "#777")}"></i>'
    badge = ""
    if found.missing:
        total = len(overall.groups)
        badge = f'<div class="badges"><span class="badge warn">incomplete: lacks {found.missing} of {total} conditions</span></div>'
    cells = [
        f'<th scope="row" data-value="{text(found.method)}"><span class="name">{dot}<bdi>{text(found.method)}</bdi></span>{badge}</th>'
    ]
    if found.average_rank is None:
        cells.append(f"<td>{NOTHING}</td>")
    else:
        shown = f"{found.average_rank:.2f}"
        shown = f"<b>{shown}</b>" if found.average_rank == best else shown
        shown += f' <abbr title="not separable from the best">{CLOSE}</abbr>' if found.close else ""
        cells.append(f'<td data-value="{found.average_rank:.6g}">{shown}</td>')
    if found.mean is None:
        cells += [f"<td>{NOTHING}</td>", f'<td class="words">{NOTHING}</td>']
    else:
        cells.append(f'<td data-value="{found.mean:.6g}">{share_or_number(found.mean, rank)}</td>')
        cells.append(f'<td class="words">{_interval(found, rank, ends)}</td>')
    cells.append(f'<td data-value="{found.wins}">{found.wins}</td><td data-value="{found.missing}">{found.missing or NOTHING}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _interval(found: Standing, rank: Column, ends: tuple[float, float]) -> str:
    """The interval in numbers and as a line on a scale that all rows share."""
    if found.mean is None or found.low is None or found.high is None:
        return NOTHING
    least, span = ends[0], (ends[1] - ends[0]) or 1.0
    low, mean, high = (100 * (value - least) / span for value in (found.low, found.mean, found.high))
    line = f'<span class="span" style="--low:{low:.1f}%;--mean:{mean:.1f}%;--high:{high:.1f}%"></span>'
    return f"{line}{share_or_number(found.low, rank)} to {share_or_number(found.high, rank)}"
