"""From a run to a folder for annotators: a table, pictures, Label Studio's files, a gallery, and what the import checks."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import secrets
import shlex
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import benchmark
from benchmark.errors import BenchmarkError
from benchmark.files import TEMPORARY
from benchmark.prepare import PreparedData, content_digest, prepare
from benchmark.registry import Registry
from benchmark.relabel import gallery, label_studio, sheet
from benchmark.relabel.images import SHOWN_BY_BROWSERS, image_files, png, png_of_file, thumbnail
from benchmark.relabel.manifest import FILE, GIVEN, Label, Manifest, labels_table, read_manifest, set_name
from benchmark.relabel.runs import FinishedRun
from benchmark.relabel.selection import Candidate, most_suspicious
from benchmark.resolve import dataset_fingerprint, instantiate_dataset, instantiate_noise, noise_fingerprint

ANSWERS, PICTURES = "answers.csv", "images"
WRITTEN = frozenset({ANSWERS, PICTURES, FILE, GIVEN, "gallery.html", "label-studio.json", "label-studio.xml", "README.txt"})
"""All that an export writes: what else lies in its folder is somebody's."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        manifest: of the export.
        suspects: how many of the samples the method suspects.
        pictures: how many pictures were made, where the data set has no file that can be shown.
    """

    manifest: Manifest
    suspects: int
    pictures: int


def export(run: FinishedRun, registry: Registry, data_root: Path, out: Path, top: int, answered: frozenset[int] = frozenset()) -> Exported:
    """Write the samples that are most worth a look into a folder, which appears as a whole or not at all.

    Args:
        run: a finished run.
        registry: where its plugins are.
        data_root: the folder for downloads and caches.
        out: the folder; an earlier export of the same run is replaced, unless somebody has begun to answer it.
        top: at most so many samples.
        answered: indices that are left out.

    Raises:
        BenchmarkError: the folder holds something else, the data are not those of the run, nothing is left to export, or an image
            cannot be read.
    """
    check_free(out, run.key)
    _check_files(run, registry, data_root)
    prepared = prepare(run.spec, registry, data_root)
    _check_same(run, prepared)
    classes = [name.strip() for name in prepared.arrays.classes]
    chosen = most_suspicious(run.samples, classes, top, answered)
    if not chosen:
        raise BenchmarkError(f"all {len(answered)} samples of run {run.key} that could be exported have been answered")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = out.with_name(f"{out.name}.{secrets.token_hex(4)}{TEMPORARY}")
        draft.mkdir()
    except OSError as error:
        raise BenchmarkError(f"{out} cannot be written: {error.strerror or error}; choose another --out") from error
    try:
        written = _write(draft, out.resolve(), run, prepared, data_root, chosen, classes)
        _put_in_place(draft, out)
    except OSError as error:
        raise BenchmarkError(f"{out} cannot be written: {error.strerror or error}; choose another --out") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return written


def check_free(out: Path, run_key: str) -> None:
    """Refuse a folder that holds anything but an untouched export of the same run.

    Raises:
        BenchmarkError: another run's export, answers that somebody has begun to give, other files, or a file of that name.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise BenchmarkError(f"{out} is a file; choose another --out")
    names = {entry.name for entry in out.iterdir()}
    if not names:
        return
    if FILE not in names:
        raise BenchmarkError(f"{out} holds {min(names)} and no export; choose another --out")
    found = read_manifest(out)
    if found.run_key != run_key:
        raise BenchmarkError(f"{out} holds an export of run {found.run_key}, not of {run_key}; choose another --out")
    others = sorted(names - WRITTEN)
    if others:
        raise BenchmarkError(f"{out} holds {others[0]}, which no export wrote; choose another --out")
    answers = out / ANSWERS
    if answers.is_file() and hashlib.sha256(answers.read_bytes()).hexdigest() != found.answers:
        raise BenchmarkError(f"{answers} has been changed since it was written; import it, or choose another --out")


