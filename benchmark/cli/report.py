"""``report``: the comparison of finished runs as a table, or as a folder with the leaderboard; ``report diff``: what changed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.options import FORMATS, DataRoot, Format, Plugins, Runs, TrackingUri, check_choice, parse_seeds, registry_of
from benchmark.cli.output import aside, note, warnings_shown, write, write_rich
from benchmark.cli.results import Names, existing_store, is_stale
from benchmark.cli.run_groups import check_free, names_of
from benchmark.errors import BenchmarkError
from benchmark.tasks import TASKS

if TYPE_CHECKING:
    from benchmark.registry import Registry
    from benchmark.store import RunStore
    from reports.board import Board
    from reports.filters import Filter
    from reports.paired import Paired
    from reports.rows import Row

SOURCES = ("files", "mlflow")
POSTHOC = ("nemenyi", "wilcoxon-holm")
MOST_SUSPECTS = 100


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    group = typer.Typer(help="Compare the runs of a folder: tables, statistics, the leaderboard page.", no_args_is_help=False)
    group.callback(invoke_without_command=True)(report)
    group.command("diff")(diff)
    app.add_typer(group, name="report")


def report(
    context: typer.Context,
    *,
    runs: Runs = Path("runs"),
    fmt: Format = "table",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write leaderboard.html, .md, .csv, .json, .tex and figures there.", show_default=False),
    ] = None,
    methods: Names = None,
    datasets: Names = None,
    noise: Names = None,
    seeds: Annotated[str | None, typer.Option("--seeds", metavar="SEEDS", help="Only these, e.g. 0-4.", show_default=False)] = None,
    condition: Annotated[
        str | None,
        typer.Option(
            "--filter", metavar="TEXT", help="Only runs for which it holds: 'dataset == \"tissue\" and rate <= 0.4'.", show_default=False
        ),
    ] = None,
    pair: Annotated[
        str | None,
        typer.Option(
            "--compare", metavar="LIST", help="Paired differences of the first to the others: hsa,coteaching.", show_default=False
        ),
    ] = None,
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
    posthoc: Annotated[str, typer.Option("--posthoc", metavar="TEST", help=f"After Friedman's test: {' or '.join(POSTHOC)}.")] = POSTHOC[0],
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
    gallery: Annotated[
        int, typer.Option("--gallery", min=0, max=MOST_SUSPECTS, metavar="N", help="Suspicious samples a condition on the page.")
    ] = 12,
    data_root: DataRoot = None,
    tracking_uri: TrackingUri = None,
    plugin: Plugins = None,
) -> int:
    """Compare the runs of a folder, or of its mirror in MLflow.

    Prints tables, or with --out writes the leaderboard. "report diff OLD NEW" says what changed between two folders of runs.
    """
    if context.invoked_subcommand is not None:
        _refuse_lost_options(context)
        return 0
    check_choice("--format", fmt, FORMATS)
    check_choice("--from", source, SOURCES)
    check_choice("--posthoc", posthoc, POSTHOC)
    if task is not None:
        check_choice("--task", task, TASKS)
    if out is not None:
        check_out(out, fmt)
    compared = _compared(pair)
    registry = registry_of(plugin)
    names = {kind: _listed(f"--{kind}", text) for kind, text in (("methods", methods), ("datasets", datasets), ("noise", noise))}
    board = board_of(
        runs,
        registry,
        command=_command(context),
        names=names,
        seeds=seeds,
        condition=condition,
        rank_by=rank_by,
        columns=_listed("--columns", columns),
        baseline=baseline,
        posthoc=posthoc,
        task=task,
        source=source,
        trials=trials,
        tracking_uri=tracking_uri,
    )
    pairs = _pairs(board, compared) if compared else None
    if out is None:
        print_board(board, fmt) if pairs is None else _print_pairs(pairs, fmt)
        return 0
    with aside(), warnings_shown():
        written = write_folder(board, out, runs, registry, data_root, gallery, {} if pairs is None else _pair_files(pairs))
    for path in written:
        note(f"written: {path}")
    return 0


def board_of(
    runs: Path,
    registry: Registry,
    *,
    command: str = "",
    names: Mapping[str, list[str] | None] | None = None,
    seeds: str | None = None,
    condition: str | None = None,
    rank_by: str | None = None,
    columns: list[str] | None = None,
    baseline: str | None = None,
    posthoc: str = POSTHOC[0],
    task: str | None = None,
    source: str = "files",
    trials: bool = False,
    tracking_uri: str | None = None,
) -> Board:
    """The leaderboard of a folder of runs, or of its mirror; the arguments are the options of those names.

    Raises:
        BenchmarkError: nothing that was asked for is there, or it cannot be compared as asked.
    """
    from reports.board import build, provenance_of

    wanted = None if seeds is None else parse_seeds(seeds)
    chosen = _filter(condition)
    results = _of_task(_wanted_results(source, runs, tracking_uri, trials, registry), task, source, runs)
    if baseline is not None:  # a default may be absent: there are no differences then
        plans = [row["spec"] for row in results]
        check_choice("--baseline", baseline, {str(s["method"]["name"]) for s in plans} | set(filter(None, map(_method_label, plans))))
    rows = _rows(results, names or {}, wanted, chosen, runs)
    said = [f"{kind} {', '.join(values)}" for kind, values in (names or {}).items() if values]
    said += [f"seeds {seeds}"] if seeds else []
    said = list(map(_shown, [*said, *([condition.strip()] if condition else [])]))
    origin = provenance_of(rows, command, str(runs) if source == "files" else "MLflow", said)
    options: dict[str, Any] = {"rank_by": rank_by, "compact": columns, "baseline": baseline, "seeds": wanted, "posthoc": posthoc}
    return build(rows, provenance=origin, **options)


def write_folder(
    board: Board,
    out: Path,
    runs: Path,
    registry: Registry,
    data_root: Path | None = None,
    gallery: int = 12,
    more: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write the folder of ``--out``; see :func:`reports.board_files.write_board`."""
    from benchmark.files import default_data_root
    from benchmark.store import RunStore
    from reports.board_files import write_board

    folders = RunStore(runs) if runs.is_dir() else None
    return write_board(board, out, folders, registry, data_root or default_data_root(), gallery, more=more)


