"""Files from the web: fetched once, continued after a break, verified by their hash, and shared by all processes.

A file lies in its folder only when it is whole and verified. Beside it are ``<name>.verified`` (its hash, size and time,
so that it is not hashed again before every run) and, while it comes, ``<name>.part`` and ``<name>.lock``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import shutil
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmark.api import Report
from benchmark.data.transfer import transfer
from benchmark.errors import BenchmarkError
from benchmark.files import atomic_write_text

MARK = ".verified"
"""Suffix of the file that says which hash a file had when it was last read whole."""

_DIGITS = {"md5": 32, "sha256": 64}

_allowed: ContextVar[bool] = ContextVar("downloads allowed", default=True)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Remote:
    """One file on the web.

    Attributes:
        url: http or https.
        hash: ``sha256:<64 digits>``, or ``md5:<32 digits>`` where the authors publish nothing else. None where no hash is
            known from a source to trust: the one that is found at first is then recorded and holds from then on.
        size_bytes: its exact size, 0 if unknown.
        name: of the file on this machine, without folders.
        homepage: where a person finds it.

    Raises:
        BenchmarkError: another protocol, a malformed hash, or a name that is not a plain one.
    """

    url: str
    hash: str | None
    size_bytes: int
    name: str
    homepage: str = ""

    def __post_init__(self) -> None:
        """Refuse what would be fetched from, or put, elsewhere."""
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise BenchmarkError(f"'{self.url}' is not fetched: only http and https addresses are")
        if self.name in ("", ".", "..") or re.search(r"[/\\:\0]", self.name):
            raise BenchmarkError(f"'{self.name}' is not the name of a file: it must have no folders")
        if self.hash is not None:
            algorithm, _, digits = self.hash.partition(":")
            if not re.fullmatch(r"[0-9a-f]+", digits) or len(digits) != _DIGITS.get(algorithm):
                raise BenchmarkError(f"'{self.hash}' is not a hash; write sha256: and 64 hexadecimal digits, or md5: and 32")

    def by_hand(self, path: Path) -> str:
        """What a user can do where this machine cannot fetch it."""
        return f"download {self.url} by hand and put it at {path}" + (f" (see {self.homepage})" if self.homepage else "")


def fetch(remote: Remote, folder: Path, report: Report | None = None) -> Path:
    """The verified file in ``folder``, downloaded on first use.

    A download that broke off goes on where it stopped. A second process waits for the first and takes its file. A file
    that someone put there is verified like any other, and never overwritten.

    Args:
        folder: made if it does not exist.
        report: told how many bytes are here.

    Raises:
        BenchmarkError: the file cannot be had (and how to get it by hand), or is another than expected.
    """
    path = folder / remote.name
    try:
        if not path.is_file():
            if not _allowed.get():
                raise BenchmarkError(f"{remote.name} is not on this machine")
            folder.mkdir(parents=True, exist_ok=True)
            with _alone(path, report):
                if not path.is_file():
                    _download(remote, path, report)
        _verify(remote, path)
    except OSError as error:
        raise BenchmarkError(f"{path}: {error.strerror or error}; choose another folder with --data-root") from error
    return path


@contextlib.contextmanager
def no_downloads() -> Iterator[None]:
    """Within it :func:`fetch` gives what is here and refuses the rest: who only shows data must not reach for the web."""
    token = _allowed.set(False)
    try:
        yield
    finally:
        _allowed.reset(token)


def content_hash(remote: Remote, folder: Path) -> str:
    """``algorithm:digits`` of the file in ``folder``, which is fetched if need be.

    Raises:
        BenchmarkError: as :func:`fetch`.
    """
    return _verify(remote, fetch(remote, folder))


def _download(remote: Remote, path: Path, report: Report | None) -> None:
    """Fetch, verify, and only then put in place. The partial file stays if the transfer broke off, and goes if it is wrong."""
    import pooch  # type: ignore[import-untyped, unused-ignore]

    pooch.get_logger().setLevel(logging.WARNING)  # it would name every file, and print the hash of one that has none
    incoming = path.with_name(f"{path.name}.incoming")  # pooch's temporary files, so that a kill leaves none that nobody removes
    shutil.rmtree(incoming, ignore_errors=True)

    def downloader(url: str, output_file: str, _: object) -> None:
        part = path.with_name(f"{path.name}.part")
        transfer(url, part, report, size_bytes=remote.size_bytes, verified=remote.hash is not None, remedy=remote.by_hand(path))
        part.replace(output_file)

    try:
        pooch.retrieve(remote.url, remote.hash, fname=remote.name, path=incoming, downloader=downloader)
        (incoming / remote.name).replace(path)
    except ValueError as error:
        found = re.search(r"but got ([0-9a-fA-F]+)", str(error))
        raise BenchmarkError(
            f"{remote.url} gave another file than expected: {remote.hash}, found {found[1] if found else 'another hash'}; "
            f"nothing was kept: try again, or {remote.by_hand(path)}"
        ) from error
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    if remote.hash is not None:
        _write_mark(path, remote.hash)


def _verify(remote: Remote, path: Path) -> str:
    """The file's hash; it is computed only if the file is not the one that was verified before.

    Raises:
        BenchmarkError: it differs from the expected or from the recorded one.
    """
    import pooch

    recorded, stamp = _read_mark(path)
    expected = remote.hash or recorded
    if expected is not None and recorded == expected and stamp == _stamp(path):
        return expected
    algorithm = expected.partition(":")[0] if expected else "sha256"
    found = f"{algorithm}:{pooch.file_hash(str(path), alg=algorithm)}"
    if expected is not None and found != expected:
        remedy = f"remove it, and it is fetched again, or {remote.by_hand(path)}"
        if remote.hash is None:
            remedy = f"put the first one back, or remove it together with {path.name}{MARK} to start from what the authors offer now"
        raise BenchmarkError(f"{path} is another file than expected: {expected}, found {found}; {remedy}")
    _write_mark(path, found)
    return found


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _read_mark(path: Path) -> tuple[str | None, list[int] | None]:
    """The recorded hash, and size and time of the file that had it; None for what is not there or not readable."""
    try:
        mark = json.loads(path.with_name(path.name + MARK).read_text(encoding="utf-8"))
        return str(mark["hash"]), list(mark["stamp"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, None


def _write_mark(path: Path, found: str) -> None:
    with contextlib.suppress(OSError):  # a cache that may only be read is verified every time
        atomic_write_text(path.with_name(path.name + MARK), json.dumps({"hash": found, "stamp": _stamp(path)}))


@contextlib.contextmanager
def _alone(path: Path, report: Report | None) -> Iterator[None]:
    """One process at a time; says so before it waits for another. The lock ends with the process that holds it."""
    import filelock

    lock = filelock.FileLock(path.with_name(f"{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        _log.warning("%s is being downloaded by another process; waiting for it", path)
        if report is not None:
            report(f"waiting for another process that downloads {path.name}", 0, 0)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
