"""``predict``: an exported model's classes and probabilities for new images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.output import aside, note, warnings_shown, write
from benchmark.errors import BenchmarkError, unknown_name
from benchmark.html_page import one_line

if TYPE_CHECKING:
    from benchmark.clean.forecasts import Forecasts

FORMATS = ("csv", "json")
MOST_NOTES = 10
"""So many unreadable files are named."""
TELL_EVERY = 2000
"""Images between two notes on how far it is."""


def add_to(app: typer.Typer) -> None:
    """Register the command of this module."""
    app.command("predict")(predict)


def predict(
    *,
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of an exported model, with card.json and weights.safetensors.")],
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Images, folders of images, or csv files with a column path.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write there, not to stdout.", show_default=False)] = None,
    as_format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="csv or json. Default: by the suffix of --out, else csv.", show_default=False)
    ] = "",
    top: Annotated[int, typer.Option("--top", min=0, metavar="K", help="Only the K likeliest classes of each image; 0: all.")] = 0,
    device: Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu or cuda[:i].")] = "auto",
    features: Annotated[
        str,
        typer.Option(
            "--features", metavar="SETTING", help="timm:<name>@<weights file>, for a model that takes features of it.", show_default=False
        ),
    ] = "",
) -> int:
    """What a model says of images: path, class, probability, and a column for each class.

    A file that cannot be read is left out with a note; the exit code is then 1.
    """
    from benchmark.clean.card import check_weights, model_folder, read_card
    from benchmark.clean.forecasts import forecast, images_of

    kind = _format(as_format, out)
    files = images_of(paths)
    _check_out(out, files)
    folder = model_folder(model)
    card, _ = read_card(folder)
    check_weights(card, folder)  # all that can be wrong is told before torch is imported, which takes seconds
    told = 0

    def report(done: int, total: int) -> None:
        nonlocal told
        if done - told >= TELL_EVERY and done < total:
            told = done
            note(f"{done} of {total} images")

    with aside(), warnings_shown():
        from benchmark.clean.model import load_model

        found = forecast(load_model(folder, device=device, features=features), files, report)
    if not found.files:
        file, why = next(iter(found.unreadable.items()))
        raise BenchmarkError(f"none of the {len(files)} images can be read; the first: {file} ({why})")
    text = _text(found, kind, top)
    if out is None:
        write(text)
    else:
        from benchmark.files import atomic_write_text

        atomic_write_text(out, text)
        note(f"{len(found.files)} forecasts in {out}")
    for file, why in list(found.unreadable.items())[:MOST_NOTES]:
        note(f"left out: {_shown(file)}: {why}")
    if len(found.unreadable) > MOST_NOTES:
        note(f"left out: {len(found.unreadable) - MOST_NOTES} more")
    return 1 if found.unreadable else 0


def _format(given: str, out: Path | None) -> str:
    if given:
        if given not in FORMATS:
            raise unknown_name("--format", given, FORMATS)
        return given
    return "json" if out is not None and out.suffix.lower() == ".json" else "csv"


def _check_out(out: Path | None, files: list[Path]) -> None:
    """Refuse a place that cannot be written before hours of work, or that would cost somebody an image."""
    if out is None:
        return
    if out.is_dir():
        raise BenchmarkError(f"--out {out} is a folder; give a file, e.g. {out / 'forecasts.csv'}")
    if not out.parent.is_dir():
        raise BenchmarkError(f"--out {out}: there is no folder {out.parent}")
    if out.exists() and any(out.samefile(file) for file in files if file.exists()):
        raise BenchmarkError(f"--out {out} is one of the images")


def _text(found: Forecasts, kind: str, top: int) -> str:
    from benchmark.clean.forecasts import objects, table

    if kind == "json":
        return json.dumps(objects(found, top), indent=1, ensure_ascii=False) + "\n"
    from reports.machine import csv_text

    return csv_text(*table(found, top))


def _shown(file: Path) -> str:
    return one_line(str(file).encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
