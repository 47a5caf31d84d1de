"""``list``: what there is, read from source without importing it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.options import AsJson, Plugins, check_choice, registry_of
from benchmark.cli.output import aside, write, write_json, write_table

if TYPE_CHECKING:
    from benchmark.registry import Entry, Registry

WHAT = ("methods", "datasets", "noise", "backbones", "protocols", "presets", "sweeps")


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command("list")(list_plugins)


def list_plugins(
    what: Annotated[str | None, typer.Argument(metavar="[WHAT]", help=f"One of {', '.join(WHAT)}.", show_default=False)] = None,
    check: Annotated[bool, typer.Option("--check", help="Import every plugin, to find those that are broken.")] = False,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> int:
    """List methods, data sets and noise models.

    Or one of: methods, datasets, noise, backbones, protocols, presets, sweeps.
    """
    from benchmark.registry import KINDS

    registry = registry_of(plugin)
    sections = list(WHAT[:3]) if what is None else [check_choice("listing", what, WHAT)]
    kinds = {folder: kind for kind, folder in KINDS.items()}
    listed: dict[str, list[dict[str, Any]]] = {}
    with aside():
        for section in sections:
            if section in kinds:
                listed[section] = [_row(registry, entry, check) for entry in registry.entries(kinds[section])]
            else:
                listed[section] = {"backbones": _backbones, "protocols": _protocols, "presets": _presets, "sweeps": _sweeps}[section](
                    registry
                )
    if as_json:
        write_json(listed)
    else:
        for position, (section, rows) in enumerate(listed.items()):
            if position:
                write("")
            _print_rows(section, rows)
    return 1 if check and any(row.get("error") for rows in listed.values() for row in rows) else 0


def _print_rows(section: str, rows: list[dict[str, Any]]) -> None:
    if section == "datasets":  # a person chooses by what the images are and what is allowed, and show has the rest
        facts = ("task", "modality", "classes", "size", "access", "licence")
        write_table((section, *facts), [(row["name"], *(_fact(row, fact) for fact in facts)) for row in rows])
    else:
        of_task = ("task",) if any("manifest" in row for row in rows) else ()
        facts = (*of_task, "summary", "where")
        write_table((section, *facts), [(row["name"], *(row[fact] for fact in facts)) for row in rows])


def _fact(row: dict[str, Any], fact: str) -> str:
    if row["error"] and fact == "modality":
        return str(row["summary"])
    return str(row.get(fact) or row["manifest"].get(fact) or "–")


def _row(registry: Registry, entry: Entry, check: bool) -> dict[str, Any]:
    error = entry.error or (registry.check(entry) if check else None)
    summary = f"broken: {error}" if error else entry.summary
    task = entry.manifest.get("task", "classification")
    return {"name": entry.name, "task": task, "summary": summary, "where": _where(entry), "error": error, "manifest": entry.manifest}


def _where(entry: Entry) -> str:
    """``methods/hsa.py:12`` for the project's own, a full path for others."""
    from benchmark.registry import builtin_root

    if entry.origin is not None and entry.origin.is_relative_to(builtin_root()):
        return f"{entry.origin.relative_to(builtin_root())}:{entry.line}"
    return entry.where


def _backbones(registry: Registry) -> list[dict[str, Any]]:
    from benchmark.training.names import BACKBONES, BAG_BACKBONES, MASK_BACKBONES

    rows = [{"name": name, "summary": summary, "where": "benchmark/training"} for name, summary in BACKBONES.items()]
    masks = {name: f"for segmentation: {summary}" for name, summary in MASK_BACKBONES.items()}
    bags = {name: f"for bags: {summary}" for name, summary in BAG_BACKBONES.items()}
    rows += [{"name": name, "summary": summary, "where": "benchmark/bags"} for name, summary in bags.items()]
    return rows + [{"name": name, "summary": summary, "where": "benchmark/segmentation"} for name, summary in masks.items()]


def _protocols(registry: Registry) -> list[dict[str, Any]]:
    from benchmark.tasks import TASKS

    rows = []
    for task, defaults in TASKS.items():
        for name in defaults.protocols:
            values = _protocol_values(name, task)
            shown = ", ".join(f"{key}={values[key]}" for key in ("backbone", "epochs", "batch_size", "optimizer", "lr", "lr_schedule"))
            summary = shown if task == "classification" else f"for {task}: {shown}"
            rows.append({"name": name, "summary": summary, "where": "benchmark/tasks", "task": task, "values": values})
    return rows


def _protocol_values(name: str, task: str) -> dict[str, Any]:
    import dataclasses

    from benchmark.spec import protocol

    return dataclasses.asdict(protocol(name, task=task))


def _presets(registry: Registry) -> list[dict[str, Any]]:
    rows = []
    for entry in registry.entries("method"):
        for name, values in _presets_of(registry, entry).items():
            shown = ", ".join(f"{key}={value}" for key, value in values.items())
            rows.append({"name": f"{entry.name}:{name}", "summary": shown, "where": _where(entry), "values": values})
    return rows


def _sweeps(registry: Registry) -> list[dict[str, Any]]:
    import tomllib

    from sweeps.presets import QUESTION, preset_files

    rows = []
    for name, path in preset_files().items():
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        rows.append({"name": name, "summary": values.pop(QUESTION), "where": f"sweeps/presets/{path.name}", "values": values})
    return rows


def _presets_of(registry: Registry, entry: Entry) -> dict[str, dict[str, Any]]:
    """The presets of a method, read from its source where they are literal, else by importing it."""
    if entry.error or entry.origin is None:
        return {}
    for node in ast.walk(ast.parse(entry.origin.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.ClassDef) and node.lineno == entry.line):
            continue
        for statement in node.body:
            targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == "presets" for target in targets):
                try:
                    return dict(ast.literal_eval(statement.value))  # type: ignore[attr-defined]
                except (ValueError, TypeError):
                    return {} if registry.check(entry) else dict(registry.load("method", entry.name).presets)
    return {}
