"""The sweep command as a user meets it, with training that takes a moment."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli import main
from sweeps.presets import preset_files

SMALL = {
    "--methods": "works", "--datasets": "toy", "--epochs": "1", "--device": "cpu", "--jobs": "1", "--trials": "3", "--seeds": "0-1",
    "--fresh-seeds": "100", "--noise": "0.2",
}  # fmt: skip

NOTES = '''
"""A method that writes a line for each run that it trains."""
import os
import time
from dataclasses import dataclass

import torch.nn.functional as F

from benchmark.api import Method, hp, method


@method("notes")
class Notes(Method):
    """Trains, and writes it down."""

    @dataclass(frozen=True)
    class Params:
        strength: float = hp(1.0, 0.0, 2.0)

    def training_step(self, batch, networks, epoch):
        time.sleep(float(os.environ.get("NAP", "0")))
        return F.cross_entropy(networks[0](batch.images), batch.labels)

    def end_epoch(self, networks, epoch, run):
        with open(os.environ["NOTES"], "a") as file:
            file.write(f"{self.params.strength} {run.seed} {epoch}\\n")
'''


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def sweep(bench, toys: Path) -> Callable[..., int]:
    """A small search; what the words name takes the place of what is small."""

    def call(*words: str) -> int:
        unset = [part for option, value in SMALL.items() if option not in words for part in (option, value)]
        return bench("sweep", *unset, "--no-tracking", "--plugin", str(toys), *words)

    return call


def stamps(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


def trained(runs: Path) -> dict[str, int]:
    """When each run was finished."""
    return {path.parent.name: path.stat().st_mtime_ns for path in runs.glob("*/result.json")}


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr; nothing may be on stdout."""
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1, printed.err
    return printed.err


# --------------------------------------------------------------------------------------------------------------- a sweep


def test_a_sweep_and_the_same_again(sweep, bench, tmp_path: Path, capsys) -> None:
    words = ("--methods", "works,ce", "--fresh-seeds", "100-101", "--out", "out")
    assert sweep(*words) == 0
    first = capsys.readouterr()
    lines = first.err.splitlines()
    assert lines[0] == "2 searches × 3 trials × 2 seeds = at most 12 cells, then default and best setting on 2 fresh seeds"
    assert re.search(r"^works · toy · symmetric:0\.2  trial 1/3: \d+\.\d \(default\), best \d+\.\d$", first.err, re.MULTILINE)
    assert re.search(r"^ce · toy · symmetric:0\.2  trial 3/3: ", first.err, re.MULTILINE)
    assert "runs/sweeps/journal.log" in lines[-1] and "Traceback" not in first.err and "Warning" not in first.err
    assert "\x1b" not in first.err + first.out
    assert "toy · symmetric:0.2 · quick" in first.out and "tuned - default" in first.out
    assert re.search(r"^ ?works +3 ", first.out, re.MULTILINE) and re.search(r"^ ?ce +3 ", first.out, re.MULTILINE)

    (found,) = [path.name for path in (tmp_path / "out").glob("search-works-*.svg")]
    digest = found.removeprefix("search-works-").removesuffix(".svg")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"sweep.md", "sweep.csv", "sweep.json", "pareto-1.svg", "pareto-1.png", f"trials-works-{digest}.csv"} <= names
    assert len(names) == 3 + 2 + 2 * 3
    assert [line.removeprefix("written: out/") for line in lines if line.startswith("written: ")] and names == {
        line.removeprefix("written: out/") for line in lines if line.startswith("written: ")
    }
    rows = list(csv.DictReader((tmp_path / "out" / f"trials-works-{digest}.csv").open()))
    assert [row["trial"] for row in rows] == ["1", "2", "3"] and rows[0]["source"] == "default"
    assert {row["given_up"] for row in rows} == {""} and "True" in {row["pareto"] for row in rows}
    assert float(rows[0]["works.strength"]) == 1.0 and 0 <= float(rows[1]["works.strength"]) <= 2
    assert float(rows[0]["value"]) == pytest.approx((float(rows[0]["seed_0"]) + float(rows[0]["seed_1"])) / 2)

    before, pictures = trained(tmp_path / "runs"), stamps(tmp_path / "out")
    contents = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert sweep(*words, "--quiet") == 0
    second = capsys.readouterr()
    assert (second.err, second.out) == ("", first.out)
    assert trained(tmp_path / "runs") == before
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == contents
    assert stamps(tmp_path / "out").keys() == pictures.keys()

    assert sweep(*words[:4], "--trials", "4", "--quiet", "--format", "json") == 0
    more = json.loads(capsys.readouterr().out)
    assert [(one["budget"], len(one["trials"])) for one in more] == [(4, 4)] * 2
    assert [[trial["source"] for trial in one["trials"]] for one in more] == [["default", "search", "search", "search"]] * 2
    after = trained(tmp_path / "runs")
    assert before.items() <= after.items() and 4 <= len(after) - len(before) <= 8
    assert sweep(*words[:4], "--quiet", "--format", "json") == 0  # the smaller budget again
    less = json.loads(capsys.readouterr().out)
    assert [one["trials"] for one in less] == [one["trials"][:3] for one in more] and trained(tmp_path / "runs").keys() >= after.keys()
    assert [one["best"] for one in less] == [max(one["trials"], key=lambda t: (t["value"], t["source"] == "default")) for one in less]
    assert bench("report", "--plugin", str(tmp_path / "toys" / "toys.py"), "--format", "csv") == 0


