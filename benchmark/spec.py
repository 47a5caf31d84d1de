"""What one run is: a method, data, noise, a training protocol and a seed; and how lists of them expand to cells."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import params as hyper
from benchmark.errors import BenchmarkError, unknown_name
from benchmark.grammar import Setting
from benchmark.params import hp
from benchmark.tasks import defaults_of, one_task

if TYPE_CHECKING:
    from benchmark.registry import Registry

SWEEP, TUNED = "sweep", "tuned"
"""Labels that a search gives to runs: the study of a trial; how many trials are behind a best setting."""
SCHEMA = 1
"""Version of the run folder's format; part of every key."""


@dataclass(frozen=True)
class TrainingProtocol:
    """What all methods of a comparison share; part of every run's identity. One stage of training uses all of it.

    ``epochs`` counts the epochs of one training stage: a method with several stages trains longer, and its cost is
    reported. ``lr_schedule`` is ``constant``, ``cosine`` (to zero), ``step`` (× 0.1 at each share in ``milestones``) or
    ``linear_tail`` (constant until the share ``decay_start`` of the epochs, then linear to zero; Adam's first beta falls
    from 0.9 to ``tail_beta1`` there: the plan of co-teaching and HSA-NRL).
    """

    name: str = hp("quick", help="the protocol these values started from")
    backbone: str = hp(
        "cnn_small",
        help="cnn_small, cnn9, resnet18, resnet34, preact_resnet18 or timm:<name>; for masks vnet2d, vnet_small or unet:timm:<name>",
    )
    pretrained: bool = hp(False, help="start a timm backbone from its published weights")
    epochs: int = hp(30, 1, 100_000, help="epochs of one training stage")
    batch_size: int = hp(32, 1, 65_536)
    optimizer: str = hp("adam", choices=("adam", "adamw", "sgd"))
    lr: float = hp(1e-3, 0.0, 100.0)
    weight_decay: float = hp(0.0, 0.0, 10.0)
    momentum: float = hp(0.9, 0.0, 1.0, help="of SGD; Adam's first beta")
    lr_schedule: str = hp("linear_tail", choices=("constant", "cosine", "step", "linear_tail"))
    decay_start: float = hp(0.375, 0.0, 1.0, help="linear_tail: share of the epochs after which the rate falls")
    tail_beta1: float = hp(0.1, 0.0, 1.0, help="linear_tail: Adam's first beta while the rate falls")
    milestones: str = hp("0.5+0.75", help="step: shares of the epochs, joined by +")
    augmentation: str = hp("auto", help="auto (what the data set declares), none, or of crop, flip, rot90, color, joined by +")
    normalize: str = hp("dataset", choices=("dataset", "imagenet", "none"))
    precision: str = hp("fp32", choices=("fp32", "bf16", "auto"), help="auto: bf16 where the device has it and it is faster, else fp32")
    val_fraction: float = hp(0.15, 0.0, 0.9, help="share of the noisy training part that selects the epoch")
    test_fraction: float = hp(0.25, 0.0, 0.9, help="share that tests, where the data have no test part of their own")
    last_k: int = hp(5, 1, 1000, help="epochs in the mean of the last k")

    def __post_init__(self) -> None:
        """Refuse what no run could bear; ValueError with the reason."""
        self.milestone_shares()
        if self.pretrained and "timm:" not in self.backbone:
            raise ValueError(f"pretrained=true needs a timm backbone, not {self.backbone}; e.g. protocol.backbone=timm:resnet18")
        for name in ("val_fraction", "test_fraction"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name}=0 leaves nothing to {'select the epoch on' if name == 'val_fraction' else 'test on'}")

    def milestone_shares(self) -> list[float]:
        """``milestones`` as numbers; ValueError if they are not."""
        try:
            return [float(part) for part in self.milestones.split("+") if part]
        except ValueError:
            raise ValueError(f"milestones '{self.milestones}' is not shares joined by +, e.g. 0.5+0.75") from None


def protocol(name: str, overrides: Mapping[str, Any] | None = None, task: str = "classification") -> TrainingProtocol:
    """A task's named protocol with some values changed; unknown names and values raise :class:`BenchmarkError`."""
    protocols = defaults_of(task).protocols
    if name not in protocols:
        raise unknown_name("protocol", name, protocols)
    values = {**protocols[name], **(overrides or {}), "name": name}
    return hyper.resolve(TrainingProtocol, values, "protocol")


