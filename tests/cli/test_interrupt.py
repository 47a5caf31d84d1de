"""A real Ctrl-C, with workers of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("how", ["--jobs 1", "--jobs 2", "--jobs 1 --stack-seeds", "--engine local --jobs 1 --stack-seeds"])
def test_ctrl_c_and_the_same_command_again(toys: Path, tmp_path: Path, how: str) -> None:
    runs = tmp_path / "runs"
    words = ["run", "--methods", "works", "--baseline", "none", "--datasets", "toy", "--seeds", "0-1", "--epochs", "120", "--device", "cpu"]
    words += [*how.split(), "--threads", "1", "--no-tracking", "--plugin", str(toys), "--runs", str(runs)]
    command = [sys.executable, "-m", "benchmark", *words]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not list(runs.glob("*/history.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    out, err = first.communicate(timeout=30)
    assert first.returncode == 130, err
    assert err.splitlines()[-1] == "interrupted; 0 of 2 cells done; run the same command again to resume"
    assert (out, "Traceback" in err) == ("", False)

    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert again.returncode == 0, again.stderr
    assert "dead" in again.stderr.splitlines()[0]
    assert "ranked by" in again.stdout
