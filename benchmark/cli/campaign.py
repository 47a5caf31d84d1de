"""From cells to outcomes: the plan, ready data, runs with progress and mirror, and what went wrong."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli import options as opt
from benchmark.cli.cells import count, identity
from benchmark.cli.output import aside, note, warnings_shown
from benchmark.engines.choice import EngineChoice
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.cost import FolderCosts
    from benchmark.driver import CampaignResult, Plan
    from benchmark.engines.base import Engine as RunningEngine
    from benchmark.engines.base import WorkerOptions
    from benchmark.registry import Registry
    from benchmark.spec import RunSpec

Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, metavar="N", help="Runs at a time. Default: one a core, one a GPU.", show_default=False)
]
Gpus = Annotated[str, typer.Option("--gpus", metavar="IDS", help="GPUs to deal the jobs over, e.g. 0,1.")]
PerGpu = Annotated[
    int | None, typer.Option("--per-gpu", metavar="N", help="Runs at a time on each GPU of --gpus. Default: one.", show_default=False)
]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu or cuda[:i].")]
AUTO_THREADS = 0
"""``--threads auto``: the cores, divided by the runs that go on at a time."""


def _threads(text: str | int) -> int:
    """``--threads`` as a number; :data:`AUTO_THREADS` for ``auto``."""
    if text in ("auto", AUTO_THREADS):
        return AUTO_THREADS
    if not str(text).isdecimal() or int(text) < 1:
        raise BenchmarkError(f"--threads {text} is not a number of CPU threads from 1 on, or auto")
    return int(text)


Threads = Annotated[
    int,
    typer.Option(
        "--threads",
        parser=_threads,
        metavar="N",
        help="CPU threads of one run, or auto: cores / runs at a time. Another number rounds otherwise.",
    ),
]
Timeout = Annotated[float | None, typer.Option("--timeout", min=1, metavar="SECONDS", help="Limit for one run.")]
Engine = Annotated[str, typer.Option("--engine", metavar="NAME", help="Where runs run: auto, serial, local, ray or slurm.")]
Address = Annotated[
    str | None, typer.Option("--address", metavar="HOST:PORT", help="Of a Ray cluster; auto for one on this machine.", show_default=False)
]
GpusPerRun = Annotated[float | None, typer.Option("--gpus-per-run", metavar="X", help="Of Ray: e.g. 1, or 0.25.", show_default=False)]
Slurm = Annotated[
    list[str] | None,
    typer.Option("--slurm", metavar="KEY=VALUE", help="Of SLURM: partition=gpu, time=240, … Repeatable.", show_default=False),
]
StackSeeds = Annotated[
    bool, typer.Option("--stack-seeds", help="Train runs that differ in their seed only together where that is measured to be faster.")
]
NoTracking = Annotated[bool, typer.Option("--no-tracking", help="Do not mirror the runs in MLflow.")]
Stale = Annotated[str, typer.Option("--stale", metavar="POLICY", help="Results of other code: rerun, keep or error.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Run failed and diverged cells again.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the cells and what would be done; write nothing.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the table and failures only.")]


MOST_FAILURES = 10
"""Up to so many cells that ended badly have a line each; more are grouped by cause."""


@dataclass(frozen=True)
class Conditions:
    """How the cells of a command are run, whatever they are; the options of the same names, and whether their networks are kept
    and their seconds are measured.

    Raises:
        BenchmarkError: a value that no run could use.
    """

    runs: Path
    jobs: int | None
    gpus: str
    device: str
    threads: int
    timeout: float | None
    plugins: Sequence[str] | None
    data_root: Path | None
    tracking_uri: str | None
    no_tracking: bool
    stale: str
    retry_failed: bool
    dry_run: bool
    fmt: str
    quiet: bool
    engine: EngineChoice = field(default_factory=EngineChoice)
    keep_model: bool = False
    per_gpu: int | None = None
    profile: bool = False
    stack_seeds: bool = False

    def __post_init__(self) -> None:
        from benchmark.driver import STALE_POLICIES

        opt.check_choice("--format", self.fmt, opt.FORMATS)
        opt.check_choice("--stale", self.stale, STALE_POLICIES)
        _ = self.gpu_ids, self.worker  # refuse what they cannot be made of
        self.engine.check_per_gpu(self.per_gpu, self.gpu_ids, self.jobs)
        self.engine.check(self.jobs, self.gpu_ids, self.device, self.timeout, self.stack_seeds)
        if self.threads == AUTO_THREADS and self.engine.elsewhere:
            raise BenchmarkError(f"--threads auto divides the cores of this machine; --engine {self.engine.name} needs a number")

    @property
    def gpu_ids(self) -> list[str]:
        """The GPUs of ``--gpus``."""
        ids = [part.strip() for part in self.gpus.split(",")] if self.gpus.strip() else []
        if not all(re.fullmatch(r"[\w:/-]+", part) for part in ids):
            raise BenchmarkError(f"--gpus '{self.gpus}' is not a list of GPU ids, e.g. 0,1")
        return ids

    @property
    def worker(self) -> WorkerOptions:
        """What every worker is told, but for ``--threads auto``, which counts as 1 here; see :meth:`worker_of`."""
        return self.worker_of(0)

    def worker_of(self, pending: int) -> WorkerOptions:
        """What every worker is told by a command that has so many cells to run."""
        with_gpu = self.gpu_ids or self.engine.with_gpu
        device = "cuda" if with_gpu and self.device == "auto" else self.device  # without its GPU it must not fall back to the CPU
        more = {"timeout": self.timeout, "stale": self.stale, "keep_model": self.keep_model}
        more |= {"profile": self.profile, "stack_seeds": self.stack_seeds}
        threads = self.threads if self.threads != AUTO_THREADS else _auto_threads(pending, self) if pending else 1
        return worker_options(self.runs, device, threads, self.data_root, self.plugins, **more)


def conditions_of(
    *,
    runs: opt.Runs = Path("runs"),
    jobs: Jobs = None,
    gpus: Gpus = "",
    per_gpu: PerGpu = None,
    device: Device = "auto",
    threads: Threads = 1,
    timeout: Timeout = None,
    engine: Engine = "auto",
    address: Address = None,
    gpus_per_run: GpusPerRun = None,
    slurm: Slurm = None,
    stack_seeds: StackSeeds = False,
    plugin: opt.Plugins = None,
    data_root: opt.DataRoot = None,
    tracking_uri: opt.TrackingUri = None,
    no_tracking: NoTracking = False,
    stale: Stale = "rerun",
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    fmt: opt.Format = "table",
    quiet: Quiet = False,
) -> Conditions:
    """The options of every command that runs cells, checked."""
    from benchmark.engines.choice import parse_slurm

    place = EngineChoice(engine, address, gpus_per_run, parse_slurm(slurm or ()))
    how = (tracking_uri, no_tracking, stale, retry_failed, dry_run, fmt, quiet, place)
    more: dict[str, Any] = {"per_gpu": per_gpu, "stack_seeds": stack_seeds}
    return Conditions(runs, jobs, gpus, device, threads, timeout, plugin, data_root, *how, **more)


def takes_conditions(command: Callable[..., int]) -> Callable[..., int]:
    """A command that takes ``conditions`` as one that has the options of :func:`conditions_of` after its own, as Typer reads them."""
    own = [parameter for name, parameter in inspect.signature(command, eval_str=True).parameters.items() if name != "conditions"]
    shared = inspect.signature(conditions_of, eval_str=True).parameters

    @functools.wraps(command)
    def call(**values: Any) -> int:
        conditions = conditions_of(**{name: values.pop(name) for name in shared})
        return command(conditions=conditions, **values)

    parameters = [*own, *shared.values()]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def folder_costs(conditions: Conditions) -> FolderCosts:
    """What tells how long cells will take under these conditions; a command that makes many plans keeps it."""
    from benchmark.cost import FolderCosts
    from benchmark.store import RunStore

    return FolderCosts(RunStore(conditions.runs), _device_name(conditions))


def make_plan(
    registry: Registry, cells: Sequence[RunSpec], conditions: Conditions, told: set[str], costs: FolderCosts | None = None
) -> Plan:
    """What is there of the cells and what is to be run.

    Args:
        told: the warnings that were printed; see :func:`benchmark.cli.output.warnings_shown`.
        costs: from :func:`folder_costs`, kept from plan to plan; None reads all results of the folder.
    """
    from benchmark import driver
    from benchmark.store import RunStore

    with aside(), warnings_shown(told):
        costs = costs or folder_costs(conditions)
        how = (conditions.stale, conditions.retry_failed, costs)
        plan = driver.plan(registry, cells, RunStore(conditions.runs), *how, keep_model=conditions.keep_model)
    if plan.pending and not conditions.dry_run and not conditions.engine.elsewhere:
        opt.check_devices(conditions.device, conditions.gpu_ids)
    return plan


def announce(plan: Plan, what: str, conditions: Conditions) -> None:
    """The plan in one line and, for ``--dry-run``, as a table of the cells and what they will cost."""
    from benchmark.cli.dry_run import print_plan

    if not conditions.quiet:
        threads = conditions.worker_of(len(plan.pending)).threads
        each = f"; {count(threads, 'threads')} a run (--threads auto)" if plan.pending and conditions.threads == AUTO_THREADS else ""
        note(f"{what}: {_to_do(plan, _slots(plan, conditions))}{each}")
    if conditions.dry_run:
        print_plan(plan, conditions.fmt, _slots(plan, conditions))


def make_data_ready(plan: Plan, registry: Registry, conditions: Conditions, told: set[str]) -> None:
    """Downloads, decoding and features before the first run, where their progress can be seen.

    What may leave too few samples, a user's own data among it, and noise that reads a file or another data set or suits some sets only,
    is tried once: no cell need fail over it.
    """
    from benchmark.files import default_data_root
    from benchmark.prepare import make_ready, prepare
    from benchmark.progress import Preparation

    data_root = conditions.data_root or default_data_root()
    device = "auto" if conditions.engine.elsewhere else conditions.worker.device  # the runs' GPUs are other machines'
    with aside(), warnings_shown(told), Preparation(quiet=conditions.quiet) as report:
        for dataset in {identity(cell.spec, "dataset"): cell.spec.dataset for cell in plan.pending}.values():
            make_ready(dataset, registry, data_root, device, report)
        doubtful = [cell.spec for cell in plan.pending if _may_not_fit(cell.spec, registry)]
        for spec in {(identity(spec, "dataset"), identity(spec, "noise")): spec for spec in reversed(doubtful)}.values():
            try:
                prepare(spec, registry, data_root)
            except BenchmarkError as error:
                if spec.dataset.name in str(error):
                    raise
                raise BenchmarkError(f"{spec.labels['dataset']}: {error}") from error


def execute(plan: Plan, conditions: Conditions, told: set[str]) -> CampaignResult:
    """Run what is pending, with progress and mirror."""
    from benchmark import driver
    from benchmark.progress import make_progress
    from benchmark.tracking import make_tracker

    progress = make_progress(len(plan.pending), quiet=conditions.quiet)
    with aside(), warnings_shown(told):
        made = engine_for(len(plan.pending), conditions)
        something = bool(plan.pending or plan.adopted)
        tracker = make_tracker(something and not conditions.no_tracking, conditions.tracking_uri, conditions.runs)
        with contextlib.closing(made) as engine:
            campaign = driver.execute(plan, engine, tracker, progress)
    if conditions.profile:
        campaign.tracking_seconds = dict(tracker.seconds)
    return campaign


def engine_for(pending: int, conditions: Conditions) -> RunningEngine:
    """The engine that the options ask for, for so many cells; whoever takes it closes it."""
    from benchmark.engines import make_engine

    return make_engine(conditions.worker_of(pending), _jobs(pending, conditions), conditions.gpu_ids, conditions.engine)


def results_of(campaign: CampaignResult) -> list[dict[str, Any]]:
    """The contents of ``result.json`` of the command's cells, in their order, each with a key ``stale``; cells without are left out."""
    plan = campaign.plan
    kept_stale = {cell.key for cell in plan.cells if cell.status == "stale" and not cell.pending}
    found = {cell.key: plan.store.result(cell.key) for cell in plan.cells}
    return [{**result, "stale": key in kept_stale} for key, result in found.items() if result is not None]


