"""The table over all conditions of a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from benchmark.html_page import text
from reports.columns import Column
from reports.leaderboard_parts import spoken
from reports.overall import Overall, Standing
from reports.overall_sheet import averaged, conditions, left_out, standing_marks, statement
from reports.page.cells import CLOSE, RULES, badge_list, share_or_number
from reports.tables import Comparison
from reports.wording import NOTHING

__all__ = ["standings"]


def standings(comparison: Comparison, number: int, title: str, colours: Mapping[str, str]) -> str:
    """The section of one task's standings; says so where nothing is compared over conditions."""
    overall, name = comparison.overall, f"o{number}"
    lines = [f'<section class="overall" id="{name}" aria-labelledby="h{name}">', f'<h2 id="h{name}">{text(title)}</h2>']
    if overall is None or not overall.standings:
        return "\n".join([*lines, '<p class="note">Nothing is compared over conditions.</p>', "</section>"])
    group, _, metric = comparison.rank.key.rpartition("/")
    by = " ".join(filter(None, [spoken(metric), RULES.get(group, group)]))
    said = "; ".join([f"average ranks over {conditions(len(overall.groups))}, by {by}", *statement(overall)])
    lines.append(f"<p>{text(said[0].upper() + said[1:])}.</p>")
    lines.append(_table(overall, comparison, colours))
    notes = [averaged(comparison), "a method that lacks a condition has no place: the means would be over different conditions"]
    notes += [f"{CLOSE} not separable from the best average rank"] if overall.friedman else []
    lines.append(f'<ul class="notes">{"".join(f"<li>{text(line)}</li>" for line in [*notes, *left_out(comparison, overall)])}</ul>')
    return "\n".join([*lines, "</section>"])


def _table(overall: Overall, comparison: Comparison, colours: Mapping[str, str]) -> str:
    rank = comparison.rank
    titles = (("method", "up"), ("average rank", "up"), (f"{rank.title}, mean", "down" if rank.higher_is_better else "up"))
    head = "".join(f'<th scope="col" data-first="{first}">{text(title)}</th>' for title, first in titles)
    head += '<th scope="col" class="words">95 % interval</th><th scope="col" data-first="down">wins</th>'
    head += '<th scope="col" data-first="up" title="conditions without a complete result">missing</th>'
    ends = [value for each in overall.standings for value in (each.low, each.high, each.mean) if value is not None]
    best = min((each.average_rank for each in overall.standings if each.average_rank is not None), default=None)
    scale = (min(ends, default=0.0), max(ends, default=1.0))
    rows = (_row(each, comparison, best, scale, colours) for each in overall.standings)
    return (
        '<div class="box" role="region" tabindex="0" aria-label="Standings over all conditions"><table class="grid">'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>"
    )


def _row(found: Standing, comparison: Comparison, best: float | None, scale: tuple[float, float], colours: Mapping[str, str]) -> str:
    rank = comparison.rank
    dot = f'<i class="dot" style="--m:{colours.get(found.method, "#777")}"></i>'
    badge = badge_list(standing_marks(replace(found, close=None), comparison))
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
        cells.append(f'<td class="words">{_interval(found, rank, scale)}</td>')
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
