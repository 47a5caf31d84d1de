"""How true the answer of ``clean`` is where several raters labelled the images; the table of docs/clean.md.

Raters are simulated on data whose classes are known: each errs independently at a rate of their own, evenly or mostly between classes
that look alike; or they err on the same images, which the answer's model of them does not know. ``BENCHMARK_CLEAN_SEEDS`` says how many
seeds; a seed takes some ten minutes of one core.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from benchmark.clean.dawid_skene import fit_skill
from benchmark.clean.rater_flips import draw_flips, suspicion_of
from benchmark.clean.raters import disagreement, tally
from tests.performance.test_clean import images_of

pytestmark = pytest.mark.perf

SETS = ("digits", "tissue")
SEEDS = tuple(range(int(os.environ.get("BENCHMARK_CLEAN_SEEDS", "2"))))
RATERS: dict[str, tuple[float, ...]] = {
    "3: 10, 20, 50 %": (0.1, 0.2, 0.5),
    "3: 20 %": (0.2,) * 3,
    "5: 30 %": (0.3,) * 5,
    "2: 20 %": (0.2,) * 2,
}
CONFUSIONS = ("evenly", "look-alikes", "together")
ALIKE = 0.8
"""Share of the errors that take the class for its look-alike, the next one."""
HARD = 0.2
"""Share of the images that raters who err together find hard; they make all their errors there, as far as these suffice."""


def answers(true: np.ndarray, classes: int, rates: Sequence[float], confusion: str, rng: np.random.Generator) -> np.ndarray:
    """(n, r) labels of raters with these shares of errors."""
    n, r = len(true), len(rates)
    share = np.tile(np.asarray(rates), (n, 1))
    if confusion == "together":
        hard = rng.random(n) < HARD
        of_hard = np.minimum(np.asarray(rates) * 2, 0.6)
        share = np.where(hard[:, None], of_hard, (np.asarray(rates) - HARD * of_hard) / (1 - HARD))
    step = rng.integers(1, classes, (n, r))
    if confusion != "evenly":
        step = np.where(rng.random((n, r)) < ALIKE, 1, step)
    return np.where(rng.random((n, r)) < share, (true[:, None] + step) % classes, true[:, None])


@dataclass(frozen=True)
class Found:
    """What was said of one simulated table of raters, and what was true; shares in percent."""

    wrong: float
    rate: tuple[float, float, float]
    flagged: int
    promised: float
    precision: float
    found: float
    check: tuple[float, float]
    look: tuple[float, float]


def carry_out(name: str, raters: str, confusion: str, seed: int, folder: Path) -> Found:
    """One call of ``clean`` on texture features."""
    from benchmark import clean_labels

    images, true, classes = images_of(name, folder)
    some = np.random.default_rng([seed, 2]).permutation(len(true))[:1200]
    images, true = images[some], true[some]
    said = answers(true, classes, RATERS[raters], confusion, np.random.default_rng([seed, 3]))
    data = folder / f"{name}-{raters[0]}-{len(set(RATERS[raters]))}-{confusion}-{seed}"
    data.mkdir()
    lines = ["path," + ",".join(f"label_{r + 1}" for r in range(said.shape[1]))]
    for row, (image, labels) in enumerate(zip(images, said, strict=True)):
        Image.fromarray(image.squeeze()).save(data / f"{row:05d}.png")
        lines.append(f"{row:05d}.png," + ",".join(f"class {label}" for label in labels))
    (data / "labels.csv").write_text("\n".join(lines) + "\n")
    out = folder / f"{data.name}-out"
    answer = clean_labels(data / "labels.csv", out, features="texture", seed=seed, model=False, jobs=1, quiet=True).answer
    verdict = answer.verdict
    names = {f"class {k}": k for k in range(classes)}
    given = np.array([names[answer.classes[label]] for label in answer.scores.given])
    wrong = given != true[[int(Path(path).stem) for path in answer.paths]]
    first = np.argsort(-verdict.wrong, kind="stable")[:100]
    flagged, hits = int(verdict.flagged.sum()), int((wrong & verdict.flagged).sum())
    rate, check = verdict.noise_rate, verdict.check
    return Found(
        wrong=100 * float(wrong.mean()),
        rate=(100 * rate.value, 100 * rate.low, 100 * rate.high),
        flagged=flagged,
        promised=100 * verdict.precision.value if verdict.precision else np.nan,
        precision=100 * hits / flagged if flagged else np.nan,
        found=100 * hits / max(wrong.sum(), 1),
        check=(100 * check.found.value, 100 * check.precision.value),
        look=(100 * float(verdict.wrong[first].mean()), 100 * float(wrong[first].mean())),
    )


def mean(values: Sequence[float]) -> str:
    known = [value for value in values if np.isfinite(value)]
    return f"{np.mean(known):.0f}" if known else "–"


def line(title: str, rows: Sequence[Found]) -> str:
    """One row of the table: means over sets and seeds, and how often the interval holds the truth."""
    inside = sum(row.rate[1] <= row.wrong <= row.rate[2] for row in rows)
    cells = [
        f"{np.mean([row.wrong for row in rows]):.1f}",
        f"{np.mean([row.rate[0] for row in rows]):.1f}",
        f"{inside} of {len(rows)}",
        mean([row.flagged for row in rows]),
        f"{mean([row.promised for row in rows])}, {mean([row.precision for row in rows])}",
        f"{mean([row.look[0] for row in rows])}, {mean([row.look[1] for row in rows])}",
        f"{mean([row.check[0] for row in rows])}, {mean([row.found for row in rows])}",
        f"{mean([row.check[1] for row in rows])}",
    ]
    return f"| {title} | " + " | ".join(cells) + " |"


HEAD = (
    "| raters, errors | truly wrong | estimated | interval holds it | flagged | of these wrong: said, true "
    "| of the first 100: said, true | found: self-check, truly | precision: self-check |"
)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("confusion", CONFUSIONS)
def test_raters_who_err(confusion: str, tmp_path: Path, report: Callable[[str], None]) -> None:
    lines, gaps = [HEAD, "| --- |" + " ---: |" * 8], []
    for raters in RATERS:
        rows = [carry_out(name, raters, confusion, seed, tmp_path) for name in SETS for seed in SEEDS]
        lines.append(line(f"{raters}, {confusion}", rows))
        gaps += [row.rate[0] - row.wrong for row in rows]
    report("\n" + "\n".join(lines))
    if confusion != "together":
        assert abs(float(np.mean(gaps))) < 5


def of_answers(raters: str, confusion: str, classes: int, seed: int, n: int = 1200) -> list[float]:
    """In percent: wrong majorities, and as many by the raters' answers alone; how well (area under the ROC curve) the raters' voice tells
    real errors and flips from right labels, and how well it told flips whose answers stayed as they were."""
    rng = np.random.default_rng([seed, classes])
    true = rng.integers(0, classes, n)
    told = tally(list("abcde")[: len(RATERS[raters])], answers(true, classes, RATERS[raters], confusion, rng), true)
    given = told.consensus
    flips = draw_flips(told, given, classes, 0.1, rng)
    wrong, changed = given != true, flips.labels != given
    real = suspicion_of(flips.skill, told.labels, given)
    made = suspicion_of(fit_skill(flips.answers, classes), flips.answers, flips.labels)
    among = ~wrong | changed
    areas = [
        roc_auc_score(wrong, real),
        roc_auc_score(changed[among], made[among]),
        roc_auc_score(changed[among], disagreement(told, flips.labels)[among]),
    ]
    return [100 * float(value) for value in (wrong.mean(), real.mean(), *areas)]


@pytest.mark.timeout(1800)
def test_what_answers_alone_say(report: Callable[[str], None]) -> None:
    lines = [
        "| raters, errors | truly wrong | by answers alone | mean difference | real errors | flips | flips whose answers stayed |",
        "| --- |" + " ---: |" * 6,
    ]
    gaps = {}
    for confusion in CONFUSIONS:
        for raters in RATERS:
            found = np.array([of_answers(raters, confusion, classes, seed) for classes in (4, 10) for seed in range(5)])
            wrong, said, *areas = found.mean(axis=0)
            gaps[raters, confusion] = float(np.abs(found[:, 1] - found[:, 0]).mean())
            cells = [f"{wrong:.1f}", f"{said:.1f}", f"{gaps[raters, confusion]:.1f}", *(f"{area:.1f}" for area in areas)]
            lines.append(f"| {raters}, {confusion} | " + " | ".join(cells) + " |")
    report("\n" + "\n".join(lines))
    assert max(gap for (_, confusion), gap in gaps.items() if confusion == "evenly") < 3
