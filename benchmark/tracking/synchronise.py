"""Bring a tracking store up to date with the run folders, which are the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.errors import BenchmarkError
from benchmark.store import RunStore
from benchmark.tracking.command import Command, one_line
from benchmark.tracking.mlflow_store import Mirrored, MlflowStore, open_store
from benchmark.tracking.opening import unreachable
from benchmark.tracking.record import read_record
from benchmark.tracking.tracker import INSTALL, is_installed, store_uri


@dataclass(frozen=True)
class SyncReport:
    """What :func:`sync` did.

    Attributes:
        mirrored: runs that were written, for the first time or anew.
        already: runs that were up to date.
        failed: run key → reason, one line each.
    """

    mirrored: int = 0
    already: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def sync(runs: Path, uri: str | None = None, on_progress: Callable[[int, int], None] | None = None) -> SyncReport:
    """Mirror all committed runs of a folder; those in its history and quarantine are left out. Repeating it changes nothing.

    Args:
        runs: the runs folder.
        uri: of the store; None as for :class:`~benchmark.tracking.MlflowTracker`.
        on_progress: called with (runs done, runs in all) after each run.

    Raises:
        BenchmarkError: no such folder, MLflow is missing, or the store cannot be reached.
    """
    if not runs.is_dir():
        raise BenchmarkError(f"there is no runs folder {runs}; check --runs DIR")
    if not is_installed():
        raise BenchmarkError(f"nothing to sync to, because MLflow is missing; install it with: {INSTALL}")
    location = store_uri(uri, runs)
    disk = RunStore(runs)
    folders = [folder for key in disk.keys() if (folder := disk.folder(key)).joinpath("result.json").is_file()]  # noqa: SIM118
    store = open_store(location, runs)
    command = Command.of_this_process("sync", len(folders))
    counts = dict.fromkeys(Mirrored, 0)
    failed: dict[str, str] = {}
    for done, folder in enumerate(folders, 1):
        try:
            counts[store.mirror(read_record(folder), command)] += 1
        except BenchmarkError as error:
            failed[folder.name] = str(error)
        except Exception as error:
            _check_reachable(store, location, error)
            failed[folder.name] = one_line(error, location)
        if on_progress is not None:
            on_progress(done, len(folders))
    try:
        store.finish("FAILED" if failed else "FINISHED")
    except Exception as error:
        raise unreachable(location, error) from None
    return SyncReport(counts[Mirrored.NEW] + counts[Mirrored.REPLACED], counts[Mirrored.ALREADY], failed)


def _check_reachable(store: MlflowStore, location: str, error: Exception) -> None:
    """Tell a store that is gone, which ends the sync, from one run that it refuses."""
    try:
        store.ping()
    except Exception:
        raise unreachable(location, error) from None
