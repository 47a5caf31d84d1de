"""Pictures of a search: how it went, which hyperparameters mattered, where good values lie, and what accuracy costs."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import style
from reports.escape import one_line
from reports.sweep_tables import pareto_trials
from sweeps.trials import SUGGESTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sweeps.space import Dimension
    from sweeps.trials import FinishedTrial
    from sweeps.tuned import Tuned

__all__ = ["draw_pareto", "draw_search", "importance", "write_figures"]

FEWEST_TRIALS = 8
"""Below so many trials an importance says nothing."""
MOST_SLICES = 7
FIRST, DEFAULT, BEST = "searched", "default or preset", "best"


def write_figures(searches: Sequence[Tuned], folder: Path) -> list[Path]:
    """One picture a search that has values, and one of accuracy over seconds a data set and noise; svg and png each."""
    written: list[Path] = []
    groups: dict[tuple[str, str], list[Tuned]] = {}
    for search in searches:
        if not search.scored:
            continue
        groups.setdefault((search.dataset, search.noise), []).append(search)
        written += style.save(functools.partial(draw_search, search), folder, f"search-{_name(search.plugin)}-{search.digest}")
    for number, group in enumerate(groups.values(), 1):
        written += style.save(functools.partial(draw_pareto, group), folder, f"pareto-{number}")
    return written


def draw_search(search: Tuned) -> Figure:
    """How the best value grew, the importance of each hyperparameter, and the value over each of them. Call it inside the style."""
    weights = importance(search)
    ordered = sorted(search.space, key=lambda dimension: -weights.get(dimension.key, 0.0))[:MOST_SLICES]
    figure, axes = style.grid_of_axes(2 + len(ordered), size=(3.0, 2.4))
    figure.suptitle(one_line(f"{search.method} · {search.dataset} · {search.noise}"), fontsize=9, x=0.01, ha="left")
    _draw_history(axes[0], search)
    _draw_importance(axes[1], search, weights)
    for axis, dimension in zip(axes[2:], ordered, strict=True):
        _draw_slice(axis, search, dimension)
    return figure


def draw_pareto(group: Sequence[Tuned]) -> Figure:
    """Every trial of several methods: validation score over seconds of a run, with the front that nothing beats in both."""
    figure, (axis,) = style.grid_of_axes(1, size=(5.2, 3.6))
    names = [search.method for search in group]
    colours, markers = style.colours(names), style.markers(names)
    for search in group:
        look: dict[str, Any] = {"color": colours[search.method], "marker": markers[search.method]}
        axis.scatter(*_coordinates(search.scored), s=18, alpha=0.75, linewidths=0, label=one_line(search.method), **look)
    front = pareto_trials([trial for search in group for trial in search.scored])
    axis.plot(*_coordinates(front), color=style.INK, linewidth=1, drawstyle="steps-post", label="Pareto front")
    first = group[0]
    style.bare_axes(
        axis, title=one_line(f"{first.dataset} · {first.noise}"), x="seconds of a run", y=f"{first.headline} on noisy validation"
    )
    style.log_axis(axis.xaxis)
    style.percent_axis(axis.yaxis)
    figure.legend(loc="outside right upper")
    return figure


def _coordinates(trials: Sequence[FinishedTrial]) -> tuple[list[float], list[float]]:
    """Seconds of a run, and score."""
    return [trial.seconds / len(trial.values) for trial in trials], [trial.value or 0.0 for trial in trials]


def importance(search: Tuned) -> dict[str, float]:
    """Share of each hyperparameter in what made the best trials differ from the rest (PED-ANOVA); empty with too few trials.

    Source: Watanabe et al., PED-ANOVA, IJCAI 2023, as Optuna computes it.
    """
    whole = [t for t in search.scored if t.whole and all(dimension.contains(t.params[dimension.key]) for dimension in search.space)]
    if len(whole) < FEWEST_TRIALS or len({trial.value for trial in whole}) < 2:
        return {}
    import optuna

    from sweeps.storage import quiet

    distributions = {dimension.key: dimension.distribution() for dimension in search.space}
    with quiet():
        study = optuna.create_study(direction="maximize")
        for trial in whole:
            study.add_trial(
                optuna.create_trial(
                    params={key: trial.params[key] for key in distributions}, distributions=distributions, value=trial.value
                )
            )
        found = optuna.importance.get_param_importances(study)
    return {str(key): float(value) for key, value in found.items()}


def _draw_history(axis: Axes, search: Tuned) -> None:
    places = {trial.number: place for place, trial in enumerate(search.trials, 1)}
    numbers = [places[trial.number] for trial in search.scored]
    values = [trial.value or 0.0 for trial in search.scored]
    _points(axis, search.scored, numbers, search.best)
    best = [max(values[: count + 1]) for count in range(len(values))]
    axis.plot(numbers, best, color=style.INK, linewidth=1, drawstyle="steps-post")
    style.bare_axes(axis, title="best so far", x="trial", y=f"noisy validation {search.headline}")
    style.percent_axis(axis.yaxis)
    axis.legend(loc="best", fontsize=6.5, handletextpad=0.2)


def _draw_importance(axis: Axes, search: Tuned, weights: Mapping[str, float]) -> None:
    style.bare_axes(axis, title="importance", x="share", y="")
    axis.grid(visible=False)
    if not weights:
        axis.set_xticks([])
        axis.set_yticks([])
        why = f"needs {FEWEST_TRIALS} trials" if len(search.scored) < FEWEST_TRIALS else "all trials are alike"
        axis.text(0.5, 0.5, why, ha="center", va="center", transform=axis.transAxes, color=style.QUIET)
        return
    ordered = sorted(weights, key=lambda key: weights[key])
    axis.barh([_short(key, search) for key in ordered], [weights[key] for key in ordered], color=style.PALETTE[0], height=0.6)
    style.percent_axis(axis.xaxis)


def _draw_slice(axis: Axes, search: Tuned, dimension: Dimension) -> None:
    shown = [trial for trial in search.scored if dimension.contains(trial.params[dimension.key])]  # a preset may lie beyond the space
    where = [trial.params[dimension.key] for trial in shown]
    if dimension.choices is not None:
        where = [_place(value, dimension.choices) for value in where]
        axis.set_xticks(range(len(dimension.choices)), [f"{c:g}" if isinstance(c, float) else one_line(str(c)) for c in dimension.choices])
        axis.tick_params(axis="x", labelrotation=30 if max(len(str(choice)) for choice in dimension.choices) > 5 else 0)
    _points(axis, shown, where, search.best)
    style.bare_axes(axis, title=_short(dimension.key, search))
    if dimension.log:
        style.log_axis(axis.xaxis)
    style.percent_axis(axis.yaxis)


def _points(axis: Axes, trials: Sequence[FinishedTrial], where: Sequence[Any], best: FinishedTrial | None) -> None:
    """The trials, the first ones and the best told apart by shape too."""
    kinds: dict[str, tuple[list[Any], list[float]]] = {FIRST: ([], []), DEFAULT: ([], []), BEST: ([], [])}
    for trial, place in zip(trials, where, strict=True):
        kind = BEST if best is not None and trial.number == best.number else FIRST if trial.source in SUGGESTED else DEFAULT
        kinds[kind][0].append(place)
        kinds[kind][1].append(trial.value or 0.0)
    looks = {FIRST: (style.PALETTE[3], "o", 14), DEFAULT: (style.PALETTE[2], "s", 22), BEST: (style.PALETTE[4], "*", 60)}
    for kind, (xs, ys) in kinds.items():
        if xs:
            colour, marker, size = looks[kind]
            axis.scatter(xs, ys, color=colour, marker=marker, s=size, linewidths=0, label=kind, zorder=3 if kind == BEST else 2)


def _place(value: Any, choices: Sequence[Any]) -> int:
    return next(n for n, choice in enumerate(choices) if choice == value and isinstance(choice, bool) == isinstance(value, bool))


def _short(key: str, search: Tuned) -> str:
    return one_line(key.removeprefix(f"{search.plugin}."))


def _name(text: str) -> str:
    return re.sub(r"[^\w-]+", "_", text)
