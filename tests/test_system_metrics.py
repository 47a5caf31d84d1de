"""What is recorded of the machine while a run goes on, how the mirror names it, and what the driver of the GPUs says."""

from __future__ import annotations

import json
import time
import types
from pathlib import Path

import pytest
import torch

from benchmark import system_metrics
from benchmark.system_metrics import MEGABYTE, Gpu, SystemSampler, gpus
from benchmark.tracking.record import _system


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU as torch describes it."""
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 300 * MEGABYTE)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 500 * MEGABYTE)
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 85)


def lines_of(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_use_of_a_gpu_is_sampled_and_mirrored(tmp_path: Path, gpu: None) -> None:
    path = tmp_path / "system.jsonl"
    with SystemSampler(path, "cuda:0", interval=0.01) as sampler:
        while not path.exists() or len(path.read_text().splitlines()) < 2:
            time.sleep(0.005)
    assert sampler.gpu_peak_memory_mb() == 500
    assert {(line["gpu_memory_mb"], line["gpu_percent"]) for line in lines_of(path)} == {(300, 85)}
    points = {point.name: point.value for point in _system(tmp_path)}
    assert (points["system/gpu_memory_mb"], points["system/gpu_percent"]) == (300, 85)
    assert {"system/cpu_percent", "system/memory_mb"} < set(points)


def test_a_driver_that_does_not_tell_costs_only_its_number(tmp_path: Path, gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(device: str) -> int:
        raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed")

    monkeypatch.setattr(torch.cuda, "utilization", missing)
    line = SystemSampler(tmp_path / "system.jsonl", "cuda").sample()
    assert line["gpu_memory_mb"] == 300 and "gpu_percent" not in line


UUID = "c0ffee00-0000-4000-8000-000000000001"


@pytest.fixture
def without_nvml(monkeypatch: pytest.MonkeyPatch, gpu: None) -> None:
    """torch cannot tell how busy the card is, but which one it is."""

    def missing(device: str) -> int:
        raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed")

    monkeypatch.setattr(torch.cuda, "utilization", missing)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: types.SimpleNamespace(uuid=UUID))


def test_without_nvml_the_driver_is_asked_for_this_card(tmp_path: Path, without_nvml: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its UUID: with CUDA_VISIBLE_DEVICES=1 the process's card 0 is the driver's card 1."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    stand_in(tmp_path, monkeypatch, f'[ "$2" = GPU-{UUID} ] && echo 87')
    sampler = SystemSampler(tmp_path / "system.jsonl", "cuda:0")
    line = sampler.sample()
    assert (line["gpu_percent"], line["gpu_memory_mb"], line["gpu_peak_memory_mb"]) == (87, 300, 500)
    assert sampler.gpu_use() == {"gpu_percent_mean": 87, "gpu_percent_peak": 87}


def test_mean_and_peak_of_a_card(tmp_path: Path, gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([10, 40, 100])
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: next(values))
    sampler = SystemSampler(tmp_path / "system.jsonl", "cuda:0")
    for _ in range(3):
        sampler.sample()
    assert sampler.gpu_use() == {"gpu_percent_mean": 50, "gpu_percent_peak": 100}


def test_a_slow_driver_is_asked_less_often(tmp_path: Path, without_nvml: None, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, f"echo x >> {tmp_path}/asked; sleep 0.2; echo 50")
    sampler = SystemSampler(tmp_path / "system.jsonl", "cuda:0")
    assert [sampler.sample().get("gpu_percent") for _ in range(4)] == [50, None, None, None]
    assert (tmp_path / "asked").read_text() == "x\n"


@pytest.mark.parametrize("body", ["exit 9", "echo '[N/A]'"])
def test_a_driver_that_refuses_is_not_asked_again(tmp_path: Path, without_nvml: None, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    stand_in(tmp_path, monkeypatch, f"echo x >> {tmp_path}/asked; {body}")
    sampler = SystemSampler(tmp_path / "system.jsonl", "cuda:0")
    assert [sampler.sample().get("gpu_percent") for _ in range(3)] == [None, None, None]
    assert (tmp_path / "asked").read_text() == "x\n"
    assert sampler.gpu_use() == {"gpu_percent_mean": None, "gpu_percent_peak": None}


def test_on_a_cpu_there_is_no_gpu(tmp_path: Path) -> None:
    sampler = SystemSampler(tmp_path / "system.jsonl", "cpu")
    assert set(sampler.sample()) == {"time", "cpu_percent", "memory_mb"} and sampler.gpu_peak_memory_mb() is None


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
