"""From settings as they are written to plugins with every parameter, and from those to instances."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import params as hyper
from benchmark.data import options as data_options
from benchmark.errors import BenchmarkError, unknown_name
from benchmark.files import default_data_root
from benchmark.grammar import Setting, parse_settings
from benchmark.spec import PluginSpec

if TYPE_CHECKING:
    from benchmark.api import Dataset, Method, Noise
    from benchmark.registry import Registry

Overrides = Mapping[str, Mapping[str, Any]]
"""Plugin name → parameter → value, as ``--set`` gives them."""


def resolve_plugin(registry: Registry, kind: str, setting: Setting, overrides: Overrides, data_root: Path) -> PluginSpec:
    """Look a setting's plugin up and complete its parameters: preset, then the setting's options, then overrides."""
    if setting.parts:
        parts = tuple(resolve_plugin(registry, kind, part, overrides, data_root) for part in setting.parts)
        return PluginSpec(setting.name, parts=parts)
    cls = registry.load(kind, setting.name)
    values: dict[str, Any] = {}
    if setting.argument is not None:
        if cls.presets and cls.argument is None:
            if setting.argument not in cls.presets:
                raise unknown_name(f"preset of {setting.name}", setting.argument, cls.presets)
            values.update(cls.presets[setting.argument])
        elif cls.argument is None:
            raise BenchmarkError(f"{setting.name} takes no argument, so '{setting}' cannot be read; write {setting.name}:key=value")
        else:
            if cls.argument in setting.options:
                raise BenchmarkError(f"'{setting}': {cls.argument} is given twice, after the name and by its key")
            values[cls.argument] = setting.argument
    values.update(setting.options)
    values.update(overrides.get(setting.name, {}))
    if kind == "dataset":
        return _resolve_dataset(cls, setting.name, values, data_root)
    resolved = hyper.resolve(cls.Params, values, setting.name)
    params = dataclasses.asdict(resolved)
    if kind == "method":
        method = cls(resolved)
        return PluginSpec(setting.name, params, fingerprint=method.fingerprint(), uses=resolve_used(registry, method, data_root))
    plugin = PluginSpec(setting.name, params, int(cls.manifest.get("version", 1)))
    return dataclasses.replace(plugin, fingerprint=noise_fingerprint(registry, cls(resolved), data_root))


def resolve_used(registry: Registry, method: Method, data_root: Path) -> dict[str, PluginSpec]:
    """The plugins that a method runs beside itself, with all their parameters, by the method's names for them.

    Raises:
        BenchmarkError: a setting that names no plugin, several, or one with such plugins of its own; the parameter is named.
    """
    used = {}
    for name, (kind, text) in method.uses().items():
        try:
            joined = [entry.name for entry in registry.entries("noise")] if kind == "noise" else ()
            settings = parse_settings(text, what=kind, joined=joined)
            if len(settings) != 1:
                raise BenchmarkError(f"'{text}' names {len(settings)} plugins where one is needed")
            used[name] = resolve_plugin(registry, kind, settings[0], {}, data_root)
            if used[name].uses:
                raise BenchmarkError(f"'{text}' runs other plugins itself, and cannot be run by one")
        except BenchmarkError as error:
            raise BenchmarkError(f"{method.name}.{name}: {error}") from error
    return used


def _resolve_dataset(cls: Any, name: str, values: dict[str, Any], data_root: Path) -> PluginSpec:
    taken = set(hyper.ranges(cls.Params)) & set(data_options.NAMES)
    if taken:
        raise BenchmarkError(f"data set {name} declares {', '.join(sorted(taken))}, which every data set has; rename it in its Params")
    own, common = data_options.separate(values)
    unknown = [key for key in own if key not in hyper.ranges(cls.Params)]
    if unknown:
        raise unknown_name(f"parameter of {name}", unknown[0], [*hyper.ranges(cls.Params), *data_options.NAMES])
    unfit = sorted(set(common) & set(data_options.REFUSED.get(cls.task, ())))
    if unfit:
        raise BenchmarkError(f"{name} is a set for {cls.task}, where {', '.join(unfit)} means nothing; leave it out")
    resolved, options = hyper.resolve(cls.Params, own, name), data_options.read_options(common, name)
    fingerprint = dataset_fingerprint(cls(resolved, options), data_root)
    params = {**dataclasses.asdict(resolved), **data_options.changed(options)}
    return PluginSpec(name, params, int(cls.manifest.get("version", 1)), fingerprint)


def dataset_fingerprint(dataset: Dataset, data_root: Path) -> str:
    """What a run's identity holds of the data as they are now: the set's own fingerprint, its features' weights, its file of labels."""
    fingerprint = dataset.fingerprint(data_root)
    if dataset.options.features:
        from benchmark.data.features import fingerprint as features_fingerprint

        fingerprint += f"-{features_fingerprint(dataset.options.features)}"
    if dataset.options.label_file:
        from benchmark.data.label_file import fingerprint as label_file_fingerprint

        fingerprint += label_file_fingerprint(dataset)
    return fingerprint


