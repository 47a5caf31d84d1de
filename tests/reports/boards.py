"""Leaderboards of any size without training: results by hand, evidence and galleries from a formula."""

from __future__ import annotations

import dataclasses
import io
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from reports.board import Board, Chapter, Provenance
from reports.evidence import Band, Calibration, Confusion, Detection, Evidence
from reports.overall import Omnibus, Overall, Standing
from reports.published import Published
from reports.rows import flatten_all
from reports.suspects import Gallery, Suspect
from reports.tables import Comparison, Entry, Group, Summary, compare

METHODS = ("ce", "gce", "elr", "coteaching", "hsa:chaoyang", "cl", "forward", "mixup", "divide", "jocor", "bootstrap", "sce")
CLASSES = ("normal", "serrated", "adenocarcinoma", "adenoma", "lymphocyte", "mucosa", "muscle", "stroma", "debris")


def make_board(
    result: Callable[..., dict[str, Any]],
    *,
    methods: Sequence[str] = ("ce", "gce", "elr"),
    datasets: Sequence[str] = ("cells",),
    noises: Sequence[str] = ("symmetric:0.4",),
    seeds: int = 2,
    epochs: int = 6,
    pictures: int = 3,
    classes: Sequence[str] = CLASSES[:4],
    side: int = 28,
) -> Board:
    """A board of all methods on all data with all noises.

    Accuracy of method m, data d, noise n and seed s is 0.9 − 0.01 m − 0.02 d − 0.03 n + 0.002 s: the first method is the best.
    """
    results = []
    for d, dataset in enumerate(datasets):
        for n, noise in enumerate(noises):
            for m, method in enumerate(methods):
                for s in range(seeds):
                    accuracy = 0.9 - 0.01 * m - 0.02 * d - 0.03 * n + 0.002 * s
                    more = {"cost/seconds": 10.0 + 5 * ((7 * m) % 5)}
                    results.append(result(method, s, accuracy, dataset=dataset, noise=noise, metrics=more))
    return board_of(results, epochs=epochs, pictures=pictures, classes=classes, side=side)


def board_of(results: Sequence[dict[str, Any]], title: str = "Leaderboard", **sizes: Any) -> Board:
    """A board of some results."""
    comparison = with_overall(with_intervals(compare(flatten_all(results))))
    drawn = random.Random(0)
    picture = png(sizes.get("side", 28), drawn)
    classes, epochs, pictures = sizes.get("classes", CLASSES[:4]), sizes.get("epochs", 6), sizes.get("pictures", 3)
    behind = {
        (position, entry.method): evidence(entry, classes, epochs, drawn)
        for position, group in enumerate(comparison.groups)
        for entry in group.entries
        if entry.seeds
    }
    galleries = {p: gallery(group, classes, pictures, picture) for p, group in enumerate(comparison.groups)}
    where = Provenance("python -m benchmark report --out board", "0.1.0", "runs", (), {"cpu, Python 3.13": len(results)}, {"0a1b2c3": 4})
    return Board(title, (Chapter(comparison.task, comparison, behind, galleries),), where)


def with_intervals(comparison: Comparison) -> Comparison:
    """Intervals of mean ± 0.01, and every second entry close to the best."""

    def entry(old: Entry) -> Entry:
        values = {
            key: value
            if value.mean is None or value.n < 2
            else Summary(value.mean, value.sd, value.n, value.mean - 0.01, value.mean + 0.01)
            for key, value in old.values.items()
        }
        return dataclasses.replace(old, values=values, close=None if old.rank in (None, 1) else old.rank == 2)

    groups = [dataclasses.replace(group, entries=tuple(map(entry, group.entries))) for group in comparison.groups]
    return dataclasses.replace(comparison, groups=tuple(groups))


def with_overall(comparison: Comparison) -> Comparison:
    """Standings by hand: a method that lacks a condition has none of the numbers."""
    key, groups = comparison.rank.key, comparison.groups
    methods = {entry.method: entry.plugin for group in groups for entry in group.entries}
    ranks = {name: [e.rank for g in groups for e in g.entries if e.method == name and e.rank is not None] for name in methods}
    means = {name: [e.values[key].mean for g in groups for e in g.entries if e.method == name and e.rank is not None] for name in methods}
    standings = []
    for name, plugin in methods.items():
        missing, wins = len(groups) - len(ranks[name]), sum(rank == 1 for rank in ranks[name])
        if missing:
            standings.append(Standing(name, plugin, None, None, None, None, wins, missing))
            continue
        mean, rank = sum(means[name]) / len(groups), sum(ranks[name]) / len(groups)
        standings.append(Standing(name, plugin, mean, mean - 0.02, mean + 0.02, rank, wins, 0, None if rank == 1 else rank <= 2))
    standings.sort(key=lambda standing: (standing.average_rank is None, standing.average_rank or 0, standing.method))
    compared = {s.method: tuple(ranks[s.method]) for s in standings if not s.missing}
    too_few = "" if len(groups) >= 6 else f"too few to test: {len(groups)} conditions of 6"
    friedman = None if too_few else Omnibus("Friedman", 23.1, 0.0004)
    cliques = () if too_few else (tuple(s.method for s in standings[:2]),)
    found = Overall(
        tuple(range(len(groups))), {}, tuple(standings), compared, friedman, "" if too_few else "nemenyi", {}, None, cliques, too_few
    )
    return dataclasses.replace(comparison, overall=found)


