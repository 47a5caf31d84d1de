"""Joint passes where something is out of the ordinary: what a run alone could do, or would not do, holds in a group too."""

from __future__ import annotations

import copy
import gc
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmark import clock, worker
from benchmark.engines.base import Outcome, WorkerOptions
from benchmark.errors import BenchmarkError
from benchmark.grammar import parse_settings
from benchmark.registry import Registry
from benchmark.spec import expand, protocol
from benchmark.store import RunStore
from benchmark.training import joint_choice, posterior, stacking, together
from benchmark.training.backbones import Network, build_network
from benchmark.training.joint_pass import JointPass, collecting, joint_backward
from benchmark.training.joint_steps import Stacks
from benchmark.training.networks import Networks
from benchmark.training.stacking import Stack, architecture, joint_key

SGD = protocol("quick", {"optimizer": "sgd", "lr": 0.05, "weight_decay": 0.01})
LABELS = torch.arange(6) % 3
Executed = dict[str, Outcome]


@pytest.fixture(autouse=True)
def joint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Joint passes wherever they can be made."""
    monkeypatch.setattr(joint_choice, "forced", True)


def networks_of(count: int, name: str = "mlp", channels: int = 6, size: int = 1) -> list[Network]:
    torch.manual_seed(0)
    return [build_network(name, channels=channels, size=size, num_classes=3) for _ in range(count)]


def images_of(count: int, *shape: int) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(6, *shape) for _ in range(count)]


def within(seconds: float, execute: Callable[[], Executed]) -> Executed:
    """What it returns; a group that waits for ever fails the test instead of holding it up."""
    found: list[Executed] = []
    thread = threading.Thread(target=lambda: found.append(execute()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, "no end"
    return found[0]


def side_by_side(execute: Any, count: int = 2) -> Executed:
    def run() -> Executed:
        keys = [str(i) for i in range(count)]
        return {outcome.key: outcome for outcome in together.execute_together(execute, keys, WorkerOptions(Path()), lambda event: None)}

    return within(60, run)


def runs_of(runs: Path, noise: str, **changes: Any) -> list[str]:
    """Two registered runs that differ in their seed only."""
    specs = expand(
        Registry(),
        methods=parse_settings("ce", what="method"),
        datasets=parse_settings("digits:subset=0.2", what="dataset"),
        noise=parse_settings(noise, what="noise"),
        seeds=(0, 1),
        protocol=protocol("quick", {"epochs": 2, "optimizer": "sgd", "lr": 0.01, **changes}),
        data_root=runs,
    )
    return [RunStore(runs).register(spec) for spec in specs]


def real(runs: Path, keys: list[str]) -> Executed:
    options = WorkerOptions(runs=runs, data_root=runs, device="cpu")
    return within(120, lambda: {o.key: o for o in together.execute_together(worker.execute, keys, options, lambda event: None)})


# ------------------------------------------------------------------------------------------------ what a pass gives


def test_logits_may_be_changed_in_place() -> None:
    ours, images = networks_of(2), images_of(2, 6)
    theirs = copy.deepcopy(ours)
    logits = JointPass(Stack(ours), images).logits()
    for one, network, alone, given in zip(logits, ours, theirs, images, strict=True):
        with collecting() as passes:
            one.mul_(2).add_(1)
            one.square().sum().backward()
        joint_backward(passes)
        alone(given).mul_(2).add_(1).square().sum().backward()
        for mine, other in zip(network.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, other.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("trained", [0, 1])
def test_one_of_two_networks_is_trained(monkeypatch: pytest.MonkeyPatch, trained: int) -> None:
    """The other has no gradients, not gradients of zero, by which momentum and weight decay would move it."""
    ours = Networks(networks_of(2), SGD)
    theirs = Networks(copy.deepcopy(list(ours)), SGD)
    for networks, forced in ((ours, True), (theirs, False)):
        monkeypatch.setattr(joint_choice, "forced", forced)
        for images in images_of(3, 6):
            networks.step(F.cross_entropy(networks.logits(images)[trained], LABELS))
    for one, other in zip(ours, theirs, strict=True):
        for mine, alone in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(mine, alone, atol=1e-6, rtol=1e-5)
    assert all(p.grad is None for p in ours[1 - trained].parameters())


def test_gradients_that_another_has_sent() -> None:
    ours, images = networks_of(2), images_of(2, 6)
    logits = JointPass(Stack(ours), images).logits()
    with collecting() as passes:
        (logits[0].sum() + logits[1].sum()).backward()
    joint_backward(passes)
    before = [p.grad.clone() for network in ours for p in network.parameters() if p.grad is not None]
    joint_backward(passes)
    assert len(before) == 8
    assert all(torch.equal(a, p.grad) for a, p in zip(before, (p for n in ours for p in n.parameters()), strict=True))


def test_gradients_of_gradients_are_refused_in_words() -> None:
    ours, images = networks_of(2), images_of(2, 6)
    logits = JointPass(Stack(ours), images).logits()
    with pytest.raises(BenchmarkError, match="leave --stack-seeds out"):
        torch.autograd.grad(logits[0].square().sum(), list(ours[0].parameters()), create_graph=True)


def test_statistics_do_not_move_in_a_pass_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each network makes the pass again, and moves them then."""
    ours, images = networks_of(2, "cnn_small", 3, 8), images_of(2, 3, 8, 8)
    before, passed = copy.deepcopy([network.state_dict() for network in ours]), []

    def batch_norm(*arguments: Any) -> torch.Tensor:
        passed.append(1)
        if len(passed) == 3:
            raise torch.OutOfMemoryError("no more")
        return original(*arguments)

    original = stacking._batch_norm
    monkeypatch.setattr(stacking, "_batch_norm", batch_norm)
    with pytest.raises(torch.OutOfMemoryError):
        JointPass(Stack(ours), images)
    for network, saved in zip(ours, before, strict=True):
        assert all(torch.equal(value, saved[name]) for name, value in network.state_dict().items())


