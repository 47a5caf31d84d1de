"""``gallery``: masks over their images, what methods hold for wrong in them, and what they predict, as pictures."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli import options as opt
from benchmark.cli.output import aside, note, warnings_shown, write, write_json
from benchmark.cli.results import Names, existing_store
from benchmark.cli.run_groups import Kind, asked_for, check_free, names_of, side_by_side
from benchmark.errors import BenchmarkError
from benchmark.tasks import TASKS

if TYPE_CHECKING:
    from benchmark.registry import Registry
    from benchmark.spec import RunSpec
    from benchmark.store import RunStore
    from reports.overlay_page import Chapter
    from reports.overlay_runs import MaskData
    from reports.rows import Row

PAGE, SHEET = "gallery.html", "overlays"
_OURS = re.compile(rf"{re.escape(PAGE)}|{SHEET}(-[A-Za-z0-9._-]+)?\.png")
"""All that this command writes: what else lies in its folder is somebody's."""
MASKS = Kind("segmentation", "masks", "there is nothing to lay over its images")
MOST = 100
"""Images of a kind: a page is for looking at."""


def add_to(app: typer.Typer) -> None:
    """Register the command of this module."""
    app.command("gallery")(gallery)


def gallery(
    *,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="RUN", help="Keys of runs, or their first digits. Default: all.", show_default=False)
    ] = None,
    runs: opt.Runs = Path("runs"),
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write.")],
    methods: Names = None,
    datasets: Names = None,
    noise: Names = None,
    worst: Annotated[int, typer.Option("--worst", min=0, max=MOST, metavar="N", help="Training images with the lowest quality.")] = 8,
    random: Annotated[int, typer.Option("--random", min=0, max=MOST, metavar="N", help="Training images drawn at random.")] = 4,
    test: Annotated[
        int, typer.Option("--test", min=0, max=MOST, metavar="N", help="Test images: half with the lowest Dice, half at random.")
    ] = 6,
    data_root: opt.DataRoot = None,
    plugin: opt.Plugins = None,
    as_json: opt.AsJson = False,
) -> int:
    """Show masks, and what methods say of them.

    Of runs on masks: the given masks most worth a look with the pixels that each method flags, what it makes of them, the truth, and
    predictions on test images. Runs on the same data, noise and seed stand side by side; without keys, those of the first seed do.
    """
    from benchmark.files import default_data_root

    if not worst + random + test:
        raise BenchmarkError("--worst, --random and --test are all 0, so there is nothing to show")
    store = existing_store(runs)
    check_free(out, _OURS)
    registry = opt.registry_of(plugin)
    names = {"methods": names_of(methods), "datasets": names_of(datasets), "noise": names_of(noise)}
    groups, left_out = _groups(store, keys or [], names)
    with aside(), warnings_shown():
        files = _draw(store, groups, registry, data_root or default_data_root(), {"worst": worst, "random": random, "test": test})
    _write(out, files)
    if as_json:
        shown = [{"file": name, "runs": [row["run_key"] for row in group]} for name, group in groups.items()]
        write_json({"folder": out, "page": PAGE, "sheets": shown})
        return 0
    count = sum(map(len, groups.values()))
    write(f"{count} run{'s' * (count != 1)} on {len(groups)} sheet{'s' * (len(groups) != 1)} in {out}; open {out / PAGE}")
    if left_out:
        note(f"note: {left_out} run{'s' * (left_out != 1)} with other seeds not shown; name their keys to see them")
    for name, content in files.items():
        note(f"written: {out / name} ({max(1, round(len(content) / 1024)):,} KiB)")
    return 0


# ---------------------------------------------------------------------------------------------------------------- runs


def _groups(store: RunStore, keys: Sequence[str], names: dict[str, Any]) -> tuple[dict[str, list[Row]], int]:
    """File name of a sheet → the rows of the runs on it; and how many runs were left out for their seed."""
    rows = asked_for(store, keys, names, MASKS)
    if not keys:
        order = {method: place for place, method in enumerate(names["methods"] or (TASKS["segmentation"].baseline,))}
        rows.sort(key=lambda row: (order.get(row["method"], len(order)), row["method"], row["protocol"], row["run_key"]))
    sheets = side_by_side(rows, every_seed=bool(keys))
    return dict(zip(_file_names(sheets), sheets, strict=True)), len(rows) - sum(map(len, sheets))


def _file_names(sheets: Sequence[Sequence[Row]]) -> list[str]:
    """``overlays.png``, or, of several, what tells them apart, without what a file system or a shell would read in it."""
    if len(sheets) == 1:
        return [f"{SHEET}.png"]
    slugs = [
        re.sub(r"[^A-Za-z0-9._]+", "-", f"{group[0]['dataset']}-{group[0]['noise']}-{group[0]['seed']}").strip("-.") for group in sheets
    ]
    return [f"{SHEET}-{number}-{slug[:60]}.png" for number, slug in enumerate(slugs, 1)]


# ------------------------------------------------------------------------------------------------------------- pictures


