from __future__ import annotations

import csv
import io
import json

import pytest

from benchmark.errors import BenchmarkError
from benchmark.spec import RunSpec
from benchmark.store import RunStore
from reports import states
from reports.changes import Changes, changes
from reports.changes_tables import FORMATS, in_short, render, rich_tables, sheets
from reports.rows import flatten_all
from reports.states import read_state


def between(old, new, **options) -> Changes:
    return changes(flatten_all(old), flatten_all(new), **options)


def test_nothing_has_changed(result) -> None:
    results = [result("ce", seed, code_hash="a") for seed in (0, 1)]
    slower = [{**one, "cost": {"seconds": 99.0}} for one in results]  # seconds are never the same
    found = between(results, slower)
    assert found.nothing
    assert in_short(found) == "Nothing has changed: 2 runs with the same numbers, made by the same code."
    assert render(found, "md") == in_short(found) + "\n"
    assert render(found, "latex").count("\n") == 1
    assert json.loads(render(found, "json"))["nothing"] is True
    assert len(render(found, "csv").splitlines()) == 1
    assert sheets(found) == rich_tables(found) == []
    assert between([], []).nothing


def test_runs_that_came_went_or_ended_otherwise(result) -> None:
    old = [result("ce", 0), result("ce", 1), result("elr", 0), result("elr", 1, code_hash="a")]
    new = [
        result("ce", 0),
        result("gce", 0),
        result("gce", 1),
        result("gce", 3, status="skipped", reason="no"),
        result("elr", 0, status="diverged"),
    ]
    found = between(old, [*new, result("elr", 1, code_hash="b")])
    assert (found.old, found.new, found.nothing) == (4, 6, False)
    assert [(one.cell.method, one.cell.seed, one.before, one.after) for one in found.added] == [
        ("gce", 0, "", "done"), ("gce", 1, "", "done"), ("gce", 3, "", "skipped"),
    ]  # fmt: skip
    assert [(one.cell.method, one.cell.seed) for one in found.removed] == [("ce", 1)]
    assert [(one.cell.method, one.before, one.after) for one in found.status] == [("elr", "done", "diverged")]
    assert [(one.cell.seed, one.before, one.after) for one in found.code] == [(1, "a", "b")]
    assert (found.renumbered, found.numbers) == (0, ())
    assert in_short(found) == "4 runs before, 6 now: 3 added, 1 removed, 1 ended in another way, 1 made by other code."
    rows = {(row[0], row[4], row[5]) for row in sheets(found)[0].rows}
    assert rows == {
        ("added", "gce", "0-1"), ("added (skipped)", "gce", "3"), ("removed", "ce", "1"), ("done → diverged", "elr", "0"),
        ("other code", "elr", "1"),
    }  # fmt: skip


def test_numbers_the_largest_change_of_each_metric(result) -> None:
    old = [result("ce", 0, metrics={"detection/f1": None}), result("ce", 1), result("ce", 2)]
    new = [result("ce", 0), result("ce", 1, metrics={"last/nll": 0.75}), result("ce", 2, metrics={"last/nll": 0.2, "selected/ece": 0.06})]
    found = between(old, new)
    assert found.renumbered == 3
    nll, ece, f1 = found.numbers
    assert (nll.metric, nll.runs, nll.cell.seed, nll.before, nll.after) == ("last/nll", 2, 2, 0.7, 0.2)
    assert nll.change == pytest.approx(-0.5)
    assert (ece.metric, ece.change) == ("selected/ece", pytest.approx(0.01))
    assert (f1.metric, f1.before, f1.after, f1.change) == ("detection/f1", None, 0.6, None)
    (sheet,) = (sheet for sheet in sheets(found) if sheet.title == "Numbers")
    assert sheet.rows[0][:5] == ("last/nll", "2", "-0.5", "0.7", "0.2")
    assert sheet.rows[1][:5] == ("selected/ece", "1", "+1.00", "5.00", "6.00")
    assert sheet.rows[2][2:4] == ("–", "–")
    assert sheet.rows[0][5] == "ce on cells, symmetric:0.4, quick, seed 2"


def test_a_change_that_rounds_to_nothing_still_shows(result) -> None:
    found = between([result("ce", 0, 0.8)], [result("ce", 0, 0.8 + 1e-9)])
    assert any("e-0" in cell for row in sheets(found)[0].rows + sheets(found)[1].rows for cell in row)


