"""What travels: hostile names, links, a lease that was lost, results of others."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.engines import parcel
from benchmark.errors import BenchmarkError, LeaseLostError
from benchmark.lease import Lease
from benchmark.spec import SCHEMA
from benchmark.store import RunStore, Status

KEY = "0" * 15 + "a"
RESULT = json.dumps({"schema": SCHEMA, "run_key": KEY, "code_hash": "c", "metrics": {"last": {"accuracy": 0.5}}}).encode()


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def lease(store: RunStore) -> Iterator[Lease]:
    with store.lease(KEY) as held:
        yield held


def names(store: RunStore) -> list[str]:
    folder = store.folder(KEY)
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.name != "lease.json")


def test_a_finished_run_travels_and_is_committed(store: RunStore, lease: Lease, tmp_path: Path) -> None:
    node = tmp_path / "node"
    for name in (
        "log.txt",
        "predictions.npz",
        "rounds/1/pool.csv",
        "spec.json",
        "lease.json",
        "last.pt",
        "stages/a.pt",
        "history/1/log.txt",
    ):
        (node / name).parent.mkdir(parents=True, exist_ok=True)
        (node / name).write_bytes(name.encode())
    (node / "half.csv.0a.tmp").write_bytes(b"half")
    (node / "secret").symlink_to("/etc/passwd")
    (node / "linked").symlink_to(tmp_path)
    (node / "result.json").write_bytes(RESULT)
    files, left_out = parcel.pack_run(node)
    assert left_out == []
    assert sorted(files) == ["log.txt", "predictions.npz", "result.json", "rounds/1/pool.csv"]

    (store.folder(KEY) / "last.pt").write_bytes(b"of an earlier attempt here")
    parcel.unpack_run(files, store, KEY, lease)
    assert store.status(KEY, "c") is Status.DONE
    assert store.result(KEY)["metrics"] == {"last": {"accuracy": 0.5}}
    assert names(store) == ["log.txt", "predictions.npz", "result.json", "rounds", "rounds/1", "rounds/1/pool.csv"]
    assert (store.folder(KEY) / "rounds/1/pool.csv").read_text() == "rounds/1/pool.csv"


def test_what_is_sent_is_taken(store: RunStore, lease: Lease, tmp_path: Path) -> None:
    """An unusual name costs that file, not the run."""
    node = tmp_path / "node"
    travel = ["my plot.png", "plots (old)/run=1,lr=0.1@2.png", "Übersicht.txt", "a/b/c/d.txt"]
    stay = [".nfs0000123", "a/b/c/d/e.txt", "tab\there", "back\\slash", "-rf", "what?"]
    for name in [*travel, *stay]:
        (node / name).parent.mkdir(parents=True, exist_ok=True)
        (node / name).write_bytes(name.encode())
    (node / "result.json").write_bytes(RESULT)
    files, left_out = parcel.pack_run(node)
    assert sorted(files) == sorted([*travel, "result.json"]) and sorted(left_out) == sorted(stay)
    parcel.unpack_run(files, store, KEY, lease)
    assert store.status(KEY, "c") is Status.DONE
    assert {name: (store.folder(KEY) / name).read_text() for name in travel} == {name: name for name in travel}


def test_a_run_that_failed_brings_its_error(store: RunStore, lease: Lease) -> None:
    parcel.unpack_run({"error.json": b'{"message": "no"}', "log.txt": b"log"}, store, KEY, lease)
    lease.release()
    assert store.status(KEY, None) is Status.FAILED
    assert store.error(KEY)["message"] == "no"


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/cron.d/x", "../x", "a/../../x", "", ".", "a//b", "a/", "./a", ".hidden", "a\\b", "a\0b", "a\nb", "x.tmp"),
        *("spec.json", "lease.json", "last.pt", "stages/a.pt", "history/1/result.json", "a/b/c/d/e"),
    ],
)
def test_no_name_leads_out_of_the_folder(store: RunStore, lease: Lease, name: str) -> None:
    with pytest.raises(BenchmarkError, match="which no run may write; nothing was taken over"):
        parcel.unpack_run({"log.txt": b"log", name: b"x", "result.json": RESULT}, store, KEY, lease)
    assert names(store) == []


def test_no_file_is_written_through_a_link(store: RunStore, lease: Lease, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (store.folder(KEY) / "rounds").symlink_to(outside)
    with pytest.raises(BenchmarkError, match="rounds is a link or a file"):
        parcel.unpack_run({"rounds/a.csv": b"x", "result.json": RESULT}, store, KEY, lease)
    (outside / "victim").write_text("mine")
    (store.folder(KEY) / "log.txt").symlink_to(outside / "victim")
    parcel.unpack_run({"log.txt": b"log"}, store, KEY, lease)
    assert (outside / "victim").read_text() == "mine" and list(outside.iterdir()) == [outside / "victim"]


@pytest.mark.parametrize("result", [b"{", b"[1]", b'{"run_key": "0000000000000000"}', b"[" * 100_000])
def test_a_result_that_is_not_the_runs_own(store: RunStore, lease: Lease, result: bytes) -> None:
    with pytest.raises(BenchmarkError, match="is not its own; nothing was taken over"):
        parcel.unpack_run({"log.txt": b"log", "result.json": result}, store, KEY, lease)
    assert names(store) == []


def test_a_run_that_was_taken_over_is_dropped(store: RunStore, lease: Lease) -> None:
    lease.path.unlink()
    with store.lease(KEY), pytest.raises(LeaseLostError):
        parcel.unpack_run({"log.txt": b"log", "result.json": RESULT}, store, KEY, lease)
    assert names(store) == []


def test_plugins_travel_as_files_or_whole_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCHMARK_PLUGINS", raising=False)
    home = tmp_path / "mine"
    (home / "inner" / "__pycache__").mkdir(parents=True)
    for name in ("one.py", "beside.py", "inner/__init__.py", "inner/two.py", "inner/table.csv", "inner/__pycache__/two.pyc"):
        (home / name).write_text(name)
    packed = parcel.pack_plugins([str(home / "one.py"), str(home / "inner")])
    assert parcel.pack_plugins([str(home / "inner" / "__init__.py")]) == packed[1:]
    assert [(name, sorted(files)) for name, files in packed] == [
        ("one.py", ["one.py"]),
        ("inner", ["inner/__init__.py", "inner/table.csv", "inner/two.py"]),
    ]
    paths = [Path(path) for path in parcel.unpack_plugins(packed, tmp_path / "there")]
    assert paths[0].read_text() == "one.py" and not paths[0].with_name("beside.py").exists()
    assert (paths[1] / "two.py").read_text() == "inner/two.py"
    monkeypatch.setenv("BENCHMARK_PLUGINS", str(home / "one.py"))
    assert [name for name, _ in parcel.pack_plugins([])] == ["one.py"]


def test_plugins_do_not_carry_data_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel, "MOST_PLUGIN_BYTES", 10)
    (tmp_path / "big.py").write_text("#" * 11)
    with pytest.raises(BenchmarkError, match="would travel with every run"):
        parcel.pack_plugins([str(tmp_path / "big.py")])
    with pytest.raises(BenchmarkError, match="leads out of its folder"):
        parcel.unpack_plugins([("p.py", {"../p.py": b""})], tmp_path / "there")
