"""Searches without training: a plan of a method that is not there, and drivers that open its storage."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.spec import PluginSpec, RunSpec, TrainingProtocol
from sweeps.plan import FirstSetting, Plan
from sweeps.space import Dimension
from sweeps.storage import journal_path, open_storage
from sweeps.study import Study

DEFAULT = {"toy.x": 0.5, "toy.kind": "a"}
LABELS = {"method": "toy", "dataset": "cells", "noise": "symmetric:0.4"}


@pytest.fixture
def cell() -> RunSpec:
    """The toy at its default."""
    noise = PluginSpec("symmetric", {"rate": 0.4}, 1)
    return RunSpec(PluginSpec("toy", {"x": 0.5, "kind": "a"}), PluginSpec("cells", {}, 1, "v1"), noise, TrainingProtocol(), 0, dict(LABELS))


@pytest.fixture
def plan(cell: RunSpec) -> Callable[..., Plan]:
    """A plan over a number from 0 to 1 and a choice of two."""

    def make(**changes: Any) -> Plan:
        space = (Dimension("toy", "x", 0.0, 1.0), Dimension("toy", "kind", choices=("a", "b")))
        usual: dict[str, Any] = {"space": space, "first": (FirstSetting("default", DEFAULT),), "seeds": (0, 1), "trials": 6}
        return Plan(cell, "code", **{**usual, **changes})

    return make


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., contextlib.AbstractContextManager[Study]]:
    """One driver of a plan, in the journal of ``tmp_path``."""

    @contextlib.contextmanager
    def call(plan: Plan, name: str | None = None, folder: Path = tmp_path) -> Iterator[Study]:
        with open_storage(None, folder) as (storage, drivers):
            study = Study(plan, storage, drivers, name)
            study.revive()
            yield study

    return call


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """The file of :func:`opened`."""
    return journal_path(tmp_path)
