"""What several commands share: options, their help, and the readers of their small grammars."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.errors import BenchmarkError, unknown_name

if TYPE_CHECKING:
    from benchmark.grammar import Setting
    from benchmark.registry import Registry
    from benchmark.spec import TrainingProtocol

FORMATS = ("table", "json", "csv", "md", "latex")
MAX_SEEDS = 10_000

Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Folder of the runs.")]
Plugins = Annotated[
    list[str] | None, typer.Option("--plugin", metavar="PATH", help="More plugins: a file or a folder. Repeatable.", show_default=False)
]
Format = Annotated[str, typer.Option("--format", metavar="FORMAT", help=f"Of the table: {', '.join(FORMATS)}.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DataRoot = Annotated[
    Path | None, typer.Option("--data-root", metavar="DIR", help="Downloads and caches. Default: BENCHMARK_CACHE, else the user's cache.")
]
TrackingUri = Annotated[
    str | None,
    typer.Option("--tracking-uri", metavar="URI", help="MLflow store. Default: MLFLOW_TRACKING_URI, else a file in --runs."),
]


def registry_of(plugins: Sequence[str] | None) -> Registry:
    """The registry with the plugins of ``--plugin``."""
    from benchmark.registry import Registry

    return Registry(plugins or ())


def check_choice(what: str, value: str, known: Iterable[str]) -> str:
    """The value, if it is known; else an error with the near matches."""
    known = list(known)
    if value not in known:
        raise unknown_name(what, value, known)
    return value


def parse_seeds(text: str, flag: str = "--seeds") -> list[int]:
    """``0``, ``0,2``, ``0-4`` (both ends included) or ``0-2,7`` as sorted seeds without repeats.

    Raises:
        BenchmarkError: not in that grammar, a range that runs backwards, or more than :data:`MAX_SEEDS` seeds.
    """
    seeds: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,18})\s*(?:-\s*([0-9]{1,18})\s*)?", part)
        if match is None:
            raise BenchmarkError(f"{flag} '{text}': '{part.strip()}' is neither a seed nor a range; write 0, 0,2 or 0-4")
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise BenchmarkError(f"{flag} '{text}': the range {part.strip()} runs backwards; write {last}-{first}")
        if last - first + len(seeds) >= MAX_SEEDS:
            raise BenchmarkError(f"{flag} '{text}': more than {MAX_SEEDS} seeds")
        seeds.update(range(first, last + 1))
    return sorted(seeds)


def parse_sets(texts: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """``hsa.hard_ratio=1.2`` or ``hsa.hard_ratio=[1,1.5]`` as plugin → parameter → values.

    Raises:
        BenchmarkError: not in that form, an empty grid, or a parameter given twice.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for text in texts:
        target, equals, value = text.partition("=")
        owner, dot, key = (part.strip() for part in target.partition("."))
        if not (equals and dot and owner and key):
            raise BenchmarkError(f"--set '{text}': write plugin.parameter=value, or =[value,value] for a grid")
        if key in found.setdefault(owner, {}):
            raise BenchmarkError(f"--set '{text}': {owner}.{key} is given twice; a grid is {owner}.{key}=[value,value]")
        value = value.strip()
        is_grid = value.startswith("[") and value.endswith("]")
        values = [part.strip().strip("'\"") for part in (value[1:-1].split(",") if is_grid else [value])]
        if not all(values):
            raise BenchmarkError(f"--set '{text}': a value is empty")
        found[owner][key] = values
    return found


def protocol_overrides(sets: Mapping[str, Mapping[str, Sequence[str]]], epochs: int | None) -> dict[str, Any]:
    """What ``--set protocol.key=value`` and ``--epochs`` change of the protocol."""
    overrides: dict[str, Any] = {}
    for key, values in sets.get("protocol", {}).items():
        if len(values) > 1:
            raise BenchmarkError(f"--set protocol.{key} takes one value: cells of one comparison share their protocol; run once per value")
        overrides[key] = values[0]
    if epochs is not None:
        if "epochs" in overrides:
            raise BenchmarkError("--epochs and --set protocol.epochs say the same thing; give one of them")
        overrides["epochs"] = epochs
    return overrides


def parse_noise(registry: Registry, text: str, task: str = "classification") -> list[Setting]:
    """The noise models of ``--noise``: a bare number is symmetric (masks: ``mask``), a ``+`` before a model's name joins two."""
    from benchmark.grammar import parse_settings
    from benchmark.tasks import TASKS

    names = [entry.name for entry in registry.entries("noise")]
    return parse_settings(text, what="--noise", number_means=TASKS[task].number_means, joined=names)


def with_option(settings: Sequence[Setting], key: str, value: str, flag: str) -> list[Setting]:
    """The settings with one more option each.

    Raises:
        BenchmarkError: a setting has it already.
    """
    from dataclasses import replace

    for setting in settings:
        if key in setting.options:
            raise BenchmarkError(f"'{setting}' has {key} of its own beside {flag}; give one of them")
    return [replace(setting, options={**setting.options, key: value}) for setting in settings]


def check_protocol(chosen: TrainingProtocol, task: str = "classification") -> None:
    """Refuse names in a protocol that no run could use, before every cell fails over them. Imports no network."""
    from benchmark.training.names import AUGMENTATIONS, BACKBONES, BAG_BACKBONES, MASK_BACKBONES, UNET

    names: dict[str, tuple[dict[str, str], str]] = {"segmentation": (MASK_BACKBONES, UNET), "bags": (BAG_BACKBONES, "\n")}
    known, prefix = names.get(task, (BACKBONES, "timm:"))
    if not chosen.backbone.startswith(prefix) and chosen.backbone not in known:
        raise unknown_name("protocol.backbone", chosen.backbone, known)
    if chosen.augmentation not in ("auto", "none"):
        for part in chosen.augmentation.split("+"):
            check_choice("protocol.augmentation", part.strip(), ("auto", "none", *AUGMENTATIONS))


def check_out(out: Path | None) -> None:
    """Refuse, before anything is run, a folder of ``--out`` that could not be written."""
    if out is None:
        return
    if out.exists() and not out.is_dir():
        raise BenchmarkError(f"--out {out} is a file; give a folder")
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise BenchmarkError(f"--out {out}: nothing can be written to {there}; give another folder")


def check_devices(device: str, gpus: Sequence[str]) -> None:
    """Refuse GPUs that this machine does not have: no cell may fail over them, or run on the CPU unnoticed."""
    if gpus and device not in ("auto", "cuda"):
        raise BenchmarkError(f"--gpus deals the runs over GPUs itself and --device {device} says otherwise; give one of them")
    if gpus:
        import torch

        count, listed = torch.cuda.device_count(), ",".join(gpus)
        if not count:
            raise BenchmarkError(f"--gpus {listed}: this machine has 0 GPUs; see: python -m benchmark doctor")
        beyond = [gpu for gpu in gpus if gpu.isdecimal() and int(gpu) >= count]
        if beyond and "CUDA_VISIBLE_DEVICES" not in os.environ:  # with it, torch counts from 0 what bears other numbers
            raise BenchmarkError(f"--gpus {listed}: there is no GPU {beyond[0]}, this machine has 0 to {count - 1}")
    elif device.startswith("cuda"):
        from benchmark.training.devices import resolve_device

        resolve_device(device)


def with_baseline(methods: Sequence[Setting], baseline: Sequence[Setting]) -> tuple[list[Setting], list[Setting]]:
    """The methods and, after them, those baselines that are not among them; and what was added."""
    added = [setting for setting in baseline if setting not in methods]
    return [*methods, *added], added
