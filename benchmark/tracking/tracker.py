"""Trackers: what a command's driver calls as its runs finish. None of them ever raises, or keeps a run waiting."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from benchmark.errors import BenchmarkError
from benchmark.tracking.command import Command, one_line, repair
from benchmark.tracking.mlflow_store import DATABASE, MlflowStore
from benchmark.tracking.record import read_record

logger = logging.getLogger(__name__)

INSTALL = "pip install 'mlflow>=3.10'"
HEAD_START_S = 10.0
"""Until then a command's own imports are over, which two threads had better not do together, and it trains."""
WAIT_S, WAIT_INTERRUPTED_S, WAIT_SILENTLY_S = 120.0, 5.0, 3.0
"""How long the end of a command waits for the mirror: at most, after Ctrl-C, and before it says what it waits for."""
_STATUS = {"finished": "FINISHED", "done": "FINISHED", "killed": "KILLED", "interrupted": "KILLED"}


class Tracker(Protocol):
    """What the driver knows of tracking. Only the driver's process calls it, and no call raises."""

    def start(self, command: str, cells: int) -> None:
        """A command begins that asks for so many cells."""

    def mirror(self, folder: Path) -> None:
        """A run was committed to this folder. One that is mirrored already costs a look-up; one without a result, nothing."""

    def finish(self, status: str) -> None:
        """The command ends: ``finished``, ``interrupted``, or anything else for a failure."""


class NullTracker:
    """Tracks nothing: for ``--no-tracking``, and where MLflow is not installed.

    Attributes:
        seconds: none.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def start(self, command: str, cells: int) -> None:
        """Do nothing."""

    def mirror(self, folder: Path) -> None:
        """Do nothing."""

    def finish(self, status: str) -> None:
        """Do nothing."""


class MlflowTracker:
    """Mirrors runs to an MLflow store in a thread of its own, so that neither MLflow's import nor a slow server holds up a run.

    The store is opened while the first runs train, or at the first that is committed: a command with nothing to do imports no
    MLflow. The first failure of the store is logged in one line, with the command that repairs the mirror; after it nothing
    more is tried, so that a dead server costs a command no time and no result. What is not mirrored within :data:`WAIT_S` after
    the last run, or within :data:`WAIT_INTERRUPTED_S` after Ctrl-C, is left to that command too.

    Args:
        uri: of the store; see :func:`store_uri` for None.
        runs: the runs folder.
        connect: opens the store; another one only in tests.

    Attributes:
        seconds: run key → how long its mirroring took, in the thread.
    """

    def __init__(self, uri: str | None, runs: Path, *, connect: Callable[[str, Path], MlflowStore] = MlflowStore) -> None:
        self._given, self._uri, self._runs, self._connect = uri, store_uri(uri, runs), runs, connect
        self._store: MlflowStore | None = None
        self._command: Command | None = None
        self._failed = False
        self.seconds: dict[str, float] = {}
        self._folders: queue.SimpleQueue[Path | None] = queue.SimpleQueue()  # paths: a million of them are no burden
        self._awake, self._status = threading.Event(), "FAILED"
        self._thread: threading.Thread | None = None

    def start(self, command: str, cells: int) -> None:
        """Remember the command; its parent run is created in each experiment that one of its runs belongs to."""
        self._command = Command.of_this_process(command, cells)
        if self._thread is not None:
            return
        self._awake.clear()
        self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)
        self._thread.start()

    def mirror(self, folder: Path) -> None:
        """Have one committed run mirrored. A folder that cannot be read is logged; the others go on."""
        if self._thread is None:
            self.start("run", 1)
        self._folders.put(folder)
        self._awake.set()

    def finish(self, status: str) -> None:
        """Wait for what is still to be mirrored, within bounds, and close the command's parent runs."""
        if self._thread is None:
            return
        self._status = _STATUS.get(status.lower(), "FAILED")
        self._folders.put(None)
        self._awake.set()
        with contextlib.suppress(KeyboardInterrupt):
            self._wait(WAIT_INTERRUPTED_S if self._status == "KILLED" else WAIT_S)
        if self._thread.is_alive() and not self._failed:
            self._failed = True  # the thread says and begins nothing more
            logger.warning("not all runs are mirrored to MLflow yet; mirror the rest with: %s", repair(self._runs, self._given))
        self._command = self._thread = None

    def _wait(self, seconds: float) -> None:
        assert self._thread is not None
        self._thread.join(min(seconds, WAIT_SILENTLY_S))
        if self._thread.is_alive() and not self._failed and seconds > WAIT_SILENTLY_S:
            left = self._folders.qsize()
            logger.warning("mirroring the last %d runs to MLflow, for %d s at most; Ctrl-C leaves them to a later sync", left, seconds)
            self._thread.join(seconds - WAIT_SILENTLY_S)

    def _work(self) -> None:
        """Open the store, mirror what comes, close the parents. Runs in the thread."""
        if not self._awake.wait(HEAD_START_S):
            self._open()
        while (folder := self._folders.get()) is not None:
            if not self._failed:
                self._mirror(folder)
        if self._store is None or self._failed:
            return
        try:
            self._store.finish(self._status)
        except Exception as error:
            self._give_up(error)

    def _open(self) -> None:
        if self._store is None and not self._failed:
            try:
                self._store = self._connect(self._uri, self._runs)
            except Exception as error:
                self._give_up(error)

    def _mirror(self, folder: Path) -> None:
        try:
            if not (folder / "result.json").is_file():
                return
            begun = time.perf_counter()
            record = read_record(folder)
            reading = time.perf_counter() - begun
        except Exception as error:
            logger.warning("not mirrored to MLflow: %s", error if isinstance(error, BenchmarkError) else one_line(error))
            return
        self._open()
        command, store = self._command, self._store
        if self._failed or store is None or command is None:  # finish() may have given up waiting meanwhile
            return
        try:
            begun = time.perf_counter()
            store.mirror(record, command)
            self.seconds[folder.name] = reading + time.perf_counter() - begun
        except Exception as error:  # whatever the network, a server, a database or a disk may raise
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        if self._failed:
            return
        self._failed = True
        reason = one_line(error, self._uri)
        logger.warning("MLflow tracking is off, results are safe: %s; repair the mirror with: %s", reason, repair(self._runs, self._given))


def store_uri(uri: str | None, runs: Path) -> str:
    """The URI that is used: the given one, else ``MLFLOW_TRACKING_URI``, else a sqlite file in the runs folder."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(runs.absolute() / DATABASE).as_posix()}"


def is_installed() -> bool:
    """Whether MLflow can be imported, without importing it."""
    try:
        return importlib.util.find_spec("mlflow") is not None
    except (ImportError, ValueError):
        return False


def make_tracker(enabled: bool, uri: str | None, runs: Path) -> NullTracker | MlflowTracker:
    """The tracker of a command; one that tracks nothing if it is not wanted, or (logged) if MLflow is missing."""
    if not enabled:
        return NullTracker()
    if not is_installed():
        logger.warning("runs are not mirrored, because MLflow is missing; install it with: %s, or say --no-tracking", INSTALL)
        return NullTracker()
    return MlflowTracker(uri, runs)
