"""Drivers that mirror the same run at the same moment, step by step: one whole copy is left, whoever wins."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.tracking.command import Command
from benchmark.tracking.mlflow_store import Mirrored, MlflowStore
from benchmark.tracking.record import read_record

pytest.importorskip("mlflow")
Writer = Callable[..., Path]
Copies = Callable[[Any, Path], list[Any]]
SEEDS = itertools.count()


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[MlflowStore, MlflowStore]:
    """Two drivers' views of one store; each test mirrors another run."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder}/mlflow.db"
    return MlflowStore(uri, folder), MlflowStore(uri, folder)


def between(monkeypatch: pytest.MonkeyPatch, store: MlflowStore, what: Callable[[], None], method: str) -> None:
    """Let something happen just before a store's next call of MLflow's client's method."""
    original, once = getattr(store._client, method), threading.Event()

    def call(*words: Any, **named: Any) -> Any:
        if not once.is_set():
            once.set()
            what()
        return original(*words, **named)

    monkeypatch.setattr(store._client, method, call)


@pytest.mark.parametrize("moment", ["create_run", "log_inputs", "log_batch"])
@pytest.mark.parametrize("same", [True, False])
def test_a_rival_that_mirrors_in_between(
    stores: tuple[MlflowStore, MlflowStore],
    tmp_path: Path,
    write_run: Writer,
    copies: Copies,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    same: bool,
) -> None:
    """Also one whose folder holds other numbers of the same run: there is one whole copy in the end, of either."""
    mine, theirs = stores
    folder = write_run(tmp_path, next(SEEDS))
    record = read_record(folder)
    other = record if same else dataclasses.replace(record, result_sha="f" * 64)
    command = Command.of_this_process("sync", 1)
    between(monkeypatch, mine, lambda: theirs.mirror(other, command) and None, moment)
    assert mine.mirror(record, command) is Mirrored.NEW
    (run,) = copies(mine._client, folder)
    assert run.data.tags["mirror"] == "complete"
    assert run.data.tags["result_sha"] in {record.result_sha, other.result_sha}


def test_both_delete_the_others_copy(
    stores: tuple[MlflowStore, MlflowStore], tmp_path: Path, write_run: Writer, copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst interleaving: what is kept here is deleted by another driver before this one has deleted the rest."""
    mine, _ = stores
    folder = write_run(tmp_path, next(SEEDS))
    record, command = read_record(folder), Command.of_this_process("sync", 1)
    experiment = mine._experiment(record.experiment)
    for _ in range(2):
        mine._write(record, experiment, mine._parent(experiment, command))
    twins = sorted(run.info.run_id for run in copies(mine._client, folder))
    assert len(twins) == 2
    original = mine._client.delete_run
    between(monkeypatch, mine, lambda: original(twins[0]), "delete_run")
    mine.mirror(record, command)
    (run,) = copies(mine._client, folder)
    assert run.info.run_id not in twins and run.data.tags["mirror"] == "complete"


def test_one_copy_across_experiments(stores: tuple[MlflowStore, MlflowStore], tmp_path: Path, write_run: Writer, copies: Copies) -> None:
    """A run whose short names have changed, and so its experiment, leaves no copy behind."""
    mine, _ = stores
    folder, command = write_run(tmp_path, next(SEEDS)), Command.of_this_process("sync", 1)
    record = read_record(folder)
    mine.mirror(dataclasses.replace(record, experiment="another name / quick", result_sha="0" * 64), command)
    assert mine.mirror(record, command) is Mirrored.REPLACED
    (run,) = copies(mine._client, folder)
    assert mine._client.get_experiment(run.info.experiment_id).name == record.experiment


def test_a_copy_that_another_driver_deletes_is_no_failure_but_a_full_disk_is(
    stores: tuple[MlflowStore, MlflowStore], tmp_path: Path, write_run: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, _ = stores
    record, command = read_record(write_run(tmp_path, next(SEEDS))), Command.of_this_process("sync", 1)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(mine._client, "log_inputs", full)
        mine.mirror(record, command)
    assert mine.mirror(record, command) is Mirrored.REPLACED


def test_a_row_that_another_driver_has_just_made_is_tried_again(
    stores: tuple[MlflowStore, MlflowStore], tmp_path: Path, write_run: Writer, copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL: duplicate key value violates unique constraint "dataset_pk"."""
    from mlflow.exceptions import MlflowException

    mine, _ = stores
    folder, command = write_run(tmp_path, next(SEEDS)), Command.of_this_process("sync", 1)

    def taken() -> None:
        raise MlflowException("duplicate key value violates unique constraint")

    between(monkeypatch, mine, taken, "log_inputs")
    mine.mirror(read_record(folder), command)
    (run,) = copies(mine._client, folder)
    assert run.data.tags["mirror"] == "complete"


def test_a_server_that_refuses_a_run_is_asked_three_times(
    stores: tuple[MlflowStore, MlflowStore], tmp_path: Path, write_run: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    mine, _ = stores
    record, asked = read_record(write_run(tmp_path, next(SEEDS))), []

    def refuse(*_: Any, **__: Any) -> None:
        asked.append(1)
        raise MlflowException("not allowed")

    monkeypatch.setattr(mine._client, "log_inputs", refuse)
    with pytest.raises(MlflowException, match="not allowed"):
        mine.mirror(record, Command.of_this_process("sync", 1))
    assert len(asked) == 3