@dataclass(frozen=True)
class PluginSpec:
    """One plugin with all its parameters.

    Attributes:
        name: as registered.
        params: every parameter, defaults included; of a data set also those common options that are not at their default.
        version: of a data set or noise model, whose output no code hash can see; None for methods.
        fingerprint: of the data, of the file or data set that a noise model reads, or of the file that a method reads; None for others.
        parts: noise models that are applied one after the other; the name is then theirs joined by ``+``.
        uses: other plugins that a method runs, by the method's names for them; see :meth:`benchmark.api.Method.uses`.
    """

    name: str
    params: dict[str, Any] = field(default_factory=dict)
    version: int | None = None
    fingerprint: str | None = None
    parts: tuple[PluginSpec, ...] = ()
    uses: dict[str, PluginSpec] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable; :meth:`from_dict` reads it back."""
        plain: dict[str, Any] = {"name": self.name, "params": dict(self.params), "version": self.version, "fingerprint": self.fingerprint}
        if self.parts:
            plain["parts"] = [part.to_dict() for part in self.parts]
        if self.uses:
            plain["uses"] = {name: used.to_dict() for name, used in self.uses.items()}
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PluginSpec:
        """The inverse of :meth:`to_dict`. Raises KeyError, TypeError or ValueError on anything else."""
        nested: dict[str, Any] = {"parts": tuple(cls.from_dict(part) for part in dict(data).get("parts", ()))}
        nested["uses"] = {name: cls.from_dict(used) for name, used in dict(data).get("uses", {}).items()}
        return cls(**{**data, **nested})

    def draw_names(self) -> list[Any]:
        """What a draw of this noise model depends on: where a file lies is not part of it, what it holds is."""
        located = ("file", "path", "source") if self.fingerprint is not None else ()
        return [self.name, {key: value for key, value in self.params.items() if key not in located}, self.fingerprint]

    def label(self, plugin: type | None = None) -> str:
        """The short name for tables: the plugin's name, its argument, and what differs from the defaults.

        Without the plugin's class the defaults are unknown and every parameter is shown.
        """
        if self.parts:
            return "+".join(part.label() for part in self.parts)
        shown = dict(self.params)
        parts = [self.name]
        if plugin is not None:
            argument, known = plugin.argument, hyper.defaults(plugin.Params)  # type: ignore[attr-defined]
            if argument in shown and (value := shown.pop(argument)) not in (None, ""):
                parts.append(f"{value}")
            shown = {key: value for key, value in shown.items() if known.get(key) != value}
        return ":".join(parts + [f"{key}={value}" for key, value in shown.items()])


@dataclass(frozen=True)
class RunSpec:
    """One cell of a comparison; its :meth:`key` names the run's folder."""

    method: PluginSpec
    dataset: PluginSpec
    noise: PluginSpec
    protocol: TrainingProtocol
    seed: int
    labels: dict[str, str] = field(default_factory=dict, compare=False)
    """Short names of method, dataset and noise for people; not part of the identity."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable; :meth:`from_dict` reads it back."""
        plugins = {kind: getattr(self, kind).to_dict() for kind in ("method", "dataset", "noise")}
        return {**plugins, "protocol": dict(vars(self.protocol)), "seed": self.seed, "labels": dict(self.labels)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunSpec:
        """The inverse of :meth:`to_dict`. Raises KeyError, TypeError or ValueError on anything else."""
        plugins = {kind: PluginSpec.from_dict(data[kind]) for kind in ("method", "dataset", "noise")}
        return cls(**plugins, protocol=TrainingProtocol(**data["protocol"]), seed=int(data["seed"]), labels=dict(data.get("labels", {})))

    def key(self) -> str:
        """16 hex digits of sha256 over the canonical JSON of everything that determines the numbers."""
        identity = {"schema": SCHEMA, **self.to_dict()}
        del identity["labels"]
        del identity["protocol"]["name"]  # a renamed protocol with the same values is the same run
        return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:16]

    def but_for_the_seed(self) -> str:
        """Text that two specs have in common if and only if they differ in nothing but the seed."""
        identity = self.to_dict()
        del identity["labels"], identity["seed"]
        return canonical_json(identity)

    def data_names(self, content: str) -> tuple[Any, ...]:
        """What splits depend on: the data and the seed, not the noise and not the method.

        Args:
            content: a digest of the labels and groups, so that the same samples at another path or image size, or copied
                with other modification times, are split alike.
        """
        return (self.dataset.name, content, self.seed)

    def noise_names(self, content: str) -> tuple[Any, ...]:
        """What the draw of noise depends on: data, noise and seed, not the method."""
        return (*self.data_names(content), self.noise.name, *(part.draw_names() for part in self.noise.parts or (self.noise,)))


