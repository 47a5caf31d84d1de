"""Where studies are kept, and which of their running trials have a driver that is still alive.

A journal file below the runs folder by default: one file, no server, any number of drivers that see the folder. A database for
drivers on machines that do not. Each trial is an ordinary run besides, so a study that is lost costs no training.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import shutil
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError
from benchmark.files import cut_unfinished_line
from benchmark.lease import FILE as LEASE
from benchmark.lease import Lease, is_live
from benchmark.tracking.command import masked, one_line

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

__all__ = ["Drivers", "JournalDrivers", "ServerDrivers", "journal_path", "open_storage", "quiet"]

logger = logging.getLogger(__name__)

FOLDER, JOURNAL = "sweeps", "journal.log"
RECORD = b'{"op_code"'
"""How every line of a journal begins."""
DRIVERS = ".drivers"
DRIVER = "driver"
"""User attribute of a trial: the token of the driver that runs it."""
HEARTBEAT_S, GRACE_S = 30, 150
KEEP_S = 24 * 3600
SCHEMES = ("postgresql", "mysql", "sqlite")
MODULES = {"postgresql": ("psycopg2", "psycopg"), "mysql": ("pymysql", "mysqldb", "mysqlconnector")}
"""Packages that speak to a database, as a URL names them; which of them a bare scheme means depends on SQLAlchemy's version."""


class Drivers:
    """Tells which trials are being worked on. A context manager around one search."""

    token: str

    def __enter__(self) -> Drivers:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    def close(self) -> None:
        """This driver works on nothing any more."""

    def began(self, trial_id: int) -> None:
        """This driver runs a trial now."""

    def ended(self, trial_id: int) -> None:
        """It has told its value, or given it up."""

    def is_dead(self, trial: FrozenTrial, storage: BaseStorage, study_id: int) -> bool:
        """Whether the driver of a running trial is gone."""
        raise NotImplementedError


class JournalDrivers(Drivers):
    """Drivers that see the same journal file: each holds a lease beside it, as workers do on runs.

    Args:
        journal: the file.
        stale_s: seconds without a heartbeat after which a driver on another machine is dead.
    """

    def __init__(self, journal: Path, stale_s: float = 120.0) -> None:
        self._folder, self._stale_s = journal.with_name(journal.name + DRIVERS), stale_s
        self.token = secrets.token_hex(8)
        self._lease = Lease(self._folder / self.token, stale_s=stale_s)
        self._lease.acquire()
        self._bury()

    def close(self) -> None:
        """Give the lease back and tidy up."""
        self._lease.release()
        with contextlib.suppress(OSError):
            (self._folder / self.token).rmdir()

    def _bury(self) -> None:
        """Remove what drivers that were killed long ago have left; their trials are dead without it, too."""
        for folder in self._folder.iterdir():
            with contextlib.suppress(OSError):
                if folder.is_dir() and not is_live(folder / LEASE, self._stale_s) and time.time() - folder.stat().st_mtime > KEEP_S:
                    shutil.rmtree(folder)

    def is_dead(self, trial: FrozenTrial, storage: BaseStorage, study_id: int) -> bool:
        """A trial without a driver's name was left in the moment in which it was asked for: its age decides."""
        token = trial.user_attrs.get(DRIVER)
        if token == self.token:
            return False
        if not isinstance(token, str) or not token.isalnum():
            return _age_s(trial) > self._stale_s
        return not is_live(self._folder / token / LEASE, self._stale_s)


