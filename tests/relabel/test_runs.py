"""A run by its key, the first digits of one, or its folder; and runs that cannot be exported."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark.errors import BenchmarkError
from benchmark.relabel.runs import open_run
from benchmark.spec import SCHEMA
from benchmark.store import RunStore


def test_a_key_its_first_digits_and_its_folder_name_the_run(finish, tmp_path: Path) -> None:
    key = finish().run.key
    runs = tmp_path / "runs"
    for text in (key, key[:4], key.upper()[:4], str(runs / key)):
        assert open_run(text, runs).key == key
    found = open_run(str(runs / key), tmp_path / "elsewhere")  # a folder needs no --runs
    assert set(found.samples) == {"index", "given", "quality", "suspect"}  # the truth is not even read


def test_digits_that_several_keys_begin_with(finish, tmp_path: Path) -> None:
    finish()
    finish(seed=1)
    with pytest.raises(BenchmarkError, match=r"unknown run ''; known: [0-9a-f]{16}, [0-9a-f]{16}; see: python -m benchmark status --runs"):
        open_run("", tmp_path / "runs")
    one, two = RunStore(tmp_path / "runs").keys()
    twin = one[:3] + two[3:]
    shutil.copytree(tmp_path / "runs" / two, tmp_path / "runs" / twin)
    with pytest.raises(BenchmarkError, match=rf"'{one[:3]}' begins 2 keys: .*; write more digits"):
        open_run(one[:3], tmp_path / "runs")


def test_a_key_with_a_typo(finish, tmp_path: Path) -> None:
    key = finish().run.key
    typo = key[:-1] + ("0" if key[-1] != "0" else "1")
    with pytest.raises(
        BenchmarkError, match=rf"unknown run '{typo}'; did you mean '{key}'\?; known: {key}; see: python -m benchmark status"
    ):
        open_run(typo, tmp_path / "runs")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no/such", r"no/such is no run's folder: there is no spec\.json in it"),
        ("abcd", r"runs folder .*none does not exist; check --runs DIR"),
    ],
)
def test_what_names_no_run(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        open_run(text, tmp_path / "none")


def test_a_folder_under_another_name(finish, tmp_path: Path) -> None:
    key = finish().run.key
    shutil.copytree(tmp_path / "runs" / key, tmp_path / "best")
    with pytest.raises(BenchmarkError, match=r"best is no run's folder: its name is 'best'; expected the run's key, 16 hex digits"):
        open_run(str(tmp_path / "best"), tmp_path / "runs")


def test_a_run_without_samples(finish, tmp_path: Path) -> None:
    run = finish().run
    store = RunStore(tmp_path / "runs")
    samples = store.folder(run.key) / "samples.parquet"
    pq.write_table(pa.table({"index": [1], "given": [0], "quality": [0.5]}), samples)
    with pytest.raises(BenchmarkError, match=r"samples\.parquet lacks the column suspect"):
        open_run(run.key, store.root)
    samples.write_bytes(b"no parquet")
    with pytest.raises(BenchmarkError, match=r"samples\.parquet cannot be read: .*; run the cell again") as raised:
        open_run(run.key, store.root)
    assert len(str(raised.value).splitlines()) == 1
    samples.unlink()
    with pytest.raises(BenchmarkError, match=r"samples\.parquet cannot be read: there is no such file; run the cell again"):
        open_run(run.key, store.root)
    store.commit(run.key, {"schema": SCHEMA, "run_key": run.key, "status": "diverged", "reason": "loss is nan"})
    with pytest.raises(BenchmarkError, match=r"is diverged \(loss is nan\), so it says nothing of its samples"):
        open_run(run.key, store.root)
    (store.folder(run.key) / "result.json").unlink()
    with pytest.raises(BenchmarkError, match="has no result yet"):
        open_run(run.key, store.root)
