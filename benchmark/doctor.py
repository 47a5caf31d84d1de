"""``doctor``: is this machine set up to run the benchmark, and what to do where it is not."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import BenchmarkError
from benchmark.registry import KINDS, Registry

logger = logging.getLogger(__name__)

DATA, CACHE = "BENCHMARK_DATA", "BENCHMARK_CACHE"
LOW_MEMORY_GB, LOW_DISK_GB = 2.0, 2.0
OLDEST_PYTHON = (3, 11)

_REQUIRED = ("torchvision", "timm", "cleanlab", "pandas", "pyarrow")
_OPTIONAL = {"mlflow": "runs are not mirrored without it", "optuna": "sweeps need it"}
_NEEDED = {"torch": "torch>=2.11", "torchvision": "torchvision>=0.26", "timm": "timm>=1.0.20", "cleanlab": "cleanlab>=2.9"}
_NEEDED |= {"pandas": "pandas>=2.3", "pyarrow": "pyarrow>=21", "mlflow": "mlflow>=3.10", "optuna": "optuna>=5,<6"}


@dataclass(frozen=True)
class Check:
    """One line of the diagnosis.

    Attributes:
        name: what was looked at.
        ok: True, False for something that must be repaired, None for a hint: it works, but not as well as it could.
        detail: what was found.
        advice: what to do about it; empty where there is nothing to do.
    """

    name: str
    ok: bool | None
    detail: str
    advice: str = ""


def diagnose(runs: Path = Path("runs")) -> list[Check]:
    """Look at everything; a check that breaks down becomes a failed check. Imports torch and every plugin.

    Args:
        runs: the runs folder; it is not created.
    """
    looks: list[Callable[[], list[Check]]] = [
        _python,
        _torch,
        _cpu,
        _memory,
        *[lambda name=name: [_package(name)] for name in (*_REQUIRED, *_OPTIONAL)],
        lambda: _runs_folder(runs),
        _plugins,
        _shadowing,
        _data_folders,
    ]
    found: list[Check] = []
    for look in looks:
        try:
            found += look()
        except Exception as error:
            logger.debug("a check broke down", exc_info=True)
            name = getattr(look, "__name__", "check").strip("_")
            found.append(Check(name, False, f"{type(error).__name__}: {error}", "please report this"))
    return found


def _python() -> list[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        return [Check("python", False, version, "install Python 3.11 or later")]
    return [Check("python", True, f"{version} ({sys.executable})")]


def _torch() -> list[Check]:
    """Version, device and bf16; a build for CUDA that sees no device is a hint, as is a machine without one."""
    try:
        import torch
    except Exception as error:  # a missing shared library raises OSError
        return [Check("torch", False, f"{type(error).__name__}: {error}", _install("torch"))]
    checks = [Check("torch", True, str(torch.__version__))]
    if not torch.cuda.is_available():
        built = torch.version.cuda
        advice = "check the driver with nvidia-smi" if built else "fine for small data; a GPU needs a CUDA build of torch"
        return [*checks, Check("gpu", None, f"none (torch is built for {'CUDA ' + built if built else 'CPU'})", advice)]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        bf16 = properties.major >= 8  # emulated below, which is slower than fp32
        detail = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, bf16 {'yes' if bf16 else 'no'}"
        checks.append(Check(f"gpu {index}", True, detail, "" if bf16 else "train with protocol.precision=fp32"))
    return checks


def _cpu() -> list[Check]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS")
    detail = f"{usable} usable of {os.cpu_count()} cores, OMP_NUM_THREADS={threads or 'unset'}"
    with contextlib.suppress(Exception):
        import torch

        detail += f", torch uses {torch.get_num_threads()} threads"
    return [Check("cpu", True, detail)]


def _memory() -> list[Check]:
    try:
        import psutil
    except ImportError:
        return [Check("memory", None, "unknown: psutil is missing", "pip install 'psutil>=7'")]
    free = psutil.virtual_memory().available / 2**30
    low = free < LOW_MEMORY_GB
    return [Check("memory", None if low else True, f"{free:.1f} GiB free", "close programs or use fewer workers" if low else "")]


def _package(name: str) -> Check:
    """Read from the metadata: importing all of them would take seconds."""
    try:
        return Check(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        if name in _OPTIONAL:
            return Check(name, None, f"not installed; {_OPTIONAL[name]}", _install(name))
        return Check(name, False, "not installed", _install(name))


def _runs_folder(runs: Path) -> list[Check]:
    """Writable and with space left."""
    place, problem = _probe(runs)
    free = shutil.disk_usage(place).free / 2**30
    low = free < LOW_DISK_GB
    return [
        Check(
            "runs folder", problem is None, problem or f"{runs.absolute()} is writable", "choose another with --runs DIR" if problem else ""
        ),
        Check("disk", None if low else True, f"{free:.1f} GiB free at {place}", "free some space, or use --runs DIR" if low else ""),
    ]


def _probe(folder: Path) -> tuple[Path, str | None]:
    """The nearest folder that exists (nothing is created), and why ``folder`` cannot be written to, None if it can."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x")
    except OSError as error:
        return place, f"{folder.absolute()}: {error.strerror or error}"
    return place, None


def _plugins() -> list[Check]:
    """Import every plugin; one check for each that is broken, else a single one."""
    try:
        registry = Registry()
    except BenchmarkError as error:
        return [Check("plugins", False, str(error), "the registry cannot be read before this is repaired")]
    entries = [entry for kind in KINDS for entry in registry.entries(kind)]
    broken = []
    for entry in entries:
        problem = registry.check(entry)
        if problem:
            broken.append(Check(f"{entry.kind} {entry.name}", False, problem, f"repair or remove {entry.where}"))
    counts = ", ".join(f"{len(registry.entries(kind))} {folder if kind != 'noise' else 'noise models'}" for kind, folder in KINDS.items())
    return broken or [Check("plugins", True, f"{counts}; all can be imported")]


def _shadowing() -> list[Check]:
    """cleanlab and timm import Hugging Face's ``datasets`` where it is installed; another package of that name breaks them."""
    spec = importlib.util.find_spec("datasets")
    if spec is None or spec.origin is None:  # not installed, or a folder without __init__.py, which an installed package beats
        return [Check("import datasets", True, "no package of that name is in the way")]
    origin = Path(spec.origin)
    try:
        version = importlib.metadata.version("datasets")
    except importlib.metadata.PackageNotFoundError:
        version = ""
    if version and (origin.parent / "arrow_dataset.py").is_file():
        return [Check("import datasets", True, f"Hugging Face's, {version}")]
    advice = "remove its __init__.py, or start from another folder: cleanlab and timm expect Hugging Face's datasets there"
    return [Check("import datasets", False, f"resolves to {origin}", advice)]


def _data_folders() -> list[Check]:
    """Where the images are: whether :data:`DATA` is set, and whether downloads and caches can be written."""
    own = os.environ.get(DATA)
    if own and not Path(own).expanduser().is_dir():
        checks = [Check(DATA, False, f"{own} is no folder", "create it, correct the variable, or unset it")]
    else:
        checks = [Check(DATA, True if own else None, own or "not set")]
    cache = Path(os.environ.get(CACHE) or Path.home() / ".cache" / "noisy-label-benchmark").expanduser()
    _, problem = _probe(cache)
    advice = f"set {CACHE} to a folder that can be written to" if problem else ""
    return [*checks, Check(CACHE, problem is None, problem or f"downloads and caches go to {cache}", advice)]


def _install(name: str) -> str:
    return f"pip install '{_NEEDED[name]}'"
