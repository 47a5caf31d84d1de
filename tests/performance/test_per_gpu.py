"""Several runs on one card: what ``--per-gpu`` gives where runs cannot be stacked."""

from __future__ import annotations

import pytest
import torch

pytestmark = [
    pytest.mark.perf,
    pytest.mark.gpu,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

RUNS, EPOCHS, BOUND = 8, 30, 2.0


def test_four_runs_on_a_card_against_one(command, report, tmp_path):
    """Eight trainings of ResNet-18 at 32 px as whole commands, the start of all processes included."""
    campaign = ("run", "--methods", "ce", "--baseline", "none", "--datasets", "tissue:n=4000", "--noise", "0.2", "--seeds", f"0-{RUNS - 1}")
    settings = ("--set", "protocol.backbone=resnet18", "--set", "protocol.precision=bf16", "--epochs", str(EPOCHS))
    options = ("--gpus", "0", "--no-tracking", "--quiet")
    seconds = {}
    for count in (1, 4):
        finished = command(*campaign, *settings, *options, "--per-gpu", str(count), "--runs", tmp_path / f"runs{count}")
        assert finished.status == 0, finished.output
        assert len(list((tmp_path / f"runs{count}").glob("*/result.json"))) == RUNS
        seconds[count] = finished.seconds
    speeds = ", ".join(f"--per-gpu {count} {taken:.1f} s ({RUNS * 3600 / taken:.0f} runs an hour)" for count, taken in seconds.items())
    card = torch.cuda.get_device_name()
    report(f"{RUNS} runs of ce, resnet18, 32 px, {EPOCHS} epochs, {card}: {speeds}; {seconds[1] / seconds[4]:.2f} × (≥ {BOUND:g})")
