"""The hash of the code that determines a run's numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import pytest

from benchmark import code_hash as module
from benchmark import registry as registry_module
from benchmark.code_hash import code_hash, tree_hash
from benchmark.registry import Registry
from benchmark.spec import PluginSpec, RunSpec, protocol

PLUGIN = '''
from benchmark.api import Method, method
from typing import TYPE_CHECKING

from .helper import scale
from . import sub

if TYPE_CHECKING:
    from .types_only import Thing
else:
    from .at_runtime import Thing


@method("hashed")
class Hashed(Method):
    """Doc."""

    def training_step(self, batch, networks, epoch):
        return scale(networks[0](batch.images).sum())
'''


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """The hash of a file is kept for the life of a process, as is the imported module."""
    module.forget_sources()
    yield
    module.forget_sources()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "hashed"
    files = {
        "__init__.py": PLUGIN,
        "helper.py": "from .deeper.deepest import FACTOR\n\n\ndef scale(x):\n    return FACTOR * x\n",
        "deeper/__init__.py": "",
        "deeper/deepest.py": "FACTOR = 2\n",
        "sub/__init__.py": "VALUE = 1\n",
        "types_only.py": "Thing = int\n",
        "at_runtime.py": "Thing = int\n",
        "unused.py": "x = 1\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def spec(method: str = "ce", dataset: str = "digits", noise: str = "symmetric") -> RunSpec:
    return RunSpec(PluginSpec(method), PluginSpec(dataset, {}, 1, "v1"), PluginSpec(noise, {}, 1), protocol("quick"), 0)


def hashed(package: Path) -> str:
    module.forget_sources()
    return code_hash(spec("hashed"), Registry([package]))


# ------------------------------------------------------------------------------------------------- one file

BASE = '''
"""Doc."""
LIMIT = 3


class A:
    """Doc."""

    def f(self, x: int = 1, *, y=None) -> int:
        """Doc."""
        if x:
            return x + LIMIT
        return None
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Doc."""\nLIMIT', '"""Another."""\nLIMIT'),
        ('"""Doc."""\nLIMIT', "LIMIT"),
        ('    """Doc."""\n\n', ""),
        ('        """Doc."""\n', "        # a comment\n"),
        ("LIMIT = 3", "LIMIT = 3  # a comment"),
        ("LIMIT = 3", 'LIMIT = 3\n"""What it limits."""'),
        ("LIMIT = 3", "LIMIT = (3)\n\n\n"),
        ("            return x + LIMIT", "            return (\n                x\n                + LIMIT\n            )"),
        ('"""Doc."""', "'''Doc.'''"),
    ],
)
def test_comments_docstrings_and_layout_change_nothing(old: str, new: str) -> None:
    changed = BASE.replace(old, new)
    assert changed != BASE
    assert tree_hash(changed) == tree_hash(BASE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("LIMIT = 3", "LIMIT = '3'"),
        ("LIMIT = 3", "BOUND = 3"),
        ("x + LIMIT", "x - LIMIT"),
        ("x + LIMIT", "LIMIT + x"),
        ("x: int = 1", "x: int = True"),
        ("y=None", "y"),
        ("return None", "return"),
        ("if x:", "while x:"),
        ("        return None\n", ""),
        ("LIMIT = 3", "LIMIT = 3\nprint('a side effect')"),
        ("class A:", "class A(dict):"),
        ("def f", "async def f"),
    ],
)
def test_logic_changes_the_hash(old: str, new: str) -> None:
    changed = BASE.replace(old, new)
    assert changed != BASE
    assert tree_hash(changed) != tree_hash(BASE)


def test_a_docstring_in_an_empty_file_is_still_nothing() -> None:
    assert tree_hash("") == tree_hash('"""Nothing here."""\n') == tree_hash("# nothing\n")


def test_the_hash_is_fixed() -> None:
    """The tree is walked by hand, so that every Python gives the same."""
    assert (
        tree_hash("def f(x):\n    return [y ** 2 for y in x if y is not None]\n")
        == "09b70aaad13d8ee13d0e91ecbe50e57bd254b42eb04f842eecbc051d76beafce"
    )


# ------------------------------------------------------------------------------------------------- a plugin and what it reaches


def test_a_hash_is_sixteen_hex_digits_and_repeats(package: Path) -> None:
    assert hashed(package) == hashed(package)
    assert len(hashed(package)) == 16
    assert int(hashed(package), 16) >= 0


@pytest.mark.parametrize("name", ["__init__.py", "helper.py", "deeper/deepest.py", "sub/__init__.py", "at_runtime.py"])
def test_logic_in_anything_reached_makes_a_cell_stale(package: Path, name: str) -> None:
    before = hashed(package)
    file = package / name
    file.write_text(file.read_text(encoding="utf-8") + "\n# a comment\n", encoding="utf-8")
    assert hashed(package) == before
    file.write_text(file.read_text(encoding="utf-8") + "\nADDED = 1\n", encoding="utf-8")
    assert hashed(package) != before


@pytest.mark.parametrize("name", ["types_only.py", "unused.py"])
def test_what_does_not_run_does_not_count(package: Path, name: str) -> None:
    before = hashed(package)
    (package / name).write_text("Thing = float\nx = 2\n", encoding="utf-8")
    assert hashed(package) == before


def test_modules_that_import_each_other_end(package: Path) -> None:
    (package / "deeper" / "deepest.py").write_text("from .. import helper\nFACTOR = 2\n", encoding="utf-8")
    assert hashed(package) == hashed(package)


