"""``retention``: which method's ranking keeps the clean but hard samples when wrong labels are removed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.options import FORMATS, Format, Plugins, Runs, check_choice, registry_of
from benchmark.cli.output import note, write, write_rich
from benchmark.cli.results import Names, existing_store, finished
from benchmark.cli.run_groups import names_of
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.registry import Registry
    from reports.retention import Retention
    from reports.rows import Row


def add_to(app: typer.Typer) -> None:
    """Register the command of this module."""
    app.command("retention")(retention)


def retention(
    *,
    runs: Runs = Path("runs"),
    fmt: Format = "table",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write retention.csv, .svg and .png there.", show_default=False)
    ] = None,
    methods: Names = None,
    datasets: Names = None,
    noise: Names = None,
    hard_by: Annotated[
        str, typer.Option("--hard-by", metavar="METHOD", help="Whose runs without noise say what is hard, where the data do not know.")
    ] = "ce",
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="NAME", help="Method that the others are set against. Default: hsa.", show_default=False),
    ] = None,
    plugin: Plugins = None,
) -> int:
    """Compare the hard but right samples kept.

    The ranking of each method removes the same share of the wrong labels; how much of the hard but right samples it loses
    on the way is counted.
    """
    from reports.retention import compare_retention
    from reports.rows import flatten_all, select
    from reports.samples import read_training_part

    check_choice("--format", fmt, FORMATS)
    store = existing_store(runs)
    registry = registry_of(plugin)
    results = list(finished(store, registry))
    if not results:
        raise BenchmarkError(f"no finished runs in {runs}; see: python -m benchmark status --runs {runs}")
    every = flatten_all(results)
    chosen = select(every, methods=names_of(methods), datasets=names_of(datasets), noise=names_of(noise))
    every, rows = ([row for row in part if row["task"] == "classification"] for part in (every, chosen))
    if chosen and not rows:
        raise BenchmarkError(f"these runs are of {chosen[0]['task']}; retention is of images with one class each, see --datasets")
    if against is not None:
        check_choice("--against", against, _methods(rows))
    check_choice("--hard-by", hard_by, _known_methods(registry, every, hard_by))
    if out is not None and out.exists() and not out.is_dir():
        raise BenchmarkError(f"--out {out} is a file; give a folder, in which three files are written")
    result = compare_retention(
        rows,
        every,
        lambda row: read_training_part(store.folder(row["run_key"])),
        hard_by=hard_by,
        against=against or "hsa",
        strict=datasets is not None,
        reference_options=["--runs", str(runs), *(word for path in plugin or () for word in ("--plugin", path))],
    )
    written = [] if out is None else _write_files(result, out)
    _print(result, fmt)
    told = [f"{len(chosen) - len(rows)} runs of other tasks than classification are left out"] if len(rows) < len(chosen) else []
    for line in (*(f"note: {text}" for text in (*told, *result.notes)), *(f"written: {path}" for path in written)):
        note(line)
    return 0


def _print(result: Retention, fmt: str) -> None:
    from reports.retention_text import definitions, render_retention

    if fmt != "table":
        write(render_retention(result, fmt))
        return
    from reports.formats import rich_tables

    write_rich(lambda width: rich_tables(result.comparison, width=width), *definitions(result))


def _write_files(result: Retention, folder: Path) -> list[Path]:
    """The curves as a long table and as a figure; each file appears in one step."""
    from benchmark.files import atomic_write_text
    from reports.retention_figure import write_figure
    from reports.retention_text import long_table

    figures = write_figure(result, folder)
    table = folder / "retention.csv"
    atomic_write_text(table, long_table(result))
    return [table, *figures]


def _methods(rows: list[Row]) -> set[str]:
    """Every name under which a method of these rows may be asked for."""
    return {str(name) for row in rows for name in (row["method"], row["spec"]["method"]["name"], *_label(row["spec"]))}


def _known_methods(registry: Registry, rows: list[Row], asked: str) -> set[str]:
    """What ``--hard-by`` may name: methods that have runs, and those that could have; their settings are read by ``run``."""
    plugins = {entry.name for entry in registry.entries("method")}
    return _methods(rows) | plugins | ({asked} if asked.partition(":")[0] in plugins else set())


def _label(spec: dict[str, Any]) -> list[str]:
    label = (spec.get("labels") or {}).get("method")
    return [label] if label else []
