"""A slow store holds up no run: the mirror has a thread of its own, and the end of a command waits for it within bounds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.tracking import MlflowTracker, tracker

Writer = Callable[..., Path]


class Store:
    """A store whose every call takes its time."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.seen, self.status, self.threads = seconds, list[str](), "", set[int]()
        self.go = threading.Event()
        self.go.set()

    def mirror(self, record: Any, command: Any) -> None:
        assert self.go.wait(60)
        time.sleep(self.seconds)
        self.threads.add(threading.get_ident())
        self.seen.append(record.run_key)

    def finish(self, status: str) -> None:
        self.status = status


def begin(store: Store, runs: Path) -> MlflowTracker:
    found = MlflowTracker(None, runs, connect=lambda uri, runs: store)  # type: ignore[arg-type, return-value]
    found.start("run", 9)
    return found


def test_a_slow_store_holds_up_no_run_and_loses_none(tmp_path: Path, write_run: Writer) -> None:
    store = Store(seconds=0.1)
    folders = [write_run(tmp_path, seed) for seed in range(8)]
    mirror = begin(store, tmp_path)
    started = time.monotonic()
    for folder in folders:
        mirror.mirror(folder)
    assert time.monotonic() - started < 0.4  # the store takes 0.8 s over them
    mirror.finish("finished")
    assert time.monotonic() - started >= 0.8
    assert store.seen == [folder.name for folder in folders]
    assert store.status == "FINISHED" and threading.get_ident() not in store.threads


@pytest.mark.parametrize(("status", "bound"), [("finished", "WAIT_S"), ("interrupted", "WAIT_INTERRUPTED_S")])
def test_the_end_waits_within_bounds_and_says_how_to_mend_it(
    tmp_path: Path,
    write_run: Writer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: str,
    bound: str,
) -> None:
    monkeypatch.setattr(tracker, bound, 0.2)
    store = Store()
    store.go.clear()
    mirror = begin(store, tmp_path)
    for seed in range(3):
        mirror.mirror(write_run(tmp_path, seed))
    started = time.monotonic()
    mirror.finish(status)
    assert time.monotonic() - started < 5
    (record,) = caplog.records
    assert (
        record.getMessage() == f"not all runs are mirrored to MLflow yet; mirror the rest with: python -m benchmark sync --runs {tmp_path}"
    )
    store.go.set()
    time.sleep(0.2)
    assert len(store.seen) <= 1 and store.status == ""  # what had begun ends; nothing more is begun


def test_a_long_wait_is_announced(
    tmp_path: Path, write_run: Writer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracker, "WAIT_SILENTLY_S", 0.1)
    store = Store(seconds=0.3)
    mirror = begin(store, tmp_path)
    for seed in range(2):
        mirror.mirror(write_run(tmp_path, seed))
    mirror.finish("finished")
    assert len(store.seen) == 2 and store.status == "FINISHED"
    assert len(caplog.records) == 1 and "Ctrl-C leaves them to a later sync" in caplog.text


def test_ctrl_c_ends_the_wait(tmp_path: Path, write_run: Writer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.go.clear()
    mirror = begin(store, tmp_path)
    mirror.mirror(write_run(tmp_path, 1))

    def interrupted(self: Any, seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MlflowTracker, "_wait", interrupted)
    mirror.finish("finished")
    assert "sync" in caplog.text
    store.go.set()


def test_the_store_is_opened_while_the_first_runs_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "HEAD_START_S", 0.05)
    opened = threading.Event()
    mirror = MlflowTracker(None, tmp_path, connect=lambda uri, runs: opened.set() or Store())  # type: ignore[arg-type, func-returns-value]
    mirror.start("run", 3)
    assert opened.wait(10)
    mirror.finish("finished")


def test_nothing_is_opened_for_a_command_that_commits_nothing(tmp_path: Path) -> None:
    opened = threading.Event()
    mirror = MlflowTracker(None, tmp_path, connect=lambda uri, runs: opened.set() or Store())  # type: ignore[arg-type, func-returns-value]
    mirror.start("run", 3)
    mirror.finish("failed")
    assert not opened.is_set()


def test_a_store_that_fails_is_told_once_and_not_asked_again(tmp_path: Path, write_run: Writer, caplog: pytest.LogCaptureFixture) -> None:
    asked = []

    def connect(uri: str, runs: Path) -> Any:
        asked.append(uri)
        raise OSError("no route to host")

    mirror = MlflowTracker("http://u:secret-1@host", tmp_path, connect=connect)
    mirror.start("run", 3)
    with caplog.at_level(logging.INFO):
        for seed in range(3):
            mirror.mirror(write_run(tmp_path, seed))
        mirror.finish("finished")
    assert len(asked) == 1 and len(caplog.records) == 1 and "secret-1" not in caplog.text
