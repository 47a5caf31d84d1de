"""The learning curve of one run: a metric over labels paid for, round by round; its area, and where it reaches a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.errors import BenchmarkError
from benchmark.spec import canonical_json
from reports.rows import Row

__all__ = ["ASKING", "Curve", "Kind", "area", "crossing", "curve_of", "kind_of"]

ASKING = ("acquisition", "budget", "balanced")
"""Parameters that say how a method asks; the others say which method it is."""


@dataclass(frozen=True)
class Kind:
    """What a run is an example of.

    Attributes:
        variant: identity of the method without what says how it asks. method: the short name of that.
        strategy: how it asks, None where it asks for nothing. balanced: the same number of every class.
        budgets: as asked for, one a paid round.
    """

    variant: str
    method: str
    strategy: str | None = None
    balanced: bool = False
    budgets: tuple[str, ...] = ()

    @property
    def asks(self) -> str | None:
        """The strategy in words."""
        return f"{self.strategy}, balanced" if self.balanced else self.strategy


@dataclass(frozen=True)
class Curve:
    """One run, round by round; a method that asks for nothing has one point at 0.

    Attributes:
        paid: labels paid for by the end of each round. share: that over the training samples. value: the metric then, None where undefined.
    """

    paid: tuple[float, ...]
    share: tuple[float, ...]
    value: tuple[float | None, ...]

    def at(self, number: int) -> float | None:
        """The metric after a round; a run that has stopped asking keeps its model."""
        return self.value[min(number, len(self.value) - 1)]


def kind_of(row: Row) -> Kind:
    """What the run of a flat row is an example of."""
    method, name = dict(row["spec"]["method"]), str(row["method"])
    params = method.get("params") or {}
    if not {"acquisition", "budget"} <= set(params):
        return Kind(canonical_json(method), name)
    method["params"] = {key: value for key, value in params.items() if key not in ASKING}
    for key in ASKING:
        name = name.replace(f":{key}={params.get(key)}", "")
    balanced, budgets = bool(params.get("balanced")), str(params["budget"]).split("+")
    return Kind(canonical_json(method), name, str(params["acquisition"]), balanced, tuple(budgets))


def curve_of(row: Row, metric: str) -> Curve:
    """The curve of a finished run; that of a method that asks for nothing is its last epoch, at 0 labels.

    Raises:
        BenchmarkError: an active method has no rounds in its result, or its rounds lack the metric.
    """
    if kind_of(row).strategy is None:
        return Curve((0.0,), (0.0,), (row.get(f"last/{metric}"),))
    numbers = sorted(int(key.split("/")[1]) for key in row if key.startswith("round/") and key.endswith("/paid"))
    if not numbers or f"round/{numbers[0]}/{metric}" not in row:
        what = f"rounds without {metric}" if numbers else "no rounds"
        raise BenchmarkError(f"run {row['run_key']} ({row['method']}) has {what} in its result; see: python -m benchmark rescore")
    paid, share, value = (tuple(row[f"round/{number}/{name}"] for number in numbers) for name in ("paid", "share", metric))
    return Curve(paid, share, value)


def area(curve: Curve, end: float) -> float | None:
    """Trapezoids of the metric over the paid share from 0 to ``end``, divided by ``end``: the mean metric on the way.

    Args:
        curve: its rounds pay for no more than ``end``; after the last one it keeps its model.
        end: the largest share that anyone paid for; 0 gives the first value.

    Returns:
        None where the metric is undefined after some round: a mean must not hide a gap.
    """
    values = [value for value in curve.value if value is not None]
    if len(values) < len(curve.value):
        return None
    if not end:
        return values[0]
    shares = [*curve.share, end]
    values.append(values[-1])
    pieces = zip(shares, shares[1:], values, values[1:], strict=False)
    return sum((right - left) * (low + high) / 2 for left, right, low, high in pieces) / end


def crossing(axis: Sequence[float], values: Sequence[float | None], target: float) -> float | None:
    """Where a curve first reaches a target, linear between rounds; None if it does not. Undefined rounds are passed over."""
    known = [(place, value) for place, value in zip(axis, values, strict=True) if value is not None]
    for number, (place, value) in enumerate(known):
        if value >= target:
            if number == 0:
                return place
            before, lower = known[number - 1]
            return before + (place - before) * (target - lower) / (value - lower)
    return None
