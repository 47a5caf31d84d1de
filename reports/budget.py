"""What labels that are paid for buy, and whether asking cleverly beats asking at random.

Strategies are compared with ``random`` of the same method on the same seeds: what more labels do for any method is not the strategy's
merit. The same network trained on clean labels says how much there is to win.
"""

from __future__ import annotations

import math
import operator
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmark.spec import canonical_json
from reports.learning_curve import Curve, Kind, area, crossing, curve_of, kind_of
from reports.rows import Row
from reports.tables import Summary

__all__ = ["FLOOR", "TARGET", "BudgetReport", "Gap", "Line", "Panel", "Reach", "compare_budgets"]

FLOOR = "random"
TARGET = 0.95
"""Share of the clean-label reference that the table asks the price of."""


@dataclass(frozen=True)
class Gap:
    """Mean paired difference over ``n`` shared seeds and its standard error (sample sd / √n; None of a single seed)."""

    mean: float
    se: float | None
    n: int


@dataclass(frozen=True)
class Reach:
    """Labels needed to reach the target.

    Attributes:
        reached, n: how many of how many seeds reached it within the budget.
        labels, share: mean over the n seeds. A seed that did not reach it counts with all that it paid for, so that the mean is then a
            lower bound. Of methods that ask for nothing it is 0.
    """

    reached: int
    n: int
    labels: float
    share: float


@dataclass(frozen=True)
class Line:
    """One strategy of one method, or a method that asks for nothing, in a panel.

    Attributes:
        kind: method and strategy. curves: seed → curve. incomplete: some seed that was asked for has none.
        at: the metric at 0 labels and after each round. area: see :func:`reports.learning_curve.area`. share: that was paid for in all.
        to_floor: area minus that of ``random`` of the same method; None for that itself and for methods that ask for nothing.
        to_floor_at: the same of the metric after each paid round.
        reach: None without a reference.
        found_wrong: share of the samples asked about whose label was wrong. annotator_wrong: share of wrong answers.
        oracle, stale, diverged, skipped, reasons: as in :class:`reports.tables.Entry`.
    """

    kind: Kind
    curves: Mapping[int, Curve]
    incomplete: bool
    at: tuple[Summary, ...]
    area: Summary
    share: Summary
    to_floor: Gap | None
    to_floor_at: tuple[Gap | None, ...]
    reach: Reach | None
    found_wrong: Summary
    annotator_wrong: Summary
    oracle: tuple[str, ...] = ()
    stale: bool = False
    diverged: int = 0
    skipped: int = 0
    reasons: tuple[str, ...] = ()

    @property
    def wins(self) -> bool | None:
        """Whether it is above ``random`` by more than a standard error after every paid round; None if that cannot be said."""
        gaps = [(gap.mean, gap.se) for gap in self.to_floor_at if gap is not None]
        if not gaps or len(gaps) < len(self.to_floor_at) or any(se is None for _, se in gaps):
            return None
        return all(mean > (se or 0.0) for mean, se in gaps)


@dataclass(frozen=True)
class Panel:
    """One data set with one noise.

    Attributes:
        budgets: of the paid rounds, as they were asked for. end: the largest share that was paid for.
        seeds: those asked for. references: seed → metric of the reference; reference: their summary.
        solvable: False where some draw of the noise leaves the true class no longer the most likely given label.
        lines: by area, then those that lack seeds.
    """

    dataset: str
    noise: str
    protocol: str
    budgets: tuple[str, ...]
    end: float
    seeds: tuple[int, ...]
    references: Mapping[int, float]
    reference: Summary
    solvable: bool
    lines: tuple[Line, ...]

    def name(self, line: Line) -> str:
        """The line in as few words as tell it from the others: the strategy, and the method where several ask."""
        if line.kind.asks is None:
            return line.kind.method
        several = len({other.kind.variant for other in self.lines if other.kind.asks is not None}) > 1
        return f"{line.kind.method}, {line.kind.asks}" if several else line.kind.asks


@dataclass(frozen=True)
class BudgetReport:
    """All panels; ``reference`` is the name of the method that was trained on clean labels, None if none was."""

    metric: str
    reference: str | None
    panels: tuple[Panel, ...]


def compare_budgets(rows: Iterable[Row], *, metric: str, seeds: Sequence[int], references: Iterable[Row] = ()) -> BudgetReport:
    """Compare strategies within every (data, noise, protocol).

    Args:
        rows: from :func:`reports.rows.flatten_all`, of active methods and of others.
        metric: of the test part, higher is better, e.g. ``balanced_accuracy``.
        seeds: those asked for; a line that lacks one comes last.
        references: rows of the reference, without noise; matched by data, protocol and seed.

    Raises:
        BenchmarkError: as :func:`reports.learning_curve.curve_of`.
    """
    clean = [row for row in references if row["status"] == "done"]
    cells: dict[str, list[Row]] = {}
    for row in rows:
        cells.setdefault(row["identity"]["cell"], []).append(row)
    ordered = sorted(cells.values(), key=lambda cell: (cell[0]["dataset"], cell[0]["noise"], cell[0]["protocol"]))
    name = clean[0]["method"] if clean else None
    return BudgetReport(metric, name, tuple(_Cell(cell, metric, tuple(sorted(seeds)), clean).panel() for cell in ordered))


