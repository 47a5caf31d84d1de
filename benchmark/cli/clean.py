"""``clean``: which labels of a person's own images are wrong."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli import campaign as camp
from benchmark.cli import options as opt
from benchmark.cli.output import aside, note, warnings_shown, write, write_json
from benchmark.cli.run_groups import check_free
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.clean.answer import Answer
    from benchmark.clean.session import Question, Runs
    from benchmark.registry import Registry
    from benchmark.spec import RunSpec

OURS = re.compile(r"labels\.csv|report\.html|clean\.json|corrected\.csv|model|runs")
"""All that this command writes."""


def add_to(app: typer.Typer) -> None:
    """Register the command of this module."""
    app.command("clean")(clean)


def clean(
    *,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder of class folders, a csv (path,label …), or an npz.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write; it also keeps the runs, to go on after a stop.")],
    methods: Annotated[str, typer.Option("--methods", metavar="LIST", help="Who is asked: name[:key=value], …")] = "hsa,confident_learning,aum,elr",
    budget: Annotated[int, typer.Option("--budget", min=1, metavar="N", help="Labels that somebody will look at.")] = 200,
    precision: Annotated[
        float, typer.Option("--precision", min=0.0, max=1.0, metavar="SHARE", help="Of the flagged labels, so many shall be wrong.")
    ] = 0.9,
    backbone: Annotated[str, typer.Option("--backbone", metavar="NAME", help="Network of the runs.")] = "",
    features: Annotated[
        str, typer.Option("--features", metavar="MODEL", help="Frozen features instead of pixels: identity, texture, timm:<name>.")
    ] = "",
    image_size: Annotated[
        int | None, typer.Option("--image-size", min=0, metavar="N", help="Pixels a side; 0: as they are. Default: 32.", show_default=False)
    ] = None,
    epochs: camp_epochs = None,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of the split and the check.")] = 0,
    no_model: Annotated[bool, typer.Option("--no-model", help="Do not train a model on the corrected labels.")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave unreadable images out.")] = False,
    jobs: camp.Jobs = None,
    gpus: camp.Gpus = "",
    device: camp.Device = "auto",
    threads: camp.Threads = 1,
    data_root: opt.DataRoot = None,
    plugin: opt.Plugins = None,
    as_json: opt.AsJson = False,
    quiet: camp.Quiet = False,
) -> int:
    """Find the wrong labels in your own images.

    Asks several methods, checks them on known wrong labels made in your data, and writes labels.csv, report.html and a model.
    Killed or interrupted, the same command goes on where it was.
    """
    from benchmark.clean.session import Question
    from benchmark.files import default_data_root

    check_free(out, OURS)
    question = Question(path, methods, backbone, epochs, features, image_size, seed, skip_bad=skip_bad)
    conditions = camp.conditions_of(
        runs=out / "runs", jobs=jobs, gpus=gpus, device=device, threads=threads, data_root=data_root, plugin=plugin, no_tracking=True, quiet=quiet
    )
