"""What came out of the runs of a folder: ``report``, ``rescore`` and ``sync``."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.options import FORMATS, Format, Plugins, Runs, TrackingUri, check_choice, parse_seeds, registry_of
from benchmark.cli.output import note, warnings_shown, write
from benchmark.errors import BenchmarkError
from benchmark.tasks import TASKS

if TYPE_CHECKING:
    from benchmark.registry import Registry
    from benchmark.store import RunStore, Status
    from reports.tables import Comparison

PIPE_WIDTH = 200
"""Characters of a table that goes to a file or a pipe."""

SOURCES = ("files", "mlflow")

Names = Annotated[str | None, typer.Option(metavar="LIST", help="Only these, commas between.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command("report")(report)
    app.command("rescore")(rescore)
    app.command("sync")(sync)


def finished(store: RunStore, registry: Registry) -> Iterator[dict[str, Any]]:
    """The content of every ``result.json``, with a key ``stale``: whether other code than today's has made it."""
    for row in store.rows():
        yield {**row, "stale": _is_stale(row, registry)}


def current_status(store: RunStore, registry: Registry, key: str) -> Status:
    """The state of a run under today's code; under any code if its plugins are not to be found here."""
    from benchmark.folder_view import state_of

    try:
        spec = store.spec(key)
    except BenchmarkError:
        return store.status(key, None)
    return state_of(store, registry, spec, key)[0]


def existing_store(runs: Path) -> RunStore:
    """The store of a folder that exists; a typo must not look like an empty folder."""
    from benchmark.store import RunStore

    if not runs.is_dir():
        what = "is no folder" if runs.exists() else "does not exist"
        raise BenchmarkError(f"runs folder {runs} {what}; check --runs DIR")
    return RunStore(runs)


def report(
    *,
    runs: Runs = Path("runs"),
    fmt: Format = "table",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the table there.", show_default=False)] = None,
    methods: Names = None,
    datasets: Names = None,
    noise: Names = None,
    seeds: Annotated[str | None, typer.Option("--seeds", metavar="SEEDS", help="Only these, e.g. 0-4.", show_default=False)] = None,
    rank_by: Annotated[
        str | None,
        typer.Option(
            "--rank-by",
            metavar="METRIC",
            help="Metric that ranks the methods. Default: selected/accuracy, of masks selected/dice.",
            show_default=False,
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="METRICS", help="Show these, e.g. last/accuracy,detection/f1.", show_default=False)
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="NAME",
            help="Method that the others are set against. Default: ce, of masks seg_ce, of bags mil_mean.",
            show_default=False,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task", metavar="TASK", help="Only runs of this kind of labels: classification, segmentation, bags.", show_default=False
        ),
    ] = None,
    source: Annotated[
        str, typer.Option("--from", metavar="SOURCE", help="Where results are read: files, of --runs, or mlflow, their mirror.")
    ] = "files",
    trials: Annotated[bool, typer.Option("--trials", help="Also the settings that searches have tried.")] = False,
    tracking_uri: TrackingUri = None,
    plugin: Plugins = None,
) -> int:
    """Compare the runs of a folder, or of its mirror in MLflow."""
    check_choice("--format", fmt, FORMATS)
    check_choice("--from", source, SOURCES)
    wanted = None if seeds is None else parse_seeds(seeds)
    if task is not None:
        check_choice("--task", task, TASKS)
    registry = registry_of(plugin)
    found = _results(source, runs, tracking_uri)
    results = [{**row, "stale": _is_stale(row, registry)} for row in found if trials or not _only_a_trial(row)]
    if not results:
        raise BenchmarkError("these runs are all trials of searches; add --trials to see them, or give the sweep command again")
    if task is not None:
        results = [row for row in results if (row.get("data") or {}).get("task", "classification") == task]
        if not results:
            place = f"{runs}; see: python -m benchmark status --runs {runs}" if source == "files" else "the MLflow store; leave --task out"
            raise BenchmarkError(f"no finished runs of {task} in {place}")
    if baseline is not None:  # a default may be absent: there are no differences then
        plans = [row["spec"] for row in results]
        check_choice("--baseline", baseline, {str(s["method"]["name"]) for s in plans} | set(filter(None, map(_method_label, plans))))
    names = {"methods": _names(methods), "datasets": _names(datasets), "noise": _names(noise)}
    print_comparison(results, fmt, out=out, baseline=baseline, seeds=wanted, rank_by=rank_by, columns=_names(columns), **names)
    if out is not None:
        note(f"written: {out}")
    return 0


