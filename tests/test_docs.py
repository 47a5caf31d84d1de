"""The documentation is true: its plugins keep the contract, its links lead somewhere, its commands can be given as written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer

from benchmark.api import Samples
from benchmark.cli import app
from benchmark.cli.options import parse_noise, parse_seeds, parse_sets
from benchmark.conformance import check
from benchmark.data.options import NAMES as OPTION_NAMES
from benchmark.grammar import parse_settings
from benchmark.params import ranges
from benchmark.registry import KINDS, Registry
from benchmark.scaffold import create
from benchmark.spec import TrainingProtocol
from benchmark.tasks import TASKS
from reports.filters import parse_filter

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DECLARED = re.compile(rf'^@(?:{"|".join(KINDS)})\(\s*"(\w+)"', flags=re.M)
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def blocks(page: Path, language: str = "") -> list[str]:
    """The fenced blocks of a page, of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


PLUGINS = {
    DECLARED.search(block)[1]: block  # type: ignore[index]
    for page in PAGES
    for block in blocks(page, "python")
    if DECLARED.search(block)
}
LINKS = sorted(
    {
        (name(page), link)
        for page in PAGES
        for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M))
        if not re.match(r"[a-z]+:", link)
    }
)
LINES = sorted(
    {
        (name(page), line.strip())
        for page in PAGES
        for block in blocks(page)
        for line in block.splitlines()
        if line.strip().startswith("python -m benchmark")
    }
)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """What comes with the project, every plugin of the pages, and those that their commands create."""
    folder = tmp_path_factory.mktemp("plugins")
    for _, line in LINES:
        if line.split()[3] == "new":
            create(*line.split()[4:6], folder)
    for plugin, source in PLUGINS.items():
        (folder / f"{plugin}.py").write_text(source, encoding="utf-8")
    return Registry([folder])


def test_every_page_on_adding_has_a_complete_example():
    for kind in KINDS:
        page = next(path for path in PAGES if path.name in (f"adding_a_{kind}.md", f"adding_{kind}.md"))
        assert any(f"@{kind}(" in block for block in blocks(page, "python"))


@pytest.mark.parametrize("plugin", [plugin for plugin in PLUGINS if PLUGINS[plugin] not in blocks(ROOT / "README.md", "python")])
def test_an_example_keeps_the_contract(plugin: str, tmp_path: Path):
    file = tmp_path / f"{plugin}.py"
    file.write_text(PLUGINS[plugin], encoding="utf-8")
    results = check(str(file), Registry([file]))
    assert results
    assert not [result for result in results if result.ok is False]


def test_the_files_of_the_example_can_be_read(registry: Registry, tmp_path: Path):
    images, labels = np.zeros((4, 8, 8, 3), dtype=np.uint8), np.array([0, 1, 0, 1])
    (tmp_path / "tiles").mkdir()
    np.save(tmp_path / "tiles" / "images.npy", images)
    np.save(tmp_path / "tiles" / "labels.npy", labels)
    cls = registry.load("dataset", "pair")
    data = cls(cls.Params(folder="tiles"))
    arrays = data.load(tmp_path)
    assert arrays.images.shape == images.shape and arrays.labels.tolist() == labels.tolist() and arrays.classes == ("0", "1")
    before = data.fingerprint(tmp_path)
    np.save(tmp_path / "tiles" / "images.npy", images[:2])
    assert data.fingerprint(tmp_path) != before


def test_the_noise_of_the_example_moves_an_exact_count_to_neighbours(registry: Registry):
    cls = registry.load("noise", "adjacent")
    labels = np.arange(100) % 4
    noisy = cls(cls.Params(rate=0.3)).apply(Samples(labels, 4), np.random.default_rng(0))
    assert (noisy != labels).sum() == 30
    assert set(np.abs(noisy - labels).tolist()) == {0, 1}


@pytest.mark.parametrize(("page", "link"), LINKS, ids=[f"{page}-{link}" for page, link in LINKS])
def test_a_link_leads_somewhere(page: str, link: str):
    target, _, anchor = link.partition("#")
    file = (ROOT / page).parent / target if target else ROOT / page
    assert file.exists(), f"{page} links to {link}"
    if anchor:
        titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.M)
        assert anchor in [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def test_the_commands_are_found():
    assert {"run", "check", "new", "report", "status"} <= {line.split()[3] for _, line in LINES}


@pytest.mark.parametrize(("page", "line"), LINES, ids=[line for _, line in LINES])
def test_a_command_can_be_given_as_written(page: str, line: str, registry: Registry):
    command, *words = shlex.split(line, comments=True)[3:]
    assert command in COMMANDS
    parser = COMMANDS[command]
    if words and words[0] in getattr(parser, "commands", ()):  # of a group: noise export; report alone is a command, too
        parser, words = parser.commands[words[0]], words[1:]
    given = parser.make_context(command, words).params  # parses and checks types; runs nothing
    if given.get("condition") is not None:
        parse_filter(given["condition"])
    settings = {
        kind: parse_settings(given[option], what=option)
        for kind, option in (("method", "methods"), ("dataset", "datasets"))
        if given.get(option)
    }
    if given.get("noise"):
        settings["noise"] = [part for setting in parse_noise(registry, given["noise"]) for part in setting.parts or (setting,)]
    for kind, listed in settings.items():
        for setting in listed:
            cls = registry.load(kind, setting.name)
            common = OPTION_NAMES if kind == "dataset" else ()
            assert set(setting.options) <= {*ranges(cls.Params), *common}
            assert setting.argument is None or cls.argument is not None or setting.argument in cls.presets
    named = {setting.name: registry.load(kind, setting.name).Params for kind, listed in settings.items() for setting in listed}
    for owner, values in parse_sets(given.get("sets") or ()).items():
        assert set(values) <= set(ranges({**named, "protocol": TrainingProtocol}[owner]))
    if command == "run":
        parse_seeds(given["seeds"])
        assert given["protocol"] in TASKS["classification"].protocols
