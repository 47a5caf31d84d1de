"""What fine-tuning on fewer negatives saves and what it loses: seconds an epoch and AUROC of test tiles over ``neg_ratio``."""

from __future__ import annotations

import hashlib
import math
import re
import statistics
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError
from benchmark.files import read_lines
from benchmark.spec import canonical_json
from reports import style
from reports.escape import one_line
from reports.rounds_figure import INCHES_A_CHARACTER, LEGEND_WIDTH, PANEL, looks_of
from reports.rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Cost", "Method", "costs_of", "draw", "in_words", "write_figure"]

NAME = "tuning_cost"
SHARE = "neg_ratio"
"""The parameter: the share of the tiles of negative bags that are fine-tuned on, the hardest. A method without it takes all."""
STAGE = re.compile(r"finetune-\d+")
"""Stages of ``history.jsonl`` that are fine-tuning; see :class:`benchmark.bags.contrastive.ContrastiveRounds`."""
ASIDE = 0.03
"""Of the width of the axis: how far apart methods stand at the same share."""
TICKS = 0.1
"""Of the width of the axis: labels that are nearer would touch."""


@dataclass(frozen=True)
class Cost:
    """Runs with one share, a value a seed. seconds: median epoch of fine-tuning of a run. auroc: of test tiles, where it is known."""

    seconds: Sequence[float]
    auroc: Sequence[float]


@dataclass(frozen=True)
class Method:
    """Runs that differ in their share and seed alone. costs: share in (0, 1] → what was measured, from the smallest share."""

    name: str
    costs: Mapping[float, Cost]


def costs_of(rows: Iterable[Row], run_folder: Callable[[str], Path]) -> list[Method]:
    """What fine-tuning took, where runs of one cell (data, noise, protocol) have at least two different shares.

    Runs that do not fine-tune and runs without a history are left out, and so is a share of 0, which a logarithmic axis has no place for.

    Args:
        rows: of finished runs. The cell is added to the names of methods where those of several are found.
        run_folder: where the run of a key lies.

    Returns:
        In the order of their names; empty if no cell has two shares.

    Raises:
        BenchmarkError: a history that cannot be read.
    """
    cells: dict[str, list[tuple[float, Row]]] = {}
    for row in rows:
        if (share := _share(row)) is not None:
            cells.setdefault(row["identity"]["cell"], []).append((share, row))
    found = []
    for runs in cells.values():
        if len({share for share, _ in runs}) < 2:
            continue  # no file is read in vain
        timed = [(share, row, seconds) for share, row in runs if (seconds := _seconds(run_folder(row["run_key"]))) is not None]
        if len({share for share, *_ in timed}) > 1:
            found.append(timed)
    return sorted((method for timed in found for method in _methods(timed, several=len(found) > 1)), key=lambda method: method.name)


def write_figure(methods: Sequence[Method], folder: Path) -> list[Path]:
    """Write ``tuning_cost.svg`` and ``tuning_cost.png`` into a folder, which is created if need be; returns where they are."""
    return style.save(lambda: draw(methods), folder, NAME)


def draw(methods: Sequence[Method]) -> Figure:
    """Seconds an epoch of fine-tuning over the share, and beside it the AUROC of test tiles, where it is known of any run.

    Points are means over seeds, bars one sample standard deviation (none of a single seed), cut where no value can be. Methods stand beside
    each other, lest one hide another at a share that both have. Call it inside the style (:func:`reports.style.save` does).

    Raises:
        BenchmarkError: no method, or none with a share.
    """
    from matplotlib.lines import Line2D

    shares = sorted({share for method in methods for share in method.costs})
    if not shares:
        raise BenchmarkError("there is no cost of fine-tuning to draw: no run has fine-tuned")
    span = math.log(shares[-1] / shares[0]) or 1.0
    labels = [textwrap.fill(one_line(method.name), LEGEND_WIDTH) for method in methods]
    looks = looks_of([method.name for method in methods])
    handles = [Line2D([], [], markersize=4.5, **looks[method.name]) for method in methods]
    known = any(cost.auroc for method in methods for cost in method.costs.values())
    panels = {"seconds": ("time an epoch of fine-tuning (s)", math.inf)} | ({"auroc": ("AUROC of test tiles", 1.0)} if known else {})
    room = 0.6 + INCHES_A_CHARACTER * max(len(line) for label in labels for line in label.splitlines())
    figure, axes = style.grid_of_axes(len(panels), size=PANEL, legend=room)
    for ax, (quantity, (title, most)) in zip(axes, panels.items(), strict=True):
        style.bare_axes(ax, x=f"{SHARE}, share of the negative tiles (log)", y=title)
        for method in methods:
            values = {_place(methods, method, share, span): getattr(cost, quantity) for share, cost in method.costs.items()}
            _points(ax, values, looks[method.name], most)
        _log_axis(ax, shares, span, 0.05 + ASIDE * len(methods) / 2)
        if quantity == "auroc":
            style.percent_axis(ax.yaxis)
        else:
            ax.set_ylim(bottom=-0.03 * ax.get_ylim()[1])  # from zero, with room for a marker there
    # handles and labels as lists: a name that begins with an underscore would be left out otherwise
    figure.legend(handles, labels, loc="upper right", handlelength=3.2)
    width = int((figure.get_figwidth() - room) / INCHES_A_CHARACTER * 1.25)  # of a caption in small print
    figure.supxlabel(textwrap.fill(_caption(methods), max(width, 40)), x=0.01, ha="left", fontsize="small", color=style.QUIET)
    return figure


