"""An answer of ``clean`` with made-up scores: wrong labels are known, and suspicion is high where they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.clean.answer import Answer
from benchmark.clean.audit import Audit, Twins
from benchmark.clean.raters import Raters
from benchmark.clean.scores import Scores
from benchmark.clean.verdict import EASY, HARD, NOISY, Interval, SelfCheck, Verdict

METHODS = ("hsa", "confident_learning", "aum", "elr")


def near(value: float, by: float) -> Interval:
    return Interval(value, max(0.0, value - by), min(1.0, value + by))


def make_answer(
    n: int = 60, classes: Sequence[str] = ("normal", "serrated", "tumour"), *, true: np.ndarray | None = None, rate: float = 0.1,
    budget: int = 20, seed: int = 0, twins: Sequence[Twins] = (), raters: bool = False,
    paths: Sequence[str] | None = None, methods: Sequence[str] = METHODS,
    known: bool = False, source: str = "slides", **more: Any,
) -> Answer:  # fmt: skip
    """n samples, a share of them with another label than the true one."""
    rng, k = np.random.default_rng(seed), len(classes)
    truth = rng.integers(0, k, n) if true is None else true
    bad = rng.random(n) < rate
    given = np.where(bad, (truth + rng.integers(1, k, n) * (rng.random(n) < 0.4) + (rng.random(n) < 2)) % k, truth)
    bad = given != truth
    raw = np.stack([rng.normal(2.6 * bad + 0.3 * m * bad, 1.0, n) for m in range(len(methods))])
    suspicion = raw.argsort(axis=1).argsort(axis=1) / max(1, n - 1)
    both = raw.mean(axis=0)
    wrong = 1 / (1 + np.exp(-(5 * (both - 1.55))))
    unclear = (wrong < 0.5) & (rng.random(n) < 0.12)
    state = np.where(wrong >= 0.5, NOISY, np.where(unclear, HARD, EASY)).astype(np.uint8)
    suggested = np.where(wrong > 0.5, np.where(bad, truth, (given + 1) % k), given)
    order = np.argsort(-wrong, kind="stable")
    at = tuple(sorted({max(1, round(n * part)) for part in np.linspace(0.005, 1, 200)}))
    means = np.cumsum(wrong[order])
    curve = tuple(near(float(means[m - 1] / m), 0.25 / np.sqrt(m) + 0.01) for m in at)
    flagged = np.zeros(n, bool)
    flagged[order[: max((m for m, point in zip(at, curve, strict=True) if point.value >= 0.9), default=0)]] = True
    confusion = np.zeros((k, k))
    np.add.at(confusion, (given, suggested), wrong)
    np.add.at(confusion, (given, given), 1 - wrong)
    verdict = Verdict(
        wrong, both, suggested.astype(np.int64), np.clip(0.6 + 0.4 * rng.random(n), 0, 1), state, flagged,
        near(float(wrong[flagged].mean()), 0.04) if flagged.any() else None, near(float(wrong.mean()), 0.012), at, curve, confusion,
        {name: float(weight) for name, weight in zip(methods, np.full(len(methods), 1 / max(1, len(methods))), strict=True)},
        SelfCheck(0.1, round(0.1 * n), "symmetric", round(0.09 * n), near(0.84, 0.04), near(0.91, 0.03), 0.93,
                  {name: 0.9 - 0.06 * m for m, name in enumerate(methods)}),
    )  # fmt: skip
    scores = Scores(
        tuple(methods), given.astype(np.int64), rng.choice(3, n, p=(0.8, 0.1, 0.1)).astype(np.uint8), suspicion, raw > 1.5,
        np.tile(suggested, (len(methods), 1)), np.full((len(methods), n), 0.8), np.where(state == HARD, rng.random(n), np.nan),
        truth if known else None,
    )  # fmt: skip
    own = tuple(paths) if paths is not None else tuple(f"{classes[given[i]]}/tile_{i:05d}.png" for i in range(n))
    told = _raters(rng, truth, k) if raters else None
    counts = {name: int((given == place).sum()) for place, name in enumerate(classes)}
    audit = Audit(n, counts, tuple(twins), more.pop("unreadable", {}), more.pop("notes", ("2 sizes of images were brought to one",)))
    values: dict[str, Any] = {
        "source": source, "classes": tuple(classes), "paths": own, "base": Path("/data/slides"), "scores": scores, "verdict": verdict,
        "audit": audit, "raters": told, "budget": budget, "target": 0.9, "model": Path("out/model"), "model_accuracy": 0.937,
        "provenance": {"command": "python -m benchmark clean slides --out out", "version": "1.0", "seconds": "812"},
        "runs": {name: (f"{name}-a1b2", f"{name}-c3d4") for name in methods},
    }  # fmt: skip
    return Answer(**{**values, **more})


def _raters(rng: np.random.Generator, truth: np.ndarray, k: int) -> Raters:
    n, skill = len(truth), (0.97, 0.9, 0.7)
    labels = np.stack([np.where(rng.random(n) < s, truth, rng.integers(0, k, n)) for s in skill], axis=1)
    labels[rng.random(labels.shape) < 0.3] = -1
    agreement = np.array([float((labels[:, r] == truth)[labels[:, r] >= 0].mean()) for r in range(3)])
    return Raters(("Anna", "Ben", "Cem"), labels.astype(np.int64), truth.astype(np.int64), np.full(n, 0.9), np.array(skill), agreement)


def no_pictures(positions: Sequence[int]) -> list[tuple[str, bytes] | None]:
    return [None] * len(positions)
