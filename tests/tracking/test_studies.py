"""Studies of searches in a real PostgreSQL: drivers that share nothing else, and one that dies. Here because the server is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmark.spec import PluginSpec, RunSpec, TrainingProtocol
from sweeps import storage as kept
from sweeps.plan import FirstSetting, Plan
from sweeps.space import Dimension
from sweeps.storage import open_storage
from sweeps.study import Study

LABELS = {"method": "toy", "dataset": "cells", "noise": "none"}


@pytest.fixture
def plan() -> Plan:
    plugins = (PluginSpec("toy", {"x": 0.5}), PluginSpec("cells", {}, 1, "v1"), PluginSpec("none", {}, 1))
    cell = RunSpec(*plugins, TrainingProtocol(), 0, dict(LABELS))
    return Plan(cell, "code", (Dimension("toy", "x", 0.0, 1.0),), (FirstSetting("default", {"toy.x": 0.5}),), seeds=(0,), trials=5)


@pytest.fixture
def database(postgresql: str) -> str:
    """One of its own: the server's first one may hold MLflow's tables by now."""
    import psycopg2

    connection = psycopg2.connect(postgresql)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("create database studies")
    connection.close()
    return postgresql.removesuffix("/postgres") + "/studies"


@pytest.mark.slow
def test_two_drivers_and_the_death_of_one(database: str, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "HEARTBEAT_S", 1)
    monkeypatch.setattr(kept, "GRACE_S", 12)
    with open_storage(database, tmp_path) as (one, first), open_storage(database, tmp_path) as (two, second):
        ours, theirs = Study(plan, one, first), Study(plan, two, second)
        assert ours.name == theirs.name and not list(tmp_path.iterdir())  # nothing is written beside the database
        (default,) = ours.ask(1)
        (other,) = theirs.ask(1)
        assert default.user_attrs["source"] == "default" and other.user_attrs["source"] == "search"
        time.sleep(14)  # longer than the grace: the heartbeat is what keeps it alive
        assert (theirs.revive(), theirs.others()) == (0, 1)
        theirs.tell(other, {0: (0.7, 1.0)}, ["k"])

        first.close()  # no sign of life from now on
        deadline = time.monotonic() + 60
        while not theirs.revive():
            assert time.monotonic() < deadline
            time.sleep(0.5)
        (again,) = theirs.ask(1)
        assert theirs.settings(again) == {"toy.x": 0.5} and again.user_attrs["source"] == "default"
        theirs.tell(again, {0: (0.8, 1.0)}, ["k"])
        while asked := theirs.ask(2):
            for trial in asked:
                theirs.tell(trial, {0: (0.1, 1.0)}, ["k"])
        assert (theirs.spent(), ours.spent(), theirs.best().value) == (5, 5, 0.8)  # type: ignore[union-attr]
