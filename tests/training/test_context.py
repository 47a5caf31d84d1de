"""Stages, resume and weights of a run, without a worker."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.api import Method
from benchmark.errors import BenchmarkError, DivergedError
from benchmark.training.context import RunContext
from benchmark.training.loop import fit_single_stage, train_cross_entropy
from benchmark.training.networks import Networks

Build = Callable[..., RunContext]


class Killed(Exception):
    """Stands for a kill between an epoch and its checkpoint."""


class Watcher:
    """Counts epochs, evaluates like the worker's observer, and ends the run after some of them."""

    def __init__(self, kill_after: int | None, images: Tensor) -> None:
        self.kill_after, self.images = kill_after, images
        self.now = 0
        self.epochs: list[str] = []

    def after_epoch(self, line: dict[str, Any], predict: Callable[[Tensor], dict[str, Tensor]] | None, *, final: bool = True) -> None:
        if predict is not None:
            predict(self.images)
        if self.kill_after == self.now:
            raise Killed
        self.now += 1
        self.epochs.append(f"{line['stage']}{line['epoch']}")

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": "+".join(self.epochs)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epochs = state["epochs"].split("+")


class Restless(Method):
    """Draws from every generator there is, in every place where a method may."""

    name = "restless"

    def setup(self, data: Any, run: RunContext) -> None:
        self.memory = torch.zeros(data.n)
        self.rate = np.float64(0.5) * 1  # a numpy scalar, as np.mean returns it
        self.offset = float(torch.rand(())) + random.random() + float(np.random.rand())
        self.own = run.generator("own")
        self.offset += float(torch.rand((), generator=self.own))

    def fit(self, data: Any, run: RunContext) -> Networks:
        first = train_cross_entropy(run, "warm", torch.arange(data.n), data.labels, epochs=2)
        self.between = float(torch.rand(())) + random.random() + float(np.random.rand())
        for batch in run.loader():  # a pass between stages
            self.between += float(first[0](batch.images).sum().detach())
        self.between += float(torch.rand((), generator=run.generator("late")))
        return fit_single_stage(self, data, run)

    def training_step(self, batch: Any, networks: Networks, epoch: int) -> Tensor:
        mask = torch.rand(len(batch), generator=self.run.generator("own")) * self.between
        self.memory[batch.indices] += mask + random.random() + float(np.random.rand())
        return (F.cross_entropy(networks[0](batch.images), batch.labels, reduction="none") * (mask + self.offset)).mean()

    def end_epoch(self, networks: Networks, epoch: int, run: RunContext) -> None:
        self.memory += torch.rand(len(self.memory), generator=run.generator("late"))


def train(build: Build, folder: Path | None = None, kill_after: int | None = None, **settings: Any) -> tuple[list[Tensor], Watcher]:
    """Everything that a run of :class:`Restless` leaves behind."""
    torch.seed()  # no two runs start from the same global state
    random.seed()
    np.random.seed()
    run = build(folder=folder, **settings)
    method = Restless()
    method.run, method.data = run, run._data
    watcher = Watcher(kill_after, run._data.images[:5])
    run.observe(watcher)
    method.setup(run._data, run)
    networks = method.fit(run._data, run)
    run.settle()
    after = torch.tensor([torch.rand(()), random.random(), np.random.rand(), torch.rand((), generator=run.generator("own"))])
    weights = [value.clone() for value in networks[0].state_dict().values()]
    outputs = [method.predict(networks, run.predict(lambda x: x.flatten(1)).view(-1, *run._data.images.shape[1:]))]
    return [*weights, *outputs, method.memory, run.history.values.nan_to_num(-1), after, torch.tensor(run.trained_samples)], watcher


