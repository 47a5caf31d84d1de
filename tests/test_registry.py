"""Names → plugins: found by reading, imported on use, and listed with their error where they are broken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent

import pytest

from benchmark import registry as module
from benchmark.api import Method, Noise
from benchmark.errors import BenchmarkError
from benchmark.registry import ENVIRONMENT, KINDS, Registry, builtin_root, module_name, scan_file, scan_path

SOURCE = '''
"""A plugin."""

from benchmark.api import Method, method


@method("{name}", family="test", year=2020)
class Toy(Method):
    """What it does.

    More."""
'''


@pytest.fixture(autouse=True)
def no_plugins_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, source: str = SOURCE.format(name="toy")) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(source), encoding="utf-8")
        return path

    return write


Write = Callable[..., Path]
BUILTIN = [(entry.kind, entry.name) for kind in KINDS for entry in Registry().entries(kind)]


# ------------------------------------------------------------------------------------------------- what comes with us


@pytest.mark.parametrize(("kind", "name"), BUILTIN)
def test_the_source_and_the_imported_class_say_the_same(kind: str, name: str) -> None:
    registry = Registry()
    entry, cls = registry.entry(kind, name), registry.load(kind, name)
    assert (cls.kind, cls.name, cls.manifest) == (kind, name, entry.manifest)
    assert entry.origin is not None
    assert entry.origin.is_relative_to(builtin_root() / KINDS[kind])
    assert f"class {cls.__name__}" in entry.origin.read_text(encoding="utf-8").splitlines()[entry.line - 1]
    assert entry.summary == (cls.__doc__ or "").partition("\n")[0]
    assert cls.__module__.startswith(f"benchmark.plugins.{KINDS[kind]}.")
    assert registry.check(entry) is None


def test_something_comes_with_every_kind() -> None:
    assert {("method", "ce"), ("method", "hsa"), ("dataset", "digits"), ("dataset", "tissue"), ("noise", "symmetric")} <= set(BUILTIN)


def test_listing_imports_no_plugin_and_nothing_heavy(write: Write) -> None:
    bomb = write("bomb.py", SOURCE.format(name="bomb") + "\nraise RuntimeError('imported')\n")
    code = f"""
    import sys
    from benchmark.registry import KINDS, Registry
    found = [e.name for kind in KINDS for e in Registry([{str(bomb)!r}]).entries(kind)]
    assert "bomb" in found and "hsa" in found, found
    heavy = {{"torch", "numpy", "pandas", "sklearn", "mlflow"}} & set(sys.modules)
    assert not heavy, heavy
    plugins = [name for name in sys.modules if name.startswith("benchmark.plugins")]
    assert not plugins, plugins
    """
    done = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_an_unknown_name_has_near_matches_and_the_next_step() -> None:
    with pytest.raises(BenchmarkError, match=r"unknown method 'hsaa'; did you mean 'hsa'.*known: .*see: python -m benchmark list methods"):
        Registry().load("method", "hsaa")


# ------------------------------------------------------------------------------------------------- from elsewhere


def test_a_file_elsewhere(write: Write) -> None:
    file = write("mine.py")
    registry = Registry([file])
    entry = registry.entry("method", "toy")
    assert (entry.origin, entry.summary, entry.manifest) == (file, "What it does.", {"family": "test", "year": 2020})
    assert entry.where == f"{file}:{entry.line}"
    cls = registry.load("method", "toy")
    assert issubclass(cls, Method)
    assert registry.load("method", "toy") is cls
    assert module_name(file) in sys.modules


def test_a_folder_holds_modules_and_packages_but_not_private_ones(write: Write, tmp_path: Path) -> None:
    write("box/one.py", SOURCE.format(name="one"))
    write("box/two/__init__.py", SOURCE.format(name="two"))
    write("box/_private.py", SOURCE.format(name="private"))
    write("box/two/deeper.py", SOURCE.format(name="deeper"))
    write("box/notes.txt", "not Python at all")
    write("box/helper.py", "x = 1")
    names = {entry.name for entry in Registry([tmp_path / "box"]).entries("method")}
    assert {"one", "two"} <= names
    assert not {"private", "deeper", "helper", "notes"} & names
    assert [entry.name for entry in scan_path(tmp_path / "box" / "two")] == ["two"]


def test_a_package_imports_its_siblings_relatively(write: Write, tmp_path: Path) -> None:
    write("pkg/__init__.py", SOURCE.format(name="packed") + "\nfrom .inner.deep import VALUE\nToy.value = VALUE\n")
    write("pkg/inner/__init__.py", "")
    write("pkg/inner/deep.py", "from ..base import VALUE\n")
    write("pkg/base.py", "VALUE = 42\n")
    assert Registry([tmp_path / "pkg"]).load("method", "packed").value == 42


def test_equal_file_names_in_two_folders_do_not_meet(write: Write) -> None:
    first = write("a/same.py", SOURCE.format(name="first"))
    second = write("b/same.py", SOURCE.format(name="second"))
    registry = Registry([first, second])
    assert registry.load("method", "first").__module__ != registry.load("method", "second").__module__


def test_one_file_holds_several_plugins_of_several_kinds(write: Write) -> None:
    extra = 'from benchmark import api\n\n\n@api.noise("toy", version=1)\nclass Wrong(api.Noise):\n    """Noise."""\n'
    registry = Registry([write("both.py", SOURCE.format(name="toy") + extra)])
    assert issubclass(registry.load("method", "toy"), Method)
    assert issubclass(registry.load("noise", "toy"), Noise)


def test_the_environment_variable_names_files_and_folders(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = write("mine.py")
    write("box/other.py", SOURCE.format(name="other"))
    monkeypatch.setenv(ENVIRONMENT, module.os.pathsep.join([str(file), "", str(tmp_path / "box")]))
    assert {"toy", "other"} <= {entry.name for entry in Registry([file]).entries("method")}  # reached twice: one plugin


def test_a_relative_path_and_a_home(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("mine.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in ("mine.py", "./mine.py", "~/mine.py"):
        assert Registry([path]).entry("method", "toy").origin == tmp_path / "mine.py"


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "windows.py"
    file.write_bytes(b"\xef\xbb\xbf" + SOURCE.format(name="windows").encode())
    registry = Registry([file])
    assert registry.check(registry.entry("method", "windows")) is None


# ------------------------------------------------------------------------------------------------- broken ones


def test_a_syntax_error_stays_listed(write: Write) -> None:
    registry = Registry([write("broken.py", "def f(:\n")])
    entry = registry.entry("method", "broken")
    assert entry.error is not None
    assert "SyntaxError" in entry.error
    assert entry.line == 1
    with pytest.raises(BenchmarkError, match="method 'broken' is broken: SyntaxError"):
        registry.load("method", "broken")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"x = 1\x00\n", b"# -*- coding: nonsense -*-\n"])
def test_bytes_that_are_no_source_stay_listed(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "noise" / "binary.py"
    file.parent.mkdir()
    file.write_bytes(content)
    (entry,) = scan_file(file)
    assert (entry.kind, entry.name) == ("noise", "binary")  # guessed from the folder
    assert entry.error


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("from . import nothing", "Error"),
    ],
)
def test_an_error_on_import_names_the_place_and_leaves_nothing_behind(write: Write, statement: str, reason: str) -> None:
    file = write("sick.py", SOURCE.format(name="sick") + f"\n{statement}\n")
    registry = Registry([file])
    entry = registry.entry("method", "sick")
    assert entry.error is None
    problem = registry.check(entry)
    assert problem is not None
    assert reason in problem
    assert str(file) in problem
    assert module_name(file) not in sys.modules


def test_an_interrupt_is_not_taken_for_a_broken_plugin(write: Write) -> None:
    registry = Registry([write("stop.py", SOURCE.format(name="stop") + "\nraise KeyboardInterrupt\n")])
    with pytest.raises(KeyboardInterrupt):
        registry.load("method", "stop")


@pytest.mark.parametrize("arguments", ["NAME", "'x', year=YEAR", "name='x'", "", "3", "*names", "'x', **more"])
def test_a_decorator_that_cannot_be_read_points_to_its_line(write: Write, arguments: str) -> None:
    file = write("dynamic.py", f"from benchmark.api import Method, method\n\n\n@method({arguments})\nclass Dyna(Method):\n    pass\n")
    entry = Registry([file]).entry("method", "dyna")
    assert entry.error == f"{file}:4: the arguments of @method(...) must be literals, with the name first"
    assert entry.line == 5


def test_a_name_that_changes_at_import_is_an_error(write: Write) -> None:
    file = write("shifty.py", SOURCE.format(name="shifty") + "\nToy.name = 'other'\n")
    registry = Registry([file])
    assert "defines no method called 'shifty'" in (registry.check(registry.entry("method", "shifty")) or "")


def test_two_plugins_of_one_name_are_both_named(write: Write) -> None:
    first, second = write("a/x.py"), write("b/y.py")
    with pytest.raises(BenchmarkError) as caught:
        Registry([first, second])
    message = str(caught.value)
    assert message.startswith("two methods are called 'toy'")
    assert f"{first}:" in message
    assert f"{second}:" in message
    with pytest.raises(BenchmarkError, match="two methods are called 'ce'"):
        Registry([write("c/ce.py", SOURCE.format(name="ce"))])


def test_a_broken_file_is_not_accused_of_the_name_it_was_given(write: Write) -> None:
    with pytest.raises(BenchmarkError, match=r"ce\.py:1 is broken: SyntaxError"):
        Registry([write("ce.py", "def f(:\n")])


def test_the_same_name_in_two_kinds_is_fine(write: Write) -> None:
    source = SOURCE.format(name="digits")
    assert Registry([write("digits.py", source)]).load("method", "digits").kind == "method"


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("empty", None, "declares no plugin"),
        ("notes.txt", "hello", "is no Python file"),
        ("helper.py", "x = 1", "declares no plugin"),
        ("nowhere.py", "", "does not exist"),
    ],
)
def test_a_path_without_a_plugin_gives_one_clear_line(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, source: str | None, message: str
) -> None:
    path = tmp_path / name
    if source is None:
        path.mkdir()
    elif source:
        write(name, source)
    with pytest.raises(BenchmarkError, match=message) as caught:
        Registry([path])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    monkeypatch.setenv(ENVIRONMENT, str(path))
    with pytest.raises(BenchmarkError, match=message):
        Registry()


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(BenchmarkError, match=r"cannot be read: Permission denied"):
        scan_path(tmp_path)


# ------------------------------------------------------------------------------------------------- entry points


class _Packaged(Method):
    kind, name, manifest = "method", "packaged", {}


def _install(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    point = EntryPoint(name, value, "benchmark.methods")
    monkeypatch.setattr(module, "entry_points", lambda group: [point] if group == "benchmark.methods" else [])


def test_an_entry_point_is_listed_without_a_look_and_loaded_on_use(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, "packaged", "some_package.plugin:Toy")
    registry = Registry()
    entry = registry.entry("method", "packaged")
    assert entry.origin is None
    assert entry.where == "entry point some_package.plugin:Toy"
    assert "No module named 'some_package'" in (registry.check(entry) or "")
    monkeypatch.setattr(EntryPoint, "load", lambda self: _Packaged)
    assert registry.load("method", "packaged") is _Packaged


def test_an_entry_point_must_hold_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, "alias", "x:Y")
    monkeypatch.setattr(EntryPoint, "load", lambda self: _Packaged)
    registry = Registry()
    assert "no method called 'alias'" in (registry.check(registry.entry("method", "alias")) or "")


def test_an_entry_point_of_a_taken_name(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, "ce", "x:Y")
    with pytest.raises(BenchmarkError, match=r"two methods are called 'ce': .* and entry point x:Y"):
        Registry()
