"""What one search is: a method on data with noise, the space, the settings that come first, the budget; and its identity."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.spec import RunSpec, canonical_json
from sweeps.space import Dimension

__all__ = ["DEFAULT", "OBJECTIVES", "PRUNERS", "SAMPLERS", "FirstSetting", "Plan", "differences", "digest_of"]

SAMPLERS = ("tpe", "gp", "random", "grid")
PRUNERS = ("none", "wilcoxon")
OBJECTIVES = ("accuracy", "accuracy,seconds")
"""``accuracy`` stands for the task's headline metric on the noisy validation part (Dice of masks, AUROC of bags)."""
DEFAULT = "default"


@dataclass(frozen=True)
class FirstSetting:
    """A setting that has a name: the default, a preset, a point of a grid.

    Attributes:
        values: ``owner.name`` → value, of every dimension and of whatever else the setting changes. A value that the space does not have
            is run as it is; the sampler is told the nearest that the space has.
    """

    name: str
    values: Mapping[str, Any]

    def point(self, space: tuple[Dimension, ...]) -> dict[str, Any]:
        """The nearest point of a space."""
        return {dimension.key: dimension.nearest(self.values[dimension.key]) for dimension in space}

    def beyond(self, space: tuple[Dimension, ...]) -> dict[str, Any]:
        """What :meth:`point` does not say."""
        point = self.point(space)
        return {key: value for key, value in self.values.items() if key not in point or point[key] != value}


@dataclass(frozen=True)
class Plan:
    """What is searched, and how; all of it but ``trials`` and ``first`` is the study's identity.

    Attributes:
        cell: the method at its default setting on the data with the noise, of any seed.
        code: the hash of the code that runs it.
        space: what varies.
        first: settings that are tried before any suggestion: the default, the paper's presets.
        seeds: every trial is the mean over them.
        trials: the budget.
        sampler, pruner, objectives: of :data:`SAMPLERS`, :data:`PRUNERS` and :data:`OBJECTIVES` (at its commas); the first objective ranks.
        sampler_seed: of the suggestions.
    """

    cell: RunSpec
    code: str
    space: tuple[Dimension, ...]
    first: tuple[FirstSetting, ...]
    seeds: tuple[int, ...]
    trials: int
    sampler: str = "tpe"
    pruner: str = "none"
    objectives: tuple[str, ...] = ("accuracy",)
    sampler_seed: int = 0

    def identity(self) -> dict[str, Any]:
        """Everything that two searches must share to be one, JSON-serialisable."""
        cell = self.cell.to_dict()
        protocol = {name: value for name, value in cell["protocol"].items() if name != "name"}
        return {
            "method": cell["method"], "dataset": cell["dataset"], "noise": cell["noise"], "protocol": protocol, "code": self.code,
            "space": {dimension.key: dimension.to_dict() for dimension in self.space}, "seeds": list(self.seeds),
            "sampler": self.sampler, "pruner": self.pruner, "objectives": list(self.objectives), "sampler_seed": self.sampler_seed,
        }  # fmt: skip

    @property
    def label(self) -> str:
        """The search in words."""
        return " · ".join(self.cell.labels[kind] for kind in ("method", "dataset", "noise"))


def digest_of(identity: Mapping[str, Any]) -> str:
    """8 hex digits of an identity."""
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:8]


def differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """The dotted names of what differs between two identities."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        names = sorted(old.keys() | new.keys(), key=str)
        return [found for name in names for found in differences(old.get(name), new.get(name), f"{prefix}{name}.")]
    return [] if old == new else [prefix.rstrip(".")]
