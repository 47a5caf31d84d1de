"""How well ``clean`` finds wrong labels that are known to us and not to it, beside each method and Datalab; tables of docs/results.md.

Datalab needs a package whose name is that of a folder of this project, so it is asked in an environment of its own:
``BENCHMARK_DATALAB`` names a python that has ``cleanlab[datalab]``. ``BENCHMARK_DATA`` names the folder of the two larger sets.
"""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score

pytestmark = pytest.mark.perf

SETS = ("digits", "tissue", "crc_nuclei27", "pneumoniamnist_full")
NOISES = (("symmetric", 0.1), ("symmetric", 0.2), ("pairflip", 0.1))
SEEDS = tuple(range(int(os.environ.get("BENCHMARK_CLEAN_SEEDS", "2"))))
DATALAB = """
import sys
import numpy as np
from cleanlab import Datalab
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
given = np.load(sys.argv[1], allow_pickle=False)
x, y = given["features"], given["labels"]
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
found = {}
asked = {"features": StandardScaler().fit_transform(x)}, {"pred_probs": cross_val_predict(model, x, y, cv=5, method="predict_proba")}
for name, how in zip(("neighbours", "logistic"), asked):
    lab = Datalab({"label": y}, label_name="label", verbosity=0)
    lab.find_issues(**how, issue_types={"label": {}})
    issues = lab.get_issues("label")
    found[name + "_score"], found[name + "_flag"] = issues["label_score"].to_numpy(), issues["is_label_issue"].to_numpy()
np.savez(sys.argv[2], **found)
"""


