"""Clean-hard samples kept at equal removed noise: curves of the methods of each group, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.errors import BenchmarkError
from reports.columns import Column
from reports.hardness import Reference, command, find_runs, reference
from reports.rows import Row
from reports.samples import TrainingPart
from reports.tables import Comparison, compare

if TYPE_CHECKING:
    import numpy as np

__all__ = ["AT", "Curve", "Panel", "Retention", "compare_retention"]

AT = (50, 70, 80, 90, 95)
"""Removed wrong labels (%) that the tables show."""
PREFIX = "retention/"
AREA = f"{PREFIX}hard_area"
RANDOM_AREA = f"{PREFIX}random_area"
COMPACT = (*(f"{PREFIX}hard_at_{share}" for share in AT), AREA, f"{PREFIX}clean_area")
COLUMNS = (
    *(Column(f"{PREFIX}hard_at_{share}", f"hard@{share}") for share in AT),
    Column(AREA, "hard area", reference=(RANDOM_AREA, "random")),
    *(Column(f"{PREFIX}clean_at_{share}", f"clean@{share}") for share in AT),
    Column(f"{PREFIX}clean_area", "clean area", reference=(RANDOM_AREA, "random")),
)
NAMES = ("dataset", "noise", "method", "protocol", "identity", "spec")
STATE = ("seed", "run_key", "status", "reason", "oracle", "stale", "solvable")


@dataclass(frozen=True)
class Curve:
    """One run's curves over :data:`benchmark.metrics.retention.GRID`.

    Attributes:
        hard: (q,) share of the clean-hard samples kept. clean: (q,) share of all clean samples kept. NaN = undefined.
        n_hard: clean and hard samples. n_wrong: wrong labels. known: share of the samples whose hardness is known.
    """

    hard: np.ndarray
    clean: np.ndarray
    n_hard: int
    n_wrong: int
    known: float


@dataclass(frozen=True)
class Panel:
    """The curves on one data set with one noise under one protocol.

    Attributes:
        seeds: those that every method has; nothing else is compared.
        curves: method → one curve a seed, in the order of ``seeds``.
        hard: which samples count as hard, in words. reference: the runs that say so; None where the data set knows it.
    """

    dataset: str
    noise: str
    protocol: str
    seeds: tuple[int, ...]
    curves: Mapping[str, tuple[Curve, ...]]
    hard: str
    reference: Reference | None


@dataclass(frozen=True)
class Retention:
    """Everything that the command shows: the tables, the curves behind them (in the same order), and what was left out."""

    comparison: Comparison
    panels: tuple[Panel, ...]
    notes: tuple[str, ...]


def compare_retention(
    rows: Sequence[Row],
    every: Sequence[Row],
    read: Callable[[Row], TrainingPart],
    *,
    hard_by: str = "ce",
    against: str = "hsa",
    strict: bool = True,
    reference_options: Sequence[str] = (),
) -> Retention:
    """Compare how many clean-hard samples the rankings of the methods keep.

    Args:
        rows: the runs to compare, from :func:`reports.rows.flatten_all`. Groups without a wrong label are left out.
        every: all runs of the store, among which runs without noise are looked for.
        read: the training part of a run.
        hard_by: whose runs without noise say what is hard, where the data set does not know it.
        against: short or plugin name of the method that the others are set against; where a group lacks it, its first.
        strict: raise if the hardness of some group is not known; else leave the group out, with a note.
        reference_options: words for the command that an error or a note shows, e.g. ``--runs``.

    Raises:
        BenchmarkError: nothing to compare, no hardness, or files that cannot be read.
    """
    cells: dict[str, list[Row]] = {}
    for row in rows:
        if row["spec"]["noise"]["name"] != "none":
            cells.setdefault(row["identity"]["cell"], []).append(row)
    if not cells:
        raise BenchmarkError("no runs with wrong labels among these: without noise there is nothing to remove; choose others with --noise")
    groups = sorted(cells.values(), key=lambda cell: (cell[0]["dataset"], cell[0]["noise"], cell[0]["protocol"]))
    reader, panels, tables, notes, unknown = _Hardness(every, read, hard_by), [], [], [], []
    for group in groups:
        seeds, note = _shared_seeds(group)
        notes += [note] if note else []
        if not seeds:
            continue
        panel = _panel(group, seeds, read, reader)
        if panel is None:
            unknown.append(group)
        elif not any(curve.n_wrong for curves in panel.curves.values() for curve in curves):
            notes.append(f"{_name(group)}: no label is wrong, so there is nothing to remove")
        else:
            panels.append(panel)
            tables.append(_table(group, panel, against))
    problem = _missing_reference(unknown, hard_by, reference_options) if unknown else ""
    if problem and (strict or not panels):
        raise BenchmarkError(problem)
    if not panels:
        raise BenchmarkError(f"nothing to compare: {'; '.join(notes)}")
    merged = Comparison(
        rank=tables[0].rank,
        columns=COLUMNS,
        compact=COMPACT,
        baseline=against,
        groups=tuple(group for table in tables for group in table.groups),
        runs=tuple(run for table in tables for run in table.runs),
    )
    return Retention(merged, tuple(panels), (*notes, *([f"left out: {problem}"] if problem else [])))


class _Hardness:
    """Hardness of the samples of a run: known with the data, else from a reference that is made once for a data set."""

    def __init__(self, every: Sequence[Row], read: Callable[[Row], TrainingPart], method: str) -> None:
        self._every, self._read, self._method = every, read, method
        self._made: dict[tuple[str, ...], Reference] = {}

    def reference(self, like: Row) -> Reference | None:
        """The reference for the data set and protocol of a run; None if nobody has made the runs."""
        runs = find_runs(self._every, like, self._method)
        key = tuple(run["run_key"] for run in runs)
        if runs and key not in self._made:
            self._made[key] = reference(runs, self._read)
        return self._made.get(key)


def _shared_seeds(group: Sequence[Row]) -> tuple[tuple[int, ...], str | None]:
    """The seeds that every method has which has any, and a note on the methods that lack some."""
    having: dict[str, set[int]] = {}
    for row in group:
        if row["status"] == "done":
            having.setdefault(row["method"], set()).add(row["seed"])
    if not having:
        return (), f"{_name(group)}: no run has finished"
    every = set().union(*having.values())
    shared = set.intersection(*having.values())
    if shared == every:
        return tuple(sorted(shared)), None
    lacking = ", ".join(sorted(method for method, seeds in having.items() if seeds != every))
    listed = ", ".join(map(str, sorted(shared)))
    told = f"only seeds {listed} are compared" if shared else "no seed is shared by all methods, so none is compared; choose --methods"
    return tuple(sorted(shared)), f"{_name(group)}: {told}; fewer seeds than others: {lacking}"


def _panel(group: Sequence[Row], seeds: tuple[int, ...], read: Callable[[Row], TrainingPart], hardness: _Hardness) -> Panel | None:
    """The curves of a group; None if the hardness of its samples is not known."""
    runs = {(row["method"], row["seed"]): row for row in group if row["status"] == "done" and row["seed"] in seeds}
    parts = {key: read(row) for key, row in runs.items()}
    made: Reference | None = None
    if any(part.hardness is None for part in parts.values()):
        made = hardness.reference(group[0])
        if made is None:
            return None
    methods = sorted({method for method, _ in runs})
    curves = {method: tuple(_curve(parts[method, seed], made) for seed in seeds) for method in methods}
    least = min(curve.known for ones in curves.values() for curve in ones)
    return Panel(group[0]["dataset"], group[0]["noise"], group[0]["protocol"], seeds, curves, _definition(made, least), made)


def _curve(part: TrainingPart, made: Reference | None) -> Curve:
    import numpy as np

    from benchmark.metrics.detection import is_hard
    from benchmark.metrics.retention import retention

    hardness = part.hardness if made is None else made.of(part.index)
    assert hardness is not None
    hard, wrong = is_hard(hardness), part.given != part.true
    kept, clean = (retention(part.given, part.true, part.quality, which) for which in (hard, None))
    known = float((~np.isnan(hardness)).mean()) if hardness.size else 0.0
    return Curve(kept, clean, int((hard & ~wrong).sum()), int(wrong.sum()), known)


def _definition(made: Reference | None, known: float) -> str:
    """Which samples are hard, in words."""
    if made is None:
        text = "the quarter of the training samples with the highest hardness that the data set knows"
    else:
        runs = f"{len(made.seeds)} run{'s' if len(made.seeds) > 1 else ''}"
        seeds = ", ".join(map(str, made.seeds))
        text = f"the quarter of the training samples with the lowest mean quality in {runs} of {made.method} without noise (seeds {seeds})"
    return text if known == 1 else f"{text}; known for {math.floor(known * 1000) / 10:.1f} % of them"


def _table(group: Sequence[Row], panel: Panel, against: str) -> Comparison:
    """The tables of one group, over the seeds of its panel."""
    from benchmark.metrics.retention import GRID, area

    rows = []
    for row in group:
        plain = {key: row[key] for key in (*NAMES, *STATE)}
        curves = panel.curves.get(row["method"])
        if row["status"] == "done" and curves is not None and row["seed"] in panel.seeds:
            curve = curves[panel.seeds.index(row["seed"])]
            for name, values in (("hard", curve.hard), ("clean", curve.clean)):
                plain |= {f"{PREFIX}{name}_at_{share}": _number(float(values[round(share / 100 * len(GRID)) - 1])) for share in AT}
                plain[f"{PREFIX}{name}_area"] = _number(area(values))
            plain[RANDOM_AREA] = area(1 - GRID)
        rows.append(plain)
    names = {alias for row in group for alias in (row["method"], row["spec"]["method"]["name"])}
    baseline = against if against in names else min(panel.curves)
    return compare(rows, rank_by=AREA, columns=COLUMNS, compact=COMPACT, baseline=baseline, seeds=panel.seeds)


def _missing_reference(groups: Sequence[Sequence[Row]], method: str, options: Sequence[str]) -> str:
    """One line: which data sets lack a hardness, and the commands that make the reference runs."""
    by_protocol: dict[str, list[Row]] = {}
    for group in groups:
        by_protocol.setdefault(group[0]["protocol"], []).extend(group)
    datasets = ", ".join(dict.fromkeys(group[0]["dataset"] for group in groups))
    commands = " && ".join(command(rows, method, *options) for rows in by_protocol.values())
    lack = f"which samples of {datasets} are hard is not known, and there are no runs of {method} without noise to tell"
    return f"{lack}; make them: {commands}"


def _name(group: Sequence[Row]) -> str:
    return f"{group[0]['dataset']} · {group[0]['noise']} · {group[0]['protocol']}"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
