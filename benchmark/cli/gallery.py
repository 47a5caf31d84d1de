"""``gallery``: masks over their images, what methods hold for wrong in them, and what they predict, as pictures."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli import options as opt
from benchmark.cli.output import aside, note, warnings_shown, write, write_json
from benchmark.cli.results import Names, existing_store
from benchmark.errors import BenchmarkError, unknown_name
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
    check_free(out)
    registry = opt.registry_of(plugin)
    names = {"methods": _names(methods), "datasets": _names(datasets), "noise": _names(noise)}
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
    from benchmark.spec import canonical_json
    from reports.rows import flatten_all, select

    results = [_named(store, key) for key in dict.fromkeys(_key(store, text) for text in keys)] if keys else list(store.rows())
    rows = [row for row in flatten_all(results) if row["task"] == "segmentation" and row["status"] == "done"]
    if not rows:
        raise BenchmarkError(f"no finished runs on masks in {store.root}; see: python -m benchmark status --runs {store.root}")
    rows = select(rows, **names)
    if not rows:
        raise BenchmarkError("no run on masks has all of these names at once; choose other --methods, --datasets or --noise")
    if not keys:
        order = {method: place for place, method in enumerate(names["methods"] or (TASKS["segmentation"].baseline,))}
        rows.sort(key=lambda row: (order.get(row["method"], len(order)), row["method"], row["protocol"], row["run_key"]))
    first: dict[str, int] = {}
    drawn: dict[str, list[Row]] = {}
    for row in rows:
        same = canonical_json([row["spec"]["dataset"], row["spec"]["noise"]])
        first[same] = min(row["seed"], first.get(same, row["seed"]))
    for row in rows:
        spec = row["spec"]
        if keys or row["seed"] == first[canonical_json([spec["dataset"], spec["noise"]])]:
            parts = [spec["protocol"][name] for name in ("test_fraction", "val_fraction")]  # of other parts, images would differ
            drawn.setdefault(canonical_json([spec["dataset"], spec["noise"], row["seed"], *parts]), []).append(row)
    sheets = sorted(drawn.values(), key=lambda group: (group[0]["dataset"], group[0]["noise"], group[0]["seed"]))
    return dict(zip(_file_names(sheets), sheets, strict=True)), len(rows) - sum(map(len, sheets))


def _key(store: RunStore, text: str) -> str:
    """The key that a user meant by it or by its first digits."""
    known = store.keys()
    found = [key for key in known if text and key.startswith(text.lower())]
    if not found:
        raise unknown_name("run", text, known, f"see: python -m benchmark status --runs {store.root}")
    if len(found) > 1:
        raise BenchmarkError(f"'{text}' begins {len(found)} keys: {', '.join(found[:6])}{', …' * (len(found) > 6)}; write more digits")
    return found[0]


def _named(store: RunStore, key: str) -> dict[str, Any]:
    """The result of a run that was asked for; BenchmarkError if there is nothing to show of it."""
    result = store.result(key)
    if result is None:
        raise BenchmarkError(f"run {key} has no result yet; see: python -m benchmark status --runs {store.root}")
    task = (result.get("data") or {}).get("task", "classification")
    if task != "segmentation":
        instead = f"python -m benchmark relabel export {key} --runs {store.root} --out DIR"
        raise BenchmarkError(
            f"run {key} is of {task}, not on masks, so there is nothing to lay over its images; look at them with: {instead}"
        )
    if result.get("status", "done") != "done":
        raise BenchmarkError(f"run {key} is {result['status']} ({result.get('reason')}), so it says nothing of its masks; name another")
    return result


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


def check_free(out: Path) -> None:
    """Refuse a folder that holds anything but an earlier gallery.

    Raises:
        BenchmarkError: other files, a file of that name, or a place where nothing can be written.
    """
    if out.exists() and not out.is_dir():
        raise BenchmarkError(f"--out {out} is a file; give a folder")
    there = next(folder for folder in (out, *out.parents, Path()) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise BenchmarkError(f"--out {out}: nothing can be written to {there}; give another folder")
    others = sorted(entry.name for entry in out.iterdir() if not _OURS.fullmatch(entry.name)) if out.is_dir() else []
    if others:
        raise BenchmarkError(f"--out {out} holds {others[0]}, which no gallery wrote; choose another folder")


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


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