def test_what_a_joint_pass_would_not_heed() -> None:
    network, images = networks_of(1)[0], images_of(1, 6)[0]
    assert joint_key([network], images) is not None
    handle = network.head.weight.register_hook(lambda gradient: 2 * gradient)
    assert joint_key([network], images) is None
    handle.remove()
    network.head.bias.register_post_accumulate_grad_hook(lambda parameter: None)
    assert joint_key([network], images) is None
    other = networks_of(1)[0]
    other.head.register_full_backward_pre_hook(lambda *_: None)
    assert joint_key([other], images) is None
    seen = []
    fresh = networks_of(1)
    torch.func.vmap(lambda one: seen.append(joint_key(fresh, one)) or one)(images[None])
    assert seen == [None]


class Twice(nn.Module):
    """A batch norm that is used twice, and a flattening that joins samples."""

    def __init__(self, *, joins: bool) -> None:
        super().__init__()
        self.norm, self.joins = nn.BatchNorm2d(3), joins

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.flatten(x, end_dim=1) if self.joins else torch.flatten(self.norm(self.norm(x)), 1)


@pytest.mark.parametrize(("joins", "reason"), [(True, "flatten"), (False, "batch norm twice")])
def test_graphs_that_would_be_other_ones(joins: bool, reason: str) -> None:
    found = architecture(Network(Twice(joins=joins), 3, 2))
    assert isinstance(found, str) and reason in found


def test_a_state_that_was_cleared() -> None:
    """A method may let an optimiser begin anew; its momentum is then gone in a joint step, too."""
    ours, stacks = Networks(networks_of(2), SGD), Stacks()
    theirs = Networks(copy.deepcopy(list(ours)), SGD)
    for step in range(4):
        for networks in (ours, theirs):
            if step == 2:
                for optimizer in networks.optimizers:
                    optimizer.state.clear()
            for network, images in zip(networks, images_of(2, 6), strict=True):
                network.zero_grad()
                F.cross_entropy(network(images), LABELS).backward()
        stacks.step(ours.optimizers)
        for optimizer in theirs.optimizers:
            optimizer.step()
    for one, other in zip(ours, theirs, strict=True):
        for mine, alone in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(mine, alone)


# ------------------------------------------------------------------------------------------------ groups


