"""``noise export``: one draw of wrong labels as a file that others can train on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli import options as opt
from benchmark.cli.cells import chosen_task
from benchmark.cli.output import aside, note, warnings_shown, write, write_json, write_table
from benchmark.errors import BenchmarkError
from benchmark.tasks import TASKS

if TYPE_CHECKING:
    import numpy as np

    from benchmark.prepare import PreparedData

SHOWN_CLASSES = 12
"""A transition matrix of more classes than this is in the file (and with --json) only."""


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    group = typer.Typer(help="Wrong labels as files.", no_args_is_help=False)
    group.callback()(_group)
    group.command("export")(export)
    app.add_typer(group, name="noise")


def _group() -> None:
    """Wrong labels as files: noise export."""


def export(
    *,
    datasets: Annotated[str, typer.Option("--datasets", metavar="SETTING", help="One data set: name[:argument][:key=value].")] = "digits",
    noise: Annotated[str, typer.Option("--noise", metavar="SETTING", help="One noise model, or several joined by +.")] = "0.2",
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of split and draw, as in --seeds of run.")] = 0,
    protocol: Annotated[
        str, typer.Option("--protocol", metavar="NAME", help="Whose test and validation fractions split the data.")
    ] = "quick",
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write, .npz or .csv.")] = Path("noise.npz"),
    data_root: opt.DataRoot = None,
    plugin: opt.Plugins = None,
    as_json: opt.AsJson = False,
) -> int:
    """Write the labels that a run would train and validate on.

    They are used again with --noise file:FILE, here or by others; the test part is not in the file. Prints what is known of the draw:
    rates, transition matrix, whether the true class is still the most likely label, and a hash of the labels; of masks, how many
    pixels and masks are wrong and how wrong they are, task by task.
    """
    import numpy as np

    from benchmark.files import default_data_root
    from benchmark.grammar import parse_settings
    from benchmark.noise_file import write as write_labels
    from benchmark.prepare import content_digest, prepare
    from benchmark.spec import expand
    from benchmark.spec import protocol as training_protocol

    if out.suffix not in (".npz", ".csv"):
        raise BenchmarkError(f"--out {out}: the file's name must end in .npz or .csv")
    registry = opt.registry_of(plugin)
    task = chosen_task(registry, "", dataset=datasets, noise=noise)
    if task == "segmentation" and out.suffix != ".npz":
        raise BenchmarkError(f"--out {out}: masks are written as .npz only")
    data, models = parse_settings(datasets, what="--datasets"), opt.parse_noise(registry, noise, task)
    for what, settings in (("--datasets", data), ("--noise", models)):
        if len(settings) != 1:
            raise BenchmarkError(f"{what} names {len(settings)} settings; a file holds one draw, so name one")
    root = data_root or default_data_root()
    method = parse_settings(TASKS[task].baseline, what="method")
    with aside(), warnings_shown():
        features = data[0].options.get("features")
        chosen = training_protocol(protocol, {"backbone": "linear"} if features else {}, task)
        (spec,) = expand(registry, methods=method, datasets=data, noise=models, seeds=[seed], protocol=chosen, data_root=root)
        prepared = prepare(spec, registry, root)
    if prepared.foreign["train"].any() or prepared.foreign["val"].any():
        raise BenchmarkError(
            "open-set noise replaces images, which a file of labels cannot hold; name it in --noise with the file: file:…+open_set:…"
        )
    names = prepared.arrays.classes
    index, labels = (np.concatenate([values["train"], values["val"]]) for values in (prepared.indices, prepared.labels))
    record = {**prepared.record, "dataset": spec.labels["dataset"], "noise": spec.labels["noise"], "seed": seed}
    if task == "segmentation":
        _write_masks(out, index, labels, prepared, record)
    else:
        write_labels(out, index, labels, content_digest(prepared.arrays), names, record)
    if as_json:
        write_json({"file": out, "classes": names, **record})
        return 0
    rows = [
        (name, _shown(record[name]))
        for name in ("dataset", "noise", "seed", "nominal_rate", "realised_rate", "val_rate", "solvable", "label_hash")
    ]
    write_table(("draw", ""), rows)
    if task == "segmentation":
        _print_tasks(record)
        note(f"the masks of {len(index)} images in {out}: index (m,), masks (m, T, H, W) uint8, tasks, classes, record")
        return 0
    if len(names) <= SHOWN_CLASSES:
        write("")
        table = [
            (name, _shown(rate), *map(_shown, row))
            for name, rate, row in zip(names, record["per_class_rate"], record["matrix"], strict=True)
        ]
        write_table(("true class", "wrong", *names), table)
    note(f"{len(index)} labels in {out}; train on them with --noise file:{out} --seeds {seed}")
    return 0


def _write_masks(out: Path, index: np.ndarray, masks: np.ndarray, prepared: PreparedData, record: dict[str, Any]) -> None:
    """A ``.npz`` without pickles, in one step."""
    import numpy as np

    from benchmark.files import atomic_open

    tasks, classes = (np.array(getattr(prepared.arrays, name), dtype=np.str_) for name in ("tasks", "classes"))
    try:
        with atomic_open(out) as stream:
            np.savez_compressed(stream, index=index, masks=masks, tasks=tasks, classes=classes, record=np.array(json.dumps(record)))
    except OSError as error:
        raise BenchmarkError(f"masks cannot be written to {out}: {error.strerror or error}") from error


def _print_tasks(record: dict[str, Any]) -> None:
    """What the noise did to each task's masks of the training part: the numbers that its settings leave open."""
    write("")
    columns = {"pixel_error_rate": "wrong pixels", "masks_changed": "changed masks", "dice": "their Dice", "emptied": "objects gone"}
    rows = [(name, *(_shown(numbers[key]) for key in columns)) for name, numbers in record["tasks"].items()]
    write_table(("task", *columns.values()), rows)


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