def _results(source: str, runs: Path, tracking_uri: str | None) -> list[dict[str, Any]]:
    """The contents of ``result.json`` of all runs, sorted by key, those of trials with ``named``; BenchmarkError if there are none."""
    if source == "mlflow":
        from benchmark.tracking import read_results

        with warnings_shown():
            return read_results(runs, tracking_uri)
    if tracking_uri is not None:
        raise BenchmarkError("--tracking-uri says nothing of files; add --from mlflow, or leave it out")
    store = existing_store(runs)
    results = list(store.rows())
    if not results:
        raise BenchmarkError(f"no finished runs in {runs}; see: python -m benchmark status --runs {runs}")
    return [{**row, "named": _is_named(store, row["run_key"])} if _is_trial(row) else row for row in results]


def _is_trial(result: dict[str, Any]) -> bool:
    from benchmark.spec import is_trial

    spec = result.get("spec")
    return isinstance(spec, dict) and is_trial(spec)


def _is_named(store: RunStore, key: str) -> bool:
    """Whether a command has asked for a trial by name since: its spec.json says so, which is no trial's then."""
    from benchmark.spec import is_trial

    try:
        return not is_trial(store.spec(key).to_dict())
    except BenchmarkError:
        return False


def _only_a_trial(result: dict[str, Any]) -> bool:
    """Whether nobody but a search has asked for this run."""
    return _is_trial(result) and not result["named"]


def _is_stale(result: dict[str, Any], registry: Registry) -> bool:
    """Whether other code made the result; False if its plugins are not to be found here."""
    from benchmark.code_hash import code_hash
    from benchmark.spec import RunSpec

    try:
        return result.get("code_hash") != code_hash(RunSpec.from_dict(result["spec"]), registry)
    except (BenchmarkError, OSError, SyntaxError, KeyError, TypeError, ValueError):
        return False


def _method_label(spec: dict[str, Any]) -> str | None:
    return (spec.get("labels") or {}).get("method")


def print_comparison(
    results: Sequence[dict[str, Any]],
    fmt: str,
    *,
    out: Path | None = None,
    baseline: str | None = None,
    seeds: Sequence[int] | None = None,
    rank_by: str | None = None,
    columns: Sequence[str] | None = None,
    **names: Sequence[str] | None,
) -> None:
    """Compare results, each task for itself, and print the tables, or write them to a file.

    Args:
        results: contents of ``result.json``, each with a key ``stale``.
        fmt: one of :data:`~benchmark.cli.options.FORMATS`.
        out: the file; None prints.
        baseline: the method that the others are set against; None: the task's own.
        seeds: the reference seeds; None takes those that most methods have.
        rank_by: key of the metric that ranks; None: the task's headline metric.
        columns: keys of the metrics to show, None for the usual ones.
        **names: ``methods``, ``datasets`` and ``noise`` to keep; None keeps all.

    Raises:
        BenchmarkError: results of several tasks, whose metrics are others, in a format for machines or with chosen metrics.
    """
    from reports.formats import render
    from reports.rows import flatten_all, select
    from reports.tables import compare

    rows = select(flatten_all(results), seeds=seeds, **names)
    tasks = {task: [row for row in rows if row["task"] == task] for task in sorted({row["task"] for row in rows})} or {"": rows}
    if len(tasks) > 1 and (fmt in ("json", "csv") or rank_by or columns):
        raise BenchmarkError(f"these runs are of {' and '.join(sorted(tasks))}, whose metrics are others; choose one with --task")
    texts = []
    for of_task in tasks.values():
        comparison = compare(of_task, rank_by=rank_by, baseline=baseline, seeds=seeds, compact=columns)
        texts.append(_on_terminal(comparison, to_file=out is not None) if fmt == "table" else render(comparison, fmt))
    text = "\n".join(filter(None, texts))
    if out is not None:
        out.write_text(text, encoding="utf-8")
    elif text:
        write(text)


def _on_terminal(comparison: Comparison, to_file: bool) -> str:
    """The tables as text: printed at once, in colour, where stdout is a terminal; else plain, wide enough for every column."""
    from rich.console import Console

    from reports.formats import rich_tables

    if sys.stdout.isatty() and not to_file:
        console = Console()
        console.print(*rich_tables(comparison, width=console.width), sep="\n")
        return ""
    stream = io.StringIO()
    console = Console(file=stream, width=PIPE_WIDTH, color_system=None)
    console.print(*rich_tables(comparison, width=PIPE_WIDTH), sep="\n")
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def rescore(runs: Runs = Path("runs")) -> int:
    """Recompute metrics without training.

    From the predictions that every run saves.
    """
    from benchmark.rescore import rescore_all

    changed = rescore_all(existing_store(runs))
    write(f"{len(changed)} runs changed")
    return 0


def sync(runs: Runs = Path("runs"), tracking_uri: TrackingUri = None) -> int:
    """Bring the MLflow mirror up to date."""
    from benchmark import tracking

    done = tracking.sync(existing_store(runs).root, tracking_uri)
    write(f"{done.mirrored} runs mirrored, {done.already} were already, {len(done.failed)} failed")
    for key, reason in done.failed.items():
        note(f"failed  {key}: {reason}")
    return 1 if done.failed else 0
