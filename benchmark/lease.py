"""Who works on a run: one file that only one process can hold, that a crash cannot leave locked for ever.

The file ``lease.json`` names its holder; its mtime is the heartbeat. A lease is dead when its process is gone (judged on
the same machine) or when the heartbeat has stopped. Any number of drivers and machines may share one folder.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import TracebackType

import psutil

from benchmark.errors import BenchmarkError, LeaseLostError
from benchmark.files import TEMPORARY, remove_temporary

try:
    import fcntl
except ImportError:  # Windows: the rename alone decides
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

FILE = "lease.json"
HEARTBEAT_S = 15.0
STALE_S = 120.0
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""What file systems say that cannot link."""


class BusyError(BenchmarkError):
    """Another live process holds the lease."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    Attributes:
        host: its name, for people.
        machine: boot and process-id namespace; process ids can be compared only where this is equal.
        pid, started: the process, and its start in seconds since boot, so that a recycled pid is not mistaken for it.
        token: random; tells two leases of one process apart.
        since: UTC, ISO 8601.
    """

    host: str
    machine: str
    pid: int
    started: float
    token: str
    since: str

    @classmethod
    def this_process(cls) -> Holder:
        """A new holder with a fresh token."""
        started = _process_start(os.getpid())
        return cls(socket.gethostname(), _machine(), os.getpid(), started or 0.0, secrets.token_hex(8), datetime.now(UTC).isoformat())

    @classmethod
    def read(cls, path: Path) -> Holder | None:
        """The holder that a lease file names; None if there is no file or it cannot be read (say, half-written)."""
        try:
            data = json.loads(path.read_bytes())
            return cls(**data) if isinstance(data.get("token"), str) and isinstance(data.get("pid"), int) else None
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def same_process(self, other: Holder) -> bool:
        """Whether both are the same process, whatever the token."""
        return (self.host, self.machine, self.pid) == (other.host, other.machine, other.pid) and abs(self.started - other.started) < 1

    def gone(self) -> bool:
        """Whether the process is known to have ended; False if it lives or runs on a machine that cannot be asked."""
        if (self.host, self.machine) != (socket.gethostname(), _machine()):
            return False
        try:
            started = _process_start(self.pid)
        except psutil.AccessDenied:
            return False
        return started is None or abs(started - self.started) > 1


def is_live(path: Path, stale_s: float = STALE_S) -> bool:
    """Whether somebody holds this lease file now; False if there is none."""
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return False
    if age > stale_s:
        return False
    holder = Holder.read(path)
    return holder is None or not holder.gone()  # an unreadable lease may be about to be written: its age decides


