"""Run folders: their states, the atomic commit, and that no garbage in one stops the others."""

import errno
import json
import os
import time
from pathlib import Path

import pytest

from benchmark.errors import BenchmarkError, LeaseLostError
from benchmark.files import append_line, atomic_open, atomic_write_text, read_lines
from benchmark.lease import Holder
from benchmark.spec import SCHEMA, PluginSpec, RunSpec, TrainingProtocol
from benchmark.store import BusyError, RunStore, Status


def make_spec(seed: int = 0, **labels: str) -> RunSpec:
    data = PluginSpec("toy", {"n": 10}, 1, "abc")
    return RunSpec(PluginSpec("plain", {"lr": 0.1}), data, PluginSpec("uniform", {"rate": 0.2}, 1), TrainingProtocol(), seed, labels)


def make_result(key: str, code_hash: str = "c0de", **more: object) -> dict:
    return {"schema": SCHEMA, "run_key": key, "code_hash": code_hash, "status": "done", "metrics": {}, **more}


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def key(store: RunStore) -> str:
    return store.register(make_spec())


def quarantined(store: RunStore) -> list[Path]:
    return sorted((store.root / "quarantine").glob("*")) if (store.root / "quarantine").exists() else []


def test_a_runs_life(store: RunStore, key: str) -> None:
    folder = store.folder(key)
    assert store.status("0" * 16, "c0de") is Status.MISSING
    assert store.status(key, "c0de") is Status.MISSING
    with store.lease(key):
        assert store.status(key, "c0de") is Status.RUNNING
        (folder / "last.pt").write_bytes(b"x")
        (folder / "stages").mkdir()
        (folder / "stages" / "1.pt").write_bytes(b"x")
    assert store.status(key, "c0de") is Status.DEAD
    store.fail(key, ValueError("no such thing"), "Traceback ...")
    assert store.status(key, "c0de") is Status.FAILED
    assert store.error(key)["type"] == "ValueError"
    with store.lease(key):
        store.commit(key, make_result(key))
        assert store.status(key, "c0de") is Status.DONE
    assert store.status(key, "c0de") is Status.DONE
    assert store.status(key, None) is Status.DONE
    assert store.status(key, "other") is Status.STALE
    assert {path.name for path in folder.iterdir()} == {"spec.json", "result.json"}
    assert store.result(key) == make_result(key)
    assert store.error(key) is None


def test_register_is_idempotent_and_renews_labels(store: RunStore) -> None:
    spec = make_spec(method="plain")
    key = store.register(spec)
    path = store.folder(key) / "spec.json"
    before = path.stat().st_ino
    assert store.register(spec) == key
    assert path.stat().st_ino == before
    store.register(make_spec(method="plain:lr=0.1"))
    assert store.spec(key).labels == {"method": "plain:lr=0.1"}
    assert store.spec(key) == spec
    with pytest.raises(BenchmarkError, match="no run 0000"):
        store.spec("0" * 16)


@pytest.mark.parametrize("bad", ["../../etc/passwd", "", "0" * 15, "0" * 17, "A" * 16, "0" * 16 + "\n", "/" + "0" * 15])
def test_keys_are_checked(store: RunStore, bad: str) -> None:
    for call in (store.folder, store.result, store.archive, store.lease, store.spec, lambda key: store.status(key, None)):
        with pytest.raises(BenchmarkError, match="not a run key"):
            call(bad)


