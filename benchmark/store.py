"""Run folders: what state a run is in, who works on it, and its result, committed in one step.

A run is the folder ``<root>/<run_key>/``. The files in it say everything; there is no index to get out of step. A folder
that cannot be read is moved to ``<root>/quarantine/`` and the run counts as missing: it never stops the others.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import json
import logging
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark.errors import BenchmarkError, LeaseLostError, unknown_name
from benchmark.files import TEMPORARY, append_line, atomic_write_text, read_lines
from benchmark.lease import FILE as LEASE
from benchmark.lease import HEARTBEAT_S, STALE_S, BusyError, Holder, Lease, exclusive, is_live
from benchmark.spec import SCHEMA, RunSpec

__all__ = ["BusyError", "Lease", "RunStore", "Status", "append_line", "read_lines"]

logger = logging.getLogger(__name__)

SPEC, RESULT, ERROR, CHECKPOINT, STAGES, HISTORY = "spec.json", "result.json", "error.json", "last.pt", "stages", "history"
MODEL = "model.safetensors"
"""The final networks, in runs that were asked to keep them; see :mod:`benchmark.clean.weights`."""
QUARANTINE = "quarantine"
PHASES = "phases"
"""Finished phases that runs of one campaign share; see :meth:`benchmark.training.context.RunContext.phase`."""
_KEY = re.compile(r"[0-9a-f]{16}")


class Status(enum.StrEnum):
    """The state of a run's folder."""

    DONE = "done"
    """A result, by this code."""
    STALE = "stale"
    """A result, by other code."""
    RUNNING = "running"
    """Somebody alive works on it."""
    DEAD = "dead"
    """Begun and left; it resumes from its last checkpoint."""
    FAILED = "failed"
    """It ended with an error."""
    MISSING = "missing"
    """Nothing there."""


