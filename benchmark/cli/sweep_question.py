"""What a ``sweep`` asks: the command, its preset and the defaults as one checked plan for every method, data set and noise."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cli import cells as grids
from benchmark.cli import options as opt
from benchmark.errors import BenchmarkError, unknown_name
from benchmark.tasks import TASKS

if TYPE_CHECKING:
    from benchmark.grammar import Setting
    from benchmark.registry import Registry
    from benchmark.spec import RunSpec
    from sweeps.plan import FirstSetting, Plan
    from sweeps.space import Dimension

DEFAULTS: dict[str, Any] = {
    "seeds": "0-2",
    "fresh_seeds": "100-104",
    "protocol": "quick",
    "trials": 30,
    "sampler": "tpe",
    "pruner": "none",
    "objectives": "accuracy",
    "batch": 2,
    "sampler_seed": 0,
}
"""What a command and its preset leave open; the rest depends on the task."""
FEWEST_SEEDS_TO_PRUNE = 5
"""With four pairs a one-sided Wilcoxon test comes to p = 1/16, the first below 0.1: with fewer seeds nothing could ever be stopped."""


def with_preset(preset: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the command says, else its preset, else :data:`DEFAULTS`.

    Args:
        preset: its name or file; empty for none.
        given: option → value, None where the command says nothing.

    Raises:
        BenchmarkError: see :func:`sweeps.presets.read_preset`.
    """
    from sweeps.presets import read_preset

    chosen: dict[str, Any] = {**dict.fromkeys(given), **DEFAULTS}
    chosen |= read_preset(preset, given.keys()) if preset else {}
    return chosen | {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Search:
    """One study to be: ``setting``, ``data`` and ``noise`` are the words behind the plan's cell."""

    plan: Plan
    setting: Setting
    data: Setting
    noise: Setting


@dataclass(frozen=True)
class Question:
    """A command, read and checked.

    Attributes:
        grid: data, noise, the search's seeds, the protocol and what ``--set`` fixes.
        fresh: the seeds of the final comparison.
        search: owner → parameter → text, of ``--search``.
        fixed: keys that are set and therefore not searched.
    """

    task: str
    methods: Sequence[Setting]
    grid: grids.Grid
    fresh: Sequence[int]
    search: Mapping[str, Mapping[str, str]]
    fixed: frozenset[str]
    trials: int
    sampler: str
    pruner: str
    objectives: tuple[str, ...]
    batch: int
    sampler_seed: int

    @classmethod
    def read(cls, registry: Registry, chosen: Mapping[str, Any], task: str, features: str, skip_bad: bool) -> Question:
        """Parse and check the options of :func:`with_preset`; BenchmarkError for whatever cannot be."""
        from benchmark.grammar import parse_settings
        from sweeps.space import PROTOCOL, read_search

        task = grids.chosen_task(registry, task, dataset=chosen["datasets"], method=chosen["methods"], noise=chosen["noise"])
        usual = TASKS[task]
        methods = parse_settings(chosen["methods"] or usual.methods, what="--methods")
        grid = grids.read_grid(
            registry,
            datasets=chosen["datasets"] or usual.datasets,
            noise=chosen["noise"] or usual.noise,
            seeds=chosen["seeds"],
            protocol=chosen["protocol"],
            epochs=chosen["epochs"],
            sets=chosen["sets"],
            features=features,
            skip_bad=skip_bad,
            task=task,
        )
        fresh = opt.parse_seeds(chosen["fresh_seeds"], "--fresh-seeds")
        both = sorted(set(fresh) & set(grid.seeds))
        if both:
            raise BenchmarkError(f"--fresh-seeds {chosen['fresh_seeds']}: the search sees seed {both[0]} of --seeds; choose others")
        for name, least in (("trials", 1), ("batch", 1), ("sampler_seed", 0)):
            if chosen[name] < least:
                raise BenchmarkError(f"--{name.replace('_', '-')} {chosen[name]}: a whole number from {least} on")
        objectives = _check_strategy(chosen, len(grid.seeds))
        search = read_search(chosen["search"] or ())
        names = {setting.name for setting in methods}
        for owner in search:
            if owner not in names | {PROTOCOL}:
                raise unknown_name(
                    "plugin in --search", owner, names | {PROTOCOL}, "only this command's methods and the protocol can be searched"
                )
        _check_sets(grid, names)
        fixed = {f"{owner}.{key}" for owner, values in grid.overrides.items() for key in values}
        fixed |= {f"{PROTOCOL}.{key}" for key in opt.parse_sets(chosen["sets"] or ()).get(PROTOCOL, {})}
        fixed |= {f"{PROTOCOL}.epochs"} if chosen["epochs"] is not None else set()
        strategy = (chosen["trials"], chosen["sampler"], chosen["pruner"], objectives, chosen["batch"], chosen["sampler_seed"])
        return cls(task, methods, grid, fresh, search, frozenset(fixed), *strategy)

    def searches(self, registry: Registry, data_root: Path | None) -> list[Search]:
        """One for each method, data set and noise; what is named twice is searched once.

        Raises:
            BenchmarkError: nothing to search, a grid that is endless or larger than the budget, or values that no run could use.
        """
        from sweeps.plan import digest_of
        from sweeps.space import grid_points

        found: dict[str, Search] = {}
        for setting in self.methods:
            for data in self.grid.datasets:
                for noise in self.grid.noise:
                    for plan in self._plans(registry, setting, data, noise, data_root):
                        if self.sampler == "grid":
                            grid_points(plan.space, self.trials)
                        found.setdefault(digest_of(plan.identity()), Search(plan, setting, data, noise))
        return list(found.values())

    def _plans(self, registry: Registry, setting: Setting, data: Setting, noise: Setting, data_root: Path | None) -> list[Plan]:
        """One; several where ``--set`` is a grid of the data's or the noise's parameters."""
        from benchmark.code_hash import code_hash
        from sweeps.plan import Plan
        from sweeps.space import space_of

        names = {setting.name, data.name, *(part.name for part in noise.parts or (noise,))}
        overrides = {owner: values for owner, values in self.grid.overrides.items() if owner in names}
        grid = dataclasses.replace(self.grid, datasets=[data], noise=[noise], seeds=self.grid.seeds[:1], overrides=overrides)
        params = registry.load("method", setting.name).Params
        own = {f"{setting.name}.{key}" for key in setting.options}
        asked = {owner: values for owner, values in self.search.items() if owner in (setting.name, "protocol")}
        plans = []
        for cell in grid.cells(registry, [setting], data_root):
            space = space_of(setting.name, params, cell.method.params, cell.protocol, self.fixed | own, asked)
            if not space:
                raise BenchmarkError(f"nothing of {setting} is left to search; take back a --set, or give --search")
            _check_protocols(cell, space, self.task)
            first = first_settings(registry, setting, cell, space, self.fixed | own)
            how = (tuple(self.grid.seeds), self.trials, self.sampler, self.pruner, self.objectives, self.sampler_seed)
            plans.append(Plan(cell, code_hash(cell, registry), space, first, *how))
        return plans


def _check_strategy(chosen: Mapping[str, Any], seeds: int) -> tuple[str, ...]:
    """Refuse a sampler, pruner or objectives that do not exist or do not go together; returns the objectives."""
    from sweeps.plan import OBJECTIVES, PRUNERS, SAMPLERS

    objectives = ",".join(part.strip() for part in chosen["objectives"].split(","))
    opt.check_choice("--objectives", objectives, OBJECTIVES)
    opt.check_choice("--sampler", chosen["sampler"], SAMPLERS)
    opt.check_choice("--pruner", chosen["pruner"], PRUNERS)
    if chosen["pruner"] == "wilcoxon" and objectives != "accuracy":
        raise BenchmarkError(f"--pruner wilcoxon compares accuracies, and --objectives is {chosen['objectives']}; leave one of them out")
    if chosen["pruner"] == "wilcoxon" and seeds < FEWEST_SEEDS_TO_PRUNE:
        raise BenchmarkError(
            f"--pruner wilcoxon cannot tell settings apart before the fourth seed and --seeds {chosen['seeds']} has {seeds}; "
            f"give at least {FEWEST_SEEDS_TO_PRUNE}, e.g. --seeds 0-5"
        )
    return tuple(objectives.split(","))


def _check_sets(grid: grids.Grid, methods: Iterable[str]) -> None:
    """Refuse ``--set`` of plugins that the command does not name, and grids of what could be searched."""
    others = {part.name for setting in (*grid.datasets, *grid.noise) for part in setting.parts or (setting,)}
    for owner, values in grid.overrides.items():
        if owner not in {*methods, *others}:
            raise unknown_name("plugin in --set", owner, {*methods, *others}, "only plugins of this command can be set")
        many = [key for key, tried in values.items() if owner in set(methods) and len(tried) > 1]
        if many:
            raise BenchmarkError(f"--set {owner}.{many[0]}=[…] is a grid of its own; write --search {owner}.{many[0]}=[…]")


def _check_protocols(cell: RunSpec, space: Sequence[Dimension], task: str) -> None:
    """Refuse words of the protocol that no run could use, as ``--set`` does, before trials are spent on them."""
    for dimension in space:
        if dimension.owner == "protocol":
            for value in dimension.choices or ():
                opt.check_protocol(dataclasses.replace(cell.protocol, **{dimension.name: value}), task)


def first_settings(
    registry: Registry, setting: Setting, cell: RunSpec, space: Sequence[Dimension], fixed: Collection[str]
) -> tuple[FirstSetting, ...]:
    """The default, and the presets of the method that go together with what the command sets."""
    from benchmark.params import resolve
    from sweeps.plan import DEFAULT, FirstSetting

    cls = registry.load("method", setting.name)
    values = {f"{setting.name}.{key}": value for key, value in cell.method.params.items()}
    values |= {f"protocol.{key}": value for key, value in vars(cell.protocol).items()}
    default = {dimension.key: values[dimension.key] for dimension in space}
    found = [FirstSetting(DEFAULT, default)]
    for name, changes in cls.presets.items():
        typed = vars(resolve(cls.Params, {**cell.method.params, **changes}, setting.name))
        changed = {f"{setting.name}.{key}": typed[key] for key in changes}
        if any(key in fixed and values[key] != value for key, value in changed.items()):
            continue
        preset = {**default, **{key: value for key, value in changed.items() if key in default or values[key] != value}}
        if all(preset != other.values for other in found):
            found.append(FirstSetting(f"preset {name}", preset))
    return tuple(found)


def run_command(search: Search, question: Question, values: Mapping[str, Any], plugins: Sequence[str]) -> str:
    """The ``run`` that repeats one setting on the fresh seeds."""
    from benchmark.spec import protocol

    cell = search.plan.cell
    usual = vars(protocol(cell.protocol.name, task=question.task))
    fixed = {f"protocol.{key}": value for key, value in vars(cell.protocol).items() if usual[key] != value}
    for part in (cell.method, cell.dataset, *(cell.noise.parts or (cell.noise,))):
        for key in question.grid.overrides.get(part.name, {}):
            fixed[f"{part.name}.{key}"] = part.params[key]
    words = [
        "python",
        "-m",
        "benchmark",
        "run",
        "--methods",
        str(search.setting),
        "--datasets",
        str(search.data),
        "--noise",
        str(search.noise),
    ]
    words += ["--seeds", ",".join(map(str, question.fresh)), "--protocol", cell.protocol.name, "--baseline", "none"]
    words += [word for path in plugins for word in ("--plugin", path)]
    return shlex.join(words + [word for key, value in {**fixed, **values}.items() for word in ("--set", f"{key}={value}")])