class ServerDrivers(Drivers):
    """Drivers that share only a database: Optuna's heartbeats, which this one writes for its trials in a thread.

    Args:
        storage: a relational storage with a heartbeat.
    """

    def __init__(self, storage: Any) -> None:
        self.token = secrets.token_hex(8)
        self._storage, self._running, self._stop = storage, set[int](), threading.Event()
        self._thread = threading.Thread(target=self._beat, args=(HEARTBEAT_S,), name="sweep-heartbeat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No more heartbeats."""
        self._stop.set()
        self._thread.join(5.0)

    def began(self, trial_id: int) -> None:
        """The first heartbeat is written at once."""
        self._storage.record_heartbeat(trial_id)
        self._running.add(trial_id)

    def ended(self, trial_id: int) -> None:
        """No more heartbeats for it."""
        self._running.discard(trial_id)

    def is_dead(self, trial: FrozenTrial, storage: BaseStorage, study_id: int) -> bool:
        """Whether Optuna calls the trial stale; one that never had a heartbeat is judged by its age."""
        if trial.user_attrs.get(DRIVER) == self.token:
            return False
        stale = self._storage._get_stale_trial_ids(study_id)  # the public function fails and requeues them too, in its own order
        return trial._trial_id in stale or (DRIVER not in trial.user_attrs and _age_s(trial) > GRACE_S)

    def _beat(self, interval_s: float) -> None:
        while not self._stop.wait(interval_s):
            for trial_id in list(self._running):
                try:
                    self._storage.record_heartbeat(trial_id)
                except Exception as error:  # whatever a database raises; the trial itself goes on
                    logger.debug("no heartbeat for trial %d: %s", trial_id, one_line(error, self._storage.url))


def journal_path(runs: Path) -> Path:
    """The journal of a runs folder."""
    return runs / FOLDER / JOURNAL


@contextlib.contextmanager
def open_storage(text: str | None, runs: Path) -> Iterator[tuple[BaseStorage, Drivers]]:
    """The storage of ``--storage`` and this process's place among its drivers.

    Args:
        text: the path of a journal file, or the URL of a database (``postgresql://…``, ``mysql://…``); None is the runs folder's journal.
        runs: the runs folder.

    Raises:
        BenchmarkError: it cannot be reached, read or written, or its driver is not installed.
    """
    scheme = text.partition("://")[0].partition("+")[0] if text and "://" in text else ""
    if scheme and scheme not in SCHEMES:
        known = ", ".join(f"{name}://…" for name in SCHEMES)
        raise BenchmarkError(f"--storage {masked(text or '')}: write the path of a journal file, or one of {known}")
    with quiet():
        if scheme:
            assert text is not None
            storage, drivers = _database(text)
        else:
            storage, drivers = _journal(Path(text) if text else journal_path(runs), given=bool(text))
        from optuna.exceptions import StorageInternalError

        try:
            with drivers:
                yield storage, drivers
        except StorageInternalError as error:
            where = masked(text or "", text or "")
            cause = one_line(error.__cause__ or error, text or "")
            raise BenchmarkError(f"--storage {where} is gone: {cause}; give the same command again") from None
        except OSError as error:
            journal = str(Path(text) if text else journal_path(runs))
            if scheme or not (error.filename is None or str(error.filename).startswith((journal, str(Path(journal).absolute())))):
                raise
            reason = error.strerror or str(error)
            raise BenchmarkError(f"cannot keep studies in {journal}: {reason}; mend that and give the same command again") from error


def _journal(path: Path, given: bool) -> tuple[BaseStorage, Drivers]:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

    option = "--storage" if given else "--runs"
    path = path.absolute()  # Optuna's lock is a link to it, which must lead there from everywhere
    try:
        if path.is_dir():
            raise BenchmarkError(f"--storage {path} is a folder; give a file, e.g. {path / JOURNAL}")
        _check_journal(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        drivers = JournalDrivers(path)
        try:
            path.touch()
            lock = JournalFileSymlinkLock(str(path))
            lock.acquire()
            try:
                cut_unfinished_line(path)  # what a full disk or a kill has left would make the next line unreadable too
            finally:
                lock.release()
            storage = JournalStorage(JournalFileBackend(str(path)))
            storage.get_all_studies()  # reads it all, so that what cannot be read shows here
            return storage, drivers
        except BaseException:
            drivers.close()
            raise
    except OSError as error:
        raise BenchmarkError(f"cannot keep studies in {path}: {error.strerror or error}; choose another place with {option}") from error
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise BenchmarkError(f"{path} is no journal of studies ({type(error).__name__}); give another file with --storage") from error


def _check_journal(path: Path) -> None:
    """Refuse, untouched, a file that is something else; BenchmarkError."""
    if not path.exists():
        return
    with path.open("rb") as file:
        first = file.read(len(RECORD))
    if not RECORD.startswith(first):
        raise BenchmarkError(f"{path} is no journal of studies; give another file with --storage")


def _database(url: str) -> tuple[BaseStorage, Drivers]:
    from optuna.storages import RDBStorage

    try:
        storage = RDBStorage(
            _with_driver(url),
            engine_kwargs={} if url.startswith("sqlite") else {"pool_pre_ping": True},
            heartbeat_interval=HEARTBEAT_S,
            grace_period=GRACE_S,
        )
    except ImportError as error:
        extra = "mysql" if url.startswith("mysql") else "postgresql"
        raise BenchmarkError(
            f"--storage {masked(url, url)} needs a database driver that is not installed; pip install 'noisy-label-benchmark[{extra}]'"
        ) from error
    except Exception as error:  # whatever SQLAlchemy, a database or the network raise
        if "compatible with the table schema" in str(error):  # both note the version of their tables under one name
            what = "tables of another Optuna, or of another program such as MLflow; give the studies a database of their own"
            raise BenchmarkError(f"--storage {masked(url, url)} holds {what}") from None
        raise BenchmarkError(f"--storage {masked(url, url)} cannot be used: {one_line(error, url)}") from None
    return storage, ServerDrivers(storage)


def _with_driver(url: str) -> str:
    """The URL with the package that is installed, where it names none."""
    from importlib.util import find_spec

    scheme, separator, rest = url.partition("://")
    there = next((module for module in MODULES.get(scheme, ()) if find_spec({"mysqldb": "MySQLdb"}.get(module, module))), None)
    return f"{scheme}+{there}{separator}{rest}" if there else url


def _age_s(trial: FrozenTrial) -> float:
    from datetime import datetime

    return (datetime.now() - trial.datetime_start).total_seconds() if trial.datetime_start else float("inf")  # Optuna's times are local


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Optuna's own lines and the warnings of what it calls experimental say nothing to the one who searches."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for said in ("Fixed parameter", "Heartbeat of storage"):
            warnings.filterwarnings("ignore", message=said, category=UserWarning)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(before)
