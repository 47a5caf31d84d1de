"""What travels between the driver and a machine that shares no files with it: plugins there, a finished run folder back.

What arrives was written elsewhere: every name is checked before anything is written, and nothing but plain files below the
run's folder is made. ``result.json`` is written last, by :meth:`benchmark.store.RunStore.commit`, under the driver's lease.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from benchmark.errors import BenchmarkError
from benchmark.files import TEMPORARY, atomic_open
from benchmark.lease import FILE as LEASE
from benchmark.lease import Lease
from benchmark.registry import ENVIRONMENT
from benchmark.store import CHECKPOINT, ERROR, HISTORY, RESULT, SPEC, STAGES, RunStore

STAYS = (SPEC, LEASE, CHECKPOINT, STAGES, HISTORY)
"""What the driver has itself, or what is of no use away from the machine that wrote it."""

MOST_PLUGIN_BYTES = 16_000_000
MOST_PARTS = 4
_PART = re.compile(r"\w[\w .,+=@()-]*")

Files = dict[str, bytes]
"""Contents by name, relative to the folder, with ``/`` between the parts."""


def pack_run(folder: Path) -> tuple[Files, list[str]]:
    """The files of a run that has ended, and the names of those that may not travel; see :func:`_travels`.

    Links, checkpoints, leases and half-written files are neither.
    """
    files: Files = {}
    left_out = []
    for path in _plain_files(folder):
        name = path.relative_to(folder).as_posix()
        if name.split("/")[0] in STAYS:
            continue
        if not _travels(name):
            left_out.append(name)
            continue
        with contextlib.suppress(FileNotFoundError):  # a process that the run has left behind may still tidy up
            files[name] = path.read_bytes()
    return files, left_out


def unpack_run(files: Mapping[str, bytes], store: RunStore, key: str, lease: Lease) -> None:
    """Write what :func:`pack_run` gave into the run's folder and commit its result, if there is one.

    Raises:
        BenchmarkError: a name that leads out of the folder or to what the driver keeps itself; nothing is written then.
        LeaseLostError: another driver has taken the run over.
        OSError: a full disk, say; the run is not committed then.
    """
    folder = store.folder(key)
    result = None
    for name in files:
        _check_name(name, folder, key)
    if RESULT in files:
        with contextlib.suppress(ValueError, RecursionError):
            result = json.loads(files[RESULT])
        if not isinstance(result, dict) or result.get("run_key") != key:
            raise BenchmarkError(f"run {key}: the {RESULT} that arrived is not its own; nothing was taken over")
    last = (ERROR, RESULT)
    for name in [*sorted(files.keys() - set(last)), *([ERROR] if ERROR in files and result is None else [])]:
        lease.check()
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_open(target) as file:
            file.write(files[name])
    if result is not None:
        lease.check()
        store.commit(key, result)


def pack_plugins(paths: Sequence[str]) -> list[tuple[str, Files]]:
    """The plugins of ``--plugin`` and of the environment variable: for each its name, and its file or all files of its folder.

    Raises:
        BenchmarkError: more than :data:`MOST_PLUGIN_BYTES`.
    """
    packed: list[tuple[str, Files]] = []
    for text in [*os.environ.get(ENVIRONMENT, "").split(os.pathsep), *paths]:
        if not text:
            continue
        path = Path(text).expanduser().resolve()
        path = path.parent if path.name == "__init__.py" else path
        found = _plain_files(path) if path.is_dir() else [path]
        found = [file for file in found if "__pycache__" not in file.parts]
        size = sum(file.stat().st_size for file in found)
        if size > MOST_PLUGIN_BYTES:
            raise BenchmarkError(
                f"plugin {path} takes {size // 1_000_000} MB and would travel with every run "
                f"(limit {MOST_PLUGIN_BYTES // 1_000_000}); give it a folder of its own"
            )
        packed.append((path.name, {file.relative_to(path.parent).as_posix(): file.read_bytes() for file in found}))
    return packed


def unpack_plugins(packed: Sequence[tuple[str, Files]], folder: Path) -> tuple[str, ...]:
    """Write plugins into numbered folders; the paths for :class:`benchmark.engines.base.WorkerOptions`."""
    paths = []
    for number, (plugin, files) in enumerate(packed):
        home = folder / str(number)
        for name, content in files.items():
            target = home / PurePosixPath(name)
            if ".." in target.parts or not target.is_relative_to(home):
                raise BenchmarkError(f"plugin {plugin}: '{name}' leads out of its folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        paths.append(str(home / plugin))
    return tuple(paths)


def _plain_files(folder: Path) -> list[Path]:
    """Regular files below a folder, links neither listed nor followed."""
    found = []
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(where) / name for name in sorted(names) if not name.endswith(TEMPORARY))
        found += [path for path in paths if path.is_file() and not path.is_symlink()]
    return found


def _travels(name: str) -> bool:
    """Whether a file of a run may be called that: one rule for those who send and those who receive.

    Up to :data:`MOST_PARTS` parts of letters, digits, spaces and a few signs, none hidden: nothing absolute, no ``..``, and
    nothing that a file system or a terminal reads otherwise.
    """
    parts = name.split("/")
    return all(_PART.fullmatch(part) for part in parts) and len(parts) <= MOST_PARTS and not name.endswith(TEMPORARY)


def _check_name(name: str, folder: Path, key: str) -> None:
    """BenchmarkError for a name that :func:`pack_run` would not have sent."""
    parts = name.split("/")
    if not _travels(name) or parts[0] in STAYS:
        raise BenchmarkError(f"run {key}: a file called {name!r} arrived, which no run may write; nothing was taken over")
    inside = folder
    for part in parts[:-1]:
        inside /= part
        if inside.is_symlink() or (inside.exists() and not inside.is_dir()):
            raise BenchmarkError(f"run {key}: {inside} is a link or a file, and {name} was to be written below it")