def test_noise_that_trains_under_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The posterior behind it is made by one run, while no other has a turn to wait for the lock; and is the one of a run alone."""
    monkeypatch.setattr(posterior, "EPOCHS", 1)
    groups, alone = (runs_of(tmp_path / name, "pmd:0.2") for name in ("together", "alone"))
    assert {outcome.status for outcome in real(tmp_path / "together", groups).values()} == {"done"}
    worker.execute(alone[0], WorkerOptions(runs=tmp_path / "alone", data_root=tmp_path / "alone", device="cpu"), lambda event: None)
    first, second = (next((tmp_path / name).glob("posterior/*.npy")).read_bytes() for name in ("together", "alone"))
    assert first == second


def test_alone_gives_no_turn_away() -> None:
    order: list[tuple[str, int]] = []

    def execute(key: str, options: WorkerOptions, on_event: Any) -> Outcome:
        torch.manual_seed(int(key))
        networks = Networks(networks_of(1), SGD)
        with clock.alone():
            for step in range(3):
                networks.step(F.cross_entropy(networks[0](torch.randn(6, 6)), LABELS))
                order.append((key, step))
        return Outcome(key, "done", 0.0)

    assert {outcome.status for outcome in side_by_side(execute).values()} == {"done"}
    assert order == [(key, step) for key in "01" for step in range(3)]


def test_networks_of_an_earlier_stage_are_let_go() -> None:
    kept: list[bool] = []

    def execute(key: str, options: WorkerOptions, on_event: Any) -> Outcome:
        torch.manual_seed(int(key))
        earlier = None
        for _ in range(2):
            networks = Networks(networks_of(1), SGD)
            gc.collect()
            if earlier is not None:
                kept.append(earlier() is not None)
            for _ in range(2):
                networks.step(F.cross_entropy(networks[0](torch.randn(6, 6)), LABELS))
            earlier = weakref.ref(networks[0])
            del networks
        return Outcome(key, "done", 0.0)

    assert {outcome.status for outcome in side_by_side(execute).values()} == {"done"}
    assert kept == [False, False]


@pytest.mark.parametrize("optimisers", [1, 2])
def test_networks_that_step_one_after_the_other(monkeypatch: pytest.MonkeyPatch, optimisers: int) -> None:
    """Two networks with two calls of step in a batch: all are joint steps, and the numbers are those of runs alone."""
    weights: dict[tuple[str, bool], list[torch.Tensor]] = {}
    sizes: list[int] = []

    def execute(key: str, options: WorkerOptions, on_event: Any) -> Outcome:
        torch.manual_seed(int(key))
        parts = [Networks([build_network("mlp", channels=6, size=1, num_classes=3)], SGD) for _ in range(optimisers)]
        for _ in range(3):
            images = torch.randn(6, 6)
            losses = [F.cross_entropy(part[0](images), LABELS) for part in parts]
            for part, loss in zip(parts, losses, strict=True):
                part.step(loss)
        weights[key, clock.member() is not None] = [p.detach() for part in parts for p in part[0].parameters()]
        return Outcome(key, "done", 0.0)

    original = together.Group._backward

    def backward(self: Any, members: Any, requests: Any) -> None:
        sizes.append(len(members))
        original(self, members, requests)

    monkeypatch.setattr(together.Group, "_backward", backward)
    side_by_side(execute)
    for key in "01":
        execute(key, WorkerOptions(Path()), lambda event: None)
        torch.testing.assert_close(weights[key, True], weights[key, False], atol=1e-6, rtol=1e-5)
    assert sizes == [2] * (3 * optimisers)


def test_too_much_memory_together_is_not_too_much_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore(tmp_path)
    keys, failed = runs_of(tmp_path, "symmetric:0.2"), []
    original = together.Group._backward

    def backward(self: Any, members: Any, requests: Any) -> None:
        if not failed:
            failed.append(len(members))
            raise torch.OutOfMemoryError("CUDA out of memory")
        original(self, members, requests)

    monkeypatch.setattr(together.Group, "_backward", backward)
    assert {outcome.status for outcome in real(tmp_path, keys).values()} == {"done"}
    assert failed == [2]
    for key in keys:
        assert (store.result(key) or {})["cost"]["micro_batch"] is None
        assert "trying again by itself" in (store.folder(key) / "log.txt").read_text()


def test_a_thread_that_the_system_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    original = threading.Thread.start

    def start(self: threading.Thread) -> None:
        if self.name.startswith("run-"):
            started.append(1)
            if len(started) == 2:
                raise RuntimeError("can't start new thread")
        original(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="new thread"):
        list(together.execute_together(lambda *_: Outcome("", "done", 0.0), ["0", "1", "2"], WorkerOptions(Path()), lambda event: None))
    assert threading.active_count() == before


def test_a_profile_is_of_one_run() -> None:
    with pytest.raises(BenchmarkError, match="--profile measures one run at a time"):
        WorkerOptions(Path(), profile=True, stack_seeds=True)
