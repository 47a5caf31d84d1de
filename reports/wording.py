"""What the tables say in words and digits, whatever their format: titles, cells, marks of rows, footers."""

from __future__ import annotations

from collections.abc import Sequence

from reports.columns import Column
from reports.escape import DAGGER, one_line
from reports.tables import Comparison, Difference, Entry, Group, Summary

__all__ = [
    "NOTHING",
    "cell",
    "footer",
    "has_published",
    "header",
    "interval",
    "marks",
    "number",
    "place",
    "published",
    "signed",
    "statement",
    "title",
]

NOTHING = "–"
"""What stands where there is no number."""


def title(group: Group) -> str:
    """Data, noise and protocol."""
    return one_line(f"{group.dataset} · {group.noise} · {group.protocol}")


def header(shown: Sequence[Column], group: Group | None = None) -> list[str]:
    """The titles of a table's columns; figures of others have one where the group has any."""
    beside = ["published"] if group is not None and has_published(group) else []
    return ["method", "n", *(f"{c.title}{DAGGER if c.oracle else ''}" for c in shown), *beside, "rank", "marks"]


def cell(entry: Entry, column: Column, *, spread: bool = True) -> str:
    """``93.4 ± 0.6``, with the start in front where the column has one, and with n where some seeds have no value."""
    summary = entry.values[column.key]
    if summary.mean is None:
        return NOTHING
    text = number(summary, column, spread=spread)
    if column.before and (start := entry.values[column.before]).mean is not None:
        text = f"{number(start, column, spread=False)} → {text}"
    return text if summary.n == len(entry.seeds) else f"{text} (n={summary.n})"


def number(summary: Summary, column: Column, *, spread: bool = True) -> str:
    """``93.4 ± 0.6``; shares in percent."""
    if summary.mean is None:
        return NOTHING
    scale, digits = _scale(column)
    text = f"{summary.mean * scale:.{digits}f}"
    return f"{text} ± {summary.sd * scale:.{digits}f}" if spread and summary.sd is not None else text


def interval(summary: Summary, column: Column) -> str:
    """``92.9 to 93.9``, the 95 % interval of the mean; empty where there is none."""
    if summary.low is None or summary.high is None:
        return ""
    scale, digits = _scale(column)
    return f"{summary.low * scale:.{digits}f} to {summary.high * scale:.{digits}f}"


def has_published(group: Group) -> bool:
    """Whether figures of others stand beside any of its rows."""
    return any(entry.published for entry in group.entries)


def published(entry: Entry) -> str:
    """``last/accuracy 68.3 ± 1.1 (-0.4)``: figures of others, and in brackets ours minus each."""
    texts = []
    for figure in entry.published:
        spread = "" if figure.sd is None else f" ± {100 * figure.sd:.1f}"
        ours = "" if figure.difference is None else f" ({signed(100 * figure.difference, 1)})"
        texts.append(f"{figure.key} {100 * figure.value:.1f}{spread}{ours}")
    return "; ".join(texts) or NOTHING


def place(entry: Entry) -> str:
    """The rank, without needless zeros."""
    return NOTHING if entry.rank is None else f"{entry.rank:g}"


def marks(entry: Entry, group: Group) -> list[str]:
    """What a reader must know of a row before believing it; empty for a plain, complete, current row."""
    found = ["not separable from best"] if entry.close else []
    if entry.oracle:
        found.append(f"oracle: {'+'.join(entry.oracle)}")
    if entry.tuned:
        found.append(f"tuned ({entry.tuned})")
    if not group.solvable:
        found.append("unsolvable")
    if entry.incomplete:
        found.append(f"incomplete ({len(set(entry.seeds) & set(group.seeds))} of {len(group.seeds)} seeds)")
    if entry.stale:
        found.append("stale")
    if entry.diverged:
        found.append(f"diverged {entry.diverged}")
    if entry.skipped:
        found.append("; ".join(["skipped", *entry.reasons]) if not entry.diverged else f"skipped {entry.skipped}")
    return found


def footer(comparison: Comparison, group: Group, *, spread: bool = True) -> list[str]:
    """What stands under a table: the trivial scorers, what the numbers are, the differences to the baseline.

    Without ``spread`` the table is a narrow one, which has no column for the marks.
    """
    rank, lines = comparison.rank, []
    trivial = [(c, group.references[c.reference[0]], c.reference[1]) for c in comparison.shown() if c.reference]
    known = [f"{c.title} {name} {number(summary, c)}" for c, summary, name in trivial if summary.n]
    if known:
        lines.append(f"without looking: {', '.join(known)}")
    seeds = ", ".join(str(seed) for seed in group.seeds) or "none"
    lines.append(f"mean{' ± sd' if spread else ''} over seeds {seeds}; shares in %; ranked by {rank.key}")
    if any(c.oracle for c in comparison.shown()):
        lines.append(f"{DAGGER} chosen with the truth (oracle)")
    if not spread:
        lines += [f"{entry.method}: {', '.join(found)}" for entry in group.entries if (found := marks(entry, group))]
    if group.left_out:
        lines.append(f"left out, because too few methods have them: seeds {', '.join(str(seed) for seed in group.left_out)}")
    lines += [f"published, {entry.method}: {source}" for entry in group.entries for source in _sources(entry)]
    if not group.solvable:
        lines.append("unsolvable: with this noise the true class is not the most likely given label, so there is no ranking")
    if group.differences:
        lines.append(f"{rank.key}, mean paired difference ± standard error over shared seeds:")
        tested = sum(difference.p is not None for difference in group.differences)
        lines += [statement(difference, rank, tested) for difference in group.differences]
    return [one_line(line) for line in lines]


def statement(difference: Difference, column: Column, tested: int) -> str:
    """One line: how far a method is from the baseline, and whether that could be chance.

    Args:
        difference: of the rank metric.
        column: the rank metric.
        tested: how many differences of the group were tested, for the warning that p is not adjusted.
    """
    scale, unit, digits = (100, " points", 1) if column.percent else (1, "", 3)
    spread = "" if difference.se is None else f" ± {difference.se * scale:.{digits}f}"
    mean = signed(difference.mean * scale, digits)
    text = f"{difference.method} against {difference.baseline}: {mean}{spread}{unit}, n = {difference.n}; "
    if difference.p is None:
        return text + "too few seeds to test"
    p = "p < 0.001" if difference.p < 0.001 else f"p = {difference.p:.3f}"
    return text + f"Wilcoxon {p}" + (f", not adjusted for {tested} comparisons" if tested > 1 else "")


def signed(value: float, digits: int) -> str:
    """With its sign, but no minus before a zero."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def _scale(column: Column) -> tuple[int, int]:
    """By what a value is multiplied, and its decimals."""
    return (100, 1) if column.percent else (1, 1 if column.key.startswith("cost/") else 3)


def _sources(entry: Entry) -> list[str]:
    """Where the figures of others come from."""
    return list(dict.fromkeys(f"{figure.source}; {figure.protocol}" for figure in entry.published))