def conclude(campaign: CampaignResult, conditions: Conditions) -> int:
    """Say what ended badly and where everything is; returns the exit code."""
    print_failures(campaign, conditions.worker_of(len(campaign.plan.pending)))
    if not conditions.quiet:
        note(places(conditions))
    if campaign.interrupted:
        cells = len(campaign.plan.cells)
        note(f"interrupted; {campaign.finished} of {cells} cells done; run the same command again to resume")
    return campaign.exit_code


def worker_options(
    runs: Path, device: str, threads: int, data_root: Path | None, plugins: Sequence[str] | None, **more: Any
) -> WorkerOptions:
    """The options of a worker, checked."""
    from benchmark.engines import available_cores
    from benchmark.engines.base import WorkerOptions

    threads = threads if threads != AUTO_THREADS else available_cores()  # one run, all cores
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise BenchmarkError(f"--device {device} is not auto, cpu or cuda[:i]")
    return WorkerOptions(runs=runs, device=device, threads=threads, data_root=data_root, plugins=tuple(plugins or ()), **more)


def _to_do(plan: Plan, jobs: int) -> str:
    """What is there, what is to run and how long that takes."""
    from benchmark.progress import duration

    states = ", ".join(f"{number} {status}" for status, number in plan.counts.items())
    if not plan.pending:
        return f"{states}; nothing to run"
    expected_seconds = plan.wall_seconds(jobs or 1)
    if expected_seconds is None:
        expected = "no estimate yet"
    else:
        expected = f"about {duration(expected_seconds)}" + ("" if jobs else " for one worker")
        if plan.unestimated:
            expected += f" and {count(plan.unestimated, 'cells')} without estimate"
    return f"{states}; {len(plan.pending)} to run, {expected}"


