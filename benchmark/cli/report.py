"""``report``: the comparison of finished runs as a table, or as a folder with the leaderboard; ``report diff``: what changed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.options import FORMATS, DataRoot, Format, Plugins, Runs, TrackingUri, check_choice, registry_of
from benchmark.cli.output import aside, note, warnings_shown, write, write_rich
from benchmark.cli.report_board import POSTHOC, board_of, write_folder
from benchmark.cli.results import Names
from benchmark.cli.run_groups import check_free, names_of
from benchmark.errors import BenchmarkError
from benchmark.tasks import TASKS

if TYPE_CHECKING:
    from reports.board import Board
    from reports.paired import Paired

SOURCES = ("files", "mlflow")
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


def _compared(text: str | None) -> list[str]:
    """The methods of ``--compare``."""
    names = names_of(text) or []
    if text is not None and len(set(names)) < 2:
        raise BenchmarkError(f"--compare '{text}' names one method; name two or more, the first is set against the others")
    return list(dict.fromkeys(names))


def _command(context: typer.Context) -> str:
    """The command as typed, without passwords."""
    from benchmark.tracking.command import masked_arguments

    words = context.find_root().obj
    return shlex.join(["python", "-m", "benchmark", *masked_arguments(words if isinstance(words, list) else ["report"])])
