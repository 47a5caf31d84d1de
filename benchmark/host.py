"""Where a run ran: what explains a number but is no part of its identity."""

from __future__ import annotations

import functools
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import benchmark


@functools.cache
def _git_commit() -> str | None:
    """The checkout's commit, with ``+`` appended where files differ from it; None outside a checkout."""
    root = Path(benchmark.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        return _git(root, "rev-parse", "HEAD") + ("+" if _git(root, "status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()  # noqa: S603


@functools.cache
def _versions() -> dict[str, str | None]:
    """Of what numbers may depend on; read once, as a warm worker asks at each of its runs."""
    found: dict[str, str | None] = {}
    for package in ("torch", "torchvision", "timm", "numpy", "scikit-learn", "cleanlab", "mlflow", "optuna"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def host(device: torch.device) -> dict[str, Any]:
    """Versions, device, threads, machine and commit: what explains a number but is no part of its identity."""
    return {
        "benchmark": benchmark.__version__,
        "python": platform.python_version(),
        "versions": dict(_versions()),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "machine": platform.node(),
        "platform": platform.platform(),
        "git_commit": _git_commit(),
    }
