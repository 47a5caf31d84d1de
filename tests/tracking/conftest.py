"""Runs to mirror, and servers to mirror them to: MLflow's own, on sqlite or PostgreSQL."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.spec import PluginSpec, RunSpec, TrainingProtocol

STARTED = 1_767_225_600  # 2026-01-01T00:00:00Z
START_S = 240.0
"""A server takes five seconds of a core to start, on a busy machine many more."""


@pytest.fixture(scope="session", autouse=True)
def plain_environment() -> Iterator[None]:
    """No store of the surroundings, and MLflow's settings as the benchmark finds them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def write_run() -> Callable[..., Path]:
    """Writes a committed run's folder, as docs/design.md describes it."""
    return _write_run


def _write_run(
    runs: Path,
    seed: int,
    *,
    epochs: int = 3,
    accuracy: float = 0.8,
    status: str = "done",
    name: str = "tissue",
    method: str = "coteaching",
    note: str = "x" * 7000,
) -> Path:
    spec = RunSpec(
        PluginSpec(method, {"forget_rate": 0.2, "note": note}),
        PluginSpec(name, {"n": 100}, 1, "v1-abc"),
        PluginSpec("symmetric", {"rate": 0.2}, 1),
        TrainingProtocol(epochs=100, lr=0.005),
        seed,
        {"method": f"{method}:0.2", "dataset": f"{name}:n=100", "noise": "symmetric:0.2"},
    )
    folder = runs / spec.key()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.json").write_text(json.dumps(spec.to_dict()))
    lines = [{"stage": "train", "epoch": e, "loss": 1.0 / (e + 1), "seconds": 2.0, "val/accuracy": None} for e in range(epochs)]
    lines += [{"stage": "warm up", "epoch": 0, "time": STARTED + 50, "fit[wrong]": 0.5}]
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "system.jsonl").write_text(json.dumps({"time": STARTED + 1, "cpu_percent": 50, "gpu_0_memory_mb": 1}) + "\n")
    (folder / "samples.parquet").write_bytes(b"PAR1")
    numbers = {"accuracy": accuracy, "auroc": None}
    result = {
        "schema": 1,
        "run_key": spec.key(),
        "code_hash": "c" * 16,
        "status": status,
        "reason": None,
        "spec": spec.to_dict(),
        "metrics": {"last": numbers, "selected": numbers, "aux/teacher": {"accuracy": 0.7}},
        "epochs": {"last": epochs - 1, "selected": 1, "last_k": [0, 1]},
        "noise": {"rate": 0.19},
        "oracle": ["noise_rate"],
        "diagnostics": {"detector_recall": 0.9},
        "cost": {"seconds": 12.5, "peak_memory_mb": 640.0, "trained_epochs": epochs},
        "host": {"machine": "box", "git_commit": "f" * 40, "threads": 2, "device": "cpu"},
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:01:00Z",
    }
    (folder / "result.json").write_text(json.dumps(result))
    return folder


@pytest.fixture(scope="session")
def copies() -> Callable[[Any, Path], list[Any]]:
    """The runs of a store that mirror a folder."""

    def found(client: Any, folder: Path) -> list[Any]:
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return list(client.search_runs(experiments, f"tags.run_key = '{folder.name}'"))

    return found


class Server:
    """A real ``mlflow server`` on 127.0.0.1 that can be killed and started again on the same port."""

    def __init__(self, folder: Path, backend: str | None = None) -> None:
        self.port, self.folder = free_port(), folder
        self.uri = f"http://127.0.0.1:{self.port}"
        self.backend = backend or f"sqlite:///{folder}/server.db"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", self.backend, "--artifacts-destination", str(self.folder / "files")]
        with (self.folder / "log").open("ab") as log:
            quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True, env=quiet)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError((self.folder / "log").read_text()[-2000:])

    def kill(self) -> None:
        """End it and its workers with SIGKILL."""
        if self.process is not None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            self.process = None


def free_port() -> int:
    """A port of the loopback interface on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def sqlite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on a sqlite file."""
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of an empty database in a cluster of its own, with a password; it is skipped where PostgreSQL is missing."""
    pytest.importorskip("psycopg2")
    places = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    path = os.pathsep.join([os.environ.get("PATH", ""), *places])
    initdb, pg_ctl = shutil.which("initdb", path=path), shutil.which("pg_ctl", path=path)
    if not initdb or not pg_ctl:
        pytest.skip("PostgreSQL is not installed")
    who: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        import pwd

        account = pwd.getpwnam("nobody")
        who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    # not below pytest's own folders, which only their owner may enter
    root = Path(tempfile.mkdtemp(prefix="pg-"))
    data, secret, port = root / "data", root / "password", free_port()
    secret.write_text("cluster-word-81\n")
    if who:
        for entry in (root, secret):
            os.chown(entry, who["user"], who["group"])

    def call(*words: str) -> None:
        done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False, **who)
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        call(initdb, "-D", str(data), "-U", "keeper", "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--no-locale", "--no-sync")
        settings = f"-p {port} -k '' -c listen_addresses=127.0.0.1 -c fsync=off"
        call(pg_ctl, "-D", str(data), "-w", "-t", str(int(START_S)), "-l", str(root / "log"), "-o", settings, "start")
        try:
            yield f"postgresql://keeper:cluster-word-81@127.0.0.1:{port}/postgres"
        finally:
            call(pg_ctl, "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql_server(postgresql: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on PostgreSQL."""
    server = Server(tmp_path_factory.mktemp("server"), postgresql.replace("postgresql:", "postgresql+psycopg2:"))
    server.start()
    yield server
    server.kill()
