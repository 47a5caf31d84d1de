"""For those who write plugins or set the benchmark up: ``check``, ``new``, ``doctor`` and ``version``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import AsJson, Plugins, Runs, check_choice, registry_of
from benchmark.cli.output import aside, note, write, write_json
from benchmark.errors import unknown_name
from benchmark.registry import KINDS, Registry
from benchmark.tasks import TASKS

MARKS = {True: "✓", False: "✗", None: "–"}


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command("check")(check)
    app.command("new")(new)
    app.command("doctor")(doctor)
    app.command("version")(version)


def check(
    *,
    target: Annotated[str, typer.Argument(metavar="FILE_OR_NAME", help="A plugin's file or folder, or a name that list shows.")],
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One plugin of the file; default: all.", show_default=False)] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> int:
    """Test a plugin against its contract.

    Each promise is tried on tiny data; exit code 1 if one is broken.
    """
    is_file = Path(target).exists() or target.endswith(".py")
    registry = registry_of([*(plugin or []), target] if is_file else plugin)
    if is_file and name is not None:
        name = _declared(Path(target).resolve(), name, registry)
    from benchmark import conformance

    with aside():
        found = conformance.check(name or target, registry)
    if as_json:
        write_json([{"name": result.name, "ok": result.ok, "detail": result.detail} for result in found])
    else:
        for result in found:
            write(f"{MARKS[result.ok]} {result.name}" + (f": {' '.join(result.detail.split())}" if result.detail else ""))
    return 1 if any(result.ok is False for result in found) else 0


def _declared(path: Path, name: str, registry: Registry) -> str:
    """The name, if the file or folder declares it."""
    entries = [entry for kind in KINDS for entry in registry.entries(kind)]
    known = [e.name for e in entries if e.origin is not None and (e.origin == path or e.origin.is_relative_to(path))]
    if name not in known:
        raise unknown_name(f"plugin in {path}", name, known)
    return name


def new(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="method, dataset or noise.")],
    name: Annotated[str, typer.Argument(help="What the command line will call it.")],
    folder: Annotated[Path | None, typer.Option("--folder", metavar="DIR", help="Default: the project's own folder.")] = None,
    task: Annotated[
        str, typer.Option("--task", metavar="TASK", help=f"Kind of labels that a method is for: {', '.join(TASKS)}.")
    ] = "classification",
) -> int:
    """Write a plugin to start from.

    One file that runs as it is.
    """
    from benchmark.scaffold import create

    path = create(check_choice("kind of plugin", kind, KINDS), name, folder, task)
    write(str(path))
    note(f"next: python -m benchmark check {path}")
    return 0


def doctor(runs: Runs = Path("runs"), as_json: AsJson = False) -> int:
    """Check this machine's set-up.

    Versions, devices, folders, plugins; exit code 1 if something must be repaired.
    """
    from benchmark.doctor import diagnose

    found = diagnose(runs)
    if as_json:
        write_json([dataclasses.asdict(check) for check in found])
    else:
        for check in found:
            write(f"{MARKS[check.ok]} {check.name}: {check.detail}" + (f" → {check.advice}" if check.advice else ""))
    return 1 if any(check.ok is False for check in found) else 0


def version() -> int:
    """Print the version and the place."""
    from benchmark import __version__

    write(f"noisy-label-benchmark {__version__} ({Path(__file__).resolve().parents[2]})")
    return 0