def is_trial(spec: Mapping[str, Any] | None) -> bool:
    """Whether a spec, as :meth:`RunSpec.to_dict` writes it, is a setting that a search has suggested and nobody has named."""
    labels = spec.get("labels") if isinstance(spec, Mapping) else None
    return isinstance(labels, Mapping) and SWEEP in labels


def canonical_json(value: Any) -> str:
    """Sorted keys, no whitespace, floats by ``repr``; equal values give equal text on every machine."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def expand(
    registry: Registry,
    *,
    methods: Sequence[Setting],
    datasets: Sequence[Setting],
    noise: Sequence[Setting],
    seeds: Iterable[int],
    protocol: TrainingProtocol,
    overrides: Mapping[str, Mapping[str, Sequence[Any]]] | None = None,
    data_root: Path,
) -> list[RunSpec]:
    """All cells of methods × data × noise × seeds × grids, without repeats, in that order with seeds innermost.

    Args:
        overrides: plugin name → parameter → the values to try (one value is an override, several are a grid).
        data_root: the folder for downloads and caches, to fingerprint the data.

    Raises:
        BenchmarkError: an unknown plugin or parameter, or a value out of range; nothing has been run then.
    """
    overrides = overrides or {}
    resolved: dict[str, list[tuple[PluginSpec, str]]] = {}
    from benchmark.resolve import label, resolve_plugin

    named = {"method": methods, "dataset": datasets, "noise": noise}
    mentioned = {single.name for settings in named.values() for setting in settings for single in setting.parts or (setting,)}
    for name, grid in overrides.items():
        if name not in mentioned:
            raise unknown_name("plugin in --set", name, mentioned, "only plugins of this command can be set")
        for parameter, tried in grid.items():
            if not tried:  # the product with an empty grid would silently be no cell at all
                raise BenchmarkError(f"{name}.{parameter} has no value to try")
    for kind, settings in named.items():
        resolved[kind] = []
        for setting in settings:
            for values in _grid({single.name: overrides.get(single.name, {}) for single in setting.parts or (setting,)}):
                plugin = resolve_plugin(registry, kind, setting, values, data_root)
                resolved[kind].append((plugin, label(registry, kind, plugin)))
    cells: dict[str, RunSpec] = {}
    _check_tasks(registry, resolved)
    for data, noisy, method, seed in itertools.product(resolved["dataset"], resolved["noise"], resolved["method"], sorted(set(seeds))):
        if registry.load("dataset", data[0].name).task == "classification":
            _check_backbone(data[0], data[1], protocol)
        labels = {"method": method[1], "dataset": data[1], "noise": noisy[1]}
        spec = RunSpec(method[0], data[0], noisy[0], protocol, seed, labels)
        cells.setdefault(spec.key(), spec)
    return list(cells.values())


def _check_tasks(registry: Registry, resolved: Mapping[str, Sequence[tuple[PluginSpec, str]]]) -> None:
    """Refuse plugins that are for different kinds of labels."""
    named = {}
    for kind in ("dataset", "method", "noise"):
        for plugin, _ in resolved[kind]:
            for part in plugin.parts or (plugin,):
                named[f"{'data set' if kind == 'dataset' else kind} {part.name}"] = registry.load(kind, part.name).task
    one_task(named)


def _check_backbone(data: PluginSpec, name: str, protocol: TrainingProtocol) -> None:
    from benchmark.training.names import FEATURE_BACKBONES

    if ("features" in data.params) != (protocol.backbone in FEATURE_BACKBONES):
        if "features" in data.params:
            words = f"{name} has features, not pixels, and backbone {protocol.backbone} needs pixels"
            raise BenchmarkError(f"{words}; add --set protocol.backbone=linear (or {', '.join(FEATURE_BACKBONES[1:])})")
        raise BenchmarkError(f"backbone {protocol.backbone} needs features and {name} has pixels; add --features identity or timm:<name>")


def _grid(values: Mapping[str, Mapping[str, Sequence[Any]]]) -> list[dict[str, dict[str, Any]]]:
    """Every combination of the values of several plugins' parameters."""
    keys = [(name, parameter) for name, tried in values.items() for parameter in tried]
    combinations = itertools.product(*(values[name][parameter] for name, parameter in keys))
    found = []
    for combination in combinations:
        chosen: dict[str, dict[str, Any]] = {}
        for (name, parameter), value in zip(keys, combination, strict=True):
            chosen.setdefault(name, {})[parameter] = value
        found.append(chosen)
    return found
