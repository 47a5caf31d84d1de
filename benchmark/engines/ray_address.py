"""Joining a Ray cluster in bounded time, and one line where there is none: ``ray.init`` itself tries for minutes."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from typing import Any

from benchmark.errors import BenchmarkError

CONNECT_S = 5.0
ANSWER_S = 30.0
"""Seconds that the head node has to accept a connection, and to answer as Ray."""


def join(ray: Any, address: str | None) -> None:
    """``ray.init``, quietly and in bounded time. Raises BenchmarkError."""
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    where = "a Ray instance on this machine cannot be started"
    try:
        if address is None:
            from benchmark.engines import available_cores

            ray.init("local", num_cpus=available_cores(), include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
            return
        where = f"no Ray cluster at --address {address}"
        if address != "auto":
            check_reachable(address)
        ray.init(address, **quiet)
    except BenchmarkError:
        raise
    except Exception as error:
        raise BenchmarkError(f"{where}: {one_line(error)}") from error


def check_reachable(address: str) -> None:
    """BenchmarkError unless a Ray head node answers there: ``ray.init`` itself would try for minutes and print as it goes."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or "/" in address:
        raise BenchmarkError(f"--address '{address}' is not host:port of the head node, e.g. 10.0.0.5:6379 (nor auto)")
    next_step = "see the line that `ray start --head` printed there"
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BenchmarkError(f"no Ray cluster at --address {address}: {reason}; {next_step}") from None
    code = "import sys, ray; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"
    try:
        subprocess.run([sys.executable, "-c", code, address], capture_output=True, check=True, timeout=ANSWER_S)  # noqa: S603
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        raise BenchmarkError(
            f"--address {address}: something listens there, but it does not answer as a Ray head node; {next_step}"
        ) from None


def one_line(error: BaseException) -> str:
    """The first line that an error says, as far as it goes into ours."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
