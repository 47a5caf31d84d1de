"""Checkpoints written by a thread: of the moment they were asked for, whole, one at a time, and never silently lost."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from benchmark.errors import BenchmarkError
from benchmark.training import checkpoint, checkpoint_writer
from benchmark.training.checkpoint_writer import CheckpointWriter, settle_all, snapshot, wait_for
from benchmark.training.context import RunContext

CPU = torch.device("cpu")


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The disk takes nothing before it is set."""
    opened, write = threading.Event(), checkpoint.write

    def slow(path: Path, payload: dict[str, Any]) -> None:
        assert opened.wait(10)
        write(path, payload)

    monkeypatch.setattr(checkpoint, "write", slow)
    return opened


def test_what_changes_later_is_not_in_the_file(tmp_path: Path, gate: threading.Event) -> None:
    weights, notes = torch.arange(4.0), {"epoch": 1, "lines": ["one"]}
    writer = CheckpointWriter()
    writer.submit(tmp_path / "x.pt", {"weights": weights, "again": [weights, weights[1:]], "notes": notes})
    weights.add_(10)
    notes["epoch"] = 2
    notes["lines"].append("two")  # type: ignore[attr-defined]
    assert writer.busy and not (tmp_path / "x.pt").exists()
    gate.set()
    writer.settle()
    found = checkpoint.load(tmp_path / "x.pt", CPU)
    assert found is not None and not writer.busy
    assert found["weights"].tolist() == found["again"][0].tolist() == [0, 1, 2, 3] and found["again"][1].tolist() == [1, 2, 3]
    assert found["notes"] == {"epoch": 1, "lines": ["one"]}
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


def test_a_copy_keeps_what_is_one_tensor_and_its_order_in_memory() -> None:
    images = torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    copy, copied = snapshot({"a": images, "b": (images, [1, "x", None])})
    copied()
    assert copy["a"] is copy["b"][0] and copy["a"] is not images and torch.equal(copy["a"], images)
    assert copy["a"].is_contiguous(memory_format=torch.channels_last) and copy["b"][1] == [1, "x", None]


def test_a_reader_in_the_same_process_waits(tmp_path: Path, gate: threading.Event) -> None:
    writer = CheckpointWriter()
    writer.submit(tmp_path / "x.pt", {"a": 1})
    threading.Timer(0.05, gate.set).start()
    wait_for(tmp_path / "other.pt")
    wait_for(tmp_path / "x.pt")
    assert checkpoint.load(tmp_path / "x.pt", CPU) == {"a": 1}
    settle_all()
    assert not checkpoint_writer._being_written


def test_one_after_the_other_and_then_what_was_asked_for(tmp_path: Path) -> None:
    writer, seen = CheckpointWriter(), []
    for number in range(3):
        writer.submit(tmp_path / "x.pt", {"a": number}, lambda: seen.append(checkpoint.load(tmp_path / "x.pt", CPU)))
    writer.settle()
    assert seen == [{"a": 0}, {"a": 1}, {"a": 2}]


def test_a_full_disk_is_told_by_the_next_call_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, payload: dict[str, Any]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "write", full)
    writer = CheckpointWriter()
    writer.submit(tmp_path / "x.pt", {"a": 1})
    with pytest.raises(OSError, match="No space left on device"):
        writer.submit(tmp_path / "x.pt", {"a": 2})
    writer.settle()
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_has_its_own_words(tmp_path: Path) -> None:
    """torch would say "unexpected pos", which names no cause."""
    path = Path("/dev/full")
    if not path.exists():
        pytest.skip("needs /dev/full")

    class Folder(type(tmp_path)):  # type: ignore[misc]
        def open(self, *args: Any, **kwargs: Any) -> Any:
            return path.open("wb", buffering=0)

        def with_name(self, name: str) -> Any:
            return self

    with pytest.raises(OSError, match="No space left on device") as found:
        checkpoint.write(Folder(tmp_path / "x.pt"), {"a": torch.zeros(100_000)})
    assert found.value.errno == errno.ENOSPC


def test_without_a_thread_it_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    writer = CheckpointWriter()
    writer.submit(tmp_path / "x.pt", {"a": 1})
    assert not writer.busy and checkpoint.load(tmp_path / "x.pt", CPU) == {"a": 1}
    writer.settle()
    wait_for(tmp_path / "x.pt")
    settle_all()


def test_a_signal_before_the_thread_has_begun_leaves_nothing_to_wait_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(self: threading.Thread) -> None:
        raise SystemExit(143)

    monkeypatch.setattr(threading.Thread, "start", ended)
    with pytest.raises(SystemExit):
        CheckpointWriter().submit(tmp_path / "x.pt", {"a": 1})
    settle_all()
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_kept_is_refused_at_once(tmp_path: Path) -> None:
    writer = CheckpointWriter()
    with pytest.raises(BenchmarkError, match=r"checkpoint\.state\.mine is a ndarray"):
        writer.submit(tmp_path / "x.pt", {"state": {"mine": np.zeros(3)}})
    writer.settle()
    assert not list(tmp_path.iterdir())


def train(run: RunContext, epochs: int = 3) -> None:
    networks = run.networks()
    for _ in run.epochs("train", networks, epochs=epochs):
        for batch in run.loader():
            run.step(networks, F.cross_entropy(networks[0](batch.images), batch.labels), len(batch))


def test_an_epoch_that_ends_while_the_disk_is_busy_goes_without(
    context: Callable[..., RunContext], tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training does not wait, and the stage's end is written all the same, after what was on its way."""
    written, submit = [], CheckpointWriter.submit
    monkeypatch.setattr(
        CheckpointWriter,
        "submit",
        lambda self, path, payload, *more: (written.append((path.name, payload["done"])), submit(self, path, payload, *more)),
    )
    run = context(folder=tmp_path)
    run._checkpoint_seconds = 1e-9
    networks = run.networks()
    for epoch in run.epochs("train", networks, epochs=4):
        for batch in run.loader():
            run.step(networks, F.cross_entropy(networks[0](batch.images), batch.labels), len(batch))
        if epoch == 3:
            gate.set()
    run.settle()
    assert written == [("last.pt", 1), ("train.pt", 4)]
    found = checkpoint.load(tmp_path / "last.pt", CPU)
    assert found is not None and found["done"] == 1
    again = context(folder=tmp_path)
    (tmp_path / "stages" / "train.pt").unlink()
    assert again._resume("train", again.networks(), None) == 1


def test_a_failing_disk_ends_the_run(context: Callable[..., RunContext], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, payload: dict[str, Any]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "write", full)
    with pytest.raises(OSError, match="No space left on device"):
        train(context(folder=tmp_path))
    run = context(folder=tmp_path)
    train(run, 1)  # one checkpoint: nothing after it that could tell but the end of the run
    with pytest.raises(OSError, match="No space left on device"):
        run.settle()


def test_the_training_thread_pays_for_the_copy_alone(tmp_path: Path, gate: threading.Event) -> None:
    writer = CheckpointWriter()
    begun = time.monotonic()
    writer.submit(tmp_path / "x.pt", {"a": torch.zeros(10)})
    assert time.monotonic() - begun < 5 and writer.busy  # the disk takes nothing yet
    gate.set()
    writer.settle()
