"""``sweep``: the same search budget for every method, and what tuning was worth on fresh seeds."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli import campaign as camp
from benchmark.cli import cells as grids
from benchmark.cli import options as opt
from benchmark.cli.output import aside, note, warnings_shown, write
from benchmark.errors import BenchmarkError
from benchmark.progress import Progress
from benchmark.tasks import TASKS

if TYPE_CHECKING:
    from benchmark.driver import CampaignResult
    from benchmark.grammar import Setting
    from benchmark.registry import Registry
    from benchmark.spec import RunSpec
    from sweeps.search import Candidate
    from sweeps.space import Dimension
    from sweeps.study import FinishedTrial, Study
    from sweeps.tuned import Tuned

DEFAULTS: dict[str, Any] = {
    "seeds": "0-2",
    "fresh_seeds": "100-104",
    "protocol": "quick",
    "trials": 30,
    "sampler": "tpe",
    "pruner": "none",
    "objectives": "accuracy",
    "batch": 2,
    "sampler_seed": 0,
}
"""What a command and its preset leave open; the rest depends on the task."""
FEWEST_SEEDS_TO_PRUNE = 5
"""With four pairs a one-sided Wilcoxon test comes to p = 1/16, the first below 0.1: with fewer seeds nothing could ever be stopped."""
PIPE_WIDTH = 200


def _option(name: str, metavar: str, text: str) -> Any:
    usual = DEFAULTS.get(name.lstrip("-").replace("-", "_"))
    return typer.Option(name, metavar=metavar, help=text if usual is None else f"{text} Default: {usual}.", show_default=False)


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command("sweep")(sweep)


def sweep(
    *,
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
    objectives: Annotated[str | None, _option("--objectives", "LIST", "accuracy, or accuracy,seconds.")] = None,
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
    runs: opt.Runs = Path("runs"),
    jobs: camp.Jobs = None,
    gpus: camp.Gpus = "",
    device: camp.Device = "auto",
    threads: camp.Threads = 1,
    timeout: camp.Timeout = None,
    engine: camp.Engine = "auto",
    address: camp.Address = None,
    gpus_per_run: camp.GpusPerRun = None,
    slurm: camp.Slurm = None,
    plugin: opt.Plugins = None,
    data_root: opt.DataRoot = None,
    tracking_uri: opt.TrackingUri = None,
    no_tracking: camp.NoTracking = False,
    stale: camp.Stale = "rerun",
    skip_bad: grids.SkipBad = False,
    dry_run: camp.DryRun = False,
    fmt: opt.Format = "table",
    quiet: camp.Quiet = False,
) -> int:
    """Tune every method with the same number of trials.

    A trial is scored on the noisy validation part. The best setting is then compared with the default on fresh seeds. Each trial is an
    ordinary run: cached, resumable, mirrored; the same command goes on where it was stopped.
    """
    place = camp.engine_choice(engine, address, gpus_per_run, slurm)
    conditions = camp.Conditions(
        runs, jobs, gpus, device, threads, timeout, plugin, data_root, tracking_uri, no_tracking, stale, False, dry_run, fmt, quiet, place
    )
    opt.check_out(out)
    given = {
        "methods": methods, "datasets": datasets, "noise": noise, "trials": trials, "seeds": seeds, "fresh_seeds": fresh_seeds,
        "search": search, "sampler": sampler, "pruner": pruner, "objectives": objectives, "batch": batch, "sampler_seed": sampler_seed,
        "protocol": protocol, "epochs": epochs, "sets": sets,
    }  # fmt: skip
    chosen = _chosen(preset, given)
    registry = opt.registry_of(plugin)
    question = _Question.read(registry, chosen, task, features, skip_bad)
    told: set[str] = set()
    with aside(), warnings_shown(told):
        plans = question.plans(registry, conditions)
    if not quiet or dry_run:
        _announce(plans, question)
    if dry_run:
        _print_spaces(plans)
        return 0
    from sweeps.storage import open_storage

    with aside(), warnings_shown(told), open_storage(storage, runs) as (kept, drivers):
        from sweeps.search import Candidate
        from sweeps.study import Study

        candidates = [Candidate(Study(plan, kept, drivers, study), setting, question.task) for setting, plan in plans]
        outcome = _play(candidates, question, registry, conditions, told)
    if isinstance(outcome, int):
        return outcome
    _print(outcome, fmt)
    for path in _write(outcome, out) if out is not None else []:
        if not quiet:
            note(f"written: {path}")
    if not quiet:
        note(_places(storage, conditions))
    return 1 if all(search.best is None and search.reason is None for search in outcome) else 0


# ------------------------------------------------------------------------------------------------------------- options


def _chosen(preset: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the command says, else its preset, else the defaults."""
    from sweeps.presets import read_preset

    chosen: dict[str, Any] = {**dict.fromkeys(given), **DEFAULTS}
    chosen |= read_preset(preset, given.keys()) if preset else {}
    return chosen | {name: value for name, value in given.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class _Question:
    """What a command asks, read and checked."""

    task: str
    methods: Sequence[Setting]
    grid: grids.Grid
    fresh: Sequence[int]
    search: Mapping[str, Mapping[str, str]]
    trials: int
    sampler: str
    pruner: str
    objectives: tuple[str, ...]
    batch: int
    sampler_seed: int
    fixed: frozenset[str]

    @classmethod
    def read(cls, registry: Registry, chosen: Mapping[str, Any], task: str, features: str, skip_bad: bool) -> _Question:
        from benchmark.grammar import parse_settings
        from sweeps.space import PROTOCOL, read_search
        from sweeps.study import OBJECTIVES, PRUNERS, SAMPLERS

        task = grids.chosen_task(registry, task, dataset=chosen["datasets"], method=chosen["methods"], noise=chosen["noise"])
        usual = TASKS[task]
        grid = grids.read_grid(
            registry,
            datasets=chosen["datasets"] or usual.datasets,
            noise=chosen["noise"] or usual.noise,
            seeds=chosen["seeds"],
            protocol=chosen["protocol"],
            epochs=chosen["epochs"],
            sets=chosen["sets"],
            features=features,
            skip_bad=skip_bad,
            task=task,
        )
        methods = parse_settings(chosen["methods"] or usual.methods, what="--methods")
        fresh = opt.parse_seeds(chosen["fresh_seeds"], "--fresh-seeds")
        both = sorted(set(fresh) & set(grid.seeds))
        if both:
            raise BenchmarkError(f"--fresh-seeds {chosen['fresh_seeds']}: the search sees seed {both[0]} of --seeds; choose others")
        for name, least in (("trials", 1), ("batch", 1), ("sampler_seed", 0)):
            if not isinstance(chosen[name], int) or isinstance(chosen[name], bool) or chosen[name] < least:
                raise BenchmarkError(f"--{name.replace('_', '-')} {chosen[name]}: a whole number from {least} on")
        objectives = tuple(part.strip() for part in chosen["objectives"].split(","))
        for objective in objectives:
            opt.check_choice("objective", objective, OBJECTIVES)
        if len(set(objectives)) < len(objectives):
            raise BenchmarkError(f"--objectives {chosen['objectives']} names one twice")
        opt.check_choice("--sampler", chosen["sampler"], SAMPLERS)
        opt.check_choice("--pruner", chosen["pruner"], PRUNERS)
        if chosen["pruner"] == "wilcoxon" and len(objectives) > 1:
            raise BenchmarkError("--pruner wilcoxon compares one objective, and --objectives names two; leave one of them out")
        if chosen["pruner"] == "wilcoxon" and len(grid.seeds) < FEWEST_SEEDS_TO_PRUNE:
            raise BenchmarkError(
                f"--pruner wilcoxon cannot tell settings apart before the fourth seed and --seeds {chosen['seeds']} has {len(grid.seeds)}; "
                f"give at least {FEWEST_SEEDS_TO_PRUNE}, e.g. --seeds 0-5"
            )
        search = read_search(chosen["search"] or ())
        names = {setting.name for setting in methods}
        for owner in search:
            if owner not in names | {PROTOCOL}:
                raise BenchmarkError(
                    f"--search {owner}.…: {owner} is none of this command's methods ({', '.join(sorted(names))}) nor protocol"
                )
        fixed = {f"{owner}.{key}" for owner, values in grid.overrides.items() for key in values}
        fixed |= {f"{PROTOCOL}.{key}" for key in opt.parse_sets(chosen["sets"] or ()).get(PROTOCOL, {})}
        for owner, values in grid.overrides.items():
            many = [key for key, tried in values.items() if owner in names and len(tried) > 1]
            if many:
                raise BenchmarkError(f"--set {owner}.{many[0]}=[…] is a grid of its own; write --search {owner}.{many[0]}=[…]")
        return cls(
            task,
            methods,
            grid,
            fresh,
            search,
            chosen["trials"],
            chosen["sampler"],
            chosen["pruner"],
            objectives,
            chosen["batch"],
            chosen["sampler_seed"],
            frozenset(fixed | ({"protocol.epochs"} if chosen["epochs"] is not None else set())),
        )

    def plans(self, registry: Registry, conditions: camp.Conditions) -> list[tuple[Setting, Any]]:
        """One plan a method, data set and noise; those of one method share their space."""
        from benchmark.code_hash import code_hash
        from sweeps.space import grid_points, space_of
        from sweeps.study import Plan

        found = []
        for setting in self.methods:
            cells = dataclasses.replace(self.grid, seeds=self.grid.seeds[:1]).cells(registry, [setting], conditions.data_root)
            kind = registry.load("method", setting.name).Params
            own = {f"{setting.name}.{key}" for key in setting.options}
            for cell in cells:
                asked = {owner: values for owner, values in self.search.items() if owner in (setting.name, "protocol")}
                space = space_of(setting.name, kind, cell.method.params, cell.protocol, self.fixed | own, asked)
                if not space:
                    raise BenchmarkError(f"nothing of {setting} is left to search; take back a --set, or give --search")
                if self.sampler == "grid":
                    grid_points(space, self.trials)
                plan = Plan(
                    cell,
                    code_hash(cell, registry),
                    space,
                    _first_settings(registry, setting, cell, space),
                    tuple(self.grid.seeds),
                    self.trials,
                    self.sampler,
                    self.pruner,
                    self.objectives,
                    self.sampler_seed,
                )
                found.append((setting, plan))
        return found


def _first_settings(
    registry: Registry, setting: Setting, cell: RunSpec, space: Sequence[Dimension]
) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """The default, and those presets of the method that the search can come to."""
    cls = registry.load("method", setting.name)
    values = {f"{setting.name}.{key}": value for key, value in cell.method.params.items()}
    values |= {f"protocol.{key}": value for key, value in vars(cell.protocol).items()}
    default = {dimension.key: values[dimension.key] for dimension in space}
    found: dict[str, Mapping[str, Any]] = {}
    if all(dimension.contains(default[dimension.key]) for dimension in space):
        found["default"] = default
    for name, changes in cls.presets.items():
        changed = {f"{setting.name}.{key}": value for key, value in changes.items()}
        point = {**default, **{key: value for key, value in changed.items() if key in default}}
        same = all(values.get(key) == value for key, value in changed.items() if key not in default)
        if same and point not in found.values() and all(dimension.contains(point[dimension.key]) for dimension in space):
            found[f"preset {name}"] = point
    return tuple(found.items())


def _announce(plans: Sequence[tuple[Setting, Any]], question: _Question) -> None:
    searches, seeds = len(plans), len(question.grid.seeds)
    total = searches * question.trials * seeds
    note(
        f"{grids.count(searches, 'searches') if searches != 1 else '1 search'} × {grids.count(question.trials, 'trials')} × "
        f"{grids.count(seeds, 'seeds')} = at most {grids.count(total, 'cells')}, then default and best setting on "
        f"{grids.count(len(question.fresh), 'fresh seeds')}"
    )


def _print_spaces(plans: Sequence[tuple[Setting, Any]]) -> None:
    from benchmark.cli.output import write_table

    rows = []
    for _, plan in plans:
        default = next((dict(point) for name, point in plan.enqueued if name == "default"), {})
        for dimension in plan.space:
            what = " | ".join(map(str, dimension.choices)) if dimension.choices is not None else f"{dimension.low:g} .. {dimension.high:g}"
            scale = "log" if dimension.log else f"step {dimension.step:g}" if dimension.step else ""
            rows.append([plan.label, dimension.key, what, scale, default.get(dimension.key, "")])
        rows += [[plan.label, f"(first: {name})", "", "", ""] for name, _ in plan.enqueued]
    write_table(["search", "parameter", "values", "scale", "default"], rows)


# --------------------------------------------------------------------------------------------------------------- rounds


def _play(
    candidates: Sequence[Candidate], question: _Question, registry: Registry, conditions: camp.Conditions, told: set[str]
) -> list[Tuned] | int:
    """Search, then compare on fresh seeds; the exit code instead if it was interrupted."""
    from benchmark.files import default_data_root
    from sweeps.search import Interrupted, search
    from sweeps.tuned import tuned_of

    data_root = conditions.data_root or default_data_root()
    seeds = question.grid.seeds
    first = [spec for candidate in candidates for spec in candidate.specs(registry, data_root, {}, [*seeds, *question.fresh])]
    ready = camp.make_plan(registry, first, conditions, told)
    camp.make_data_ready(ready, registry, conditions, told)
    cells = len(candidates) * (question.trials * len(seeds) + 2 * len(question.fresh))
    with _session(registry, conditions, cells, told) as session:
        try:
            search(candidates, registry, data_root, session.run, question.batch, session.on_trial, session.on_wait)
            pairs = []
            for candidate in candidates:
                best = candidate.study.best()
                marks = {} if best is None or best.source == "default" else {"tuned": f"{candidate.study.spent()} trials"}
                default = candidate.specs(registry, data_root, {}, question.fresh)
                tuned = candidate.specs(registry, data_root, best.params, question.fresh, **marks) if best else []
                pairs.append((candidate, default if best else [], tuned))
            last = session.run(list({spec.key(): spec for _, *sides in pairs for side in sides for spec in side}.values()))
        except Interrupted:
            last = None
    if last is None or last.interrupted:
        spent = sum(candidate.study.spent() for candidate in candidates)
        note(f"interrupted; {spent} of {len(candidates) * question.trials} trials done; run the same command again to resume")
        return 130
    camp.print_failures(last, conditions.worker)
    return [
        tuned_of(candidate, last.plan.store, default, tuned, question.fresh, _repeat(candidate, tuned))
        for candidate, default, tuned in pairs
    ]


class _Session:
    """One engine, one mirror and one display for all rounds of a command."""

    def __init__(self, registry: Registry, conditions: camp.Conditions, engine: Any, tracker: Any, progress: Any, told: set[str]) -> None:
        self._registry, self._conditions, self._told = registry, conditions, told
        self._engine, self._tracker, self._progress = engine, tracker, progress

    def run(self, specs: Sequence[RunSpec]) -> CampaignResult:
        """Run what is missing of these cells."""
        from benchmark import driver

        plan = camp.make_plan(self._registry, specs, self._conditions, self._told)
        self._progress.already(len(plan.cells) - len(plan.pending))
        return driver.execute(plan, self._engine, _Kept(self._tracker), _Shown(self._progress))

    def on_trial(self, study: Study, trial: FinishedTrial | None, reason: str) -> None:
        """One line a trial."""
        if self._conditions.quiet:
            return
        spent, best = study.spent(), study.best()
        if trial is None:
            said = reason
        else:
            name = "" if trial.source == "search" else f" ({trial.source})"
            stopped = "" if trial.whole else f", stopped after {len(trial.values)} seeds"
            said = f"{trial.value * 100:.1f}{name}{stopped}" + (f", best {best.value * 100:.1f}" if best is not None else "")
        self._progress.message(f"{study.plan.label}  trial {spent}/{study.plan.trials}: {said}")

    def on_wait(self, trials: int) -> None:
        """Other drivers work on the same studies."""
        self._progress.message(f"waiting for {grids.count(trials, 'trials')} that other drivers run")


@contextlib.contextmanager
def _session(registry: Registry, conditions: camp.Conditions, cells: int, told: set[str]) -> Iterator[_Session]:
    from benchmark.progress import make_progress
    from benchmark.tracking import make_tracker

    progress = make_progress(cells, quiet=conditions.quiet)
    tracker = make_tracker(not conditions.no_tracking, conditions.tracking_uri, conditions.runs)
    tracker.start("sweep", cells)
    status = "failed"
    with contextlib.closing(camp.engine_for(cells, conditions)) as engine, progress:
        try:
            yield _Session(registry, conditions, engine, tracker, progress, told)
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        finally:
            tracker.finish(status)


class _Kept:
    """A tracker that one command starts and finishes, not every round of it."""

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker

    def start(self, command: str, cells: int) -> None:
        """The command has begun already."""

    def mirror(self, folder: Path) -> None:
        """See :class:`benchmark.tracking.Tracker`."""
        self._tracker.mirror(folder)

    def finish(self, status: str) -> None:
        """The command goes on."""


class _Shown(Progress):
    """A display that stays on between rounds."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(progress.total)
        self._progress = progress

    def event(self, key: str, label: str, event: Mapping[str, Any]) -> None:
        """See :class:`~benchmark.progress.Progress`; so are the others."""
        self._progress.event(key, label, event)

    def finished(self, key: str, label: str, status: str, seconds: float | None, detail: str = "") -> None:
        """A cell has ended."""
        self._progress.finished(key, label, status, seconds, detail)

    def message(self, text: str) -> None:
        """A line."""
        self._progress.message(text)


# ------------------------------------------------------------------------------------------------------------- results


def _repeat(candidate: Candidate, tuned: Sequence[RunSpec]) -> str:
    """The ``run`` that repeats the best setting on the fresh seeds."""
    study, best = candidate.study, candidate.study.best()
    if best is None:
        return ""
    cell = study.plan.cell
    seeds = ",".join(str(spec.seed) for spec in tuned)
    words = ["python", "-m", "benchmark", "run", "--methods", str(candidate.setting), "--datasets", cell.labels["dataset"]]
    words += ["--noise", cell.labels["noise"], "--seeds", seeds, "--protocol", cell.protocol.name, "--baseline", "none"]
    words += [word for key, value in best.params.items() for word in ("--set", f"{key}={value}")]
    return shlex.join(words)


def _print(searches: Sequence[Tuned], fmt: str) -> None:
    from rich.console import Console

    from reports.sweep_tables import render, rich_tables

    if fmt != "table":
        write(render(searches, fmt))
    elif sys.stdout.isatty():
        console = Console()
        console.print(*rich_tables(searches, width=console.width), sep="\n")
    else:
        stream = io.StringIO()
        Console(file=stream, width=PIPE_WIDTH, color_system=None).print(*rich_tables(searches, width=PIPE_WIDTH), sep="\n")
        write("".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines()))


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