class RunStore:
    """The runs below one folder. Objects are cheap; any number of processes may use the same folder.

    Args:
        root: the runs folder; it need not exist to be read from.
        heartbeat_s, stale_s: of the leases; see :class:`benchmark.lease.Lease`.

    A key that is not 16 hex digits raises BenchmarkError everywhere.
    """

    def __init__(self, root: Path, *, heartbeat_s: float = HEARTBEAT_S, stale_s: float = STALE_S) -> None:
        self.root = Path(root)
        self.heartbeat_s = heartbeat_s
        self.stale_s = stale_s

    def check_writable(self) -> None:
        """Create the root and write a probe file; raise BenchmarkError if a run could not store its result there."""
        with self._told():
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".probe-{secrets.token_hex(4)}"
            try:
                with probe.open("xb") as file:
                    file.write(bytes(65_536))
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                probe.unlink(missing_ok=True)

    def folder(self, key: str) -> Path:
        """Where the run lives; it need not exist."""
        if not _KEY.fullmatch(key):
            raise BenchmarkError(f"'{key}' is not a run key (16 hex digits)")
        return self.root / key

    def keys(self) -> list[str]:
        """All runs with a folder, sorted."""
        try:
            with os.scandir(self.root) as entries:
                return sorted(entry.name for entry in entries if _KEY.fullmatch(entry.name) and entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def find(self, text: str) -> str:
        """The key of the run that is meant by it or by its first digits; BenchmarkError if there is none, or more than one."""
        known = self.keys()
        found = [key for key in known if text and key.startswith(text.lower())]
        if not found:
            raise unknown_name("run", text, known, f"see: python -m benchmark status --runs {self.root}")
        if len(found) > 1:
            raise BenchmarkError(f"'{text}' begins {len(found)} keys: {', '.join(found[:6])}{', …' * (len(found) > 6)}; write more digits")
        return found[0]

    def forget_phases(self) -> None:
        """Remove the phases that runs have shared; a run that still needs one computes it again."""
        shutil.rmtree(self.root / PHASES, ignore_errors=True)

    def register(self, spec: RunSpec) -> str:
        """Write the run's ``spec.json`` unless it is there with the same labels; return its key."""
        key = spec.key()
        path = self.folder(key) / SPEC
        known = self._read_spec(key)
        if known is None or known.labels != spec.labels:
            text = json.dumps({"schema": SCHEMA, "run_key": key, **spec.to_dict()}, indent=1) + "\n"
            with self._told():
                for attempt in range(3):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    try:
                        atomic_write_text(path, text)
                        break
                    except FileNotFoundError:  # another process tidied the folder, or moved it to quarantine
                        if attempt == 2:
                            raise
        return key

    def spec(self, key: str) -> RunSpec:
        """The registered spec. Raises BenchmarkError if there is none (a corrupt one goes to quarantine first)."""
        spec = self._read_spec(key)
        if spec is None:
            raise BenchmarkError(f"no run {key} in {self.root}; check --runs DIR")
        return spec

    def status(self, key: str, code_hash: str | None) -> Status:
        """The state of a run; never raises for what lies in the folder.

        Args:
            code_hash: of the code as it is now; None takes any result as done.
        """
        return self.look(key, code_hash)[0]

    def look(self, key: str, code_hash: str | None) -> tuple[Status, dict[str, Any] | None]:
        """:meth:`status` and the committed result, if there is one: each file is read once, which counts where there are thousands."""
        folder = self.folder(key)
        try:
            with os.scandir(folder) as entries:
                names = {entry.name for entry in entries if not entry.name.endswith(TEMPORARY)}
        except OSError as error:
            if isinstance(error, NotADirectoryError) and self.root.is_dir():
                self.quarantine(key, "it is a file, not a folder")
            return Status.MISSING, None
        result = self.result(key) if RESULT in names else None
        if result is not None and code_hash in (None, result.get("code_hash")):
            return Status.DONE, result
        if LEASE in names and self._live(key):
            return Status.RUNNING, result
        if result is not None:
            return Status.STALE, result
        begun = names - {SPEC, HISTORY} and (SPEC not in names or self._read_spec(key) is not None) and folder.is_dir()
        return (Status.FAILED if ERROR in names else Status.DEAD) if begun else Status.MISSING, None

    def lease(self, key: str) -> Lease:
        """The run's lease, to be entered. Look at :meth:`status` again inside: another driver may just have finished it."""
        return Lease(self.folder(key), heartbeat_s=self.heartbeat_s, stale_s=self.stale_s)

    def commit(self, key: str, result: Mapping[str, Any]) -> None:
        """Write ``result.json`` in one step, then remove checkpoints, an old error and the lease.

        NaN and infinities become null. Raises LeaseLostError if another live process holds the lease, BenchmarkError for
        a result of another run or schema, or for a full disk.
        """
        if (result.get("schema"), result.get("run_key")) != (SCHEMA, key):
            raise BenchmarkError(f"a result of run {result.get('run_key')}, schema {result.get('schema')} cannot be committed as {key}")
        folder = self._held_folder(key)
        with self._told():
            atomic_write_text(folder / RESULT, json.dumps(_finite(result), indent=1, allow_nan=False) + "\n")
        with contextlib.suppress(OSError):
            (folder / CHECKPOINT).unlink(missing_ok=True)
            shutil.rmtree(folder / STAGES, ignore_errors=True)
            (folder / ERROR).unlink(missing_ok=True)
            (folder / LEASE).unlink(missing_ok=True)

    def fail(self, key: str, error: BaseException, traceback_text: str) -> None:
        """Write ``error.json``; the lease stays. A folder that cannot be written is logged, not raised."""
        text = {
            "schema": SCHEMA,
            "run_key": key,
            "type": type(error).__name__,
            "message": str(error),
            "traceback": traceback_text,
            "time": datetime.now(UTC).isoformat(),
        }
        try:
            atomic_write_text(self._held_folder(key) / ERROR, json.dumps(text, indent=1) + "\n")
        except (OSError, LeaseLostError) as problem:
            logger.error("could not record that run %s failed: %s", key, problem)

    def result(self, key: str) -> dict[str, Any] | None:
        """The committed result; None if there is none (a corrupt one sends the folder to quarantine)."""
        path = self.folder(key) / RESULT
        raw = _read(path)
        if raw is None:
            return None
        try:
            result = json.loads(raw)
            problem = _problem(result, key)
        except (ValueError, RecursionError) as error:
            problem = f"it is not JSON: {error}"
        if problem is None:
            return dict(result)
        self._reject(key, path, raw, problem)
        return None

    def lacks_model(self, key: str, result: Mapping[str, Any]) -> bool:
        """Whether a run with this result was trained to its end, but nobody asked for its networks: they are gone."""
        return result.get("status") == "done" and not (self.folder(key) / MODEL).is_file()

    def error(self, key: str) -> dict[str, Any] | None:
        """What :meth:`fail` wrote; None if the run has not failed."""
        raw = _read(self.folder(key) / ERROR)
        if raw is None:
            return None
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(raw)
            if isinstance(found, dict):
                return found
        return {"run_key": key, "type": "unknown", "message": f"{ERROR} cannot be read", "traceback": ""}

    def archive(self, key: str) -> Path | None:
        """Move all but the spec and the lease into ``history/<UTC>-<n>/`` before a rerun; return that folder if any.

        Results are never deleted. Result and error move last, so that a kill in between leaves the run stale or failed,
        not resumable from what other code has left. Raises BusyError if another process works on the run.
        """
        folder = self.folder(key)
        holder = Holder.read(folder / LEASE)
        if holder is None or not holder.same_process(Holder.this_process()):
            if not folder.is_dir():
                return None
            with self.lease(key):
                return self._archive(folder)
        return self._archive(folder)

    def quarantine(self, key: str, reason: str) -> Path | None:
        """Move the run's folder to ``quarantine/`` with a ``reason.txt``; return where to. Raises nothing: it is logged."""
        folder = self.folder(key)
        target = self.root / QUARANTINE / f"{key}-{_stamp()}-{secrets.token_hex(2)}"
        try:
            target.parent.mkdir(exist_ok=True)
            folder.rename(target)
        except FileNotFoundError:
            return None  # another process was first
        except OSError as error:
            logger.warning("run %s is unusable (%s) and cannot be moved away: %s", key, reason, error)
            return None
        logger.warning("run %s is unusable (%s); moved to %s", key, reason, target)
        with contextlib.suppress(OSError):
            (target / LEASE).unlink(missing_ok=True)
            (target / "reason.txt").write_text(reason + "\n", encoding="utf-8")
        return target

    def rows(self) -> Iterator[dict[str, Any]]:
        """The results of all committed runs by key, those in ``history/`` and ``quarantine/`` left out."""
        for key in self.keys():
            if (result := self.result(key)) is not None:
                yield result

    def _live(self, key: str) -> bool:
        return is_live(self.folder(key) / LEASE, self.stale_s)

    def _held_folder(self, key: str) -> Path:
        """The folder, if no other live process has taken it over; raises LeaseLostError otherwise."""
        folder = self.folder(key)
        holder = Holder.read(folder / LEASE)
        if holder is not None and not holder.same_process(Holder.this_process()) and self._live(key):
            raise LeaseLostError(f"run {key} was taken over by pid {holder.pid} on {holder.host}; nothing was written")
        return folder

    def _read_spec(self, key: str) -> RunSpec | None:
        path = self.folder(key) / SPEC
        raw = _read(path)
        if raw is None:
            return None
        try:
            spec = RunSpec.from_dict(json.loads(raw))
            problem = None if spec.key() == key else f"it describes run {spec.key()}"
        except Exception as error:  # whatever a broken or hostile file makes of it
            problem = f"it is no run's spec: {type(error).__name__}: {error}"
        if problem is None:
            return spec
        self._reject(key, path, raw, problem)
        return None

    def _reject(self, key: str, path: Path, raw: bytes, problem: str) -> None:
        """Quarantine a folder for a bad file, unless somebody works in it or another process has replaced it by now."""
        if self._live(key):
            logger.warning("%s: %s; left alone, because the run is being worked on", path, problem)
            return
        try:
            with exclusive(self.root):
                if _read(path) == raw:
                    self.quarantine(key, f"{path.name}: {problem}")
        except OSError as error:
            logger.warning("%s: %s; it cannot be moved away: %s", path, problem, error)

    def _archive(self, folder: Path) -> Path | None:
        stay = {SPEC, LEASE, HISTORY}
        names = {entry.name for entry in folder.iterdir() if entry.name not in stay and not entry.name.endswith(TEMPORARY)}
        if not names:
            return None
        with self._told():
            target = _new_folder(folder / HISTORY)
            for name in sorted(names, key=lambda name: (name in (RESULT, ERROR), name)):
                (folder / name).rename(target / name)
        return target

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what the operating system says about the runs folder into one line that a user can act on."""
        try:
            yield
        except (FileExistsError, NotADirectoryError):
            raise BenchmarkError(f"runs folder {self.root} is a file or lies below one; choose another with --runs DIR") from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise BenchmarkError(f"cannot write to runs folder {self.root}: {reason}; choose another with --runs DIR") from error


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        logger.warning("%s cannot be read: %s", path, error)
        lasting = error.errno in (errno.EISDIR, errno.EIO, errno.ELOOP)
        return b"" if lasting else None  # too many open files, say, must not send sound runs to quarantine


def _problem(result: Any, key: str) -> str | None:
    if not isinstance(result, dict):
        return "it is no JSON object"
    if result.get("schema") != SCHEMA:
        return f"it has schema {result.get('schema')}, not {SCHEMA}"
    if result.get("run_key") != key:
        return f"it belongs to run {result.get('run_key')}"
    return None


def _finite(value: Any) -> Any:
    """The same JSON value with null for NaN and infinities."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def _new_folder(parent: Path) -> Path:
    stamp, number = _stamp(), 0
    while True:
        number += 1
        with contextlib.suppress(FileExistsError):
            target = parent / f"{stamp}-{number}"
            target.mkdir(parents=True)
            return target