def _may_not_fit(spec: RunSpec, registry: Registry) -> bool:
    from benchmark.resolve import instantiate_dataset, instantiate_noise

    thinned = {"imbalance", "subset", "label_file"} & set(spec.dataset.params)
    a_users = not instantiate_dataset(registry, spec.dataset).labels_are_truth
    reads = any(part.fingerprint is not None for part in spec.noise.parts or (spec.noise,))
    return bool(thinned) or a_users or reads or instantiate_noise(registry, spec.noise).is_particular


def print_failures(campaign: CampaignResult, options: WorkerOptions) -> None:
    """One line a cell that ended badly: why, where its log is, and how to repeat it; of many, one line a cause."""
    from benchmark.failures import Failure, group_failures, printable

    store = campaign.plan.store
    failures = [Failure(cell.key, f"{outcome.status}  {cell.label}", outcome.message or "no message") for cell, outcome in campaign.bad]
    for failure in failures if len(failures) <= MOST_FAILURES else ():
        log = store.folder(failure.key) / "log.txt"
        place = f"; log: {log}" if log.exists() else ""
        note(f"{failure.label}: {printable(failure.message)}{place}; repeat: {repeat_command(failure.key, options)}")
    for group in group_failures(failures) if len(failures) > MOST_FAILURES else ():
        example = f"e.g. {group.example.label}; repeat: {repeat_command(group.example.key, options)}"
        note(f"{count(group.count, 'cells')}: {group.cause}; {example}")
    if any(cell.ended in ("failed", "diverged") for cell in campaign.plan.cells):
        note("cells that ended so before are not run again; --retry-failed runs them")


