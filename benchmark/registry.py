"""Names → plugins. Found by reading source, imported on first use.

Four sources make one table: the project's own folders, ``--plugin`` paths, the paths in ``BENCHMARK_PLUGINS``, and
installed entry points of the groups ``benchmark.methods``, ``benchmark.datasets`` and ``benchmark.noise``. A plugin is a
top-level class decorated ``@method("name", ...)`` (or ``dataset``, ``noise``) whose decorator has literal arguments, so
that a listing needs no import. It is one file, or a folder with ``__init__.py`` whose siblings it imports relatively.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from benchmark.errors import BenchmarkError, unknown_name

KINDS = {"method": "methods", "dataset": "datasets", "noise": "noise"}
"""Kind → the folder and entry-point group that hold it."""

ENVIRONMENT = "BENCHMARK_PLUGINS"
"""Environment variable with more plugin files and folders, separated like PATH."""


@dataclass(frozen=True)
class Entry:
    """One row of the registry.

    Attributes:
        kind, name: what it is and what the command line calls it.
        origin: the file (None for an entry point, whose code is not looked at before it is used).
        line: of the class.
        summary: first line of the class's docstring.
        manifest: the literal keywords of the decorator.
        error: why the plugin cannot be used; it stays listed.
        entry_point: where it comes from an installed package.
    """

    kind: str
    name: str
    origin: Path | None = None
    line: int = 0
    summary: str = ""
    manifest: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    entry_point: EntryPoint | None = None

    @property
    def where(self) -> str:
        """``file:line`` or the entry point, for messages."""
        if self.entry_point is not None:
            return f"entry point {self.entry_point.value}"
        return f"{self.origin}:{self.line}"


def builtin_root() -> Path:
    """The folder that holds methods/, datasets/ and noise/: the checkout, or the installed package's own copy."""
    package = Path(__file__).resolve().parent
    installed = package / "plugins"
    return installed if installed.is_dir() else package.parent


class Registry:
    """All plugins by kind and name.

    Args:
        extra: more plugin files or folders (``--plugin``), beside those of the environment variable.

    Raises:
        BenchmarkError: two plugins share a name (both places are named), or a path of the user's holds no plugin.
    """

    def __init__(self, extra: Sequence[Path | str] = ()) -> None:
        self._entries: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
        self._loaded: dict[tuple[str, str], type] = {}
        for folder in KINDS.values():
            if (builtin_root() / folder).is_dir():
                self._add_path(builtin_root() / folder)
        for path in [*os.environ.get(ENVIRONMENT, "").split(os.pathsep), *map(str, extra)]:
            if path:
                self._add_path(Path(path).expanduser().resolve())
        for kind, group in KINDS.items():
            for point in entry_points(group=f"benchmark.{group}"):
                self._add(Entry(kind, point.name, entry_point=point, summary=f"from {point.value}"))

    def entries(self, kind: str) -> list[Entry]:
        """The entries of one kind, by name; broken ones included."""
        return [self._entries[kind][name] for name in sorted(self._entries[kind])]

    def entry(self, kind: str, name: str) -> Entry:
        """One entry. An unknown name raises BenchmarkError with the near matches."""
        if name not in self._entries[kind]:
            plural = KINDS[kind]
            raise unknown_name(kind, name, self._entries[kind], f"see: python -m benchmark list {plural}")
        return self._entries[kind][name]

    def load(self, kind: str, name: str) -> type[Any]:
        """The plugin's class, imported on first use.

        Raises:
            BenchmarkError: an unknown name, or a plugin that cannot be imported (the reason is named).
        """
        entry = self.entry(kind, name)
        if (kind, name) not in self._loaded:
            if entry.error:
                raise BenchmarkError(f"{kind} '{name}' is broken: {entry.error}")
            self._loaded[kind, name] = self._import(entry)
        return self._loaded[kind, name]

    def check(self, entry: Entry) -> str | None:
        """Import the plugin and return its error, None when it is sound."""
        try:
            self.load(entry.kind, entry.name)
        except BenchmarkError as error:
            return str(error)
        return None

    def _add(self, entry: Entry) -> None:
        known = self._entries[entry.kind].get(entry.name)
        if known is not None:
            if known.origin == entry.origin and known.line == entry.line and entry.entry_point is None:
                return  # the same file reached twice, say by --plugin and the environment variable
            if entry.error:  # its name is a guess, and the error is what has to be mended first
                raise BenchmarkError(f"{entry.where} is broken: {entry.error}")
            raise BenchmarkError(f"two {KINDS[entry.kind]} are called '{entry.name}': {known.where} and {entry.where}; rename one")
        self._entries[entry.kind][entry.name] = entry

    def _add_path(self, path: Path) -> None:
        for entry in scan_path(path):
            self._add(entry)

    def _import(self, entry: Entry) -> type[Any]:
        try:
            if entry.entry_point is not None:
                cls = entry.entry_point.load()
                if getattr(cls, "kind", None) != entry.kind or getattr(cls, "name", None) != entry.name:
                    raise BenchmarkError(f"{entry.where} is no {entry.kind} called '{entry.name}'; its decorator must say so")
            else:
                assert entry.origin is not None
                module = _import_file(entry.origin)
                found = [
                    value
                    for value in vars(module).values()
                    if isinstance(value, type) and getattr(value, "kind", None) == entry.kind and vars(value).get("name") == entry.name
                ]
                if not found:
                    raise BenchmarkError(f"{entry.where} defines no {entry.kind} called '{entry.name}' when it is imported")
                cls = found[0]
        except BenchmarkError:
            raise
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
                raise
            raise BenchmarkError(f"{entry.kind} '{entry.name}' ({entry.where}) is broken: {type(error).__name__}: {error}") from error
        return cls