def with_published(comparison: Comparison) -> Comparison:
    """A printed figure for the first entry of each group."""
    printed = Published("last/accuracy", 0.87, 0.004, 5, "Author et al., 2021, Table 2", "ResNet-34, 120 epochs", 0.021)
    groups = [
        dataclasses.replace(g, entries=(dataclasses.replace(g.entries[0], published=(printed,)), *g.entries[1:])) for g in comparison.groups
    ]
    return dataclasses.replace(comparison, groups=tuple(groups))


def band(mean: Sequence[float], width: float = 0.01) -> Band:
    return Band(tuple(mean), tuple(max(0.0, value - width) for value in mean), tuple(min(1.0, value + width) for value in mean))


def evidence(entry: Entry, classes: Sequence[str], epochs: int, drawn: random.Random) -> Evidence:
    """Curves that rise to the entry's accuracy; the fit to wrong labels rises later."""
    top = entry.values["selected/accuracy"].mean or 0.5
    steps = range(epochs)
    rise = [1 - math.exp(-5 * (e + 1) / epochs) for e in steps]
    curves = {
        "test": band([top * value + 0.004 * drawn.random() for value in rise]),
        "validation": band([0.7 * top * value + 0.008 * drawn.random() for value in rise], 0.02),
        "fit_right": band([0.98 * value for value in rise]),
        "fit_wrong": band([0.6 * value**4 for value in rise], 0.03),
    }
    K = len(classes)
    counts = tuple(tuple(100 if i == j else drawn.randrange(12) for j in range(K)) for i in range(K))
    recall = [100 / sum(counts[i]) for i in range(K)]
    most = sorted(((i, j, counts[i][j] / sum(counts[i])) for i in range(K) for j in range(K) if i != j), key=lambda each: -each[2])
    edges = tuple(bin / 10 for bin in range(11))
    confidence = tuple(None if bin < 3 else (bin + 0.5) / 10 for bin in range(10))
    accuracy = tuple(None if value is None else max(0.0, value - 0.08) for value in confidence)
    share = tuple(0.0 if value is None else 1 / 7 for value in confidence)
    found = [step / 40 for step in range(1, 41)]
    return Evidence(
        seeds=entry.seeds,
        missing={},
        epochs=tuple(steps),
        curves=curves,
        selected=epochs * 0.6,
        classes=tuple(classes),
        confusion=Confusion(counts if K <= 12 else None, band(recall, 0.04), tuple(most[:10])),
        calibration=Calibration(edges, confidence, accuracy, share),
        detection=Detection(tuple(found), band([0.95 - 0.5 * value**2 for value in found], 0.03), 0.4),
        cost={"seconds": 12.0, "samples_per_second": 3210.5, "peak_memory_mb": 975.7, "parameters": 53212.0},
    )


def gallery(group: Group, classes: Sequence[str], pictures: int, picture: bytes) -> Gallery:
    """Every second suspect is labelled wrongly; of the last one nobody knows the truth."""
    voters = tuple(entry.method for entry in group.entries if entry.seeds)
    suspects = [
        Suspect(
            index=10 * place,
            path=f"slides/tile_{place:04d}.png",
            given=classes[place % len(classes)],
            suggested=classes[(place + 1) % len(classes)],
            true=None if place == pictures - 1 else classes[(place + place % 2) % len(classes)],
            rank=0.001 * (place + 1),
            votes=max(1, len(voters) - place % 3),
            voters=len(voters),
            picture=("image/png", picture),
        )
        for place in range(pictures)
    ]
    return Gallery(0, voters, 1000, tuple(suspects), "" if suspects else "no run has kept the quality of its labels")


def png(side: int, drawn: random.Random) -> bytes:
    """Noise in blocks of two pixels."""
    from PIL import Image

    stream = io.BytesIO()
    small = Image.frombytes("RGB", (side // 2, side // 2), bytes(drawn.randrange(120, 256) for _ in range(3 * (side // 2) ** 2)))
    small.resize((side, side), Image.Resampling.NEAREST).save(stream, "png")
    return stream.getvalue()
