"""The step on data that cost nothing: one random batch that lies on the device already, trained on again and again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from tests.performance import loops
from tests.performance.measuring import interleaved

PEAKS = {"H200": 989e12, "H100 80GB HBM3": 989e12, "A100": 312e12}
"""Part of a device's name → its peak in bfloat16, dense, FLOP/s, from the makers' data sheets; of other cards it is not known here."""


@dataclass(frozen=True)
class Figures:
    """Images a second of the harness and of the synthetic step, and what a training pass costs.

    Attributes:
        share: median over the rounds of synthetic seconds over ours.
        flops: of one image, forward and backward, two for a multiplication with addition.
        peak: FLOP/s of the device in bfloat16, None where it is not known.
    """

    ours: float
    synthetic: float
    share: float
    flops: float
    peak: float | None

    def __str__(self) -> str:
        part = "share of the peak not known" if self.peak is None else f"{self.ours * self.flops / self.peak:.1%} of the bfloat16 peak"
        speed = f"ours {self.ours:.0f} images/s, {self.ours * self.flops / 1e12:.2f} TFLOP/s, {part}"
        return f"{speed}; on one synthetic batch {self.synthetic:.0f} images/s; {self.share:.1%} of it (≥ 70 %)"


def peak(device: torch.device) -> float | None:
    """FLOP/s in bfloat16 of a card by its name."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((value for part, value in PEAKS.items() if part in name), None)


def figures(
    backbone: str, *, size: int, batch_size: int, steps: int, rounds: int, device: torch.device, precision: str = "bf16"
) -> Figures:
    """Epochs of ``ce`` through the harness, data and augmentation on the device, against as many steps on one batch.

    Args:
        backbone, precision: of the protocol.
        size: side of the images in pixels.
        steps: batches an epoch.
        rounds: epochs of either, in turn, after one to warm up.
    """
    training = loops.data(steps * batch_size, size, device)
    epoch = loops.ours("ce", training, backbone, batch_size, precision=precision, augmentation="crop+flip")
    networks = loops.context(training, backbone, batch_size, precision=precision).networks(1)
    network, optimizer = networks[0].train(), networks.optimizers[0]
    images = torch.randn(batch_size, 3, size, size, device=device).to(memory_format=torch.channels_last)
    labels = training.labels[:batch_size]

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()

    def synthetic() -> None:
        for _ in range(steps):
            step()
        loops.wait(device)

    with FlopCounterMode(display=False) as counter:
        step()
    mine, theirs, ratio = interleaved(epoch, synthetic, rounds)
    return Figures(training.n / mine, training.n / theirs, 1 / ratio, counter.get_total_flops() / batch_size, peak(device))
