"""``sweep``: the same search budget for every method, and what tuning was worth on fresh seeds."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli import campaign as camp
from benchmark.cli import cells as grids
from benchmark.cli import options as opt
from benchmark.cli.output import aside, note, warnings_shown, write, write_rich
from benchmark.cli.sweep_question import DEFAULTS, Question, Search, run_command, with_preset
from benchmark.cli.sweep_session import session

if TYPE_CHECKING:
    from benchmark.registry import Registry
    from benchmark.spec import RunSpec
    from sweeps.search import Candidate
    from sweeps.tuned import Found, Tuned


def _option(name: str, metavar: str, text: str) -> Any:
    usual = DEFAULTS.get(name.lstrip("-").replace("-", "_"))
    return typer.Option(name, metavar=metavar, help=text if usual is None else f"{text} Default: {usual}.", show_default=False)


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command("sweep")(sweep)


@camp.takes_conditions
def sweep(
    *,
    conditions: camp.Conditions,
    preset: Annotated[str, typer.Option("--preset", metavar="NAME|FILE", help="A question from sweeps/presets, or a TOML file.")] = "",
    task: grids.Task = "",
    methods: Annotated[str | None, _option("--methods", "LIST", "name[:preset][:key=value], …; what is set is not searched.")] = None,
    datasets: Annotated[str | None, _option("--datasets", "LIST", "name[:argument][:key=value], …")] = None,
    noise: Annotated[str | None, _option("--noise", "LIST", "name[:rate][:key=value], …, or a number.")] = None,
    trials: Annotated[int | None, _option("--trials", "N", "Settings that each method may try.")] = None,
    seeds: Annotated[str | None, _option("--seeds", "SEEDS", "Every trial is the mean over these.")] = None,
    fresh_seeds: Annotated[str | None, _option("--fresh-seeds", "SEEDS", "Default and best setting are compared on these.")] = None,
    search: Annotated[
        list[str] | None,
        _option("--search", "KEY=RANGE", "method.key=LOW..HIGH[:log|:step=S] or =[a,b], also protocol.key. Repeatable."),
    ] = None,
    sampler: Annotated[str | None, _option("--sampler", "NAME", "tpe, gp, random or grid.")] = None,
    pruner: Annotated[str | None, _option("--pruner", "NAME", "none, or wilcoxon: bad settings stop after a few seeds.")] = None,
    objectives: Annotated[str | None, _option("--objectives", "LIST", "accuracy or accuracy,seconds.")] = None,
    batch: Annotated[int | None, _option("--batch", "N", "Settings that a method tries at a time; more for many machines.")] = None,
    sampler_seed: Annotated[int | None, _option("--sampler-seed", "N", "Of the suggestions.")] = None,
    storage: Annotated[
        str | None, _option("--storage", "FILE|URL", "Studies: a journal, or a database. Default: a file in --runs.")
    ] = None,
    study: Annotated[str | None, _option("--study", "NAME", "Names the studies. Default: after what is searched.")] = None,
    out: Annotated[Path | None, _option("--out", "DIR", "Pictures, tables and all trials.")] = None,
    protocol: Annotated[str | None, _option("--protocol", "NAME", "Training plan that all methods share.")] = None,
    epochs: grids.Epochs = None,
    sets: grids.Sets = None,
    features: grids.Features = "",
    skip_bad: grids.SkipBad = False,
) -> int:
    """Tune every method with the same number of trials.

    A trial is scored on the noisy validation part. The best setting is then compared with the default on fresh seeds. Each trial is an
    ordinary run: cached, resumable, mirrored; the same command goes on where it was stopped.
    """
    opt.check_out(out)
    given = {
        "methods": methods, "datasets": datasets, "noise": noise, "trials": trials, "seeds": seeds, "fresh_seeds": fresh_seeds,
        "search": search, "sampler": sampler, "pruner": pruner, "objectives": objectives, "batch": batch, "sampler_seed": sampler_seed,
        "protocol": protocol, "epochs": epochs, "sets": sets,
    }  # fmt: skip
    chosen = with_preset(preset, given)
    registry = opt.registry_of(conditions.plugins)
    question = Question.read(registry, chosen, task, features, skip_bad)
    told: set[str] = set()
    with aside(), warnings_shown(told):
        searches = question.searches(registry, conditions.data_root)
    if conditions.dry_run:
        _announce(searches, question)
        _print_spaces(searches)
        return 0
    from sweeps.storage import open_storage

    with aside(), warnings_shown(told), open_storage(storage, conditions.runs) as (kept, drivers):
        from sweeps.search import Candidate
        from sweeps.study import Study

        candidates = [Candidate(Study(one.plan, kept, drivers, study), one.setting, question.task) for one in searches]
        for candidate in candidates if conditions.retry_failed else ():
            candidate.study.retry_failed()
        if not conditions.quiet:
            _announce(searches, question)
        outcome = _play(candidates, searches, question, registry, conditions, told)
    if isinstance(outcome, int):
        return outcome
    _print(outcome, conditions.fmt)
    for path in _write(outcome, out) if out is not None else []:
        if not conditions.quiet:
            note(f"written: {path}")
    if not conditions.quiet:
        note(_places(storage, conditions))
    return 1 if all(search.best is None and search.reason is None for search in outcome) else 0


# --------------------------------------------------------------------------------------------------------------- rounds


def _play(
    candidates: Sequence[Candidate],
    searches: Sequence[Search],
    question: Question,
    registry: Registry,
    conditions: camp.Conditions,
    told: set[str],
) -> list[Tuned] | int:
    """Search, then compare on fresh seeds; the exit code instead if it was interrupted."""
    from benchmark.files import default_data_root
    from sweeps.search import Interrupted, search
    from sweeps.tuned import Found, tuned_of

    data_root = conditions.data_root or default_data_root()
    seeds = question.grid.seeds
    first = [spec for candidate in candidates for spec in candidate.specs(registry, data_root, {}, [*seeds, *question.fresh])]
    ready = camp.make_plan(registry, first, conditions, told)
    camp.make_data_ready(ready, registry, conditions, told)
    cells = len(candidates) * (question.trials * len(seeds) + 2 * len(question.fresh))
    with session(registry, conditions, cells, told) as rounds:
        try:
            search(candidates, registry, data_root, rounds.run, question.batch, rounds.on_trial, rounds.on_wait)
            pairs = [_fresh(Found.of(candidate), registry, data_root, question.fresh) for candidate in candidates]
            last = rounds.run(list({spec.key(): spec for _, *sides in pairs for side in sides for spec in side}.values()))
        except Interrupted:
            last = None
    if last is None or last.interrupted:
        spent = sum(candidate.study.spent() for candidate in candidates)
        note(f"interrupted; {spent} of {len(candidates) * question.trials} trials done; run the same command again to resume")
        return 130
    camp.print_failures(last, conditions.worker_of(cells))
    outcome = []
    for (found, default, tuned), one in zip(pairs, searches, strict=True):
        command = run_command(one, question, found.best.params, conditions.plugins or ()) if found.best else ""
        outcome.append(tuned_of(found, last.plan.store, default, tuned, question.fresh, command))
    return outcome


def _fresh(found: Found, registry: Registry, data_root: Path, seeds: Sequence[int]) -> tuple[Found, list[RunSpec], list[RunSpec]]:
    """A search with the runs of the default and of its best setting on fresh seeds; none if it has found nothing."""
    from benchmark.spec import TUNED
    from sweeps.plan import DEFAULT

    if found.best is None:
        return found, [], []
    default = found.candidate.specs(registry, data_root, {}, seeds)
    if found.best.source == DEFAULT:
        return found, default, default
    tuned = found.candidate.specs(registry, data_root, found.best.params, seeds, **{TUNED: f"{len(found.trials)} trials"})
    return found, default, tuned


# ------------------------------------------------------------------------------------------------------------- results


def _announce(searches: Sequence[Search], question: Question) -> None:
    seeds = len(question.grid.seeds)
    total = len(searches) * question.trials * seeds
    note(
        f"{len(searches)} {'search' if len(searches) == 1 else 'searches'} × {grids.count(question.trials, 'trials')} × "
        f"{grids.count(seeds, 'seeds')} = at most {grids.count(total, 'cells')}, then default and best setting on "
        f"{grids.count(len(question.fresh), 'fresh seeds')}"
    )


def _print_spaces(searches: Sequence[Search]) -> None:
    from benchmark.cli.output import write_table

    rows = []
    for plan in (one.plan for one in searches):
        default = plan.first[0].values
        for dimension in plan.space:
            what = " | ".join(map(str, dimension.choices)) if dimension.choices is not None else f"{dimension.low:g} .. {dimension.high:g}"
            scale = "log" if dimension.log else f"step {dimension.step:g}" if dimension.step else ""
            rows.append([plan.label, dimension.key, what, scale, default[dimension.key]])
        for first in plan.first if plan.sampler != "grid" else ():
            changed = {key: value for key, value in first.values.items() if default.get(key) != value}
            rows.append([plan.label, f"(first: {first.name})", ", ".join(f"{key}={value}" for key, value in changed.items()), "", ""])
    write_table(["search", "parameter", "values", "scale", "default"], rows)


def _print(searches: Sequence[Tuned], fmt: str) -> None:
    from reports.sweep_tables import render, rich_tables

    if fmt != "table":
        write(render(searches, fmt))
    else:
        write_rich(lambda width: rich_tables(searches, width=width))


def _write(searches: Sequence[Tuned], folder: Path) -> list[Path]:
    """Tables, trials and pictures; each file appears in one step."""
    from benchmark.files import atomic_write_text
    from reports.sweep_figures import write_figures
    from reports.sweep_tables import render, trials_csv

    written = write_figures(searches, folder)
    texts = {"sweep.md": render(searches, "md"), "sweep.csv": render(searches, "csv"), "sweep.json": render(searches, "json")}
    texts |= {f"trials-{search.plugin}-{search.digest}.csv": trials_csv(search) for search in searches}
    for name, text in texts.items():
        atomic_write_text(folder / name, text)
    return [*written, *(folder / name for name in texts)]


def _places(storage: str | None, conditions: camp.Conditions) -> str:
    from benchmark.tracking.command import masked
    from sweeps.storage import journal_path

    where = masked(storage, storage) if storage else str(journal_path(conditions.runs))
    return f"{camp.places(conditions)}; studies: {where} (optuna-dashboard {shlex.quote(where)})"
