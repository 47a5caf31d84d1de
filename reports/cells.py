"""The runs of one condition, i.e. of data, noise and protocol: by method and seed, with the seeds on which all are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reports.rows import Row

__all__ = ["Cell", "Runs", "cells"]


@dataclass(frozen=True)
class Runs:
    """One method's.

    Attributes:
        rows: one a seed. done: seed → row of those that have numbers.
        seeds: behind its numbers: the reference seeds, or all that are done if it lacks some of them.
        incomplete: it has results, but not for every reference seed.
    """

    rows: tuple[Row, ...]
    done: Mapping[int, Row]
    seeds: tuple[int, ...]
    incomplete: bool

    @property
    def method(self) -> str:
        """Its short name."""
        return str(self.rows[0]["method"])

    @property
    def plugin(self) -> str:
        """The plugin's name."""
        return str(self.rows[0]["spec"]["method"]["name"])

    def sample(self, key: str) -> tuple[float, ...]:
        """The known values of a metric over ``seeds``."""
        return _known(self.done[seed].get(key) for seed in self.seeds)


@dataclass(frozen=True)
class Cell:
    """All methods'.

    Attributes:
        seeds: the reference seeds. left_out: other seeds that some method has.
    """

    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    left_out: tuple[int, ...]
    methods: tuple[Runs, ...]

    def shared(self, key: str) -> tuple[float, ...]:
        """Of what all methods of a seed share: one value a reference seed, not one a run."""
        values = {seed: row[key] for runs in self.methods for seed, row in runs.done.items() if row.get(key) is not None}
        return _known(values.get(seed) for seed in self.seeds)


def cells(rows: Iterable[Row], asked: Sequence[int] | None) -> list[Cell]:
    """The rows by condition, in the order of their names.

    Args:
        rows: from :func:`reports.rows.flatten_all`.
        asked: the reference seeds; None takes each condition's seeds that at least half of its methods have.
    """
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["identity"]["cell"], []).append(row)
    ordered = sorted(found.values(), key=lambda cell: (cell[0]["dataset"], cell[0]["noise"], cell[0]["protocol"]))
    return [_cell(cell, asked) for cell in ordered]


def _cell(rows: list[Row], asked: Sequence[int] | None) -> Cell:
    methods: dict[str, dict[int, Row]] = {}
    for row in rows:
        methods.setdefault(row["identity"]["method"], {})[row["seed"]] = row
    done = {name: {s: row for s, row in runs.items() if row["status"] == "done"} for name, runs in methods.items()}
    having = [set(runs) for runs in done.values() if runs]
    every = set().union(*having)
    reference = set(asked) if asked is not None else {s for s in every if 2 * sum(s in seeds for seeds in having) >= len(having)}
    found = []
    for name, runs in methods.items():
        incomplete = bool(done[name]) and not reference <= set(done[name])
        used = done[name] if incomplete else reference & set(done[name])
        found.append(Runs(tuple(runs.values()), done[name], tuple(sorted(used)), incomplete))
    return Cell(tuple(rows), tuple(sorted(reference)), tuple(sorted(every - reference)), tuple(found))


def _known(values: Iterable[float | None]) -> tuple[float, ...]:
    return tuple(float(value) for value in values if value is not None)
