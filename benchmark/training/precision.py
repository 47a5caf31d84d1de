"""Which precision ``protocol.precision=auto`` means on this machine: bfloat16 where it was measured to be faster."""

from __future__ import annotations

import functools
from collections.abc import Collection
from pathlib import Path

import torch

_MEASURED = ("cnn_small", "cnn9", "resnet18", "resnet34", "preact_resnet18", "timm:resnet")
"""Beginnings of the names of convolutional networks whose time is in 3×3 convolutions."""

_LEAST_SIDE = {"amx_bf16": 64, "avx512_bf16": 32}
"""Instructions of a processor, the first that it has → the images from which bfloat16 is faster, in pixels. With AVX-512 alone, smaller
images gain nothing, cnn_small 1.35 × at 32 px and 1.7 × at 96, resnet18 1.6 × and 1.9 ×. With AMX a ResNet of 32 px lost, one of 128 px
gained 2 ×."""


def uses_bf16(setting: str, device: torch.device, *, backbone: str, side: int) -> bool:
    """Whether the forward passes of a run are in bfloat16.

    Args:
        setting: ``protocol.precision``.
        device: the run's.
        backbone: ``protocol.backbone``.
        side: the shorter side of the images in pixels; 0 for what has none.
    """
    if setting != "auto":
        return setting == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and pays_on_cpu(cpu_flags(), backbone, side)


def pays_on_cpu(flags: Collection[str], backbone: str, side: int) -> bool:
    """Whether bfloat16 is faster on a processor with these flags (as /proc/cpuinfo has them); False for what was not measured."""
    least = next((pixels for flag, pixels in _LEAST_SIDE.items() if flag in flags), None)
    return least is not None and side >= least and backbone.startswith(_MEASURED)


@functools.cache
def cpu_flags() -> frozenset[str]:
    """The instructions of this machine's processor; empty where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())
