"""``show``: one plugin with its parameters, one protocol, or one run with its numbers."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from benchmark.cli.options import AsJson, Plugins, Runs, check_choice, registry_of
from benchmark.cli.output import aside, write, write_json, write_table
from benchmark.errors import BenchmarkError, unknown_name

if TYPE_CHECKING:
    from benchmark.params import Range
    from benchmark.registry import Entry, Registry

SHOWN = ("method", "dataset", "noise", "protocol")


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command("show")(show)


def show(
    name: Annotated[str, typer.Argument(help="A method, data set, noise model or protocol, or the 16 digits of a run's key.")],
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help=f"{', '.join(SHOWN)}: where a name is not unique.")] = None,
    runs: Runs = Path("runs"),
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> int:
    """Describe a plugin, a protocol or a run.

    A plugin's text, parameters and presets; a protocol's values; a run's specification and numbers.
    """
    registry = registry_of(plugin)
    if kind is not None:
        check_choice("--kind", kind, SHOWN)
    found = [candidate for candidate in ([kind] if kind else SHOWN) if _exists(registry, candidate, name)]
    if not found and kind is None and re.fullmatch(r"[0-9a-f]{16}", name):
        described = _describe_run(registry, runs, name)
        if as_json:
            write_json(described)
        else:
            _print_run(described)
        return 0
    if not found:
        raise _not_found(registry, kind, name)
    if len(found) > 1:
        raise BenchmarkError(f"'{name}' is a {' and a '.join(found)}; say which: --kind {found[0]}")
    with aside():
        described = _describe_protocol(name) if found[0] == "protocol" else _describe_plugin(registry, registry.entry(found[0], name))
    if as_json:
        write_json(described)
    else:
        _print_plugin(described)
    return 0


def _exists(registry: Registry, kind: str, name: str) -> bool:
    from benchmark.tasks import TASKS

    return (
        any(name in defaults.protocols for defaults in TASKS.values())
        if kind == "protocol"
        else any(entry.name == name for entry in registry.entries(kind))
    )


def _not_found(registry: Registry, kind: str | None, name: str) -> BenchmarkError:
    from benchmark.tasks import TASKS

    kinds = [kind] if kind else list(SHOWN)
    known = [entry.name for each in kinds if each != "protocol" for entry in registry.entries(each)]
    if "protocol" in kinds:
        known += {name for defaults in TASKS.values() for name in defaults.protocols}
    part_of_a_key = kind is None and re.fullmatch(r"[0-9a-fA-F]{6,}", name)
    key = "; a run is shown by all 16 digits of its key, in lower case" if part_of_a_key else ""
    return unknown_name(kind or "name", name, known, f"see: python -m benchmark list{key}")


def _describe_plugin(registry: Registry, entry: Entry) -> dict[str, Any]:
    cls = registry.load(entry.kind, entry.name)
    return {
        "kind": entry.kind,
        "name": entry.name,
        "where": entry.where,
        "text": inspect.getdoc(cls) if vars(cls).get("__doc__") else "",
        "manifest": dict(cls.manifest),
        "argument": cls.argument,
        "parameters": _parameters(cls.Params, {}),
        "presets": {name: dict(values) for name, values in cls.presets.items()},
    }


def _describe_protocol(name: str) -> dict[str, Any]:
    from benchmark.spec import TrainingProtocol
    from benchmark.tasks import TASKS

    first, *others = [task for task, defaults in TASKS.items() if name in defaults.protocols]
    changed = {task: ", ".join(f"{key}={value}" for key, value in TASKS[task].protocols[name].items()) for task in others}
    return {
        "kind": "protocol",
        "name": name,
        "where": "benchmark/tasks",
        "text": "\n".join(f"For {task} it changes: {values}" for task, values in changed.items()),
        "manifest": {},
        "argument": None,
        "parameters": _parameters(TrainingProtocol, dict(TASKS[first].protocols[name]))[1:],  # without the name
        "presets": {},
    }


def _parameters(params_type: type, changed: dict[str, Any]) -> list[dict[str, Any]]:
    """Name, type, value, what is allowed and help of every parameter."""
    from benchmark import params as hyper

    values = {**hyper.defaults(params_type), **changed}
    hints = get_type_hints(params_type)
    return [
        {
            "name": name,
            "type": getattr(hints[name], "__name__", None) if isinstance(hints[name], type) else str(hints[name]),
            "default": values[name],
            "allowed": _allowed(declared),
            "help": declared.help,
            "range": dataclasses.asdict(declared),
        }
        for name, declared in hyper.ranges(params_type).items()
    ]


def _allowed(declared: Range) -> str:
    """A numeric range, the allowed words, or both."""
    parts = [", ".join(map(str, declared.choices))] if declared.choices is not None else []
    if declared.low is not None or declared.high is not None:
        low = "-inf" if declared.low is None else f"{declared.low:g}"
        high = "inf" if declared.high is None else f"{declared.high:g}"
        parts.insert(0, f"[{low}, {high}]" + (" log" if declared.log else ""))
    return " or ".join(parts)


def _print_plugin(described: dict[str, Any]) -> None:
    write(f"{described['kind']} {described['name']}  ({described['where']})")
    if described["text"]:
        write("\n" + described["text"])
    if described["manifest"]:
        write("\n" + "\n".join(f"{key}: {_joined(value)}" for key, value in described["manifest"].items() if value not in (None, "", [])))
    if described["parameters"]:
        write("")
        rows = [
            (p["name"] + (" (argument)" if p["name"] == described["argument"] else ""), p["default"], p["allowed"], p["help"])
            for p in described["parameters"]
        ]
        write_table(("parameter", "default", "allowed", "help"), rows)
    if described["presets"]:
        write("")
        owner = described["name"]
        write_table(("preset", "values"), [(f"{owner}:{name}", _pairs(values)) for name, values in described["presets"].items()])


def _joined(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _describe_run(registry: Registry, runs: Path, key: str) -> dict[str, Any]:
    from benchmark.cli.results import current_status, existing_store

    store = existing_store(runs)
    spec = store.spec(key)
    result = store.result(key) or {}
    return {
        "kind": "run",
        "name": key,
        "where": str(store.folder(key)),
        "status": str(current_status(store, registry, key)),
        "ended": result.get("status"),
        "reason": result.get("reason"),
        "error": store.error(key),
        "spec": spec.to_dict(),
        **{part: result.get(part) or {} for part in ("metrics", "epochs", "noise", "diagnostics", "cost", "host")},
        "oracle": result.get("oracle") or [],
    }


def _print_run(described: dict[str, Any]) -> None:
    spec = described["spec"]
    write(f"run {described['name']}  {described['status']}  ({described['where']})")
    if described["reason"]:
        write(f"{described['ended']}: {described['reason']}")
    if described["error"]:
        write(f"{described['error'].get('type')}: {described['error'].get('message')}")
    write("")
    rows: list[tuple[str, str]] = [(kind, f"{spec[kind]['name']}  {_pairs(spec[kind]['params'])}".strip()) for kind in SHOWN[:3]]
    rows += [("protocol", _pairs(spec["protocol"])), ("seed", str(spec["seed"]))]
    if described["oracle"]:
        rows.append(("oracle", ", ".join(described["oracle"])))
    write_table(("", ""), rows)
    for part in ("metrics", "epochs", "noise", "diagnostics", "cost"):
        values = list(_numbers(described[part]))
        if values:
            write("")
            write_table((part, ""), [(name, "–" if value is None else f"{value:.6g}") for name, value in values])


def _numbers(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float | None]]:
    """The numbers of nested objects, with keys joined by ``/``; null stays."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{key}/")
        elif value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            yield f"{prefix}{key}", value
