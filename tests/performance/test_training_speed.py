"""Epoch times against a bare PyTorch loop over the same tensors, network and batch, measured in the same process."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from benchmark.registry import Registry
from benchmark.spec import protocol
from benchmark.training.context import RunContext
from benchmark.training.history import SampleHistory
from benchmark.training.oracle import Oracle
from tests.performance.loops import DEVICE, bare, context, data, ours, wait

pytestmark = [pytest.mark.perf, pytest.mark.usefixtures("one_thread")]


BOUNDS = {"cnn_small": 1.05, "resnet18": 1.02}
"""The most that an epoch of ``ce`` may cost, in epochs of the bare loop."""


@pytest.mark.parametrize(("backbone", "n", "batch_size"), [("cnn_small", 2000, 32), ("cnn_small", 2000, 128), ("resnet18", 256, 32)])
def test_ce_against_a_bare_loop(backbone, n, batch_size, interleaved, report):
    training = data(n)
    mine, loop, ratio = interleaved(ours("ce", training, backbone, batch_size), bare(training, backbone, batch_size), rounds=7)
    times = f"{mine:.3f} s, bare loop {loop:.3f} s, ratio {ratio:.3f} (≤ {BOUNDS[backbone]:.2f})"
    report(f"ce epoch, {backbone}, 32 px, batch {batch_size}, {DEVICE.type}: {times}")
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
        wait()

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
            wait()

        return run

    last, first, ratio = interleaved(steps(torch.channels_last), steps(torch.contiguous_format))
    per_sample = 1e6 / (30 * 32)
    figures = f"channels_last {last * per_sample:.0f} µs a sample, channels first {first * per_sample:.0f}, ratio {ratio:.2f}"
    report(f"forward and backward, cnn_small, {size} px, batch 32: {figures}")
    assert last > 0
