"""Where studies are kept: files that are none, drivers that are killed, journals that are half written, databases."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from benchmark.errors import BenchmarkError
from sweeps.storage import journal_path, open_storage, quiet
from sweeps.study import Study

DRIVE = """
import sys, time
from pathlib import Path
from sweeps.storage import open_storage
from sweeps.study import Study
from sweeps.plan import FirstSetting, Plan
from sweeps.space import Dimension
from benchmark.spec import PluginSpec, RunSpec, TrainingProtocol

folder, trials, then = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
noise = PluginSpec("symmetric", {"rate": 0.4}, 1)
labels = {"method": "toy", "dataset": "cells", "noise": "symmetric:0.4"}
cell = RunSpec(PluginSpec("toy", {"x": 0.5, "kind": "a"}), PluginSpec("cells", {}, 1, "v1"), noise, TrainingProtocol(), 0, labels)
space = (Dimension("toy", "x", 0.0, 1.0), Dimension("toy", "kind", choices=("a", "b")))
plan = Plan(cell, "code", space, (FirstSetting("default", {"toy.x": 0.5, "toy.kind": "a"}),), (0, 1), trials)
with open_storage(None, folder) as (storage, drivers):
    study = Study(plan, storage, drivers)
    told = 0
    while asked := study.ask(2):
        print("holds", [study.settings(trial)["toy.x"] for trial in asked], flush=True)
        if then == "hold":
            time.sleep(60)
        for trial in asked:
            study.tell(trial, {0: (0.5, 1.0), 1: (0.5, 1.0)}, ["k"])
            told += 1
print("told", told)
"""


def drive(folder: Path, trials: int, then: str) -> subprocess.Popen[str]:
    """A driver of the plan of the fixtures in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", DRIVE, str(folder), str(trials), then]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


# ------------------------------------------------------------------------------------------------------------- processes


