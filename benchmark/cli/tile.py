"""``tile``: whole slides cut into tiles, for the data set ``tiles``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.options import AsJson
from benchmark.cli.output import note, warnings_shown, write, write_json
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.bags.tiler import SlideFile, TiledSlide

TISSUE = "saturation, edges or none"


def add_to(app: typer.Typer) -> None:
    """Register the command of this module."""
    app.command("tile")(tile)


def tile(
    *,
    slides: Annotated[
        Path, typer.Argument(metavar="SLIDES", help="A folder of whole slides, or of folders train, val and test of them; or one slide.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the tiles.")],
    tile_size: Annotated[int, typer.Option("--tile-size", metavar="PX", help="Height and width of a tile.")] = 224,
    mpp: Annotated[
        float | None,
        typer.Option("--mpp", metavar="MICRONS", help="Of a pixel of the tiles: 0.5 is about 20×, 1 is 10×, 2 is 5×.", show_default=False),
    ] = None,
    downsample: Annotated[
        float | None,
        typer.Option("--downsample", metavar="N", help="Pixels of the slide per pixel of a tile. Default: 1.", show_default=False),
    ] = None,
    tissue: Annotated[str, typer.Option("--tissue", metavar="FILTER", help=f"Which tiles are kept: by {TISSUE}.")] = "saturation",
    threshold: Annotated[
        float,
        typer.Option("--threshold", min=0, max=255, metavar="N", help="Of the saturation or, as in DSMIL, of the edge response, 0 to 255."),
    ] = 15.0,
    least_tissue: Annotated[
        float, typer.Option("--least-tissue", metavar="SHARE", help="Of coloured pixels that a tile needs; with saturation.")
    ] = 0.2,
    fmt: Annotated[str, typer.Option("--format", metavar="FORMAT", help="jpeg, or npz: one file a slide, without loss.")] = "jpeg",
    quality: Annotated[int, typer.Option("--quality", metavar="N", help="Of JPEG, 1 to 100.")] = 70,
    threads: Annotated[int, typer.Option("--threads", min=1, metavar="N", help="That read and write tiles of a slide.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: AsJson = False,
) -> int:
    """Cut whole slides into tiles.

    DIR/<slide>/<column>_<row>.jpeg, below train, val and test where the slides are. Finished slides are skipped, so the same command goes
    on after a kill; a slide that cannot be read is told at the end.
    """
    from benchmark.bags.tiler import Tiling, tile_slides
    from benchmark.progress import Preparation

    found = _slides(slides)
    tiling = Tiling(tile_size, mpp, downsample, tissue, threshold, least_tissue, fmt, quality)
    if out.exists() and not out.is_dir():
        raise BenchmarkError(f"--out {out} is a file; give a folder")
    with warnings_shown(), Preparation(quiet=quiet) as progress:

        def report(text: str, done: int, total: int) -> None:
            progress("tiling slides", done, total)  # one bar for all of them

        done = tile_slides(found, out, tiling, workers=threads, report=report)
        report("", len(found), len(found))
    if as_json:
        write_json({"folder": out, "tiling": dataclasses.asdict(tiling), "slides": [dataclasses.asdict(row) for row in done]})
        return 0
    _print(done, out)
    return 0


def _slides(path: Path) -> Sequence[SlideFile]:
    from benchmark.bags.tiler import SlideFile, find_slides

    if not path.exists():
        raise BenchmarkError(f"{path} does not exist; give a folder of whole slides, or one slide")
    return [SlideFile(path, path.name.removesuffix(path.suffix))] if path.is_file() else find_slides(path)


def _print(done: Sequence[TiledSlide], out: Path) -> None:
    from benchmark.bags.tiler import REPORT

    resumed = sum(row.resumed for row in done)
    before = f", {resumed} of them before" if resumed else ""
    write(f"{len(done):,} slide{'s' * (len(done) != 1)} tiled{before}: {sum(row.kept for row in done):,} tiles in {out}")
    note(f"tiles of each slide: {out / REPORT}; put a csv with the columns slide_id and label into {out}, then: --datasets tiles:{out}")
