"""What the driver of the GPUs says, by a program that stands in for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark import system_metrics
from benchmark.system_metrics import Gpu, gpus


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")


def test_gpus_as_the_driver_tells_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, "echo 'NVIDIA H200, 87, 12000, 143771'; echo 'A, B, [N/A], [N/A], 80'; echo 'odd line'")
    assert gpus() == [Gpu("NVIDIA H200", 87.0, 12000.0, 143771.0), Gpu("A, B", None, None, 80.0)]


@pytest.mark.parametrize("body", ["exit 9", "printf '\\377\\376, 1, 2, 3'", "exec sleep 5", "true"])
def test_a_driver_that_does_not_answer_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    stand_in(tmp_path, monkeypatch, body)
    monkeypatch.setattr(system_metrics, "NVIDIA_SMI_S", 0.5)
    assert gpus() == []


def test_without_a_driver_there_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == []
