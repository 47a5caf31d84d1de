"""``status``: what a folder holds, at once and as it changes."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.cli import status as module
from benchmark.cli import watch
from benchmark.code_hash import code_hash
from benchmark.folder_view import FolderView
from benchmark.registry import Registry
from benchmark.spec import SCHEMA, PluginSpec, RunSpec, TrainingProtocol
from benchmark.store import RunStore

ESCAPE = "\x1b"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    return RunStore(Path("runs"))


def spec(seed: int, method: str = "ce", noise: str = "none", epochs: int = 30) -> RunSpec:
    plugins = PluginSpec(method), PluginSpec("digits", {}, 1, "v1"), PluginSpec(noise, {}, 1)
    return RunSpec(*plugins, TrainingProtocol(epochs=epochs), seed, {"method": method, "dataset": "digits", "noise": noise})


@pytest.fixture
def commit(store: RunStore, registry: Registry) -> Callable[..., str]:
    """Leaves what a worker leaves; returns the key."""

    def call(cell: RunSpec, seconds: float = 10.0, status: str = "done", **more: object) -> str:
        key = store.register(cell)
        head = {"schema": SCHEMA, "run_key": key, "code_hash": code_hash(cell, registry), "status": status, "reason": "\x1b[31mbecause"}
        store.commit(key, {**head, "spec": cell.to_dict(), "cost": {"seconds": seconds}, "host": {"device": "cpu"}, **more})
        return key

    return call


def old(folder: Path) -> None:
    """As if nothing had happened in a folder for a minute."""
    then = time.time() - 60
    os.utime(folder, (then, then))


def view_of(store: RunStore, registry: Registry) -> FolderView:
    view = FolderView(store, registry)
    view.refresh()
    return view


# ------------------------------------------------------------------------------------------------------------ once


def test_few_cells_are_listed_one_by_one(bench, store: RunStore, commit, capsys: pytest.CaptureFixture[str]) -> None:
    done, diverged = commit(spec(1)), commit(spec(0), status="diverged")
    failed = store.register(spec(2))
    store.fail(failed, RuntimeError("no \x1b[31mluck\n twice"), "traceback")
    missing = store.register(spec(3))
    assert bench("status") == 0
    printed = capsys.readouterr().out
    assert ESCAPE not in printed
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == [diverged, done, failed, missing]  # by seed
    assert lines[1].split()[5:] == ["done", "diverged:", "because"]
    assert lines[3].split()[5:] == ["failed", "RuntimeError:", "no", "luck", "twice"]
    assert lines[6:9] == [
        "1 × RuntimeError: no luck twice",
        f"    e.g. ce digits none seed 2: python -m benchmark worker {failed} --runs runs",
        "",
    ]
    assert lines[-1] == "4 cells in runs, 2 done, 1 failed, 1 missing"


def test_three_hundred_cells_are_counted(bench, store: RunStore, commit, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(100):
        commit(spec(seed, "ce"))
        commit(spec(seed, "gce"), status="skipped" if seed < 3 else "done")
        if seed < 60:
            store.fail(store.register(spec(seed, "sce")), ValueError(f"value {seed}"), "")
        else:
            store.register(spec(seed, "sce"))
    capsys.readouterr()
    assert bench("status") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["dataset", "noise", "method", "cells", "done", "failed", "missing", "skipped"],
        ["digits", "none", "ce", "100", "100"],
        ["digits", "none", "gce", "100", "100", "3"],
        ["digits", "none", "sce", "100", "60", "40"],
    ]
    listed = lines[6:46]
    assert all(line.split()[5] == "failed" for line in listed) and len({line.split()[0] for line in listed}) == 40
    assert lines[46] == "and 63 more that are not done; --all lists every cell"  # 60 + 40 + 3 − 40
    assert lines[48] == "60 × ValueError: value #"
    assert lines[-1] == "300 cells in runs, 200 done, 60 failed, 40 missing"
    assert bench("status", "--all") == 0
    assert len([line for line in capsys.readouterr().out.splitlines() if " digits " in line and line.split()[0].isalnum()]) >= 300
    assert bench("status", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["counts"] == {"done": 200, "failed": 60, "missing": 40} and len(document["cells"]) == 300
    assert [(group["cause"], group["cells"]) for group in document["failures"]] == [("ValueError: value #", 60)]


def test_corrupt_files_are_a_state_like_any_other(bench, store: RunStore, commit, capsys: pytest.CaptureFixture[str]) -> None:
    keys = [commit(spec(seed)) for seed in range(4)]
    (store.folder(keys[0]) / "result.json").write_text('{"a')
    (store.folder(keys[1]) / "spec.json").write_text("[]")
    store.fail(store.register(spec(5)), ValueError("x"), "")
    (store.folder(store.register(spec(5))) / "error.json").write_bytes(b"\xff\x00")
    (store.root / ("f" * 16)).mkdir()
    assert bench("status", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["counts"]["done"] == 2 and document["counts"]["failed"] == 1
    assert {cell["status"] for cell in document["cells"]} >= {"unreadable"}
    assert "unknown: error.json cannot be read" in [cell["detail"] for cell in document["cells"]]


@pytest.mark.parametrize(
    ("old_text", "new_text"),
    [('"epochs": 30', '"epochs": Infinity'), ('"seconds": 12.0', '"seconds": 1' + "0" * 400), ('"subset": 0.5', '"subset": NaN')],
)
@pytest.mark.parametrize("words", [("--json",), (), ("--watch",)])
def test_one_odd_file_is_no_obstacle(
    bench, store: RunStore, commit, registry: Registry, capsys, old_text: str, new_text: str, words: tuple[str, ...]
) -> None:
    base = spec(0)
    cell = RunSpec(base.method, PluginSpec("digits", {"subset": 0.5}, 1, "v1"), base.noise, base.protocol, 0, base.labels)
    path = store.folder(commit(cell, seconds=12.0)) / "result.json"
    assert old_text in path.read_text()
    path.write_text(path.read_text().replace(old_text, new_text))
    store.register(spec(1))
    if words == ("--watch",):
        assert view_of(store, registry).seconds_left() == (None, 1)
        return
    assert bench("status", *words) == 0
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("value", ["1" + "0" * 400, "Infinity", "NaN", '"50"', "true"])
def test_odd_numbers_of_a_device_are_left_out(store: RunStore, registry: Registry, value: str) -> None:
    key = store.register(spec(0))
    (store.folder(key) / "system.jsonl").write_text(f'{{"gpu_percent": {value}, "gpu_memory_mb": 512}}\n')
    live = FolderView(store, registry).live(key)
    assert (live.gpu_percent, live.gpu_memory_mb) == (None, 512.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--runs", "nowhere"), "runs folder nowhere does not exist; check --runs DIR"),
        (("--runs", "nowhere", "--watch"), "runs folder nowhere does not exist; check --runs DIR"),
        (("--watch", "--json"), "--watch and --json contradict each other"),
        (("--watch", "--all"), "--watch and --all contradict each other"),
        (("--interval", "5"), "--interval is of --watch"),
        (("--watch", "--interval", "0"), "--interval"),
    ],
)
def test_one_line_for_what_cannot_be(bench, store: RunStore, words: tuple[str, ...], message: str, capsys) -> None:
    assert bench("status", *words) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.count("\n") == 1 and printed.out == ""


def test_an_empty_folder(bench, store: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("status") == 0
    assert capsys.readouterr().out == "0 cells in runs\n"


# ------------------------------------------------------------------------------------------------------- incremental


def test_only_what_changed_is_read(store: RunStore, registry: Registry, commit) -> None:
    keys = [commit(spec(seed)) for seed in range(5)]
    waiting = store.register(spec(9))
    for key in (*keys, waiting):
        old(store.folder(key))
    view = FolderView(store, registry)
    assert [view.refresh(), view.refresh()] == [6, 0]
    assert view.counts == {"done": 5, "missing": 1}
    commit(spec(9))
    shutil.rmtree(store.folder(keys[0]))
    assert view.refresh() == 1
    assert view.counts == {"done": 5}
    assert view.refresh() == 1  # its stamp is so young that it might change once more unseen
    old(store.folder(waiting))
    assert [view.refresh(), view.refresh()] == [1, 0]


def test_a_folder_that_has_just_changed_is_read_again(store: RunStore, registry: Registry, commit) -> None:
    commit(spec(0))
    view = FolderView(store, registry)
    assert [view.refresh(), view.refresh()] == [1, 1]


def test_running_cells_are_always_read_and_tell_how_far_they_are(store: RunStore, registry: Registry) -> None:
    key = store.register(spec(0))
    view = FolderView(store, registry)
    with store.lease(key):
        folder = store.folder(key)
        (folder / "history.jsonl").write_text('{"stage": "tr\\u001b[1main", "epoch": 0, "epochs": 30}\n{"epoch": 1, "ep')
        (folder / "system.jsonl").write_text('{"gpu_percent": 87, "gpu_memory_mb": 2048.0}\n')
        old(folder)
        assert [view.refresh(), view.refresh()] == [1, 1]
        assert view.counts == {"running": 1}
        live = view.live(key)
        assert (live.stage, live.epoch, live.epochs, live.gpu_percent, live.gpu_memory_mb) == ("train", 1, 30, 87.0, 2048.0)
        assert live.beat_seconds is not None and 0 <= live.beat_seconds < 60
        assert live.seconds is not None and 0 <= live.seconds < 60
        for text in (b"", b"\xff\n", b"[1]\n", b'{"epoch": "x", "epochs": null}\n'):
            (folder / "history.jsonl").write_bytes(text)
            assert (view.live(key).epoch, view.live(key).epochs) == (None, None)
    assert view.refresh() == 1 and view.counts == {"dead": 1}


def test_remaining_time(store: RunStore, registry: Registry, commit, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(3):
        commit(spec(seed), seconds=600.0)
    assert view_of(store, registry).seconds_left() == (None, 0)  # nothing is left
    for seed in (3, 4, 5):
        store.register(spec(seed))
    store.register(spec(6, "gce"))
    assert view_of(store, registry).seconds_left() == (None, 1)  # nothing runs
    with store.lease(store.register(spec(3))), store.lease(store.register(spec(4))):
        view = view_of(store, registry)
        monkeypatch.setattr(view, "live", lambda key: _live(150.0))
        seconds, unknown = view.seconds_left()
    assert (seconds, unknown) == (450.0 + 600.0, 1)  # both have 450 s left, then one of them takes the other cell


def _live(seconds: float):
    from benchmark.folder_view import Live

    return Live(None, None, None, 1.0, seconds, "host", None, None)


# ------------------------------------------------------------------------------------------------------------ watch


def test_a_pipe_gets_one_block_when_nothing_is_left(bench, store: RunStore, commit, capsys: pytest.CaptureFixture[str]) -> None:
    commit(spec(0))
    store.fail(store.register(spec(1)), RuntimeError("3 \x1b[31mMiB"), "")
    assert bench("status", "--watch") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["1 of 2 cells done, 1 failed", "nothing left to run"]
    assert "1 × RuntimeError: 3 MiB" in lines
    assert not any(ESCAPE in line for line in lines)


def test_a_pipe_gets_blocks_until_the_last_cell_has_ended(store: RunStore, registry: Registry, commit, monkeypatch, capsys) -> None:
    commit(spec(0))
    key = store.register(spec(1))
    lease = store.lease(key)
    lease.acquire()
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            commit(spec(1))
            lease.release()

    monkeypatch.setattr(watch.time, "sleep", sleep)
    assert watch.watch_folder(FolderView(store, registry), module.Repeat(Path("runs"), ()), 7.0) == 0
    assert looks == [7.0, 7.0]
    blocks = [line for line in capsys.readouterr().out.splitlines() if "cells done" in line]
    assert blocks == ["1 of 2 cells done, 1 running"] * 2 + ["2 of 2 cells done"]


def test_a_pipe_is_left_when_nothing_runs_any_more(store: RunStore, registry: Registry, monkeypatch, capsys) -> None:
    store.register(spec(0))
    now = [0.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(watch.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    assert watch.watch_folder(FolderView(store, registry), module.Repeat(Path("runs"), ()), 30.0) == 0
    printed = capsys.readouterr().out
    assert printed.count("0 of 1 cells done, 1 missing") == 3  # at 0, 30 and 60 s
    assert "nothing runs; give the command" in printed


def test_a_narrow_screen_keeps_what_matters(store: RunStore, registry: Registry) -> None:
    from rich.console import Console

    store.register(spec(0))
    with store.lease(store.register(spec(1, "a" * 90))):
        view = view_of(store, registry)
        texts = {}
        for width in (80, 160):
            console = Console(width=width, record=True, file=io.StringIO(), color_system=None)
            console.print(*watch.parts(view, module.Repeat(Path("runs"), ()), width, 24))
            texts[width] = console.export_text()
            assert all(len(line) <= width for line in texts[width].splitlines())
    assert [name in texts[80] for name in ("data", "seed", "epoch", "alive", "0 s ago", "host")] == [True] * 5 + [False]
    assert "host" in texts[160] and "a" * 90 in texts[160]


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_a_key_leaves_the_screen(store: RunStore, commit, key: bytes) -> None:
    commit(spec(0))
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(Path(module.__file__).parents[2])}
    script = "import fcntl, runpy, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); runpy.run_module('benchmark', run_name='__main__')"
    words = ("status", "--watch", "--interval", "0.5", "--runs", str(store.root.absolute()))
    command = [sys.executable, "-c", script, *words]  # Ctrl-C reaches only those whose terminal it is
    streams = {"stdin": follower, "stdout": follower, "stderr": follower}
    process = subprocess.Popen(command, **streams, env=environment, start_new_session=True)
    os.close(follower)
    said, deadline = b"", time.monotonic() + 60
    while b"q leaves" not in said and time.monotonic() < deadline:
        said += _read(leader)
    os.write(leader, key)
    while process.poll() is None and time.monotonic() < deadline:
        said += _read(leader)
    said += _read(leader)
    assert process.wait(5) == 0
    assert b"1 of 1 cells done" in said and said.rstrip().endswith(b"1 done")
    os.close(leader)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536) if select.select([descriptor], [], [], 0.2)[0] else b""
    except OSError:  # the other end is closed
        return b""