def test_a_file_with_a_byte_order_mark(package: Path) -> None:
    before = hashed(package)
    (package / "helper.py").write_bytes(b"\xef\xbb\xbf" + (package / "helper.py").read_bytes())
    assert hashed(package) == before


@pytest.fixture
def copy_of_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The benchmark package, to be edited."""
    copy = tmp_path / "copy"
    for file in module.PACKAGE.rglob("*.py"):
        target = copy / file.relative_to(module.PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    monkeypatch.setattr(module, "PACKAGE", copy)
    return copy


def stale_after(copy: Path, names: list[str], run: RunSpec) -> list[str]:
    """Those of the files whose change makes the run stale."""
    registry, hashes = Registry(), []
    for name in [None, *names]:
        if name is not None:
            with (copy / name).open("a", encoding="utf-8") as file:
                file.write("\nADDED = 1\n")
        module.forget_sources()
        hashes.append(code_hash(run, registry))
    return [name for name, before, after in zip(names, hashes, hashes[1:], strict=False) if after != before]


def test_the_harness_counts_where_it_makes_numbers(copy_of_package: Path) -> None:
    names = [
        "api.py",  # what every method inherits: predict, label_quality
        "observer.py",  # which epoch is selected
        "prepare.py",
        "seeds.py",
        "splits.py",
        "training/context.py",
        "training/loop.py",
        "training/mixture.py",  # the default suspects
        "training/backbones.py",
        "training/augment.py",
        "training/history.py",
        "training/noise_rate.py",
        "training/selection.py",  # of coteaching alone
        "noise_tools.py",  # of symmetric
    ]
    assert stale_after(copy_of_package, names, spec("coteaching")) == names


def test_the_harness_does_not_count_where_it_looks_up_stores_or_prints(copy_of_package: Path) -> None:
    names = ["errors.py", "registry.py", "spec.py", "store.py", "metrics/detection.py", "host.py", "driver.py"]
    assert stale_after(copy_of_package, names, spec("coteaching")) == []


def test_a_module_of_one_plugin_does_not_make_another_stale(copy_of_package: Path) -> None:
    assert stale_after(copy_of_package, ["noise_tools.py"], spec("ce", noise="none")) == []


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """A data set of masks, so that nothing but the task leads to their code."""
    file = tmp_path / "some_masks.py"
    file.write_text(
        "from benchmark.api import Dataset, dataset\n"
        '@dataset("some_masks", task="segmentation", version=1)\n'
        "class SomeMasks(Dataset):\n    pass\n"
    )
    return file


def both_hashes(masks: Path) -> tuple[str, str]:
    """Of a run on classes and of one on masks."""
    module.forget_sources()
    registry = Registry([masks])
    return code_hash(spec("ce"), registry), code_hash(spec("seg_ce", dataset="some_masks", noise="none"), registry)


@pytest.mark.parametrize(
    ("names", "stale"),
    [
        (["segmentation/prepare.py"], (False, True)),
        (["tasks/segmentation.py"], (False, True)),
        (["segmentation/networks.py", "segmentation/losses.py", "segmentation/augment.py", "segmentation/method.py"], (False, True)),
        (["tasks/classification.py"], (True, False)),
        (["tasks/base.py"], (True, True)),  # the default suspects
        (["tasks/__init__.py", "metrics/masks.py", "training/names.py"], (False, False)),  # names and scores
    ],
)
def test_code_for_one_kind_of_labels_leaves_runs_on_the_other_alone(
    copy_of_package: Path, masks: Path, names: list[str], stale: tuple[bool, bool]
) -> None:
    before = both_hashes(masks)
    for name in names:
        with (copy_of_package / name).open("a", encoding="utf-8") as file:
            file.write("\nADDED = 1\n")
    after = both_hashes(masks)
    assert (before[0] != after[0], before[1] != after[1]) == stale


def test_every_part_of_a_cell_counts() -> None:
    registry = Registry()
    found = {code_hash(s, registry) for s in (spec(), spec("hsa"), spec(dataset="tissue"), spec(noise="pairflip"), spec(noise="none"))}
    assert len(found) == 5


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Registry]:
    def install(version: str) -> Registry:
        point = EntryPoint("packaged", "some.plugin:Toy", "benchmark.methods")
        vars(point).update(dist=SimpleNamespace(version=version, name="some"))
        monkeypatch.setattr(registry_module, "entry_points", lambda group: [point] if group == "benchmark.methods" else [])
        return Registry()

    return install


def test_an_installed_plugin_counts_with_its_version(install: Callable[[str], Registry]) -> None:
    first, again, second = (code_hash(spec("packaged"), install(version)) for version in ("1.0", "1.0", "1.1"))
    assert first == again != second


def test_typing_imports_of_either_spelling_are_left_out(tmp_path: Path) -> None:
    for test in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        file = tmp_path / "plugin.py"
        file.write_text(dedent(f"import typing\nfrom typing import TYPE_CHECKING\nif {test}:\n    from .other import X\n"))
        (tmp_path / "other.py").write_text("X = 1\n")
        module.forget_sources()
        assert len(module._closure(file)) == 1


def test_what_a_manifest_tells_people_does_not_count() -> None:
    source = '@method("x", paper="{paper}", version={version})\nclass X(Method):\n    rate = 1\n'
    first = tree_hash(source.format(paper="Doe 2020", version=1))
    assert tree_hash(source.format(paper="Doe et al. 2021", version=1)) == first
    assert tree_hash(source.format(paper="Doe 2020", version=2)) != first
