"""One MLflow store, through its client only: the fluent API keeps global state that leaks between runs. Only drivers open stores."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError
from benchmark.tracking.command import Command
from benchmark.tracking.opening import connect, unreachable
from benchmark.tracking.places import ARTIFACTS, check_place, is_local
from benchmark.tracking.record import RunRecord

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

DATABASE = "mlflow.db"
BATCH, PARAM_BATCH = 1000, 100  # MLflow's limits for one request
ATTEMPTS = 10
"""How often drivers that mirror one run at the same moment may get in each other's way; once is rare."""
RETRIES = 2
LOST_AFTER_S = 7 * 24 * 3600
"""A command on another host that still says RUNNING after this time counts as dead."""


class Mirrored(StrEnum):
    """What :meth:`MlflowStore.mirror` did."""

    NEW = "new"
    REPLACED = "replaced"
    ALREADY = "already"


class MlflowStore:
    """A tracking store that mirrors run folders.

    Opening it imports MLflow (about a second), creates a sqlite store's tables, and closes the parent runs of commands
    that were killed. Every method may raise whatever MLflow, the network, the database or the disk raises.

    Args:
        uri: an MLflow tracking URI.
        runs: the runs folder; artifacts of stores without a server of their own lie below it. They are named by absolute
            paths, so after moving the folder delete its ``mlflow.db`` and sync.
    """

    def __init__(self, uri: str, runs: Path) -> None:
        self._runs = runs.absolute()
        self._is_local = is_local(uri)
        self._uri, self._client = uri, connect(uri)
        self._experiments: dict[str, str] = {}
        self._parents: dict[str, str] = {}
        self._active = self._all_experiments()

    def ping(self) -> None:
        """Raise if the store cannot be reached."""
        self._client.search_experiments(max_results=1)

    def mirror(self, record: RunRecord, command: Command) -> Mirrored:
        """Bring the store's copy of one run up to date; afterwards there is exactly one, in whichever experiment.

        A copy is whole if it bears ``mirror=complete``, which is written last. One that is not, or that showed another result
        before, or a trial that has got a name since, is deleted and written anew: points cannot be taken back from a run.

        Other drivers may mirror the same run at this moment. All of them keep the whole copy with the smallest id, delete the
        rest, and look again after whatever they have written or deleted: the one who looks last sees what the others left.
        """
        from mlflow.exceptions import MlflowException

        experiment = self._experiment(record.experiment)
        outdated: set[str] | None = None
        did, failures = Mirrored.ALREADY, 0
        for _ in range(ATTEMPTS):
            copies = self._copies(record.run_key)
            whole = {run.info.run_id: _shows(run) for run in copies if self.is_whole(run)}
            if outdated is None:  # a whole copy that comes later is a rival's and as good, also if its folder holds other numbers
                outdated = {identity for identity, shown in whole.items() if shown != (record.result_sha, record.tags.get("named"))}
            kept = min(whole.keys() - outdated, default=None)
            surplus = [run.info.run_id for run in copies if run.info.run_id != kept]
            if kept is not None and not surplus:
                return did
            if kept is not None:
                for identity in surplus:
                    self._client.delete_run(identity)
                continue
            did = Mirrored.REPLACED if copies or did is Mirrored.REPLACED else Mirrored.NEW
            try:
                self._write(record, experiment, self._parent(experiment, command))
            except MlflowException:
                # another driver has deleted this copy, or has made the row of the same data set: the next look or try settles it
                if (failures := failures + 1) > RETRIES:
                    raise
        return did

    def runs(self) -> list[Run]:
        """Everything that mirrors a run, in all experiments, half copies among it."""
        return self._search("tags.kind = 'run'")

    def download(self, run: Run, name: str, target: Path) -> bytes:
        """The content of one of a run's files. BenchmarkError if they lie elsewhere than in this store.

        Args:
            name: of the file.
            target: where it may be put; it must not exist.
        """
        self._files(run)._download_file(name, str(target))  # its public way lists the folder first
        return target.read_bytes()

    @staticmethod
    def is_whole(run: Run) -> bool:
        """Whether the copy was written to its end."""
        return bool(run.data.tags.get("mirror") == "complete")

    def finish(self, status: str) -> None:
        """Close the parent runs of this command with ``FINISHED``, ``FAILED`` or ``KILLED``."""
        while self._parents:
            _, parent = self._parents.popitem()
            self._client.set_tag(parent, "status", status.lower())
            self._client.set_terminated(parent, status)

    def _files(self, run: Run) -> ArtifactRepository:
        """Where a run's files are; the client would ask for the run each time, which makes a download take nine times as long."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        check_place(run.info.artifact_uri, self._uri, run.info.run_id)
        return get_artifact_repository(run.info.artifact_uri, tracking_uri=self._uri)

    def _copies(self, run_key: str) -> list[Run]:
        return self._search(f"tags.run_key = '{run_key}'")

    def _search(self, what: str) -> list[Run]:
        """The runs of all experiments that match."""
        return _all_pages(partial(self._client.search_runs, sorted(self._active), what)) if self._active else []

    def _all_experiments(self) -> set[str]:
        return {experiment.experiment_id for experiment in _all_pages(self._client.search_experiments)}

    def _write(self, record: RunRecord, experiment: str, parent: str) -> None:
        from mlflow.entities import Metric, Param, RunTag

        tags = {**record.tags, "mlflow.parentRunId": parent, "mlflow.source.name": "python -m benchmark", "mlflow.source.type": "LOCAL"}
        made = self._client.create_run(experiment, start_time=record.started, tags=tags, run_name=record.name)
        run = made.info.run_id
        try:
            files = self._files(made)
        except BenchmarkError:
            self._client.delete_run(run)
            raise
        # Closed before it is filled: a driver that is killed meanwhile leaves no run that is RUNNING for ever.
        self._client.set_terminated(run, "FINISHED" if record.ok else "FAILED", end_time=record.finished)
        params = [Param(key, value) for key, value in record.params.items()]
        for start in range(0, len(params), PARAM_BATCH):
            self._client.log_batch(run, params=params[start : start + PARAM_BATCH], synchronous=True)
        points = [Metric(point.name, point.value, point.timestamp, point.step) for point in record.points]
        for start in range(0, len(points), BATCH):
            self._client.log_batch(run, metrics=points[start : start + BATCH], synchronous=True)
        self._client.log_inputs(run, datasets=[_dataset_input(record)])
        for file in record.artifacts:
            files.log_artifact(str(file))
        last = [RunTag("result_sha", record.result_sha), RunTag("mirror", "complete")]
        self._client.log_batch(run, tags=last, synchronous=True)

    def _experiment(self, name: str) -> str:
        """The experiment's id; it is created, or restored from the bin, where need be."""
        if name not in self._experiments:
            from mlflow.exceptions import MlflowException

            found = self._client.get_experiment_by_name(name)
            if found is None:
                location = (self._runs / ARTIFACTS).as_uri() if self._is_local else None
                try:
                    identity = self._client.create_experiment(name, artifact_location=location)
                except MlflowException:  # another driver was faster
                    found = self._client.get_experiment_by_name(name)
                    if found is None:
                        raise
                    identity = found.experiment_id
            else:
                identity = found.experiment_id
                if found.lifecycle_stage != "active":
                    self._client.restore_experiment(identity)
            self._experiments[name] = identity
            self._active.add(identity)
            self._reap(identity)
        return self._experiments[name]

    def _parent(self, experiment: str, command: Command) -> str:
        """The run that stands for the command in this experiment; MLflow shows children only below a parent beside them."""
        if experiment not in self._parents:
            tags = {
                "kind": "command",
                "status": "running",
                "host": command.host,
                "pid": str(command.pid),
                "cells": str(command.cells),
                "mlflow.note.content": command.line[:5000],
                "mlflow.source.name": "python -m benchmark",
                "mlflow.source.type": "LOCAL",
            }
            run = self._client.create_run(experiment, start_time=command.started, tags=tags, run_name=command.name[:250])
            self._parents[experiment] = run.info.run_id
        return self._parents[experiment]

    def _reap(self, experiment: str) -> None:
        """Close the parent runs of commands that were killed, or whose last words did not reach the store."""
        running = "tags.kind = 'command' and attributes.status = 'RUNNING'"
        for run in self._client.search_runs([experiment], running):
            if _is_dead(run):
                self._client.set_tag(run.info.run_id, "status", "lost")
                self._client.set_terminated(run.info.run_id, "KILLED")


