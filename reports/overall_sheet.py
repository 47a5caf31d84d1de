"""The comparison over conditions in words: a table of standings, and what the tests say."""

from __future__ import annotations

from reports.overall import Overall, Standing
from reports.sheet import Sheet
from reports.tables import Comparison, Summary
from reports.wording import NOTHING, interval, number, title

__all__ = ["averaged", "conditions", "left_out", "overall_sheet", "standing_marks", "statement"]


def overall_sheet(comparison: Comparison) -> Sheet | None:
    """The standings; None with a single condition or method, where the condition's own table says it all."""
    overall = comparison.overall
    if overall is None or len(comparison.groups) < 2 or len(overall.standings) < 2:
        return None
    name = f"{comparison.rank.title}{' %' if comparison.rank.percent else ''}"
    rows = tuple(_row(standing, comparison) for standing in overall.standings)
    header = ("method", "average rank", f"mean {name}", "95 % interval", "best in", "marks")
    data = len({comparison.groups[place].dataset for place in overall.groups})
    heading = f"{comparison.task} over {conditions(len(overall.groups))}"
    heading += f" of {data} data set{'' if data == 1 else 's'}" if data else ""
    return Sheet(heading, header, rows, (averaged(comparison), *statement(overall), *left_out(comparison, overall)), ("method", "marks"))


def standing_marks(standing: Standing, comparison: Comparison) -> list[str]:
    """What a reader must know of a standing: what the method was told, and whether it was tuned, in any condition behind its numbers."""
    found = ["not separable from best"] if standing.close else []
    counting = comparison.overall.groups if comparison.overall is not None and standing.average_rank is not None else ()
    groups = [comparison.groups[place] for place in counting] or comparison.groups  # without numbers, all that is known of it
    entries = [entry for group in groups for entry in group.entries if entry.method == standing.method]
    told = sorted({truth for entry in entries for truth in entry.oracle})
    found += [f"oracle: {'+'.join(told)}"] if told else []
    found += ["tuned"] if any(entry.tuned for entry in entries) else []
    found += ["stale"] if any(entry.stale for entry in entries) else []
    return found + ([f"incomplete (lacks {conditions(standing.missing)})"] if standing.missing else [])


def statement(overall: Overall) -> list[str]:
    """What was tested over conditions and what it says, or why nothing was: a line each."""
    if overall.friedman is None:
        return [overall.too_few] if overall.too_few else []
    test = overall.friedman
    p = "p < 0.001" if test.p < 0.001 else f"p = {test.p:.3f}"
    lines = [f"{test.name} over {conditions(len(overall.groups))}: statistic {test.statistic:.2f}, {p}"]
    if overall.critical_difference is not None:
        close = f"average ranks that differ by less than {overall.critical_difference:.2f} are not separable"
        lines.append(f"post-hoc {overall.posthoc}: {close}")
    elif len(overall.pairs) > 1:
        lines.append(f"post-hoc {overall.posthoc}: pairs with an adjusted p of 0.05 or more are not separable")
    return lines + [f"not separable from each other: {', '.join(clique)}" for clique in overall.cliques]


def averaged(comparison: Comparison) -> str:
    """What the means and their intervals are."""
    return f"mean over conditions of {comparison.rank.key}, each the mean over its seeds; interval: 95 % bootstrap over conditions"


def left_out(comparison: Comparison, overall: Overall) -> list[str]:
    """The conditions that do not count, and why."""
    return [f"does not count: {title(comparison.groups[place])}: {why}" for place, why in overall.left_out.items()]


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


def conditions(n: int) -> str:
    """How many, in words."""
    return f"{n} condition{'' if n == 1 else 's'}"
