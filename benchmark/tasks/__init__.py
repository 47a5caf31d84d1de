"""Kinds of labels. What differs between them stands in one object each; everything else of a run is the same.

This module imports nothing heavy: listings and option parsing need only the names and defaults.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError, unknown_name

if TYPE_CHECKING:
    from benchmark.tasks.base import Task

__all__ = ["TASKS", "TaskDefaults", "defaults_of", "one_task", "task_of"]


@dataclass(frozen=True)
class TaskDefaults:
    """What commands take where nothing is said.

    Attributes:
        methods, datasets, noise, baseline: settings as on the command line.
        number_means: the noise model that a bare number stands for.
        headline: the metric that chooses epochs and ranks methods; its group is ``selected``.
        protocols: protocol → what it changes of :class:`~benchmark.spec.TrainingProtocol` for this task.
    """

    methods: str
    datasets: str
    noise: str
    baseline: str
    number_means: str
    headline: str
    protocols: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


TASKS: dict[str, TaskDefaults] = {
    "classification": TaskDefaults(
        methods="hsa,coteaching",
        datasets="digits",
        noise="0.2",
        baseline="ce",
        number_means="symmetric",
        headline="accuracy",
        protocols={
            "quick": {"augmentation": "none"},  # as co-teaching; 30 epochs are then enough for a network to learn wrong labels by heart
            "standard": {"backbone": "resnet18", "epochs": 60, "batch_size": 128, "precision": "auto"},
            "paper": {"backbone": "timm:resnet34", "epochs": 80, "batch_size": 96, "precision": "auto", "normalize": "none"},
        },
    ),
    "segmentation": TaskDefaults(
        methods="seg_ce,seg_cl,seg_cl_slsr",
        datasets="tissue_nuclei",
        noise="mask:alpha=0.5:beta=rel0.15",
        baseline="seg_ce",
        number_means="mask",
        headline="dice",
        protocols={
            "quick": {"backbone": "vnet_small", "batch_size": 4, "augmentation": "none", "lr_schedule": "cosine", "lr": 2e-3},
            "standard": {"backbone": "vnet2d", "epochs": 60, "batch_size": 8, "lr_schedule": "cosine", "precision": "auto"},
            "paper": {
                "backbone": "vnet2d", "epochs": 500, "batch_size": 4, "lr_schedule": "constant", "augmentation": "none",
                "normalize": "none", "precision": "auto",
            },
        },
    ),
    "bags": TaskDefaults(
        methods="mil_max,abmil,dsmil,hnm_wsi",
        datasets="tissue_slides:features=texture",
        noise="none",
        baseline="mil_mean",
        number_means="symmetric",
        headline="auroc",
        protocols={
            "quick": {"backbone": "auto", "batch_size": 4, "augmentation": "none", "lr_schedule": "cosine", "lr": 5e-3},
            "standard": {"backbone": "auto", "epochs": 60, "batch_size": 4, "lr_schedule": "cosine", "precision": "auto"},
            "paper": {"backbone": "auto", "epochs": 200, "batch_size": 2, "lr": 2e-4, "weight_decay": 1e-4, "lr_schedule": "cosine"},
        },
    ),
}  # fmt: skip
"""Task → its defaults. Classification's ``paper`` is HSA-NRL's stage-2 plan on Chaoyang; segmentation's is near that of
Zhang et al. (2020), who train 1,000 epochs with a rate that falls to 0.36 of what it was."""


def defaults_of(task: str) -> TaskDefaults:
    """The defaults of a task; an unknown name raises BenchmarkError with the near matches."""
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    return TASKS[task]


def task_of(name: str) -> Task:
    """The object that carries a task out; imports torch."""
    defaults_of(name)
    found: Task = importlib.import_module(f"benchmark.tasks.{name}").TASK  # not a plain import: no task's code counts for another's runs
    return found


def one_task(named: Mapping[str, str], wanted: str = "") -> str:
    """The task that some plugins have in common.

    Args:
        named: what a plugin is, for the message (``method coteaching``) → its task, or several joined by ``+``; ``any`` goes with all.
        wanted: the task that was asked for; empty for none.

    Raises:
        BenchmarkError: plugins of different tasks, or of another one than was asked for.
    """
    found = [(what, task) for what, task in named.items() if task != "any"]
    certain = [(what, task) for what, task in found if "+" not in task]
    expected = wanted or (certain[0][1] if certain else "classification")
    first = "" if wanted or not certain else certain[0][0]
    defaults_of(expected)
    for what, task in found:
        if expected not in task.split("+"):
            other = f"{first} is for {expected}" if first else f"--task is {expected}"
            raise BenchmarkError(f"{what} is for {task.replace('+', ' and ')} and {other}; python -m benchmark list shows what each is for")
    return expected
