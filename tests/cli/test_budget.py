"""The command ``budget`` as a user meets it, with a method that asks for labels and trains for a moment."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.cli.strategies import read_budgets
from benchmark.errors import BenchmarkError

ASKS = '''
"""Ask and tell."""
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from benchmark.api import Method, hp, method
from benchmark.training.annotation import budget_in_labels, check_totals
from benchmark.training.loop import method_predictor


@method("asks")
class Asks(Method):
    """Asks about samples in some order."""

    @dataclass(frozen=True)
    class Params:
        acquisition: str = hp("first", choices=("random", "first", "last"))
        budget: str = hp("10%")
        balanced: bool = hp(False)
        rate: float = hp(1.0, 0.0, 2.0)

    def setup(self, data, run):
        self.totals = check_totals(budget_in_labels(self.params.budget, data.n), data.n, self.name)
        self.labels = data.labels.clone()

    def fit(self, data, run):
        order = {"first": np.arange(data.n), "last": np.arange(data.n)[::-1], "random": np.random.default_rng(run.seed).permutation(data.n)}
        for number, (paid, total) in enumerate(zip([0, 0, *self.totals], [0, *self.totals])):
            asked = order[self.params.acquisition][paid:total].copy()
            if len(asked):
                self.labels[asked] = torch.from_numpy(run.oracle.annotate(asked, number))
            networks = run.networks(1, name="round")
            predictor = method_predictor(self, networks)
            for epoch in run.epochs(f"round{number}", networks, state=self, predictor=predictor if number == len(self.totals) else None):
                for batch in run.loader(labels=self.labels):
                    run.step(networks, F.cross_entropy(networks[0](batch.images), batch.labels), len(batch))
            run.end_round(networks, predictor)
        return networks

    def label_quality(self):
        return -(self.labels != self.data.labels).float()
'''
MORE = '''
from dataclasses import dataclass
from benchmark.api import Method, hp, method


@method("timid")
class Timid(Method):
    """Knows one strategy only, and cannot run on anything."""

    @dataclass(frozen=True)
    class Params:
        acquisition: str = hp("random", choices=("random",))
        budget: str = hp("10%")

    def supports(self, data):
        return "it is too shy"
'''


@pytest.fixture
def spend(bench, tmp_path: Path, toys: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs ``budget`` with toys; returns the exit code."""
    import torch

    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)  # the worker in this process must not change it for other tests
    (tmp_path / "toys" / "asks.py").write_text(ASKS, encoding="utf-8")

    def call(*words: str) -> int:
        small = {
            "--methods": "asks",
            "--datasets": "toy",
            "--epochs": "1",
            "--device": "cpu",
            "--jobs": "1",
            "--seeds": "0",
            "--budget": "8,16",
        }
        unset = [part for option, value in small.items() if option not in words for part in (option, value)]
        return bench("budget", *unset, "--no-tracking", "--plugin", str(toys.parent), *words)

    return call