def test_what_a_killed_driver_held_is_put_back(plan, opened, tmp_path: Path) -> None:
    with drive(tmp_path, 6, "hold") as process, opened(plan()) as other:
        assert process.stdout is not None
        held = json.loads(process.stdout.readline().partition(" ")[2])
        assert (other.others(), other.revive(), other.others()) == (2, 0, 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (other.revive(), other.others()) == (2, 0)
        assert [other.settings(trial)["toy.x"] for trial in other.ask(2)] == held
        assert held[0] == 0.5


def test_a_stopped_process_is_no_dead_one(plan, opened, tmp_path: Path) -> None:
    with drive(tmp_path, 6, "hold") as process, opened(plan()) as other:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        assert other.revive() == 0
        process.send_signal(signal.SIGKILL)
        process.send_signal(signal.SIGCONT)
        process.wait()
        assert other.revive() == 2


@pytest.mark.slow
def test_processes_share_a_budget_to_the_last_trial(plan, opened, tmp_path: Path) -> None:
    processes = [drive(tmp_path, 15, "tell") for _ in range(3)]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    told = [int(text.splitlines()[-1].removeprefix("told ")) for text in said]
    with opened(plan(trials=15)) as study:
        assert sum(told) == study.spent() == 15
        assert [trial.source for trial in study.trials()].count("default") == 1


# ------------------------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("left", ['{"op_code":4,"worker_id":"x","trial_id":0,"use', "{", '{"op_code":4}x'])
def test_a_half_written_last_line_is_cut_off(plan, opened, journal: Path, left: str) -> None:
    with opened(plan()) as study:
        for trial in study.ask(2):
            study.tell(trial, {0: (0.5, 1.0), 1: (0.5, 1.0)}, ["k"])
    whole = journal.read_bytes()
    journal.write_bytes(whole + left.encode())
    with opened(plan()) as again:
        assert journal.read_bytes().startswith(whole)
        assert again.spent() == 2
        again.ask(1)
    assert all(json.loads(line) for line in journal.read_text().splitlines())


def test_a_journal_whose_first_line_was_cut(plan, opened, journal: Path) -> None:
    journal.parent.mkdir()
    for left in ("", "{", '{"op_', '{"op_code": 0, "wor'):
        journal.write_text(left, encoding="utf-8")
        with opened(plan()) as study:
            assert study.spent() == 0


STRANGE = {
    "notes.txt": b"hello\nlast line without an end",
    "data.json": b'{"a": 1}',
    "rows.jsonl": b'{"epoch": 0}\n{"epoch": 1}\n',
    "list.json": b"[1, 2]\n",
    "number": b"1\n",
    "image.png": b"\x89PNG\r\n\x1a\n\x00\xff",
    "other.log": b'{"op_code": "x"}\n',
    "later.log": b'{"op_code": 0, "worker_id": "w", "study_name": "s", "directions": [1]}\nno json\n{"op_code": 1}\n',
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(STRANGE[name])
    with pytest.raises(BenchmarkError) as caught, open_storage(str(path), tmp_path):
        pass
    assert str(caught.value).startswith(f"{path} is no journal of studies") and "\n" not in str(caught.value)
    assert path.read_bytes() == STRANGE[name]


def test_a_database_in_place_of_a_journal_survives(tmp_path: Path) -> None:
    path = tmp_path / "studies.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("create table it (a text)")
        database.execute("insert into it values ('one\ntwo')")
        database.commit()
    before = path.read_bytes()
    with pytest.raises(BenchmarkError, match="is no journal of studies"), open_storage(str(path), tmp_path):
        pass
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["studies.db"]


def test_places_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    below, within = tmp_path / "file" / "journal.log", tmp_path / "file" / "sweeps" / "journal.log"
    for text, runs, message in (
        (str(tmp_path), tmp_path, f"--storage {tmp_path} is a folder; give a file, e.g. {tmp_path}/journal.log"),
        (str(below), tmp_path, f"cannot keep studies in {below}: File exists; choose another place with --storage"),
        (None, tmp_path / "file", f"cannot keep studies in {within}: Not a directory; choose another place with --runs"),
    ):
        with pytest.raises(BenchmarkError) as caught, open_storage(text, runs):
            pass
        assert str(caught.value) == message
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_the_journal_can_be_named_and_moved(plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert journal_path(Path("runs")) == Path("runs/sweeps/journal.log")
    with open_storage("deep/studies.journal", Path("runs")) as (storage, drivers):
        Study(plan(), storage, drivers).ask(1)
    assert not Path("runs").exists()
    Path("deep/studies.journal").rename("elsewhere.journal")
    with open_storage("elsewhere.journal", Path("runs")) as (storage, drivers):
        study = Study(plan(), storage, drivers)
        assert (study.others(), study.revive()) == (1, 1)  # no lease beside it


def test_the_lock_of_a_relative_journal_leads_to_it(plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna looks at the age of what the lock links to; a link that leads nowhere would be waited for for ever."""
    monkeypatch.chdir(tmp_path)
    links = []
    real = os.symlink

    def watched(target: str, link: str) -> None:
        real(target, link)
        links.append(Path(link).exists())

    monkeypatch.setattr(os, "symlink", watched)
    with open_storage(None, Path("runs")) as (storage, drivers):
        Study(plan(), storage, drivers)
    assert len(links) > 2 and all(links)


@pytest.mark.slow
def test_the_lock_of_a_killed_driver_is_taken_over(plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_storage(None, Path("runs")) as (storage, drivers):
        Study(plan(), storage, drivers)
    journal = journal_path(Path("runs")).absolute()
    Path(f"{journal}.lock").symlink_to(journal)
    began = time.monotonic()
    with open_storage(None, Path("runs")) as (storage, drivers):
        assert Study(plan(), storage, drivers).ask(1)
    assert 20 < time.monotonic() - began < 90
    assert not Path(f"{journal}.lock").is_symlink()


def test_drivers_leave_nothing_behind(plan, opened, journal: Path) -> None:
    with opened(plan()), opened(plan()):
        assert len(list(journal.with_name("journal.log.drivers").glob("*/lease.json"))) == 2
    assert list(journal.with_name("journal.log.drivers").glob("*")) in ([], [journal.with_name("journal.log.drivers") / ".lock"])
    assert sorted(path.name for path in journal.parent.iterdir()) == ["journal.log", "journal.log.drivers"]


def test_optuna_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    with warnings.catch_warnings(record=True) as caught, quiet():
        warnings.simplefilter("default")
        optuna.create_study()
    assert (optuna.logging.get_verbosity(), caught) == (before, [])
    assert capfd.readouterr() == ("", "")


# -------------------------------------------------------------------------------------------------------------- databases


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://user:secret@127.0.0.1:1/x", ("--storage postgresql://***@127.0.0.1:1/x cannot be used", "Connection refused")),
        ("postgresql+psycopg2://user:secret@127.0.0.1:1/x", ("cannot be used",)),
        (
            "redis://user:secret@127.0.0.1/x",
            ("--storage redis://***@127.0.0.1/x: write the path of a journal file, or one of postgresql://…",),
        ),
        ("http://127.0.0.1/x?password=secret", ("--storage http://127.0.0.1/x?password=***: write",)),
        ("postgresql+nothing://user:secret@h/x", ("cannot be used",)),
        ("sqlite:////nowhere/at/all.db", ("--storage sqlite:////nowhere/at/all.db cannot be used", "unable to open database file")),
        ("postgresql://user:secret@:port/x", ("--storage",)),
    ],
)
def test_a_database_that_cannot_be_reached(tmp_path: Path, url: str, words: tuple[str, ...]) -> None:
    with pytest.raises(BenchmarkError) as caught, open_storage(url, tmp_path):
        pass
    message = str(caught.value)
    assert all(word in message for word in words) and "secret" not in message and "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_a_database_whose_driver_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    packages, real = ("pymysql", "MySQLdb", "mysql"), importlib.util.find_spec
    for module in packages:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name in packages else real(name, *more))
    for url in ("mysql://user:secret@127.0.0.1:1/x", "mysql+pymysql://user:secret@127.0.0.1:1/x"):
        with pytest.raises(BenchmarkError) as caught, open_storage(url, tmp_path):
            pass
        message = str(caught.value)
        assert "needs a database driver that is not installed; pip install 'noisy-label-benchmark[mysql]'" in message
        assert "secret" not in message


def test_a_bare_scheme_means_the_driver_that_the_extra_installs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sqlalchemy")
    from importlib.machinery import ModuleSpec

    asked = []

    class Storage:
        def __init__(self, url: str, **more: object) -> None:
            asked.append(url)
            raise ImportError(name="whatever")

    monkeypatch.setattr("optuna.storages.RDBStorage", Storage)
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: ModuleSpec(name, None) if name == "pymysql" else None)
    for url in ("mysql://h/x", "mysql+mysqldb://h/x", "postgresql://h/x"):
        with pytest.raises(BenchmarkError), open_storage(url, tmp_path):
            pass
    assert asked == ["mysql+pymysql://h/x", "mysql+mysqldb://h/x", "postgresql://h/x"]


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


def test_drivers_that_share_a_database(plan, database: str, tmp_path: Path, capfd, recwarn) -> None:
    with open_storage(database, tmp_path) as (storage, drivers), open_storage(database, tmp_path) as (storage_2, drivers_2):
        one, two = Study(plan(), storage, drivers), Study(plan(), storage_2, drivers_2)
        first = one.ask(2)
        assert (two.others(), two.revive()) == (2, 0)
        for trial in first:
            one.tell(trial, {0: (0.5, 1.0), 1: (0.5, 1.0)}, ["k"])
        for trial in two.ask(9):
            two.tell(trial, {0: (0.6, 1.0), 1: (0.6, 1.0)}, ["k"])
        assert one.spent() == two.spent() == 6 and one.ask(1) == []
        assert (one.best().number, one.trials()) == (2, two.trials())  # type: ignore[union-attr]
    with open_storage(database, tmp_path) as (storage, drivers):
        assert Study(plan(), storage, drivers).spent() == 6
    assert [str(one.message) for one in recwarn if "optuna" in str(one.filename)] == []
    assert capfd.readouterr() == ("", "")


def test_a_driver_without_heartbeat_is_dead(plan, database: str, tmp_path: Path) -> None:
    with open_storage(database, tmp_path) as (storage, drivers):
        held = Study(plan(), storage, drivers).ask(2)
    with contextlib.closing(sqlite3.connect(tmp_path / "studies.db")) as raw:
        assert raw.execute("select count(*) from trial_heartbeats").fetchone() == (2,)
        raw.execute("update trial_heartbeats set heartbeat = '2020-01-01 00:00:00' where trial_id = ?", (held[0]._trial_id,))
        raw.commit()
    with open_storage(database, tmp_path) as (storage, drivers):
        study = Study(plan(), storage, drivers)
        assert (study.others(), study.revive(), study.others()) == (2, 1, 1)
        (again,) = study.ask(1)
        assert again.params == held[0].params


# ------------------------------------------------------------------------------------------------------------ in the middle


def test_a_database_that_goes_away_in_the_middle(plan, database: str, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError) as caught, open_storage(database, tmp_path) as (storage, drivers):
        study = Study(plan(), storage, drivers)
        study.ask(2)
        with contextlib.closing(sqlite3.connect(tmp_path / "studies.db")) as raw:
            raw.execute("drop table trial_user_attributes")
            raw.commit()
        study.ask(2)
    message = str(caught.value)
    assert message.startswith(f"--storage {database} is gone: ") and message.endswith("; give the same command again")
    assert "\n" not in message and "no such table" in message


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("postgresql://user:secret@127.0.0.1/x", "postgresql://***@127.0.0.1/x"),
        ("mysql+pymysql://user:secret@127.0.0.1/x?ssl_key=secret2", "mysql+pymysql://***@127.0.0.1/x?ssl_key=***"),
    ],
)
def test_what_is_gone_keeps_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, where: str) -> None:
    from optuna.exceptions import StorageInternalError

    from sweeps import storage as module

    closed: list[bool] = []

    class Nobody(module.Drivers):
        token = "nobody"

        def close(self) -> None:
            closed.append(True)

    monkeypatch.setattr(module, "_database", lambda url: (object(), Nobody()))
    with pytest.raises(BenchmarkError) as caught, open_storage(text, tmp_path):
        raise StorageInternalError(f"server closed\nthe connection to {text} (password=secret)") from OSError("secret")
    message = str(caught.value)
    assert message.startswith(f"--storage {where} is gone: ") and message.endswith("; give the same command again")
    assert "secret" not in message and "\n" not in message and closed == [True]
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


@pytest.mark.parametrize("what", ["file", "folder", "full disk"])
def test_a_journal_that_goes_away_in_the_middle(plan, journal: Path, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and no traceback of the storage's."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(BenchmarkError) as caught, open_storage(None, tmp_path) as (storage, drivers):
        study = Study(plan(), storage, drivers)
        study.ask(1)
        if what == "full disk":
            monkeypatch.setattr("optuna.storages.journal._file.os.fsync", full)
        elif what == "file":
            journal.unlink()
        else:
            shutil.rmtree(journal.parent)
        study.ask(1)
    assert "\n" not in str(caught.value) and str(journal) in str(caught.value)


def test_a_database_of_mlflow_is_no_place_for_studies(tmp_path: Path) -> None:
    """Both note the version of their tables in ``alembic_version``."""
    path = tmp_path / "mlflow.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("create table alembic_version (version_num varchar(32) not null)")
        database.execute("insert into alembic_version values ('5d2d30f0abce')")
        database.commit()
    with pytest.raises(BenchmarkError) as caught, open_storage(f"sqlite:///{path}", tmp_path):
        pass
    assert str(caught.value).endswith("give the studies a database of their own") and "\n" not in str(caught.value)