def open_store(location: str, runs: Path) -> MlflowStore:
    """The store of a URI. Raises BenchmarkError if it cannot be reached."""
    try:
        return MlflowStore(location, runs)
    except Exception as error:
        raise unreachable(location, error) from None


def _all_pages(search: Callable[..., Any]) -> list[Any]:
    """Everything that a search of MLflow finds, which it tells in pages."""
    found, token = [], None
    while True:
        page = search(max_results=BATCH, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _dataset_input(record: RunRecord) -> Any:
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = CodeDatasetSource({"benchmark_dataset": record.dataset})
    described = MetaDataset(source, name=record.dataset, digest=record.digest).to_dict()  # type: ignore[abstract]
    entity = Dataset(described["name"], described["digest"], described["source_type"], described["source"])
    return DatasetInput(entity, [InputTag("mlflow.data.context", "train"), InputTag("noise", record.tags["noise"][:500])])


def _shows(run: Run) -> tuple[str | None, str | None]:
    """What makes a whole copy current."""
    return run.data.tags.get("result_sha"), run.data.tags.get("named")


def _is_dead(run: Run) -> bool:
    tags, started = run.data.tags, run.info.start_time / 1000
    if tags.get("host") != socket.gethostname():
        return time.time() - started > LOST_AFTER_S
    try:
        import psutil

        process = psutil.Process(int(tags["pid"]))
        return bool(process.create_time() > started + 60)  # another process bears the number now
    except (ImportError, KeyError, ValueError):
        return False
    except psutil.Error:
        return True
