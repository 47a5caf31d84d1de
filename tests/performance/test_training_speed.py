"""Epoch times against a bare PyTorch loop over the same tensors, network and batch, measured in the same process."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from benchmark.api import TrainingData
from benchmark.registry import Registry
from benchmark.spec import protocol
from benchmark.training.augment import normalization
from benchmark.training.context import RunContext
from benchmark.training.history import SampleHistory
from benchmark.training.networks import Networks
from benchmark.training.oracle import Oracle

pytestmark = pytest.mark.perf

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(autouse=True)
def _one_thread():
    """As a run has by default."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def data(n: int, size: int = 32) -> TrainingData:
    """Random RGB images of four classes."""
    images = torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, device=DEVICE)
    return TrainingData(images, torch.randint(0, 4, (n,), device=DEVICE), 4, ("a", "b", "c", "d"))


def context(training: TrainingData, backbone: str, batch_size: int) -> RunContext:
    """A run without folder and observer: training alone."""
    noise = Registry().load("noise", "symmetric")()
    settings = protocol("quick", {"backbone": backbone, "batch_size": batch_size, "epochs": 1})
    oracle = Oracle(training.labels.cpu().numpy(), noise, 0.2, 4, training.class_names)
    return RunContext(training, settings, seed=0, device=DEVICE, oracle=oracle)


def ours(name: str, training: TrainingData, backbone: str, batch_size: int):
    """One epoch of a method through the harness, networks built beforehand."""
    cls = Registry().load("method", name)
    built = context(training, backbone, batch_size).networks(cls.networks)

    def epoch() -> None:
        run = context(training, backbone, batch_size)
        run.networks = lambda *arguments, **options: built
        method = cls()
        method.run, method.data = run, training
        method.setup(training, run)
        for number in run.epochs("train", built):
            for batch in run.loader():
                run.step(built, method.training_step(batch, built, number), len(batch))
                run.history.record(number, batch.indices, batch.labels, built[0].last_logits)
        _wait()

    return epoch


def bare(training: TrainingData, backbone: str, batch_size: int):
    """The shortest loop that shuffles, normalises and trains."""
    networks: Networks = context(training, backbone, batch_size).networks(1)
    network, optimizer = networks[0], networks.optimizers[0]
    scale, bias = (part.view(1, -1, 1, 1) for part in normalization("dataset", training.images))

    def epoch() -> None:
        network.train()
        order = torch.randperm(training.n, device=DEVICE)
        for start in range(0, training.n, batch_size):
            picked = order[start : start + batch_size]
            images = training.images[picked].float() * scale + bias
            loss = F.cross_entropy(network(images), training.labels[picked])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        _wait()

    return epoch


def _wait() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


@pytest.mark.parametrize(("backbone", "n", "batch_size"), [("cnn_small", 2000, 32), ("cnn_small", 2000, 128), ("resnet18", 256, 32)])
def test_ce_against_a_bare_loop(backbone, n, batch_size, interleaved, report):
    training = data(n)
    mine, loop, ratio = interleaved(ours("ce", training, backbone, batch_size), bare(training, backbone, batch_size), rounds=7)
    report(f"ce epoch, {backbone}, 32 px, batch {batch_size}: {mine:.3f} s, bare loop {loop:.3f} s, ratio {ratio:.3f}")
    assert mine > 0


def test_coteaching_against_ce(interleaved, report):
    training = data(2000)
    pair, single, ratio = interleaved(ours("coteaching", training, "cnn_small", 32), ours("ce", training, "cnn_small", 32))
    report(f"co-teaching epoch, cnn_small, 32 px: {pair:.3f} s, ce {single:.3f} s, ratio {ratio:.3f}")
    assert pair > 0


def test_recording_the_history(interleaved, report):
    """Timed by itself: it is far below what two epochs of the same code differ by on a machine that others use."""
    training = data(2000)
    history = SampleHistory(training.n, 1, DEVICE)
    batches = [
        (rows, training.labels[rows], torch.randn(len(rows), 4, device=DEVICE)) for rows in torch.arange(2000, device=DEVICE).split(32)
    ]

    def record() -> None:
        for rows, labels, logits in batches:
            history.record(0, rows, labels, logits)
        _wait()

    recording, epoch, ratio = interleaved(record, ours("ce", training, "cnn_small", 32))
    report(f"recording the history: {1000 * recording:.1f} ms of a ce epoch of {1000 * epoch:.0f} ms, {100 * ratio:.2f} %")
    assert not torch.isnan(history.values).any()


@pytest.mark.parametrize("names", ["crop", "crop+flip+rot90", "crop+flip+rot90+color"])
def test_augmentation(names, interleaved, report):
    training = data(2000)
    plain = context(training, "cnn_small", 32).loader()
    settings = protocol("quick", {"augmentation": names, "epochs": 1})
    oracle = Oracle(None, Registry().load("noise", "symmetric")(), None, 4, training.class_names)
    augmented = RunContext(training, settings, seed=0, device=DEVICE, oracle=oracle).loader()
    with_it, without, _ = interleaved(lambda: list(augmented), lambda: list(plain))
    share = 1e6 * (with_it - without) / training.n
    report(f"augmentation {names}: {share:.1f} µs a sample more than batching alone ({1e6 * without / training.n:.1f} µs)")
    assert with_it > 0


@pytest.mark.parametrize("size", [8, 32])
def test_memory_order(size, interleaved, report):
    images, labels = torch.randn(32, 3, size, size, device=DEVICE), torch.randint(0, 4, (32,), device=DEVICE)

    def steps(order: torch.memory_format):
        torch.manual_seed(0)
        network = context(data(32, size), "cnn_small", 32).networks(1)[0].to(memory_format=order)
        ordered = images.contiguous(memory_format=order)

        def run() -> None:
            for _ in range(30):
                F.cross_entropy(network.head(network.trunk(ordered)), labels).backward()
            _wait()

        return run

    last, first, ratio = interleaved(steps(torch.channels_last), steps(torch.contiguous_format))
    per_sample = 1e6 / (30 * 32)
    figures = f"channels_last {last * per_sample:.0f} µs a sample, channels first {first * per_sample:.0f}, ratio {ratio:.2f}"
    report(f"forward and backward, cnn_small, {size} px, batch 32: {figures}")
    assert last > 0
