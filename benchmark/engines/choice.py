"""Which engine a command uses, and whether what was asked for goes together; imports no engine."""

from __future__ import annotations

import importlib.util
import inspect
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.errors import BenchmarkError, unknown_name

ENGINES = ("auto", "serial", "local", "ray", "slurm")
EXTRAS = {"ray": "ray", "slurm": "submitit"}
"""Engine → the package that its extra brings."""

GPU_PARAMETERS = ("num_gpus", "gpus_per_node", "gpus_per_task")

NOT_OURS = ("nodes", "ntasks_per_node", "array_parallelism", "additional_parameters", "srun_args", "use_srun", "name", "tasks_per_node")
"""Parameters of submitit that would make something else of a run than one task, or say twice what another option says."""


@dataclass(frozen=True)
class EngineChoice:
    """An engine and what only it understands.

    Attributes:
        name: one of :data:`ENGINES`; ``auto`` is ``serial`` for one run at a time without GPU list and timeout, else ``local``.
        address: ``host:port`` of the head node of a Ray cluster, or ``auto`` for one on this machine; None starts one of its own.
        gpus_per_run: of Ray; a share of one GPU, or a whole number of them.
        slurm: parameters of submitit's SLURM executor.

    Raises:
        BenchmarkError: an unknown name, an engine that is not installed, or an option of another engine.
    """

    name: str = "auto"
    address: str | None = None
    gpus_per_run: float | None = None
    slurm: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in ENGINES:
            raise unknown_name("engine", self.name, ENGINES, "see docs/engines.md")
        for flag, engine, given in (
            ("--address", "ray", self.address is not None),
            ("--gpus-per-run", "ray", self.gpus_per_run is not None),
            ("--slurm", "slurm", bool(self.slurm)),
        ):
            if given and self.name != engine:
                raise BenchmarkError(f"{flag} is understood by the {engine} engine only; add --engine {engine} or leave {flag} out")
        share = self.gpus_per_run
        if share is not None and not (0 < share <= 1 or (share > 1 and share == int(share))):
            raise BenchmarkError(f"--gpus-per-run {share:g} is neither a share of one GPU (0.25) nor a whole number of them (2)")
        package = EXTRAS.get(self.name)
        if package is not None and importlib.util.find_spec(package) is None:
            install = f'python -m pip install "noisy-label-benchmark[{self.name}]"'
            raise BenchmarkError(f"--engine {self.name} needs {package}, which is not installed: {install}")
        if self.name == "slurm" and shutil.which("srun") is None:
            raise BenchmarkError("--engine slurm: srun is not in the PATH; give the command on a login node of the SLURM cluster")

    @property
    def elsewhere(self) -> bool:
        """Whether runs leave this machine, whose GPUs and cores then say nothing."""
        return self.name in ("ray", "slurm")

    @property
    def with_gpu(self) -> bool:
        """Whether each run is given a GPU, so that it must not fall back to the CPU unnoticed."""
        return self.gpus_per_run is not None or any(name in self.slurm for name in GPU_PARAMETERS)

    def check(self, jobs: int | None, gpus: Sequence[str], device: str, timeout: float | None, stack_seeds: bool = False) -> None:
        """Refuse general options that this engine cannot keep; BenchmarkError says what to write in their place."""
        name = self.name
        if name == "serial" and ((jobs or 1) > 1 or gpus or timeout is not None):
            wrong = "--timeout" if timeout is not None else "--gpus" if gpus else f"--jobs {jobs}"
            raise BenchmarkError(f"--engine serial runs one after the other in this process and cannot keep {wrong}; use --engine local")
        if self.elsewhere and stack_seeds:
            raise BenchmarkError(
                f"--stack-seeds trains several runs in one worker, but --engine {name} sends one run to each; use --engine local"
            )
        if self.elsewhere and gpus:
            instead = "--gpus-per-run 1" if name == "ray" else "--slurm gpus_per_node=1"
            raise BenchmarkError(f"--gpus names GPUs of this machine, but --engine {name} gives each run its own; write {instead}")
        if self.elsewhere and device.startswith("cuda:"):
            raise BenchmarkError(f"--device {device} names a GPU of this machine, but --engine {name} gives each run its own; write cuda")
        if name == "ray" and device == "cuda" and self.gpus_per_run is None:
            raise BenchmarkError("--device cuda with --engine ray: Ray gives a run no GPU unless --gpus-per-run says how much of one")
        if name == "ray" and device == "cpu" and self.gpus_per_run is not None:
            raise BenchmarkError("--device cpu and --gpus-per-run contradict each other; give one of them")
        if name == "slurm" and timeout is not None:
            raise BenchmarkError("--timeout with --engine slurm: SLURM has limits of its own; write --slurm time=MINUTES")

    def check_per_gpu(self, per_gpu: int | None, gpus: Sequence[str], jobs: int | None) -> None:
        """Refuse a number of runs a GPU that cannot be kept; BenchmarkError says what to write in its place."""
        if per_gpu is None:
            return
        if per_gpu < 1:
            raise BenchmarkError(f"--per-gpu {per_gpu}: at least 1 run on each GPU")
        if self.elsewhere:
            instead = f"--gpus-per-run {1 / per_gpu:g}" if self.name == "ray" else "--slurm gpus_per_node=1, one run a task"
            raise BenchmarkError(f"--per-gpu counts runs on GPUs of this machine and is no option of --engine {self.name}; write {instead}")
        if not gpus:
            raise BenchmarkError(f"--per-gpu {per_gpu} needs the GPUs to run on; write --gpus 0 --per-gpu {per_gpu}")
        if jobs is not None and jobs != per_gpu * len(gpus):
            total = per_gpu * len(gpus)
            raise BenchmarkError(
                f"--per-gpu {per_gpu} on {len(gpus)} GPUs is {total} runs at a time, --jobs {jobs} says otherwise; give one of them"
            )


def parse_slurm(texts: Sequence[str]) -> dict[str, Any]:
    """``partition=gpu``, ``time=240``, … as parameters for submitit, with its types.

    Raises:
        BenchmarkError: not in that form, given twice, no parameter of submitit, or a value of another type.
    """
    if not texts or importlib.util.find_spec("submitit") is None:  # the engine's own check says what is missing
        return {"unchecked": texts} if texts else {}
    from submitit.slurm import slurm

    known = {name: str(about.annotation) for name, about in inspect.signature(slurm._make_sbatch_string).parameters.items()}
    names = sorted(set(slurm._get_default_parameters()) - set(NOT_OURS))
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value):
            raise BenchmarkError(f"--slurm '{text}': write parameter=value, e.g. --slurm partition=gpu")
        if key not in names:
            why = "; one run is one task, and --jobs says how many run at a time" if key in NOT_OURS else ""
            raise unknown_name("SLURM parameter", key, names, f"they are those of submitit{why}")
        if "List" in known[key]:
            found.setdefault(key, []).append(value)
            continue
        if key in found:
            raise BenchmarkError(f"--slurm {key} is given twice")
        found[key] = _typed(key, value, known[key])
    return found


def _typed(key: str, value: str, annotation: str) -> Any:
    """The value as submitit wants it."""
    if "bool" in annotation and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if "int" in annotation:
        if not value.isdecimal():
            unit = " of minutes" if key == "time" else ""
            raise BenchmarkError(f"--slurm {key}={value}: it must be a whole number{unit}")
        return int(value)
    return value
