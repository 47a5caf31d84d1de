"""The results of a folder of runs, for the commands that read them, and ``rescore`` and ``sync``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.options import Runs, TrackingUri
from benchmark.cli.output import note, write
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.registry import Registry
    from benchmark.store import RunStore, Status

Names = Annotated[str | None, typer.Option(metavar="LIST", help="Only these, commas between.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command("rescore")(rescore)
    app.command("sync")(sync)


def finished(store: RunStore, registry: Registry) -> Iterator[dict[str, Any]]:
    """The content of every ``result.json``, with a key ``stale``: whether other code than today's has made it."""
    for row in store.rows():
        yield {**row, "stale": is_stale(row, registry)}


def is_stale(result: dict[str, Any], registry: Registry) -> bool:
    """Whether other code made the result; False if its plugins are not to be found here."""
    from benchmark.code_hash import code_hash
    from benchmark.spec import RunSpec

    try:
        return result.get("code_hash") != code_hash(RunSpec.from_dict(result["spec"]), registry)
    except (BenchmarkError, OSError, SyntaxError, KeyError, TypeError, ValueError):
        return False


def current_status(store: RunStore, registry: Registry, key: str) -> Status:
    """The state of a run under today's code; under any code if its plugins are not to be found here."""
    from benchmark.folder_view import state_of

    try:
        spec = store.spec(key)
    except BenchmarkError:
        return store.status(key, None)
    return state_of(store, registry, spec, key)[0]


def existing_store(runs: Path) -> RunStore:
    """The store of a folder that exists; a typo must not look like an empty folder."""
    from benchmark.store import RunStore

    if not runs.is_dir():
        what = "is no folder" if runs.exists() else "does not exist"
        raise BenchmarkError(f"runs folder {runs} {what}; check --runs DIR")
    return RunStore(runs)


def rescore(runs: Runs = Path("runs")) -> int:
    """Recompute metrics without training.

    From the predictions that every run saves.
    """
    from benchmark.rescore import rescore_all

    changed = rescore_all(existing_store(runs))
    write(f"{len(changed)} runs changed")
    return 0


def sync(runs: Runs = Path("runs"), tracking_uri: TrackingUri = None) -> int:
    """Bring the MLflow mirror up to date."""
    from benchmark import tracking

    done = tracking.sync(existing_store(runs).root, tracking_uri)
    write(f"{done.mirrored} runs mirrored, {done.already} were already, {len(done.failed)} failed")
    for key, reason in done.failed.items():
        note(f"failed  {key}: {reason}")
    return 1 if done.failed else 0