def noise_fingerprint(registry: Registry, noise: Noise, data_root: Path) -> str | None:
    """What a run's identity holds of the files and data sets that its noise reads, as they are now."""
    return noise.fingerprint(data_root, lambda text: open_dataset(registry, text, data_root)[0])


def refuse_changed_noise(registry: Registry, planned: PluginSpec, noise: Noise, data_root: Path) -> None:
    """A file that changed after the run was planned would be used under the key of what it was before; BenchmarkError."""
    for part, model in zip(planned.parts or (planned,), getattr(noise, "parts", (noise,)), strict=True):
        if noise_fingerprint(registry, model, data_root) != part.fingerprint:
            raise BenchmarkError(f"what noise {part.name} reads has changed since this run was planned; give the command again")


def instantiate_dataset(registry: Registry, plugin: PluginSpec) -> Dataset:
    """The data set of a resolved spec."""
    cls = registry.load("dataset", plugin.name)
    own, common = data_options.separate(plugin.params)
    dataset: Dataset = cls(hyper.resolve(cls.Params, own, plugin.name), data_options.read_options(common, plugin.name))
    return dataset


def instantiate_noise(registry: Registry, plugin: PluginSpec) -> Noise:
    """The noise model of a resolved spec, or several as one."""
    if plugin.parts:
        from benchmark.noise_combined import Combined

        return Combined([instantiate_noise(registry, part) for part in plugin.parts])
    cls = registry.load("noise", plugin.name)
    noise: Noise = cls(hyper.resolve(cls.Params, plugin.params, plugin.name))
    return noise


def open_dataset(registry: Registry, text: str, data_root: Path) -> tuple[Dataset, PluginSpec]:
    """Another data set that a noise model names, by its setting as on the command line.

    Raises:
        BenchmarkError: not one setting, an unknown data set or parameter, missing data, or an option that says which samples
            are used, and not what the images are.
    """
    settings = parse_settings(text, what="data set")
    if len(settings) != 1:
        raise BenchmarkError(f"'{text}' names {len(settings)} data sets where one is needed")
    plugin = resolve_plugin(registry, "dataset", settings[0], {}, data_root)
    unused = sorted(set(plugin.params) & {"imbalance", "imbalance_profile", "subset", "features", "label_file"})
    if unused:
        raise BenchmarkError(f"'{text}' is a source of images, of which {', '.join(unused)} would change nothing; leave it out")
    return instantiate_dataset(registry, plugin), plugin


def instantiate_method(registry: Registry, plugin: PluginSpec, data_root: Path | None = None) -> Method:
    """The method of a resolved spec.

    Args:
        registry: where it is, and what it runs beside itself.
        plugin: the resolved method.
        data_root: the folder for downloads and caches; the user's own by default.

    Raises:
        BenchmarkError: a parameter that the method does not have, or a file that it or its annotators read is not what it was when
            the run was planned.
    """
    cls = registry.load("method", plugin.name)
    method: Method = cls(hyper.resolve(cls.Params, plugin.params, plugin.name))
    if method.fingerprint() != plugin.fingerprint:
        raise BenchmarkError(f"what method {plugin.name} reads has changed since this run was planned; give the command again")
    method.used = instantiate_used(registry, method, plugin.uses, data_root or default_data_root())
    return method


def instantiate_used(registry: Registry, method: Method, used: Mapping[str, PluginSpec], data_root: Path) -> dict[str, Method | Noise]:
    """Instances of the plugins that a method runs, by its names for them; raises as :func:`instantiate_method`."""
    found: dict[str, Method | Noise] = {}
    for name, (kind, _) in method.uses().items():
        if kind == "method":
            found[name] = instantiate_method(registry, used[name], data_root)
        else:
            found[name] = noise = instantiate_noise(registry, used[name])
            refuse_changed_noise(registry, used[name], noise, data_root)
    return found


def label(registry: Registry, kind: str, plugin: PluginSpec) -> str:
    """The short name of a resolved plugin for tables; see :meth:`PluginSpec.label`."""
    return "+".join(part.label(registry.load(kind, part.name)) for part in plugin.parts or (plugin,))