class _Cell:
    """The rows of one panel, by kind."""

    def __init__(self, rows: list[Row], metric: str, seeds: tuple[int, ...], clean: list[Row]) -> None:
        self.first, self.seeds = rows[0], seeds
        self.rows: dict[Kind, list[Row]] = {}
        for row in rows:
            self.rows.setdefault(kind_of(row), []).append(row)
        self.curves = {
            kind: {run["seed"]: curve_of(run, metric) for run in sorted(runs, key=lambda run: run["seed"]) if run["status"] == "done"}
            for kind, runs in self.rows.items()
        }
        self.budgets = max((kind.budgets for kind in self.rows), key=len)
        self.end = max((curve.share[-1] for curves in self.curves.values() for curve in curves.values()), default=0.0)
        self.references = _references(rows[0], clean, metric)

    def panel(self) -> Panel:
        lines = [self._line(kind) for kind in self.rows]
        lines.sort(
            key=lambda line: (line.incomplete or line.area.mean is None, -(line.area.mean or 0.0), line.kind.method, line.kind.asks or "")
        )
        return Panel(
            dataset=self.first["dataset"],
            noise=self.first["noise"],
            protocol=self.first["protocol"],
            budgets=self.budgets,
            end=self.end,
            seeds=self.seeds,
            references=self.references,
            reference=_summary(self.references[seed] for seed in self.seeds if seed in self.references),
            solvable=not any(row["solvable"] is False for runs in self.rows.values() for row in runs),
            lines=tuple(lines),
        )

    def _line(self, kind: Kind) -> Line:
        runs, curves, floor = self.rows[kind], self.curves[kind], self._floor(kind)
        done = [run for run in runs if run["status"] == "done"]
        rounds = range(1, len(self.budgets) + 1)
        return Line(
            kind=kind,
            curves=curves,
            incomplete=not set(self.seeds) <= set(curves),
            at=tuple(_summary(curve.at(number) for curve in curves.values()) for number in (0, *rounds)),
            area=_summary(area(curve, self.end) for curve in curves.values()),
            share=_summary(curve.share[-1] for curve in curves.values()),
            to_floor=None if floor is None else _gap(curves, floor, lambda curve: area(curve, self.end)),
            to_floor_at=() if floor is None else tuple(_gap(curves, floor, operator.methodcaller("at", number)) for number in rounds),
            reach=_reach(curves, self.references),
            found_wrong=_summary(run.get("annotation/found_wrong") for run in done),
            annotator_wrong=_summary(run.get("annotation/annotator_wrong") for run in done),
            oracle=tuple(sorted({truth for run in runs for truth in run["oracle"]})),
            stale=any(run["stale"] for run in runs),
            diverged=sum(run["status"] == "diverged" for run in runs),
            skipped=sum(run["status"] == "skipped" for run in runs),
            reasons=tuple(sorted({str(run["reason"]) for run in runs if run["reason"]})),
        )

    def _floor(self, kind: Kind) -> Mapping[int, Curve] | None:
        """The curves that a strategy is set against: ``random`` of its method, balanced only where there is no other."""
        if kind.strategy is None:
            return None
        found = [other for other in self.rows if other.variant == kind.variant and other.strategy == FLOOR]
        floor = min(found, key=lambda other: other.balanced, default=kind)
        return None if floor == kind else self.curves[floor]


def _references(row: Row, clean: Iterable[Row], metric: str) -> dict[int, float]:
    """Seed → metric of the reference on the data and under the protocol of a row."""

    def place(of: Row) -> list[str]:
        shared = {key: value for key, value in of["spec"]["protocol"].items() if key != "name"}
        return [canonical_json(of["spec"]["dataset"]), canonical_json(shared)]

    values = {of["seed"]: of.get(f"last/{metric}") for of in clean if place(of) == place(row)}
    return {seed: value for seed, value in sorted(values.items()) if value is not None}


def _reach(curves: Mapping[int, Curve], references: Mapping[int, float]) -> Reach | None:
    found, labels, shares = 0, [], []
    for seed in sorted(curves.keys() & references.keys()):
        curve, target = curves[seed], TARGET * references[seed]
        price, share = (crossing(axis, curve.value, target) for axis in (curve.paid, curve.share))
        found += price is not None
        labels.append(curve.paid[-1] if price is None else price)
        shares.append(curve.share[-1] if share is None else share)
    return Reach(found, len(labels), statistics.fmean(labels), statistics.fmean(shares)) if labels else None


def _gap(curves: Mapping[int, Curve], floor: Mapping[int, Curve], value: Callable[[Curve], float | None]) -> Gap | None:
    pairs = [(value(curves[seed]), value(floor[seed])) for seed in sorted(curves.keys() & floor.keys())]
    differences = [one - other for one, other in pairs if one is not None and other is not None]
    if not differences:
        return None
    n = len(differences)
    return Gap(statistics.fmean(differences), statistics.stdev(differences) / math.sqrt(n) if n > 1 else None, n)


def _summary(values: Iterable[float | None]) -> Summary:
    known = [float(value) for value in values if value is not None]
    if not known:
        return Summary(None, None, 0)
    return Summary(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None, len(known))
