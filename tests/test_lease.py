"""The lease: one holder at a time, also among real processes that race and die."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmark.errors import LeaseLostError
from benchmark.lease import BusyError, Holder, Lease, is_live

HOLD = """
import sys, time
from pathlib import Path
from benchmark.lease import Lease
with Lease(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

RACE = """
import os, sys, time
from pathlib import Path
from benchmark.lease import BusyError, Lease
folder, turns = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
won = 0
while won < turns:
    try:
        with Lease(folder) as lease:
            os.close(os.open(folder / "inside", os.O_CREAT | os.O_EXCL))  # fails if anybody else is inside
            lease.check()
            os.unlink(folder / "inside")
            won += 1
    except BusyError:
        pass
    time.sleep(0.001)
print("won", flush=True)
"""

THIEF = """
import sys
from pathlib import Path
from benchmark.lease import BusyError, Lease
print("ready", flush=True)
sys.stdin.readline()
try:
    Lease(Path(sys.argv[1])).acquire()
    print("won", flush=True)
except BusyError:
    print("lost", flush=True)
sys.stdin.readline()
"""


def start(code: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def test_one_holder(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lease.json"
    with Lease(path.parent) as lease:
        lease.check()
        assert is_live(path)
        with pytest.raises(BusyError, match=f"pid {os.getpid()}"), Lease(path.parent):
            pass
        lease.check()
    assert not path.exists()
    lease.release()
    with pytest.raises(LeaseLostError):
        lease.check()
    with lease:
        lease.check()


def test_a_killed_holder_is_replaced(tmp_path: Path) -> None:
    holder = start(HOLD, tmp_path)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(BusyError, match=f"pid {holder.pid}"):
        Lease(tmp_path).acquire()
    holder.kill()
    while is_live(tmp_path / "lease.json"):  # a zombie until it is waited for: dead all the same
        time.sleep(0.01)
    with Lease(tmp_path) as lease:
        lease.check()
    holder.communicate()


def write(path: Path, age: float = 0.0, **changes: object) -> None:
    path.write_text(json.dumps({**Holder.this_process().__dict__, **changes}))
    os.utime(path, (time.time() - age,) * 2)


@pytest.mark.parametrize(
    ("age", "changes", "live"),
    [
        (0, {}, True),
        (500, {}, False),  # hung
        (0, {"started": 1.0}, False),  # the pid was used again
        (0, {"host": "elsewhere", "pid": 1}, True),
        (0, {"machine": "other container", "started": 1.0}, True),  # same name, other namespace: cannot be judged
        (500, {"host": "elsewhere"}, False),
    ],
)
def test_who_is_alive(tmp_path: Path, age: float, changes: dict, live: bool) -> None:
    write(tmp_path / "lease.json", age, **changes)
    assert is_live(tmp_path / "lease.json") is live


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
def test_an_unreadable_lease_is_judged_by_its_age(tmp_path: Path, content: str) -> None:
    path = tmp_path / "lease.json"
    path.write_text(content)
    with pytest.raises(BusyError):
        Lease(tmp_path).acquire()
    os.utime(path, (1.0, 1.0))
    with Lease(tmp_path) as lease:
        lease.check()


def test_the_loser_notices_and_leaves_the_thief_alone(tmp_path: Path) -> None:
    lost = Lease(tmp_path, heartbeat_s=3600)
    lost.acquire()
    os.utime(tmp_path / "lease.json", (1.0, 1.0))
    with Lease(tmp_path) as thief:
        with pytest.raises(LeaseLostError):
            lost.check()
        lost.release()
        thief.check()


def test_the_heart_beats_and_stops(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    with Lease(tmp_path, heartbeat_s=0.01):
        for _ in range(2):
            os.utime(path, (1.0, 1.0))
            while path.stat().st_mtime == 1.0:
                time.sleep(0.01)
        (thread,) = [thread for thread in threading.enumerate() if thread.name.startswith("lease-")]
    thread.join(5)
    assert not thread.is_alive()


def test_one_thief_wins(tmp_path: Path) -> None:
    for turn in range(3):
        folder = tmp_path / str(turn)
        folder.mkdir()
        write(folder / "lease.json", 500)
        thieves = [start(THIEF, folder) for _ in range(4)]
        assert [thief.stdout.readline() for thief in thieves] == ["ready\n"] * 4
        for thief in thieves:
            thief.stdin.write("go\n")
            thief.stdin.flush()
        said = [thief.stdout.readline() for thief in thieves]
        for thief in thieves:
            thief.communicate("end\n")
        assert sorted(said) == ["lost\n"] * 3 + ["won\n"]


@pytest.mark.parametrize("locks", [True, False])
def test_racing_processes_take_turns(tmp_path: Path, locks: bool) -> None:
    code = RACE if locks else "import benchmark.lease; benchmark.lease.fcntl = None\n" + RACE
    racers = [start(code, tmp_path, 20) for _ in range(3)]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.communicate(timeout=60)[0] for racer in racers]
    assert said == ["won\n"] * 3
    assert [racer.returncode for racer in racers] == [0] * 3


def test_survivors_of_kills_go_on(tmp_path: Path) -> None:
    """A holder is killed again and again; the next one always gets in."""
    for _ in range(3):
        holder = start(HOLD, tmp_path)
        assert holder.stdout.readline() == "held\n"
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
    with Lease(tmp_path) as lease:
        lease.check()
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}


def test_creation_alone_already_excludes(tmp_path: Path) -> None:
    """Where file locks do not work, two processes may both find no lease: one creates it."""
    first, second = Lease(tmp_path), Lease(tmp_path)
    first._create(Holder.this_process())
    with pytest.raises(BusyError):
        second._create(Holder.this_process())


def test_a_lease_renewed_between_look_and_rename_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lease.json"
    write(path, 500)

    def renewed(judged: Path, stale_s: float) -> bool:
        judged.rename(tmp_path / "old")
        write(judged, token="new")
        return False

    monkeypatch.setattr("benchmark.lease.is_live", renewed)
    with pytest.raises(BusyError):
        Lease(tmp_path).acquire()
    assert Holder.read(path).token == "new"


def test_a_kill_while_it_is_written_leaves_no_half_of_a_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(self: Path, target: Path) -> None:
        raise SystemExit(143)

    monkeypatch.setattr(Path, "hardlink_to", killed)
    with pytest.raises(SystemExit):
        Lease(tmp_path / "run").acquire()
    assert list((tmp_path / "run").iterdir()) == []


def test_file_systems_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with Lease(tmp_path / "run"):
        assert [path.name for path in (tmp_path / "run").iterdir()] == ["lease.json"]
        with pytest.raises(BusyError, match="is being worked on by pid"):
            Lease(tmp_path / "run").acquire()
    assert list((tmp_path / "run").iterdir()) == []
