"""``budget``: what labels that are paid for buy, and whether asking cleverly beats asking at random."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli import campaign as camp
from benchmark.cli import cells as grids
from benchmark.cli import options as opt
from benchmark.cli.output import aside, note, warnings_shown, write, write_rich
from benchmark.cli.strategies import known_strategies, read_budgets, read_strategies, with_strategies
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.driver import CampaignResult, Plan
    from benchmark.grammar import Setting
    from benchmark.registry import Registry
    from benchmark.spec import RunSpec
    from reports.budget import BudgetReport


def add_to(app: typer.Typer) -> None:
    """Register the command of this module."""
    app.command("budget")(budget)


@camp.takes_conditions
def budget(
    *,
    conditions: camp.Conditions,
    methods: grids.Methods = "alr",
    datasets: grids.Datasets = "digits",
    noise: grids.Noise = "0.4",
    seeds: grids.Seeds = "0-4",
    budgets: Annotated[
        str, typer.Option("--budget", metavar="LIST", help="Labels paid for in all after each round: numbers, or shares of the samples.")
    ] = "5%,10%,20%",
    strategies: Annotated[
        str | None,
        typer.Option("--strategies", metavar="LIST", help="name[:balanced=true], … Default: all; random always.", show_default=False),
    ] = None,
    metric: Annotated[str, typer.Option("--metric", metavar="NAME", help="Of the test part; higher is better.")] = "balanced_accuracy",
    reference: Annotated[str, typer.Option("--reference", metavar="METHOD", help="Run on clean labels; none leaves it out.")] = "ce",
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write figure and csv there.", show_default=False)] = None,
    protocol: grids.Protocol = "quick",
    epochs: grids.Epochs = None,
    sets: grids.Sets = None,
    features: grids.Features = "",
    skip_bad: grids.SkipBad = False,
) -> int:
    """Compare ways to spend an annotator's time.

    Learning curves over labels paid for: methods that ask for labels × strategies, against asking at random and training on clean labels.
    Methods that ask for none are flat lines. Finished cells are taken as they are, as with run.
    """
    from benchmark.grammar import parse_settings

    amounts = read_budgets(budgets)
    opt.check_out(out)
    registry = opt.registry_of(conditions.plugins)
    opt.check_choice("--metric", metric, _metrics())
    asked = None if strategies is None else read_strategies(strategies)
    clean = None if reference == "none" else _read_reference(reference)
    told: set[str] = set()
    with aside(), warnings_shown(told):
        grid = grids.read_grid(
            registry,
            datasets=datasets,
            noise=noise,
            seeds=seeds,
            protocol=protocol,
            epochs=epochs,
            sets=sets,
            features=features,
            skip_bad=skip_bad,
        )
        compared = with_strategies(registry, parse_settings(methods, what="--methods"), asked, amounts, grid.overrides)
        cells, references = _cells(registry, grid, compared, clean, conditions.data_root)
    every = list({spec.key(): spec for spec in (*cells, *references)}.values())
    plan = camp.make_plan(registry, every, conditions, told)
    camp.announce(plan, _what(cells, clean, len(every)), conditions)
    if conditions.dry_run:
        return 0
    camp.make_data_ready(plan, registry, conditions, told)
    with aside(), warnings_shown(told):
        _check_amounts(plan, registry, amounts, conditions.data_root)
    campaign = camp.execute(plan, conditions, told)
    if not campaign.interrupted:
        report = _report(campaign, cells, references, metric, grid.seeds)
        if report is not None:
            _print(report, conditions.fmt)
            written = [] if out is None else _write(report, out)
            for path in written if not conditions.quiet else []:
                note(f"written: {path}")
    return camp.conclude(campaign, conditions)


# ------------------------------------------------------------------------------------------------------------- options


def _read_reference(text: str) -> Setting:
    from benchmark.grammar import parse_settings

    found = parse_settings(text, what="--reference")
    if len(found) != 1:
        raise BenchmarkError(f"--reference '{text}' names {len(found)} methods; the reference is one, or none")
    return found[0]


def _metrics() -> list[str]:
    """The metrics of the test part of which more is better."""
    import numpy as np

    from benchmark.metrics import test_metrics
    from reports.columns import column

    names = test_metrics(np.zeros(0, dtype=np.int64), np.zeros((0, 2)))  # of no samples: their names are all that is wanted
    return [name for name in names if column(f"last/{name}").higher_is_better]


# --------------------------------------------------------------------------------------------------------------- cells


def _cells(
    registry: Registry, grid: grids.Grid, methods: Sequence[Setting], reference: Setting | None, data_root: Path | None
) -> tuple[list[RunSpec], list[RunSpec]]:
    """The cells that are compared, and those of the reference: the same data without noise."""
    from benchmark.grammar import Setting

    if reference is None:
        return grid.cells(registry, methods, data_root), []
    if known_strategies(registry, reference.name) is not None:
        raise BenchmarkError(f"--reference {reference} asks for labels itself; the reference is a method that does not, e.g. ce")
    data = {setting.name for setting in grid.datasets}
    elsewhere = data | {part.name for setting in (*methods, *grid.noise) for part in setting.parts or (setting,)}
    own = {name: values for name, values in grid.overrides.items() if name in elsewhere or name != reference.name}
    cells = dataclasses.replace(grid, overrides=own).cells(registry, methods, data_root)
    of_reference = {name: values for name, values in grid.overrides.items() if name in data or name == reference.name}
    clean = dataclasses.replace(grid, noise=[Setting("none")], overrides=of_reference)
    references = clean.cells(registry, [reference], data_root)
    settings = sorted({spec.labels["method"] for spec in references})
    if len(settings) > 1:
        raise BenchmarkError(f"--set makes {len(settings)} references of one: {', '.join(settings)}; name one with --reference")
    return cells, references


def _check_amounts(plan: Plan, registry: Registry, amounts: str, data_root: Path | None) -> None:
    """Refuse more labels than there are samples before the first run: numbers of labels are tried once on each data set.

    Shares fit wherever they are; a method still refuses those of which a tiny part makes one label twice.
    """
    from benchmark.files import default_data_root
    from benchmark.prepare import prepare
    from benchmark.spec import PluginSpec
    from benchmark.training.annotation import budget_in_labels, check_totals, parse_budget

    if all(is_share for _, is_share in parse_budget(amounts)):
        return
    asking = [cell.spec for cell in plan.pending if "budget" in cell.spec.method.params]
    for spec in {grids.identity(spec, "dataset"): spec for spec in reversed(asking)}.values():
        prepared = prepare(dataclasses.replace(spec, noise=PluginSpec("none", {}, 1)), registry, data_root or default_data_root())
        n = len(prepared.indices["train"])
        check_totals(budget_in_labels(amounts, n), n, f"{spec.method.name} on {spec.labels['dataset']}")


def _what(cells: Sequence[RunSpec], reference: Setting | None, total: int) -> str:
    """How the cells come about."""
    asking = len({grids.identity(spec, "method") for spec in cells if "acquisition" in spec.method.params})
    others = len({grids.identity(spec, "method") for spec in cells}) - asking
    words = [f"{asking} {'strategy' if asking == 1 else 'strategies'}" + (f" and {grids.count(others, 'other methods')}" if others else "")]
    for kind, plural in (("dataset", "data sets"), ("noise", "noise settings")):
        words.append(grids.count(len({grids.identity(spec, kind) for spec in cells}), plural))
    words.append(grids.count(len({spec.seed for spec in cells}), "seeds"))
    added = f", {reference} on clean labels added" if reference is not None else ""
    return f"{' × '.join(words)}{added}, {grids.count(total, 'cells')}"


# ------------------------------------------------------------------------------------------------------------- results


def _report(
    campaign: CampaignResult, cells: Sequence[RunSpec], references: Sequence[RunSpec], metric: str, seeds: Sequence[int]
) -> BudgetReport | None:
    """The comparison of exactly this command's cells; None if none has a result."""
    from reports.budget import compare_budgets
    from reports.rows import flatten_all

    rows = {row["run_key"]: row for row in flatten_all(camp.results_of(campaign))}
    compared, clean = ([rows[key] for spec in specs if (key := spec.key()) in rows] for specs in (cells, references))
    return compare_budgets(compared, metric=metric, seeds=seeds, references=clean) if compared else None


def _print(report: BudgetReport, fmt: str) -> None:
    from reports.budget_tables import render, rich_tables, verdict

    if fmt != "table":
        write(render(report, fmt))
    else:
        lines = [verdict(report)] if len(report.panels) > 1 else []
        write_rich(lambda width: rich_tables(report, width=width), *lines)


def _write(report: BudgetReport, folder: Path) -> list[Path]:
    """The table, the points of every run and the figure; each file appears in one step."""
    from benchmark.files import atomic_write_text
    from reports.budget_figure import write_figure
    from reports.budget_tables import points, summary

    figures = write_figure(report, folder)
    tables = {"budget.csv": summary(report), "curves.csv": points(report)}
    for name, text in tables.items():
        atomic_write_text(folder / name, text)
    return [*figures, *(folder / name for name in tables)]