def _check_files(run: FinishedRun, registry: Registry, data_root: Path) -> None:
    """Refuse a run whose files hold something else by now, as labels do after an import: its data cannot be read again."""
    data, model = run.spec.dataset, run.spec.noise
    noise = instantiate_noise(registry, model)
    planned = [data.fingerprint, *(part.fingerprint for part in model.parts or (model,))]
    now: list[str | None] = [dataset_fingerprint(instantiate_dataset(registry, data), data_root)]
    now += [noise_fingerprint(registry, part, data_root) for part in getattr(noise, "parts", (noise,))]
    if now != planned:
        what = (
            f"{data.name}{' or its label_file' * ('label_file' in data.params)}"
            if now[0] != planned[0]
            else f"what noise {noise.name} reads"
        )
        again = "give the command of the run again and export the run that it makes"
        raise BenchmarkError(f"{what} has changed since run {run.key}, so its data cannot be shown; {again}")


def _check_same(run: FinishedRun, prepared: PreparedData) -> None:
    """Refuse data whose training part is not the one that the run saved."""
    index, given = run.samples["index"], run.samples["given"]
    if not (np.array_equal(index, prepared.indices["train"]) and np.array_equal(given, prepared.labels["train"])):
        raise BenchmarkError(f"the data of run {run.key} are other ones by now: their training labels differ; run the cell again")


def _write(
    draft: Path, final: Path, run: FinishedRun, prepared: PreparedData, data_root: Path, chosen: Sequence[Candidate], classes: list[str]
) -> Exported:
    """Write all files of the export; addresses in them are those of the final folder."""
    index, labels = (np.concatenate([values["train"], values["val"]]) for values in (prepared.indices, prepared.labels))
    content, paths = content_digest(prepared.arrays), prepared.arrays.paths
    files, shown = _images(draft, final, prepared, data_root, chosen)
    name = set_name(content, run.key, index, labels)
    rows = [_row(name, candidate, classes, file) for candidate, file in zip(chosen, files, strict=True)]
    own = {i: "" if paths is None else paths[i] for i in index.tolist()}
    _check_names([*classes, *own.values()])
    given = labels_table({i: Label(own[i], classes[label]) for i, label in zip(index.tolist(), labels.tolist(), strict=True)})
    answers = sheet.table(rows)
    manifest = Manifest(
        set=name,
        run_key=run.key,
        content=content,
        dataset={"label": run.spec.labels.get("dataset", run.spec.dataset.name), **run.spec.dataset.to_dict()},
        noise={"label": run.spec.labels.get("noise", run.spec.noise.name), **run.spec.noise.to_dict()},
        seed=run.spec.seed,
        classes=classes,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"benchmark": benchmark.__version__, "python": platform.python_version()},
        answers=hashlib.sha256(answers).hexdigest(),
        given=hashlib.sha256(given).hexdigest(),
        samples=[{"index": row["index"], "path": own[row["index"]], "given": row["given"]} for row in rows],
    )
    suspects = sum(bool(run.samples["suspect"][candidate.row]) for candidate in chosen)
    for file, text in _for_label_studio(run, rows, shown, final, classes).items():
        (draft / file).write_bytes(text.encode("utf-8", "replace"))
    page = _gallery(run, manifest, suspects, rows, (thumbnail(_pixels(prepared, candidate)) for candidate in chosen))
    (draft / "gallery.html").write_bytes(page.encode("utf-8", "replace"))
    (draft / ANSWERS).write_bytes(answers)
    (draft / GIVEN).write_bytes(given)
    (draft / FILE).write_bytes(manifest.to_bytes())
    return Exported(manifest, suspects, sum(file.parent == final / PICTURES for file in shown))


