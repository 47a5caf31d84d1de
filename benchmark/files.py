"""Files that survive a kill at any instant: atomic replacement, and line logs that bear a half-written last line."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

logger = logging.getLogger(__name__)

TEMPORARY = ".tmp"
"""Suffix of files that are being written; one that is left over belongs to a process that was killed."""

WAIT_SECONDS = 1.0


@contextlib.contextmanager
def atomic_open(path: Path) -> Iterator[BinaryIO]:
    """A binary file that becomes ``path`` only when the block ends without an exception.

    It is written beside ``path`` (so that the rename stays on one file system), flushed and synced; a reader sees the old
    content or the new, never a part. Raises OSError (a full disk, a read-only folder); the temporary file is then gone.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Replace the file's content in one step; see :func:`atomic_open`."""
    with atomic_open(path) as file:
        file.write(data)


def atomic_write_text(path: Path, text: str) -> None:
    """Replace the file's content, as UTF-8, in one step; see :func:`atomic_open`."""
    atomic_write_bytes(path, text.encode())


@contextlib.contextmanager
def alone(lock_file: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """One process at a time. The lock ends with the process that holds it.

    Args:
        lock_file: stands for what they must not do together.
        waiting: called whenever another process has held the lock for :data:`WAIT_SECONDS` more.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(lock_file)
    while True:
        try:
            lock.acquire(timeout=WAIT_SECONDS)
            break
        except Timeout:
            waiting()
    try:
        yield
    finally:
        lock.release()


def share(path: Path, target: Path) -> None:
    """Let another place have a finished file too, in one step, without a copy where the file system can; a failure is no loss."""
    temporary = target.with_name(f"{target.name}.{secrets.token_hex(4)}{TEMPORARY}")
    with contextlib.suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copyfile(path, temporary)
        temporary.replace(target)


def append_line(path: Path, row: Mapping[str, Any]) -> None:
    """Append one JSON line. A half-written line at the end, left by a kill, is cut off first. One writer at a time."""
    line = json.dumps(row).encode() + b"\n"
    with path.open("ab+") as file:
        _cut_unfinished_line(file)
        file.write(line)


def cut_unfinished_line(path: Path) -> None:
    """Cut off what follows the last newline of a file, left by a kill or a full disk; it is created if need be. One writer at a time."""
    with path.open("ab+") as file:
        _cut_unfinished_line(file)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows that :func:`append_line` wrote; none if there is no file. What is not a whole row of JSON is left out."""
    try:
        *lines, _ = path.read_bytes().split(b"\n")  # what follows the last newline was never finished
    except FileNotFoundError:
        return []
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif line.strip():
            logger.warning("%s:%d is not a row of JSON and was left out", path, number)
    return rows


def remove_temporary(*folders: Path) -> None:
    """Remove what killed writers left in these folders. Call it only where nobody else writes, that is under a lease."""
    for folder in folders:
        for leftover in folder.glob(f"*{TEMPORARY}"):
            with contextlib.suppress(OSError):
                leftover.unlink()


def _cut_unfinished_line(file: BinaryIO) -> None:
    size = file.seek(0, os.SEEK_END)
    if size:
        file.seek(size - 1)
        if file.read(1) != b"\n":
            file.truncate(_end_of_last_line(file, size))


def _end_of_last_line(file: BinaryIO, size: int) -> int:
    """The offset after the last newline before ``size``; 0 if there is none."""
    while size:
        start = max(0, size - 65_536)
        file.seek(start)
        found = file.read(size - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        size = start
    return 0


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; file systems that cannot sync a folder do without."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def default_data_root() -> Path:
    """Where downloads and caches live: ``BENCHMARK_CACHE``, else a folder in the user's cache."""
    chosen = os.environ.get("BENCHMARK_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "noisy-label-benchmark"
