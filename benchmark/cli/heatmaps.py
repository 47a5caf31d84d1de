"""``heatmaps``: which tiles of a slide a method holds for positive, beside the truth, as pictures."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli import options as opt
from benchmark.cli.output import aside, note, warnings_shown, write, write_json
from benchmark.cli.results import Names, existing_store
from benchmark.cli.run_groups import Kind, asked_for, check_free, names_of, side_by_side
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.registry import Registry
    from benchmark.store import RunStore
    from reports.bag_runs import SlideData
    from reports.rows import Row

PAGE = "heatmaps.html"
_OURS = re.compile(r"heatmaps\.html|[0-9a-f]{16}|rounds(-\d+)?")
"""All that this command writes: what else lies in its folder is somebody's."""
BAGS = Kind("bags", "bags", "it has no tiles to map")
MOST = 100
"""Pictures of a kind: a page is for looking at."""


def add_to(app: typer.Typer) -> None:
    """Register the command of this module."""
    app.command("heatmaps")(heatmaps)


def heatmaps(
    *,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN...]", help="Keys of runs, or their first digits. Default: all.", show_default=False)
    ] = None,
    runs: opt.Runs = Path("runs"),
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write.")],
    methods: Names = None,
    datasets: Names = None,
    noise: Names = None,
    slides: Annotated[
        int, typer.Option("--slides", min=0, max=MOST, metavar="N", help="Test slides: half positive, half the worst false alarms.")
    ] = 6,
    negatives: Annotated[
        int, typer.Option("--negatives", min=0, max=MOST, metavar="N", help="Tiles of negative training slides with the highest scores.")
    ] = 24,
    data_root: opt.DataRoot = None,
    plugin: opt.Plugins = None,
    as_json: opt.AsJson = False,
) -> int:
    """Show what methods say of tiles.

    Of runs on bags: maps of test slides beside the truth, the hardest negatives of the training slides, how right pseudo labels are in
    each round, and what fine-tuning on fewer negatives saves. Runs on the same data, noise and seed show the same slides; without keys,
    those of the first seed are drawn.
    """
    from benchmark.files import default_data_root

    if not slides + negatives:
        raise BenchmarkError("--slides and --negatives are both 0, so there is nothing to show")
    store = existing_store(runs)
    check_free(out, _OURS)
    registry = opt.registry_of(plugin)
    names = {"methods": names_of(methods), "datasets": names_of(datasets), "noise": names_of(noise)}
    every = asked_for(store, keys or [], names, BAGS)
    groups = side_by_side(every, every_seed=bool(keys))
    with aside(), warnings_shown(), _draft(out) as folder:
        root = data_root or default_data_root()
        text = _page(store, every, groups, lambda row: _data(store, row, registry, root), folder, slides, negatives)
        (folder / PAGE).write_bytes(text.encode("utf-8", "replace"))
    shown = [row["run_key"] for group in groups for row in group]
    if as_json:
        write_json({"folder": out, "page": PAGE, "runs": shown})
        return 0
    write(f"{len(shown)} run{'s' * (len(shown) != 1)} in {out}; open {out / PAGE}")
    if len(shown) < len(every):
        others = len(every) - len(shown)
        note(f"note: {others} run{'s' * (others != 1)} with other seeds not shown; name their keys to see them")
    return 0


# ---------------------------------------------------------------------------------------------------------------- runs


def _data(store: RunStore, row: Row, registry: Registry, data_root: Path) -> SlideData:
    """The slides of a run, read again; BenchmarkError if they are others by now."""
    import dataclasses

    from benchmark.bags.prepare import part_offsets, tile_rows
    from benchmark.prepare import prepare
    from benchmark.resolve import dataset_fingerprint, instantiate_dataset
    from reports.bag_runs import SlideData

    key = row["run_key"]
    spec = store.spec(key)
    dataset = instantiate_dataset(registry, spec.dataset)
    if dataset_fingerprint(dataset, data_root) != spec.dataset.fingerprint:
        again = "give the command of the run again and show the run that it makes"
        raise BenchmarkError(f"{spec.dataset.name} has changed since run {key}, so its slides cannot be shown; {again}")
    # Parts and labels do not depend on features, which nobody can look at and which may take long to compute.
    params = {name: value for name, value in spec.dataset.params.items() if name != "features"}
    bare = dataclasses.replace(spec.dataset, params=params)
    bare = dataclasses.replace(bare, fingerprint=dataset_fingerprint(instantiate_dataset(registry, bare), data_root))
    prepared = prepare(dataclasses.replace(spec, dataset=bare), registry, data_root)
    arrays, rows = prepared.arrays, {part: tile_rows(prepared.arrays, prepared.indices[part]) for part in ("train", "test")}
    return SlideData(
        {part: [arrays.names[bag] for bag in prepared.indices[part].tolist()] for part in ("train", "test")},
        tuple(arrays.classes),
        prepared.labels["train"],
        prepared.truth["train"],
        prepared.truth["test"],
        {part: part_offsets(arrays, prepared.indices[part]) for part in ("train", "test")},
        (lambda part, places: arrays.tiles[rows[part][places]]) if arrays.tiles.ndim == 4 else None,
    )


def _page(
    store: RunStore,
    every: Sequence[Row],
    groups: Sequence[Sequence[Row]],
    read: Callable[[Row], SlideData],
    folder: Path,
    slides: int,
    negatives: int,
) -> str:
    """The page, with its figures as files in the folder."""
    from reports.bag_chapters import chapter
    from reports.bag_pages import page
    from reports.bag_runs import read_bag_run

    chapters = []
    for number, rows in enumerate(groups, 1):
        data = read(rows[0])
        runs = [read_bag_run(store.folder(row["run_key"]), row, data) for row in rows]
        chapters.append(chapter(runs, every, data, folder, f"rounds-{number}", slides=slides, negatives=negatives, run_folder=store.folder))
    if not any(part.pictures for one in chapters for part in one.parts) and not any(one.pictures for one in chapters):
        reasons = dict.fromkeys(line for one in chapters for part in one.parts for line in part.notes[1:])
        raise BenchmarkError(f"there is nothing to draw of these runs: {'; '.join(reasons)}")
    notes = [
        "Scores of tiles from 0 to 1, of the epoch that was selected on validation slides; p is what the method says of the slide.",
        "Test slides: half of them positive, from the most missed to the surest, then the negative ones with the highest p.",
    ]
    return page("Slides and the tiles that decide them", notes, chapters)


# --------------------------------------------------------------------------------------------------------------- files


@contextlib.contextmanager
def _draft(out: Path) -> Iterator[Path]:
    """A folder beside the one to write, which takes its place if all goes well; what an earlier call left there goes."""
    from benchmark.files import TEMPORARY

    out = out.resolve()
    draft, old = (out.with_name(f"{out.name}.{secrets.token_hex(4)}{kind}{TEMPORARY}") for kind in ("", ".old"))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir()
        yield draft
        if out.exists():
            out.rename(old)
        draft.rename(out)
    except OSError as error:
        raise BenchmarkError(f"{out} cannot be written: {error.strerror or error}; choose another --out") from error
    finally:
        if old.exists() and not out.exists():
            old.rename(out)
        for folder in (draft, old):
            shutil.rmtree(folder, ignore_errors=True)
