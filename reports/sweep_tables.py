"""Searches as tables, json and csv: every method at its default and at the best setting found, on fresh seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.errors import unknown_name
from reports.escape import one_line
from reports.machine import csv_text, plain
from reports.sheet import Sheet, latex_page, markdown_page, rich_sheet
from sweeps.trials import SUGGESTED

if TYPE_CHECKING:
    from rich.table import Table

    from sweeps.trials import FinishedTrial
    from sweeps.tuned import Interval, Tuned

__all__ = ["FORMATS", "pareto_trials", "render", "rich_tables", "sheets", "trials_csv"]

NOTHING = "–"
PROSE = ("method", "best setting", "marks")


def render(searches: Sequence[Tuned], format: str) -> str:
    """The searches as text that ends with a newline; ``json``, ``csv`` (one row a search), ``md`` or ``latex``.

    Raises:
        BenchmarkError: an unknown format.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    return FORMATS[format](searches)


def rich_tables(searches: Sequence[Tuned], width: int | None = None) -> list[Table]:
    """One table for each data set and noise, for a terminal of so many columns."""
    from rich.console import Console

    tables = []
    for wide, narrow in zip(sheets(searches), sheets(searches, wide=False), strict=True):
        table = rich_sheet(wide)
        if width is not None and Console(width=10_000).measure(table).maximum > width:
            table = rich_sheet(narrow)
        tables.append(table)
    return tables


def sheets(searches: Sequence[Tuned], *, wide: bool = True) -> list[Sheet]:
    """One table for each data set and noise; in a narrow one the best settings stand below it."""
    groups: dict[tuple[str, str], list[Tuned]] = {}
    for search in searches:
        groups.setdefault((search.dataset, search.noise), []).append(search)
    return [_sheet(group, wide) for group in groups.values()]


def setting(search: Tuned) -> str:
    """What the best setting changes of the default, in words."""
    if search.reason is not None and search.best is None:
        return f"skipped: {search.reason}"
    if search.best is None:
        return "no trial has a value"
    if search.is_default:
        return "the default"
    named = "" if search.best.source in SUGGESTED else f"{search.best.source}: "
    return named + _words(search, search.best)


def pareto_trials(trials: Sequence[FinishedTrial]) -> list[FinishedTrial]:
    """The trials that no other beats in both score and seconds of a run, by seconds; of equals the first."""
    front: list[FinishedTrial] = []
    for trial in sorted(trials, key=lambda t: (t.seconds / len(t.values), -(t.value or 0.0))):
        if not front or (trial.value or 0.0) > (front[-1].value or 0.0):
            front.append(trial)
    return front


def _words(search: Tuned, trial: FinishedTrial) -> str:
    prefix = f"{search.plugin}."
    return ", ".join(f"{key.removeprefix(prefix)}={_plain_number(value)}" for key, value in trial.params.items())


def _sheet(group: Sequence[Tuned], wide: bool) -> Sheet:
    group = sorted(group, key=_order)
    first = group[0]
    head, last = f"selected/{first.headline}", f"last/{first.headline}"
    columns: list[tuple[str, Callable[[Tuned], str]]] = [
        ("method", lambda search: search.method),
        ("trials", _trials),
        ("noisy val", lambda search: _share(search.best.value if search.best else None)),
        ("default", lambda search: _side(search, head, "default")),
        ("tuned", lambda search: _side(search, head, "tuned")),
        ("tuned - default", lambda search: _percent(_difference(search, head), sign=True)),
    ]
    if wide:
        columns += [
            ("default, last", lambda search: _side(search, last, "default")),
            ("tuned, last", lambda search: _side(search, last, "tuned")),
            ("search h", lambda search: f"{search.search_seconds / 3600:.2f}"),
            ("best setting", setting),
        ]
    if any(search.oracle for search in group):
        columns.append(("marks", lambda search: f"oracle: {'+'.join(search.oracle)}" if search.oracle else ""))
    rows = tuple(tuple(cell(search) for _, cell in columns) for search in group)
    title = one_line(f"{first.dataset} · {first.noise} · {first.protocol}")
    return Sheet(title, tuple(title for title, _ in columns), rows, tuple(_notes(group, wide)), PROSE)


def _notes(group: Sequence[Tuned], wide: bool) -> list[str]:
    first = group[0]
    seeds, searched = ", ".join(map(str, first.seeds)), ", ".join(map(str, first.search_seeds))
    lines = [
        f"default, tuned: test {first.headline} of the epoch chosen on the noisy validation part, mean ± half of the 95 % interval over "
        f"fresh seeds {seeds}, in %; the difference is paired by seed",
        f"noisy val: what the search has maximised, mean over its own seeds {searched}; it is the best of many and no estimate",
        f"{first.budget} trials a method with {first.sampler}; none is scored on the test part",
    ]
    if any(search.oracle for search in group):
        lines.append("oracle: truths that the method was told in every run, at its default too")
    lines += [f"{search.method}: {setting(search)}" for search in group if not wide]
    for search in group:
        if search.given_up:
            lines.append(f"{search.method}: {len(search.given_up)} settings were given up, e.g. {search.given_up[0].reason}")
        if "seconds" in search.objectives:
            front = [f"{_share(t.value)} in {t.seconds / len(t.values):.3g} s ({_words(search, t)})" for t in pareto_trials(search.scored)]
            lines.append(f"{search.method}, Pareto front of noisy val and seconds of a run: {'; '.join(front) or NOTHING}")
    return lines