def test_every_method_gets_as_many_trials_whatever_happens(sweep, capsys) -> None:
    assert sweep("--methods", "works,fails,diverges,declines", "--format", "json") == 0
    printed = capsys.readouterr()
    found = {one["plugin"]: one for one in json.loads(printed.out)}
    assert {name: len(one["trials"]) for name, one in found.items() if name != "declines"} == {"works": 3, "fails": 3, "diverges": 3}
    assert found["declines"]["reason"] == "it is too shy" and found["declines"]["best"] is None and len(found["declines"]["trials"]) < 2
    assert {name: one["given_up"] for name, one in found.items() if name != "declines"} == {"works": 0, "fails": 3, "diverges": 3}
    assert all(trial["value"] is None and "[bold]no[/bold] luck" in trial["reason"] for trial in found["fails"]["trials"])
    assert all(trial["reason"].startswith("diverged: ") and trial["seconds"] > 0 for trial in found["diverges"]["trials"])
    assert "fails · toy · symmetric:0.2  trial 1/3: failed: RuntimeError: [bold]no[/bold] luck" in printed.err
    assert "Traceback" not in printed.err


def test_nothing_that_works_is_a_failure(sweep, capsys) -> None:
    assert sweep("--methods", "fails", "--trials", "2") == 1
    assert "no trial has a value" in capsys.readouterr().out
    assert sweep("--methods", "declines", "--quiet") == 0
    assert "skipped: it is too shy" in capsys.readouterr().out


def test_the_command_of_the_best_setting_repeats_it(sweep, bench, toys: Path, tmp_path: Path, capsys) -> None:
    """With the places and devices of the first command there is nothing left to train."""
    shared = ("--set", "protocol.batch_size=16", "--set", "symmetric.rate=0.3", "--set", "protocol.lr=0.002")
    assert sweep("--format", "json", "--trials", "4", "--search", "protocol.weight_decay=[0.01,0.02,0.03]", *shared) == 0
    (found,) = json.loads(capsys.readouterr().out)
    words = shlex.split(found["command"])
    assert words[:4] == ["python", "-m", "benchmark", "run"] and found["keys"]["tuned"]
    assert main([*words[3:], "--plugin", str(toys), "--dry-run"]) == 0
    assert "1 done; nothing to run" in capsys.readouterr().err


def test_set_values_are_part_of_the_repeated_command(sweep, toys: Path, capsys) -> None:
    assert sweep("--format", "json", "--trials", "2", "--set", "works.strength=0.25") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert list(found["space"]) == ["protocol.lr", "protocol.weight_decay"]
    assert main([*shlex.split(found["command"])[3:], "--plugin", str(toys), "--dry-run"]) == 0
    assert "1 done; nothing to run" in capsys.readouterr().err