@dataclass(frozen=True)
class Case:
    """A set of images with known wrong labels."""

    name: str
    kind: str
    rate: float
    seed: int

    @property
    def label(self) -> str:
        return f"{self.name}-{self.kind}-{self.rate:g}-{self.seed}"

    def write(self, folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A csv and its images in ``folder``; returns the images as they are read, the labels that stand there, and which are wrong."""
        images, true, classes = images_of(self.name, folder.parent)
        given = flipped(true, classes, self.kind, self.rate, self.seed)
        write(folder, images, given)
        return images, given, given != true


def write(folder: Path, images: np.ndarray, given: np.ndarray) -> None:
    """A file an image, and labels.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    for row, image in enumerate(images):
        path = folder / f"{row:05d}.png"
        if not path.exists():
            Image.fromarray(image.squeeze()).save(path)
    lines = [f"{row:05d}.png,class {label}" for row, label in enumerate(given)]
    (folder / "labels.csv").write_text("path,label\n" + "\n".join(lines) + "\n")


def images_of(name: str, cache: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """(n, H, W, C) uint8 images, (n,) true labels, K."""
    if name in SETS[:2]:
        from benchmark.registry import Registry

        arrays = Registry().load("dataset", name)().load(cache)
        return np.asarray(arrays.images), np.asarray(arrays.labels), len(arrays.classes)
    file = Path(os.environ.get("BENCHMARK_DATA", "")) / f"{name}.npz"
    if "BENCHMARK_DATA" not in os.environ or not file.is_file():
        pytest.skip(f"BENCHMARK_DATA names no folder with {name}.npz")
    archive = np.load(file, allow_pickle=False)
    if "images" in archive.files:
        images, labels = archive["images"], archive["labels"]
    else:
        parts = ("train", "val", "test")
        images = np.concatenate([archive[f"{part}_images"] for part in parts])[..., None]
        labels = np.concatenate([archive[f"{part}_labels"] for part in parts]).astype(np.int64).ravel()
    some = np.random.default_rng(0).permutation(len(labels))[:1500]
    return images[some], labels[some], int(labels.max()) + 1


def flipped(true: np.ndarray, classes: int, kind: str, rate: float, seed: int) -> np.ndarray:
    """Labels of which exactly a share is wrong: another class at random, or always the next one."""
    rng = np.random.default_rng([seed, 1])
    rows = rng.permutation(len(true))[: round(rate * len(true))]
    given = true.copy()
    given[rows] = (true[rows] + (1 if kind == "pairflip" else rng.integers(1, classes, len(rows)))) % classes
    return given


def worth(wrong: np.ndarray, score: np.ndarray, flagged: np.ndarray) -> tuple[float, float, float, int]:
    """Average precision; precision and recall of the flagged, in percent; how many they are."""
    hits, size = int((wrong & flagged).sum()), int(flagged.sum())
    return 100 * float(average_precision_score(wrong, score)), 100 * hits / size if size else np.nan, 100 * hits / wrong.sum(), size


def datalab(features: np.ndarray, labels: np.ndarray, folder: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, suspicion and flags of its two ways."""
    if "BENCHMARK_DATALAB" not in os.environ:
        return
    asked, answer = folder / "asked.npz", folder / "answer.npz"
    np.savez(asked, features=features, labels=labels)
    subprocess.run([os.environ["BENCHMARK_DATALAB"], "-c", DATALAB, asked.resolve(), answer.resolve()], check=True, cwd=folder)
    found = np.load(answer, allow_pickle=False)
    for name in ("neighbours", "logistic"):
        yield f"Datalab, {name}", -found[f"{name}_score"], found[f"{name}_flag"]


def compare(case: Case, folder: Path, features: str) -> dict[str, Any]:
    """One row of each way of finding wrong labels, and what was promised."""
    from benchmark import clean_labels
    from benchmark.data.texture import texture

    data = folder / case.label
    images, given, wrong = case.write(data)
    out = folder / f"{case.label}-{features or 'pixels'}"
    found = clean_labels(data / "labels.csv", out, features=features, seed=case.seed, model=False, jobs=1 if features else 2, quiet=True)
    verdict, scores = found.answer.verdict, found.answer.scores
    assert [Path(path).name for path in found.answer.paths] == [f"{row:05d}.png" for row in range(len(given))]
    listed = np.empty(len(given))
    listed[found.table["index"].to_numpy()] = -np.arange(len(given))
    ways = {"consensus": worth(wrong, verdict.suspicion, verdict.flagged), "as listed": worth(wrong, listed, verdict.flagged)}
    for method, suspicion, flagged in zip(scores.methods, scores.suspicion, scores.flagged, strict=True):
        ways[method] = worth(wrong, suspicion, flagged)
    if features:
        small = np.stack([np.asarray(Image.fromarray(image.squeeze()).resize((32, 32), Image.Resampling.BILINEAR)) for image in images])
        for name, suspicion, flagged in datalab(texture(small.reshape(len(small), 32, 32, -1)), given, data):
            ways[name] = worth(wrong, suspicion, flagged)
    rate, check = verdict.noise_rate, verdict.check
    return {
        "case": case,
        "ways": ways,
        "rate": [100 * value for value in (wrong.mean(), rate.value, rate.low, rate.high)],
        "check": [100 * value for value in (check.found.value, check.precision.value)],
    }


def means(rows: Sequence[Mapping[str, Any]], title: str) -> list[str]:
    """A table of the means of some cases."""
    ways: list[str] = list(rows[0]["ways"])
    lines = [f"| {title} | AP | precision | recall | flagged |", "| --- | ---: | ---: | ---: | ---: |"]
    for way in ways:
        values = np.array([row["ways"][way] for row in rows], dtype=float)
        nothing = np.isnan(values[:, 1]).sum()
        ap, precision, recall, flagged = np.nanmean(values, axis=0)
        lines.append(
            f"| {way} | {ap:.1f} | {precision:.1f}{f' ({nothing} flag nothing)' if nothing else ''} | {recall:.1f} | {flagged:.0f} |"
        )
    return lines


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """Means over all, by noise, and each case."""
    lines = means(rows, f"mean of {len(rows)}")
    cases: list[Case] = [row["case"] for row in rows]
    ways: list[str] = list(rows[0]["ways"])
    lines += ["", "| average precision | " + " | ".join(ways) + " |", "| --- |" + " ---: |" * len(ways)]
    for name, kind, rate in dict.fromkeys((case.name, case.kind, case.rate) for case in cases):
        these = [row["ways"] for row, case in zip(rows, cases, strict=True) if (case.name, case.kind, case.rate) == (name, kind, rate)]
        found = [np.mean([one[way][0] for one in these]) for way in ways]
        cells = [f"**{value:.1f}**" if value == max(found) else f"{value:.1f}" for value in found]
        lines.append(f"| {name}, {kind} {100 * rate:.0f} % | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| case | wrong | estimated (interval) | flagged | promised, true precision | self-check: found, precision | truly found |",
    ]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row, case in zip(rows, cases, strict=True):
        (wrong, rate, low, high), (share, precision) = row["rate"], row["check"]
        _, hit, recall, flagged = row["ways"]["consensus"]
        lines.append(
            f"| {case.name}, {case.kind} {100 * case.rate:.0f} %, seed {case.seed} | {wrong:.1f} | {rate:.1f} ({low:.1f} to {high:.1f}) "
            f"| {flagged} | 90, {hit:.0f} | {share:.0f}, {precision:.0f} | {recall:.0f} |"
        )
    return "\n".join(lines)


def cases(names: Sequence[str], noises: Sequence[tuple[str, float]], seeds: Sequence[int]) -> list[Case]:
    every = [Case(name, kind, rate, seed) for seed in seeds for name in names for kind, rate in noises]
    return [case for case in every if (case.name, case.kind) != (SETS[3], "pairflip")]  # of two classes it is symmetric


@pytest.mark.parametrize(
    ("features", "asked"),
    [("texture", cases(SETS, NOISES, SEEDS)), ("", cases((SETS[0], *SETS[2:]), NOISES[:2], SEEDS[:1]))],
    ids=["texture", "pixels"],
)
def test_known_wrong_labels(features: str, asked: list[Case], tmp_path: Path, report: Callable[[str], None]) -> None:
    rows = [compare(case, tmp_path, features) for case in asked]
    report("\n" + tables(rows))
    values = np.array([[row["ways"][way][0] for way in row["ways"] if not way.startswith(("as", "Data"))] for row in rows])
    assert values[:, 0].mean() > values[:, 1:].mean()  # better than asking any one; whether better than the best is what the tables tell


def test_two_thousand_tiles(command: Callable[..., Any], tmp_path: Path, report: Callable[[str], None]) -> None:
    from benchmark.registry import Registry
    from benchmark.resolve import open_dataset

    dataset, _ = open_dataset(Registry(), "tissue:n=2000:slides=40:image_size=64", tmp_path)
    arrays = dataset.load(tmp_path)
    write(tmp_path / "tiles", arrays.images, flipped(arrays.labels, len(arrays.classes), "symmetric", 0.1, 0))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = command("clean", tmp_path / "tiles" / "labels.csv", "--out", tmp_path / "out", "--jobs", "2")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    report(f"2,000 tiles of 64 px: {found.seconds:.0f} s, processor {processor:.0f} s on 2 cores, load {os.getloadavg()[0]:.1f}")
    assert found.status == 0, found.output
    assert processor / 2 < 600