def _trials(search: Tuned) -> str:
    spent = len(search.trials)
    return str(spent) if spent == search.budget else f"{spent} of {search.budget}"


def _order(search: Tuned) -> tuple[bool, float]:
    tuned = _interval(search, f"selected/{search.headline}", "tuned")
    whole = tuned is not None and tuned.n == len(search.seeds)
    return (not whole, -(tuned.mean if tuned else 0.0))


def _interval(search: Tuned, key: str, side: str) -> Interval | None:
    from sweeps.tuned import interval

    values: Mapping[int, float] = getattr(search.metrics[key], side)
    return interval([values[seed] for seed in sorted(values)])


def _difference(search: Tuned, key: str) -> Interval | None:
    """None unless both sides have every seed: a mean over other seeds compares other cells."""
    found = search.metrics[key].difference
    return found if found is not None and found.n == len(search.seeds) else None


def _side(search: Tuned, key: str, side: str) -> str:
    found = _interval(search, key, side)
    if found is None or found.n == len(search.seeds):
        return _percent(found)
    return f"{found.n} of {len(search.seeds)} seeds"


def _percent(found: Interval | None, *, sign: bool = False) -> str:
    if found is None:
        return NOTHING
    mean = f"{round(found.mean * 100, 1) + 0.0:{'+' if sign else ''}.1f}"
    return mean if found.half is None else f"{mean} ± {found.half * 100:.1f}"


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{value * 100:.1f}"


def _plain_number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


# ------------------------------------------------------------------------------------------------------------ machines


def _csv(searches: Sequence[Tuned]) -> str:
    header = ["dataset", "noise", "protocol", "method", "study", "sampler", "trials", "budget", "given_up", "skipped", "search_seconds"]
    header += ["metric", "oracle", "validation", "best_source", "best_params", "command"]
    for key in ("selected", "last"):
        for side in ("default", "tuned", "difference"):
            header += [f"{key}_{side}{part}" for part in ("", "_sd", "_low", "_high", "_n")]
    rows: list[list[Any]] = []
    for search in searches:
        best = search.best
        row: list[Any] = [search.dataset, search.noise, search.protocol, search.method, search.study, search.sampler, len(search.trials)]
        row += [search.budget, len(search.given_up), search.reason, search.search_seconds, search.headline, search.oracle]
        row += [best.value, best.source, json.dumps(best.params), search.command] if best else [None] * 4
        for key in (f"selected/{search.headline}", f"last/{search.headline}"):
            for found in (*(_interval(search, key, side) for side in ("default", "tuned")), search.metrics[key].difference):
                row += [found.mean, found.sd, found.low, found.high, found.n] if found else [None] * 5
        rows.append(row)
    return csv_text(header, rows)


def trials_csv(search: Tuned) -> str:
    """csv of all trials of a search: their place, source, value, seconds, one column a parameter and a seed, and why one was given up."""
    keys = list(dict.fromkeys([*(dimension.key for dimension in search.space), *(key for trial in search.trials for key in trial.params)]))
    front = {trial.number for trial in pareto_trials(search.scored)}
    header = ["trial", "source", "value", "seconds", "pareto", *keys, *(f"seed_{seed}" for seed in search.search_seeds), "given_up"]
    rows = [
        [place, trial.source, trial.value, trial.seconds, trial.number in front]
        + [trial.params.get(key) for key in keys]
        + [trial.values.get(seed) for seed in search.search_seeds]
        + [trial.reason]
        for place, trial in enumerate(search.trials, 1)
    ]
    return csv_text(header, rows)


def _json(searches: Sequence[Tuned]) -> str:
    document = []
    for search in searches:
        metrics = {
            key: {**{side: dict(getattr(sides, side)) for side in ("default", "tuned")}, "difference": sides.difference}
            for key, sides in search.metrics.items()
        }
        space = {dimension.key: dimension.to_dict() for dimension in search.space}
        more = {"search_seconds": search.search_seconds, "given_up": len(search.given_up)}
        document.append({**vars(search), "space": space, "metrics": metrics, **more})
    return json.dumps(plain(document), indent=1, allow_nan=False) + "\n"


FORMATS: dict[str, Callable[[Sequence[Tuned]], str]] = {
    "json": _json,
    "csv": _csv,
    "md": lambda searches: markdown_page(sheets(searches)),
    "latex": lambda searches: latex_page(sheets(searches)),
}
"""What ``--format`` accepts, beside the tables of a terminal."""
