"""A large network on a card against its step on synthetic data."""

from __future__ import annotations

import pytest
import torch

from tests.performance.synthetic import Figures, figures


@pytest.mark.perf
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("backbone", ["timm:resnet34", "resnet34"])
def test_resnet34_at_256_px(backbone, report):
    """``timm:resnet34`` is the published network; ``resnet34`` has the stem for small images and 14 times the arithmetic."""
    if backbone.startswith("timm:"):
        pytest.importorskip("timm")
    found = figures(backbone, size=256, batch_size=96, steps=30, rounds=5, device=torch.device("cuda"))
    report(f"{backbone}, 256 px, batch 96, bfloat16, {torch.cuda.get_device_name()}: {found}")
    assert found.ours > 0


def test_figures_of_a_tiny_step():
    """What the card's test calls, on a CPU: the first convolution of cnn_small alone is 2 · 27 · 24 · 64 operations at 8 px."""
    found = figures("cnn_small", size=8, batch_size=4, steps=2, rounds=1, device=torch.device("cpu"), precision="fp32")
    assert found.ours > 0
    assert found.synthetic > 0
    assert found.peak is None
    first, second, third = 2 * 27 * 24 * 64, 2 * 9 * 24 * 48 * 16, 2 * 9 * 48 * 96 * 4
    head = 2 * 96 * 4
    # backwards, each costs twice as much again; but the images need no gradient
    assert found.flops == 2 * first + 3 * (second + third + head)


def test_text_of_the_figures():
    text = str(Figures(ours=1000.0, synthetic=1250.0, share=0.8, flops=2e10, peak=1e15))
    assert (
        text == "ours 1000 images/s, 20.00 TFLOP/s, 2.0% of the bfloat16 peak; on one synthetic batch 1250 images/s; 80.0% of it (≥ 70 %)"
    )
