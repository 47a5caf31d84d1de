"""What ``--dry-run`` says of the cost of a command, on real runs of a tiny method."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from benchmark.cli.dry_run import method_costs
from benchmark.cost import Estimate
from benchmark.driver import Cell
from benchmark.spec import PluginSpec, RunSpec, TrainingProtocol
from benchmark.store import Status

RUN = ("run", "--methods", "works", "--baseline", "none")


def cell(method: str, seed: int, estimate: Estimate | None) -> Cell:
    spec = RunSpec(PluginSpec(method), PluginSpec("digits"), PluginSpec("none"), TrainingProtocol(), seed)
    return Cell(spec, spec.key(), "code", Status.MISSING, pending=True, estimate=estimate)


def test_costs_by_method() -> None:
    sure, unsure = Estimate(10.0, 8.0, 14.0, 3, "the same cell"), Estimate(30.0, None, None, 1, "the same cell")
    cells = [cell("ce", 0, sure), cell("hsa", 0, unsure), cell("ce", 1, sure), cell("hsa", 1, None), cell("gce", 0, None)]
    cells.append(cell("hsa", 2, Estimate(50.0, 40.0, 60.0, 4, "the same cell")))
    names = ("method", "cells", "unestimated", "seconds_per_cell", "low", "high", "seconds")
    assert [tuple(row[name] for name in names) for row in method_costs(cells)] == [
        ("ce", 2, 0, 10.0, 8.0, 14.0, 20.0),
        ("hsa", 3, 1, 40.0, None, None, 80.0),
        ("gce", 1, 1, None, None, None, None),
    ]
    assert method_costs([]) == []


def test_finished_runs_tell_what_others_will_cost(bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(*RUN, "--seeds", "0-2", "--epochs", "4", "--quiet") == 0
    results = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/result.json")]
    seconds = statistics.median(result["cost"]["seconds"] for result in results)
    capsys.readouterr()

    words = ("--seeds", "0-4", "--jobs", "2", "--dry-run")
    assert bench(*RUN, "--epochs", "4", *words, "--format", "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["action"] for row in document["cells"]] == ["keep"] * 3 + ["run"] * 2
    assert document["methods"][0]["seconds_per_cell"] == pytest.approx(seconds)
    assert document["methods"][0]["low"] <= seconds <= document["methods"][0]["high"]
    assert (document["jobs"], document["unestimated"], document["methods"][0]["cells"]) == (2, 0, 2)
    assert document["wall_seconds"] == pytest.approx(seconds)  # both side by side

    assert bench(*RUN, "--epochs", "40", *words, "--format", "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["methods"][0]["seconds"] == pytest.approx(5 * 10 * seconds)
    assert document["wall_seconds"] == pytest.approx(3 * 10 * seconds)  # five cells on two slots

    assert bench(*RUN, "--epochs", "40", *words) == 0
    printed = capsys.readouterr().out
    assert "3 × other epochs or subset" in printed and "wall time with --jobs 2: about " in printed


def test_the_estimate_is_of_the_order_of_what_a_run_takes(bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(*RUN, "--seeds", "0-2", "--epochs", "20", "--quiet") == 0
    capsys.readouterr()
    assert bench(*RUN, "--seeds", "3-5", "--epochs", "40", "--dry-run", "--format", "json") == 0
    predicted = json.loads(capsys.readouterr().out)["methods"][0]["seconds_per_cell"]
    assert bench(*RUN, "--seeds", "3-5", "--epochs", "40", "--quiet") == 0
    results = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/result.json")]
    recorded = statistics.median(r["cost"]["seconds"] for r in results if r["spec"]["protocol"]["epochs"] == 40)
    assert 0.1 < predicted / recorded < 10


def test_many_failures_of_a_command_are_grouped(bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("run", "--methods", "fails", "--baseline", "none", "--seeds", "0-10", "--quiet") == 1
    lines = capsys.readouterr().err.splitlines()
    (line,) = [line for line in lines if "luck" in line]
    assert line.startswith("11 cells: RuntimeError: [bold]no[/bold] luck; e.g. failed  fails toy symmetric:0.2 seed ")
    assert "repeat: python -m benchmark worker " in line
