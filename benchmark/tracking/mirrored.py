"""Results as a tracking store holds them, for those who do not have the run folders.

The numbers come from the mirrored ``result.json``, never from MLflow's parameters, which are text and cut, or its metrics, which are
few. What a store says is not trusted: a file that is not what its run promised is left out.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError
from benchmark.spec import SCHEMA, RunSpec, is_trial
from benchmark.tracking.command import masked, one_line, repair
from benchmark.tracking.mlflow_store import MlflowStore, open_store
from benchmark.tracking.opening import sqlite_file, unreachable
from benchmark.tracking.tracker import INSTALL, is_installed, store_uri

if TYPE_CHECKING:
    from mlflow.entities import Run

logger = logging.getLogger(__name__)

THREADS = 4
"""Downloads at a time."""


def read_results(runs: Path, uri: str | None = None) -> list[dict[str, Any]]:
    """The contents of ``result.json`` of all runs that are wholly mirrored, one a run key, sorted by it.

    Those of trials have a key ``named`` more: whether a command has asked for them by name since.

    A run of which there is half a copy only, or whose file is not the one that was mirrored, is left out with a warning.

    Args:
        runs: the runs folder, whose store is the default; it need not exist for another store.
        uri: of the store; None as for :class:`~benchmark.tracking.MlflowTracker`.

    Raises:
        BenchmarkError: MLflow is missing, there is no such store, it cannot be reached, or no run in it can be read.
    """
    if not is_installed():
        raise BenchmarkError(f"nothing can be read from MLflow, because it is missing; install it with: {INSTALL}")
    location = store_uri(uri, runs)
    shown, mend = masked(location, location), f"mirror a runs folder with: {repair(runs, uri)}"
    file = sqlite_file(location)
    if file is not None and not file.is_file():  # to open it would create it
        raise BenchmarkError(f"there is no MLflow store {shown}; {mend}")
    store = open_store(location, runs)
    try:
        found = [run for run in store.runs() if re.fullmatch("[0-9a-f]{16}", _key(run))]
    except Exception as error:
        raise unreachable(location, error) from None
    # of several copies the one that a sync keeps
    whole = {_key(run): run for run in sorted(found, key=lambda run: run.info.run_id, reverse=True) if store.is_whole(run)}
    results, problems = _download(store, location, [whole[key] for key in sorted(whole)])
    problems |= {key: "it is only half mirrored" for key in map(_key, found) if key not in whole}
    if not results:
        first = "".join(f"; {key}: {problem}" for key, problem in sorted(problems.items())[:1])
        reason = f"none of its {len(problems)} runs can be read{first}" if problems else "it holds no runs"
        raise BenchmarkError(f"no results in MLflow store {shown}: {reason}; {mend}")
    for key, problem in sorted(problems.items()):
        logger.warning("run %s was left out: %s", key, problem)
    return results


def _download(store: MlflowStore, location: str, runs: Sequence[Run]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The results in the order of their runs, and run key → problem. Raises BenchmarkError for a store that is gone meanwhile."""
    results, problems = [], {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(THREADS) as pool:
        jobs = [pool.submit(store.download, run, "result.json", Path(folder) / str(number)) for number, run in enumerate(runs)]
        for run, job in zip(runs, jobs, strict=True):
            try:
                raw = job.result()
            except BenchmarkError as error:
                problems[_key(run)] = str(error)
                continue
            except Exception as error:
                try:
                    store.ping()
                except Exception:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise unreachable(location, error) from None
                problems[_key(run)] = f"result.json cannot be had: {one_line(error, location)}"
                continue
            try:
                result = _checked(raw, _key(run), run.data.tags.get("result_sha"))
            except BenchmarkError as error:
                problems[_key(run)] = str(error)
                continue
            results.append({**result, "named": run.data.tags.get("named") == "true"} if is_trial(result["spec"]) else result)
    return results, problems


def _checked(raw: bytes, key: str, digest: str | None) -> dict[str, Any]:
    """The result in a file that a store has handed out. Raises BenchmarkError if it is not the run's."""
    if hashlib.sha256(raw).hexdigest() != digest:
        raise BenchmarkError("result.json is not the file that was mirrored")
    try:
        result = json.loads(raw)
        schema, named = result["schema"], result["run_key"]
        described = RunSpec.from_dict(result["spec"]).key()
    except Exception as error:  # whatever foreign content may raise
        raise BenchmarkError(f"result.json cannot be read: {one_line(error)}") from None
    if schema != SCHEMA:
        raise BenchmarkError(f"result.json has schema {schema}, not {SCHEMA}")
    for other in (named, described):
        if other != key:
            raise BenchmarkError(f"result.json belongs to run {other}")
    return dict(result)


def _key(run: Run) -> str:
    return str(run.data.tags.get("run_key", ""))