def planned(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    """Method and noise of the planned cells, without repeats."""
    return list(dict.fromkeys((cell["method"], cell["noise"]) for cell in json.loads(capsys.readouterr().out)["cells"]))


# ---------------------------------------------------------------------------------------------------------- a campaign


def test_a_campaign_and_the_same_again(spend, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--methods", "asks,works", "--strategies", "last", "--seeds", "0-1", "--noise", "0.4", "--out", "deep/out")
    assert spend(*words) == 0
    first = capsys.readouterr()
    assert first.err.startswith(
        "2 strategies and 1 other method × 1 data set × 1 noise setting × 2 seeds, ce on clean labels added, 8 cells: 8 missing; 8 to run"
    )
    assert "toy · symmetric:0.4 · quick:epochs=1 · balanced_accuracy\n" in first.out
    header = next(line for line in first.out.splitlines() if "strategy" in line)
    assert re.split(r"\s{2,}", header.strip()) == [
        *("method", "strategy", "n", "at 0", "at 8", "at 16", "area", "vs random", "labels to 95 %", "paid", "found wrong", "marks")
    ]
    assert {tuple(line.split()[:3]) for line in first.out.splitlines() if line.startswith((" asks", " works"))} == {
        ("asks", "last", "2"),
        ("asks", "random", "2"),
        ("works", "–", "2"),
    }
    assert re.search(
        r"^(the only other strategy does not beat|1 of 1 strategy beats) random by more than a standard error", first.out, re.M
    )
    assert "reference: ce trained on clean labels" in first.out
    files = {path.name: path for path in (tmp_path / "deep" / "out").iterdir()}
    assert sorted(files) == ["budget.csv", "budget.png", "budget.svg", "curves.csv"]
    assert "written: deep/out/curves.csv" in first.err
    points = list(csv.DictReader(files["curves.csv"].open()))
    assert [row["paid"] for row in points if (row["strategy"], row["seed"]) == ("last", "1")] == ["0.0", "8.0", "16.0"]
    assert len(points) == 2 * 2 * 3 + 2 + 2

    assert spend(*words, "--format", "csv", "--out", "again") == 0
    again = capsys.readouterr()
    assert "8 done; nothing to run" in again.err
    assert again.out == files["budget.csv"].read_text()
    assert (tmp_path / "again" / "budget.svg").read_bytes() == files["budget.svg"].read_bytes()

    assert spend(*words, "--metric", "macro_f1", "--reference", "none", "--format", "json", "--quiet") == 0
    other = capsys.readouterr()
    document = json.loads(other.out)
    assert other.err == "" and (document["metric"], document["reference"]) == ("macro_f1", None)
    assert [line["kind"]["method"] for line in document["panels"][0]["lines"] if line["kind"]["strategy"] is None] == ["works"]


def test_several_tables_end_in_one_line(spend, capsys: pytest.CaptureFixture[str]) -> None:
    assert spend("--noise", "0.2,0.4", "--strategies", "random", "--reference", "none") == 0
    printed = capsys.readouterr().out
    assert printed.count("area, which sorts:") == 2 and "labels to" not in printed
    assert printed.splitlines()[-1] == "no strategy but random has finished runs, so none is compared with it"


def test_bad_cells_do_not_lose_good_ones(spend, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "toys" / "more.py").write_text(MORE, encoding="utf-8")
    assert spend("--methods", "asks,timid,fails", "--strategies", "last", "--noise", "0.4") == 1
    printed = capsys.readouterr()
    assert "skipped; it is too shy" in printed.out
    assert [line.split("  ")[0] for line in printed.err.splitlines() if line.startswith("failed")] == ["failed"]
    assert " last " in printed.out and "whether a strategy beats random cannot be said" in printed.out


# --------------------------------------------------------------------------------------------------------------- cells


def test_every_strategy_by_default(spend, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert spend("--dry-run", "--format", "json") == 0
    assert planned(capsys) == [
        ("asks:acquisition=random:budget=8+16", "symmetric:0.4"),
        ("asks:budget=8+16", "symmetric:0.4"),
        ("asks:acquisition=last:budget=8+16", "symmetric:0.4"),
        ("ce", "none"),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["toys"]


def test_random_is_always_there_and_others_keep_what_they_know(spend, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "toys" / "more.py").write_text(MORE, encoding="utf-8")
    words = ("--strategies", "last:balanced=true,random:balanced=true", "--budget", "5%, 10.0%", "--reference", "none", "--noise", "none")
    assert spend("--methods", "asks:rate=0.5,ce", *words, "--dry-run", "--format", "json") == 0
    assert [method for method, _ in planned(capsys)] == [
        "asks:acquisition=last:budget=5%+10%:balanced=True:rate=0.5",
        "asks:acquisition=random:budget=5%+10%:balanced=True:rate=0.5",
        "asks:acquisition=random:budget=5%+10%:rate=0.5",
        "ce",
    ]
    assert spend("--methods", "asks,timid", "--strategies", "last", "--reference", "none", "--dry-run", "--format", "json") == 0
    assert [method for method, _ in planned(capsys)] == [
        "asks:acquisition=last:budget=8+16",
        "asks:acquisition=random:budget=8+16",
        "timid:budget=8+16",
    ]


def test_sets_reach_whom_they_name(spend, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--strategies", "random", "--dry-run", "--format", "json")
    assert (
        spend(*words, "--set", "works.strength=0.5", "--set", "asks.rate=[0.5,1]", "--reference", "works", "--set", "toy.subset=0.9") == 0
    )
    assert planned(capsys) == [
        ("asks:acquisition=random:budget=8+16:rate=0.5", "symmetric:0.4"),
        ("asks:acquisition=random:budget=8+16", "symmetric:0.4"),
        ("works:strength=0.5", "none"),
    ]
    assert spend(*words, "--methods", "asks,works", "--noise", "none", "--reference", "works") == 0
    assert planned(capsys) == [("asks:acquisition=random:budget=8+16", "none"), ("works", "none")]  # one run is both


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--budget", "10%,5%"), "--budget 10%,5%: 5% is not more than a budget before it; write growing totals"),
        (("--budget", "16,16"), "--budget 16,16: 16 is not more than a budget before it"),
        (("--budget", "5%,8,4%"), "--budget 5%,8,4%: 4% is not more than a budget before it"),
        (("--budget", "0"), "--budget 0: a budget of 0 is not possible"),
        (("--budget", "0%"), "--budget 0%: a budget of 0% is not possible"),
        (
            ("--budget", "50%,101%"),
            "--budget 50%,101%: a budget of 101% is not possible; write at least 1 label, or a share of at most 100%",
        ),
        (("--budget", "0.5"), "--budget 0.5: a budget of 0.5 is not possible"),
        (("--budget", "many"), "--budget many: 'many' is no budget; write a number of labels (70) or a share of the training samples (5%)"),
        (("--budget", "5%,,10%"), "--budget 5%,,10%: '' is no budget"),
        (("--budget", ""), "--budget : '' is no budget"),
        (("--budget", "nan%"), "--budget nan%: 'nan%' is no budget"),
        (("--methods", "works,ce"), "--methods works, ce: none of them asks for labels; add one that does: "),
        (("--methods", "ask"), "unknown method 'ask'; did you mean 'asks'"),
        (("--strategies", "lst"), "unknown strategy 'lst'; did you mean 'last' or 'first'?; known: first, last, random"),
        (("--strategies", "last:3"), "--strategies 'last:3': only balanced=true may follow the name of a strategy"),
        (("--strategies", "last:rate=1"), "--strategies 'last:rate=1': only balanced=true may follow"),
        (("--strategies", "last:balanced=maybe"), "asks.balanced: 'maybe' is not true or false"),
        (("--strategies", ""), "--strategies is empty"),
        (("--metric", "balanced_acuracy"), "unknown --metric 'balanced_acuracy'; did you mean 'balanced_accuracy'"),
        (("--metric", "nll"), "unknown --metric 'nll'"),
        (("--methods", "asks:budget=5%"), "asks is given budget of its own; leave it out and use --budget"),
        (("--set", "asks.acquisition=last"), "asks is given acquisition of its own; leave it out and use --strategies"),
        (("--reference", "asks"), "--reference asks asks for labels itself"),
        (("--reference", "ce,works"), "--reference 'ce,works' names 2 methods"),
        (("--reference", "cee"), "unknown method 'cee'"),
        (("--reference", "works", "--set", "works.strength=[0.5,1]"), "--set makes 2 references of one: works, works:strength=0.5"),
        (("--set", "workz.strength=1"), "unknown plugin in --set 'workz'"),
        (("--out", "toys/toys.py"), "--out toys/toys.py is a file; give a folder"),
        (("--out", "toys/toys.py/x"), "--out toys/toys.py/x: nothing can be written to "),
        (("--format", "html"), "unknown --format 'html'"),
        (("--seeds", "x"), "--seeds 'x'"),
        (("--epochs", "0"), "protocol.epochs = 0 is outside"),
    ],
)
def test_one_line_and_nothing_written(
    spend, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert spend(*words) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {message}"), printed.err
    assert len(printed.err.splitlines()) == 1 and printed.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["toys"]


@pytest.mark.parametrize("budget", ["8,60", "5%,1"])
def test_more_labels_than_samples_stop_the_command_before_its_first_run(spend, tmp_path: Path, capsys, budget: str) -> None:
    assert spend("--budget", budget, "--seeds", "0-1", "--quiet") == 2
    printed = capsys.readouterr().err
    assert len(printed.splitlines()) == 1
    assert re.match(r"error: asks on toy would pay for (60 labels and there are \d\d training samples|1, 1 labels in all)", printed)
    assert not (tmp_path / "runs").exists()


def test_shares_too_small_for_the_data_fail_in_their_own_words(spend, capsys: pytest.CaptureFixture[str]) -> None:
    assert spend("--budget", "1%,2%", "--strategies", "random", "--reference", "none") == 1
    printed = capsys.readouterr()
    assert "failed  asks:acquisition=random:budget=1%+2% toy symmetric:0.4 seed 0: asks would pay for 1, 1 labels in all" in printed.err
    assert "Traceback" not in printed.err and printed.out == ""


def test_budgets_are_written_in_one_way() -> None:
    assert read_budgets(" 5.0% ,10%+ 20.50%") == "5%+10%+20.5%"
    assert read_budgets("070,12345678") == "70+12345678"
    assert read_budgets("0.1%,50,100%") == "0.1%+50+100%"
    with pytest.raises(BenchmarkError, match=r"'1e2' is no budget"):
        read_budgets("1e2")


@pytest.mark.parametrize("words", ["budget --help", "budget --budget x"])
def test_what_needs_no_data_loads_nothing_heavy(words: str) -> None:
    loaded = "{'torch', 'numpy', 'matplotlib'} & set(sys.modules)"
    code = f"import sys\nfrom benchmark.cli import main\nprint(main(sys.argv[1:]), *{loaded}, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, *words.split()], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.splitlines()[-1] == ("0" if words.endswith("help") else "2")


def test_without_out_nothing_is_drawn(spend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # importing it fails
    assert spend("--strategies", "random", "--reference", "none", "--quiet") == 0
