"""From a folder of images to the answer: the runs that are asked, what they say, and the model that is trained on the result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError
from benchmark.grammar import Setting, parse_settings

if TYPE_CHECKING:
    from benchmark.prepare import PreparedData
    from benchmark.registry import Registry
    from benchmark.spec import RunSpec

__all__ = ["CHECK_RATE", "METHODS", "Question", "Runs", "cells", "data_setting", "prepared_data", "usable"]

METHODS = "hsa,confident_learning,aum,elr"
CHECK_RATE = 0.1
"""Share of the labels that are changed to see what is found."""
HELD_OUT = {"test_fraction": 0.1, "val_fraction": 0.1}
SIDE = 32
"""Pixels that images are brought to where nothing else is asked for: minutes on a laptop, and enough for texture."""


@dataclass(frozen=True)
class Question:
    """What a person wants to know.

    Attributes:
        path: a folder of class folders, a csv, or an npz.
        methods: settings as on the command line.
        backbone, epochs: of the runs. features: frozen features instead of pixels, empty for none.
        image_size: side in pixels, 0 = as the images are.
        seed: of split, known wrong labels and training.
        check_rate: share of labels changed in the check.
        skip_bad: leave unreadable images out.
    """

    path: Path
    methods: str = METHODS
    backbone: str = ""
    epochs: int | None = None
    features: str = ""
    image_size: int | None = None
    seed: int = 0
    check_rate: float = CHECK_RATE
    skip_bad: bool = False


@dataclass(frozen=True)
class Runs:
    """The runs of a question: method → its cell on the labels as they are, and with known wrong ones among them."""

    plain: Mapping[str, RunSpec]
    check: Mapping[str, RunSpec]


def data_setting(question: Question, label_file: Path | None = None) -> Setting:
    """The data set of a question, with the labels of a file in place of its own if one is given."""
    path = question.path.expanduser()
    if not path.exists():
        raise BenchmarkError(f"{path} does not exist; give a folder of class folders, a csv with the columns path and label, or an npz")
    options = {} if question.image_size == 0 else {"image_size": str(question.image_size or SIDE)}
    if question.features:
        options["features"] = question.features
    if label_file is not None:
        options["label_file"] = str(label_file.resolve())
    name = "npz" if path.suffix.lower() == ".npz" else "folder"
    if name == "folder" and question.skip_bad:
        options["skip_bad"] = "true"
    return Setting(name, str(path.resolve()), options)


def cells(question: Question, registry: Registry, data_root: Path, *, has_reference: bool) -> Runs:
    """The cells to run.

    Args:
        has_reference: the data know which of their labels are wrong; the labels as they are are then those of noise ``human``.

    Raises:
        BenchmarkError: an unknown method or backbone, or a rate that the classes cannot bear.
    """
    plain = Setting("human") if has_reference else Setting("none")
    flips = Setting("symmetric", f"{question.check_rate:g}")
    check = Setting("+".join(("human", "symmetric")), parts=(Setting("human"), flips)) if has_reference else flips
    settings = [_told_nothing(setting, registry) for setting in parse_settings(question.methods, what="--methods")]
    found = []
    for noise in (plain, check):
        specs = expanded(question, registry, data_root, settings, noise)
        found.append({spec.labels["method"]: spec for spec in specs})
    return Runs(*found)


def expanded(
    question: Question, registry: Registry, data_root: Path, methods: Sequence[Setting], noise: Setting, label_file: Path | None = None
) -> list[RunSpec]:
    """Cells of these methods on the question's data."""
    from benchmark.spec import expand
    from benchmark.spec import protocol as training_protocol

    changes: dict[str, Any] = dict(HELD_OUT)
    if question.epochs is not None:
        changes["epochs"] = question.epochs
    if question.backbone or question.features:
        changes["backbone"] = question.backbone or "linear"
    return expand(
        registry,
        methods=methods,
        datasets=[data_setting(question, label_file)],
        noise=[noise],
        seeds=[question.seed],
        protocol=training_protocol("quick", changes),
        data_root=data_root,
    )


def prepared_data(spec: RunSpec, registry: Registry, data_root: Path) -> PreparedData:
    """The data of a run as it saw them: parts, given labels, paths."""
    from benchmark.prepare import prepare

    return prepare(spec, registry, data_root)


def usable(runs: Runs, folder_of: Callable[[str], Path | None]) -> list[str]:
    """The methods both of whose runs are done."""

    def is_done(spec: RunSpec) -> bool:
        folder = folder_of(spec.key())
        return folder is not None and (folder / "predictions.npz").exists()

    return [method for method, spec in runs.plain.items() if is_done(spec) and method in runs.check and is_done(runs.check[method])]


def _told_nothing(setting: Setting, registry: Registry) -> Setting:
    """The setting without oracles: a method that would be told the noise rate or its kind where it can be estimates them."""
    from benchmark.params import ranges

    known = ranges(registry.load("method", setting.name).Params)
    silent = {"noise_rate": "estimate", "inject": "symmetric"}
    chosen = {key: value for key, value in silent.items() if key in known and key not in setting.options}
    return dataclasses.replace(setting, options={**chosen, **setting.options})