def _check_names(names: Sequence[str]) -> None:
    """Refuse names of files or classes that no table can hold: those that a file system allows although they are no text."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise BenchmarkError(f"the name {name!r} is not UTF-8, so no table can hold it; rename it, and run the cell again") from None


def _row(name: str, candidate: Candidate, classes: Sequence[str], file: Path | None) -> dict[str, Any]:
    """One line of ``answers.csv``."""
    return {
        "set": name,
        "index": candidate.index,
        "path": f"{PICTURES}/{candidate.index}.png" if file is None else str(file),
        "given": classes[candidate.given],
        "suggestion": None if candidate.suggestion is None else classes[candidate.suggestion],
        "confidence": None if candidate.confidence is None else round(candidate.confidence, 4),
        "quality": candidate.quality,
        "reason": candidate.reason,
    }


def _for_label_studio(
    run: FinishedRun, rows: Sequence[dict[str, Any]], shown: Sequence[Path], final: Path, classes: Sequence[str]
) -> dict[str, str]:
    """The texts that Label Studio and whoever serves it read, by file name."""
    places = label_studio.places_of(shown, final / PICTURES)
    tasks = [label_studio.task(row, places.address(file), f"{_method(run)} {run.key}") for row, file in zip(rows, shown, strict=True)]
    command = f"python -m benchmark relabel import FILE --export {shlex.quote(str(final))} --labels labels.csv"
    return {
        "label-studio.json": json.dumps(tasks, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        "label-studio.xml": label_studio.interface(classes),
        "README.txt": label_studio.readme(places, command),
    }


def _gallery(
    run: FinishedRun, manifest: Manifest, suspects: int, rows: Sequence[dict[str, Any]], thumbnails: Iterable[tuple[str, bytes]]
) -> str:
    notes = [
        f"{_method(run)} on {manifest.dataset['label']}, noise {manifest.noise['label']}, seed {run.spec.seed}; "
        f"run {run.key}, set {manifest.set}",
        f"{len(rows):,} of {len(run.samples['index']):,} training samples, {suspects:,} of them suspected: "
        "suspects before others, the lowest label quality first",
        f"classes: {', '.join(manifest.classes)}",
    ]
    return gallery.page("Labels worth a look", notes, ((row, *seen) for row, seen in zip(rows, thumbnails, strict=True)))


def _method(run: FinishedRun) -> str:
    return run.spec.labels.get("method", run.spec.method.name)


def _images(
    draft: Path, final: Path, prepared: PreparedData, data_root: Path, chosen: Sequence[Candidate]
) -> tuple[list[Path | None], list[Path]]:
    """For each sample the file that the data set has, if it has one, and the file that a browser can show.

    The latter is a picture made here where there is no file, where a browser does not know its format, and where noise has put a
    foreign image in its place.
    """
    paths, foreign = prepared.arrays.paths, prepared.foreign["train"]
    if foreign.any() and prepared.dataset.options.features:
        raise BenchmarkError(
            "open-set noise put foreign images into this run as features, which nobody can look at; export a run on pixels"
        )
    found = image_files(prepared.dataset, data_root, None if paths is None else [paths[candidate.index] for candidate in chosen])
    files: list[Path | None] = []
    shown: list[Path] = []
    for place, candidate in enumerate(chosen):
        file = None if found is None or foreign[candidate.row] else found[place]
        files.append(file)
        if file is not None and file.suffix.lower() in SHOWN_BY_BROWSERS:
            shown.append(file)
            continue
        (draft / PICTURES).mkdir(exist_ok=True)
        picture = png(_pixels(prepared, candidate)) if file is None else png_of_file(file)
        (draft / PICTURES / f"{candidate.index}.png").write_bytes(picture)
        shown.append(final / PICTURES / f"{candidate.index}.png")
    return files, shown


def _pixels(prepared: PreparedData, candidate: Candidate) -> np.ndarray:
    """(H, W, 1 or 3) uint8: what the run saw of a sample, or, where that was features, the image behind them."""
    if prepared.dataset.options.features:
        return np.asarray(prepared.arrays.images[candidate.index])
    return prepared.inputs["train"][candidate.row]


def _put_in_place(draft: Path, out: Path) -> None:
    """Rename the finished folder to its name; what was there goes only when the new one is in place."""
    _sync(draft)
    if not out.exists():
        draft.rename(out)
        return
    old = out.with_name(f"{draft.name}.old{TEMPORARY}")
    out.rename(old)
    try:
        draft.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Bring the files' contents to the disk before the folder appears under its name."""
    for file in folder.iterdir():
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
