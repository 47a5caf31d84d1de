"""Several runs in one process: the same numbers as alone, whatever the others do, and no waiting for ever."""

from __future__ import annotations

import json
import logging
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmark import clock, worker
from benchmark.engines.base import Job, Outcome, WorkerOptions, groups_of
from benchmark.files import read_lines
from benchmark.grammar import parse_settings
from benchmark.registry import Registry
from benchmark.spec import expand, protocol
from benchmark.store import RunStore, Status
from benchmark.training import joint_choice
from benchmark.training.backbones import build_network
from benchmark.training.networks import Networks
from benchmark.training.together import execute_together
from tests.waiting import wait_for

SEEDS = (0, 1, 2)


@pytest.fixture(autouse=True)
def joint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Joint passes wherever they can be made, whatever is faster on this machine."""
    monkeypatch.setattr(joint_choice, "forced", True)


def keys_of(runs: Path, method: str, dataset: str = "digits:subset=0.2", **changes: Any) -> list[str]:
    """Three registered runs that differ in their seed only. SGD: one rounding error does not become a step of Adam's."""
    settings = {"epochs": 2, "optimizer": "sgd", "lr": 0.01, **changes}
    specs = expand(
        Registry(),
        methods=parse_settings(method, what="method"),
        datasets=parse_settings(dataset, what="dataset"),
        noise=parse_settings("symmetric:0.2", what="noise"),
        seeds=SEEDS,
        protocol=protocol("quick", settings),
        data_root=runs,
    )
    return [RunStore(runs).register(spec) for spec in specs]


def options(runs: Path) -> WorkerOptions:
    return WorkerOptions(runs=runs, device="cpu", checkpoint_seconds=0.0)


def ignore(event: dict) -> None:
    """Nobody watches."""


def together(runs: Path, keys: list[str]) -> dict[str, Outcome]:
    return {outcome.key: outcome for outcome in execute_together(worker.execute, keys, options(runs), ignore)}


def equal_runs(one: Path, other: Path, atol: float = 1e-4) -> None:
    """Learning curves and probabilities of two runs' folders; a few epochs of float32 in another order of sums."""
    first, second = (list(read_lines(folder / "history.jsonl")) for folder in (one, other))
    assert [(line["stage"], line["epoch"], line["samples"]) for line in first] == [
        (line["stage"], line["epoch"], line["samples"]) for line in second
    ]
    np.testing.assert_allclose([line["loss"] for line in first], [line["loss"] for line in second], atol=atol)
    with np.load(one / "predictions.npz") as mine, np.load(other / "predictions.npz") as alone:
        np.testing.assert_allclose(mine["test_last_k"], alone["test_last_k"], atol=10 * atol)
        np.testing.assert_array_equal(mine["train_given"], alone["train_given"])


@pytest.mark.parametrize(
    ("method", "dataset", "backbone"),
    [
        ("ce", "digits:subset=0.2", "cnn_small"),
        ("coteaching", "digits:subset=0.2", "cnn_small"),
        ("elr", "digits:subset=0.2", "cnn_small"),
        ("sop", "digits:subset=0.2", "cnn_small"),
        pytest.param("hsa", "digits:subset=0.2", "cnn_small", marks=pytest.mark.slow),
        pytest.param("dividemix", "digits:subset=0.2", "cnn_small", marks=pytest.mark.slow),
    ],
)
def test_as_alone(tmp_path: Path, method: str, dataset: str, backbone: str) -> None:
    stores = [RunStore(tmp_path / name) for name in ("together", "alone")]
    keys = [keys_of(store.root, method, dataset, backbone=backbone) for store in stores]
    assert {outcome.status for outcome in together(stores[0].root, keys[0]).values()} == {"done"}
    for key in keys[1]:
        assert worker.execute(key, options(stores[1].root), ignore).status == "done"
        equal_runs(stores[0].folder(key), stores[1].folder(key))
        costs = [(store.result(key) or {})["cost"] for store in stores]
        assert costs[0]["stacked"] == 3 and "stacked" not in costs[1]
        assert (stores[0].folder(key) / "log.txt").exists()
        assert not (stores[0].folder(key) / "lease.json").exists()


