"""What every data set takes beside its own parameters: how much of it, in which proportions, at what size, as what."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from benchmark.params import hp, resolve

PROFILES = ("exponential", "step")


@dataclass(frozen=True)
class DataOptions:
    """Options common to all sets, some of classification only (``tissue:imbalance=100:subset=0.5``); the test part is never thinned out."""

    imbalance: float = hp(1.0, 1.0, 1e6, tune=False, help="most over least frequent class in the training and validation part; 1: as it is")
    imbalance_profile: str = hp(
        "exponential", choices=PROFILES, tune=False, help="exponential from class to class, or a step after half of them"
    )
    subset: float = hp(
        1.0, 0.0, 1e9, tune=False, help="of the training and validation part: a share below 1, or from 2 on a number of samples"
    )
    image_size: int = hp(0, 0, 4096, tune=False, help="height and width in pixels; 0 keeps the native size")
    features: str = hp("", tune=False, help="train on frozen features: identity, texture, timm:<name> or timm:<name>@<weights file>")
    label_file: str = hp("", tune=False, help="a .csv or .npz whose labels take the place of the set's own; see relabel import")

    def __post_init__(self) -> None:
        """Refuse a subset that is neither a share nor a number of samples; ValueError."""
        if self.subset <= 0 or 1 < self.subset != int(self.subset):
            raise ValueError(f"subset={self.subset:g} is neither a share in (0, 1] nor a whole number of samples")


NAMES = tuple(field.name for field in dataclasses.fields(DataOptions))
REFUSED = {
    "segmentation": ("imbalance", "imbalance_profile", "features", "label_file"),
    "bags": ("imbalance", "imbalance_profile", "label_file"),
}
"""Task → the options that mean nothing there."""

DEFAULTS = dataclasses.asdict(DataOptions())


def separate(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters of a data set's own and the common options, from one dictionary of both."""
    return {k: v for k, v in values.items() if k not in NAMES}, {k: v for k, v in values.items() if k in NAMES}


def changed(options: DataOptions) -> dict[str, Any]:
    """The options that differ from their defaults: only these are part of a run's identity, so that another option to come
    leaves the keys of earlier runs as they are."""
    return {name: value for name, value in dataclasses.asdict(options).items() if value != DEFAULTS[name]}


def read_options(values: dict[str, Any], owner: str) -> DataOptions:
    """Options from partial values; BenchmarkError as :func:`benchmark.params.resolve`."""
    options: DataOptions = resolve(DataOptions, values, owner)
    return options
