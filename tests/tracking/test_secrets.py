"""Passwords and tokens reach no log, no file of a run, no terminal and no store."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli import main
from benchmark.tracking.command import masked, masked_arguments

pytest.importorskip("mlflow")
Writer = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]
PASSWORD, VARIABLE, TOKEN, WORD = "hunter-22-xyz", "variable-33-xyz", "token-44-xyz", "word-55-xyz"
SECRETS = (PASSWORD, VARIABLE, TOKEN, WORD)

TOY = '''
"""A toy."""
import numpy as np
import torch.nn.functional as F

from benchmark.api import Arrays, Dataset, Method, dataset, method


@dataset("toy", version=1)
class Toy(Dataset):
    """Forty images of two classes."""

    def load(self, root):
        """Bright ones and dark ones."""
        labels = np.arange(40) % 2
        images = np.random.default_rng(0).integers(0, 100, (40, 8, 8, 1)) + 100 * labels[:, None, None, None]
        return Arrays(images.astype(np.uint8), labels.astype(np.int64), ("dark", "bright"))


@method("works")
class Works(Method):
    """Trains."""

    def training_step(self, batch, networks, epoch):
        return F.cross_entropy(networks[0](batch.images), batch.labels)
'''


@pytest.fixture(autouse=True)
def secret_surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "reader")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", VARIABLE)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    yield


def check_clean(*places: Path | str) -> int:
    """No secret in texts, or in any file below folders; returns how many files were read."""
    files = [file for place in places if isinstance(place, Path) for file in place.rglob("*") if file.is_file()]
    for name, content in [(str(file), file.read_bytes()) for file in files] + [("text", p.encode()) for p in places if isinstance(p, str)]:
        for secret in SECRETS:
            assert secret.encode() not in content, name
    return len(files)


@pytest.mark.slow
def test_a_server_that_answers(
    sqlite_server: Any, tmp_path: Path, write_run: Writer, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    for seed in range(2):
        write_run(runs, seed, name="hidden")
    uri = sqlite_server.uri.replace("://", f"://reader:{PASSWORD}@")
    monkeypatch.setattr(sys, "argv", ["benchmark", "sync", "--tracking-uri", uri, "--token", WORD, f"--api-key={WORD}"])
    assert main(["sync", "--runs", str(runs), "--tracking-uri", uri]) == 0
    assert main(["report", "--from", "mlflow", "--tracking-uri", uri, "--datasets", "hidden:n=100"]) == 0
    printed = capfd.readouterr()
    assert printed.out.startswith("2 runs mirrored") and printed.err == ""
    assert check_clean(runs, sqlite_server.folder, printed.out) > 10
    notes = (sqlite_server.folder / "server.db").read_bytes()
    assert b"***@127.0.0.1" in notes and b"--api-key=***" in notes  # the command is in the store, and its secrets are not


@pytest.mark.parametrize(
    "uri",
    [
        f"http://reader:{PASSWORD}@127.0.0.1:1",
        f"postgresql://reader:{PASSWORD}@127.0.0.1:1/db",
        f"postgresql+psycopg2://reader:{PASSWORD}@127.0.0.1:port/db",
        f"postgresql://reader:a/{PASSWORD}@127.0.0.1:1/db",
        f"mysql+nodriver://reader:{PASSWORD}@127.0.0.1/db",
        f"nonsense://reader:{PASSWORD}@127.0.0.1/db",
        f"http://reader:{PASSWORD}@127.0.0.1:port",
        f"http://reader:{PASSWORD}@[::1/x",
        f"sqlite:///nowhere/x.db?password={PASSWORD}",
    ],
)
def test_a_store_that_does_not(uri: str, tmp_path: Path, write_run: Writer, capfd: pytest.CaptureFixture[str], caplog: Any) -> None:
    runs = tmp_path / "runs"
    write_run(runs, 0)
    codes = [main(["report", "--from", "mlflow", "--tracking-uri", uri])]
    if not uri.startswith("sqlite"):
        codes.append(main(["sync", "--runs", str(runs), "--tracking-uri", uri]))
    printed = capfd.readouterr()
    assert codes == [2] * len(codes) and len(printed.err.splitlines()) == len(codes), printed.err
    check_clean(runs, printed.out, printed.err, caplog.text)
    assert "***" in printed.err


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("place", ["option", "variable"])
def test_a_campaign_whose_server_is_dead(tmp_path: Path, jobs: str, place: str) -> None:
    """Through the real command line, with workers in this process and in their own."""
    (tmp_path / "toys").mkdir()
    (tmp_path / "toys" / "toy.py").write_text(TOY)
    uri = f"http://reader:{PASSWORD}@127.0.0.1:1"
    words = ["run", "--methods", "works", "--baseline", "none", "--datasets", "toy", "--epochs", "1", "--device", "cpu", "--seeds", "0,1"]
    words += ["--jobs", jobs, "--plugin", "toys/toy.py"] + (["--tracking-uri", uri] if place == "option" else [])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment |= {"MLFLOW_TRACKING_URI": uri} if place == "variable" else {}
    command = [sys.executable, "-m", "benchmark", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "MLflow tracking is off" in done.stderr and "works" in done.stdout
    assert check_clean(tmp_path / "runs", done.stdout, done.stderr) > 5
    if jobs == "2":
        assert list((tmp_path / "runs" / "logs").glob("slot-*.log"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at postgresql://me:pa/ss/wd@host/db: no", "at postgresql://***@host/db: no"),
        ("at http://host:5000/a and file:///b@2x.png", "at http://host:5000/a and file:///b@2x.png"),
        (f"refused {VARIABLE} and {TOKEN}", "refused *** and ***"),
        ("see http://h/?a=1&access_token=abc&b=2", "see http://h/?a=1&access_token=***&b=2"),
    ],
)
def test_what_is_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_a_password_with_slashes_is_masked_alone_too() -> None:
    assert masked("login pa/ss/wd failed", "postgresql://me:pa/ss/wd@host/db") == "login *** failed"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("--slurm", f"setup=export MLFLOW_TRACKING_TOKEN={WORD}"), ("--slurm", "setup=***")),
        (("--slurm", f"setup = login {WORD}"), ("--slurm", "setup =***")),
        ((f"--slurm=teardown=logout {WORD}",), ("--slurm=teardown=***",)),
        (("--slurm", "time=5", "--slurm", "setup=module load x"), ("--slurm", "time=5", "--slurm", "setup=***")),
        ((f"--slurm=comment=MY_PASS={WORD}",), ("--slurm=comment=MY_PASS=***",)),
        ((f"export AWS_SECRET_ACCESS_KEY='{WORD} more'; python x",), ("export AWS_SECRET_ACCESS_KEY=***",)),
        ((f"PGPASSWORD={WORD}",), ("PGPASSWORD=***",)),
        ((f"a api_key={WORD}", f"b Credentials={WORD}"), ("a api_key=***", "b Credentials=***")),
        (("--set", "m.tokens=3", "--set", "m.rate=0.1", "setup=x"), ("--set", "m.tokens=3", "--set", "m.rate=0.1", "setup=x")),
    ],
)
def test_what_a_command_shows_of_its_words(words: tuple[str, ...], shown: tuple[str, ...]) -> None:
    assert tuple(masked_arguments(words)) == shown
