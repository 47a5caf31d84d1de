"""The figures of runs on one set of slides, and what the page says beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from reports import hard_negatives, heatmaps, rounds_figure, tuning_cost
from reports.bag_pages import Chapter, Part, Picture
from reports.bag_runs import BagRun, SlideData, choose_slides, inherited_precision, maps_of, negatives_of, rounds_of
from reports.rows import Row

__all__ = ["OF_SLIDE", "chapter"]

OF_SLIDE = 3
"""Hard negatives of one slide, lest one with an artefact fill the gallery."""

FACTS = {
    "AUROC of test slides": "selected/auroc",
    "of their tiles": "instances/auroc",
    "in positive slides": "instances/auroc_positive_bags",
    "FROC": "lesions/froc",
}
"""What is told of a run → key of its row."""


def chapter(
    runs: Sequence[BagRun],
    every: Sequence[Row],
    data: SlideData,
    folder: Path,
    rounds: str,
    *,
    slides: int,
    negatives: int,
    run_folder: Callable[[str], Path],
) -> Chapter:
    """Draw runs on the same slides.

    Args:
        runs: one a method, or a setting of one.
        every: rows of which those of the same cell, of whatever seed, are in the figures of all runs together.
        data: the slides.
        folder: a folder a run is written there, named by its key, and one for rounds and fine-tuning, of all runs together.
        rounds: the name of the latter.
        slides: how many test slides are drawn, the same of all runs.
        negatives: how many hard negatives, of each run its own.
        run_folder: where the run of a key lies.
    """
    called = np.mean([run.arrays["test_selected"][:, 1] for run in runs], axis=0)
    chosen = choose_slides(data.test, called, slides)
    several = len({run.row["protocol"] for run in runs}) > 1
    parts = [_part(run, data, chosen, negatives, folder / str(run.row["run_key"]), several) for run in runs]
    first = runs[0].row
    told = f"{len(data.test)} test slides, {int(data.test.sum())} of them {data.classes[1]}; {len(data.given)} training slides"
    if first.get("noise/inherited_noise") is not None:
        share = 100 * first["noise/inherited_noise"]
        told += f", where {share:.1f} % of the tiles that have the label of a slide labelled {data.classes[1]} are {data.classes[0]}"
    title = f"{first['dataset']} · {first['noise']} · seed {first['seed']}"
    cells = {run.row["identity"]["cell"] for run in runs}
    alike = [row for row in every if row["identity"]["cell"] in cells]
    return Chapter(title, [told], _rounds(alike, folder / rounds) + _tuning(alike, folder / rounds, run_folder), parts)


def _part(run: BagRun, data: SlideData, chosen: np.ndarray, negatives: int, folder: Path, several: bool) -> Part:
    """The figures of one run, and why one is missing."""
    pictures, notes, method = list[Picture](), [_facts(run.row)], str(run.row["method"])
    if len(chosen) and "test_positions" in run.arrays:
        written = heatmaps.write_figure(maps_of(run, data, chosen), folder, range(len(chosen)))
        seen = (
            f"A row for each of {len(chosen)} slides: maps of its tiles with the scores of {method}, and beside them what is known of them"
        )
        pictures.append(Picture(written[1], f"{method}: test slides as maps of their tiles", seen))
    elif len(chosen):
        notes.append("no maps: the data set does not know where the tiles lie")
    hardest = negatives_of(run, data, negatives, OF_SLIDE) if negatives else None
    if hardest is not None:
        written = hard_negatives.write_figure(hardest, folder, negatives, OF_SLIDE)
        seen = f"The tiles that {method} scores highest, each with its rank, score and slide"
        pictures.append(Picture(written[1], f"{method}: hard negatives of the training slides, by the final epoch", seen))
    elif negatives and data.pixels is None:
        notes.append("no hard negatives: the tiles are features, which nobody can look at")
    elif negatives:
        notes.append("no hard negatives: no training slide is labelled negative")
    return Part(f"{method} · {run.row['protocol']}" if several else method, notes, pictures)


def _rounds(alike: Sequence[Row], folder: Path) -> list[Picture]:
    """Pseudo labels of all seeds of these cells, where any method has some."""
    found = rounds_of(alike)
    if not found:
        return []
    written = rounds_figure.write_figure(found, folder, inherited_precision(alike))
    seen = f"Precision and recall from round to round, a line each of {', '.join(found)}"
    return [Picture(written[1], "Pseudo labels of training tiles against the truth, in slides that are labelled positive", seen)]


def _tuning(alike: Sequence[Row], folder: Path, run_folder: Callable[[str], Path]) -> list[Picture]:
    """What fewer negatives in fine-tuning save, where runs of a cell differ in how many they take."""
    found = tuning_cost.costs_of(alike, run_folder)
    if not found:
        return []
    written = tuning_cost.write_figure(found, folder)
    told = "Fine-tuning on fewer negatives: what it saves, and how well tiles are found; times hold where runs did not share the machine"
    return [Picture(written[1], told, tuning_cost.in_words(found))]


def _facts(row: Row) -> str:
    """A run's numbers in a line."""
    told = [f"run {row['run_key']}, {row['protocol']}"]
    return " · ".join(told + [f"{name} {100 * row[key]:.1f} %" for name, key in FACTS.items() if row.get(key) is not None])