def test_one_of_several_methods_is_set(sweep, capsys) -> None:
    assert sweep("--methods", "works,ce", "--set", "works.strength=0.5", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "works.strength" not in printed and printed.count("protocol.lr ") == 2


FAR = '''
"""A method whose presets lie beyond what is searched."""
import os
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F

from benchmark.api import Method, hp, method


@method("far")
class Far(Method):
    """Trains, where it may."""

    @dataclass(frozen=True)
    class Params:
        x: float = hp(0.5, 0.0, 10.0, search=(0.2, 1.0))
        kind: str = hp("a", choices=("a", "b"))
        kept: int = hp(1, 0, 9, tune=False)

    presets: ClassVar = {"paper": {"x": 8.0, "kind": "b", "kept": 7}, "near": {"x": 0.75}}

    def supports(self, data):
        refused = os.environ.get("REFUSED", "")
        return f"not at {refused}" if refused and self.params.x == float(refused) else None

    def training_step(self, batch, networks, epoch):
        if os.environ.get("UNLUCKY") in ("always", str(self.params.x)):
            raise RuntimeError("no luck")
        return F.cross_entropy(networks[0](batch.images), batch.labels)
'''


@pytest.fixture
def far(toys: Path, sweep) -> Callable[..., int]:
    path = toys.with_name("far.py")
    path.write_text(FAR, encoding="utf-8")
    fixed = ("--set", "protocol.lr=0.001", "--set", "protocol.weight_decay=0", "--seeds", "0")
    return lambda *words: sweep("--methods", "far", "--plugin", str(path), *fixed, "--format", "json", *words)


def spec_of(runs: Path, seed: int, **params: Any) -> list[dict[str, Any]]:
    """The runs of a seed whose method has these values."""
    specs = [json.loads(path.read_text()) for path in runs.glob("*/spec.json")]
    return [spec for spec in specs if spec["seed"] == seed and params.items() <= spec["method"]["params"].items()]


def test_a_preset_beyond_the_space_is_run_whole(far, toys: Path, tmp_path: Path, capsys) -> None:
    assert far("--out", "out") == 0
    printed = capsys.readouterr()
    (found,) = json.loads(printed.out)
    assert found["space"]["far.x"] == {"low": 0.2, "high": 1.0} and list(found["space"]) == ["far.x", "far.kind"]
    assert [trial["source"] for trial in found["trials"]] == ["default", "preset paper", "preset near"]
    assert found["trials"][1]["params"] == {"far.x": 8.0, "far.kind": "b", "far.kept": 7}
    assert found["trials"][2]["params"] == {"far.x": 0.75, "far.kind": "a"}
    (spec,) = spec_of(tmp_path / "runs", 0, x=8.0)
    assert spec["method"]["params"] == {"x": 8.0, "kind": "b", "kept": 7}
    assert "trial 2/3: " in printed.err and "(preset paper)" in printed.err
    (path,) = (tmp_path / "out").glob("trials-far-*.csv")
    rows = list(csv.DictReader(path.open()))
    assert [(row["far.x"], row["far.kept"]) for row in rows] == [("0.5", ""), ("8.0", "7"), ("0.75", "")]

    from sweeps.storage import open_storage

    with open_storage(None, tmp_path / "runs") as (storage, _):
        (study,) = storage.get_all_studies()
        told = [trial.params for trial in storage.get_all_trials(study._study_id)]
    assert told == [{"far.x": 0.5, "far.kind": "a"}, {"far.x": 1.0, "far.kind": "b"}, {"far.x": 0.75, "far.kind": "a"}]


def test_the_command_of_a_preset_beyond_the_space_repeats_it(far, toys: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the best, because the default fails."""
    monkeypatch.setenv("UNLUCKY", "0.5")
    assert far("--trials", "2", "--search", "far.x=0.6..0.9", "--set", "far.kind=b") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert [(trial["source"], trial["params"]["far.x"]) for trial in found["trials"]] == [("default", 0.5), ("preset paper", 8.0)]
    assert (found["given_up"], found["best"]["source"]) == (1, "preset paper")
    words = shlex.split(found["command"])
    assert main([*words[3:], "--plugin", str(toys), "--plugin", str(toys.with_name("far.py")), "--dry-run"]) == 0
    assert "1 done; nothing to run" in capsys.readouterr().err


def test_a_search_leaves_the_default_where_it_is(sweep, tmp_path: Path, capsys) -> None:
    assert sweep("--search", "works.strength=1.5..2", "--trials", "2", "--seeds", "0", "--format", "json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["space"]["works.strength"] == {"low": 1.5, "high": 2.0}
    assert found["trials"][0]["params"]["works.strength"] == 1.0 and 1.5 <= found["trials"][1]["params"]["works.strength"] <= 2.0
    assert len(spec_of(tmp_path / "runs", 0, strength=1.0)) == 1


def test_only_a_default_that_is_skipped_ends_a_study(far, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFUSED", "8.0")
    assert far("--trials", "4") == 0
    printed = capsys.readouterr()
    (found,) = json.loads(printed.out)
    assert (found["reason"], len(found["trials"]), found["given_up"], found["trials"][1]["reason"]) == (None, 4, 1, "skipped: not at 8.0")
    assert "trial 2/4: skipped: not at 8.0" in printed.err
    monkeypatch.setenv("REFUSED", "0.5")
    assert far("--trials", "4", "--seeds", "1") == 0  # of which nothing is trained
    (found,) = json.loads(capsys.readouterr().out)
    assert found["reason"] == "not at 0.5" and len(found["trials"]) < 2


def test_what_failed_is_tried_again_only_when_asked(far, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNLUCKY", "always")
    assert far("--quiet") == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["given_up"], found["best"]) == (3, None)
    assert all(trial["reason"] == "failed: RuntimeError: no luck" for trial in found["trials"])
    monkeypatch.delenv("UNLUCKY")
    assert far("--quiet") == 1
    assert json.loads(capsys.readouterr().out)[0]["trials"] == found["trials"]
    assert far("--quiet", "--retry-failed") == 0
    (again,) = json.loads(capsys.readouterr().out)
    assert (again["given_up"], [trial["source"] for trial in again["trials"]]) == (0, [trial["source"] for trial in found["trials"]])
    assert [trial["params"] for trial in again["trials"]] == [trial["params"] for trial in found["trials"]]
    before = trained(tmp_path / "runs")
    assert far("--quiet", "--retry-failed") == 0
    assert json.loads(capsys.readouterr().out) == [again] and trained(tmp_path / "runs") == before


@pytest.mark.parametrize("batch", ["1", "2"])
def test_a_run_without_a_score_is_given_up(sweep, capsys, monkeypatch: pytest.MonkeyPatch, batch: str) -> None:
    """The headline of some data is not defined on some validation parts."""
    from benchmark.store import RunStore

    real = RunStore.result

    def unscored(self: RunStore, key: str) -> Any:
        result = real(self, key)
        if result and result["spec"]["method"]["params"]["strength"] != 1.0 and result["spec"]["seed"] == 1:
            return {**result, "metrics": {**result["metrics"], "validation": {}}}
        return result

    monkeypatch.setattr(RunStore, "result", unscored)
    assert sweep("--format", "json", "--batch", batch) == 0
    printed = capsys.readouterr()
    (found,) = json.loads(printed.out)
    assert (found["best"]["source"], found["given_up"], len(found["trials"])) == ("default", 2, 3)
    assert len(re.findall(r"trial [23]/3: no score: run [0-9a-f]{16} has no accuracy on the validation part", printed.err)) == 2


def test_fresh_seeds_that_are_missing_are_shown(far, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark.store import RunStore

    real = RunStore.result

    def lost(self: RunStore, key: str) -> Any:
        result = real(self, key)
        return None if result and result["spec"]["seed"] in (101, 103) else result

    monkeypatch.setattr(RunStore, "result", lost)
    assert far("--trials", "1", "--fresh-seeds", "100-104", "--format", "md", "--quiet") == 0
    row = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")][-1]
    assert [cell.strip() for cell in row.split("|")][4:7] == ["3 of 5 seeds", "3 of 5 seeds", "–"]


def test_a_storage_that_goes_away_in_the_middle(sweep, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    from optuna.exceptions import StorageInternalError

    from sweeps.study import Study

    def gone(self: Study, *told: Any) -> Any:
        raise StorageInternalError("the server at postgresql://user:secret@h/x\nhas closed the connection")

    with monkeypatch.context() as patched:
        patched.setattr(Study, "tell", gone)
        assert sweep("--quiet", "--storage", f"sqlite:///{tmp_path}/studies.db") == 2
    line = told(capsys)
    assert line.startswith(f"error: --storage sqlite:///{tmp_path}/studies.db is gone: ") and line.endswith(
        "; give the same command again\n"
    )
    assert "secret" not in line
    before = trained(tmp_path / "runs")
    assert sweep("--quiet", "--storage", f"sqlite:///{tmp_path}/studies.db", "--format", "json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (len(found["trials"]), found["trials"][0]["source"]) == (3, "default")
    assert before.items() <= trained(tmp_path / "runs").items()  # what was trained before counts


def test_a_method_that_is_named_twice_is_searched_once(sweep, capsys) -> None:
    assert sweep("--methods", "works,works", "--trials", "1", "--format", "json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


def test_grids_pruning_and_two_objectives(sweep, capsys) -> None:
    fixed = ("--set", "protocol.lr=0.001", "--set", "protocol.weight_decay=0")
    assert sweep("--sampler", "grid", "--search", "works.strength=[0.5,1,2]", *fixed, "--seeds", "0", "--format", "json", "--quiet") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert [trial["params"]["works.strength"] for trial in found["trials"]] == [0.5, 1.0, 2.0]
    assert [trial["source"] for trial in found["trials"]] == ["grid", "default", "grid"]

    words = ("--pruner", "wilcoxon", "--seeds", "0-4", "--trials", "2", "--format", "json", "--quiet")
    assert sweep(*words) == 0
    printed = capsys.readouterr()
    assert printed.err == "" and len(json.loads(printed.out)[0]["trials"]) == 2

    assert sweep("--objectives", "accuracy,seconds", "--seeds", "0", "--trials", "2", "--quiet", "--out", "both") == 0
    assert capsys.readouterr().err == ""


def test_a_preset_and_what_overrides_it(sweep, tmp_path: Path, capsys) -> None:
    text = 'question = "?"\nmethods = "works"\ntrials = 9\nseeds = "3"\nset = ["protocol.lr=0.01"]\nsearch = ["works.strength=0.5..1.5"]\n'
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    assert main(["sweep", "--preset", "mine.toml", "--datasets", "toy", "--trials", "5", "--plugin", "toys/toys.py", "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("1 search × 5 trials × 1 seed = at most 5 cells, then default and best setting on 5 fresh seeds")
    assert re.search(r"works\.strength +0\.5 \.\. 1\.5 ", printed.out) and "protocol.lr" not in printed.out


@pytest.mark.parametrize("name", preset_files())
def test_the_presets_of_the_project(bench, tmp_path: Path, capsys, name: str) -> None:
    assert bench("sweep", "--preset", name, "--dry-run") == 0
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 1 and "searches × " in printed.err
    assert "(first: default)" in printed.out or "grid" in name
    assert [path.name for path in tmp_path.iterdir()] == ["toys"]


def test_a_dry_run_writes_nothing(sweep, tmp_path: Path, capsys) -> None:
    assert sweep("--dry-run", "--out", "out", "--search", "works.strength=0.5..2:step=0.5") == 0
    printed = capsys.readouterr()
    assert [path.name for path in tmp_path.iterdir()] == ["toys"]
    assert len(printed.err.splitlines()) == 1
    rows = {line.split("  ")[1].strip(): line for line in (re.sub(" {2,}", "  ", line) for line in printed.out.splitlines()[1:])}
    assert re.search(r"0\.5 \.\. 2  step 0\.5  1\.0$", rows["works.strength"])
    assert re.search(r"0\.0001 \.\. 0\.01  log  0\.001$", rows["protocol.lr"])
    assert "(first: default)" in rows


# ------------------------------------------------------------------------------------------------------------- bad input


FIXED = ("--set", "protocol.lr=0.001", "--set", "protocol.weight_decay=0")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--trials", "0"), "error: --trials 0: a whole number from 1 on"),
        (("--trials", "-1"), "error: --trials -1: a whole number from 1 on"),
        (("--trials", "x"), "error: Invalid value for '--trials'"),
        (("--batch", "0"), "error: --batch 0: a whole number from 1 on"),
        (("--sampler-seed", "-1"), "error: --sampler-seed -1: a whole number from 0 on"),
        (("--sampler", "tep"), "error: unknown --sampler 'tep'; did you mean 'tpe'?"),
        (("--pruner", "wilcoxn"), "error: unknown --pruner 'wilcoxn'; did you mean 'wilcoxon'?"),
        (("--objectives", "acuracy"), "error: unknown --objectives 'acuracy'; did you mean 'accuracy'"),
        (("--objectives", "accuracy,"), "error: unknown --objectives 'accuracy,'; did you mean 'accuracy' or 'accuracy,seconds'?"),
        (("--objectives", "accuracy,accuracy"), "error: unknown --objectives 'accuracy,accuracy'; did you mean 'accuracy'"),
        (("--objectives", "seconds"), "error: unknown --objectives 'seconds'"),
        (("--search", "works.strenght=0..1"), "error: unknown parameter of works in --search 'strenght'; did you mean 'strength'?"),
        (("--search", "work.strength=0..1"), "error: unknown plugin in --search 'work'; did you mean 'works'?"),
        (("--search", "ce.x=1..2"), "error: unknown plugin in --search 'ce'; known: protocol, works; only this command's methods"),
        (("--search", "works.strength"), "error: --search 'works.strength': write method.parameter=LOW..HIGH"),
        (("--search", "works.strength=1..1"), "error: --search works.strength=1..1: the range is empty; write the lower end first"),
        (("--search", "works.strength=0..1:log"), "error: --search works.strength=0..1:log: a logarithmic scale starts above 0"),
        (("--search", "works.strength=0..9"), "error: works.strength = 9.0 is outside [0, 2]"),
        (
            ("--search", "works.strength=0..1", "--search", "works.strength=[0,1]"),
            "error: --search 'works.strength=[0,1]': ",
        ),
        (("--search", "protocol.milestones=[0.5,x]"), "error: protocol: milestones 'x' is not shares"),
        (("--search", "protocol.backbone=[cnn_small,resnet99]"), "error: unknown "),
        (("--search", "protocol.augmentation=[crop,flop]"), "error: unknown protocol.augmentation 'flop'; did you mean 'flip'"),
        (("--search", "protocol.epochs=1..2"), "error: protocol.epochs is set to one value and searched too; leave one of them out"),
        (("--set", "works.strength=1", "--search", "works.strength=0..1"), "error: works.strength is set to one value and searched too"),
        (("--set", "works.strength=[0.5,1]"), "error: --set works.strength=[…] is a grid of its own; write --search works.strength=[…]"),
        (("--set", "protocol.lr=[0.1,0.2]"), "error: --set protocol.lr takes one value"),
        (("--set", "works.strength=1", *FIXED), "error: nothing of works is left to search; take back a --set, or give --search"),
        (("--methods", "works:strength=0.5", *FIXED), "error: nothing of works:strength=0.5 is left to search"),
        (("--fresh-seeds", "1-3"), "error: --fresh-seeds 1-3: the search sees seed 1 of --seeds; choose others"),
        (("--fresh-seeds", "x"), "error: --fresh-seeds 'x': 'x' is neither a seed nor a range"),
        (("--seeds", ""), "error: --seeds '': '' is neither a seed nor a range"),
        (
            ("--pruner", "wilcoxon", "--seeds", "0-2"),
            "error: --pruner wilcoxon cannot tell settings apart before the fourth seed",
        ),
        (("--pruner", "wilcoxon", "--seeds", "0-5", "--objectives", "accuracy,seconds"), "error: --pruner wilcoxon compares accuracies"),
        (("--sampler", "grid"), "error: --sampler grid needs steps: write --search works.strength=[value,value]"),
        (
            ("--sampler", "grid", "--search", "works.strength=0..2:step=0.5", *FIXED),
            "error: the grid of works.strength has 5 points and --trials is 3; raise it, or search fewer values",
        ),
        (("--storage", "redis://user:secret@h/x"), "error: --storage redis://***@h/x: write the path of a journal file, or one of "),
        (("--storage", "toys"), "error: --storage "),
        (("--storage", "toys/toys.py"), "error: "),
        (("--storage", "postgresql://user:secret@127.0.0.1:1/x"), "error: --storage postgresql://***@127.0.0.1:1/x cannot be used: "),
        (("--preset", "quick_lok"), "error: unknown preset 'quick_lok'; did you mean 'quick_look'"),
        (("--preset", "none.toml"), "error: --preset none.toml: No such file or directory"),
        (("--preset", "toys/bad.toml"), "error: --preset toys/bad.toml is not TOML: "),
        (("--preset", "toys/key.toml"), "error: unknown option in key.toml 'trails'; did you mean 'trials'"),
        (("--preset", "toys/type.toml"), "error: --preset toys/type.toml: trials = '3' is not a whole number"),
        (("--out", "toys/toys.py"), "error: --out toys/toys.py is a file; give a folder"),
        (("--format", "jsn"), "error: unknown --format 'jsn'; did you mean 'json'?"),
        (("--methods", "wroks"), "error: unknown method 'wroks'; did you mean 'works'"),
        (("--methods", "works,seg_ce"), "error: method seg_ce is for segmentation and data set toy is for classification"),
        (("--epochs", "0"), "error: protocol.epochs = 0 is outside"),
        (("--jobs", "0"), "error: Invalid value for '--jobs'"),
    ],
)
def test_one_line_and_nothing_written(sweep, toys: Path, tmp_path: Path, capsys, words: tuple[str, ...], message: str) -> None:
    for name, text in {"bad": "trials = ", "key": "trails = 3", "type": "trials = '3'"}.items():
        toys.with_name(f"{name}.toml").write_text(text, encoding="utf-8")
    source = toys.read_bytes()
    assert sweep(*words, "--quiet") == 2
    line = told(capsys)
    assert line.startswith(message) and "secret" not in line
    assert [path.name for path in tmp_path.iterdir()] == ["toys"] and toys.read_bytes() == source


def test_a_study_of_another_search(sweep, tmp_path: Path, capsys) -> None:
    words = ("--study", "mine", "--trials", "1", "--seeds", "0", "--quiet")
    assert sweep(*words) == 0
    capsys.readouterr()
    before = trained(tmp_path / "runs")
    assert sweep(*words, "--sampler", "random") == 2
    line = told(capsys)
    assert re.fullmatch(
        r"error: study 'mine/works/toy/symmetric:0\.2' is another search \([0-9a-f]{8}; this one is [0-9a-f]{8}\), it differs in sampler; "
        r"choose another --study, or leave it out\n",
        line,
    )
    assert trained(tmp_path / "runs") == before
    assert sweep(*words, "--sampler", "random", "--study", "other") == 0


def test_the_journal_may_lie_elsewhere(sweep, tmp_path: Path, capsys) -> None:
    assert sweep("--storage", "studies/all.journal", "--trials", "1", "--seeds", "0") == 0
    assert "studies: studies/all.journal" in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "studies" / "all.journal").is_file() and not (tmp_path / "runs" / "sweeps").exists()


# ------------------------------------------------------------------------------------------------------------ interruption


def test_a_method_that_presses_ctrl_c(sweep, tmp_path: Path, capsys) -> None:
    assert sweep("--methods", "works,stopped") == 130
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == "interrupted; 0 of 6 trials done; run the same command again to resume"
    assert (printed.out, "Traceback" in printed.err) == ("", False)
    assert sweep("--methods", "works", "--quiet", "--format", "json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (len(found["trials"]), found["trials"][0]["source"]) == (3, "default")


def test_a_full_disk_stops_the_sweep_and_costs_no_trial(sweep, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    real = os.fsync

    def full(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if len(path.parent.name) == 16 and not path.name.startswith("spec.json"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert sweep("--quiet") == 2
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1].startswith("error: the search stopped: no space left below runs")
    assert printed.err.splitlines()[-1].endswith("its trials wait, give the same command again") and "Traceback" not in printed.err
    assert sweep("--quiet", "--format", "json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["given_up"], len(found["trials"])) == (0, 3)


@pytest.fixture
def notes(toys: Path) -> Path:
    path = toys.with_name("notes.py")
    path.write_text(NOTES, encoding="utf-8")
    return path


class Driver:
    """The command in a process of its own, over ``folder/runs``."""

    def __init__(self, folder: Path, toys: Path, nap: float, *words: str) -> None:
        folder.mkdir(exist_ok=True)
        plugins = ("--plugin", str(toys), "--plugin", str(toys.with_name("notes.py")))
        usual = {**SMALL, "--methods": "notes", "--trials": "6", "--seeds": "0", "--fresh-seeds": "100"}
        command = [
            sys.executable,
            "-m",
            "benchmark",
            "sweep",
            *(part for pair in usual.items() for part in pair),
            "--no-tracking",
            *plugins,
        ]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1", "NAP": str(nap)}
        environment["NOTES"] = str(folder / "notes.txt")
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": folder, "env": environment}
        self.folder, self.process = folder, subprocess.Popen([*command, "--format", "json", *words], **pipes)

    def wait_for(self, lines: int) -> None:
        """Until so many epochs are trained."""
        deadline = time.monotonic() + 120
        while len(self.lines) < lines:
            assert time.monotonic() < deadline and self.process.poll() is None, "it did not happen"
            time.sleep(0.02)

    @property
    def lines(self) -> list[str]:
        path = self.folder / "notes.txt"
        return path.read_text().splitlines() if path.exists() else []

    def end(self, code: int) -> tuple[str, str]:
        """What it printed, when it has ended with this code."""
        out, err = self.process.communicate(timeout=240)
        assert self.process.returncode == code, err
        assert "Traceback" not in err
        return out, err


def settings(out: str) -> list[tuple[str, dict[str, Any], float]]:
    (found,) = json.loads(out)
    return [(trial["source"], trial["params"], trial["value"]) for trial in found["trials"]]


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_the_middle_and_again(notes: Path, toys: Path, tmp_path: Path, how: signal.Signals, jobs: str) -> None:
    whole, _ = Driver(tmp_path / "whole", toys, 0.0).end(0)
    broken = Driver(tmp_path / "broken", toys, 0.3, "--jobs", jobs)
    broken.wait_for(3)
    broken.process.send_signal(how)
    if how == signal.SIGINT:
        out, err = broken.end(130)
        assert out == "" and re.fullmatch(
            r"interrupted; [2-5] of 6 trials done; run the same command again to resume", err.splitlines()[-1]
        )
    else:
        broken.process.communicate(timeout=60)
    again, _ = Driver(tmp_path / "broken", toys, 0.0, "--jobs", jobs).end(0)
    assert settings(again) == settings(whole)
    assert json.loads(again)[0]["metrics"] == json.loads(whole)[0]["metrics"]


@pytest.mark.slow
def test_two_drivers_train_every_run_once(notes: Path, toys: Path, tmp_path: Path) -> None:
    both = [Driver(tmp_path / "runs_of_two", toys, 0.1, "--trials", "9") for _ in range(2)]
    one, other = (driver.end(0)[0] for driver in both)
    assert settings(one) == settings(other) and len(settings(one)) == 9
    assert set(Counter(both[0].lines).values()) == {1}
    assert [source for source, _, _ in settings(one)].count("default") == 1


# ------------------------------------------------------------------------------------------------------------- dashboard


@pytest.mark.slow
def test_the_dashboard_shows_the_studies(sweep, tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard")
    assert sweep("--quiet") == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = "from optuna_dashboard._cli import main; main()"
    words = [sys.executable, "-c", code, "--host", "127.0.0.1", "--port", str(port), str(tmp_path / "runs" / "sweeps" / "journal.log")]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            found: dict[str, Any] = {}
            for _ in range(600):
                with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies", timeout=20) as answer:
                    found = json.load(answer)
                    break
                time.sleep(0.1)
            (study,) = found["study_summaries"]
            assert study["study_name"].startswith("works/toy/symmetric:0.2/")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies/{study['study_id']}", timeout=20) as answer:
                trials = json.load(answer)["trials"]
            assert [trial["state"] for trial in trials] == ["Complete"] * 3
        finally:
            server.terminate()