def test_means_ranks_and_the_best_method(result) -> None:
    old = [result("ce", 0, 0.7), result("ce", 1, 0.9), result("gce", 0, 0.6), result("gce", 1, 0.7), result("elr", noise="none")]
    new = [result("ce", 0, 0.7), result("ce", 1, 0.7), result("gce", 0, 0.8), result("gce", 1, 0.8), result("elr", noise="none")]
    found = between(old, new)
    ce, gce = found.standings
    assert (ce.method, ce.before, ce.after, ce.rank_before, ce.rank_after) == ("ce", pytest.approx(0.8), pytest.approx(0.7), 1.0, 2.0)
    assert (gce.before, gce.after, gce.rank_before, gce.rank_after) == (pytest.approx(0.65), pytest.approx(0.8), 2.0, 1.0)
    assert (ce.n_before, ce.n_after, ce.metric) == (2, 2, "selected/accuracy")
    assert [(one.noise, one.before, one.after) for one in found.best if not one.over] == [
        ("none", ("elr",), ("elr",)), ("symmetric:0.4", ("ce",), ("gce",)),
    ]  # fmt: skip
    best = next(sheet for sheet in sheets(found) if sheet.title == "Best methods · classification")
    assert best.rows[-1] == ("cells", "symmetric:0.4", "quick", "ce", "gce")
    assert "the best method is the same in 1 condition" in best.notes
    means = sheets(found)[-1]
    assert means.rows[0][4:] == ("80.00", "70.00", "-10.00", "2 → 2", "1 → 2")


def test_ties_are_all_best_and_another_metric_ranks(result) -> None:
    old = [result("a", metrics={"selected/nll": 0.2}), result("b", metrics={"selected/nll": 0.2})]
    new = [result("a", metrics={"selected/nll": 0.2}), result("b", metrics={"selected/nll": 0.1})]
    best = next(one for one in between(old, new, rank_by="selected/nll").best if not one.over)
    assert (best.before, best.after) == (("a", "b"), ("b",))


def test_a_state_without_the_metric_has_no_standings(result) -> None:
    found = between([result("ce", status="diverged")], [result("ce")])
    assert [(one.before, one.after, one.rank_after) for one in found.standings] == [(None, 0.8, 1.0)]
    assert between([result("ce")], [result("gce")], rank_by="selected/nothing").standings == ()


def test_the_same_name_for_other_data_is_not_the_same_condition(result) -> None:
    found = between([result("ce", fingerprint="v1")], [result("ce", accuracy=0.9, fingerprint="v2")])
    assert (len(found.added), len(found.removed), found.renumbered) == (1, 1, 0)
    assert found.added[0].cell.dataset.startswith("cells #")
    assert found.added[0].cell.dataset != found.removed[0].cell.dataset
    assert {(one.before, one.after) for one in found.standings} == {(0.8, None), (None, 0.9)}


def test_a_renamed_protocol_is_the_same_condition(result) -> None:
    found = between([result("ce")], [result("ce", protocol={"name": "mine"})])
    assert not (found.added or found.removed or found.standings)


def test_tasks_stand_apart(result) -> None:
    bags = {"task": "bags"}
    old = [result("ce"), result("abmil", data=bags, metrics={"selected/auroc": 0.8})]
    new = [result("ce"), result("abmil", data=bags, metrics={"selected/auroc": 0.7})]
    (standing,) = between(old, new).standings
    assert (standing.task, standing.metric, standing.before, standing.after) == ("bags", "selected/auroc", 0.8, 0.7)


EVIL = '=<b onclick="x">|\\input{x}</b>'


def test_every_format_is_inert(result) -> None:
    found = between([result(EVIL, 0, 0.7), result("ce")], [result(EVIL, 0, 0.8), result("ce", 1)])
    for format in FORMATS:
        text = render(found, format)
        assert text.endswith("\n")
    assert "<b " not in render(found, "md") + render(found, "latex")
    assert "\\input" not in render(found, "latex")
    lines = list(csv.DictReader(io.StringIO(render(found, "csv"))))
    assert {line["kind"] for line in lines} >= {"added", "removed", "number", "mean", "rank"}
    assert all(not line["method"].startswith("=") for line in lines)
    mean = next(line for line in lines if line["kind"] == "mean" and EVIL in line["method"])
    assert (mean["before"], mean["after"], mean["metric"]) == ("0.7", "0.8", "selected/accuracy")
    with pytest.raises(BenchmarkError, match="unknown format 'html'"):
        render(found, "html")


# ------------------------------------------------------------------------------------------------------------- reading


def stored(folder, results) -> None:
    store = RunStore(folder)
    for one in results:
        spec = RunSpec.from_dict(one["spec"])
        store.register(spec)
        (store.folder(spec.key()) / "result.json").write_text(json.dumps(one))


def board(path, rows) -> None:
    runs = [{key: value for key, value in row.items() if key != "identity"} for row in rows]
    path.write_text(json.dumps({"title": "t", "tasks": {"classification": {"runs": runs}}}))


def test_a_leaderboard_is_the_folder_that_it_was_made_of(result, tmp_path) -> None:
    results = [result("ce", 0, code_hash="a"), result("ce", 1, status="diverged"), result("gce", fingerprint="v2", oracle=["noise_rate"])]
    stored(tmp_path / "runs", results)
    rows = read_state(tmp_path / "runs")
    assert len(rows) == 3
    (tmp_path / "out").mkdir()
    board(tmp_path / "out" / "leaderboard.json", rows)
    assert any("#" in row["dataset"] for row in rows)
    for place in (tmp_path / "out", tmp_path / "out" / "leaderboard.json"):
        again = read_state(place)
        assert {row["dataset"] for row in again} == {"cells"}  # told apart later, together with the other state's
        assert changes(rows, again).nothing
        assert again[0]["identity"] == rows[0]["identity"]
    stored(tmp_path / "runs", [result("ce", 2)])
    assert len(changes(read_state(tmp_path / "out"), read_state(tmp_path / "runs")).added) == 1