def diff(
    *,
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A folder of runs, or a leaderboard.json.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The same, later.")],
    fmt: Format = "table",
) -> int:
    """Say what changed between two states of a runs folder.

    Cells that came or went, numbers that changed, and how the ranking did. Each state is a folder, or what a report wrote of one.
    """
    check_choice("--format", fmt, FORMATS)
    from reports.changes import changes
    from reports.changes_tables import in_short, render, rich_tables
    from reports.states import read_state

    found = changes(read_state(old), read_state(new))
    if fmt == "table":
        write_rich(lambda width: rich_tables(found), in_short(found))
    else:
        write(render(found, fmt))
    return 0


def print_board(board: Board, fmt: str) -> None:
    """The tables of a board, in one of :data:`~benchmark.cli.options.FORMATS`."""
    from reports.board_formats import BOARD_FORMATS, rich_board

    if fmt == "table":
        write_rich(lambda width: rich_board(board, width))
    else:
        write(BOARD_FORMATS[fmt](board))


def _pairs(board: Board, methods: Sequence[str]) -> Paired:
    """The first method against the others, by the metric that ranks."""
    from reports.paired import paired

    if len(board.chapters) > 1:
        raise BenchmarkError(f"--compare: these runs are of {' and '.join(c.task for c in board.chapters)}; choose one with --task")
    comparison = board.chapters[0].comparison
    return paired(comparison.runs, methods, comparison.rank.key)


def _print_pairs(pairs: Paired, fmt: str) -> None:
    from reports.paired_tables import render, rich_tables

    if fmt == "table":
        write_rich(lambda width: rich_tables(pairs, width))
    else:
        write(render(pairs, fmt))


def _pair_files(pairs: Paired) -> dict[str, str]:
    """File name → content, of every format."""
    from reports.paired_tables import render

    return {f"compare.{end}": render(pairs, fmt) for end, fmt in (("md", "md"), ("csv", "csv"), ("json", "json"), ("tex", "latex"))}


def check_out(out: Path, fmt: str = "table") -> None:
    """Refuse a place for files before anything is computed."""
    if fmt != "table":
        raise BenchmarkError(f"--out writes every format; leave --format {fmt} out, or print one: report --format {fmt} > FILE")
    if out.is_file():
        raise BenchmarkError(f"--out {out} is a file; give a folder, or print one table: report --format md > {shlex.quote(str(out))}")
    from reports.board_names import FIGURES, OURS

    check_free(out, OURS)
    if (out / "figures").exists():
        check_free(out / "figures", FIGURES)


