"""A run on bags end to end, on a throw-away benchmark: what it commits, that a kill changes no number, and how it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmark import worker
from benchmark.engines.base import Outcome, WorkerOptions
from benchmark.files import read_lines
from benchmark.grammar import parse_settings
from benchmark.metrics import compute
from benchmark.registry import Registry
from benchmark.rescore import rescore
from benchmark.spec import expand, protocol
from benchmark.store import RunStore, Status

PLUGIN = '''
"""A tiny benchmark of bags."""
from dataclasses import dataclass

import numpy as np
import torch

from benchmark.api import Dataset, Method, dataset, hp, method
from benchmark.bags.arrays import BagArrays
from benchmark.bags.method import BagMethod


@dataset("tinybags", task="bags", version=1)
class Tiny(Dataset):
    """Sixty bags of two to five tiles on a row; the first tile of a positive bag is positive, and larger in every feature."""

    def load(self, root):
        rng = np.random.default_rng(0)
        counts = np.arange(60) % 4 + 2
        offsets = np.append(0, np.cumsum(counts))
        bag = np.repeat(np.arange(60), counts)
        tile = np.arange(len(bag)) - offsets[bag]
        labels = (np.arange(60) // 4 % 2).astype(np.int64)
        truth = ((tile == 0) & (labels[bag] == 1)).astype(np.int8)
        tiles = (rng.normal(0, 1, (len(bag), 6)) + 3 * truth[:, None]).astype(np.float32)
        positions = np.stack([tile, np.zeros_like(tile)], axis=1)
        return BagArrays(tiles, offsets, labels, [f"slide {i}" for i in range(60)], tile_labels=truth, positions=positions)


@method("probe", task="bags")
class Probe(BagMethod):
    """Attention that can go wrong in many ways."""

    @dataclass(frozen=True)
    class Params:
        how: str = hp("fine", help="what goes wrong")

    argument = "how"
    pooling = "abmil"

    def setup(self, data, run):
        self.rounds = torch.zeros(0, data.tiles)

    def bag_loss(self, output, batch):
        return super().bag_loss(output, batch) * (float("nan") if self.params.how == "diverge" else 1)

    def end_epoch(self, networks, epoch, run):
        scores = torch.linspace(0, 1, self.data.tiles)
        self.rounds = torch.cat([self.rounds, scores[None]])

    def pseudo_labels(self):
        return self.rounds, 0.3

    def label_quality(self):
        return torch.zeros(self.data.tiles) if self.params.how == "tiles" else super().label_quality()

    def sample_columns(self):
        return {"mine": torch.arange(self.data.n)}


@method("plain", task="bags")
class Plain(Method):
    """No method for bags, although it says so."""

    fit, design, training_step = BagMethod.fit, BagMethod.design, BagMethod.training_step
    bag_loss, predict_bags, pooling = BagMethod.bag_loss, BagMethod.predict_bags, "max_pool"
'''


class Bench:
    """A plugin folder, a runs folder and the worker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plugins = folder / "plugins"
        self.plugins.mkdir()
        (self.plugins / "tiny_bags.py").write_text(PLUGIN)

    def options(self, runs: str = "runs") -> WorkerOptions:
        settings: dict[str, Any] = {"device": "cpu", "threads": 1, "data_root": self.folder / "data", "checkpoint_seconds": 0.0}
        return WorkerOptions(self.folder / runs, plugins=(str(self.plugins),), **settings)

    def register(self, method: str = "probe", runs: str = "runs", **settings: Any) -> str:
        (spec,) = expand(
            Registry((str(self.plugins),)),
            methods=parse_settings(method, what="method"),
            datasets=parse_settings("tinybags", what="dataset"),
            noise=parse_settings("symmetric:0.2", what="noise"),
            seeds=[0],
            protocol=protocol("quick", {"epochs": 3, "last_k": 2, **settings}, "bags"),
            data_root=self.folder / "data",
        )
        return RunStore(self.folder / runs).register(spec)

    def execute(self, key: str, runs: str = "runs") -> Outcome:
        return worker.execute(key, self.options(runs), lambda event: None)

    def result(self, key: str, runs: str = "runs") -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / runs / key / "result.json").read_text())
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The result and the folder of one run, which no test changes."""
    bench = Bench(tmp_path_factory.mktemp("done"))
    key = bench.register()
    outcome = bench.execute(key)
    assert (outcome.status, outcome.message) == ("done", "")
    return bench.result(key), bench.folder / "runs" / key


def arrays(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "predictions.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def numbers(result: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on when, where and how often a run was begun."""
    return {name: value for name, value in result.items() if name not in ("cost", "host", "started", "finished")}


