"""A hash of the code that determines a run's numbers: comments and docstrings do not count, logic does.

It covers the plugins of a run and, transitively, the modules of this repository that they import, except those that
only look things up, print or store. The syntax tree is walked by hand because ``ast.dump`` differs between Python
versions for the same source.
"""

from __future__ import annotations

import ast
import copy
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.registry import Registry
    from benchmark.spec import PluginSpec, RunSpec

KINDS = ("method", "dataset", "noise")

PACKAGE = Path(__file__).resolve().parent

ALWAYS = tuple(f"benchmark.{name}" for name in ("api", "observer", "prepare", "training.context", "training.loop"))
"""Modules that every run goes through: what a method inherits, the data, the training, the epochs kept. Beside them, its task's module."""

_NEUTRAL_NAMES = (
    *("errors", "files", "grammar", "params", "registry", "resolve", "spec", "store", "code_hash", "metrics", "profiling", "tasks"),
    *("training.names", "data.options", "data.download", "data.transfer"),
)
NEUTRAL = frozenset(f"benchmark.{name}" for name in _NEUTRAL_NAMES)
"""Modules that cannot change a run's numbers: values in a spec are part of the key, and metrics can be rescored."""

_SKIPPED_FIELDS = frozenset({"kind", "ctx", "type_comment", "lineno", "col_offset", "end_lineno", "end_col_offset"})


def code_hash(spec: RunSpec, registry: Registry) -> str:
    """16 hex digits for the code behind one run; entry-point plugins count with their distribution's version.

    A process reads each source file once: what it hashes is what it has imported, and thousands of cells share their code.
    """
    files, versions = set(), set()
    for kind, plugin in _plugins(spec):
        entry = registry.entry(kind, plugin.name)
        if entry.origin is not None:
            files.add(entry.origin)
        elif entry.entry_point is not None:
            distribution = entry.entry_point.dist
            versions.add(f"{entry.entry_point.value}@{distribution.version if distribution else ''}")
    return _digest(frozenset(files), frozenset(versions), _task(spec, registry))


def forget_sources() -> None:
    """Read every source file again from now on; for tests that change them."""
    for cached in (_digest, _closure, _parsed, _module_file):
        cached.cache_clear()


@functools.cache
def _digest(files: frozenset[Path], versions: frozenset[str], task: str) -> str:
    parts = set(versions)
    for name in (*ALWAYS, f"benchmark.tasks.{task}"):
        file = _module_file(name)
        assert file is not None
        parts |= _closure(file)
    for file in files:
        parts |= _closure(file)
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:16]


def _task(spec: RunSpec, registry: Registry) -> str:
    """The kind of labels of a run, from its data set's source."""
    entry = registry.entry("dataset", spec.dataset.name)
    if entry.entry_point is not None:
        return str(registry.load("dataset", spec.dataset.name).task)
    return str(entry.manifest.get("task", "classification"))


def _plugins(spec: RunSpec) -> Iterator[tuple[str, PluginSpec]]:
    """All plugins of a run with their kinds."""
    yield from (("method", spec.method), ("dataset", spec.dataset))
    yield from (("noise", part) for part in spec.noise.parts or (spec.noise,))
    for used in spec.method.uses.values():
        is_method = used.version is None and not used.parts  # data and noise have a version, a method has its code
        yield from (("method" if is_method else "noise", part) for part in used.parts or (used,))


@functools.cache
def _closure(file: Path) -> frozenset[str]:
    """The tree hashes of a file and of every repository module that it reaches."""
    seen: dict[Path, str] = {}
    waiting = [file]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen[current], reached = _parsed(current)
            waiting += reached
    return frozenset(seen.values())


@functools.cache
def _parsed(file: Path) -> tuple[str, tuple[Path, ...]]:
    """The tree hash of one file, and the repository modules that it imports."""
    tree = ast.parse(file.read_bytes())
    return _hash_of(tree), tuple(_imports(tree, file))


def tree_hash(source: str) -> str:
    """sha256 of a source text's normalised syntax tree."""
    return _hash_of(ast.parse(source))


def _hash_of(tree: ast.Module) -> str:
    return hashlib.sha256(repr(_normal(tree)).encode()).hexdigest()


def _normal(node: Any) -> Any:
    """A nested tuple of node types and non-empty fields, without docstrings and positions."""
    if isinstance(node, ast.ClassDef):
        node = _without_manifest(node)
    if isinstance(node, ast.AST):
        fields = []
        for name, value in ast.iter_fields(node):
            normal = None if name in _SKIPPED_FIELDS or value is None else _normal(value)
            if normal is not None and normal != ():
                fields.append((name, normal))
        return (type(node).__name__, *fields)
    if isinstance(node, list):
        return tuple(_normal(item) for item in node if not _is_docstring(item))
    return repr(node)


def _without_manifest(node: ast.ClassDef) -> ast.ClassDef:
    """A plugin's class without what its decorator tells people (paper, licence, citation); its version stays."""
    told = [d for d in node.decorator_list if isinstance(d, ast.Call) and getattr(d.func, "id", "") in KINDS]
    if not told:
        return node
    bare = copy.copy(node)
    kept: list[ast.expr] = [d for d in node.decorator_list if d not in told]
    bare.decorator_list = kept + [ast.Call(d.func, d.args, [k for k in d.keywords if k.arg == "version"]) for d in told]
    return bare


def _is_docstring(node: Any) -> bool:
    """Whether a list's item is a bare string: a docstring, or a remark under a constant. It does nothing."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imports(tree: ast.Module, file: Path) -> Iterator[Path]:
    """The repository files that a module imports, those under ``if TYPE_CHECKING`` left out."""
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in (getattr(node.test, "id", ""), getattr(node.test, "attr", ""))
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            yield from (found for name in names if (found := _module_file(name)) is not None)
        elif isinstance(node, ast.ImportFrom):
            yield from _imported_from(node, file)


def _imported_from(node: ast.ImportFrom, file: Path) -> Iterator[Path]:
    if node.level:
        folder = file.parents[node.level - 1]
        base = folder / Path(*(node.module or "").split(".")) if node.module else folder
        modules = [base, *(base / alias.name for alias in node.names)]
        candidates = [file for module in modules for file in (module.with_name(f"{module.name}.py"), module / "__init__.py")]
        yield from (candidate for candidate in candidates if candidate.is_file())
        return
    for name in (node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)):
        found = _module_file(name)
        if found is not None:
            yield found


@functools.cache
def _module_file(name: str) -> Path | None:
    """The file of a ``benchmark`` module whose logic counts; None for everything else."""
    if not name.startswith("benchmark.") or name in NEUTRAL or name.startswith(("benchmark.plugins.", "benchmark.metrics.")):
        return None
    base = PACKAGE.joinpath(*name.split(".")[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None