GARBAGE = {
    "empty": b"",
    "half": b'{"schema": 1, "run_',
    "binary": b"\x00\xff\xfe",
    "list": b"[1]",
    "null": b"null",
    "other schema": json.dumps({"schema": SCHEMA + 1, "run_key": "KEY", "code_hash": "c0de"}).encode(),
    "other run": json.dumps(make_result("f" * 16)).encode(),
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("name", ["result.json", "spec.json"])
def test_garbage_goes_to_quarantine(store: RunStore, key: str, name: str, garbage: str) -> None:
    good = store.register(make_spec(1))
    store.commit(good, make_result(good))
    (store.folder(key) / name).write_bytes(GARBAGE[garbage].replace(b"KEY", key.encode()))
    (store.folder(key) / "last.pt").write_bytes(b"precious")
    assert store.status(key, "c0de") is Status.MISSING
    assert [row["run_key"] for row in store.rows()] == [good]
    (moved,) = quarantined(store)
    assert (moved / "last.pt").read_bytes() == b"precious"
    assert name in (moved / "reason.txt").read_text()
    assert store.keys() == [good]
    assert store.register(make_spec()) == key
    assert store.status(key, "c0de") is Status.MISSING


def test_a_spec_of_another_run_is_refused(store: RunStore, key: str) -> None:
    other = store.register(make_spec(1))
    (store.folder(key) / "spec.json").write_bytes((store.folder(other) / "spec.json").read_bytes())
    with pytest.raises(BenchmarkError):
        store.spec(key)
    assert len(quarantined(store)) == 1


def test_strange_things_in_place_of_files(store: RunStore, key: str) -> None:
    (store.folder(key) / "result.json").mkdir()
    assert store.status(key, None) is Status.MISSING
    store.folder(key).write_text("a file where a folder should be")
    assert store.status(key, None) is Status.MISSING
    assert len(quarantined(store)) == 2
    store.register(make_spec())
    (store.folder(key) / "error.json").write_text("{")
    assert store.status(key, None) is Status.FAILED
    assert store.error(key)["type"] == "unknown"


def test_a_folder_in_work_is_never_moved(store: RunStore, key: str) -> None:
    with store.lease(key):
        (store.folder(key) / "result.json").write_text("{")
        assert store.status(key, "c0de") is Status.RUNNING
        assert list(store.rows()) == []
    assert quarantined(store) == []


def test_a_shortage_of_file_descriptors_condemns_nothing(store: RunStore, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store.commit(key, make_result(key))

    def exhausted(self: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "read_bytes", exhausted)
    store.status(key, "c0de")
    monkeypatch.undo()
    assert store.status(key, "c0de") is Status.DONE


def test_archive_keeps_everything(store: RunStore, key: str) -> None:
    assert store.archive(key) is None
    assert store.archive("0" * 16) is None
    for code in ("a", "b"):
        with store.lease(key):
            store.archive(key)
            store.commit(key, make_result(key, code))
            (store.folder(key) / "history.jsonl").write_text("{}\n")
    assert store.status(key, "c") is Status.STALE
    moved = store.archive(key)
    assert moved is not None
    assert store.status(key, "c") is Status.MISSING
    kept = [json.loads(path.read_text())["code_hash"] for path in store.folder(key).glob("history/*/result.json")]
    assert sorted(kept) == ["a", "b"]
    assert list(store.rows()) == []
    assert (moved / "history.jsonl").exists()


def test_commit_refuses_what_is_not_its_own(store: RunStore, key: str) -> None:
    with pytest.raises(BenchmarkError, match="cannot be committed"):
        store.commit(key, make_result("f" * 16))
    holder = Holder.this_process()
    foreign = {**holder.__dict__, "host": "elsewhere", "token": "x"}
    (store.folder(key) / "lease.json").write_text(json.dumps(foreign))
    with pytest.raises(LeaseLostError):
        store.commit(key, make_result(key))
    store.fail(key, ValueError("late"), "")
    with pytest.raises(BusyError):
        store.archive(key)
    assert {path.name for path in store.folder(key).iterdir()} == {"spec.json", "lease.json"}


def test_numbers_that_json_lacks_become_null(store: RunStore, key: str) -> None:
    store.commit(key, make_result(key, metrics={"last": {"nll": float("inf"), "values": [1.0, float("nan")]}}))
    assert store.result(key)["metrics"] == {"last": {"nll": None, "values": [1.0, None]}}


def test_a_full_disk_is_one_line_and_leaves_no_litter(store: RunStore, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for action in (store.check_writable, lambda: store.commit(key, make_result(key)), lambda: store.register(make_spec(1))):
        with pytest.raises(BenchmarkError, match=r"No space left on device.*--runs DIR"):
            action()
    store.fail(key, ValueError("x"), "")
    monkeypatch.undo()
    assert store.status(key, "c0de") is Status.MISSING
    assert not [path for path in store.root.rglob("*") if path.is_file() and path.name not in ("spec.json", ".lock")]


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    for root in (tmp_path / "runs", tmp_path / "runs" / "below"):
        store = RunStore(root)
        with pytest.raises(BenchmarkError, match=r"is a file or lies below one.*--runs DIR"):
            store.check_writable()
        assert store.keys() == []
        assert store.status("0" * 16, None) is Status.MISSING
    RunStore(tmp_path / "new" / "deep").check_writable()
    assert list((tmp_path / "new" / "deep").iterdir()) == []


def test_ten_thousand_runs(store: RunStore) -> None:
    store.root.mkdir()
    for number in range(10_000):
        folder = store.root / f"{number:016x}"
        folder.mkdir()
        (folder / "result.json").write_text(json.dumps(make_result(folder.name)))
    start = time.process_time()
    keys = store.keys()
    assert all(store.status(key, "c0de") is Status.DONE for key in keys)
    assert sum(1 for _ in store.rows()) == 10_000
    assert time.process_time() - start < 60  # a guard against a quadratic walk, not a measure


def test_leftovers_are_ignored_and_cleaned(store: RunStore, key: str) -> None:
    leftover = store.folder(key) / "result.json.0123abcd.tmp"
    leftover.write_text('{"half')
    assert store.status(key, "c0de") is Status.MISSING
    with store.lease(key):
        assert not leftover.exists()


def test_atomic_write_keeps_the_old_content_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic_write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_open(path) as file:
        file.write(b"new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("tail", [b"", b"{", b'{"epoch": 2}', b'{"long": "' + b"x" * 200_000])
def test_lines_bear_a_half_written_end(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "history.jsonl"
    assert read_lines(path) == []
    append_line(path, {"epoch": 0})
    append_line(path, {"epoch": 1})
    with path.open("ab") as file:
        file.write(tail)
    assert [row["epoch"] for row in read_lines(path)] == [0, 1]
    append_line(path, {"epoch": 2})
    assert [row["epoch"] for row in read_lines(path)] == [0, 1, 2]
    path.write_bytes(b'{"epoch": 0}\n\x00\x00\n[]\n{"epoch": 1}\n')
    assert [row["epoch"] for row in read_lines(path)] == [0, 1]
