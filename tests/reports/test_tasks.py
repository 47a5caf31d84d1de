"""Tables of runs on masks: their own columns, ranked by Dice, never mixed with those on classes."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from typing import Any

import pytest

from benchmark.cli.report import print_board
from benchmark.errors import BenchmarkError
from benchmark.spec import PluginSpec, RunSpec, protocol
from reports.board import build
from reports.columns import COLUMNS_OF, column
from reports.formats import render
from reports.rows import flatten, flatten_all
from reports.tables import compare


def of_masks(method: str = "seg_ce", seed: int = 0, dice: float = 0.8, hd95: float | None = 3.0, **protocol_values: Any) -> dict[str, Any]:
    """A result as the worker writes it for masks."""
    settings = dataclasses.replace(protocol("quick", task="segmentation"), **protocol_values)
    labels = {"method": method, "dataset": "nuclei", "noise": "mask:0.5"}
    plugins = PluginSpec(method), PluginSpec("nuclei", {}, 1, "v1"), PluginSpec("mask", {"alpha": 0.5}, 1)
    spec = RunSpec(*plugins, settings, seed, labels)
    test = {"dice": dice, "dice/nucleus": dice, "iou": dice - 0.1, "hd95": hd95, "surface_dice": 0.7, "missed": 2.0}
    metrics: dict[str, Any] = {group: dict(test) for group in ("last", "last_k", "selected", "best")}
    metrics["selected"]["ece"] = 0.02
    metrics["detection"] = {"f1": 0.5, "average_precision": 0.4, "constant_f1": 0.2, "random_average_precision": 0.1}
    metrics["ranking"] = {"average_precision": 0.6, "random_average_precision": 0.3}
    metrics["correction"] = {"noise_before": 0.1, "noise_after": 0.05, "dice_before": 0.8, "dice_after": 0.9}
    result = {"schema": 1, "run_key": spec.key(), "status": "done", "reason": None, "spec": spec.to_dict(), "metrics": metrics}
    noise = {"solvable": True, "realised_rate": 0.1, "dice": 0.8, "tasks": {"nucleus": {"dice": 0.8, "emptied": 3}}}
    rest: dict[str, Any] = {"epochs": {"selected": 3}, "noise": noise, "oracle": [], "diagnostics": {}, "cost": {"seconds": 9.0}}
    return result | rest | {"data": {"task": "segmentation", "tasks": ["nucleus"]}}


def test_a_row_knows_its_task_and_the_protocol_s_usual_values(result) -> None:
    row = flatten(of_masks())
    assert (row["task"], row["protocol"]) == ("segmentation", "quick")
    assert row["selected/dice"] == row["selected/dice/nucleus"] == 0.8 and row["ranking/average_precision"] == 0.6
    assert flatten(of_masks(epochs=2))["protocol"] == "quick:epochs=2"
    older = result()
    assert "data" not in older and (flatten(older)["task"], flatten(older)["protocol"]) == ("classification", "quick")


def test_masks_are_ranked_by_dice_against_their_own_baseline() -> None:
    dices = {"seg_ce": (0.7, 0.8, 0.9), "seg_cl": (0.8, 0.85, 0.9)}
    found = compare(flatten_all([of_masks(method, seed, dice) for method, each in dices.items() for seed, dice in enumerate(each)]))
    assert (found.rank.key, found.baseline) == ("selected/dice", "seg_ce")
    assert [entry.method for entry in found.groups[0].entries] == ["seg_cl", "seg_ce"]
    (difference,) = found.groups[0].differences
    assert (difference.method, difference.n) == ("seg_cl", 3) and difference.mean == pytest.approx(0.05)  # 0.1, 0.05, 0
    assert found.compact == COLUMNS_OF["segmentation"][1] and not any("accuracy" in c.key for c in found.columns)
    assert found.groups[0].references["ranking/random_average_precision"].mean == 0.3


def test_distances_are_pixels_and_shares_are_percent() -> None:
    found = compare(flatten_all([of_masks("seg_ce", hd95=3.25), of_masks("seg_cl", 0, 0.9, hd95=None)]))
    lines = {line.split("|")[1].strip().replace("\\", ""): line for line in render(found, "md").splitlines() if line.startswith("| ")}
    assert [cell.strip() for cell in lines["method"].split("|")[3:8]] == ["Dice sel", "Dice last", "Dice last k", "Dice best†", "HD95 px"]
    assert [cell.strip(" *") for cell in lines["seg_ce"].split("|")[3:9]] == ["80.0", "80.0", "80.0", "80.0", "3.250", "70.0"]
    assert lines["seg_cl"].split("|")[7].strip() == "–"
    assert [cell.strip(" *") for cell in lines["seg_ce"].split("|")[12:13]] == ["80.0 → 90.0"]


@pytest.mark.parametrize(
    ("key", "percent", "higher"),
    [
        ("selected/hd95", False, False),
        ("last/hd95/left lung", False, False),
        ("last/missed/left lung", False, False),
        ("selected/missed", False, False),
        ("last/dice/left lung", True, True),
        ("best/surface_dice", True, True),
        ("selected/ece", True, False),
        ("correction/noise_after", True, False),
        ("cost/seconds", False, False),
        ("epochs/selected", False, True),
    ],
)
def test_a_column_for_any_metric_of_masks(key: str, percent: bool, higher: bool) -> None:
    found = column(key)
    assert (found.percent, found.higher_is_better, found.oracle) == (percent, higher, key.startswith("best/"))


def test_lower_distances_rank_first() -> None:
    found = compare(flatten_all([of_masks("seg_ce", hd95=3.0), of_masks("seg_cl", 0, 0.5, hd95=1.0)]), rank_by="selected/hd95")
    assert [entry.method for entry in found.groups[0].entries] == ["seg_cl", "seg_ce"]
    with pytest.raises(BenchmarkError, match="did you mean 'selected/dice'"):
        compare(flatten_all([of_masks()]), rank_by="selected/dicee")


# ----------------------------------------------------------------------------------------------------- two kinds


def printed(results: list[dict[str, Any]], fmt: str, capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    print_board(build(flatten_all(results), **options), fmt)
    return capsys.readouterr().out


@pytest.mark.parametrize("fmt", ["table", "md", "latex"])
def test_each_task_has_tables_of_its_own(result, capsys: pytest.CaptureFixture[str], fmt: str) -> None:
    text = printed([of_masks(), result("ce"), of_masks("seg_cl"), result("hsa")], fmt, capsys)
    first, second = text.index("ranked by selected/accuracy"), text.index("ranked by selected/dice")
    assert first < second and text.index("acc sel") < first < text.index("Dice sel")
    assert text == printed([result("hsa"), of_masks("seg_cl"), of_masks(), result("ce")], fmt, capsys)


def test_machines_get_all_tasks_at_once(result, capsys: pytest.CaptureFixture[str]) -> None:
    both = [of_masks(), result("ce")]
    found = json.loads(printed(both, "json", capsys))["tasks"]
    assert {task: [row["method"] for row in one["runs"]] for task, one in found.items()} == {
        "classification": ["ce"],
        "segmentation": ["seg_ce"],
    }
    lines = list(csv.DictReader(io.StringIO(printed(both, "csv", capsys))))
    assert [(line["task"], line["selected/accuracy"], line["selected/dice"]) for line in lines] == [
        ("classification", "0.8", ""),
        ("segmentation", "", "0.8"),
    ]


@pytest.mark.parametrize("options", [{"rank_by": "last/dice"}, {"compact": ["last/dice"]}])
def test_a_chosen_metric_asks_for_the_task(result, options: dict[str, Any]) -> None:
    with pytest.raises(BenchmarkError) as told:
        build(flatten_all([of_masks(), result("ce")]), **options)
    assert str(told.value) == "these runs are of classification and segmentation, whose metrics are others; choose one with --task"
