"""From words to cells: the options of every command that compares methods, and what all of its cells share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli import options as opt
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.grammar import Setting
    from benchmark.registry import Registry
    from benchmark.spec import RunSpec, TrainingProtocol

Task = Annotated[
    str,
    typer.Option(
        "--task", metavar="TASK", help="Kind of labels: classification, segmentation, bags. Default: of what is named.", show_default=False
    ),
]
Methods = Annotated[str, typer.Option("--methods", metavar="LIST", help="name[:preset][:key=value], …")]
Datasets = Annotated[str, typer.Option("--datasets", metavar="LIST", help="name[:argument][:key=value], …")]
Noise = Annotated[str, typer.Option("--noise", metavar="LIST", help="name[:rate][:key=value], …; a number is symmetric noise.")]
Seeds = Annotated[str, typer.Option("--seeds", metavar="SEEDS", help="0 or 0,2 or 0-4 or 0-2,7.")]
Protocol = Annotated[str, typer.Option("--protocol", metavar="NAME", help="Training plan that all methods share.")]
Epochs = Annotated[int | None, typer.Option("--epochs", metavar="N", help="Epochs of a stage, instead of the protocol's.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PLUGIN.KEY=VALUE", help="One parameter, or [a,b] to try each; also protocol.KEY. Repeatable."),
]
Features = Annotated[
    str,
    typer.Option("--features", metavar="MODEL", help="Train on frozen features: identity, texture, timm:<name> or timm:<name>@<weights>."),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave unreadable images out, for data sets that can.")]


@dataclass(frozen=True)
class Grid:
    """Data × noise × seeds under one protocol: where methods meet.

    Attributes:
        overrides: plugin name → parameter → the values to try, of ``--set``, without the protocol's.
    """

    datasets: Sequence[Setting]
    noise: Sequence[Setting]
    seeds: Sequence[int]
    protocol: TrainingProtocol
    overrides: Mapping[str, Mapping[str, Sequence[str]]]

    def cells(self, registry: Registry, methods: Sequence[Setting], data_root: Path | None) -> list[RunSpec]:
        """The cells of these methods; raises as :func:`benchmark.spec.expand`."""
        from benchmark.files import default_data_root
        from benchmark.spec import expand

        return expand(
            registry,
            methods=methods,
            datasets=self.datasets,
            noise=self.noise,
            seeds=self.seeds,
            protocol=self.protocol,
            overrides=self.overrides,
            data_root=data_root or default_data_root(),
        )


def read_grid(
    registry: Registry,
    *,
    datasets: str,
    noise: str,
    seeds: str,
    protocol: str,
    epochs: int | None,
    sets: Sequence[str] | None,
    features: str,
    skip_bad: bool,
    task: str = "classification",
) -> Grid:
    """Parse and check the options of the same names.

    Raises:
        BenchmarkError: what is written cannot be read, or no run could bear the protocol.
    """
    from benchmark.grammar import parse_settings
    from benchmark.spec import protocol as training_protocol

    data = parse_settings(datasets, what="--datasets")
    overrides = opt.parse_sets(sets or ())
    changes = opt.protocol_overrides(overrides, epochs)
    if features:
        if task == "segmentation":
            raise BenchmarkError("--features: frozen features have no pixels, so masks cannot be learned from them; leave it out")
        data = opt.with_option(data, "features", features, "--features")
        if task == "classification":
            changes.setdefault("backbone", "linear")
    chosen = training_protocol(protocol, changes, task)
    opt.check_protocol(chosen, task)
    overrides.pop("protocol", None)
    models, numbers = opt.parse_noise(registry, noise, task), opt.parse_seeds(seeds)
    return Grid(_skipping_bad(registry, data) if skip_bad else data, models, numbers, chosen, overrides)


def chosen_task(registry: Registry, task: str, **named: str | None) -> str:
    """The task of a command: the one that was asked for, else that of the plugins it names.

    Args:
        registry: where the plugins are.
        task: of ``--task``; empty: not given.
        **named: kind of plugin → the settings as they were written; None: not given.

    Raises:
        BenchmarkError: an unknown task or plugin, or plugins of different tasks.
    """
    from benchmark.grammar import parse_settings
    from benchmark.registry import KINDS
    from benchmark.tasks import defaults_of, one_task

    if task:
        defaults_of(task)
    tasks: dict[str, str] = {}
    for kind, text in named.items():
        if not text:
            continue
        # a bare number goes with any task, as the noise model "none" does
        joined = [entry.name for entry in registry.entries("noise")] if kind == "noise" else ()
        for setting in parse_settings(text, what=f"--{KINDS[kind]}", number_means="none" if kind == "noise" else None, joined=joined):
            for part in setting.parts or (setting,):
                entry = registry.entry(kind, part.name)
                what = f"{'data set' if kind == 'dataset' else kind} {part.name}"
                tasks[what] = (
                    registry.load(kind, part.name).task if entry.entry_point else str(entry.manifest.get("task", "classification"))
                )
    return one_task(tasks, task)


def count(number: int, plural: str) -> str:
    """``1 cell``, ``2 cells``."""
    return f"{number} {plural[:-1] if number == 1 else plural}"


def identity(spec: RunSpec, kind: str) -> str:
    """What a spec's method, data set or noise is, as text."""
    from benchmark.spec import canonical_json

    return canonical_json(getattr(spec, kind).to_dict())


def _skipping_bad(registry: Registry, settings: Sequence[Setting]) -> list[Setting]:
    """The data sets with ``skip_bad=true`` where they have that parameter and it is not set; it is an error if none has."""
    from benchmark.params import ranges

    able = [setting for setting in settings if "skip_bad" in ranges(registry.load("dataset", setting.name).Params)]
    if not able:
        raise BenchmarkError(f"--skip-bad: none of {', '.join(setting.name for setting in settings)} can leave images out")
    return [dataclasses.replace(s, options={"skip_bad": "true", **s.options}) if s in able else s for s in settings]