def _draw(store: RunStore, groups: dict[str, list[Row]], registry: Registry, data_root: Path, amounts: dict[str, int]) -> dict[str, bytes]:
    """The content of all files by name."""
    from reports.overlay_page import page

    files: dict[str, bytes] = {}

    def chapters() -> Iterator[Chapter]:
        for name, rows in groups.items():
            files[name], chapter = _sheet_and_chapter(store, rows, registry, data_root, amounts)
            yield chapter

    notes = [
        "The given masks that each method holds for the worst, some drawn at random, and test images; Dice and shares in percent.",
        "rank 1: the lowest quality, so the one most worth a look. Of several organs, a pixel shows the worst of what is true of it.",
    ]
    text = page("Masks worth a look", notes, chapters())
    return {**files, PAGE: text.encode("utf-8", "replace")}


def _sheet_and_chapter(
    store: RunStore, rows: Sequence[Row], registry: Registry, data_root: Path, amounts: dict[str, int]
) -> tuple[bytes, Chapter]:
    from reports.overlay_page import SIDE, Chapter, Part
    from reports.overlay_runs import choose, prediction_strips, read_mask_run, training_strips
    from reports.overlay_sheet import Table, contact_sheet, legend

    data = _data(store.spec(rows[0]["run_key"]), rows[0]["run_key"], registry, data_root)
    several = len({row["protocol"] for row in rows}) > 1
    named = [f"{row['method']} · {row['protocol']}" if several else row["method"] for row in rows]
    judges = [read_mask_run(store.folder(row["run_key"]), name, data) for row, name in zip(rows, named, strict=True)]
    title = f"{rows[0]['dataset']} · {rows[0]['noise']} · seed {rows[0]['seed']}"
    keys = legend(data.objects, referenced=data.referenced, void=data.has_void)
    shared = choose(data, judges, **amounts)
    of_all = "" if len(judges) == 1 else ", by the mean rank over the methods"
    tables = [
        Table(f"training images: the worst first{of_all}, then some at random", training_strips(data, judges, shared.train)),
        Table("test images: the lowest Dice first, then some at random", prediction_strips(data, judges, shared.test)),
    ]
    sheet = contact_sheet(title, keys, tables)

    def parts() -> Iterator[Part]:
        for row, judge in zip(rows, judges, strict=True):
            own = choose(data, [judge], **amounts)
            training = Table("training images", training_strips(data, [judge], own.train, SIDE))
            yield Part(judge.method, _facts(row), [training, Table("test images", prediction_strips(data, [judge], shared.test, SIDE))])

    return sheet, Chapter(title, keys, named, parts())


def _data(spec: RunSpec, key: str, registry: Registry, data_root: Path) -> MaskData:
    """The images and masks of a run, read again; BenchmarkError if they are others by now."""
    from benchmark.prepare import prepare
    from benchmark.resolve import dataset_fingerprint, instantiate_dataset
    from reports.overlay_runs import MaskData

    if dataset_fingerprint(instantiate_dataset(registry, spec.dataset), data_root) != spec.dataset.fingerprint:
        again = "give the command of the run again and show the run that it makes"
        raise BenchmarkError(f"{spec.dataset.name} has changed since run {key}, so its images cannot be shown; {again}")
    prepared = prepare(spec, registry, data_root)
    arrays, given, true = prepared.arrays, prepared.labels["train"], prepared.truth["train"]
    rest = (prepared.truth["test"], arrays.tasks, arrays.classes, prepared.knows_truth)
    return MaskData(prepared.inputs, prepared.indices, arrays.paths, given, true, *rest)


def _facts(row: Row) -> list[str]:
    """What a run's numbers are, in a line or two."""
    told = [f"run {row['run_key']}, {row['protocol']}"]
    numbers = [("Dice on test images", "selected/dice"), ("F1 of flagged pixels", "detection/f1")]
    told += [f"{name} {100 * row[key]:.1f} %" for name, key in numbers if row.get(key) is not None]
    before, after = (row.get(f"correction/dice_{when}") for when in ("before", "after"))
    if before is not None and after is not None:
        told.append(f"Dice of the given masks {100 * before:.1f} → {100 * after:.1f} % when corrected")
    return [" · ".join(told)]


# --------------------------------------------------------------------------------------------------------------- files


def _write(out: Path, files: dict[str, bytes]) -> None:
    """Put all files into the folder, once all of them are on the disk; what an earlier gallery left there goes."""
    from benchmark.files import TEMPORARY, atomic_write_bytes

    made = not out.exists()
    drafts = {out / f"{name}{TEMPORARY}": out / name for name in files}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for draft, content in zip(drafts, files.values(), strict=True):
            atomic_write_bytes(draft, content)
        for entry in out.iterdir():
            if _OURS.fullmatch(entry.name) and entry.name not in files:
                entry.unlink()
        for draft, path in drafts.items():
            draft.replace(path)
    except OSError as error:
        for draft in drafts:
            with contextlib.suppress(OSError):
                draft.unlink()
        if made:
            with contextlib.suppress(OSError):
                out.rmdir()
        raise BenchmarkError(f"{out} cannot be written: {error.strerror or error}; choose another --out") from error