def _refuse_lost_options(context: typer.Context) -> None:
    """Options before ``diff`` are those of the tables: nothing of them would be heard."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = next(param.opts[0] for param in context.command.params if param.name == name)
            raise BenchmarkError(f"{option} is no option of diff; write it without: python -m benchmark report diff OLD NEW")


def _listed(option: str, text: str | None) -> list[str] | None:
    """The names of a list with commas; None: all."""
    names = names_of(text)
    if names == []:
        raise BenchmarkError(f"{option} '{text}' names nothing; write names with commas between, or leave it out")
    return names


def _filter(text: str | None) -> Filter | None:
    if text is None:
        return None
    from reports.filters import parse_filter

    return parse_filter(text)


def _compared(text: str | None) -> list[str]:
    """The methods of ``--compare``."""
    names = names_of(text) or []
    if text is not None and len(set(names)) < 2:
        raise BenchmarkError(f"--compare '{text}' names one method; name two or more, the first is set against the others")
    return list(dict.fromkeys(names))


def _wanted_results(source: str, runs: Path, tracking_uri: str | None, trials: bool, registry: Registry) -> list[dict[str, Any]]:
    """All results with their staleness, without those that only a search has asked for."""
    found = _results(source, runs, tracking_uri)
    results = [row for row in _sound(found, registry) if trials or not _only_a_trial(row)]
    if not results:
        raise BenchmarkError("these runs are all trials of searches; add --trials to see them, or give the sweep command again")
    return results


def _sound(results: Sequence[dict[str, Any]], registry: Registry) -> list[dict[str, Any]]:
    """Those that can be read, with their staleness; of each other one a warning: one foreign file must not hide a thousand sound ones."""
    from reports.sound import problem_of, without_secrets

    kept = []
    for result in results:
        problem = problem_of(result)
        if problem is None:
            kept.append({**without_secrets(result), "stale": is_stale(result, registry)})
        else:
            note(f"warning: run {result.get('run_key')} is left out, its result is none: {problem}")
    if not kept:
        raise BenchmarkError("none of these results can be read; run the cells again")
    return kept


def _of_task(results: list[dict[str, Any]], task: str | None, source: str, runs: Path) -> list[dict[str, Any]]:
    if task is None:
        return results
    kept = [row for row in results if (row.get("data") or {}).get("task", "classification") == task]
    if not kept:
        place = f"{runs}; see: python -m benchmark status --runs {runs}" if source == "files" else "the MLflow store; leave --task out"
        raise BenchmarkError(f"no finished runs of {task} in {place}")
    return kept


def _rows(
    results: Sequence[Mapping[str, Any]],
    names: Mapping[str, list[str] | None],
    seeds: list[int] | None,
    chosen: Filter | None,
    runs: Path,
) -> list[Row]:
    """Flat rows of what was asked for."""
    from reports.rows import flatten_all, select

    rows = select(flatten_all(results), seeds=seeds, **names)
    if not rows:
        raise BenchmarkError("no run has all of these names and seeds at once; choose other --methods, --datasets, --noise or --seeds")
    if chosen is None:
        return rows
    kept = chosen.keep(rows)
    if not kept:
        see = f"python -m benchmark report --runs {shlex.quote(str(runs))} --format csv"
        raise BenchmarkError(f"--filter '{chosen.text}': none of {len(rows)} runs; see: {see}")
    return kept


def _results(source: str, runs: Path, tracking_uri: str | None) -> list[dict[str, Any]]:
    """The contents of ``result.json`` of all runs, sorted by key, those of trials with ``named``; BenchmarkError if there are none."""
    if source == "mlflow":
        from benchmark.tracking import read_results

        with warnings_shown():
            return read_results(runs, tracking_uri)
    if tracking_uri is not None:
        raise BenchmarkError("--tracking-uri says nothing of files; add --from mlflow, or leave it out")
    store = existing_store(runs)
    with warnings_shown():
        results = list(store.rows())
    if not results:
        raise BenchmarkError(f"no finished runs in {runs}; see: python -m benchmark status --runs {runs}")
    return [{**row, "named": _is_named(store, row["run_key"])} if _is_trial(row) else row for row in results]


def _is_trial(result: Mapping[str, Any]) -> bool:
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


def _only_a_trial(result: Mapping[str, Any]) -> bool:
    """Whether nobody but a search has asked for this run."""
    return _is_trial(result) and not result["named"]


def _method_label(spec: Mapping[str, Any]) -> str | None:
    return (spec.get("labels") or {}).get("method")


def _shown(text: str) -> str:
    from reports.sound import without_secrets

    return str(without_secrets(text))


def _command(context: typer.Context) -> str:
    """The command as typed, without passwords."""
    from benchmark.tracking.command import masked_arguments

    words = context.find_root().obj
    return shlex.join(["python", "-m", "benchmark", *masked_arguments(words if isinstance(words, list) else ["report"])])
