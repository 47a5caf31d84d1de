"""The command of a row gets the row again."""

from __future__ import annotations

import itertools
import shlex

import pytest

from benchmark.cli.cells import read_grid
from benchmark.grammar import parse_settings
from benchmark.registry import Registry
from benchmark.spec import RunSpec
from reports.repeat import ranges, repeat_command


@pytest.mark.parametrize(
    ("seeds", "text"), [((0,), "0"), ((0, 1, 2, 3, 4), "0-4"), ((7, 0, 5, 6, 2), "0,2,5-7"), ((1, 2), "1-2"), ((), "")]
)
def test_seeds_as_the_command_line_reads_them(seeds: tuple[int, ...], text: str) -> None:
    assert ranges(sorted(seeds)) == text


def test_names_are_words_of_a_shell(result) -> None:
    spec = result("a b; rm -rf $HOME'", dataset="folder:/data/my tiles", noise="symmetric:0.4")["spec"]
    words = shlex.split(repeat_command(spec, [0, 1], "segmentation"))
    assert words[:4] == ["python", "-m", "benchmark", "run"]
    assert words[words.index("--methods") + 1] == "a b; rm -rf $HOME'" and words[words.index("--datasets") + 1] == "folder:/data/my tiles"


def planned(words: list[str]) -> list[dict]:
    """The specifications of a command's cells, as ``run`` plans them."""
    registry, option = Registry(), dict(zip(words[::2], words[1::2], strict=True))
    sets = [value for flag, value in itertools.pairwise(words) if flag == "--set"]
    usual = {"seeds": "0", "protocol": "quick"}
    known = {key: option.get(f"--{key}", value) for key, value in usual.items()}
    epochs = int(option.get("--epochs", 0)) or None
    known |= {"datasets": option["--datasets"], "noise": option["--noise"], "task": "classification"}
    grid = read_grid(registry, epochs=epochs, sets=sets, features="", skip_bad=False, **known)
    return [spec.to_dict() for spec in grid.cells(registry, parse_settings(option["--methods"], what="--methods"), None)]


def test_it_plans_the_very_runs() -> None:
    """What a row was made by, with a changed protocol and a setting of a method, has the same keys."""
    asked = ["--methods", "hsa:rounds=2", "--datasets", "digits", "--noise", "pairflip:0.3+symmetric:0.1", "--seeds", "3-4"]
    first = planned([*asked, "--set", "protocol.lr=0.002", "--set", "protocol.epochs=7", "--set", "hsa.hard_ratio=1.25"])
    words = shlex.split(repeat_command(first[0], [spec["seed"] for spec in first], "classification"))[4:]
    again = planned(words)
    keys = [[RunSpec.from_dict(spec).key() for spec in specs] for specs in (first, again)]
    assert len(keys[0]) == 2 and keys[0] == keys[1]


def test_a_default_that_has_changed_since_is_written_out() -> None:
    """When the run was made, 0.6 was the default and its short name was the bare one."""
    (spec,) = planned(["--methods", "gce:q=0.6", "--datasets", "digits", "--noise", "symmetric:0.2"])
    spec["labels"] = {"method": "gce", "dataset": "digits", "noise": "symmetric:0.2"}
    words = shlex.split(repeat_command(spec, [0], "classification"))
    assert words[words.index("--methods") + 1] == "gce:q=0.6"
    assert [RunSpec.from_dict(again).key() for again in planned(words[4:])] == [RunSpec.from_dict(spec).key()]
