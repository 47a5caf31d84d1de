"""What only a GPU can show: the same learning curve as on a CPU, steps without a sync, memory that comes back."""

from __future__ import annotations

import dataclasses
import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark import worker
from benchmark.api import Method, TrainingData
from benchmark.bags.method import BagMethod
from benchmark.conformance_bags import tiny_bags
from benchmark.conformance_data import tiny_masks
from benchmark.engines.base import WorkerOptions
from benchmark.files import read_lines
from benchmark.grammar import parse_settings
from benchmark.registry import Registry
from benchmark.spec import expand, protocol
from benchmark.store import RunStore
from benchmark.tasks import defaults_of, task_of
from benchmark.training import joint_choice
from benchmark.training.checkpoint_writer import CheckpointWriter
from benchmark.training.context import RunContext
from benchmark.training.joint_pass import JointPass, collecting, joint_backward
from benchmark.training.joint_steps import Stacks
from benchmark.training.networks import MovingAverage
from benchmark.training.oracle import Oracle
from benchmark.training.together import execute_together

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

METHODS = ("ce", "coteaching", "hsa", "seg_ce", "seg_coteaching", "dsmil", "hnm_wsi", "mil_cl")
DATA = {
    "classification": ("digits", "symmetric:0.2", 64),
    "segmentation": ("chest_shapes:image_size=32:subset=0.4", "mask:0.3", 8),
    "bags": ("tissue_slides:n=40:tiles=20:features=texture", "symmetric:0.1", 4),
}
"""Task → data, noise and size of a batch."""
LARGE = "digits:image_size=128:subset=0.3"


def task_name(method: str) -> str:
    """What a method is for."""
    task: str = Registry().load("method", method.partition(":")[0]).task
    return task


@pytest.fixture
def exact() -> Iterator[None]:
    """float32 products in full precision, so that a GPU can be held against a CPU."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.fixture
def no_sync() -> Iterator[None]:
    """An operation that waits for the GPU raises."""
    yield
    torch.cuda.set_sync_debug_mode("default")


def execute(folder: Path, method: str, device: str, **settings: Any) -> Path:
    """Train on digits, on small radiographs or on drawn slides; returns the run's folder."""
    task = task_name(method)
    dataset, noise, size = DATA[task]
    dataset = settings.pop("dataset", dataset)
    changes = {"epochs": 4, "batch_size": size, **settings}
    (spec,) = expand(
        Registry(),
        methods=parse_settings(method, what="method"),
        datasets=parse_settings(dataset, what="dataset"),
        noise=parse_settings(noise, what="noise"),
        seeds=[0],
        protocol=protocol("quick", changes, task),
        data_root=folder,
    )
    store = RunStore(folder / device)
    key = store.register(spec)
    outcome = worker.execute(key, WorkerOptions(store.root, device=device, data_root=folder, threads=2), lambda event: None)
    assert outcome.status == "done", outcome.message
    return store.folder(key)


def test_a_gpu_learns_as_a_cpu_does(tmp_path: Path, exact: None) -> None:
    """Plain cross-entropy in float32: equal weights, order and augmentation, so the curves part by rounding only."""
    cpu, cuda = (execute(tmp_path, "ce", device) for device in ("cpu", "cuda"))
    one, two = read_lines(cpu / "history.jsonl"), read_lines(cuda / "history.jsonl")
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], rel=0.05)
    assert [row["test_accuracy"] for row in two] == pytest.approx([row["test_accuracy"] for row in one], abs=0.05)
    assert [row["fit_wrong"] for row in two] == pytest.approx([row["fit_wrong"] for row in one], abs=0.05)
    with np.load(cpu / "predictions.npz") as a, np.load(cuda / "predictions.npz") as b:
        for name in ("train_given", "train_true", "test_labels", "val_labels"):
            assert np.array_equal(a[name], b[name])


@pytest.mark.parametrize("method", ["seg_ce", "seg_coteaching", "seg_coteaching:pixel"])
def test_a_gpu_learns_masks_as_a_cpu_does(tmp_path: Path, exact: None, method: str) -> None:
    """Of co-teaching the selections are discrete, so that its curves part a little further."""
    cpu, cuda = (execute(tmp_path, method, device, augmentation="flip") for device in ("cpu", "cuda"))
    one, two = read_lines(cpu / "history.jsonl"), read_lines(cuda / "history.jsonl")
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], rel=0.05 if method == "seg_ce" else 0.15)
    assert [row["test_dice"] for row in two] == pytest.approx([row["test_dice"] for row in one], abs=0.1)
    with np.load(cpu / "predictions.npz") as a, np.load(cuda / "predictions.npz") as b:
        for name in ("train_given", "train_true", "test_labels", "val_labels"):
            assert np.array_equal(a[name], b[name])
        assert a["train_flagged"].shape == b["train_flagged"].shape == a["train_given"].shape


