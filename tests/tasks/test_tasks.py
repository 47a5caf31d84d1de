"""Which kinds of labels there are, and what plugins of a command have in common."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.errors import BenchmarkError
from benchmark.grammar import parse_settings
from benchmark.registry import Registry
from benchmark.tasks import TASKS, defaults_of, one_task, task_of


@pytest.mark.parametrize(
    ("named", "wanted", "found"),
    [
        ({}, "", "classification"),
        ({}, "segmentation", "segmentation"),
        ({"noise none": "any"}, "", "classification"),
        ({"noise none": "any", "method seg_ce": "segmentation"}, "", "segmentation"),
        ({"method ce": "classification", "noise human": "any"}, "classification", "classification"),
        ({"noise human": "any"}, "segmentation", "segmentation"),
    ],
)
def test_plugins_agree(named: dict[str, str], wanted: str, found: str) -> None:
    assert one_task(named, wanted) == found


@pytest.mark.parametrize(
    ("named", "wanted", "message"),
    [
        (
            {"method a": "classification", "data set b": "segmentation"},
            "",
            "data set b is for segmentation and method a is for classification",
        ),
        ({"method a": "classification"}, "segmentation", "method a is for classification and --task is segmentation"),
        ({}, "segmentaton", "unknown task 'segmentaton'; did you mean 'segmentation'"),
        ({"method a": "masks"}, "", "unknown task 'masks'"),
    ],
)
def test_plugins_disagree_in_one_line(named: dict[str, str], wanted: str, message: str) -> None:
    with pytest.raises(BenchmarkError) as told:
        one_task(named, wanted)
    assert str(told.value).startswith(message) and "\n" not in str(told.value)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_what_its_defaults_say(name: str) -> None:
    task = task_of(name)
    assert (task.name, task.headline) == (name, defaults_of(name).headline)
    assert set(defaults_of(name).protocols) == {"quick", "standard", "paper"}


@pytest.mark.parametrize("name", TASKS)
def test_defaults_exist_and_are_for_the_task(name: str) -> None:
    registry, usual = Registry(), TASKS[name]
    for kind, text in (("method", usual.methods), ("method", usual.baseline), ("dataset", usual.datasets), ("noise", usual.number_means)):
        for setting in parse_settings(text, what=kind):
            assert name in str(registry.entry(kind, setting.name).manifest.get("task", "classification")).split("+")


def test_an_unknown_task_has_no_object() -> None:
    with pytest.raises(BenchmarkError, match="unknown task 'clasification'; did you mean 'classification'"):
        task_of("clasification")


def test_names_and_defaults_need_no_heavy_import() -> None:
    code = "import sys, benchmark.tasks; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
