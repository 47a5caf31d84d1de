"""The worker end to end, on a throw-away benchmark: what it commits, and that no kill changes a number."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark import worker
from benchmark.engines.base import Outcome, WorkerOptions
from benchmark.errors import BenchmarkError
from benchmark.files import read_lines
from benchmark.grammar import parse_settings
from benchmark.registry import Registry
from benchmark.spec import SCHEMA, expand, protocol
from benchmark.store import RunStore, Status

PLUGIN = '''
"""A tiny benchmark."""
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from benchmark.api import Arrays, Dataset, Method, dataset, hp, method


@dataset("tinyset", version=1)
class Tiny(Dataset):
    """Ninety images of three classes, some of them harder."""

    augmentation = ("flip",)

    def load(self, root):
        rng = np.random.default_rng(0)
        labels = np.arange(90) % 3
        images = rng.normal(60 + 60 * labels[:, None, None, None], 40, (90, 8, 8, 1)).clip(0, 255).astype(np.uint8)
        hardness = rng.random(90).astype(np.float32)
        return Arrays(images, labels, ("a", "b", "c"), hardness=hardness, paths=[f"{i}.png" for i in range(90)])


@method("probe")
class Probe(Method):
    """Cross-entropy that can go wrong in many ways."""

    @dataclass(frozen=True)
    class Params:
        how: str = hp("fine", help="what goes wrong")

    argument = "how"

    def supports(self, data):
        return "needs more classes" if self.params.how == "skip" else None

    def fit(self, data, run):
        if self.params.how == "raise":
            raise ValueError("two\\nlines")
        if self.params.how == "diverge early":
            networks = run.networks()
            for _ in run.epochs("early", networks):
                run.step(networks, torch.full((), float("nan")) * networks[0].head.bias.sum())
        if self.params.how == "blind":
            networks = run.networks()
            for _ in run.epochs("blind", networks):
                pass
            return networks
        self.scale = float("nan") if self.params.how == "diverge" else 1.0
        return super().fit(data, run)

    def training_step(self, batch, networks, epoch):
        return F.cross_entropy(networks[0](batch.images), batch.labels) * (self.scale if epoch else 1.0)

    def label_quality(self):
        quality = super().label_quality()
        if self.params.how == "no number":
            quality[3] = float("nan")
        return quality[:5] if self.params.how == "short" else quality

    def corrected_labels(self):
        labels = self.data.labels.clone()
        labels[0] = -1
        labels[1] = 7 if self.params.how == "class 7" else labels[1]
        return labels

    def suspects(self):
        return torch.zeros(4, dtype=torch.bool) if self.params.how == "few suspects" else None

    def auxiliary_predictions(self, networks, images):
        return {"uniform": torch.full((len(images), 3), 1 / 3)}

    def sample_columns(self):
        return {"mine": torch.arange(self.data.n)}

    def diagnostics(self):
        return {"scale": self.scale}
'''


class Bench:
    """A plugin folder, a runs folder and the worker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plugins = folder / "plugins"
        self.plugins.mkdir()
        (self.plugins / "tiny_benchmark.py").write_text(PLUGIN)
        self.events: list[dict[str, Any]] = []

    def options(self, runs: str = "runs", **changes: Any) -> WorkerOptions:
        settings = {"device": "cpu", "threads": 1, "data_root": self.folder / "data", "checkpoint_seconds": 0.0, **changes}
        return WorkerOptions(self.folder / runs, plugins=(str(self.plugins),), **settings)

    def register(self, method: str, runs: str = "runs", *, seed: int = 0, **settings: Any) -> str:
        (spec,) = expand(
            Registry((str(self.plugins),)),
            methods=parse_settings(method, what="method"),
            datasets=parse_settings("tinyset", what="dataset"),
            noise=parse_settings("symmetric:0.3", what="noise"),
            seeds=[seed],
            protocol=protocol("quick", {"epochs": 3, "batch_size": 16, "last_k": 2, **settings}),
            data_root=self.folder / "data",
        )
        return RunStore(self.folder / runs).register(spec)

    def execute(self, key: str, runs: str = "runs", **changes: Any) -> Outcome:
        return worker.execute(key, self.options(runs, **changes), self.events.append)

    def result(self, key: str, runs: str = "runs") -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / runs / key / "result.json").read_text())
        return found

    def names(self, key: str, runs: str = "runs") -> list[str]:
        """The run's files; ``system.jsonl`` comes only with a run that takes some seconds."""
        return sorted(path.name for path in (self.folder / runs / key).iterdir() if path.name != "system.jsonl")

    def error(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "runs" / key / "error.json").read_text())
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def numbers(result: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on when, where and how often a run was begun."""
    return {name: value for name, value in result.items() if name not in ("cost", "host", "started", "finished")}


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path / "predictions.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def test_a_run_commits_everything_that_the_design_lists(bench: Bench) -> None:
    key = bench.register("probe")
    outcome = bench.execute(key)
    assert (outcome.status, outcome.message) == ("done", "")
    assert bench.names(key) == ["history.jsonl", "log.txt", "predictions.npz", "result.json", "samples.parquet", "spec.json"]

    result = bench.result(key)
    assert list(result) == [
        *("schema", "run_key", "code_hash", "status", "reason", "spec", "metrics", "epochs", "noise", "data"),
        *("oracle", "diagnostics", "cost", "host", "started", "finished"),
    ]
    assert (result["schema"], result["run_key"], result["status"], result["reason"]) == (SCHEMA, key, "done", None)
    groups = {"last", "last_k", "selected", "best", "aux/uniform", "validation", "detection", "clean_kept", "correction"}
    assert set(result["metrics"]) == groups
    assert result["metrics"]["last"]["accuracy"] > 1 / 3
    assert result["epochs"]["last"] == 2 and result["epochs"]["last_k"] == 2
    assert result["data"]["n_train"] + result["data"]["n_val"] + result["data"]["n_test"] == 90
    assert result["noise"]["nominal_rate"] == 0.3
    assert result["oracle"] == [] and result["diagnostics"] == {"scale": 1.0}
    cost = result["cost"]
    assert cost["trained_epochs"] == 3 and cost["parameters"] > 50_000
    assert cost["peak_memory_mb"] > 10 and cost["gpu_peak_memory_mb"] is None
    assert cost["samples_per_second"] > 0 and cost["seconds"] >= cost["train_seconds"] > 0
    assert result["host"]["device"] == "cpu" and result["host"]["threads"] == 1 and result["host"]["versions"]["torch"]
    assert result["started"] <= result["finished"]


def test_predictions_have_the_arrays_that_the_design_lists(bench: Bench) -> None:
    key = bench.register("probe")
    bench.execute(key)
    result, found = bench.result(key), arrays(bench.folder / "runs" / key)
    n, v, t = (result["data"][f"n_{part}"] for part in ("train", "val", "test"))
    shapes = {name: array.shape for name, array in found.items()}
    expected = {"test_labels": (t,), "val_labels": (v,), "val_true": (v,), "test_last_k": (2, t, 3), "epochs_last_k": (2,)}
    expected |= {"test_selected": (t, 3), "test_best": (t, 3), "val_selected": (v, 3), "epoch_selected": (), "epoch_best": ()}
    expected |= {"aux_uniform": (t, 3), "train_given": (n,), "train_true": (n,), "train_quality": (n,), "train_suspect": (n,)}
    expected |= {"train_corrected": (n,), "train_hardness": (n,)}
    assert shapes == expected
    kinds = {name: array.dtype for name, array in found.items()}
    labels = ("test_labels", "val_labels", "val_true", "train_given", "train_true", "train_corrected", "epochs_last_k", "epoch_selected")
    assert all(kinds[name] == np.int64 for name in labels)
    assert all(kinds[name] == np.float32 for name in ("test_last_k", "test_selected", "train_quality", "train_hardness", "aux_uniform"))
    assert kinds["train_suspect"] == np.bool_
    assert found["train_corrected"][0] == -1
    np.testing.assert_allclose(found["test_last_k"].sum(axis=2), 1, atol=1e-5)


def test_samples_have_one_row_each(bench: Bench) -> None:
    key = bench.register("probe")
    bench.execute(key)
    folder = bench.folder / "runs" / key
    table, found = pd.read_parquet(folder / "samples.parquet"), arrays(folder)
    forecast = ["suggested", "confidence", "given_probability"]
    assert list(table.columns) == ["index", "given", "true", "quality", "suspect", "corrected", "hardness", *forecast, "mine", "path"]
    agree = table["suggested"] == table["given"]
    assert ((table["confidence"] == table["given_probability"]) == agree).all()
    assert (table["confidence"] >= table["given_probability"]).all()
    assert (table["path"] == [f"{i}.png" for i in table["index"]]).all()
    assert (table["true"] == table["index"] % 3).all()
    assert (table["given"] == found["train_given"]).all() and (table["quality"] == found["train_quality"]).all()


def test_progress_is_told(bench: Bench) -> None:
    key = bench.register("probe")
    bench.execute(key)
    assert [event["event"] for event in bench.events] == ["start", "epoch", "epoch", "epoch"]
    assert bench.events[0]["run_key"] == key and bench.events[0]["method"] == "probe:fine"
    assert bench.events[3]["epoch"] == 2 and bench.events[3]["accuracy"] is not None


def test_a_finished_run_is_not_trained_again(bench: Bench) -> None:
    key = bench.register("probe")
    bench.execute(key)
    before = (bench.folder / "runs" / key / "result.json").stat().st_mtime_ns
    bench.events.clear()
    assert bench.execute(key).status == "done"
    assert not bench.events
    assert (bench.folder / "runs" / key / "result.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("method", ["ce", "coteaching", "hsa"])
def test_two_runs_with_one_seed_have_the_same_numbers(bench: Bench, method: str) -> None:
    found = []
    for runs in ("one", "two"):
        key = bench.register(method, runs)
        assert bench.execute(key, runs).status == "done"
        torch.rand(3)
        found.append((numbers(bench.result(key, runs)), arrays(bench.folder / runs / key)))
    assert found[0][0] == found[1][0]
    assert all(np.array_equal(found[0][1][name], found[1][1][name]) for name in found[0][1])


def test_the_seed_matters(bench: Bench) -> None:
    metrics = []
    for seed in (0, 1):
        key = bench.register("ce", seed=seed)
        bench.execute(key)
        metrics.append(bench.result(key)["metrics"])
    assert metrics[0] != metrics[1]


def test_a_method_that_declines_is_skipped_with_its_reason(bench: Bench) -> None:
    key = bench.register("probe:skip")
    for _ in range(2):  # the second time from the store
        outcome = bench.execute(key)
        assert (outcome.status, outcome.message) == ("skipped", "needs more classes")
    result = bench.result(key)
    assert (result["status"], result["reason"], result["metrics"]) == ("skipped", "needs more classes", {})
    assert bench.names(key) == ["log.txt", "result.json", "spec.json"]


@pytest.mark.parametrize(("how", "where"), [("diverge", "epoch 2 of stage train"), ("diverge early", "epoch 1 of stage early")])
def test_a_run_that_diverges_is_committed_as_such(bench: Bench, how: str, where: str) -> None:
    """Even where the method never got to what its diagnostics read."""
    key = bench.register(f"probe:{how}")
    outcome = bench.execute(key)
    assert outcome.status == "diverged" and f"the loss is nan in {where}" in outcome.message
    result = bench.result(key)
    assert (result["status"], result["reason"]) == ("diverged", outcome.message)
    assert result["metrics"] == {} and result["epochs"] == {} and result["diagnostics"] == {}
    assert result["cost"]["peak_memory_mb"] > 10
    assert "last.pt" not in bench.names(key) and "predictions.npz" not in bench.names(key)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise", "ValueError: two lines"),
        ("blind", r"probe evaluated no epoch; its last stage must pass predictor= to run.epochs()"),
        ("short", "probe.label_quality() must return (50,), not (5,)"),
        ("no number", "probe.label_quality() must be finite"),
        ("few suspects", "probe.suspects() must return (50,), not (4,)"),
        ("class 7", "probe.corrected_labels() must lie in [-1, 3)"),
    ],
)
def test_a_run_that_fails_says_why(bench: Bench, how: str, message: str) -> None:
    key = bench.register(f"probe:{how}", test_fraction=0.3, val_fraction=0.2)
    outcome = bench.execute(key)
    assert (outcome.status, outcome.message) == ("failed", message)
    error = bench.error(key)
    assert error["type"] in ("ValueError", "BenchmarkError") and "Traceback" in error["traceback"]
    assert "Traceback" in (bench.folder / "runs" / key / "log.txt").read_text()
    assert "result.json" not in bench.names(key)
    assert "lease.json" not in bench.names(key)


def test_a_run_that_somebody_holds_is_busy(bench: Bench) -> None:
    key = bench.register("probe")
    with RunStore(bench.folder / "runs").lease(key):
        assert bench.execute(key).status == "busy"
    assert not bench.events
    assert bench.execute(key).status == "done"


def test_a_lease_that_is_lost_ends_the_run_without_a_trace(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark.errors import LeaseLostError
    from benchmark.lease import Lease

    calls = iter([None, LeaseLostError("taken over")])

    def check(self: Lease) -> None:
        if (error := next(calls, None)) is not None:
            raise error

    monkeypatch.setattr(Lease, "check", check)
    key = bench.register("probe")
    outcome = bench.execute(key)
    assert (outcome.status, outcome.message) == ("busy", "taken over")
    assert "error.json" not in bench.names(key) and "result.json" not in bench.names(key)


def test_a_key_that_nobody_registered(bench: Bench) -> None:
    outcome = bench.execute("0" * 16)
    assert outcome.status == "failed" and "no run 0000000000000000" in outcome.message


def test_a_gpu_that_is_not_there(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    key = bench.register("probe")
    outcome = bench.execute(key, device="cuda")
    assert (outcome.status, outcome.message) == ("failed", "--device cuda: this machine has 0 GPUs; see: python -m benchmark doctor")
    for text in ("tpu", "cuda:x", "mps"):
        with pytest.raises(BenchmarkError, match=rf"--device {text} is not auto, cpu or cuda"):
            worker.resolve_device(text)


def test_what_an_earlier_attempt_wrote_does_not_stay_in_the_history(bench: Bench) -> None:
    """A kill can leave lines, an empty folder of stages and a damaged checkpoint."""
    key = bench.register("probe")
    folder = bench.folder / "runs" / key
    (folder / "stages").mkdir()
    (folder / "last.pt").write_bytes(b"damaged")
    (folder / "history.jsonl").write_text('{"stage": "train", "epoch": 0}\n{"sta')
    assert bench.execute(key).status == "done"
    assert [row["epoch"] for row in read_lines(folder / "history.jsonl")] == [0, 1, 2]


# ------------------------------------------------------------------------------------------------------------- kills


def appears(folder: Path, pattern: str) -> Callable[[], bool]:
    """Whether a file of this pattern has been written since now."""

    def written() -> set[tuple[str, int]]:
        with contextlib.suppress(FileNotFoundError):  # a temporary file may go while it is looked at
            return {(path.name, path.stat().st_mtime_ns) for path in folder.glob(pattern)}
        return set()

    before = written()
    return lambda: bool(written() - before)


EPOCHS = {"ce": 3, "coteaching": 3, "hsa": 12}


@pytest.mark.slow
@pytest.mark.parametrize(("method", "kills"), [("ce", (1, 2, 3)), ("coteaching", (1, 3)), ("hsa", (2, 4, 8, 11))])
def test_no_kill_changes_a_number(bench: Bench, attempt: Callable[..., str], method: str, kills: tuple[int, ...]) -> None:
    """SIGKILL as soon as the k-th line of the history appears, for several k in turn, then to the end."""
    key = bench.register(method, "whole")
    assert bench.execute(key, "whole").status == "done"
    whole = read_lines(bench.folder / "whole" / key / "history.jsonl")
    assert len(whole) == EPOCHS[method]

    assert bench.register(method, "killed") == key
    folder = bench.folder / "killed" / key
    store = RunStore(bench.folder / "killed")
    for k in kills:
        attempt(bench.options("killed"), key, lambda k=k: len(read_lines(folder / "history.jsonl")) >= k)  # type: ignore[misc]
        if store.status(key, None) is Status.DONE:  # it was too fast
            break
        assert store.status(key, None) is Status.DEAD
    assert attempt(bench.options("killed"), key, lambda: False) == "done"

    assert numbers(bench.result(key, "killed")) == numbers(bench.result(key, "whole"))
    one, two = arrays(bench.folder / "whole" / key), arrays(folder)
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name], equal_nan=one[name].dtype.kind == "f") for name in one)
    same = [{name: value for name, value in row.items() if name not in ("seconds", "time")} for row in whole]
    assert [{name: row[name] for name in line} for row, line in zip(read_lines(folder / "history.jsonl"), same, strict=True)] == same
    assert bench.names(key, "killed") == bench.names(key, "whole")


@pytest.mark.slow
def test_no_kill_between_lines_changes_a_number(bench: Bench, attempt: Callable[..., str]) -> None:
    """SIGKILL at moments that have nothing to do with epochs: loading, checkpoints, predictions, the commit."""
    key = bench.register("ce", "whole")
    bench.execute(key, "whole")
    bench.register("ce", "killed")
    folder = bench.folder / "killed" / key
    for pattern in ("lease.json", "log.txt", "*.tmp", "last.pt", "stages/*", "predictions.npz*", "predictions.npz", "samples.parquet"):
        attempt(bench.options("killed"), key, appears(folder, pattern))
    assert attempt(bench.options("killed"), key, lambda: False) == "done"
    assert numbers(bench.result(key, "killed")) == numbers(bench.result(key, "whole"))
    assert bench.names(key, "killed") == bench.names(key, "whole")


SLOW_DISK = """
from benchmark import files
from benchmark.training import checkpoint
import contextlib, time

@contextlib.contextmanager
def half(path):
    with files.atomic_open(path) as file:
        yield file
        file.flush()
        time.sleep(0.3)  # written in part, not yet in place

checkpoint.atomic_open = half
"""


@pytest.mark.slow
def test_no_kill_while_the_thread_writes_changes_a_number(
    bench: Bench, attempt: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL while a checkpoint is half on the disk and the training has gone on."""
    key = bench.register("coteaching", "whole")
    assert bench.execute(key, "whole").status == "done"
    bench.register("coteaching", "killed")
    folder = bench.folder / "killed" / key
    (bench.plugins / "slow_disk.py").write_text(SLOW_DISK)
    monkeypatch.syspath_prepend(str(bench.plugins))
    (bench.plugins / "sitecustomize.py").write_text("import slow_disk\n")

    def while_written(count: int) -> Callable[[], bool]:
        return lambda: len(read_lines(folder / "history.jsonl")) >= count and len(list(folder.rglob("*.pt.*.tmp"))) == 1

    for count in (1, 2, 3):
        attempt(bench.options("killed", checkpoint_seconds=1e-9), key, while_written(count))
        assert RunStore(bench.folder / "killed").status(key, None) is Status.DEAD
    assert list(folder.rglob("*.tmp"))  # it did come in the middle
    assert attempt(bench.options("killed"), key, lambda: False) == "done"
    assert numbers(bench.result(key, "killed")) == numbers(bench.result(key, "whole"))
    one, two = arrays(bench.folder / "whole" / key), arrays(folder)
    assert all(np.array_equal(one[name], two[name], equal_nan=one[name].dtype.kind == "f") for name in one)
    assert bench.names(key, "killed") == bench.names(key, "whole")


@pytest.mark.parametrize(
    ("method", "words"),
    [("coteaching:noise_rate=oracle", "noise_rate=oracle cannot be had"), ("alr:lnl=ce:budget=5", "people answer through relabel export")],
)
def test_nobody_knows_the_truth_of_a_users_own_labels(tmp_path: Path, method: str, words: str) -> None:
    """A file of images and labels, without a reference: what asks for the truth is told in one line that there is none."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", images=rng.integers(0, 256, (60, 8, 8), dtype=np.uint8), labels=np.arange(60) % 3)
    registry, store = Registry(), RunStore(tmp_path / "runs")
    settings = {kind: parse_settings(text, what=kind) for kind, text in (("methods", method), ("noise", "none"))}
    data = parse_settings(f"npz:{tmp_path / 'mine.npz'}", what="datasets")
    plan = protocol("quick", {"epochs": 2})
    (spec,) = expand(registry, **settings, datasets=data, seeds=[0], protocol=plan, data_root=tmp_path)
    key = store.register(spec)
    outcome = worker.execute(key, WorkerOptions(runs=tmp_path / "runs", data_root=tmp_path), lambda event: None)
    assert outcome.status == "failed" and words in outcome.message