def test_a_gpu_learns_bags_as_a_cpu_does(tmp_path: Path, exact: None) -> None:
    """Sums by segments add up in another order there, and no more."""
    cpu, cuda = (execute(tmp_path, "dsmil", device) for device in ("cpu", "cuda"))
    one, two = read_lines(cpu / "history.jsonl"), read_lines(cuda / "history.jsonl")
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], rel=0.05)
    with np.load(cpu / "predictions.npz") as a, np.load(cuda / "predictions.npz") as b:
        assert np.array_equal(a["train_given"], b["train_given"]) and np.array_equal(a["train_offsets"], b["train_offsets"])
        np.testing.assert_allclose(b["train_tiles"], a["train_tiles"], atol=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_and_frees_its_memory(tmp_path: Path, method: str) -> None:
    execute(tmp_path / "warm", method, "cuda", epochs=1, precision="auto")  # libraries keep workspaces of their own
    gc.collect()
    torch.cuda.empty_cache()
    allocated, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    folder = execute(tmp_path, method, "cuda", precision="auto")
    assert torch.cuda.memory_allocated() <= allocated
    assert torch.cuda.memory_reserved() <= reserved
    result = json.loads((folder / "result.json").read_text())
    assert result["cost"]["gpu_peak_memory_mb"] > 1
    assert result["host"]["device"] == torch.cuda.get_device_name()


def tiny(device: torch.device) -> tuple[RunContext, TrainingData]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (256, 3, 16, 16), dtype=torch.uint8, generator=generator).to(device)
    labels = torch.randint(0, 4, (256,), generator=generator).to(device)
    data = TrainingData(images, labels, 4, ("a", "b", "c", "d"))
    noise = Registry().load("noise", "symmetric")()
    oracle = Oracle(np.zeros(256, dtype=np.int64), noise, 0.2, 4, data.class_names)
    settings = protocol("quick", {"epochs": 4, "batch_size": 32, "augmentation": "crop+flip+rot90+color", "precision": "auto"})
    return RunContext(data, settings, seed=0, device=device, oracle=oracle), data


def few_masks(device: torch.device) -> tuple[RunContext, TrainingData]:
    data, truth = tiny_masks(tasks=2)
    data = dataclasses.replace(data, images=data.images.to(device), labels=data.labels.to(device))
    oracle = Oracle(truth, Registry().load("noise", "mask")(), None, 2, data.class_names)
    usual = defaults_of("segmentation").protocols["quick"]
    settings = protocol("quick", {**usual, "epochs": 4, "batch_size": 8, "precision": "auto"}, "segmentation")
    task = task_of("segmentation")
    return RunContext(data, settings, seed=0, device=device, oracle=oracle, augmentation=("crop", "flip"), task=task), data


def few_bags(device: torch.device) -> tuple[RunContext, TrainingData]:
    data, truth = tiny_bags()
    data = dataclasses.replace(data, images=data.images.to(device), labels=data.labels.to(device))
    oracle = Oracle(truth, Registry().load("noise", "symmetric")(), None, 2, data.class_names)
    settings = protocol("quick", {**defaults_of("bags").protocols["quick"], "epochs": 4, "precision": "auto"}, "bags")
    return RunContext(data, settings, seed=0, device=device, oracle=oracle, task=task_of("bags")), data


@pytest.mark.parametrize("name", ["ce", "coteaching", "seg_ce", "seg_coteaching", "seg_coteaching:pixel", "abmil", "dsmil"])
def test_a_step_waits_for_nothing(name: str, no_sync: None) -> None:
    """Batch, loss, backward pass, optimiser and history of an epoch: no operation that waits for the GPU."""
    few = {"classification": tiny, "segmentation": few_masks, "bags": few_bags}[task_name(name)]
    run, data = few(torch.device("cuda"))
    name, _, preset = name.partition(":")
    cls = Registry().load("method", name)
    method: Method = cls(cls.Params(**cls.presets.get(preset, {})))
    method.run, method.data = run, data
    method.setup(data, run)
    networks = run.networks(method.networks, **(method.design() if isinstance(method, BagMethod) else {}))
    average = MovingAverage(networks[0], 0.9)
    for epoch in run.epochs("train", networks, epochs=3):
        for number, batch in enumerate(run.loader()):
            if epoch and number == 1:  # the first epoch loads kernels, the first batch of a pass copies its order
                torch.cuda.set_sync_debug_mode("error")
            run.step(networks, method.training_step(batch, networks, epoch), len(batch))
            run.history.record(epoch, batch.indices, batch.labels, networks[0].last_logits)
            average.update(networks[0])
        torch.cuda.set_sync_debug_mode("default")