def places(conditions: Conditions) -> str:
    """Where the runs are, and their mirror."""
    from benchmark.tracking.command import masked
    from benchmark.tracking.tracker import is_installed, store_uri

    location = store_uri(conditions.tracking_uri, conditions.runs)
    mirrored = not conditions.no_tracking and is_installed()
    return f"runs: {conditions.runs}" + (f"; tracking: {masked(location, location)}" if mirrored else "")


def repeat_command(key: str, options: WorkerOptions) -> str:
    """The command that runs one cell again in the foreground."""
    words = ["python", "-m", "benchmark", "worker", key, "--runs", str(options.runs)]
    words += [word for path in options.plugins for word in ("--plugin", path)]
    if options.data_root is not None:
        words += ["--data-root", str(options.data_root)]
    if options.device != "auto":
        words += ["--device", options.device]
    if options.threads != 1:
        words += ["--threads", str(options.threads)]
    return shlex.join(words)


def _slots(plan: Plan, conditions: Conditions) -> int:
    """How many runs go on at a time; 0: the cluster decides."""
    return max(_jobs(len(plan.pending), conditions), len(conditions.gpu_ids))


def _device_name(conditions: Conditions) -> str | None:
    """What ``host.device`` of this command's results will say; None where that is not known."""
    from benchmark.system_metrics import gpus

    device = conditions.worker.device
    if conditions.engine.elsewhere:  # this machine's GPUs say nothing
        return None if device.startswith("cuda") else "cpu"
    found = [] if device == "cpu" else gpus()
    if not found:
        return "cpu" if device in ("cpu", "auto") else None
    chosen = (conditions.gpu_ids or [device.partition(":")[2]])[0]
    return found[int(chosen)].name if chosen.isdigit() and int(chosen) < len(found) else found[0].name


def _auto_threads(pending: int, conditions: Conditions) -> int:
    """The cores divided by the runs that go on at a time, at least 1."""
    from benchmark.engines import available_cores

    return max(1, available_cores() // max(1, min(_jobs(pending, conditions), pending)))


def _jobs(pending: int, conditions: Conditions) -> int:
    """As many runs at a time as asked for, or as the cores bear, one a GPU, never more than there are cells; 0: the cluster decides."""
    from benchmark.engines import available_cores

    gpus, device = conditions.gpu_ids, conditions.device
    if conditions.jobs or conditions.per_gpu:
        return conditions.jobs or (conditions.per_gpu or 1) * len(gpus)
    if conditions.engine.elsewhere:
        return 0
    if conditions.engine.name == "serial":
        return 1
    if gpus or device.startswith("cuda") or pending < 2:
        return max(1, len(gpus))
    if device == "auto":
        import torch

        if torch.cuda.is_available():
            return 1
    return max(1, min(available_cores() // max(1, conditions.threads), pending))