# -------------------------------------------------------------------------------------------------------- a result


def test_a_result_says_what_the_bags_are(done: tuple[dict[str, Any], Path]) -> None:
    result, folder = done
    data = result["data"]
    assert data["task"] == "bags" and data["classes"] == ["negative", "positive"] and data["image_shape"] == [6]
    assert data["n_train"] + data["n_val"] + data["n_test"] == 60
    assert sum(data[f"tiles_{part}"] for part in ("train", "val", "test")) == 60 * 3.5
    groups = {"last", "last_k", "selected", "best", "validation", "instances", "lesions", "detection", "pseudo/0", "pseudo/1", "pseudo/2"}
    assert set(result["metrics"]) == groups
    assert {"auroc", "average_precision", "f1", "threshold"} <= set(result["metrics"]["selected"])
    noise, found = result["noise"], arrays(folder)
    assert noise["realised_rate"] == pytest.approx((found["train_given"] != found["train_true"]).mean()) and noise["realised_rate"] > 0.1
    positive = np.repeat(found["train_given"], np.diff(found["train_offsets"])) == 1
    assert noise["inherited_noise"] == pytest.approx((found["train_tile_labels"][positive] == 0).mean())
    assert 0 < noise["witness_rate"] < 0.5
    assert result["oracle"] == [] and result["cost"]["parameters"] > 100


def test_predictions_have_the_arrays_of_bags(done: tuple[dict[str, Any], Path]) -> None:
    result, folder = done
    found = arrays(folder)
    n, v, t = (result["data"][f"n_{part}"] for part in ("train", "val", "test"))
    tiles = {part: result["data"][f"tiles_{part}"] for part in ("train", "val", "test")}
    expected: dict[str, tuple[int, ...]] = {"task": (), "epoch_selected": (), "epoch_best": (), "epochs_last_k": (2,)}
    expected |= {"test_labels": (t,), "val_labels": (v,), "val_true": (v,), "pseudo_threshold": (), "pseudo_scores": (3, tiles["train"])}
    expected |= {"test_last_k": (2, t, 2), "test_selected": (t, 2), "test_best": (t, 2), "val_selected": (v, 2)}
    expected |= {"test_selected_tiles": (tiles["test"],), "val_selected_tiles": (tiles["val"],), "train_tiles": (tiles["train"],)}
    expected |= dict.fromkeys(("train_given", "train_true", "train_quality", "train_suspect"), (n,))
    for part, bags in (("train", n), ("val", v), ("test", t)):
        expected |= {f"{part}_offsets": (bags + 1,), f"{part}_tile_labels": (tiles[part],), f"{part}_positions": (tiles[part], 2)}
    assert {name: array.shape for name, array in found.items()} == expected
    assert str(found["task"]) == "bags" and found["pseudo_threshold"] == 0.3
    assert (
        found["train_tiles"].dtype == found["test_selected"].dtype == found["test_selected_tiles"].dtype == np.float64
        and found["train_suspect"].dtype == np.bool_
    )
    for name in ("train_tiles", "test_selected_tiles", "val_selected_tiles", "test_selected"):
        assert (found[name] >= 0).all() and (found[name] <= 1).all()
    np.testing.assert_allclose(found["test_selected"].sum(axis=1), 1, atol=1e-5)
    for part in ("train", "val", "test"):
        first = found[f"{part}_offsets"][:-1]
        truth = found["train_true"] if part == "train" else found["val_true"] if part == "val" else found["test_labels"]
        assert found[f"{part}_tile_labels"][first].tolist() == truth.tolist()  # the first tile of a positive bag is positive
        assert not found[f"{part}_positions"][first].any()


