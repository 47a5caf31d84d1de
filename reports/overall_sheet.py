"""The comparison over conditions in words: a table of standings, and what the tests say."""

from __future__ import annotations

from reports.overall import Overall, Standing
from reports.sheet import Sheet
from reports.tables import Comparison, Summary
from reports.wording import NOTHING, interval, number, title

__all__ = ["overall_sheet", "standing_marks", "statement", "verdict"]


def overall_sheet(comparison: Comparison) -> Sheet | None:
    """The standings; None with a single condition or method, where the condition's own table says it all."""
    overall = comparison.overall
    if overall is None or len(comparison.groups) < 2 or len(overall.standings) < 2:
        return None
    name = f"{comparison.rank.title}{' %' if comparison.rank.percent else ''}"
    rows = tuple(_row(standing, comparison) for standing in overall.standings)
    header = ("method", "average rank", f"mean {name}", "95 % interval", "best in", "marks")
    heading = f"{comparison.task} over {_conditions(len(overall.groups))}"
    return Sheet(heading, header, rows, tuple(verdict(comparison, overall)), ("method", "marks"))


def standing_marks(standing: Standing, comparison: Comparison) -> list[str]:
    """What a reader must know of a standing; what the method was told, and whether it was tuned, in any condition."""
    found = ["not separable from best"] if standing.close else []
    entries = [entry for group in comparison.groups for entry in group.entries if entry.method == standing.method]
    told = sorted({truth for entry in entries for truth in entry.oracle})
    found += [f"oracle: {'+'.join(told)}"] if told else []
    found += ["tuned"] if any(entry.tuned for entry in entries) else []
    found += ["stale"] if any(entry.stale for entry in entries) else []
    return found + ([f"incomplete (lacks {_conditions(standing.missing)})"] if standing.missing else [])


def statement(overall: Overall) -> list[str]:
    """What was tested over conditions and what it says, or why nothing was: a line each."""
    if overall.friedman is None:
        return [overall.too_few] if overall.too_few else []
    test = overall.friedman
    p = "p < 0.001" if test.p < 0.001 else f"p = {test.p:.3f}"
    lines = [f"{test.name} over {_conditions(len(overall.groups))}: statistic {test.statistic:.2f}, {p}"]
    if overall.critical_difference is not None:
        close = f"average ranks that differ by less than {overall.critical_difference:.2f} are not separable"
        lines.append(f"post-hoc {overall.posthoc}: {close}")
    elif len(overall.pairs) > 1:
        lines.append(f"post-hoc {overall.posthoc}: pairs with an adjusted p of 0.05 or more are not separable")
    return lines + [f"not separable from each other: {', '.join(clique)}" for clique in overall.cliques]


def verdict(comparison: Comparison, overall: Overall) -> list[str]:
    """What was averaged, what was tested, and what was left out: a line each."""
    lines = [f"mean over conditions of {comparison.rank.key}, each the mean over its seeds; interval: bootstrap over conditions"]
    lines += statement(overall)
    return lines + [f"left out: {title(comparison.groups[place])}: {why}" for place, why in overall.left_out.items()]


def _row(standing: Standing, comparison: Comparison) -> tuple[str, ...]:
    rank = comparison.rank
    mean = Summary(standing.mean, None, 0, standing.low, standing.high)
    place = NOTHING if standing.average_rank is None else f"{standing.average_rank:.2f}"
    best = NOTHING if standing.average_rank is None else str(standing.wins)
    return (
        standing.method,
        place,
        number(mean, rank),
        interval(mean, rank) or NOTHING,
        best,
        ", ".join(standing_marks(standing, comparison)),
    )


def _conditions(n: int) -> str:
    return f"{n} condition{'' if n == 1 else 's'}"