def test_others_at_another_epoch_and_one_that_is_done(tmp_path: Path) -> None:
    """One has finished, one was stopped after its first epoch, one begins: they meet in the middle."""
    stores = [RunStore(tmp_path / name) for name in ("together", "alone")]
    keys = [keys_of(store.root, "ce", epochs=4) for store in stores]
    done, stopped, _ = keys[0]
    assert worker.execute(done, options(stores[0].root), ignore).status == "done"

    def stop(event: dict) -> None:
        if event.get("epoch") == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        worker.execute(stopped, options(stores[0].root), stop)
    outcomes = together(stores[0].root, keys[0])
    assert {outcome.status for outcome in outcomes.values()} == {"done"}
    assert "resumed after" in (stores[0].folder(stopped) / "log.txt").read_text()
    for key in keys[1]:
        worker.execute(key, options(stores[1].root), ignore)
        equal_runs(stores[0].folder(key), stores[1].folder(key))
    cost = (stores[0].result(stopped) or {})["cost"]
    assert cost["stacked"] == 2


def test_ctrl_c_ends_all_and_they_resume(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    keys = keys_of(store.root, "ce", epochs=6)

    def interrupt(event: dict) -> None:
        if event.get("epoch") == 2:
            raise KeyboardInterrupt

    running = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        list(execute_together(worker.execute, keys, options(store.root), interrupt))
    assert {store.status(key, None) for key in keys} <= {Status.DEAD, Status.MISSING}
    assert not list(store.root.glob("*/lease.json")) and not list(store.root.rglob("result.json"))
    wait_for(lambda: threading.active_count() <= running, 10)  # the heartbeat of a lease that was given back ends in a moment
    assert {outcome.status for outcome in together(store.root, keys).values()} == {"done"}
    assert any("resumed after" in (store.folder(key) / "log.txt").read_text() for key in keys)
    for key in keys:
        assert [line["epoch"] for line in read_lines(store.folder(key) / "history.jsonl")] == list(range(6))


def test_a_log_has_its_own_lines_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore(tmp_path / "runs")
    keys = keys_of(store.root, "ce")
    method = Registry().load("method", "ce")
    original = method.training_step

    def step(self: Any, batch: Any, networks: Any, epoch: int) -> Any:
        logging.getLogger("benchmark.test").info("this is seed %d", self.run.seed)
        return original(self, batch, networks, epoch)

    monkeypatch.setattr(worker._registry(()).load("method", "ce"), "training_step", step)
    together(store.root, keys)
    for seed, key in zip(SEEDS, keys, strict=True):
        text = (store.folder(key) / "log.txt").read_text()
        assert text.count(f"this is seed {seed}") == text.count("this is seed") > 0


class Toy:
    """Runs without files: each trains a network for some steps, and may fail on the way."""

    def __init__(self, plans: dict[str, Any], backbone: str = "mlp") -> None:
        self.plans, self.backbone = plans, backbone
        self.weights: dict[str, torch.Tensor] = {}
        self.draws: dict[str, list[float]] = {}
        self.shares: dict[str, float] = {}

    def execute(self, key: str, options: WorkerOptions, on_event: Any) -> Outcome:
        epochs, what = self.plans[key], None
        if isinstance(epochs, tuple):
            epochs, what = epochs
        torch.manual_seed(int(key))
        network = build_network(self.backbone, channels=6, size=1, num_classes=3)
        networks = Networks([network], protocol("quick", {"optimizer": "sgd", "lr": 0.05}))
        started = clock.seconds()
        drawn = self.draws[key] = []
        for epoch, batches in enumerate(epochs):
            networks.set_epoch(epoch, len(epochs))
            on_event({"event": "epoch", "run_key": key, "epoch": epoch})
            for batch in range(batches):
                if what is not None and (epoch, batch) == what[0]:
                    what[1]()
                logits = network(torch.randn(5, 6))
                drawn.append(float(torch.rand(())))
                networks.step(F.cross_entropy(logits, torch.randint(3, (5,))))
            with torch.no_grad():
                network(torch.randn(7, 6))
        self.weights[key] = torch.cat([p.detach().flatten() for p in network.parameters()])
        self.shares[key] = clock.seconds() - started
        return Outcome(key, "done", 0.0)

    def alone(self) -> Toy:
        toy = Toy(self.plans, self.backbone)
        for key in self.plans:
            toy.execute(key, WorkerOptions(Path()), ignore)
        return toy

    def together(self) -> dict[str, Outcome]:
        return {outcome.key: outcome for outcome in execute_together(self.execute, list(self.plans), WorkerOptions(Path()), ignore)}


def test_different_numbers_of_batches() -> None:
    toy = Toy({"0": [3, 4, 5], "1": [4, 2, 3, 1], "2": [1], "3": []})
    assert {outcome.status for outcome in toy.together().values()} == {"done"}
    alone = toy.alone()
    assert toy.draws == alone.draws
    torch.testing.assert_close(toy.weights, alone.weights, atol=1e-6, rtol=1e-5)


def test_they_meet_again_in_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with one batch more in an epoch is alone in that batch, and in no other."""
    sizes = []
    original = joint_choice.worth_it
    monkeypatch.setattr(joint_choice, "worth_it", lambda networks, images: sizes.append(len(networks)) or original(networks, images))
    Toy({"0": [3, 3, 3], "1": [4, 3, 3]}).together()
    assert len(sizes) == 9 + 2  # the passes of nine steps; in the first epoch one evaluates while the other still trains


def fail() -> None:
    raise ValueError("not today")


def leave() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize(("act", "status"), [(fail, "failed"), (leave, "killed")])
def test_an_end_within_an_epoch_ends_one(act: Any, status: str) -> None:
    toy = Toy({"0": [3, 3], "1": ([3, 3], ((1, 1), act)), "2": [3, 3]})
    outcomes = toy.together()
    assert [outcomes[key].status for key in "012"] == ["done", status, "done"]
    rest = Toy({"0": [3, 3], "2": [3, 3]}).alone()
    torch.testing.assert_close(toy.weights, rest.weights, atol=1e-6, rtol=1e-5)


def test_seconds_add_up() -> None:
    """Each is charged for what it does itself and a share of the rest; one that sleeps pays for it alone."""
    toy = Toy({"0": [3, 3], "1": ([3, 3], ((0, 1), lambda: time.sleep(0.3))), "2": [3, 3]})
    started = time.perf_counter()
    toy.together()
    took = time.perf_counter() - started
    assert sum(toy.shares.values()) <= took
    assert toy.shares["1"] > 0.3 and toy.shares["0"] < took - 0.3


def test_a_run_that_asks_for_nothing_can_be_stopped() -> None:
    began = threading.Event()

    def execute(key: str, options: WorkerOptions, on_event: Any) -> Outcome:
        began.set()
        on_event({"event": "start", "run_key": key})
        while True:
            time.sleep(0.01)

    def interrupt(event: dict) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(execute_together(execute, ["0", "1"], WorkerOptions(Path()), interrupt))
    assert began.is_set()


def test_closing_stops_the_others() -> None:
    toy = Toy({"0": [1], "1": [2000]})
    with closing(execute_together(toy.execute, ["0", "1"], WorkerOptions(Path()), ignore)) as outcomes:  # type: ignore[type-var]
        assert next(outcomes).key == "0"
    assert "1" not in toy.weights


def test_groups() -> None:
    jobs = [Job(str(i), "", alike="ab"[i % 2]) for i in range(6)] + [Job("6", "")]
    apart = WorkerOptions(Path())
    stacked = WorkerOptions(Path(), stack_seeds=True)
    assert [[job.key for job in group] for group in groups_of(jobs, stacked)] == [["0", "2", "4"], ["1", "3", "5"], ["6"]]
    assert [len(group) for group in groups_of(jobs, apart)] == [1] * 7
    same = [Job(str(i), "", alike="a") for i in range(40)]
    assert [len(group) for group in groups_of(same, stacked)] == [16, 16, 8]
    assert [len(group) for group in groups_of(same[:8], stacked, slots=2)] == [4, 4]


def test_an_epoch_of_json() -> None:
    """The option travels to the worker and is no part of a run."""
    stacked = WorkerOptions(Path(), stack_seeds=True)
    assert WorkerOptions.from_dict(json.loads(json.dumps(stacked.to_dict()))) == stacked