def test_trials_of_searches_are_no_runs_of_a_state(result, tmp_path) -> None:
    trial = result("ce", 1)
    trial["spec"]["labels"]["sweep"] = "study"
    stored(tmp_path, [result("ce", 0), trial])
    assert [row["seed"] for row in read_state(tmp_path)] == [0]


GOOD = {
    "task": "classification", "dataset": "cells", "noise": "none", "method": "ce", "protocol": "quick", "seed": 0, "run_key": "0" * 16,
    "status": "done", "selected/accuracy": 0.5, "noise/solvable": True,
    "spec": {kind: {"name": kind, "params": {}} for kind in ("dataset", "noise", "method")} | {"protocol": {"name": "quick"}, "seed": 0},
}  # fmt: skip


def test_the_good_row_is_read(tmp_path) -> None:
    board(tmp_path / "b.json", [GOOD])
    (row,) = read_state(tmp_path / "b.json")
    assert (row["selected/accuracy"], row["method"], row["oracle"]) == (0.5, "ce", [])


@pytest.mark.parametrize(
    "change",
    [
        {"spec": None},
        {"spec": {**GOOD["spec"], "method": {"name": 3, "params": {}}}},
        {"spec": {**GOOD["spec"], "noise": {"name": "x", "params": []}}},
        {"spec": {**GOOD["spec"], "protocol": None}},
        {"seed": "0"},
        {"seed": True},
        {"status": "fine"},
        {"method": ["a"]},
        {"run_key": None},
        {"selected/accuracy": "0.5"},
        {"selected/accuracy": [0.5]},
        {"selected/accuracy": 10**400},
    ],
)
def test_a_run_that_is_none_is_refused(tmp_path, change) -> None:
    board(tmp_path / "b.json", [GOOD, {**GOOD, **change}])
    with pytest.raises(BenchmarkError, match=r"b.json is no leaderboard.json: run 1 of classification is no run") as error:
        read_state(tmp_path / "b.json")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"a": ' + "1" * 5_000 + "}", "is not JSON"),
        ("[]", "is no leaderboard.json: it has no runs for each of its tasks; write one with report --out DIR"),
        ('{"tasks": []}', "it has no runs"),
        ('{"tasks": {"classification": []}}', "it has no runs"),
        ('{"tasks": {"classification": {"runs": {}}}}', "it has no runs"),
        ('{"tasks": {"classification": {"runs": [3]}}}', "run 0 of classification is no run"),
        ('{"tasks": {"nothing": {"runs": [{}]}}}', "run 0 of nothing is no run"),
        ('{"tasks": {}}', "no finished runs in"),
    ],
)
def test_a_file_that_is_no_leaderboard_is_refused(tmp_path, text, problem) -> None:
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(BenchmarkError) as error:
        read_state(path)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_bytes_size_and_places_that_cannot_be_read(tmp_path, monkeypatch) -> None:
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(BenchmarkError, match="is not JSON"):
        read_state(tmp_path / "b.json")
    with pytest.raises(BenchmarkError, match=r"nowhere does not exist; give a runs folder or a leaderboard.json"):
        read_state(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BenchmarkError, match=r"no finished runs in .*empty; give a runs folder"):
        read_state(tmp_path / "empty")
    monkeypatch.setattr(states, "LARGEST", 2)
    with pytest.raises(BenchmarkError, match=r"MiB and cannot be a leaderboard.json"):
        read_state(tmp_path / "b.json")


def test_what_is_not_finite_is_missing(tmp_path) -> None:
    (tmp_path / "b.json").write_text(json.dumps({"tasks": {"classification": {"runs": [GOOD]}}}).replace("0.5", "1e999"))
    assert read_state(tmp_path / "b.json")[0]["selected/accuracy"] is None
    (tmp_path / "b.json").write_text(json.dumps({"tasks": {"classification": {"runs": [GOOD]}}}).replace("0.5", "NaN"))
    assert read_state(tmp_path / "b.json")[0]["selected/accuracy"] is None


def test_names_that_no_file_can_hold_are_made_printable(tmp_path) -> None:
    board(tmp_path / "b.json", [{**GOOD, "method": "a\ud800"}])
    rows = read_state(tmp_path / "b.json")
    for format in FORMATS:
        assert render(changes([], rows), format).encode()


def test_a_result_of_a_folder_that_is_none_is_refused(result, tmp_path) -> None:
    stored(tmp_path, [result("ce")])
    (path,) = tmp_path.glob("*/result.json")
    broken = json.loads(path.read_text())
    broken["spec"] = {"method": 3}
    path.write_text(json.dumps(broken))
    with pytest.raises(BenchmarkError, match=r"holds a result.json that is none"):
        read_state(tmp_path)
