"""Runs that do not fit into memory: tried again in smaller pieces from where they were, or given up in words."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark import worker
from benchmark.engines.base import Outcome, WorkerOptions
from benchmark.files import read_lines
from benchmark.grammar import parse_settings
from benchmark.out_of_memory import OutOfMemoryError, is_out_of_memory, within_memory
from benchmark.registry import Registry
from benchmark.spec import expand, protocol
from benchmark.store import RunStore
from benchmark.training.backbones import Network
from benchmark.training.micro_batch import Pieces

GPU = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 139 GiB"
CPU = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."


def test_what_is_want_of_memory() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError(GPU)) and is_out_of_memory(RuntimeError(CPU))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"))
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"))
    assert not is_out_of_memory(RuntimeError("size mismatch")) and not is_out_of_memory(ValueError(CPU))


def test_pieces_are_halved_until_they_fit() -> None:
    seen = []

    def attempt(pieces: Pieces) -> str:
        seen.append(pieces.size)
        if pieces.size is None or pieces.size > 3:
            raise torch.OutOfMemoryError(GPU)
        return "fits"

    assert within_memory(attempt, 30) == "fits" and seen == [None, 15, 7, 3]


def test_other_errors_are_not_tried_again() -> None:
    def attempt(pieces: Pieces) -> None:
        seen.append(pieces.size)
        raise RuntimeError("size mismatch")

    seen: list[Any] = []
    with pytest.raises(RuntimeError, match="size mismatch"):
        within_memory(attempt, 8)
    assert seen == [None]


def test_nothing_of_an_attempt_is_held_in_the_next() -> None:
    held: list[weakref.ref[Tensor]] = []

    def attempt(pieces: Pieces) -> bool:
        assert all(reference() is None for reference in held)
        activations = torch.zeros(8)
        held.append(weakref.ref(activations))
        if pieces.size != 1:
            raise torch.OutOfMemoryError(GPU)
        return True

    assert within_memory(attempt, 4) and len(held) == 3


@pytest.mark.parametrize(
    ("least", "refusal", "tried"),
    [(1, "", "8 samples, 4, 2, 1 at a time:"), (2, "", "8 samples, 4, 2 at a time:"), (1, "bags", "8 samples at a time (bags):")],
)
def test_it_gives_up_in_words(least: int, refusal: str, tried: str) -> None:
    def attempt(pieces: Pieces) -> None:
        pieces.least, pieces.refusal = least, refusal
        raise torch.OutOfMemoryError(GPU)

    with pytest.raises(OutOfMemoryError) as found:
        within_memory(attempt, 8)
    text = str(found.value)
    assert (
        text.startswith(f"out of memory, tried with {tried} CUDA out of memory;") and "--per-gpu" in text and "protocol.batch_size" in text
    )
    assert "\n" not in text and found.value.__context__ is None


# ------------------------------------------------------------------------------------------------------------ the worker


@pytest.fixture
def execute(tmp_path: Path) -> Callable[..., tuple[Outcome, Path]]:
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    images = rng.normal(60 + 60 * labels[:, None, None], 40, (90, 8, 8)).clip(0, 255).astype(np.uint8)
    np.savez(tmp_path / "mine.npz", images=images, labels=labels)

    def run(method: str = "ce", runs: str = "runs", **settings: Any) -> tuple[Outcome, Path]:
        store = RunStore(tmp_path / runs)
        (spec,) = expand(
            Registry(),
            methods=parse_settings(method, what="method"),
            datasets=parse_settings(f"npz:{tmp_path / 'mine.npz'}", what="dataset"),
            noise=parse_settings("symmetric:0.3", what="noise"),
            seeds=[0],
            protocol=protocol("quick", {"epochs": 3, "batch_size": 16, "last_k": 2, **settings}),
            data_root=tmp_path / "data",
        )
        key = store.register(spec)
        options = WorkerOptions(store.root, device="cpu", data_root=tmp_path / "data", checkpoint_seconds=0.0)
        return worker.execute(key, options, lambda event: None), store.folder(key)

    return run


def short_of_memory(monkeypatch: pytest.MonkeyPatch, most: int, after: int = 0, evaluation: int = 10**9) -> list[tuple[bool, int]]:
    """From the call number ``after`` on, no more than ``most`` images fit with gradients, and ``evaluation`` without."""
    seen: list[tuple[bool, int]] = []
    forward = Network._features

    def features(self: Network, images: Tensor) -> Tensor:
        seen.append((torch.is_grad_enabled(), len(images)))
        if len(seen) > after and len(images) > (most if torch.is_grad_enabled() else evaluation):
            raise torch.OutOfMemoryError(GPU)
        return forward(self, images)

    monkeypatch.setattr(Network, "_features", features)
    return seen


def result_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def test_a_run_that_fits_says_nothing_of_pieces(execute: Callable[..., tuple[Outcome, Path]]) -> None:
    outcome, folder = execute()
    assert outcome.status == "done" and result_of(folder)["cost"]["micro_batch"] is None


def test_a_run_that_does_not_fit_is_done_in_pieces(
    execute: Callable[..., tuple[Outcome, Path]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen = short_of_memory(monkeypatch, most=5)
    outcome, folder = execute()
    assert outcome.status == "done" and not (folder / "error.json").exists()
    assert result_of(folder)["cost"]["micro_batch"] == 4
    assert max(size for graded, size in seen[-40:] if graded) <= 4
    words = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [text.partition(":")[0] for text in words if "out of memory" in text] == [
        "out of memory with 16 samples at a time (CUDA out of memory); trying again with pieces of 8",
        "out of memory with 8 at a time (CUDA out of memory); trying again with pieces of 4",
    ]
    assert "trying again with pieces of 4" in (folder / "log.txt").read_text()
    assert [row["epoch"] for row in read_lines(folder / "history.jsonl")] == [0, 1, 2]


def test_it_goes_on_from_its_checkpoints(execute: Callable[..., tuple[Outcome, Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that somebody else takes in the third epoch: the first two are not trained again."""
    plain, _ = execute(runs="first", epochs=2)
    assert plain.status == "done"
    seen = short_of_memory(monkeypatch, most=10**9)
    execute(runs="count")
    epoch = sum(1 for graded, _ in seen if graded) // 3
    monkeypatch.undo()
    seen = short_of_memory(monkeypatch, most=8, after=len(seen) * 2 // 3 + 1)
    outcome, folder = execute()
    assert outcome.status == "done" and result_of(folder)["cost"]["micro_batch"] == 8
    whole = [size for graded, size in seen if graded and size > 8]
    assert len(whole) in range(2 * epoch, 3 * epoch)
    assert [row["epoch"] for row in read_lines(folder / "history.jsonl")] == [0, 1, 2]


def test_evaluation_that_does_not_fit(execute: Callable[..., tuple[Outcome, Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = short_of_memory(monkeypatch, most=10**9, evaluation=9)
    outcome, _ = execute()
    assert outcome.status == "done" and max(size for graded, size in seen[-5:] if not graded) <= 9


def test_a_run_that_never_fits_fails_in_one_line(execute: Callable[..., tuple[Outcome, Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    short_of_memory(monkeypatch, most=1)
    outcome, folder = execute("coteaching")
    assert outcome.status == "failed"
    assert outcome.message.startswith("out of memory, tried with 16 samples, 8, 4, 2 at a time: CUDA out of memory; give fewer runs a card")
    error = json.loads((folder / "error.json").read_text())
    assert error["type"] == "OutOfMemoryError" and not (folder / "result.json").exists() and not (folder / "lease.json").exists()
    gc.collect()
