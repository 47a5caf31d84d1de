"""``relabel export`` and ``relabel import``: the labels most worth a look to annotators, and their answers back."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli import options as opt
from benchmark.cli.output import aside, note, warnings_shown, write, write_json


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    group = typer.Typer(help="Wrong labels to annotators, and their answers back.", no_args_is_help=False)
    group.callback()(_group)
    group.command("export")(export)
    group.command("import")(import_)
    app.add_typer(group, name="relabel")


def _group() -> None:
    """Wrong labels to annotators, and their answers back: relabel export, relabel import."""


def export(
    *,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's key, its first digits, or its folder.")],
    top: Annotated[int, typer.Option("--top", min=1, metavar="N", help="At most so many samples.")] = 200,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write.")],
    answered: Annotated[
        Path | None,
        typer.Option("--skip-answered", metavar="FILE", help="Leave out what has an answer in these labels.", show_default=False),
    ] = None,
    runs: opt.Runs = Path("runs"),
    data_root: opt.DataRoot = None,
    plugin: opt.Plugins = None,
    as_json: opt.AsJson = False,
) -> int:
    """Write the samples most worth a look.

    Suspects first, the lowest label quality first: a table to fill in, pictures, Label Studio's files, and a gallery.
    """
    from benchmark.files import default_data_root
    from benchmark.relabel.export import check_free
    from benchmark.relabel.export import export as write_export
    from benchmark.relabel.history import answered as indices_with_answers
    from benchmark.relabel.runs import open_run

    registry = opt.registry_of(plugin)
    found = open_run(run, runs)
    check_free(out, found.key)
    known = frozenset() if answered is None else indices_with_answers(answered)
    with aside(), warnings_shown():
        done = write_export(found, registry, data_root or default_data_root(), out, top, known)
    manifest = done.manifest
    if as_json:
        counts = {"samples": len(manifest.samples), "suspects": done.suspects, "pictures": done.pictures}
        write_json({"folder": out, "set": manifest.set, "run_key": manifest.run_key, "classes": manifest.classes, **counts})
        return 0
    write(f"{len(manifest.samples)} samples of run {manifest.run_key} in {out} (set {manifest.set}), {done.suspects} of them suspected")
    note(f"fill in {out / 'answers.csv'} or see {out / 'README.txt'} for Label Studio; look at {out / 'gallery.html'}")
    note(f"then: python -m benchmark relabel import FILE --export {out} --labels labels.csv")
    return 0


def import_(
    *,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="A filled answers.csv, or Label Studio's export as JSON.")],
    folder: Annotated[Path, typer.Option("--export", metavar="DIR", help="The export that was answered.")],
    labels: Annotated[Path, typer.Option("--labels", metavar="FILE", help="The labels to merge into, .csv; made by the first import.")],
    annotator: Annotated[
        str, typer.Option("--annotator", metavar="NAME", help="Who answered, where a file does not say.", show_default=False)
    ] = "",
    when: Annotated[
        str, typer.Option("--when", metavar="ISO", help="When, where a file does not say. Default: now.", show_default=False)
    ] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Take new answers in place of earlier ones; the history keeps both.")] = False,
    as_json: opt.AsJson = False,
) -> int:
    """Merge answers into the labels.

    Everything is checked first; if anything is wrong, nothing is changed.
    """
    from benchmark.relabel.checking import RefusedError
    from benchmark.relabel.importing import import_answers

    try:
        done = import_answers(files, folder, labels, annotator=annotator.strip(), when=when.strip(), replacing=replace)
    except RefusedError as error:
        first, *rest = error.lines()
        note(f"error: {first}")
        for line in rest:
            note(line)
        return 2
    if as_json:
        write_json({"file": labels, **dataclasses.asdict(done)})
        return 0
    applied = f" ({done.changed} changed a label, {done.new - done.changed} confirmed it)" if done.new else ""
    replaced = f", {done.replaced} of them in place of earlier answers" if done.replaced else ""
    write(f"{done.new} new answers{applied}{replaced}, {done.already} were already applied, {done.unanswered} left empty")
    if done.repaired:
        note(f"{labels} was not as its history says and was written again")
    use = f"--noise file:{labels} --seeds {done.seed}, or the data set option label_file={labels}"
    note(f"{done.labels} labels in {labels}; train on them with {use}")
    return 0
