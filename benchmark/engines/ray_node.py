"""What happens on a node of a Ray cluster: one run in a warm worker process, in a scratch folder that only this node sees.

The Ray worker feeds a process of its own, exactly as the local engine does on one machine: what a run prints, leaks or
crashes stays there, and it ends with the Ray worker, however that ends. Ray has set CUDA_VISIBLE_DEVICES before, where the
run has a GPU; a node's own settings say whether it does so for the others, which are therefore given none here.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import json
import logging
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmark.engines.base import Job, WorkerOptions
from benchmark.engines.local import WORKER, LocalEngine
from benchmark.engines.parcel import Files, pack_run, unpack_plugins
from benchmark.files import atomic_write_text
from benchmark.registry import ENVIRONMENT
from benchmark.store import SPEC
from benchmark.training.names import RUNS_PER_GPU

logger = logging.getLogger(__name__)

SCRATCH = "noisy-label-benchmark-ray-"
LOG_TAIL = 65_536
EVENTS_EVERY_S = 0.2

ORPHAN_S = 3600.0
"""Age of a scratch folder without mark that counts as left behind: its worker was killed before it made one."""

MARK = ".alive"
MOST_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Order:
    """One run, with all that it needs.

    Attributes:
        key, label: of the job.
        spec: the content of its ``spec.json``; None in tests without one.
        options: of the worker, as a dict; its runs folder and plugin paths are replaced here.
        plugins: from :func:`benchmark.engines.parcel.pack_plugins`.
        command: starts a worker.
        cwd: the driver's folder, from which relative paths of data count; ignored where it does not exist.
        gpus: the run's share of a GPU, or a number of them; 0 for none.
    """

    key: str
    label: str
    spec: bytes | None
    options: dict[str, Any]
    plugins: list[tuple[str, Files]]
    command: tuple[str, ...] | None
    cwd: str
    gpus: float


class Mailbox:
    """The actor through which events reach the driver while runs go on."""

    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []

    def put(self, events: list[dict[str, Any]]) -> None:
        """Keep events until they are taken."""
        self._events += events

    def take(self) -> list[dict[str, Any]]:
        """All events since the last call."""
        events, self._events = self._events, []
        return events


class _Sender:
    """Passes events on, a few times a second; what cannot be delivered is dropped, since a run must not fail over it."""

    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox
        self._events: list[dict[str, Any]] = []
        self._sent, self._last = 0.0, None

    def __call__(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        if time.monotonic() - self._sent > EVENTS_EVERY_S:
            self.flush()

    def flush(self, wait_s: float = 0.0) -> None:
        """Send what is kept; wait for its arrival if asked to."""
        import ray

        with contextlib.suppress(ray.exceptions.RayError):
            if self._events:
                self._last = self._mailbox.put.remote(self._events)
                self._events, self._sent = [], time.monotonic()
            if wait_s and self._last is not None:
                ray.get(self._last, timeout=wait_s)


class _Home:
    """The scratch folder and the warm engine of this Ray worker."""

    def __init__(self, order: Order, surroundings: str) -> None:
        _remove_orphans()
        self.surroundings = surroundings
        self.folder, self._lock = _scratch_folder()
        runs = self.folder / "runs"
        runs.mkdir()
        if Path(order.cwd).is_dir():
            os.chdir(order.cwd)
        os.environ.pop(ENVIRONMENT, None)  # the driver's plugins came along; this node's own would be others, or the same twice
        plugins = unpack_plugins(order.plugins, self.folder / "plugins")
        self.options = dataclasses.replace(WorkerOptions.from_dict(order.options), runs=runs, plugins=plugins)
        seen = () if order.gpus else ("",)  # no GPU, whatever this process sees
        os.environ[RUNS_PER_GPU] = str(int(1 / order.gpus)) if 0 < order.gpus < 1 else "1"
        self.engine = LocalEngine(self.options, 1, seen, order.command or WORKER)
        atexit.register(self.close)

    def close(self) -> None:
        """End the worker and remove the folder."""
        atexit.unregister(self.close)
        self.engine.close()
        os.close(self._lock)
        shutil.rmtree(self.folder, ignore_errors=True)


_home: _Home | None = None


def carry_out(order: Order, mailbox: Any) -> dict[str, Any]:
    """Run one order to its end.

    Returns:
        ``outcome`` (fields of :class:`benchmark.engines.base.Outcome`), ``files`` of its run folder, ``node`` (host name), and the end of
        the worker's ``log`` where the outcome has no result.
    """
    home = _home_for(order)
    folder = home.options.runs / order.key
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier attempt on this node
    if order.spec is not None:
        folder.mkdir(parents=True)
        atomic_write_text(folder / SPEC, order.spec.decode())
    send = _Sender(mailbox)
    (outcome,) = home.engine.run([Job(order.key, order.label)], send)
    files, left_out = pack_run(folder)
    if left_out:
        send({"event": "message", "run_key": order.key, "message": _stays_behind(order, left_out)})
    send.flush(2.0)
    shutil.rmtree(folder, ignore_errors=True)
    log = home.engine.log_path(0)
    told = outcome.message.replace(f"; see {log}", "")
    tail = log.read_bytes()[-LOG_TAIL:] if outcome.status in ("failed", "killed", "timeout") and log.exists() else b""
    return {"outcome": {**dataclasses.asdict(outcome), "message": told}, "files": files, "node": os.uname().nodename, "log": tail}


def _stays_behind(order: Order, names: list[str]) -> str:
    named = ", ".join(ascii(name) for name in names[:MOST_NAMED])
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{order.label} ({order.key}): files whose names may not travel stay on {os.uname().nodename} and are lost: {named}{more}"


def _home_for(order: Order) -> _Home:
    """The home of this process; a new one for another driver's options, or on another GPU."""
    global _home  # noqa: PLW0603 - one for each Ray worker, and nobody hands anything from task to task
    plugins = [(name, {file: len(content) for file, content in files.items()}) for name, files in order.plugins]
    surroundings = json.dumps([order.options, order.command, plugins, order.gpus, os.environ.get("CUDA_VISIBLE_DEVICES")])
    if _home is None or _home.surroundings != surroundings:
        if _home is not None:
            _home.close()
        _home = _Home(order, surroundings)
    return _home


def _scratch_folder() -> tuple[Path, int]:
    """A new folder and the descriptor that holds its mark; the system lets go of it when this process ends, however it does."""
    import fcntl

    while True:
        folder = Path(tempfile.mkdtemp(prefix=SCRATCH))
        mark = os.open(folder / MARK, os.O_CREAT | os.O_RDWR)
        fcntl.flock(mark, fcntl.LOCK_EX)
        with contextlib.suppress(OSError):
            if os.fstat(mark).st_ino == (folder / MARK).stat().st_ino:
                return folder, mark
        os.close(mark)  # another worker took it for an orphan, between the two calls


def _remove_orphans() -> None:
    """Scratch folders whose Ray worker was killed."""
    import fcntl

    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        with contextlib.suppress(OSError):
            try:
                mark = os.open(folder / MARK, os.O_RDWR)
            except FileNotFoundError:
                if time.time() - folder.stat().st_mtime > ORPHAN_S:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(mark)