def test_samples_have_one_row_a_bag(done: tuple[dict[str, Any], Path]) -> None:
    _, folder = done
    table, found = pd.read_parquet(folder / "samples.parquet"), arrays(folder)
    assert list(table.columns) == ["index", "given", "true", "quality", "suspect", "tiles", "positive_probability", "mine", "path"]
    assert (table["path"] == [f"slide {i}" for i in table["index"]]).all()
    assert (table["tiles"] == table["index"] % 4 + 2).all() and (table["tiles"] == np.diff(found["train_offsets"])).all()
    assert (table["true"] == table["index"] // 4 % 2).all() and table["positive_probability"].between(0, 1).all()
    np.testing.assert_array_equal(table["given"], found["train_given"])
    np.testing.assert_array_equal(table["quality"], found["train_quality"])


def test_the_history_has_auroc(done: tuple[dict[str, Any], Path]) -> None:
    result, folder = done
    lines = read_lines(folder / "history.jsonl")
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    for line in lines:
        assert 0 <= line["val_auroc"] <= 1 and 0 <= line["test_auroc"] <= 1 and "val_accuracy" not in line
        assert line["fit_wrong"] is not None and line["val_nll"] > 0
    best = max(range(3), key=lambda epoch: (lines[epoch]["test_auroc"], -epoch))
    assert result["epochs"]["best"] == best and result["metrics"]["best"]["auroc"] == pytest.approx(lines[best]["test_auroc"])
    chosen = max(range(3), key=lambda epoch: (lines[epoch]["val_auroc"], -lines[epoch]["val_nll"], -epoch))
    assert result["epochs"]["selected"] == chosen
    assert result["metrics"]["validation"]["auroc"] == pytest.approx(lines[chosen]["val_auroc"])


def test_rescoring_finds_the_same_numbers(done: tuple[dict[str, Any], Path]) -> None:
    result, folder = done
    assert rescore(folder) is False
    metrics = compute(arrays(folder))
    assert {group: dict(sorted(values.items())) for group, values in metrics.items()} == result["metrics"]


def test_the_same_run_again_has_the_same_numbers(bench: Bench, done: tuple[dict[str, Any], Path]) -> None:
    key = bench.register()
    assert bench.execute(key).status == "done"
    assert numbers(bench.result(key)) == numbers(done[0])
    one, two = arrays(done[1]), arrays(bench.folder / "runs" / key)
    assert one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("probe:tiles", {}, "probe.label_quality() must return ("),
        ("plain", {}, "plain is for bags and must be a benchmark.bags.method.BagMethod"),
        (
            "probe",
            {"backbone": "tile_cnn"},
            "backbone tile_cnn does not take tiles that are features; use --set protocol.backbone=identity",
        ),
        ("probe", {"normalize": "imagenet"}, "protocol.normalize=imagenet is for pixels"),
    ],
)
def test_a_run_that_fails_says_why(bench: Bench, method: str, settings: dict[str, Any], message: str) -> None:
    key = bench.register(method, **{"epochs": 1, **settings})
    outcome = bench.execute(key)
    assert outcome.status == "failed" and outcome.message.startswith(message), outcome.message
    assert not (bench.folder / "runs" / key / "result.json").exists()


def test_a_run_that_diverges_is_committed_as_such(bench: Bench) -> None:
    key = bench.register("probe:diverge", epochs=1)
    assert bench.execute(key).status == "diverged"
    assert bench.result(key)["metrics"] == {}


# ----------------------------------------------------------------------------------------------------------- kills


@pytest.mark.slow
def test_no_kill_changes_a_number(bench: Bench, attempt: Callable[..., str], done: tuple[dict[str, Any], Path]) -> None:
    """SIGKILL as soon as the k-th line of the history appears, for each k in turn, then to the end."""
    key = bench.register(runs="killed")
    folder, store = bench.folder / "killed" / key, RunStore(bench.folder / "killed")
    for k in (1, 2, 3):
        attempt(bench.options("killed"), key, lambda k=k: len(read_lines(folder / "history.jsonl")) >= k)  # type: ignore[misc]
        if store.status(key, None) is Status.DONE:  # it was too fast
            break
        assert store.status(key, None) is Status.DEAD
    assert attempt(bench.options("killed"), key, lambda: False) == "done"
    assert numbers(bench.result(key, "killed")) == numbers(done[0])
    one, two = arrays(done[1]), arrays(folder)
    assert one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)
    assert len(read_lines(folder / "history.jsonl")) == 3 and not (folder / "last.pt").exists()
