"""``run`` and ``worker``: methods compared on the same cells, and one cell in this process."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli import campaign as camp
from benchmark.cli import cells as grids
from benchmark.cli import options as opt
from benchmark.cli.output import aside, note, warnings_shown
from benchmark.cli.profiles import Profile, check_profile, print_profiles
from benchmark.errors import BenchmarkError
from benchmark.tasks import TASKS

if TYPE_CHECKING:
    from benchmark.driver import CampaignResult, Plan
    from benchmark.grammar import Setting


def _of_task(name: str) -> str:
    """The defaults of an option, for its help."""
    first, *others = [(task, str(getattr(defaults, name))) for task, defaults in TASKS.items()]
    return f"Default: {first[1]}; " + "; ".join(f"of {task} {value}" for task, value in others)


RunMethods = Annotated[
    str | None, typer.Option("--methods", metavar="LIST", help=f"name[:preset][:key=value], … {_of_task('methods')}.", show_default=False)
]
RunDatasets = Annotated[
    str | None,
    typer.Option("--datasets", metavar="LIST", help=f"name[:argument][:key=value], … {_of_task('datasets')}.", show_default=False),
]
RunNoise = Annotated[
    str | None,
    typer.Option("--noise", metavar="LIST", help=f"name[:rate][:key=value], … or a number. {_of_task('noise')}.", show_default=False),
]
RunBaseline = Annotated[
    str | None,
    typer.Option(
        "--baseline", metavar="LIST", help=f"Added to --methods as floor; none leaves it out. {_of_task('baseline')}.", show_default=False
    ),
]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command("run")(run)
    app.command("worker")(worker)


@camp.takes_conditions
def run(
    *,
    conditions: camp.Conditions,
    task: grids.Task = "",
    methods: RunMethods = None,
    datasets: RunDatasets = None,
    noise: RunNoise = None,
    seeds: grids.Seeds = "0",
    protocol: grids.Protocol = "quick",
    epochs: grids.Epochs = None,
    sets: grids.Sets = None,
    baseline: RunBaseline = None,
    features: grids.Features = "",
    skip_bad: grids.SkipBad = False,
    profile: Profile = False,
) -> int:
    """Run and compare methods × data × noise × seeds.

    Finished cells are taken as they are, killed ones resume, so that the same command can be given again at any time.
    The comparison goes to stdout, all else to stderr.
    """
    asked: dict[str, Any] = {"task": task, "methods": methods, "datasets": datasets, "noise": noise, "baseline": baseline}
    chosen: dict[str, Any] = {
        "seeds": seeds,
        "protocol": protocol,
        "epochs": epochs,
        "sets": sets,
        "features": features,
        "skip_bad": skip_bad,
    }
    conditions = dataclasses.replace(conditions, profile=profile)
    campaign, floor = carry_out(conditions, **asked, **chosen)
    if campaign is None:
        return 0
    if not campaign.interrupted:
        _print_results(campaign, floor, conditions.fmt)
        if profile:
            print_profiles(campaign, conditions.fmt)
    return camp.conclude(campaign, conditions)


def carry_out(
    conditions: camp.Conditions,
    *,
    task: str,
    methods: str | None,
    datasets: str | None,
    noise: str | None,
    baseline: str | None,
    **chosen: Any,
) -> tuple[CampaignResult | None, list[Setting]]:
    """Plan and run the cells that ``run``'s options of the same names ask for.

    Args:
        **chosen: the rest of what :func:`benchmark.cli.cells.read_grid` takes.

    Returns:
        What became of them, None where they were only to be planned; and the methods that are the floor.

    Raises:
        BenchmarkError: something in the options, or the data, that no run could use.
    """
    from benchmark.grammar import parse_settings

    registry = opt.registry_of(conditions.plugins)
    task = grids.chosen_task(registry, task, dataset=datasets, method=methods, noise=noise)
    usual = TASKS[task]
    methods, datasets, noise = methods or usual.methods, datasets or usual.datasets, noise or usual.noise
    baseline = usual.baseline if baseline is None else baseline
    floor = [] if baseline == "none" else parse_settings(baseline, what="--baseline")
    compared, added = opt.with_baseline(parse_settings(methods, what="--methods"), floor)
    told: set[str] = set()
    with aside(), warnings_shown(told):
        grid = grids.read_grid(registry, datasets=datasets, noise=noise, task=task, **chosen)
        cells = grid.cells(registry, compared, conditions.data_root)
    plan = camp.make_plan(registry, cells, conditions, told)
    camp.announce(plan, _product(plan, added), conditions)
    if conditions.profile:
        check_profile(plan)
    if conditions.dry_run:
        return None, floor
    camp.make_data_ready(plan, registry, conditions, told)
    return camp.execute(plan, conditions, told), floor


def worker(
    *,
    key: Annotated[str | None, typer.Argument(help="The run's key.", show_default=False)] = None,
    runs: opt.Runs = Path("runs"),
    device: camp.Device = "auto",
    threads: camp.Threads = 1,
    plugin: opt.Plugins = None,
    data_root: opt.DataRoot = None,
    serve: Annotated[bool, typer.Option("--serve", help="Take keys as JSON lines from stdin; engines start workers so.")] = False,
) -> int:
    """Run one planned cell in this process.

    Its log goes to stderr: the way to repeat a failure.
    """
    if serve:
        from benchmark.engines.serve import serve_stdio

        serve_stdio()
        return 0
    if key is None:
        raise BenchmarkError("worker needs the key of a run; see: python -m benchmark status")
    import logging

    from benchmark.engines.serial import execute_here
    from benchmark.store import RunStore
    from benchmark.worker import execute

    options = camp.worker_options(runs, device, threads, data_root, plugin)
    store = RunStore(runs)
    store.spec(key)
    opt.check_devices(device, ())
    if (store.result(key) or {}).get("status") == "diverged":
        store.archive(key)  # a result like any other to the worker; whoever asks for this run wants to see it diverge
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with aside():
        outcome = execute_here(execute, key, options, lambda event: None)
    note(f"{outcome.status}  {key}  {outcome.message}".rstrip())
    return 0 if outcome.status in ("done", "skipped") else 1


def _product(plan: Plan, added: Sequence[Setting]) -> str:
    """How the cells come about."""
    specs = [cell.spec for cell in plan.cells]
    names = {"method": "methods", "dataset": "data sets", "noise": "noise settings"}
    counts = [grids.count(len({grids.identity(spec, kind) for spec in specs}), plural) for kind, plural in names.items()]
    counts.append(grids.count(len({spec.seed for spec in specs}), "seeds"))
    product = f"{' × '.join(counts)} = {grids.count(len(specs), 'cells')}"
    if added:
        product += f" ({', '.join(map(str, added))} added as baseline; --baseline none leaves it out)"
    return product


def _print_results(campaign: CampaignResult, floor: Sequence[Setting], fmt: str) -> None:
    """The comparison of exactly this command's cells."""
    from benchmark.cli.report import print_board
    from reports.board import build
    from reports.rows import flatten_all

    results = camp.results_of(campaign)
    if results:
        seeds = sorted({cell.spec.seed for cell in campaign.plan.cells})
        print_board(build(flatten_all(results), baseline=floor[0].name if floor else None, seeds=seeds), fmt)