def same(one: list[Tensor], two: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_run_repeats_and_its_seed_matters(context: Build) -> None:
    first, watcher = train(context)
    assert watcher.epochs == ["warm0", "warm1", "train0", "train1", "train2"]
    assert same(first, train(context)[0])
    assert not same(first, train(context, seed=1)[0])


@pytest.mark.parametrize("kill_after", range(6))
def test_killed_at_any_epoch_it_ends_the_same(context: Build, tmp_path: Path, kill_after: int) -> None:
    whole, watcher = train(context)
    with contextlib.suppress(Killed):
        train(context, tmp_path, kill_after)
    resumed, again = train(context, tmp_path)
    assert same(whole, resumed)
    assert again.epochs == watcher.epochs
    assert again.now == 5 - kill_after  # no epoch with a checkpoint is trained again


def test_dropout_resumes_bit_for_bit(context: Build, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"backbone": "cnn9", "size": 28, "n": 10, "epochs": 2}
    whole, _ = train(context, **settings)
    for number in range(4):
        with contextlib.suppress(Killed):
            train(context, tmp_path / str(number), number, **settings)
        assert same(whole, train(context, tmp_path / str(number), **settings)[0])


def test_killed_again_and_again(context: Build, tmp_path: Path) -> None:
    whole, _ = train(context)
    for _ in range(4):  # each attempt brings one of the five epochs into a checkpoint
        with pytest.raises(Killed):
            train(context, tmp_path, kill_after=1)
    assert same(whole, train(context, tmp_path)[0])


@pytest.mark.parametrize("damaged", ["last.pt", "stages/warm.pt", "stages/train.pt"])
def test_a_damaged_checkpoint_starts_its_stage_again(context: Build, tmp_path: Path, damaged: str) -> None:
    whole, _ = train(context, tmp_path)
    path = tmp_path / damaged
    path.write_bytes(path.read_bytes()[:100])
    if damaged == "last.pt":
        (tmp_path / "stages/train.pt").unlink()
    elif damaged == "stages/train.pt":
        (tmp_path / "last.pt").unlink()
    resumed, watcher = train(context, tmp_path)
    assert same(whole, resumed)
    assert watcher.now == {"last.pt": 3, "stages/warm.pt": 2, "stages/train.pt": 3}[damaged]


def test_finished_stages_are_not_trained_again(context: Build, tmp_path: Path) -> None:
    whole, _ = train(context, tmp_path)
    again, watcher = train(context, tmp_path)
    assert watcher.now == 0 and same(whole, again)


def test_checkpoints_of_other_code_are_not_resumed(context: Build, tmp_path: Path) -> None:
    train(context, tmp_path, code="old")
    _, watcher = train(context, tmp_path, code="new")
    assert watcher.now == 5
    assert train(context, tmp_path, code="new")[1].now == 0


def test_checkpoints_hold_no_pickled_objects(context: Build, tmp_path: Path) -> None:
    train(context, tmp_path)
    files = sorted(tmp_path.rglob("*.pt"))
    assert [str(file.relative_to(tmp_path)) for file in files] == ["last.pt", "stages/train.pt", "stages/warm.pt"]
    for file in files:
        assert torch.load(file, weights_only=True)["code"] == ""


def test_weights_depend_on_seed_name_and_position_only(context: Build) -> None:
    def weights(run: RunContext, count: int = 1, **settings: Any) -> list[Tensor]:
        return [torch.cat([p.detach().flatten() for p in network.parameters()]) for network in run.networks(count, **settings)]

    (first,) = weights(context())
    state = torch.get_rng_state()
    one, two, three = weights(context(n=9, lr=1.0, batch_size=3), 3, lr_scale=0.1)
    assert torch.equal(one, first)
    assert not torch.equal(one, two) and not torch.equal(two, three)
    run = context()
    torch.rand(5)
    assert torch.equal(weights(run, 2)[1], two)
    assert not torch.equal(weights(run, name="teacher")[0], first)
    assert not torch.equal(weights(context(seed=1))[0], first)
    torch.set_rng_state(state)
    run.networks()
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's numbers move


def test_named_generators(context: Build) -> None:
    run = context()
    own = run.generator("a", 1)
    assert run.generator("a", 1) is own
    assert torch.equal(torch.rand(3, generator=own), torch.rand(3, generator=context().generator("a", 1)))
    assert not torch.equal(torch.rand(3, generator=run.generator("b")), torch.rand(3, generator=context(seed=1).generator("b")))
    assert run.rng("x").random() == run.rng("x").random()


def stage(run: RunContext, name: str = "train", **settings: Any) -> Iterator[tuple[int, Networks]]:
    networks = run.networks()
    for epoch in run.epochs(name, networks, **settings):
        yield epoch, networks


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_divergence(context: Build, tmp_path: Path, bad: float) -> None:
    run = context(folder=tmp_path)
    with pytest.raises(DivergedError, match=r"the loss is (nan|inf) in epoch 2 of stage train; try a lower protocol\.lr"):
        for epoch, networks in stage(run):
            for batch in run.loader():
                loss = F.cross_entropy(networks[0](batch.images), batch.labels)
                run.step(networks, loss * bad if epoch == 1 else loss, len(batch))
    run.settle()
    assert not (tmp_path / "stages").exists()
    assert torch.load(tmp_path / "last.pt", weights_only=True)["done"] == 1  # nothing of the bad epoch is kept


def test_two_stages_of_one_name_are_refused(context: Build) -> None:
    run = context()
    assert [epoch for epoch, _ in stage(run, epochs=2)] == [0, 1]
    with pytest.raises(BenchmarkError, match="two training stages are called 'train'"):
        next(stage(run))


def test_networks_train_in_a_stage_and_evaluate_after_it(context: Build, tmp_path: Path) -> None:
    for _ in range(2):  # as trained and as resumed
        run = context(folder=tmp_path)
        networks = run.networks()
        for _ in run.epochs("train", networks):
            assert networks[0].training
        assert not networks[0].training


def test_history_lines_count_samples_and_mean_losses(context: Build) -> None:
    lines: list[dict[str, Any]] = []
    run = context(n=20, lr=0.0, optimizer="sgd")
    watcher = Watcher(None, run._data.images[:2])
    watcher.after_epoch = lambda line, predict, **_: lines.append(line)  # type: ignore[method-assign]
    run.observe(watcher)
    networks = run.networks(2)
    losses = []
    for _ in run.epochs("s", networks, epochs=2):
        for batch in run.loader():
            each = [F.cross_entropy(network(batch.images), batch.labels) for network in networks]
            losses.append(sum(loss.item() for loss in each))
            run.step(networks, each, len(batch))
    assert [(line["stage"], line["epoch"], line["epochs"], line["samples"]) for line in lines] == [("s", 0, 2, 40), ("s", 1, 2, 40)]
    assert lines[0]["loss"] == pytest.approx(np.mean(losses[:3]), rel=1e-5)
    assert run.trained_samples == 80
    assert run.parameters == networks.parameter_count()


def test_predictions_keep_the_order_of_the_indices(context: Build) -> None:
    run = context(normalize="none", augmentation="crop+flip")
    indices = torch.tensor([7, 0, 7, 3])
    found = run.predict(lambda images: images.mean(dim=(2, 3)), indices)
    torch.testing.assert_close(found, run._data.images[indices].float().mean(dim=(2, 3)) / 255)
    assert run.predict(lambda images: images.mean(dim=(2, 3)), indices[:0]).shape == (0, 3)
    probabilities = run.class_probabilities(run.networks(2))
    assert probabilities.shape == (24, 3) and torch.allclose(probabilities.sum(dim=1), torch.ones(24))