def test_a_run_resumes_on_the_gpu(tmp_path: Path) -> None:
    run, data = tiny(torch.device("cuda"))
    networks = run.networks()
    again = RunContext(data, run.protocol, seed=0, device=run.device, oracle=run.oracle, folder=tmp_path, checkpoint_seconds=0.0)
    for epoch in again.epochs("train", networks):
        for batch in again.loader():
            again.step(networks, networks[0](batch.images).logsumexp(dim=1).mean(), len(batch))
        if epoch == 1:
            break
    resumed = RunContext(data, run.protocol, seed=0, device=run.device, oracle=run.oracle, folder=tmp_path, checkpoint_seconds=0.0)
    assert next(resumed.epochs("train", resumed.networks())) == 1


def test_a_run_that_does_not_fit_is_done_in_pieces(tmp_path: Path) -> None:
    """The card is lent in part: whole batches of 128 images of 128 px take more activations than that, a piece does not."""
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + 0.7 * 2**30) / total))
    try:
        folder = execute(tmp_path, "ce", "cuda", epochs=1, batch_size=128, backbone="resnet18", precision="fp32", dataset=LARGE)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    cost = json.loads((folder / "result.json").read_text())["cost"]
    assert cost["micro_batch"] is not None and cost["micro_batch"] < 128
    assert cost["gpu_peak_memory_mb"] < 0.8 * 1024
    assert "trying again with pieces of" in (folder / "log.txt").read_text()


def test_a_checkpoint_is_of_its_moment(tmp_path: Path) -> None:
    """Weights that change on the card right after the copy was asked for, before it is made."""
    weights = torch.zeros(2**24, device="cuda")
    writer = CheckpointWriter()
    for _ in range(20):
        weights.add_(1)
    writer.submit(tmp_path / "x.pt", {"weights": weights})
    for _ in range(20):
        weights.add_(1)
    writer.settle()
    found = torch.load(tmp_path / "x.pt", weights_only=True)["weights"]
    assert found.device.type == "cpu" and found.min() == found.max() == 20


def test_seeds_together_are_as_alone(tmp_path: Path, exact: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seeds in joint passes against each alone, float32 on the GPU."""
    monkeypatch.setattr(joint_choice, "forced", True)
    specs = expand(
        Registry(),
        methods=parse_settings("ce", what="method"),
        datasets=parse_settings("digits", what="dataset"),
        noise=parse_settings("symmetric:0.2", what="noise"),
        seeds=range(3),
        protocol=protocol("quick", {"epochs": 2, "optimizer": "sgd", "lr": 0.01, "precision": "fp32"}),
        data_root=tmp_path,
    )
    losses = {}
    for name in ("alone", "together"):
        store = RunStore(tmp_path / name)
        keys, options = [store.register(spec) for spec in specs], WorkerOptions(store.root, device="cuda")
        if name == "together":
            outcomes = list(execute_together(worker.execute, keys, options, lambda event: None))
        else:
            outcomes = [worker.execute(key, options, lambda event: None) for key in keys]
        assert {outcome.status for outcome in outcomes} == {"done"}
        losses[name] = [[row["loss"] for row in read_lines(store.folder(key) / "history.jsonl")] for key in keys]
    np.testing.assert_allclose(losses["together"], losses["alone"], rtol=1e-3)


@pytest.mark.parametrize("bf16", [False, True])
def test_a_joint_step_waits_for_nothing(bf16: bool, no_sync: None) -> None:
    run, _ = tiny(torch.device("cuda"))
    networks = run.networks(4)
    for network in networks:
        network.bf16 = bf16
    images = [torch.randn(32, 3, 16, 16, device="cuda") for _ in networks]
    stacks = Stacks()
    for step in range(3):
        if step == 1:  # the first loads kernels
            torch.cuda.set_sync_debug_mode("error")
        joint = JointPass(stacks.stack(list(networks)), images)
        for optimizer in networks.optimizers:
            optimizer.zero_grad()
        with collecting() as passes:
            for logits in joint.logits():
                logits.logsumexp(dim=1).mean().backward()
        joint_backward(passes)
        stacks.step(networks.optimizers)
