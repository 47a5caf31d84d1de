"""The comparison over conditions in words: a table of standings, and what the tests say."""

from __future__ import annotations

from reports.columns import Column
from reports.overall import Overall, Standing
from reports.sheet import Sheet
from reports.tables import Comparison, Summary
from reports.wording import NOTHING, interval, number, title

__all__ = ["overall_sheet", "standing_marks", "verdict"]


def overall_sheet(comparison: Comparison) -> Sheet | None:
    """The standings; None with a single condition or method, where the condition's own table says it all."""
    overall = comparison.overall
    if overall is None or len(comparison.groups) < 2 or len(overall.standings) < 2:
        return None
    name = f"{comparison.rank.title}{' %' if comparison.rank.percent else ''}"
    rows = tuple(_row(standing, comparison.rank) for standing in overall.standings)
    header = ("method", "average rank", f"mean {name}", "95 % interval", "best in", "marks")
    heading = f"{comparison.task} over {_conditions(len(overall.groups))}"
    return Sheet(heading, header, rows, tuple(verdict(comparison, overall)), ("method", "marks"))


def standing_marks(standing: Standing) -> list[str]:
    """What a reader must know of a standing."""
    found = ["not separable from best"] if standing.close else []
    return found + ([f"incomplete (lacks {_conditions(standing.missing)})"] if standing.missing else [])


def verdict(comparison: Comparison, overall: Overall) -> list[str]:
    """What was averaged, what was tested and what it says, and what was left out: a line each."""
    rank = comparison.rank.key
    lines = [f"mean over conditions of {rank}, each the mean over its seeds; interval: conditions drawn with replacement"]
    if overall.too_few:
        lines.append(overall.too_few)
    if overall.friedman is not None:
        test = overall.friedman
        p = "p < 0.001" if test.p < 0.001 else f"p = {test.p:.3f}"
        lines.append(f"{test.name} over {_conditions(len(overall.groups))}: statistic {test.statistic:.2f}, {p}")
        if overall.critical_difference is not None:
            lines.append(f"{overall.posthoc}: average ranks that differ by less than {overall.critical_difference:.2f} are not separable")
        elif overall.pairs:
            lines.append(f"{overall.posthoc}: pairs with adjusted p below 0.05 are separable")
        lines += [f"not separable: {', '.join(clique)}" for clique in overall.cliques]
    lines += [f"left out: {title(comparison.groups[place])}: {why}" for place, why in overall.left_out.items()]
    return lines


def _row(standing: Standing, rank: Column) -> tuple[str, ...]:
    mean = Summary(standing.mean, None, 0, standing.low, standing.high)
    place = NOTHING if standing.average_rank is None else f"{standing.average_rank:.2f}"
    best = NOTHING if standing.average_rank is None else str(standing.wins)
    return (standing.method, place, number(mean, rank), interval(mean, rank) or NOTHING, best, ", ".join(standing_marks(standing)))


def _conditions(n: int) -> str:
    return f"{n} condition{'' if n == 1 else 's'}"