class Lease:
    """The right to write to one run's folder; use it as a context manager.

    Args:
        folder: of the run; created if absent. Its parent holds the lock file ``.lock`` that guards take-overs.
        heartbeat_s: seconds between touches of the file, by a daemon thread.
        stale_s: seconds without heartbeat after which others may take over.

    Raises (on entering):
        BusyError: a live process holds it.
        BenchmarkError: the folder cannot be written.
    """

    def __init__(self, folder: Path, *, heartbeat_s: float = HEARTBEAT_S, stale_s: float = STALE_S) -> None:
        self.path = folder / FILE
        self.heartbeat_s = heartbeat_s
        self.stale_s = stale_s
        self._holder: Holder | None = None
        self._stop = threading.Event()

    def __enter__(self) -> Lease:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lease, from a dead holder if need be, and start the heartbeat. See the class for what is raised."""
        if self._holder is not None:
            raise BusyError(f"run {self.path.parent.name} is already held by this object")
        holder = Holder.this_process()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with exclusive(self.path.parent.parent):
                self._remove_dead()
                self._create(holder)
        except OSError as error:
            reason = error.strerror or str(error)
            raise BenchmarkError(f"cannot lease {self.path.parent}: {reason}; choose another folder with --runs DIR") from error
        self._holder = holder
        remove_temporary(self.path.parent, self.path.parent / "stages")
        self._stop = threading.Event()
        threading.Thread(target=self._beat, args=(self._stop,), name=f"lease-{self.path.parent.name}", daemon=True).start()

    def check(self) -> None:
        """Raise LeaseLostError if the lease is no longer ours; cheap enough for every epoch and every commit."""
        if not self._ours():
            raise LeaseLostError(f"run {self.path.parent.name} was taken over by another driver; this worker stops writing to it")

    def release(self) -> None:
        """Give the lease back. Somebody else's is left alone; releasing twice does nothing."""
        self._stop.set()
        if self._holder is None:
            return
        try:
            with exclusive(self.path.parent.parent):
                if self._ours():
                    self.path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("could not remove %s (%s); it is dead once this process ends", self.path, error)
        self._holder = None

    def _ours(self) -> bool:
        found = Holder.read(self.path)
        return self._holder is not None and found is not None and found.token == self._holder.token

    def _remove_dead(self) -> None:
        """Clear a dead lease out of the way; only one thief wins the rename. Raises BusyError for a live one."""
        try:
            judged = self.path.stat().st_ino
        except FileNotFoundError:
            return
        holder = Holder.read(self.path)
        if is_live(self.path, self.stale_s):
            raise BusyError(_busy(self.path, holder))
        grave = self.path.with_name(f"{FILE}.{secrets.token_hex(8)}{TEMPORARY}")
        try:
            self.path.rename(grave)
        except FileNotFoundError:
            return  # another thief was first: creating the new file decides
        if grave.stat().st_ino != judged:  # where locks do not work: a new lease came between the look and the rename
            with contextlib.suppress(OSError):
                self.path.hardlink_to(grave)
            grave.unlink(missing_ok=True)
            raise BusyError(_busy(self.path, Holder.read(self.path)))
        logger.info("took over %s from %s", self.path.parent.name, f"pid {holder.pid} on {holder.host}" if holder else "an unknown process")
        grave.unlink(missing_ok=True)

    def _create(self, holder: Holder) -> None:
        """Put the whole lease in place in one step: half of one, left by a kill, would pass for live until its age tells."""
        draft = self.path.with_name(f"{FILE}.{holder.token}{TEMPORARY}")
        try:
            draft.write_bytes(json.dumps(asdict(holder)).encode())
            self.path.hardlink_to(draft)
        except (FileExistsError, FileNotFoundError):  # not found: somebody who holds the lease has tidied the folder
            raise BusyError(_busy(self.path, Holder.read(self.path))) from None
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            self._create_in_two_steps(holder)
        finally:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)

    def _create_in_two_steps(self, holder: Holder) -> None:
        """For file systems without hard links."""
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            raise BusyError(_busy(self.path, Holder.read(self.path))) from None
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps(asdict(holder)).encode())
        except OSError:
            self.path.unlink(missing_ok=True)
            raise

    def _beat(self, stop: threading.Event) -> None:
        while not stop.wait(self.heartbeat_s):
            if not self._ours():
                continue  # lost, or not readable for a moment; check() tells the worker
            try:
                os.utime(self.path)
            except OSError as error:
                logger.debug("heartbeat of %s failed: %s", self.path, error)


@contextlib.contextmanager
def exclusive(root: Path, patience_s: float = 10.0) -> Iterator[None]:
    """Hold the folder's lock for a few system calls. The system frees it when the holder dies.

    Where locks do not work (some network file systems), or stay taken for ``patience_s``, it goes on without: the rename
    and the exclusive creation still allow one winner only.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(root / ".lock", os.O_CREAT | os.O_RDONLY, 0o666)
    try:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.002)
            except OSError:
                break
        yield
    finally:
        os.close(descriptor)


def _busy(path: Path, holder: Holder | None) -> str:
    who = f"pid {holder.pid} on {holder.host} since {holder.since[:19]} UTC" if holder else "another process"
    return f"run {path.parent.name} is being worked on by {who}; wait for it or stop that process"


def _process_start(pid: int) -> float | None:
    """Seconds from boot to the process's start (no change of the clock alters it); None if it has ended, zombies included."""
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        return float(process.create_time() - psutil.boot_time())
    except psutil.NoSuchProcess:
        return None


@cache
def _machine() -> str:
    """Boot and pid namespace: containers may share a host name, yet not see each other's processes."""
    parts = []
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return "/".join(parts)