def in_words(methods: Sequence[Method]) -> str:
    """What the figure shows, for those who do not see it: the means of each method and share."""
    told = []
    for method in methods:
        points = []
        for share, cost in method.costs.items():
            auroc = f" and AUROC {100 * statistics.mean(cost.auroc):.1f} %" if cost.auroc else ""
            points.append(f"{statistics.mean(cost.seconds):.3g} s{auroc} at {share:g}")
        told.append(f"{method.name}: {', '.join(points)}")
    return f"Seconds an epoch of fine-tuning and AUROC of test tiles over {SHARE}. {'; '.join(told)}"


# ---------------------------------------------------------------------------------------------------------------- runs


def _share(row: Row) -> float | None:
    """The share of a run; None for what is none."""
    share = (row["spec"]["method"].get("params") or {}).get(SHARE, 1)
    return float(share) if _is_number(share) and 0 < share <= 1 else None


def _seconds(folder: Path) -> float | None:
    """The median epoch of fine-tuning in a run's history; None if there is none."""
    path = folder / "history.jsonl"
    try:
        lines = read_lines(path)
    except (OSError, RecursionError) as error:
        raise BenchmarkError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or type(error).__name__}); run the cell again"
        ) from error
    tuned: list[Any] = [line.get("seconds") for line in lines if STAGE.fullmatch(str(line.get("stage")))]
    seconds = [float(value) for value in tuned if _is_number(value) and 0 <= value < 1e9]  # not NaN, and no number beyond a float
    return statistics.median(seconds) if seconds else None


def _methods(runs: Sequence[tuple[float, Row, float]], several: bool) -> list[Method]:
    """The methods of one cell. several: their names say which."""
    alike: dict[str, list[tuple[float, Row, float]]] = {}
    for share, row, seconds in runs:
        method = dict(row["spec"]["method"])
        method["params"] = {name: value for name, value in (method.get("params") or {}).items() if name != SHARE}
        alike.setdefault(canonical_json(method), []).append((share, row, seconds))
    names = [min((_bare(row["method"]) for _, row, _ in group), key=len) for group in alike.values()]
    found = []
    for name, (kind, group) in zip(names, alike.items(), strict=True):
        shares = sorted({share for share, *_ in group})
        costs = {share: _cost([(row, seconds) for other, row, seconds in group if other == share]) for share in shares}
        whole = name if names.count(name) == 1 else f"{name} #{hashlib.sha256(kind.encode()).hexdigest()[:4]}"  # versions, say
        found.append(Method(whole + (f" · {group[0][1]['protocol']}" if several else ""), costs))
    return found


def _bare(name: Any) -> str:
    """The name of a method without its share."""
    return re.sub(rf":{SHARE}=[^:\s]*", "", str(name))


def _cost(runs: Sequence[tuple[Row, float]]) -> Cost:
    aurocs = [row.get("instances/auroc") for row, _ in runs]
    return Cost([seconds for _, seconds in runs], [value for value in aurocs if value is not None])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# -------------------------------------------------------------------------------------------------------------- figure


def _place(methods: Sequence[Method], method: Method, share: float, span: float) -> float:
    """Where a method stands: at its share, beside others that have it."""
    here = [other for other in methods if share in other.costs]
    return share * math.exp(span * ASIDE * (here.index(method) - (len(here) - 1) / 2))


def _points(ax: Axes, values: Mapping[float, Sequence[float]], look: dict[str, Any], most: float) -> None:
    """Mean and standard deviation at each place that has values."""
    values = {place: seeds for place, seeds in values.items() if seeds}
    means = [statistics.mean(seeds) for seeds in values.values()]
    sds = [statistics.stdev(seeds) if len(seeds) > 1 else 0.0 for seeds in values.values()]
    below = [min(sd, mean) for mean, sd in zip(means, sds, strict=True)]
    above = [min(sd, most - mean) for mean, sd in zip(means, sds, strict=True)]
    ax.errorbar(list(values), means, yerr=[below, above], markersize=4.5, elinewidth=1, capsize=2.5, zorder=3, **look)


def _log_axis(ax: Axes, shares: Sequence[float], span: float, space: float) -> None:
    """Ticks at the shares themselves, as far as there is room. space: beside the outermost, of the width."""
    from matplotlib.ticker import NullLocator

    kept: list[float] = []
    for share in shares:
        if not kept or math.log(share / kept[-1]) >= TICKS * span:
            kept.append(share)
    ax.set_xscale("log")
    ax.set_xticks(kept, [f"{share:g}" for share in kept])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(shares[0] * math.exp(-space * span), shares[-1] * math.exp(space * span))


def _caption(methods: Sequence[Method]) -> str:
    """How to read the points."""
    seeds = {len(values) for method in methods for cost in method.costs.values() for values in (cost.seconds, cost.auroc) if values}
    counted = f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else f"{max(seeds)}"
    bars = "; bars: ± 1 sample sd" if max(seeds) > 1 else ""
    shares = [share for method in methods for share in method.costs]
    aside = " Methods stand beside each other at the same share." if len(set(shares)) < len(shares) else ""
    return f"Points: means over seeds (n = {counted}){bars}. Time: a run's median epoch of fine-tuning.{aside}"