def scan_path(path: Path) -> list[Entry]:
    """The plugins of a Python file, of a package, or of the modules and packages in a folder, read without running them.

    Raises:
        BenchmarkError: the path is missing, cannot be read, is no Python file, or declares no plugin.
    """
    try:
        if not path.exists():
            raise BenchmarkError(f"plugin path {path} does not exist; check --plugin and {ENVIRONMENT}")
        files = _plugin_files(path)
    except OSError as error:
        raise BenchmarkError(f"plugin path {path} cannot be read: {error.strerror or error}") from error
    if path.is_file() and path.suffix != ".py":
        raise BenchmarkError(f"plugin path {path} is no Python file; a plugin is a .py file or a folder of them")
    found = [entry for file in files for entry in scan_file(file)]
    if not found:
        raise BenchmarkError(f"plugin path {path} declares no plugin: no top-level class is decorated with @method, @dataset or @noise")
    return found


def scan_file(file: Path) -> list[Entry]:
    """The plugins that a source file declares, read without running it.

    A file that does not parse, or a decorator whose arguments are no literals, gives an entry with its error.
    """
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except (SyntaxError, ValueError, OSError) as error:
        kinds = {folder: kind for kind, folder in KINDS.items()}
        kind = next((kinds[part] for part in reversed(file.parts) if part in kinds), "method")
        name = file.parent.name if file.name == "__init__.py" else file.stem
        return [Entry(kind, name, file, getattr(error, "lineno", 0) or 0, error=f"{type(error).__name__}: {error}")]
    entries = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            entries += [entry for decorator in node.decorator_list if (entry := _read_decorator(decorator, node, file))]
    return entries


def _read_decorator(decorator: ast.expr, node: ast.ClassDef, file: Path) -> Entry | None:
    if not isinstance(decorator, ast.Call):
        return None
    called = decorator.func.attr if isinstance(decorator.func, ast.Attribute) else getattr(decorator.func, "id", None)
    if called not in KINDS:
        return None
    summary = (ast.get_docstring(node) or "").partition("\n")[0]
    try:
        name = ast.literal_eval(decorator.args[0])
        if not isinstance(name, str):
            raise ValueError
        manifest = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in decorator.keywords}
    except (ValueError, IndexError, TypeError):
        error = f"{file}:{decorator.lineno}: the arguments of @{called}(...) must be literals, with the name first"
        return Entry(called, node.name.lower(), file, node.lineno, summary, error=error)
    return Entry(called, name, file, node.lineno, summary, manifest)


def _plugin_files(path: Path) -> list[Path]:
    """The files to scan: the path itself, or in a folder each module and each package's ``__init__.py``."""
    if path.is_file():
        return [path]
    if (path / "__init__.py").is_file():
        return [path / "__init__.py"]
    modules = [child for child in path.iterdir() if child.suffix == ".py" and not child.name.startswith("_")]
    packages = [child / "__init__.py" for child in path.iterdir() if (child / "__init__.py").is_file()]
    return sorted([*modules, *packages])


def module_name(file: Path) -> str:
    """The name under which a plugin file is imported: below ``benchmark.plugins``, so that nothing is shadowed."""
    package = file.parent if file.name == "__init__.py" else file
    stem = package.stem if package is file else package.name
    if package.parent.parent == builtin_root():
        return f"benchmark.plugins.{package.parent.name}.{stem}"
    digest = hashlib.sha256(str(package.parent).encode()).hexdigest()[:8]
    return f"benchmark.plugins.external_{digest}.{stem}"


def _import_file(file: Path) -> Any:
    """Import a file under its plugin name; a package's siblings can be imported relatively."""
    name = module_name(file)
    if name in sys.modules:
        return sys.modules[name]
    locations = [str(file.parent)] if file.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=locations)
    if spec is None or spec.loader is None:
        raise BenchmarkError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
