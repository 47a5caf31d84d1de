"""What ``protocol.precision=auto`` means: a function of processor, network and size of the images."""

from __future__ import annotations

import pytest
import torch

from benchmark.training import precision
from benchmark.training.precision import cpu_flags, pays_on_cpu, uses_bf16

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("flags", "backbone", "side", "expected"),
    [
        ({"avx512f", "avx512_bf16"}, "cnn_small", 32, True),
        ({"avx512f", "avx512_bf16"}, "cnn_small", 31, False),
        ({"avx512f", "avx512_bf16"}, "resnet18", 224, True),
        ({"avx512f", "avx512_bf16"}, "timm:resnet34", 224, True),
        ({"avx512f", "avx512_bf16"}, "timm:vit_tiny_patch16_224", 224, False),
        ({"avx512f", "avx512_bf16"}, "linear", 0, False),
        ({"avx512_bf16", "amx_bf16"}, "resnet18", 32, False),
        ({"avx512_bf16", "amx_bf16"}, "resnet18", 64, True),
        ({"avx2", "avx512f"}, "resnet18", 224, False),
        (set(), "resnet18", 224, False),
    ],
)
def test_auto_on_a_cpu_is_bf16_where_it_was_faster(flags, backbone, side, expected, monkeypatch):
    assert pays_on_cpu(flags, backbone, side) is expected
    monkeypatch.setattr(precision, "cpu_flags", lambda: frozenset(flags))
    assert uses_bf16("auto", CPU, backbone=backbone, side=side) is expected
    assert uses_bf16("bf16", CPU, backbone=backbone, side=side)
    assert not uses_bf16("fp32", CPU, backbone=backbone, side=side)


def test_auto_on_a_gpu_asks_the_gpu(monkeypatch):
    for answer in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, answer=answer: answer)
        assert uses_bf16("auto", torch.device("cuda"), backbone="linear", side=0) is answer


def test_a_system_that_does_not_tell_has_no_flags(monkeypatch):
    cpu_flags.cache_clear()
    monkeypatch.setattr(precision, "Path", lambda name: type("Missing", (), {"read_text": lambda self: (_ for _ in ()).throw(OSError)})())
    assert cpu_flags() == frozenset()
    cpu_flags.cache_clear()
