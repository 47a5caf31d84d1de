"""Trackers: what a command's driver calls as its runs finish. None of them ever raises."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from benchmark.errors import BenchmarkError
from benchmark.tracking.command import Command, one_line, repair
from benchmark.tracking.mlflow_store import DATABASE, MlflowStore
from benchmark.tracking.record import read_record

logger = logging.getLogger(__name__)

INSTALL = "pip install 'mlflow>=3.10'"
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
    """Tracks nothing: for ``--no-tracking``, and where MLflow is not installed."""

    def start(self, command: str, cells: int) -> None:
        """Do nothing."""

    def mirror(self, folder: Path) -> None:
        """Do nothing."""

    def finish(self, status: str) -> None:
        """Do nothing."""


class MlflowTracker:
    """Mirrors runs to an MLflow store, which it opens at the first run: a command with nothing to do imports no MLflow.

    The first failure of the store is logged in one line, with the command that repairs the mirror; after it nothing more
    is tried, so that a dead server costs a command seconds and no result.

    Args:
        uri: of the store; see :func:`store_uri` for None.
        runs: the runs folder.
        connect: opens the store; another one only in tests.
    """

    def __init__(self, uri: str | None, runs: Path, *, connect: Callable[[str, Path], MlflowStore] = MlflowStore) -> None:
        self._given, self._uri, self._runs, self._connect = uri, store_uri(uri, runs), runs, connect
        self._store: MlflowStore | None = None
        self._command: Command | None = None
        self._failed = False

    def start(self, command: str, cells: int) -> None:
        """Remember the command; its parent run is created in each experiment that one of its runs belongs to."""
        self._command = Command.of_this_process(command, cells)

    def mirror(self, folder: Path) -> None:
        """Mirror one committed run. A folder that cannot be read is logged; the others go on."""
        if self._failed:
            return
        try:
            if not (folder / "result.json").is_file():
                return
            record = read_record(folder)
        except Exception as error:
            logger.warning("not mirrored to MLflow: %s", error if isinstance(error, BenchmarkError) else one_line(error))
            return
        try:
            if self._store is None:
                self._store = self._connect(self._uri, self._runs)
            if self._command is None:
                self.start("run", 1)
            assert self._command is not None
            self._store.mirror(record, self._command)
        except Exception as error:  # whatever the network, a server, a database or a disk may raise
            self._give_up(error)

    def finish(self, status: str) -> None:
        """Close the command's parent runs."""
        self._command = None
        if self._failed or self._store is None:
            return
        try:
            self._store.finish(_STATUS.get(status.lower(), "FAILED"))
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
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


def make_tracker(enabled: bool, uri: str | None, runs: Path) -> Tracker:
    """The tracker of a command; one that tracks nothing if it is not wanted, or (logged) if MLflow is missing."""
    if not enabled:
        return NullTracker()
    if not is_installed():
        logger.warning("runs are not mirrored, because MLflow is missing; install it with: %s, or say --no-tracking", INSTALL)
        return NullTracker()
    return MlflowTracker(uri, runs)
